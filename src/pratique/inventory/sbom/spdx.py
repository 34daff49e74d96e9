"""SPDX 2.x, as JSON or as tags and values, in, a Bill out. https://spdx.github.io/spdx-spec/v2.3/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pratique.inventory.sbom.bill import (
    MAX_COMPONENTS,
    MAX_RELATIONS,
    Bill,
    BillLayer,
    Component,
    decode,
    entries,
    place,
    restored,
)
from pratique.inventory.sbom.needs import checksum
from pratique.model.inventory import Checksum, DistroEvidence, Location, SourcePackage

FORMAT = "SPDX"
MAX_FILES = 20  # of one package that are looked at for its place; Trivy names one
MAX_HASHES = 20  # of one package
MAX_NOTES = 5000  # annotations of one package
_OVERLAP = "ownership-by-file-overlap"  # how Syft says that a package of the system brought another
_SUBJECTS = frozenset(("CONTAINER", "SOURCE", "FILE", "DEVICE", "FIRMWARE", "OPERATING-SYSTEM"))
_BUILT_FROM = ("built package from: ", "built from the source package ")  # Trivy's words, and ours
_FOUND_IN = "acquired package info from "  # Syft's words: "... from DPKG DB: /var/lib/dpkg/status, ..."
_UNSAID = frozenset(("", "NOASSERTION", "NONE"))


class Reference(msgspec.Struct):
    """What a package is called elsewhere."""

    type: str = msgspec.field(default="", name="referenceType")
    locator: str = msgspec.field(default="", name="referenceLocator")


class Note(msgspec.Struct):
    """An annotation."""

    comment: str = ""


class Digest(msgspec.Struct):
    """A checksum."""

    algorithm: str = ""
    value: str = msgspec.field(default="", name="checksumValue")


class Package(msgspec.Struct):
    """A package as SPDX 2 has it; the tag-value reader fills the same."""

    id: str = msgspec.field(default="", name="SPDXID")
    name: str = ""
    version: str | None = msgspec.field(default=None, name="versionInfo")
    purpose: str | None = msgspec.field(default=None, name="primaryPackagePurpose")
    declared: str | None = msgspec.field(default=None, name="licenseDeclared")
    concluded: str | None = msgspec.field(default=None, name="licenseConcluded")
    source: str | None = msgspec.field(default=None, name="sourceInfo")
    references: list[Reference] | None = msgspec.field(default=None, name="externalRefs")
    annotations: list[Note] | None = None
    checksums: list[Digest] | None = None


class Relation(msgspec.Struct):
    """A relationship of two elements."""

    left: str = msgspec.field(default="", name="spdxElementId")
    type: str = msgspec.field(default="", name="relationshipType")
    right: str = msgspec.field(default="", name="relatedSpdxElement")
    comment: str | None = None


class FileName(msgspec.Struct):
    """A file, by its name alone."""

    id: str = msgspec.field(default="", name="SPDXID")
    name: str = msgspec.field(default="", name="fileName")


class Words(msgspec.Struct):
    """What a LicenseRef- stands for."""

    id: str = msgspec.field(default="", name="licenseId")
    name: str | None = None
    text: str | None = msgspec.field(default=None, name="extractedText")


class _Creation(msgspec.Struct):
    creators: list[str] | None = None


class _Document(msgspec.Struct):
    version: str = msgspec.field(name="spdxVersion")
    name: str = ""
    packages: list[msgspec.Raw] | None = None
    relations: list[msgspec.Raw] | None = msgspec.field(default=None, name="relationships")
    words: list[msgspec.Raw] | None = msgspec.field(default=None, name="hasExtractedLicensingInfos")
    files: list[msgspec.Raw] | None = None
    creation: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"{}"), name="creationInfo")


def read(data: bytes) -> Bill:
    """Read a JSON document. Raises ParseError where it is none."""
    document = decode(data, _Document, FORMAT)
    bill = Bill(format=document.version[:20], subject=document.name)
    for creation in entries([document.creation], _Creation, bill, "creation", 1):
        for creator in creation.creators or ():
            written_by(creator, bill)
    packages = list(entries(document.packages, Package, bill, "package", MAX_COMPONENTS))
    words = list(entries(document.words, Words, bill, "licence", MAX_COMPONENTS))
    fill(bill, packages, entries(document.relations, Relation, bill, "relationship", MAX_RELATIONS), words)
    if unplaced := unplaced_files(bill):
        names = {file.id: file.name for file in entries(document.files, FileName, bill, "file", MAX_RELATIONS)}
        put_files(unplaced, names)
    return bill


def written_by(creator: str, bill: Bill) -> None:
    """Note what is known of a document's writer."""
    if creator.startswith("Tool: pratique-"):
        bill.sure = True  # ours say NOASSERTION where it is not all
    elif creator.startswith("Tool: trivy-"):
        bill.silent = "Trivy"


def unplaced_files(bill: Bill) -> list[Component]:
    """Return the components whose place is told by a file of theirs alone, as Trivy does."""
    return [component for component in bill.components if component.files and not component.locations]


def put_files(components: Iterable[Component], names: Mapping[str, str]) -> None:
    """Give components the places of their files."""
    for component in components:
        found = (place(names.get(identity, "").removeprefix("./")) for identity in component.files)
        component.locations = tuple(location for location in found if location is not None)


