"""What is judged in, the items that conditions look at out: findings, packages, layers, gaps, attestations, the image."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from pratique._kit import references
from pratique.model.attestation import Attestation
from pratique.model.finding import Finding
from pratique.model.inventory import Gap, Package
from pratique.model.report import ReportLayer, Target

Stage = Literal["dev", "ci", "registry", "deploy", "runtime"]
STAGES: tuple[Stage, ...] = ("dev", "ci", "registry", "deploy", "runtime")
Each = Literal["finding", "package", "layer", "gap", "attestation", "image"]
LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)  # what an unknown day of disclosure counts as: no grace, any age


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Where the decision is made: "" where nobody said so."""

    stage: Literal["", "dev", "ci", "registry", "deploy", "runtime"] = ""
    team: str = ""
    environment: str = ""
    namespace: str = ""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """All that is judged. `now` is RFC 3339; `fixed_since` tells by fingerprint since when a fix is known, where that is kept.

    `before` is what it is compared with, where only what is new counts. `examined` names what was looked at (`Report.examined`).
    """

    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()
    packages: tuple[Package, ...] = ()
    target: Target | None = None
    attestations: tuple[Attestation, ...] = ()
    examined: tuple[str, ...] = ()
    context: Context = Context()
    now: str
    fixed_since: Mapping[str, str] = {}
    before: Before | None = None


class Before(NamedTuple):
    """A baseline as a subject of its own, and what it has of each finding of the subject that is compared with it, in order.

    `packages` are the baseline's, by purl and by TYPE/NAME; `memo` is that of its items.
    """

    subject: Subject
    findings: tuple[Finding | None, ...]
    packages: Mapping[str, Package]
    memo: dict[str, int]


class Item(NamedTuple):
    """One thing that conditions look at; what does not apply is None. `memo` keeps what is counted once for all of them."""

    subject: Subject
    finding: Finding | None = None
    package: Package | None = None
    layer: ReportLayer | None = None
    gap: Gap | None = None
    attestation: Attestation | None = None
    memo: dict[str, int] | None = None

    def label(self) -> str:
        """Say in short what it is."""
        if self.finding is not None:
            return f"{self.finding.id} {self.finding.package.purl if self.finding.package else ''}".strip()
        if self.package is not None:
            return self.package.purl
        if self.gap is not None:
            return f"{self.gap.code} {self.gap.path or self.gap.package or self.gap.source}".strip()
        if self.layer is not None:
            return self.layer.diff_id or self.layer.digest
        if self.attestation is not None:
            return self.attestation.predicate
        return self.subject.target.reference if self.subject.target else "image"


repository = references.repository  # a policy and a grant mean the same by a name


def fixed_since(subject: Subject, finding: Finding) -> str:
    """Return since when there is a fix (RFC 3339), as far as that is kept or a source says; "" where it is not known."""
    return subject.fixed_since.get(finding.fingerprint) or finding.fixed_since


def items(subject: Subject, each: Each) -> list[Item]:
    """Return the things that a rule looks at, in the order of the subject."""
    memo: dict[str, int] = {}
    if each == "finding":
        packages = {package.purl: package for package in subject.packages}
        return [
            Item(subject, finding, packages.get(finding.package.purl) if finding.package else None, memo=memo)
            for finding in subject.findings
        ]
    if each == "package":
        return [Item(subject, package=package, memo=memo) for package in subject.packages]
    if each == "layer":
        return [Item(subject, layer=layer, memo=memo) for layer in (subject.target.layers if subject.target else ())]
    if each == "gap":
        return [Item(subject, gap=gap, memo=memo) for gap in subject.gaps]
    if each == "attestation":
        return [Item(subject, attestation=attestation, memo=memo) for attestation in subject.attestations]
    return [Item(subject, memo=memo)]


def earlier(item: Item, place: int) -> Item | None:
    """Return what the baseline has of the item at `place`; None where it has nothing of it, or there is none.

    A gap is asked about whenever it is there, as is the image as a whole: what was not seen may hide something new.
    """
    before = item.subject.before
    if before is None:
        return None
    then, packages, memo = before.subject, before.packages, before.memo
    if item.finding is not None:
        finding = before.findings[place]
        if finding is None:
            return None
        return Item(then, finding, packages.get(finding.package.purl) if finding.package is not None else None, memo=memo)
    if item.package is not None:
        package = packages.get(item.package.purl) or packages.get(f"{item.package.type}/{item.package.name}")
        return Item(then, package=package, memo=memo) if package is not None else None
    if item.layer is not None:
        layers = then.target.layers if then.target is not None else ()
        return next((Item(then, layer=layer, memo=memo) for layer in layers if layer.diff_id == item.layer.diff_id), None)
    return None
