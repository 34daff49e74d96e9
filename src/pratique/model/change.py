"""What is different between two reports, each difference with its cause: the document of `pratique diff`."""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique.model.finding import Finding
from pratique.model.inventory import Gap
from pratique.model.report import Decision, PolicyRef, ReportLayer, Verdict

CauseKind = Literal["image", "advisory", "vex", "waiver", "policy", "scope", "scanner", "time", "unknown"]
Presence = Literal["added", "removed"]
FindingChanged = Literal["added", "removed", "changed"]
PackageChanged = Literal["added", "removed", "upgraded", "downgraded", "changed"]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is different. `feeds` and `records` name what changed in the database, `waiver` a waiver's id.

    `also` are further causes where one difference has several: a verdict's, and a finding's whose members changed for reasons
    of their own.
    """

    kind: CauseKind
    message: str
    feeds: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    waiver: str = ""
    layer: str = ""
    instruction: str = ""
    also: tuple[Cause, ...] = ()


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a finding that is different, as text ("" for none), and why."""

    name: str
    old: str
    new: str
    cause: Cause


class FindingChange(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that only one report has, or that both have in different states.

    `introduced` is true where it counts for a gate that refuses what is new: it counts now, and did not or was less grave before.
    """

    change: FindingChanged
    old: Finding | None
    new: Finding | None
    introduced: bool
    cause: Cause
    fields: tuple[FieldChange, ...] = ()


class PackageState(msgspec.Struct, frozen=True, kw_only=True):
    """A package as one report has it, with the layer (diff_id) and instruction that brought it."""

    purl: str
    version: str
    path: str = ""
    layer: str = ""
    instruction: str = ""


class PackageChange(msgspec.Struct, frozen=True, kw_only=True):
    """A package that came, went or has another version; `changed` where the two versions cannot be ordered."""

    change: PackageChanged
    name: str
    type: str
    ecosystem: str
    old: PackageState | None
    new: PackageState | None
    cause: Cause


class LayerChange(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that only one image has; `index` counts from 0, the lowest, in the image that has it."""

    change: Presence
    index: int
    layer: ReportLayer
    cause: Cause


class GapChange(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be examined or known in one of the two."""

    change: Presence
    gap: Gap
    cause: Cause


class VerdictChange(msgspec.Struct, frozen=True, kw_only=True):
    """Two verdicts that differ, and the rules that only one of them names."""

    old: Decision
    new: Decision
    added: tuple[str, ...]
    removed: tuple[str, ...]
    cause: Cause


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two reports in short. `built_at`, `database` (its digest) and `kind` are of the advisory database."""

    reference: str
    scheme: str
    digest: str
    platform: str
    distro: str
    scanned_at: str
    version: str
    built_at: str
    database: str
    kind: str
    complete: bool
    decision: Decision
    policy: PolicyRef | None
    packages: int
    findings: int


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """The document. `verdict` is the change between the two verdicts; `gate` decides on what is introduced alone.

    `same_image` and `same_database` say which causes are impossible.
    """

    schema: str
    old: Side
    new: Side
    same_image: bool
    same_database: bool
    findings: tuple[FindingChange, ...]
    packages: tuple[PackageChange, ...]
    layers: tuple[LayerChange, ...]
    problems: tuple[GapChange, ...]
    verdict: VerdictChange | None
    gate: Verdict
