"""Report in, SPDX JSON out: 2.3, or 3.0 on request.

https://spdx.github.io/spdx-spec/v2.3/
Where a package lies, and what else our own reader wants to know, stands in annotations that begin `pratique:`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from pratique.model.errors import UsageError
from pratique.model.inventory import Checksum, ImageFile, Package
from pratique.model.report import Report
from pratique.report.bill import Files, details_of, files_of, supplier_of
from pratique.report.document import VULNERABLE, checksum, compact, digest, encode, identifier, image_purl, is_link
from pratique.report.licences import LIST_VERSION, joined

VERSIONS = ("2.3", "3.0")
_DOCUMENT = "SPDXRef-DOCUMENT"
_TARGET = "SPDXRef-Target"
_SYSTEM = "SPDXRef-OperatingSystem"
_NAMELESS = "NOASSERTION"
DIGESTS = ("md5", "sha1", "sha256", "sha384", "sha512")  # of files; other hashes are annotations


class Spdx:
    """The `spdx` format."""

    name = "spdx"
    media_type = "application/spdx+json"

    def __init__(self, version: str = VERSIONS[0]) -> None:
        self._version = version

    def at(self, version: str) -> Spdx:
        """Return the writer of another version of the format. Raises UsageError."""
        if version not in VERSIONS:
            raise UsageError(f"spdx@{version} is not written", hint=f"one of {', '.join(VERSIONS)}")
        return Spdx(version)

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write the inventory, with an advisory reference at each package that has a vulnerability."""
        if self._version == "3.0":
            from pratique.report.spdx3 import document  # noqa: PLC0415 - only the version that is asked for

            out.write(encode(document(report)))
            return
        out.write(encode(_document(report)))


def element_id(package: Package) -> str:
    """Return an identifier that says to people which package it is, and never is that of another."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{package.type}-{package.name}").strip("-")[:60]
    return f"Package-{slug}-{digest(package.purl)[:16]}"


def own_facts(package: Package) -> list[str]:
    """Return what our own reader wants to know of a package, one fact a line."""
    facts = [f"pratique:location {location.layer or '-'} {location.path}" for location in package.locations]
    if package.role:
        facts.append(f"pratique:role {package.role}")
    if package.declared:
        facts.append("pratique:declared true")
    facts += [f"pratique:hash {one.algorithm} {one.value}" for one in details_of(package).hashes if one.algorithm not in DIGESTS]
    return facts


def file_id(path: str) -> str:
    """Return an identifier of a file."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", path.rpartition("/")[2]).strip("-")[:40]
    return f"File-{slug or 'x'}-{digest('file', path)[:16]}"


def target_facts(report: Report) -> list[str]:
    """Return what our own reader wants to know of the target: platform, layers from the lowest, what was not examined."""
    target = report.target
    facts = [f"pratique:scheme {target.scheme}"]
    if target.platform:
        facts.append(f"pratique:platform {target.platform}")
    facts += [f"pratique:layer {layer.diff_id} {layer.created_by}" for layer in target.layers]
    gaps = [gap for gap in report.problems if not gap.code.startswith("advisories.")]
    return facts + [f"pratique:gap {compact(gap)}" for gap in gaps]


def _document(report: Report) -> dict[str, Any]:
    ids = {package.purl: f"SPDXRef-{element_id(package)}" for package in report.packages}
    files = files_of(report)
    words: dict[str, str] = {}
    links = _advisories(report)
    annotate = _Annotator(report)
    packages = [_target(report, annotate), *_system(report)]
    for package in report.packages:
        packages.append(_package(package, ids[package.purl], words, annotate))
        packages[-1]["externalRefs"] += links.get(package.purl, [])
        packages[-1].update(_verification(files.owned.get(package.purl, [])))
    found: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": report.target.reference or report.target.scheme,
        "creationInfo": {
            "created": report.meta.scanned_at,
            "creators": [f"Tool: pratique-{report.meta.version}"],
            "licenseListVersion": LIST_VERSION,
        },
        "packages": packages,
        "relationships": [*_relationships(report, ids), *_needs(report, ids), *_contents(files, ids)],
    }
    if listed := [*(file for some in files.owned.values() for file in some), *files.loose]:
        found["files"] = [_file(file) for file in sorted(listed)]
        packages[0].update(_verification(files.loose))
    if words:
        found["hasExtractedLicensingInfos"] = [
            {"licenseId": name, "name": text, "extractedText": text} for name, text in sorted(words.items())
        ]
    told = [[note["comment"] for note in package.get("annotations", ())] for package in packages]
    timeless = {**found, "creationInfo": told, "packages": [{**package, "annotations": []} for package in packages]}
    found["documentNamespace"] = f"https://spdx.org/spdxdocs/pratique-{identifier(timeless)}"
    return found


class _Annotator:
    """Writes annotations, all of which bear the time and the tool of the document."""

    def __init__(self, report: Report) -> None:
        self._same = {
            "annotationDate": report.meta.scanned_at,
            "annotationType": "OTHER",
            "annotator": f"Tool: pratique-{report.meta.version}",
        }

    def __call__(self, texts: Iterable[str]) -> list[dict[str, str]]:
        return [{**self._same, "comment": text} for text in texts]


def _bare(identity: str, name: str, version: str, purpose: str) -> dict[str, Any]:
    found: dict[str, Any] = {"SPDXID": identity, "name": name or _NAMELESS}
    if version:
        found["versionInfo"] = version
    return {
        **found,
        "downloadLocation": _NAMELESS,
        "filesAnalyzed": False,
        "primaryPackagePurpose": purpose,
        "licenseConcluded": _NAMELESS,
        "licenseDeclared": _NAMELESS,
        "copyrightText": _NAMELESS,
    }


