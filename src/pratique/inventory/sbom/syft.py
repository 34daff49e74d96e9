"""Syft's own JSON in, a Bill out. https://github.com/anchore/syft/tree/main/schema/json."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pratique.inventory.sbom.bill import MAX_COMPONENTS, MAX_RELATIONS, Bill, BillLayer, Component, decode, entries, place
from pratique.model.inventory import DistroEvidence, Location, SourcePackage

FORMAT = "Syft JSON"


class _Location(msgspec.Struct):
    path: str = ""
    layer: str | None = msgspec.field(default=None, name="layerID")
    annotations: dict[str, str] | None = None


class _Licence(msgspec.Struct):
    value: str = ""
    expression: str | None = msgspec.field(default=None, name="spdxExpression")


class _Metadata(msgspec.Struct):
    """What matters of a package's own metadata: the source package, as dpkg, apk and rpm records have it."""

    source: str | None = None
    source_version: str | None = msgspec.field(default=None, name="sourceVersion")
    origin: str | None = msgspec.field(default=None, name="originPackage")
    module: str | None = msgspec.field(default=None, name="modularityLabel")


class _Artifact(msgspec.Struct):
    id: str = ""
    name: str = ""
    version: str | None = None
    type: str = ""
    purl: str | None = None
    locations: list[_Location] | None = None
    licenses: list[_Licence | str] | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class _Relation(msgspec.Struct):
    parent: str = ""
    child: str = ""
    type: str = ""


class _Distro(msgspec.Struct):
    id: str = ""
    version_id: str | None = msgspec.field(default=None, name="versionID")
    pretty: str | None = msgspec.field(default=None, name="prettyName")
    name: str | None = None
    codename: str | None = msgspec.field(default=None, name="versionCodename")


class _Layer(msgspec.Struct):
    digest: str = ""


class _About(msgspec.Struct):
    user_input: str = msgspec.field(default="", name="userInput")
    image: str = msgspec.field(default="", name="imageID")
    manifest: str = msgspec.field(default="", name="manifestDigest")
    layers: list[_Layer] | None = None
    os: str = ""
    architecture: str = ""


class _Source(msgspec.Struct):
    name: str | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class _Document(msgspec.Struct):
    artifacts: list[msgspec.Raw]
    relations: list[msgspec.Raw] | None = msgspec.field(default=None, name="artifactRelationships")
    source: msgspec.Raw = msgspec.Raw(b"{}")
    distro: msgspec.Raw = msgspec.Raw(b"{}")


def read(data: bytes) -> Bill:
    """Read a document. Raises ParseError where it is none."""
    document = decode(data, _Document, FORMAT)
    bill = Bill(format=FORMAT)
    for source in entries([document.source], _Source, bill, "source", 1):
        bill.subject = source.name or ""
        for about in entries([source.metadata], _About, bill, "source", 1):
            bill.subject = about.user_input or bill.subject
            bill.digest = about.image or about.manifest
            bill.platform = "/".join(part for part in (about.os, about.architecture) if part)
            bill.layers = [BillLayer(diff_id=layer.digest) for layer in about.layers or ()]
    for distro in entries([document.distro], _Distro, bill, "distribution", 1):
        if distro.id:
            name, version, codename = distro.pretty or distro.name or "", distro.version_id or "", distro.codename or ""
            bill.distro = DistroEvidence(id=distro.id, version=version, name=name, codename=codename)
    owners = {}
    for relation in entries(document.relations, _Relation, bill, "relation", MAX_RELATIONS):
        if relation.type == "ownership-by-file-overlap":
            owners[relation.child] = relation.parent
        elif relation.type == "dependency-of":
            bill.needs.setdefault(relation.child, []).append(relation.parent)
    for artifact in entries(document.artifacts, _Artifact, bill, "package", MAX_COMPONENTS):
        bill.components.append(_package(artifact, owners, bill))
    return bill


def _package(artifact: _Artifact, owners: dict[str, str], bill: Bill) -> Component:
    return Component(
        ref=artifact.id,
        purl=artifact.purl or "",
        name=artifact.name,
        version=artifact.version or "",
        licenses=tuple(item if isinstance(item, str) else item.expression or item.value for item in artifact.licenses or ()),
        locations=tuple(_locations(artifact)),
        source=_source(artifact, bill),
        module=_module(artifact, bill),
        owner=owners.get(artifact.id, ""),
    )


def _module(artifact: _Artifact, bill: Bill) -> str:
    if artifact.type != "rpm":
        return ""
    read = entries([artifact.metadata], _Metadata, bill, f"metadata of {artifact.name[:100]}:", 1)
    return next((metadata.module or "" for metadata in read), "")


def _locations(artifact: _Artifact) -> Iterator[Location]:
    """Yield the places that are evidence; without a word on it, all."""
    known = [item for item in artifact.locations or () if (item.annotations or {}).get("evidence") == "primary"]
    for item in known or artifact.locations or ():
        found = place(item.path, item.layer)
        if found is not None:
            yield found


def _source(artifact: _Artifact, bill: Bill) -> SourcePackage | None:
    if artifact.type not in ("deb", "apk"):  # an rpm's is in its purl
        return None
    for metadata in entries([artifact.metadata], _Metadata, bill, f"metadata of {artifact.name[:100]}:", 1):
        name = metadata.source or metadata.origin
        return SourcePackage(name, metadata.source_version or "") if name else None
    return None
