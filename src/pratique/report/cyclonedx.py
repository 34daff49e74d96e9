"""Report in, CycloneDX JSON out: 1.6, or 1.7 on request.

https://cyclonedx.org/docs/1.6/json/
Our own facts are properties named `pratique:...`, so that scanning the document gives what scanning the image gave.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from pratique.model.errors import UsageError
from pratique.model.finding import Cvss, Finding, Severity
from pratique.model.inventory import Checksum, ImageFile, Package
from pratique.model.report import Report
from pratique.report.bill import details_of, files_of, supplier_of
from pratique.report.document import (
    VULNERABLE,
    compact,
    denied,
    encode,
    fix_of,
    identifier,
    image_purl,
    impact_of,
    is_link,
    moment,
    score_of,
    vex_text,
    waiver_text,
)
from pratique.report.licences import expression, licence_id

VERSIONS = ("1.6", "1.7")
_METHODS = {"2.0": "CVSSv2", "3.0": "CVSSv3", "3.1": "CVSSv31", "4.0": "CVSSv4"}
# https://cyclonedx.org/docs/1.6/json/#vulnerabilities_items_analysis_justification; where several fit, that which claims least.
_JUSTIFICATIONS = {
    "component_not_present": "code_not_present",
    "vulnerable_code_not_present": "code_not_present",
    "vulnerable_code_not_in_execute_path": "code_not_reachable",
    "vulnerable_code_cannot_be_controlled_by_adversary": "requires_environment",
    "inline_mitigations_already_exist": "protected_by_mitigating_control",
    "requires_configuration": "requires_configuration",
    "requires_dependency": "requires_dependency",
    "requires_environment": "requires_environment",
}
# https://cyclonedx.org/docs/1.6/json/#components_items_hashes_items_alg; what is no digest of one file is a property.
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_STATES = {"under_investigation": "in_triage", "not_affected": "not_affected", "fixed": "resolved"}
_SOURCES = (
    ("CVE-", "NVD", "https://nvd.nist.gov/vuln/detail/{}"),
    ("GHSA-", "GitHub", "https://github.com/advisories/{}"),
)


class CycloneDx:
    """The `cyclonedx` format."""

    name = "cyclonedx"
    media_type = "application/vnd.cyclonedx+json"

    def __init__(self, version: str = VERSIONS[0]) -> None:
        self._version = version

    def at(self, version: str) -> CycloneDx:
        """Return the writer of another version of the format. Raises UsageError."""
        if version not in VERSIONS:
            raise UsageError(f"cyclonedx@{version} is not written", hint=f"one of {', '.join(VERSIONS)}")
        return CycloneDx(version)

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write the inventory, and with it the vulnerabilities where the report has some."""
        out.write(encode(_bom(report, self._version)))


def _bom(report: Report, version: str) -> dict[str, Any]:
    refs = _references(report.packages)
    bom: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{version}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": version,
        "version": 1,
        "metadata": _metadata(report),
        "components": _components(report, refs),
        "dependencies": _dependencies(report, refs),
        "compositions": _compositions(report, refs),
    }
    found = [finding for finding in report.findings if finding.kind in VULNERABLE and finding.package is not None]
    if found:
        bom["vulnerabilities"] = [_vulnerability(group, refs) for group in _grouped(found)]
    timeless = copy.copy(bom)
    timeless["metadata"] = {key: value for key, value in bom["metadata"].items() if key != "timestamp"}
    bom["serialNumber"] = f"urn:uuid:{identifier(timeless)}"
    return bom


def _references(packages: Sequence[Package]) -> dict[str, str]:
    """Return purl -> bom-ref. Both are the same: one entry a purl, and scanners know a component by it."""
    return {package.purl: package.purl for package in packages}


def _root(report: Report) -> str:
    return f"target:{report.target.digest or report.target.reference}"


def _metadata(report: Report) -> dict[str, Any]:
    target = report.target
    subject: dict[str, Any] = {
        "type": "application" if target.scheme == "dir" else "container",
        "bom-ref": _root(report),
        "name": target.reference,
    }
    if target.digest:
        subject["version"] = target.digest
    if image := image_purl(target):
        subject["purl"] = image
    facts = [("scheme", target.scheme), ("platform", target.platform)]
    for number, layer in enumerate(target.layers):
        names = ("diff_id", layer.diff_id), ("digest", layer.digest), ("created_by", layer.created_by)
        facts += [(f"layer:{number}:{key}", value) for key, value in names]
    facts += [("gap", compact(gap)) for gap in report.problems if not gap.code.startswith("advisories.")]
    subject["properties"] = _properties(facts)
    return {
        "timestamp": report.meta.scanned_at,
        "lifecycles": [{"phase": "pre-build" if target.scheme == "dir" else "post-build"}],
        "tools": {"components": [{"type": "application", "name": "pratique", "version": report.meta.version}]},
        "component": subject,
    }


