"""The report of one target: what was inspected, what was found, what could not be seen, and the verdict on it."""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique.model.attestation import Attestation
from pratique.model.finding import Finding
from pratique.model.inventory import Gap, ImageFile, Package
from pratique.model.vex import VexReport

Decision = Literal["allow", "warn", "deny", "unknown"]


class ReportDistro(msgspec.Struct, frozen=True):
    """id and version as os-release gives them; `eol` a date or null."""

    id: str
    version: str
    eol: str | None


class ReportLayer(msgspec.Struct, frozen=True):
    """One layer; `size` is of the blob as stored (uncompressed where the format states none)."""

    digest: str
    diff_id: str
    created_by: str
    size: int


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken: reference, scheme, digest, platform, distribution and layers, lowest first.

    `digests` are others that it is known by: of the index that led to it, of its configuration, in a registry it came from.
    """

    reference: str
    scheme: str
    digest: str
    platform: str
    distro: ReportDistro | None
    layers: tuple[ReportLayer, ...]
    digests: tuple[str, ...] = ()


class DatabaseSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One feed in the database: records, when it was last fetched, newest record, licence, digest of what is kept."""

    name: str
    records: int
    fetched_at: str = ""
    newest: str = ""
    licence: str = ""
    digest: str = ""


class DatabaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which advisory database was asked. `digest` is of its content; `kind` "starter" where only the shipped set was there."""

    built_at: str
    digest: str
    kind: Literal["full", "starter", "none"]
    sources: tuple[DatabaseSource, ...] = ()


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Who scanned when with what. Everything but `scanned_at` is a function of the inputs."""

    version: str
    scanned_at: str
    database: DatabaseInfo


class PolicyRef(msgspec.Struct, frozen=True):
    """Name and digest of the policy that was applied."""

    name: str
    digest: str


class Reason(msgspec.Struct, frozen=True):
    """One rule that fired, with the fingerprints of the findings it fired on; `effect` is what it came to, `remedy` what to do.

    `effect` is "" where nothing was decided by it: a remark.
    """

    rule: str
    message: str
    findings: tuple[str, ...] = ()
    effect: Literal["", "allow", "warn", "deny"] = ""
    remedy: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision and why.

    `until` is the first moment (RFC 3339) at which the same facts would be judged otherwise: a waiver or a grace ends, or the
    support of the distribution; "" where nothing that is known of ends. Conditions that ask for `now` are not foreseen.
    """

    decision: Decision
    policy: PolicyRef | None = None
    reasons: tuple[Reason, ...] = ()
    until: str = ""


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan was compared with. `complete` and `problems` are the baseline's own; the counts are of this scan's findings.

    `gone` are findings that only the baseline has.
    """

    reference: str
    scheme: str
    digest: str
    scanned_at: str
    complete: bool
    new: int
    updated: int
    unchanged: int
    gone: int
    problems: tuple[Gap, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The one document (`pratique schema scan`); every format is written from it. `files` are there where an SBOM asked.

    `examined` names what was looked at, sorted: packages, configuration (of the image), attestations, dockerfile, compose,
    kubernetes. `attestations` is null where nobody asked for them.
    """

    schema: str
    complete: bool
    meta: Meta
    target: Target
    packages: tuple[Package, ...]
    findings: tuple[Finding, ...]
    problems: tuple[Gap, ...]
    verdict: Verdict
    baseline: Baseline | None = None
    vex: VexReport | None = None
    examined: tuple[str, ...] = ()
    attestations: tuple[Attestation, ...] | None = None
    files: tuple[ImageFile, ...] | msgspec.UnsetType = msgspec.UNSET
