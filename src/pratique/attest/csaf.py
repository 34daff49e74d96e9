"""A CSAF document in, its statements out: versions 2.0 and 2.1, profile VEX or any other that states a product's status.

https://docs.oasis-open.org/csaf/csaf/v2.0/csaf-v2.0.html (3.2.2 product tree, 3.2.3 vulnerabilities, 4.5 profile VEX)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from pratique.attest.envelope import decode
from pratique.attest.limits import MAX_NAMES, MAX_PRODUCTS, MAX_STATEMENTS, items, mapping, moment, name, text
from pratique.model.errors import ParseError
from pratique.model.finding import FindingStatus
from pratique.model.vex import Component, Document, Product, Statement, Unread

MAX_DEPTH = 64  # of branches; CSAF 2.1 allows 30
MAX_CHAIN = 8  # relationships of relationships: a package in a module in a product is two
RANGE = "product_version_range"

# Section 3.2.3.9; `recommended` is advice on versions and no status.
_STATUSES: dict[str, FindingStatus] = {
    "known_not_affected": "not_affected",
    "fixed": "fixed",
    "first_fixed": "fixed",
    "known_affected": "affected",
    "first_affected": "affected",
    "last_affected": "affected",
    "under_investigation": "under_investigation",
    "unknown": "under_investigation",
}


class _Document(msgspec.Struct):
    document: Any = None
    product_tree: Any = None
    vulnerabilities: list[msgspec.Raw] = []


class _Said(NamedTuple):
    """What else is said of one product."""

    justification: str
    impact: str
    action: str


def read(data: bytes, source: str) -> Document:
    """Read a document. Raises ParseError."""
    given: _Document = decode(data, _Document)
    head = mapping(given.document)
    tracking, publisher = mapping(head.get("tracking")), mapping(head.get("publisher"))
    if len(given.vulnerabilities) > MAX_STATEMENTS:
        raise ParseError(f"more than {MAX_STATEMENTS:,} vulnerabilities")
    stamp = moment(tracking.get("current_release_date"), tracking.get("initial_release_date"))
    reader = _Reader(mapping(given.product_tree), stamp)
    for raw in given.vulnerabilities:
        reader.take(raw)
    draft = tracking.get("status") == "draft"
    return Document(
        source=source,
        format="csaf",
        id=name(tracking.get("id")),
        author=name(publisher.get("name")),
        version=name(tracking.get("version")),
        timestamp=stamp,
        statements=tuple(reader.statements),
        unread=tuple(reader.unread),
        why_not="it is a draft, not yet meant to be used" if draft else "",
    )


class _Reader:
    """Turns vulnerabilities into statements: one for each status and what is said beside it."""

    def __init__(self, tree: dict[str, Any], stamp: str) -> None:
        self.statements: list[Statement] = []
        self.unread: list[Unread] = []
        self._stamp = stamp
        self._tree = _Tree(tree)
        self._room = MAX_PRODUCTS
        self._number = 0

    def take(self, raw: msgspec.Raw) -> None:
        """Read one vulnerability. Raises ParseError where the document is larger than any."""
        vulnerability = ""
        try:
            given = mapping(decode(bytes(raw)))
            names = _names(given)
            vulnerability = names[0]
            groups = self._groups(given)
        except ParseError as error:
            self._number += 1
            self.unread.append(Unread(self._number, vulnerability, error.message))
            return
        for (status, said), products in groups.items():
            self._number += 1
            self._room -= len(products)
            if self._room < 0 or len(self.statements) >= MAX_STATEMENTS:
                raise ParseError(f"more than {MAX_PRODUCTS:,} products or {MAX_STATEMENTS:,} statements")
            self.statements.append(
                Statement(
                    number=self._number,
                    vulnerability=vulnerability,
                    names=names,
                    status=status,
                    products=tuple(products),
                    justification=said.justification,
                    impact=said.impact,
                    action=said.action,
                    timestamp=self._stamp,
                )
            )

    def _groups(self, given: dict[str, Any]) -> dict[tuple[FindingStatus, _Said], list[Product]]:
        flags = self._beside(given.get("flags"), "label")
        impacts = self._beside(given.get("threats"), "details", {"impact"})
        actions = self._beside(given.get("remediations"), "details")
        found: dict[tuple[FindingStatus, _Said], list[Product]] = {}
        for word, status in _STATUSES.items():
            for given_id in items(mapping(given.get("product_status")).get(word)):
                product_id = name(given_id)
                if product_id:
                    not_affected, affected = status == "not_affected", status == "affected"
                    said = _Said(
                        flags.get(product_id, "") if not_affected else "",
                        impacts.get(product_id, "") if not_affected else "",
                        actions.get(product_id, "") if affected else "",
                    )
                    found.setdefault((status, said), []).append(self._tree.product(product_id))
        return found

    def _beside(self, given: Any, key: str, categories: set[str] | None = None) -> dict[str, str]:
        """Return what flags, threats or remediations say, by product."""
        found: dict[str, str] = {}
        for entry in map(mapping, items(given)):
            if categories and name(entry.get("category")) not in categories:
                continue
            for product_id in self._tree.members(entry):
                self._room -= 1
                found.setdefault(product_id, text(entry.get(key)))
            if self._room < 0:
                raise ParseError(f"more than {MAX_PRODUCTS:,} products")
        return found


def _names(given: dict[str, Any]) -> tuple[str, ...]:
    ids = [name(mapping(one).get("text")) for one in items(given.get("ids"))[:MAX_NAMES]]
    names = tuple(dict.fromkeys(found for found in (name(given.get("cve")), *ids) if found))
    if not names:
        raise ParseError("it names no vulnerability")
    return names


class _Tree:
    """The product tree: what each product id stands for."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._components: dict[str, Component] = {}
        for product, version_range in _products(tree):
            product_id = name(product.get("product_id"))
            if product_id and product_id not in self._components:
                self._components[product_id] = _component(product, version_range)
        self._related = {}
        for entry in map(mapping, items(tree.get("relationships"))):
            product_id = name(mapping(entry.get("full_product_name")).get("product_id"))
            pair = name(entry.get("product_reference")), name(entry.get("relates_to_product_reference"))
            if product_id and all(pair):
                self._related[product_id] = pair
                own = _component(mapping(entry.get("full_product_name")), "")
                if own.purls or own.hashes:  # a relationship that is named as a whole needs no taking apart
                    self._components.setdefault(product_id, own)
        self._groups = {
            name(group.get("group_id")): [name(member) for member in items(group.get("product_ids"))]
            for group in map(mapping, items(tree.get("product_groups")))
        }

    def members(self, entry: dict[str, Any]) -> Iterator[str]:
        """Yield the products that a flag, threat or remediation is about, those of its groups included."""
        for given in items(entry.get("product_ids")):
            yield name(given)
        for group in items(entry.get("group_ids")):
            yield from self._groups.get(name(group), ())

    def product(self, product_id: str) -> Product:
        """Return what a product id stands for: a component, or (by a relationship) a component in another."""
        inner, outer, chain = "", product_id, 0
        while outer in self._related and outer not in self._components:
            part, whole = self._related[outer]
            inner = inner or part
            outer, chain = whole, chain + 1
            if chain > MAX_CHAIN:
                return Product(Component(label=product_id))
        whole_component = self._components.get(outer) or Component(label=outer)
        if not inner:
            return Product(whole_component)
        if chain > 1:  # what stands between would have to be found as well, and no image says what it is
            return Product(Component(label=product_id))
        return Product(whole_component, (self._components.get(inner) or Component(label=inner),))