def _properties(facts: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": f"pratique:{name}", "value": value} for name, value in facts if value]


def _system(report: Report) -> Iterator[dict[str, Any]]:
    distro = report.target.distro
    if distro is None:
        return
    found: dict[str, Any] = {"type": "operating-system", "bom-ref": f"os:{distro.id}@{distro.version}", "name": distro.id}
    if distro.version:
        found["version"] = distro.version
    if distro.eol:
        found["properties"] = _properties([("eol", distro.eol)])
    yield found


def _components(report: Report, refs: dict[str, str]) -> list[dict[str, Any]]:
    """The system, the packages, each with the files that it installed, and the files that no package did."""
    listed = files_of(report)
    found = [*_system(report), *(_component(package, refs) for package in report.packages)]
    for component in found:
        if files := listed.owned.get(component.get("purl", "")):
            component["components"] = [_file(file) for file in files]
    return [*found, *(_file(file) for file in listed.loose)]


def _file(file: ImageFile) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "bom-ref": f"file:{file.path}", "name": file.path, "hashes": _hashes(file.hashes)}
    facts = [("layer", file.layer), ("size", str(file.size))]
    return {**found, "properties": _properties(facts)}


def _hashes(hashes: Iterable[Checksum]) -> list[dict[str, str]]:
    return [{"alg": _ALGORITHMS[one.algorithm], "content": one.value} for one in hashes if one.algorithm in _ALGORITHMS]


def _component(package: Package, refs: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "application" if package.role == "main" else "library", "bom-ref": refs[package.purl]}
    group, name = _names(package)
    if group:
        found["group"] = group
    if (supplier := supplier_of(package)) is not None:
        contact = {"contact": [{"email": supplier.address}]} if supplier.address else {}
        found["supplier"] = {"name": supplier.name, **contact}
    found["name"] = name
    if package.version:
        found["version"] = package.version
    details = details_of(package)
    if hashes := _hashes(details.hashes):
        found["hashes"] = hashes
    if licences := _licences(package.licenses):
        found["licenses"] = licences
    found["purl"] = package.purl
    facts = [("owner", package.owner), ("role", package.role), ("declared", "true" if package.declared else "")]
    if package.source is not None:
        facts += [("source:name", package.source.name), ("source:version", package.source.version)]
    facts += [(f"hash:{one.algorithm}", one.value) for one in details.hashes if one.algorithm not in _ALGORITHMS]
    if properties := _properties(facts):
        found["properties"] = properties
    seen = []
    for location in package.locations:
        place = {"location": location.path}
        if location.layer:
            place["additionalContext"] = location.layer
        seen.append(place)
    if seen:
        found["evidence"] = {"occurrences": seen}
    return found


def _names(package: Package) -> tuple[str, str]:
    """Split a name where its ecosystem's tools do: an npm scope, a Maven group, a vendor; a Go module's path is one name."""
    if package.type == "golang" or not package.namespace:
        return "", package.name
    return package.namespace, package.name[len(package.namespace) + 1 :] or package.name


def _licences(licences: Sequence[str]) -> list[dict[str, Any]]:
    """Return identifiers and names, or one expression: the format has no list of expressions."""
    stated = list(dict.fromkeys(text for text in licences if text.strip()))
    spelled = [expression(text) for text in stated]
    if any(text and not licence_id(text) for text in spelled) and all(spelled):
        parts = [f"({text})" if " OR " in text and len(spelled) > 1 else text for text in spelled]
        return [{"expression": " AND ".join(parts)}]
    known = [licence_id(text) for text in stated]
    return [{"license": {"id": name} if name else {"name": text}} for name, text in zip(known, stated, strict=True)]


def _dependencies(report: Report, refs: dict[str, str]) -> list[dict[str, Any]]:
    """The target depends on what is in it, an OS package on what it installed, and each package on what it needs.

    A package that is known to need nothing has an entry without anything in it.
    """
    below: dict[str, set[str]] = {}
    for package in report.packages:
        below.setdefault(refs.get(package.owner, _root(report)), set()).add(refs[package.purl])
        details = details_of(package)
        if details.relations != "unknown":
            below.setdefault(refs[package.purl], set()).update(refs[purl] for purl in details.depends if purl in refs)
    system = [item["bom-ref"] for item in _system(report)]
    return [
        {"ref": _root(report), "dependsOn": sorted([*system, *below.pop(_root(report), ())])},
        *({"ref": ref, "dependsOn": sorted(needs)} if needs else {"ref": ref} for ref, needs in sorted(below.items())),
    ]


