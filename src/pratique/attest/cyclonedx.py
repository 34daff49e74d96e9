"""A CycloneDX document with analyses in, its statements out: VEX within a BOM, or apart from it with BOM-Links (urn:cdx:).

https://cyclonedx.org/docs/1.6/json/#vulnerabilities, https://cyclonedx.org/capabilities/bomlink/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from pratique.attest.envelope import decode
from pratique.attest.limits import MAX_NAMES, MAX_PRODUCTS, MAX_STATEMENTS, items, mapping, moment, name, text
from pratique.model.errors import ParseError
from pratique.model.finding import FindingStatus
from pratique.model.vex import Component, Document, Product, Statement, Unread

LINK = "urn:cdx:"
_STATES: dict[str, FindingStatus] = {
    "resolved": "fixed",
    "resolved_with_pedigree": "fixed",
    "exploitable": "affected",
    "in_triage": "under_investigation",
    "false_positive": "not_affected",
    "not_affected": "not_affected",
}
# Those that mean the same; the three `requires_` say less than any word of the minimum requirements, and stay what they are.
_JUSTIFICATIONS = {
    "code_not_present": "vulnerable_code_not_present",
    "code_not_reachable": "vulnerable_code_not_in_execute_path",
    "protected_by_compiler": "inline_mitigations_already_exist",
    "protected_at_runtime": "inline_mitigations_already_exist",
    "protected_at_perimeter": "inline_mitigations_already_exist",
    "protected_by_mitigating_control": "inline_mitigations_already_exist",
}


class Bom(NamedTuple):
    """A BOM as far as references to it need it: its serial number, what it describes, and its components by bom-ref.

    `scanned` marks that which is the target itself: what it describes is the target, whatever it calls that.
    """

    serial: str
    root: str
    components: dict[str, Component]
    scanned: bool = False

    def find(self, reference: str) -> Component | None:
        """Return a component by its reference, however that is escaped."""
        return self.components.get(reference) or self.components.get(unquote(reference))


Boms = Mapping[str, Bom]


class _Document(msgspec.Struct):
    serial: Any = msgspec.field(name="serialNumber", default=None)
    version: Any = None
    metadata: Any = None
    components: Any = None
    vulnerabilities: list[msgspec.Raw] = []


def read(data: bytes, source: str) -> tuple[Document, Bom]:
    """Read a document, and what others may refer to of it. Raises ParseError."""
    given: _Document = decode(data, _Document)
    if len(given.vulnerabilities) > MAX_STATEMENTS:
        raise ParseError(f"more than {MAX_STATEMENTS:,} vulnerabilities")
    metadata = mapping(given.metadata)
    bom = _bom(name(given.serial), mapping(metadata.get("component")), given.components)
    reader = _Reader(bom, moment(metadata.get("timestamp")))
    for number, raw in enumerate(given.vulnerabilities, 1):
        reader.take(number, raw)
    document = Document(
        source=source,
        format="cyclonedx",
        id=bom.serial,
        author=_author(metadata),
        version=name(given.version),
        timestamp=moment(metadata.get("timestamp")),
        statements=tuple(reader.statements),
        unread=tuple(reader.unread),
    )
    return document, bom


def bom_of(data: bytes) -> Bom | None:
    """Return what a CycloneDX BOM may be referred to by; None for whatever is none. Raises ParseError."""
    if b'"bomFormat"' not in data:
        return None
    given: _Document = decode(data, _Document)
    return _bom(name(given.serial), mapping(mapping(given.metadata).get("component")), given.components)


def _author(metadata: dict[str, Any]) -> str:
    for author in map(mapping, items(metadata.get("authors"))):
        if found := name(author.get("name")) or name(author.get("email")):
            return found
    for key in ("manufacturer", "supplier", "manufacture"):
        if found := name(mapping(metadata.get(key)).get("name")):
            return found
    return ""


def _bom(serial: str, root: dict[str, Any], components: Any) -> Bom:
    found: dict[str, Component] = {}
    for given in _walk([root, *items(components)]):
        reference = name(given.get("bom-ref"))
        if reference and reference not in found:
            found[reference] = _component(given)
    return Bom(serial.lower(), name(root.get("bom-ref")), found)


def _walk(components: list[Any]) -> Iterator[dict[str, Any]]:
    waiting, count = list(reversed(components)), 0
    while waiting:
        given = mapping(waiting.pop())
        count += 1
        if count > MAX_PRODUCTS:
            raise ParseError(f"more than {MAX_PRODUCTS:,} components")
        yield given
        waiting += reversed(items(given.get("components")))


def _component(given: dict[str, Any]) -> Component:
    purl, called, version = name(given.get("purl")), name(given.get("name")), name(given.get("version"))
    hashes = [
        f"{name(mapping(one).get('alg')).lower().replace('sha-', 'sha')}:{name(mapping(one).get('content')).lower()}"
        for one in items(given.get("hashes"))
    ]
    container = given.get("type") == "container"
    if container and version.startswith("sha256:"):  # as Syft writes the digest of an image
        hashes.append(version)
    cpe = name(given.get("cpe"))
    return Component(
        label=purl or f"{called} {version}".strip() or name(given.get("bom-ref")),
        purls=(purl,) if purl else (),
        hashes=tuple(hashes) if container else (),
        others=(called,) if container and called and not purl else (),
        cpes=(cpe,) if cpe else (),
    )


class _Reader:
    """Turns vulnerabilities that somebody analysed into statements."""

    def __init__(self, bom: Bom, stamp: str) -> None:
        self.statements: list[Statement] = []
        self.unread: list[Unread] = []
        self._bom = bom
        self._stamp = stamp
        self._room = MAX_PRODUCTS

    def take(self, number: int, raw: msgspec.Raw) -> None:
        """Read one vulnerability; one without an analysis is no statement."""
        vulnerability = ""
        try:
            given = mapping(decode(bytes(raw)))
            analysis = mapping(given.get("analysis"))
            if not analysis.get("state"):
                return
            names = _names(given)
            vulnerability = names[0]
            groups = self._products(given, _state(analysis))
        except ParseError as error:
            self.unread.append(Unread(number, vulnerability, error.message))
            return
        word = text(analysis.get("justification"))
        for status, products in groups.items():
            self.statements.append(
                Statement(
                    number=number,
                    vulnerability=vulnerability,
                    names=names,
                    status=status,
                    products=tuple(products),
                    justification=_JUSTIFICATIONS.get(word, word) if status == "not_affected" else "",
                    impact=text(analysis.get("detail")) if status == "not_affected" else "",
                    action=text(given.get("recommendation")) or ", ".join(map(text, items(analysis.get("response")))),
                    notes=text(analysis.get("detail")) if status != "not_affected" else "",
                    timestamp=moment(analysis.get("lastUpdated"), analysis.get("firstIssued"), given.get("updated"), self._stamp),
                )
            )

    def _products(self, given: dict[str, Any], state: FindingStatus) -> dict[FindingStatus, list[Product]]:
        """Return what a vulnerability is said to affect, by status. Raises ParseError."""
        found: dict[FindingStatus, list[Product]] = {}
        for entry in map(mapping, items(given.get("affects"))):
            reference = name(entry.get("ref"))
            if not reference:
                continue
            component = self._component(reference)
            for status, ranges in _versions(entry.get("versions"), state).items():
                self._room -= 1
                if self._room < 0:
                    raise ParseError(f"more than {MAX_PRODUCTS:,} products")
                narrowed = msgspec.structs.replace(component, ranges=ranges)
                found.setdefault(status, []).append(placed(narrowed, self._bom, reference))
        if not found:
            raise ParseError("it names no component")
        return found

    def _component(self, reference: str) -> Component:
        """Return what a reference stands for: of this BOM, of another that is only known by its serial number, or a purl."""
        if reference.lower().startswith(LINK):
            serial, _, inner = reference[len(LINK) :].partition("#")
            serial = f"urn:uuid:{serial.partition('/')[0].lower()}"
            if serial != self._bom.serial or (inner and self._bom.find(inner) is None):
                other = "" if serial == self._bom.serial else serial
                return Component(label=reference, purls=_purls(inner), others=(inner,) if inner else (), bom=other or serial)
            reference = inner or self._bom.root
        found = self._bom.find(reference)
        return found or Component(label=reference, purls=_purls(reference))


def _names(given: dict[str, Any]) -> tuple[str, ...]:
    others = [name(mapping(one).get("id")) for one in items(given.get("references"))[:MAX_NAMES]]
    names = tuple(dict.fromkeys(found for found in (name(given.get("id")), *others) if found))
    if not names:
        raise ParseError("it names no vulnerability")
    return names


def _state(analysis: dict[str, Any]) -> FindingStatus:
    word = name(analysis["state"])
    if word not in _STATES:
        raise ParseError(f"{word[:60]!r} is no state")
    return _STATES[word]


def _purls(reference: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in (reference, unquote(reference)) if one.startswith("pkg:")))


def placed(component: Component, bom: Bom, reference: str) -> Product:
    """Return a component in what its BOM describes, where that is an image that can be compared; else by itself."""
    if component.bom:
        return Product(component)
    root = bom.components.get(bom.root)
    inner = reference.partition("#")[2] if reference.lower().startswith(LINK) else reference
    if bom.scanned:
        return Product(component) if inner and inner != bom.root else Product(None)
    if root is None or inner == bom.root or not inner:
        return Product(component)
    image = bool(root.hashes or root.others) or any(purl.startswith(("pkg:oci/", "pkg:docker/")) for purl in root.purls)
    return Product(root, (component,)) if image else Product(component)


def _versions(given: Any, state: FindingStatus) -> dict[FindingStatus, tuple[str, ...]]:
    """Return which versions have which status: all that of the analysis, unless versions are told apart."""
    found: dict[FindingStatus, list[str]] = {}
    for entry in map(mapping, items(given)):
        word = name(entry.get("range")) or name(entry.get("version"))
        spared = entry.get("status") == "unaffected" and state not in ("not_affected", "fixed")
        unknown = entry.get("status") == "unknown"
        status: FindingStatus = "not_affected" if spared else "under_investigation" if unknown else state
        if word:
            found.setdefault(status, []).append(word)
    return {status: tuple(words) for status, words in found.items()} or {state: ()}


def resolve(document: Document, boms: Boms) -> Document:
    """Replace references to BOMs that are at hand by the components that they lead to."""
    if not any(
        product.component is not None and product.component.bom for one in document.statements for product in one.products
    ):
        return document
    statements = [
        msgspec.structs.replace(one, products=tuple(_resolved(product, boms) for product in one.products))
        for one in document.statements
    ]
    return msgspec.structs.replace(document, statements=tuple(statements))


def _resolved(product: Product, boms: Boms) -> Product:
    component = product.component
    bom = boms.get(component.bom) if component is not None and component.bom else None
    if component is None or bom is None:
        return product
    reference = component.others[0] if component.others else bom.root
    found = bom.find(reference)
    if found is None:
        # what BOMs are called by in scans of a BOM: a purl is as good as its reference
        found = Component(label=component.label, purls=component.purls)
    return placed(msgspec.structs.replace(found, ranges=component.ranges), bom, reference)
