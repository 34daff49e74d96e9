"""Findings, what was scanned and VEX documents in; findings with what is said of them, and every statement's fate, out. Pure.

A statement changes a finding's status only to not_affected or fixed; what is affected or under investigation is told, and changes
nothing that a gate looks at, but that a doubt of ours (`under_investigation`) ends where the author says `affected`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pratique.match.identity import About, claims, incomparable, package_differs
from pratique.match.images import image_differs, is_image
from pratique.match.suspects import Suspects, apart
from pratique.match.vers import Differs
from pratique.model.finding import Finding, VexNote
from pratique.model.inventory import Package
from pratique.model.vex import (
    Component,
    Document,
    Product,
    Statement,
    UnappliedCode,
    VexDocument,
    VexReport,
    VexUnapplied,
)

MAX_UNAPPLIED = 10_000  # statements that a report lists one by one; all are counted
MAX_COMPARISONS = 1_000_000  # of components with packages: a minute's work at most; 10,000 statements of a vendor need 20,000
SKEW = 300  # seconds; clocks of honest machines differ, and a document may be minutes old
_TOO_MUCH = Differs(9, "not-comparable", "documents ask for more comparisons with the packages of one target than are made")
_SETTLING = ("not_affected", "fixed")
# Of statements that tie in all else, the one that silences least holds.
_CAUTION = {"affected": 3, "under_investigation": 2, "fixed": 1, "not_affected": 0}


class Applied(NamedTuple):
    """Findings with their VEX notes, and what became of each document and statement."""

    findings: list[Finding]
    report: VexReport


class _Bid(NamedTuple):
    """A statement that fits a finding, and what decides between several: the later one holds."""

    order: tuple[str, str, int, int, int, int]
    document: Document
    statement: Statement


def apply(
    findings: Sequence[Finding], about: About, packages: Sequence[Package], documents: Sequence[Document], now: str
) -> Applied:
    """Let documents speak about findings. `now` is RFC 3339: what is dated later says nothing yet."""
    court = _Court(findings, about, packages, now)
    for place, document in enumerate(_newest(documents)):
        court.hear(document, place)
    return court.close()


def _newest(documents: Sequence[Document]) -> list[Document]:
    """Mark as not used what there is a later version of. Those of one id and one version are all heard: templates are copied."""
    last: dict[tuple[str, str], str] = {}
    for document in documents:
        if document.id and not document.why_not:
            key = document.author, document.id
            last[key] = max(last.get(key, ""), _number(document.version))
    return [
        msgspec.structs.replace(document, why_not="there is a later version of this document")
        if not document.why_not and _number(document.version) < last.get((document.author, document.id), "")
        else document
        for document in documents
    ]


def _number(version: str) -> str:
    """Return a document's version so that texts sort as versions do."""
    return ".".join(part.rjust(12, "0") if part.isdigit() else part for part in version[:200].split("."))


_Meant = tuple[set[int], Differs | None]