def _products(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every full product name with the version range whose branch it stands in."""
    for product in items(tree.get("full_product_names")):
        yield mapping(product), ""
    waiting = [(branch, 1) for branch in items(tree.get("branches"))]
    count = 0
    while waiting:
        branch, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_PRODUCTS:
            raise ParseError(f"branches deeper than {MAX_DEPTH} or more than {MAX_PRODUCTS:,}")
        given = mapping(branch)
        if "product" in given:
            yield mapping(given["product"]), name(given.get("name")) if given.get("category") == RANGE else ""
        waiting += [(inner, depth + 1) for inner in items(given.get("branches"))]


def _component(product: dict[str, Any], version_range: str) -> Component:
    helper = mapping(product.get("product_identification_helper"))
    purls = [name(helper.get("purl")), *(name(purl) for purl in items(helper.get("purls")))]
    hashes = [
        f"{name(mapping(one).get('algorithm')).lower()}:{name(mapping(one).get('value')).lower()}"
        for file in items(helper.get("hashes"))
        for one in items(mapping(file).get("file_hashes"))
    ]
    uris = [name(mapping(one).get("uri")) for one in items(helper.get("x_generic_uris"))]
    cpe = name(helper.get("cpe"))
    return Component(
        label=next((purl for purl in purls if purl), "") or name(product.get("name")) or name(product.get("product_id")),
        purls=tuple(dict.fromkeys(purl for purl in purls if purl)),
        hashes=tuple(hashes),
        others=tuple(uri for uri in uris if uri.startswith("urn:")),
        cpes=(cpe,) if cpe else (),
        ranges=(version_range,) if version_range else (),
    )