def _compositions(report: Report, refs: dict[str, str]) -> list[dict[str, Any]]:
    """Say of what the parts are all there, and of what the needs are known."""
    whole = "complete" if report.complete else "incomplete"
    known: dict[str, list[str]] = {whole: [_root(report)]}
    for package in report.packages:
        known.setdefault(details_of(package).relations, []).append(refs[package.purl])
    return [
        {"aggregate": whole, "assemblies": [_root(report)]},
        *({"aggregate": name, "dependencies": sorted(members)} for name, members in sorted(known.items())),
    ]


def _grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Put the packages of one vulnerability together, as far as all is the same that is said of them."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        same = (
            finding.id,
            finding.title,
            finding.severity,
            finding.status,
            finding.cvss,
            finding.fixed_in,
            finding.waiver,
            finding.vex,
        )
        groups.setdefault(compact(same), []).append(finding)
    return list(groups.values())


def _vulnerability(group: Sequence[Finding], refs: dict[str, str]) -> dict[str, Any]:
    first = group[0]
    purls = sorted({finding.package.purl for finding in group if finding.package is not None})
    found: dict[str, Any] = {
        "bom-ref": f"vulnerability:{first.id}:{first.fingerprint}:{identifier(purls)}",
        "id": first.id,
        "source": _source(first.id),
        "references": [{"id": alias, "source": _source(alias)} for alias in first.aliases],
        "ratings": [*(_rating(item) for item in first.cvss), _judged(first)],
        "description": first.title,
        "recommendation": fix_of(first, named=False),
        "advisories": [{"url": link} for link in first.references if is_link(link)],
        "affects": _affects(group, refs),
        "properties": _properties(_facts(first)),
    }
    if published := moment(first.published):
        found["published"] = published
    analysis = _analysis(first)
    if any(analysis.values()):
        found["analysis"] = {key: value for key, value in analysis.items() if value}
    return {key: value for key, value in found.items() if value}


def _analysis(finding: Finding) -> dict[str, str]:
    justification, words = impact_of(finding) if finding.status == "not_affected" else ("", "")
    state = _STATES.get(finding.status, "")
    if not state and denied(finding)[0]:
        (justification, words), state = denied(finding), "not_affected"
    told = [part for part in (waiver_text(finding), vex_text(finding) or words) if part]
    return {"state": state, "justification": _JUSTIFICATIONS.get(justification, ""), "detail": "; ".join(told)}


def _affects(group: Sequence[Finding], refs: dict[str, str]) -> list[dict[str, Any]]:
    status = {"affected": "affected", "under_investigation": "unknown"}.get(group[0].status, "unaffected")
    packages = {finding.package.purl: finding.package.version for finding in group if finding.package is not None}
    found = []
    for purl, version in sorted(packages.items()):
        entry: dict[str, Any] = {"ref": refs.get(purl, purl)}
        if version:
            entry["versions"] = [{"version": version[:1024], "status": status}]
        found.append(entry)
    return found


def _facts(finding: Finding) -> list[tuple[str, str]]:
    because = finding.because
    facts = [("kind", finding.kind), ("fingerprint", finding.fingerprint), ("kev", "true" if finding.kev else "")]
    facts += [("fixed_in", version) for version in finding.fixed_in]
    if finding.epss is not None:
        facts.append(("epss", f"{finding.epss.score:.5f}"))
    if because is not None:
        facts += [("advisory", because.advisory), ("comparison", because.comparison)]
    return facts


def _source(identity: str) -> dict[str, str]:
    for prefix, name, link in _SOURCES:
        if identity.startswith(prefix):
            return {"name": name, "url": link.format(identity)}
    return {"name": "OSV", "url": f"https://osv.dev/vulnerability/{identity}"} if is_link(f"https://osv.dev/{identity}") else {}


def _rating(item: Cvss) -> dict[str, Any]:
    return {
        "source": {"name": item.source or "unknown"},
        "score": item.score,
        "method": _METHODS.get(item.version, "other"),
        "vector": item.vector,
    }


def _judged(finding: Finding) -> dict[str, Any]:
    names = {Severity.NEGLIGIBLE: "info"}
    rating: dict[str, Any] = {"source": {"name": "pratique"}, "severity": names.get(finding.severity, finding.severity.value)}
    if finding.cvss:
        rating["score"] = score_of(finding)
    return {**rating, "method": "other"}


REPORTER = CycloneDx()
