"""An OpenVEX document in, its statements out: version 0.2.0, and 0.0.x, where vulnerability and products are plain texts.

https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md; what a statement leaves out it has from its document, and in an
attestation its products from the attestation's subjects (ATTESTING.md).
"""

from __future__ import annotations

from typing import Any

import msgspec

from pratique.attest.envelope import decode
from pratique.attest.limits import MAX_NAMES, MAX_PRODUCTS, MAX_STATEMENTS, items, mapping, moment, name, text
from pratique.model.errors import ParseError
from pratique.model.finding import FindingStatus
from pratique.model.vex import JUSTIFICATIONS, Component, Document, Product, Statement, Unread

CONTEXT = "https://openvex.dev/ns"
STATUSES: tuple[FindingStatus, ...] = ("not_affected", "affected", "fixed", "under_investigation")


class _Document(msgspec.Struct):
    id: Any = msgspec.field(name="@id", default=None)
    author: Any = None
    version: Any = None
    timestamp: Any = None
    last_updated: Any = None
    statements: list[msgspec.Raw] = []


def read(data: bytes, source: str, *, attested: bool = False) -> Document:
    """Read a document; `attested` says that an attestation's subjects stand for products that are left out. Raises ParseError."""
    document: _Document = decode(data, _Document)
    if len(document.statements) > MAX_STATEMENTS:
        raise ParseError(f"more than {MAX_STATEMENTS:,} statements")
    stamp = moment(document.last_updated, document.timestamp)
    statements: list[Statement] = []
    unread: list[Unread] = []
    room = MAX_PRODUCTS
    for number, raw in enumerate(document.statements, 1):
        vulnerability = ""
        try:
            given = decode(bytes(raw))
            vulnerability, names = _names(mapping(given).get("vulnerability"))
            made = _statement(number, mapping(given), (vulnerability, names), attested=attested)
        except ParseError as error:
            unread.append(Unread(number, vulnerability, error.message))
            continue
        room -= sum(1 + len(product.parts) for product in made.products)
        if room < 0:
            raise ParseError(f"more than {MAX_PRODUCTS:,} products")
        own = moment(mapping(given).get("last_updated"), mapping(given).get("timestamp"))
        statements.append(msgspec.structs.replace(made, timestamp=own or stamp))
    return Document(
        source=source,
        format="openvex",
        id=name(document.id),
        author=name(document.author),
        version=name(document.version),
        timestamp=stamp,
        statements=tuple(statements),
        unread=tuple(unread),
    )


def _names(given: Any) -> tuple[str, tuple[str, ...]]:
    """Return what a vulnerability is called, and all its names; the last part of an @id may be one."""
    if not isinstance(given, dict):
        return name(given), (name(given),) if name(given) else ()
    link = name(given.get("@id"))
    own = [name(given.get("name")), *(name(alias) for alias in items(given.get("aliases"))[:MAX_NAMES])]
    names = tuple(dict.fromkeys(found for found in (*own, link.rstrip("/").rpartition("/")[2]) if found))
    return (names[0] if names else ""), names


def _statement(number: int, given: dict[str, Any], vulnerability: tuple[str, tuple[str, ...]], *, attested: bool) -> Statement:
    if not vulnerability[1]:
        raise ParseError("it names no vulnerability")
    status = given.get("status")
    if status not in STATUSES:
        raise ParseError(f"{str(status)[:60]!r} is no status")
    if status == "not_affected" and not (text(given.get("justification")) or text(given.get("impact_statement"))):
        raise ParseError("it says not_affected without a justification or an impact statement, and OpenVEX asks for one")
    stated = text(given.get("justification"))
    if status == "not_affected" and stated and stated not in JUSTIFICATIONS and not text(given.get("impact_statement")):
        raise ParseError(f"{stated[:60]!r} is no justification that OpenVEX knows, and there is no impact statement")
    shared = tuple(component(part) for part in items(given.get("subcomponents")))
    products = [_product(entry, shared) for entry in items(given.get("products"))]
    if not products and attested:
        products = [Product(None, shared)]
    if not products:
        raise ParseError("it names no product")
    return Statement(
        number=number,
        vulnerability=vulnerability[0],
        names=vulnerability[1],
        status=status,
        products=tuple(products),
        justification=text(given.get("justification")),
        impact=text(given.get("impact_statement")),
        action=text(given.get("action_statement")),
        notes=text(given.get("status_notes")),
    )


def _product(given: Any, shared: tuple[Component, ...]) -> Product:
    parts = tuple(component(part) for part in items(mapping(given).get("subcomponents")))
    return Product(component(given), parts or shared)


def component(given: Any) -> Component:
    """Return a product or subcomponent: an object, or in 0.0.x its identifier alone."""
    if not isinstance(given, dict):
        given = {"@id": given}
    identifiers = mapping(given.get("identifiers"))
    own, purl = name(given.get("@id")), name(identifiers.get("purl"))
    found = [one for one in (purl, own) if one]
    hashes = tuple(
        f"{algorithm.lower().replace('sha-', 'sha')}:{value.lower()}"
        for algorithm, value in mapping(given.get("hashes")).items()
        if isinstance(value, str)
    )
    cpes = tuple(name(value) for key, value in identifiers.items() if key.startswith("cpe") and name(value))
    return Component(
        label=(found or list(cpes) or list(hashes) or ["(not named)"])[0],
        purls=tuple(dict.fromkeys(one for one in found if one.startswith("pkg:"))),
        others=tuple(one for one in found if not one.startswith(("pkg:", "cpe:"))),
        hashes=hashes,
        cpes=(*cpes, *(one for one in found if one.startswith("cpe:"))),
    )