def _target(report: Report, annotate: _Annotator) -> dict[str, Any]:
    target = report.target
    purpose = "SOURCE" if target.scheme == "dir" else "CONTAINER"
    found = _bare(_TARGET, target.reference or target.scheme, target.digest, purpose)
    algorithm, value = checksum(target)
    if algorithm:
        found["checksums"] = [{"algorithm": algorithm.upper(), "checksumValue": value}]
    if image := image_purl(target):
        found["externalRefs"] = [_purl(image)]
    found["annotations"] = annotate(target_facts(report))
    return found


def _system(report: Report) -> list[dict[str, Any]]:
    distro = report.target.distro
    return [] if distro is None else [_bare(_SYSTEM, distro.id, distro.version, "OPERATING_SYSTEM")]


def _package(package: Package, identity: str, words: dict[str, str], annotate: _Annotator) -> dict[str, Any]:
    found = _bare(identity, package.name, package.version, "APPLICATION" if package.role == "main" else "LIBRARY")
    declared, spoken = joined(package.licenses)
    words.update(spoken)
    found["licenseDeclared"] = declared or _NAMELESS
    if package.source is not None:
        found["sourceInfo"] = f"built from the source package {package.source.name} {package.source.version}".rstrip()
    found["externalRefs"] = [_purl(package.purl)]
    if (supplier := supplier_of(package)) is not None:
        address = f" ({supplier.address})" if supplier.address else ""
        found["supplier"] = f"{'Organization' if supplier.team else 'Person'}: {supplier.name}{address}"
    if checksums := _checksums(details_of(package).hashes):
        found["checksums"] = checksums
    if facts := own_facts(package):
        found["annotations"] = annotate(facts)
    return found


def _checksums(hashes: Iterable[Checksum]) -> list[dict[str, str]]:
    return [
        {"algorithm": one.algorithm.upper(), "checksumValue": one.value} for one in sorted(hashes) if one.algorithm in DIGESTS
    ]


def _file(file: ImageFile) -> dict[str, Any]:
    return {
        "SPDXID": f"SPDXRef-{file_id(file.path)}",
        "fileName": f"./{file.path}",
        "checksums": _checksums(file.hashes),
        "licenseConcluded": _NAMELESS,
        "licenseInfoInFiles": [_NAMELESS],
        "copyrightText": _NAMELESS,
        **({"comment": f"layer {file.layer}"} if file.layer else {}),
    }


def _verification(files: Sequence[ImageFile]) -> dict[str, Any]:
    """Say that a package's files are listed: the code is the SHA-1 of their sorted SHA-1s (section 7.9 of the specification)."""
    sums = sorted(one.value for file in files for one in file.hashes if one.algorithm == "sha1")
    if not sums:
        return {}
    code = hashlib.sha1("".join(sums).encode(), usedforsecurity=False).hexdigest()
    return {
        "filesAnalyzed": True,
        "packageVerificationCode": {"packageVerificationCodeValue": code},
        "licenseInfoFromFiles": [_NAMELESS],
    }


def _purl(text: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": text}


def _advisories(report: Report) -> dict[str, list[dict[str, str]]]:
    """Return references to advisories by purl (annex K of the specification)."""
    found: dict[str, list[dict[str, str]]] = {}
    for finding in report.findings:
        link = next((text for text in finding.references if is_link(text)), "")
        if finding.kind in VULNERABLE and finding.package is not None and link:
            reference = {"referenceCategory": "SECURITY", "referenceType": "advisory", "referenceLocator": link}
            reference["comment"] = f"{finding.id} ({finding.severity.value}, {finding.status})"
            found.setdefault(finding.package.purl, []).append(reference)
    return found


def _relationships(report: Report, ids: dict[str, str]) -> Iterator[dict[str, str]]:
    """The target contains its packages; a package of the system contains those that came with it."""
    yield _related(_DOCUMENT, "DESCRIBES", _TARGET)
    if report.target.distro is not None:
        yield _related(_TARGET, "CONTAINS", _SYSTEM)
    for package in report.packages:
        yield _related(ids.get(package.owner, _TARGET), "CONTAINS", ids[package.purl])


def _needs(report: Report, ids: dict[str, str]) -> Iterator[dict[str, str]]:
    """What each package depends on; NONE where it is known to need nothing, NOASSERTION for what is not there or not known."""
    for package in report.packages:
        details = details_of(package)
        own = ids[package.purl]
        yield from (_related(own, "DEPENDS_ON", ids[purl]) for purl in details.depends if purl in ids)
        if details.relations == "incomplete":
            yield _related(own, "DEPENDS_ON", _NAMELESS)
        elif details.relations == "complete" and not details.depends:
            yield _related(own, "DEPENDS_ON", "NONE")


def _contents(files: Files, ids: dict[str, str]) -> Iterator[dict[str, str]]:
    for purl, some in sorted(files.owned.items()):
        yield from (_related(ids[purl], "CONTAINS", f"SPDXRef-{file_id(file.path)}") for file in some)
    yield from (_related(_TARGET, "CONTAINS", f"SPDXRef-{file_id(file.path)}") for file in files.loose)


def _related(left: str, kind: str, right: str) -> dict[str, str]:
    return {"spdxElementId": left, "relationshipType": kind, "relatedSpdxElement": right}


REPORTER = Spdx()