class _Court:
    """Hears documents one by one, then says which statement holds for each finding."""

    def __init__(self, findings: Sequence[Finding], about: About, packages: Sequence[Package], now: str) -> None:
        self._findings = list(findings)
        self._about = about
        self._packages = {package.purl: package for package in packages}
        later = dt.datetime.fromisoformat(now) + dt.timedelta(seconds=SKEW)
        self._latest = later.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._named: dict[str, list[int]] = {}
        for place, finding in enumerate(self._findings):
            if finding.kind == "vulnerability" and finding.package is not None:
                for name in {name.upper() for name in (finding.id, *finding.aliases)}:
                    self._named.setdefault(name, []).append(place)
        self._bids: dict[int, list[_Bid]] = {}
        self._documents: list[Document] = []
        self._unapplied: list[VexUnapplied] = []
        self._counts: Counter[str] = Counter()
        self._room = MAX_COMPARISONS
        self._scopes: dict[Component, Differs | None] = {}

    # -- hearing ----------------------------------------------------------------------------------------------------------------

    def hear(self, document: Document, place: int) -> None:
        """Take a document's statements down."""
        self._documents.append(document)
        for unread in document.unread:
            self._leave(document, unread.number, unread.vulnerability, ("", ""), Differs(0, "unreadable", unread.why))
        if document.why_not:
            for statement in document.statements:
                self._pass(document, statement, statement.products[0], Differs(0, "document-not-used", document.why_not))
            return
        other = self._other_subject(document)
        for statement in document.statements:
            if other is not None:
                self._pass(document, statement, statement.products[0], other)
            elif statement.timestamp > self._latest:
                late = Differs(0, "not-yet", f"it is dated {statement.timestamp[:19]}Z, later than now")
                self._pass(document, statement, statement.products[0], late)
            else:
                self._weigh(document, statement, place)

    def _other_subject(self, document: Document) -> Differs | None:
        subjects = {subject for subject in document.subjects if subject.startswith("sha")}
        if not document.subjects or subjects & self._about.digests:
            return None
        shown = ", ".join(sorted(subjects)[:3]) or "something without a digest"
        return Differs(0, "image-differs", f"the attestation is about {shown}, which this target is not")

    def _weigh(self, document: Document, statement: Statement, place: int) -> None:
        names = {name.upper() for name in statement.names}
        places = sorted({found for name in names for found in self._named.get(name, ())})
        suspects = Suspects([(found, self._package(found)) for found in places], self._about)
        fits: set[int] = set()
        nearest: tuple[Differs, Product] | None = None
        for product in statement.products:
            found, differs = self._product(product, suspects)
            fits |= found
            if differs is not None and (nearest is None or differs.near > nearest[0].near):
                nearest = differs, product
        if not fits:
            differs, product = nearest or (self._unknown(statement.products[0]), statement.products[0])
            self._pass(document, statement, product, self._explained(differs, statement, suspects))
        order = (
            statement.timestamp,
            _number(document.version),
            -document.rank,
            _CAUTION[statement.status],
            -place,
            statement.number,
        )
        for found_at in sorted(fits):
            self._bids.setdefault(found_at, []).append(_Bid(order, document, statement))

    def _package(self, place: int) -> Package | None:
        subject = self._findings[place].package
        return self._packages.get(subject.purl) if subject is not None else None

    def _explained(self, differs: Differs, statement: Statement, suspects: Suspects) -> Differs:
        if suspects.places or differs.code in ("image-differs", "not-comparable", "other-bom"):
            return differs
        message = f"{statement.vulnerability} is not reported for this target"
        return Differs(differs.near, "vulnerability-not-found", f"{message}; {differs.message}" if differs.message else message)

    # -- products ---------------------------------------------------------------------------------------------------------------

    def _product(self, product: Product, suspects: Suspects) -> _Meant:
        """Return the findings of `suspects` that a product means, or what differs."""
        whole = product.component
        if whole is None:
            return self._parts(product.parts, suspects, None) if product.parts else (set(suspects.places), None)
        if whole.bom:
            return set(), Differs(3, "other-bom", f"it is about {whole.label}, a BOM that is neither the target nor given")
        if is_image(whole):
            differs = self._image(whole)
            if differs is not None:
                return set(), differs
            if product.parts:
                return self._parts(product.parts, suspects, None)
            return set(suspects.places), None if suspects.places else self._unknown(product)
        if not claims(whole):
            return set(), Differs(0, "not-comparable", incomparable(whole))
        if not product.parts:
            return self._parts((whole,), suspects, None)
        holders = self._holders(whole)
        if isinstance(holders, Differs):
            return set(), holders
        return self._parts(product.parts, suspects, holders)

    def _image(self, component: Component) -> Differs | None:
        if component not in self._scopes:
            self._scopes[component] = image_differs(component, self._about)
        return self._scopes[component]

    def _unknown(self, product: Product) -> Differs:
        component = product.parts[0] if product.parts else product.component
        installed = [package for claim in claims(component) for package in self._about.called(claim)] if component else []
        if component is None or is_image(component) or installed:
            return Differs(1, "vulnerability-not-found", "")
        return Differs(0, "vulnerability-not-found", f"no package {component.label} is installed either")

    def _holders(self, whole: Component) -> list[Package] | Differs:
        """Return the packages that a product is, or what differs."""
        nearest = Differs(0, "package-not-found", f"no package {whole.label} is installed")
        found = []
        for claim in claims(whole):
            called = self._about.called(claim)
            if not self._has_room(len(called)):
                return _TOO_MUCH
            for package in called:
                differs = package_differs(whole, package, self._about)
                if differs is None:
                    found.append(package)
                else:
                    nearest = max(nearest, differs)
        return found or nearest

    def _parts(self, parts: Sequence[Component], suspects: Suspects, holders: list[Package] | None) -> _Meant:
        found: set[int] = set()
        nearest: Differs | None = None
        for part in parts:
            called = [one for claim in claims(part) for one in suspects.called(claim)]
            if not called:
                missing = self._missing(part, suspects)
                nearest = missing if nearest is None else max(nearest, missing)
            if not self._has_room(len(called) * (1 + len(holders or ()))):
                return found, _TOO_MUCH
            for place, package in called:
                differs = package_differs(part, package, self._about) or apart(package, holders)
                if differs is None:
                    found.add(place)
                else:
                    nearest = differs if nearest is None else max(nearest, differs)
        return found, nearest

    def _has_room(self, comparisons: int) -> bool:
        self._room -= comparisons
        return self._room >= 0

    def _missing(self, part: Component, suspects: Suspects) -> Differs:
        """Say why a component is none of the packages that have the vulnerability."""
        own = claims(part)
        if not own:
            return Differs(0, "not-comparable", incomparable(part))
        if not suspects.places:
            return self._unknown(Product(part))
        for claim in own:
            built = suspects.built_from(claim)
            if built:
                hint = f"{built.name} is built from {claim.name}, which the purl would mean with arch=source"
                return Differs(2, "package-not-found", hint)
        return Differs(1, "package-not-found", f"it is about {part.label}; the vulnerability is reported for {suspects.names}")

    # -- judgement --------------------------------------------------------------------------------------------------------------

    def _pass(self, document: Document, statement: Statement, product: Product, differs: Differs) -> None:
        self._leave(document, statement.number, statement.vulnerability, (statement.status, _label(product)), differs)

    def _leave(self, document: Document, number: int, vulnerability: str, what: tuple[str, str], differs: Differs) -> None:
        self._counts[differs.code] += 1
        if len(self._unapplied) < MAX_UNAPPLIED:
            self._unapplied.append(
                VexUnapplied(
                    document=_called(document),
                    statement=number,
                    vulnerability=vulnerability,
                    status=what[0],
                    product=what[1],
                    code=differs.code,
                    message=differs.message,
                )
            )

    def close(self) -> Applied:
        """Decide for each finding, and account for all statements."""
        winners: dict[tuple[int, int, str], int] = {}
        beaten: dict[tuple[int, int, str], tuple[_Bid, _Bid]] = {}
        applied: Counter[int] = Counter()
        findings = list(self._findings)
        for place, bids in self._bids.items():
            best = max(_spokesmen(bids), key=lambda bid: bid.order)
            findings[place] = _noted(findings[place], best)
            for bid in bids:
                key = id(bid.document), bid.statement.number, str(bid.statement.status)
                if bid is best:
                    winners[key] = winners.get(key, 0) + 1
                else:
                    beaten.setdefault(key, (bid, best))
        for key in winners:
            applied[key[0]] += 1
        for key, (bid, best) in beaten.items():
            if key not in winners:
                later = best.statement
                message = f"a later statement holds: number {later.number} of {_called(best.document)}, {later.status}"
                self._pass(bid.document, bid.statement, bid.statement.products[0], Differs(0, "superseded", message))
        documents = [_reported(document, applied[id(document)]) for document in self._documents]
        unapplied = sorted(self._unapplied, key=lambda one: (one.document, one.statement, one.status, one.product))
        report = VexReport(documents=tuple(documents), unapplied=tuple(unapplied), counts=dict(sorted(self._counts.items())))
        return Applied(findings, report)


