"""Report in, an SPDX 3.0.1 document (JSON-LD) out: inventory, licences, and what is known of vulnerabilities as VEX statements.

https://spdx.github.io/spdx-spec/v3.0.1/; `pratique.report.spdx` calls it for `spdx@3.0`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pratique.model.finding import Cvss, Finding
from pratique.model.inventory import Checksum, Package
from pratique.model.report import Report
from pratique.report.bill import Supplier, details_of, files_of, supplier_of
from pratique.report.document import VULNERABLE, checksum, digest, fix_of, identifier, image_purl, is_link, vex_text
from pratique.report.licences import joined
from pratique.report.spdx import DIGESTS, element_id, file_id, own_facts, target_facts

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_CREATION = "_:creation"
_NONE = "https://spdx.org/rdf/3.0.1/terms/Core/NoneElement"
_UNKNOWN = "https://spdx.org/rdf/3.0.1/terms/Core/NoAssertionElement"
_STATUSES = {
    "affected": ("VexAffected", "affects"),
    "not_affected": ("VexNotAffected", "doesNotAffect"),
    "fixed": ("VexFixed", "fixedIn"),
    "under_investigation": ("VexUnderInvestigation", "underInvestigationFor"),
}


def document(report: Report) -> dict[str, Any]:
    """Return the whole graph. Identifiers are made from its content."""
    graph = list(_Graph(report).elements())
    base = f"https://spdx.org/spdxdocs/pratique-{identifier(graph)}#"
    graph = _absolute(graph, base)
    creation = {
        "type": "CreationInfo",
        "@id": _CREATION,
        "specVersion": "3.0.1",
        "created": report.meta.scanned_at,
        "createdBy": [f"{base}agent"],
        "createdUsing": [f"{base}tool"],
    }
    return {"@context": CONTEXT, "@graph": [creation, *graph]}


def _absolute(value: Any, base: str) -> Any:
    """Put the namespace before every identifier of ours, which begin with a caret until it is known."""
    if isinstance(value, str):
        return base + value[1:] if value.startswith("^") else value
    if isinstance(value, dict):
        return {key: item if key in _TEXTS else _absolute(item, base) for key, item in value.items()}
    if isinstance(value, list):
        return [_absolute(item, base) for item in value]
    return value


# Fields that hold text from an image or an advisory, never an identifier of ours.
_TEXTS = frozenset(
    (
        "name", "statement", "hashValue", "description", "identifier", "software_packageVersion", "software_packageUrl",
        "software_sourceInfo", "simplelicensing_licenseExpression", "simplelicensing_licenseText", "locator",
        "security_actionStatement", "security_impactStatement", "security_vectorString",
    )
)  # fmt: skip


class _Graph:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._ids = {package.purl: f"^{element_id(package)}" for package in report.packages}
        self._files = files_of(report)

    def elements(self) -> Iterator[dict[str, Any]]:
        """Yield every element but the creation information."""
        report = self._report
        content = list(self._content())
        named = {"name": report.target.reference or report.target.scheme}
        version = report.meta.version
        yield _element("SoftwareAgent", "agent", name=f"pratique {version}")
        yield _element("Tool", "tool", name=f"pratique {version}")
        profiles = ["core", "software", "simpleLicensing"]
        profiles += ["security"] if any(finding.kind in VULNERABLE for finding in report.findings) else []
        yield _element("SpdxDocument", "document", **named, rootElement=["^sbom"], profileConformance=profiles)
        kind = "source" if report.target.scheme == "dir" else "analyzed"
        members = [item["spdxId"] for item in content]
        yield _element("software_Sbom", "sbom", rootElement=["^target"], element=members, software_sbomType=[kind], **named)
        yield from content

    def _content(self) -> Iterator[dict[str, Any]]:
        report = self._report
        yield from self._target()
        yield from self._suppliers()
        for package in report.packages:
            yield self._package(package)
            yield from _annotations(self._ids[package.purl], own_facts(package))
        for file in [*(file for some in self._files.owned.values() for file in some), *self._files.loose]:
            yield _element("software_File", file_id(file.path), name=f"./{file.path}", verifiedUsing=_hashes(file.hashes))
        yield from self._contents()
        yield from self._needs()
        yield from self._licences()
        yield from self._vulnerabilities()

    def _target(self) -> Iterator[dict[str, Any]]:
        target = self._report.target
        facts: dict[str, Any] = {"name": target.reference or target.scheme}
        facts["software_primaryPurpose"] = "source" if target.scheme == "dir" else "container"
        algorithm, value = checksum(target)
        if target.digest:
            facts["software_packageVersion"] = target.digest
        if algorithm:
            facts["verifiedUsing"] = [{"type": "Hash", "algorithm": algorithm, "hashValue": value}]
        if image := image_purl(target):
            facts["software_packageUrl"] = image
        yield _element("software_Package", "target", **facts)
        yield from _annotations("^target", target_facts(self._report))
        distro = target.distro
        if distro is not None:
            version = {"software_packageVersion": distro.version} if distro.version else {}
            yield _element("software_Package", "system", name=distro.id, software_primaryPurpose="operatingSystem", **version)

    def _suppliers(self) -> Iterator[dict[str, Any]]:
        known = {supplier for package in self._report.packages if (supplier := supplier_of(package)) is not None}
        for supplier in sorted(known):
            facts: dict[str, Any] = {"name": supplier.name}
            if supplier.address:
                mail = {"externalIdentifierType": "email", "identifier": supplier.address}
                facts["externalIdentifier"] = [{"type": "ExternalIdentifier", **mail}]
            yield _element("Organization" if supplier.team else "Person", _agent_id(supplier), **facts)

    def _package(self, package: Package) -> dict[str, Any]:
        facts: dict[str, Any] = {"name": package.name, "software_packageUrl": package.purl}
        facts["software_primaryPurpose"] = "application" if package.role == "main" else "library"
        if package.version:
            facts["software_packageVersion"] = package.version
        if package.source is not None:
            text = f"built from the source package {package.source.name} {package.source.version}"
            facts["software_sourceInfo"] = text.rstrip()
        if (supplier := supplier_of(package)) is not None:
            facts["suppliedBy"] = f"^{_agent_id(supplier)}"
        if hashes := _hashes(details_of(package).hashes):
            facts["verifiedUsing"] = hashes
        return _element("software_Package", self._ids[package.purl][1:], **facts)

    def _contents(self) -> Iterator[dict[str, Any]]:
        below: dict[str, list[str]] = {"^target": ["^system"] if self._report.target.distro is not None else []}
        for package in self._report.packages:
            below.setdefault(self._ids.get(package.owner, "^target"), []).append(self._ids[package.purl])
        for purl, some in self._files.owned.items():
            below.setdefault(self._ids[purl], []).extend(f"^{file_id(file.path)}" for file in some)
        below["^target"] += [f"^{file_id(file.path)}" for file in self._files.loose]
        known = "complete" if self._report.complete else "incomplete"
        for holder, held in below.items():
            if held:
                yield _relation("contains", holder, held, completeness=known)

    def _needs(self) -> Iterator[dict[str, Any]]:
        """What each package depends on, and whether that is all; nothing is said where nothing is known."""
        for package in self._report.packages:
            details = details_of(package)
            needs = [self._ids[purl] for purl in details.depends if purl in self._ids]
            if details.relations != "unknown":
                unmet = _NONE if details.relations == "complete" else _UNKNOWN
                yield _relation("dependsOn", self._ids[package.purl], needs or [unmet], completeness=details.relations)

    def _licences(self) -> Iterator[dict[str, Any]]:
        holders: dict[str, list[str]] = {}
        words: dict[str, str] = {}
        for package in self._report.packages:
            declared, spoken = joined(package.licenses)
            words.update(spoken)
            if declared:
                holders.setdefault(declared, []).append(self._ids[package.purl])
        for name, text in sorted(words.items()):
            yield _element(
                "simplelicensing_SimpleLicensingText", f"licence-text-{name}", name=name, simplelicensing_licenseText=text
            )
        for spelled, packages in sorted(holders.items()):
            identity = f"licence-{digest(spelled)[:16]}"
            facts: dict[str, Any] = {"simplelicensing_licenseExpression": spelled}
            own = [name for name in sorted(words) if name in re.findall(r"LicenseRef-[A-Za-z0-9.-]+", spelled)]
            if own:
                facts["simplelicensing_customIdToUri"] = [
                    {"type": "DictionaryEntry", "key": name, "value": f"^licence-text-{name}"} for name in own
                ]
            yield _element("simplelicensing_LicenseExpression", identity, **facts)
            for holder in packages:
                yield _relation("hasDeclaredLicense", holder, [f"^{identity}"])

    def _vulnerabilities(self) -> Iterator[dict[str, Any]]:
        groups: dict[str, list[Finding]] = {}
        for finding in self._report.findings:
            if finding.kind in VULNERABLE and finding.package is not None and finding.package.purl in self._ids:
                groups.setdefault(finding.id, []).append(finding)
        for name, group in groups.items():
            identity = f"vulnerability-{digest(name)[:16]}"
            yield _vulnerability(identity, group[0])
            for finding in group:
                package = self._ids[finding.package.purl] if finding.package is not None else ""
                yield _assessed(f"^{identity}", package, finding)
                for item in finding.cvss:
                    yield from _scored(f"^{identity}", package, item)


def _agent_id(supplier: Supplier) -> str:
    return f"supplier-{digest(*map(str, supplier))[:24]}"


def _element(kind: str, identity: str, **facts: Any) -> dict[str, Any]:
    return {"type": kind, "spdxId": f"^{identity}", "creationInfo": _CREATION, **facts}


def _hashes(hashes: Iterable[Checksum]) -> list[dict[str, str]]:
    known = [one for one in hashes if one.algorithm in DIGESTS]
    return [{"type": "Hash", "algorithm": one.algorithm, "hashValue": one.value} for one in known]


def _relation(kind: str, left: str, right: list[str], **facts: Any) -> dict[str, Any]:
    identity = f"relation-{digest(kind, left, *right)[:24]}"
    return _element("Relationship", identity, **{"from": left}, relationshipType=kind, to=right, **facts)


def _annotations(subject: str, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        identity = f"annotation-{digest(subject, text)[:24]}"
        yield _element("Annotation", identity, annotationType="other", subject=subject, statement=text)


def _vulnerability(identity: str, finding: Finding) -> dict[str, Any]:
    names = [
        {"type": "ExternalIdentifier", "externalIdentifierType": "cve" if name.startswith("CVE-") else "securityOther"}
        | {"identifier": name}
        for name in (finding.id, *finding.aliases)
    ]
    links = [link for link in finding.references if is_link(link)]
    facts: dict[str, Any] = {"name": finding.id, "description": finding.title, "externalIdentifier": names}
    if links:
        facts["externalRef"] = [{"type": "ExternalRef", "externalRefType": "securityAdvisory", "locator": links}]
    return _element("security_Vulnerability", identity, **facts)


def _assessed(vulnerability: str, package: str, finding: Finding) -> dict[str, Any]:
    kind, relation = _STATUSES[finding.status]
    facts: dict[str, Any] = {}
    if finding.status == "affected":
        facts["security_actionStatement"] = fix_of(finding)
    elif finding.status == "not_affected":
        facts["security_impactStatement"] = vex_text(finding) or finding.message or "Stated by the source of the advisory."
    identity = f"assessment-{digest(kind, vulnerability, package)[:24]}"
    ends = {"from": vulnerability, "relationshipType": relation, "to": [package]}
    return _element(f"security_{kind}VulnAssessmentRelationship", identity, **ends, **facts)


def _scored(vulnerability: str, package: str, item: Cvss) -> Iterator[dict[str, Any]]:
    major = item.version.partition(".")[0]
    if major not in ("2", "3", "4"):
        return
    facts: dict[str, Any] = {"security_score": item.score, "security_vectorString": item.vector}
    if major != "2":
        bands = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"), (0.0, "none"))
        facts["security_severity"] = next(name for least, name in bands if item.score >= least)
    identity = f"cvss-{digest(vulnerability, package, item.vector)[:24]}"
    ends = {"from": vulnerability, "relationshipType": "hasAssessmentFor", "to": [package]}
    yield _element(f"security_CvssV{major}VulnAssessmentRelationship", identity, **ends, **facts)
