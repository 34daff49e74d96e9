"""SPDX 3.0 JSON-LD in, a Bill out: packages, their licences, what contains what, and our own annotations.

https://spdx.github.io/spdx-spec/v3.0.1/
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pratique.inventory.sbom.bill import MAX_COMPONENTS, MAX_RELATIONS, Bill, decode, entries
from pratique.inventory.sbom.spdx import Digest, Note, Package, Reference, Relation, fill

FORMAT = "SPDX 3"
_RELATIONS = {
    "contains": "CONTAINS",
    "dependsOn": "DEPENDS_ON",
    "hasDeclaredLicense": "LICENCE",
    "hasConcludedLicense": "LICENCE",
}
_PURPOSES = {"container": "CONTAINER", "operatingSystem": "OPERATING-SYSTEM", "source": "SOURCE"}


class _Verified(msgspec.Struct):
    algorithm: str | None = None
    value: str | None = msgspec.field(default=None, name="hashValue")


class _Element(msgspec.Struct):
    """The fields that matter of any element; each kind has its own of them."""

    type: str = ""
    id: str = msgspec.field(default="", name="spdxId")
    name: str | None = None
    version: str | None = msgspec.field(default=None, name="software_packageVersion")
    purl: str | None = msgspec.field(default=None, name="software_packageUrl")
    purpose: str | None = msgspec.field(default=None, name="software_primaryPurpose")
    source: str | None = msgspec.field(default=None, name="software_sourceInfo")
    expression: str | None = msgspec.field(default=None, name="simplelicensing_licenseExpression")
    left: str | None = msgspec.field(default=None, name="from")
    relation: str | None = msgspec.field(default=None, name="relationshipType")
    completeness: str | None = None
    verified: list[_Verified] | None = msgspec.field(default=None, name="verifiedUsing")
    right: list[str] | None = msgspec.field(default=None, name="to")
    subject: str | None = None
    statement: str | None = None


class _Document(msgspec.Struct):
    graph: list[msgspec.Raw] = msgspec.field(name="@graph")


def read(data: bytes) -> Bill:
    """Read a document. Raises ParseError where it is none."""
    document = decode(data, _Document, FORMAT)
    bill = Bill(format=FORMAT)
    packages: dict[str, Package] = {}
    relations: list[Relation] = []
    notes: list[tuple[str, str]] = []
    licences: dict[str, str] = {}
    for element in entries(document.graph, _Element, bill, "element", MAX_COMPONENTS + MAX_RELATIONS):
        if element.type == "software_Package":
            packages[element.id] = _package(element)
        elif element.type == "Relationship" and element.relation in _RELATIONS:
            kind = _RELATIONS[element.relation]
            if kind == "DEPENDS_ON" and element.completeness in ("complete", "incomplete"):
                bill.known[element.left or ""] = element.completeness
            relations += [Relation(left=element.left or "", type=kind, right=right) for right in element.right or ()]
        elif element.type == "Annotation":
            notes.append((element.subject or "", element.statement or ""))
        elif element.expression:
            licences[element.id] = element.expression
    _complete(packages, notes, relations, licences)
    fill(bill, list(packages.values()), iter(relations), [])
    return bill


def _package(element: _Element) -> Package:
    return Package(
        id=element.id,
        name=element.name or "",
        version=element.version,
        purpose=_PURPOSES.get(element.purpose or ""),
        source=element.source,
        references=[Reference(type="purl", locator=element.purl)] if element.purl else [],
        annotations=[],
        checksums=[Digest(algorithm=one.algorithm or "", value=one.value or "") for one in element.verified or ()],
    )


def _complete(
    packages: dict[str, Package], notes: Iterable[tuple[str, str]], relations: Iterable[Relation], licences: dict[str, str]
) -> None:
    for subject, text in notes:
        package = packages.get(subject)
        if package is not None and package.annotations is not None:
            package.annotations.append(Note(comment=text))
    for relation in relations:
        if relation.type == "LICENCE" and relation.left in packages:
            packages[relation.left].declared = licences.get(relation.right)