def _spokesmen(bids: Sequence[_Bid]) -> list[_Bid]:
    """Return what each document says last: within one, the later statement holds, and of equally old ones that further down."""
    last: dict[int, _Bid] = {}
    for bid in bids:
        earlier = last.get(id(bid.document))
        if earlier is None or (bid.statement.timestamp, bid.statement.number, _CAUTION[bid.statement.status]) > (
            earlier.statement.timestamp,
            earlier.statement.number,
            _CAUTION[earlier.statement.status],
        ):
            last[id(bid.document)] = bid
    return list(last.values())


def _noted(finding: Finding, bid: _Bid) -> Finding:
    statement = bid.statement
    note = VexNote(
        document=_called(bid.document),
        statement=statement.number,
        author=bid.document.author,
        status=statement.status,
        signer=bid.document.signer,
        justification=statement.justification,
        impact=statement.impact,
        action=statement.action,
        notes=statement.notes,
        timestamp=statement.timestamp,
    )
    status = finding.status
    if statement.status in _SETTLING or (statement.status == "affected" and status == "under_investigation"):
        status = statement.status
    return msgspec.structs.replace(finding, status=status, vex=note)


def _called(document: Document) -> str:
    return document.id or document.source


def _label(product: Product) -> str:
    whole = product.component.label if product.component is not None else ""
    parts = ", ".join(part.label for part in product.parts[:3]) + (", …" if len(product.parts) > 3 else "")
    return f"{parts} in {whole}" if whole and parts else whole or parts or "(what the attestation is about)"


def _reported(document: Document, applied: int) -> VexDocument:
    return VexDocument(
        source=document.source,
        id=document.id,
        format=document.format,
        author=document.author,
        version=document.version,
        timestamp=document.timestamp,
        signer=document.signer,
        statements=len(document.statements) + len(document.unread),
        applied=applied,
        why_not=document.why_not,
    )


__all__ = ["MAX_UNAPPLIED", "About", "Applied", "UnappliedCode", "apply"]
