"""CycloneDX JSON (1.2 to 1.7) in, a Bill out, with what Syft, Trivy, cdxgen and this program write into properties.

https://cyclonedx.org/docs/1.7/json/
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pratique.inventory.sbom.bill import (
    MAX_COMPONENTS,
    Bill,
    BillLayer,
    Component,
    decode,
    entries,
    place,
    restored,
)
from pratique.inventory.sbom.needs import checksum
from pratique.model.inventory import Checksum, DistroEvidence, Gap, Location, SourcePackage

FORMAT = "CycloneDX"
MAX_FILES = 2_000_000  # entries of any kind; a document lists all files of an image, the largest of which has a million
MAX_HASHES = 20  # of one component; there are a dozen kinds
MAX_PROPERTIES = 5000  # of one component; Syft writes two a location and one a CPE
# What is no package: files, keys and data by their nature, an operating system is the distribution.
_NO_PACKAGES = frozenset(
    ("file", "operating-system", "container", "device", "data", "cryptographic-asset", "machine-learning-model")
)
_SOURCE = "source"  # cdxgen's tag of what is no package of its own
_BARE_SOURCE = "aquasecurity:trivy:PackageSource"  # cdxgen's, a name alone; elsewhere than for Debian it is something else
# Writers that list what packages of the system brought along beside them, without a word on it.
_WORDLESS = frozenset(("syft", "cdxgen"))
# Writers that leave it out: cdxgen Python's and Go's, Trivy all. cdxgen names the Trivy inside of it, too: it is asked for first.
_SILENT = {"cdxgen": "cdxgen", "trivy": "Trivy"}


class _Property(msgspec.Struct):
    name: str = ""
    value: str | None = None


class _LicenceName(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _Licence(msgspec.Struct):
    license: _LicenceName | None = None
    expression: str | None = None


class _Occurrence(msgspec.Struct):
    location: str = ""
    context: str | None = msgspec.field(default=None, name="additionalContext")


class _Method(msgspec.Struct):
    value: str | None = None


class _Identity(msgspec.Struct):
    methods: list[_Method] | None = None


class _Evidence(msgspec.Struct):
    occurrences: list[_Occurrence] | None = None
    identity: msgspec.Raw = msgspec.Raw(b"[]")


class _Hash(msgspec.Struct):
    alg: str = ""
    content: str = ""


class _Component(msgspec.Struct):
    type: str = ""
    ref: str | None = msgspec.field(default=None, name="bom-ref")
    group: str | None = None
    name: str | None = None
    version: str | None = None
    purl: str | None = None
    description: str | None = None
    licenses: list[_Licence] | None = None
    properties: list[_Property] | None = None
    evidence: _Evidence | None = None
    tags: list[str] | None = None
    hashes: list[_Hash] | None = None
    components: list[msgspec.Raw] | None = None


class _Dependency(msgspec.Struct):
    ref: str = ""
    needs: list[str] | None = msgspec.field(default=None, name="dependsOn")


class _Composition(msgspec.Struct):
    aggregate: str = ""
    dependencies: list[str] | None = None


class _Tool(msgspec.Struct):
    name: str | None = None


class _Tools(msgspec.Struct):
    components: list[_Tool] | None = None


class _Metadata(msgspec.Struct):
    component: _Component | None = None
    tools: _Tools | list[_Tool] | None = None


class _Document(msgspec.Struct):
    bomFormat: str = ""  # noqa: N815 - the format's own name
    specVersion: str = ""  # noqa: N815
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    components: list[msgspec.Raw] | None = None
    dependencies: list[msgspec.Raw] | None = None
    compositions: list[msgspec.Raw] | None = None


def read(data: bytes) -> Bill:
    """Read a document. Raises ParseError where it is none."""
    document = decode(data, _Document, FORMAT)
    bill = Bill(format=f"{FORMAT} {document.specVersion}".strip())
    for metadata in entries([document.metadata], _Metadata, bill, "metadata", 1):
        tools = metadata.tools.components or [] if isinstance(metadata.tools, _Tools) else metadata.tools or []
        names = {tool.name for tool in tools}
        bill.owners = _WORDLESS.isdisjoint(names)
        bill.silent = next((called for name, called in _SILENT.items() if name in names), "")
        if metadata.component is not None:
            _subject(metadata.component, bill)
            _nested(metadata.component, document)
    sources: dict[str, SourcePackage] = {}
    for component in _all(document.components, bill):
        if component.type == "operating-system":
            bill.distro = bill.distro or _distro(component)
            continue
        if _SOURCE in (component.tags or ()):
            sources.update(_built(component))
            if "aquasecurity:trivy:PkgID" not in _facts(component):
                continue  # else a package of the same name and version, too
        if component.type not in _NO_PACKAGES or (component.purl and not component.purl.startswith("pkg:generic/")):
            bill.components.append(_package(component))
    _needs(document, bill)
    for package in bill.components if sources else ():
        stated = sources.get(package.name.rpartition("/")[2])
        if stated is not None and (package.source is None or not package.source.version):
            package.source = stated
    return bill


def _needs(document: _Document, bill: Bill) -> None:
    for dependency in entries(document.dependencies, _Dependency, bill, "dependency", MAX_COMPONENTS):
        bill.needs.setdefault(dependency.ref, []).extend(dependency.needs or ())
    for composition in entries(document.compositions, _Composition, bill, "composition", MAX_COMPONENTS):
        kind = composition.aggregate if composition.aggregate in ("complete", "unknown") else "incomplete"
        bill.known.update(dict.fromkeys(composition.dependencies or (), kind))


def _built(component: _Component) -> Iterator[tuple[str, SourcePackage]]:
    """Yield the names of packages that were built from a source package: cdxgen lists it beside them, with them as evidence."""
    source = SourcePackage(component.name or "", component.version or "")
    try:
        found = msgspec.json.decode(
            component.evidence.identity if component.evidence else b"[]", type=list[_Identity] | _Identity
        )
    except (msgspec.DecodeError, RecursionError):
        return
    for identity in found if isinstance(found, list) else [found]:
        yield from ((method.value, source) for method in identity.methods or () if method.value and source.name)


def _nested(subject: _Component, document: _Document) -> None:
    """Some writers put the packages into the component that they belong to."""
    if subject.components:
        document.components = [*(document.components or ()), *subject.components]


def _all(raw: list[msgspec.Raw] | None, bill: Bill) -> Iterator[_Component]:
    """Yield components and those inside of them, without recursion: MAX_COMPONENTS packages at most, and MAX_FILES files."""
    waiting, files, packages = [raw or []], MAX_FILES, MAX_COMPONENTS
    while waiting:
        some = waiting.pop()
        for component in entries(some, _Component, bill, "component", files):
            files -= 1
            if component.components:
                waiting.append(component.components)
            if component.type == "file" and not component.purl:
                continue
            packages -= 1
            if packages < 0:
                message = f"{bill.format}: more than {MAX_COMPONENTS} packages; the rest was not read"
                bill.gaps.append(Gap(code="inventory.truncated", message=message))
                return
            yield component


def _facts(component: _Component) -> dict[str, str]:
    """Return properties by name; the first of a name counts."""
    found: dict[str, str] = {}
    for item in (component.properties or ())[:MAX_PROPERTIES]:
        if item.value is not None:
            found.setdefault(item.name, item.value)
    return found


def _subject(component: _Component, bill: Bill) -> None:
    facts = _facts(component)
    bill.subject = component.name or ""
    bill.platform = facts.get("pratique:platform", "")
    version = component.version or facts.get("aquasecurity:trivy:ImageID", "")
    bill.digest = version if version.startswith(("sha256:", "sha512:")) else ""
    layers: dict[str, dict[str, str]] = {}
    for item in (component.properties or ())[:MAX_PROPERTIES]:
        if item.value is None:
            continue
        if item.name.startswith("pratique:layer:"):
            number, _, key = item.name[15:].partition(":")
            if key in ("diff_id", "digest", "created_by"):
                layers.setdefault(number, {})[key] = item.value
        elif item.name == "aquasecurity:trivy:DiffID":
            layers[str(len(layers))] = {"diff_id": item.value}
        elif item.name == "pratique:gap" and (gap := restored(item.value)) is not None:
            bill.gaps.append(gap)
    bill.layers = [BillLayer(**layer) for layer in layers.values()]


def _distro(component: _Component) -> DistroEvidence:
    facts = _facts(component)
    like = [value for name, value in facts.items() if name.startswith("syft:distro:idLike")]
    return DistroEvidence(
        id=facts.get("syft:distro:id") or component.name or "",
        version=facts.get("syft:distro:versionID") or component.version or "",
        like=tuple(like),
        name=facts.get("syft:distro:prettyName") or component.description or "",
        codename=facts.get("syft:distro:versionCodename", ""),
    )


def _package(component: _Component) -> Component:
    facts = _facts(component)
    name = f"{component.group}/{component.name}" if component.group else component.name
    return Component(
        ref=component.ref or "",
        purl=component.purl or "",
        name=name or "",
        version=component.version or "",
        licenses=tuple(_licences(component.licenses or ())),
        locations=tuple(dict.fromkeys(_locations(component, facts))),
        source=_source(facts, component.purl or ""),
        hashes=tuple(_hashes(component, facts)),
        module=facts.get("aquasecurity:trivy:Modularitylabel", ""),
        owner=facts.get("pratique:owner", ""),
        role=facts.get("pratique:role", ""),
        declared=facts.get("pratique:declared") == "true",
    )


def _hashes(component: _Component, facts: dict[str, str]) -> Iterator[Checksum]:
    for stated in (component.hashes or ())[:MAX_HASHES]:
        yield from checksum(stated.alg, stated.content)
    for name in ("h1", "q1"):
        yield from checksum(name, facts.get(f"pratique:hash:{name}", ""))


def _licences(licences: list[_Licence] | tuple[()]) -> Iterator[str]:
    for item in licences:
        text = item.expression or (item.license and (item.license.id or item.license.name))
        if text:
            yield text


def _locations(component: _Component, facts: dict[str, str]) -> Iterator[Location]:
    """Yield where a component was seen: in occurrences, and in the properties of Syft, Trivy and cdxgen."""
    layer = facts.get("aquasecurity:trivy:LayerDiffID", "")
    found = [place(item.location, item.context) for item in (component.evidence and component.evidence.occurrences) or ()]
    found += [
        place(value, facts.get(f"{name[:-5]}:layerID", ""))
        for name, value in facts.items()
        if name.startswith("syft:location:") and name.endswith(":path")
    ]
    found += [place(facts.get("aquasecurity:trivy:FilePath"), layer), place(facts.get("SrcFile"))]
    yield from (location for location in found if location is not None)


def _source(facts: dict[str, str], purl: str) -> SourcePackage | None:
    for name, version in (
        ("pratique:source:name", "pratique:source:version"),
        ("syft:metadata:source", "syft:metadata:sourceVersion"),
    ):
        if facts.get(name):
            return SourcePackage(facts[name], facts.get(version, ""))
    if facts.get("syft:metadata:originPackage"):
        return SourcePackage(facts["syft:metadata:originPackage"])
    if facts.get(_BARE_SOURCE) and purl.startswith("pkg:deb/"):
        return SourcePackage(facts[_BARE_SOURCE])
    if not facts.get("aquasecurity:trivy:SrcName"):
        return None
    version, release, epoch = (facts.get(f"aquasecurity:trivy:Src{part}", "") for part in ("Version", "Release", "Epoch"))
    version = f"{version}-{release}" if release else version
    return SourcePackage(facts["aquasecurity:trivy:SrcName"], f"{epoch}:{version}" if epoch and version else version)