def fill(bill: Bill, packages: Sequence[Package], relations: Iterator[Relation], words: Sequence[Words]) -> None:
    """Enter packages, which package brought which, and the words of licences."""
    purls = {package.id: _purl(package) for package in packages}
    described, owners = set(), {}
    files: dict[str, list[str]] = {}
    for relation in relations:
        if relation.type == "CONTAINS" and relation.right not in purls and purls.get(relation.left):
            inside = files.setdefault(relation.left, [])
            if len(inside) < MAX_FILES:
                inside.append(relation.right)
            continue
        if relation.type == "DEPENDS_ON":
            _need(bill, relation.left, relation.right)
        elif relation.type == "DEPENDENCY_OF":
            _need(bill, relation.right, relation.left)
        elif relation.type == "DESCRIBES":
            described.add(relation.right)
        elif (relation.type == "CONTAINS" and purls.get(relation.left, "").startswith(("pkg:deb/", "pkg:apk/", "pkg:rpm/"))) or (
            relation.type == "OTHER" and (relation.comment or "").startswith(_OVERLAP)
        ):
            owners[relation.right] = relation.left
    spoken = {item.id: item.name if item.name not in (None, "NOASSERTION") else item.text for item in words}
    for package in packages:
        purl, purpose = purls[package.id], (package.purpose or "").replace("_", "-")
        if purpose == "OPERATING-SYSTEM":
            bill.distro = bill.distro or DistroEvidence(id=package.name, version=_said(package.version))
        elif (not purl and (purpose in _SUBJECTS or package.id in described)) or purl.startswith(("pkg:oci/", "pkg:docker/")):
            _subject(package, bill)
        else:
            bill.components.append(_package(package, purl, owners.get(package.id, ""), spoken))
            bill.components[-1].files = tuple(files.get(package.id, ()))


def _need(bill: Bill, left: str, right: str) -> None:
    """Enter a need; NONE says that there is none, NOASSERTION that there may be more."""
    needs = bill.needs.setdefault(left, [])
    if right == "NOASSERTION":
        bill.known[left] = "incomplete"
    elif right == "NONE":
        bill.known.setdefault(left, "complete")
    else:
        needs.append(right)


def _said(text: str | None) -> str:
    return "" if text is None or text in _UNSAID else text


def _purl(package: Package) -> str:
    return next((item.locator for item in package.references or () if item.type == "purl"), "")


def _notes(package: Package) -> Iterator[tuple[str, str]]:
    """Yield our own facts and Trivy's, as (key, value)."""
    for note in (package.annotations or ())[:MAX_NOTES]:
        key, _, value = note.comment.partition(" ")
        yield key.removesuffix(":"), value


def _subject(package: Package, bill: Bill) -> None:
    version = _said(package.version)
    bill.subject = package.name or bill.subject
    bill.digest = version if version.startswith(("sha256:", "sha512:")) else bill.digest
    for key, value in _notes(package):
        if key == "pratique:gap" and (gap := restored(value)) is not None:
            bill.gaps.append(gap)
        elif key == "pratique:platform":
            bill.platform = value
        elif key == "pratique:layer":
            diff_id, _, created_by = value.partition(" ")
            bill.layers.append(BillLayer(diff_id=diff_id, created_by=created_by))
        elif key == "DiffID":
            bill.layers.append(BillLayer(diff_id=value))
        elif key == "ImageID":
            bill.digest = value


def _package(package: Package, purl: str, owner: str, spoken: dict[str, Any]) -> Component:
    facts = dict(_notes(package))
    licence = _said(package.declared) or _said(package.concluded)
    return Component(
        ref=package.id,
        purl=purl,
        name=package.name,
        version=_said(package.version),
        licenses=(str(spoken.get(licence) or licence),) if licence else (),
        locations=tuple(dict.fromkeys(_locations(package, facts))),
        source=_source(_said(package.source)),
        hashes=tuple(_hashes(package)),
        module=facts.get("Modularitylabel", ""),
        owner=owner,
        role=facts.get("pratique:role", ""),
        declared=facts.get("pratique:declared") == "true",
    )


def _hashes(package: Package) -> Iterator[Checksum]:
    for stated in (package.checksums or ())[:MAX_HASHES]:
        yield from checksum(stated.algorithm, stated.value)
    for key, value in _notes(package):
        if key == "pratique:hash":
            yield from checksum(*value.partition(" ")[::2])


def _locations(package: Package, facts: dict[str, str]) -> Iterator[Location]:
    found = []
    for key, value in _notes(package):
        if key == "pratique:location":
            layer, _, path = value.partition(" ")
            found.append(place(path, layer))
        elif key == "FilePath":
            found.append(place(value, facts.get("LayerDiffID", "")))
    source = _said(package.source)
    if source.startswith(_FOUND_IN):
        found += [place(path) for path in source.partition(": ")[2].split(", ")]
    yield from (location for location in found if location is not None)


def _source(text: str) -> SourcePackage | None:
    for words in _BUILT_FROM:
        if text.startswith(words):
            name, _, version = text[len(words) :].partition(" ")
            return SourcePackage(name, version) if name else None
    return None
