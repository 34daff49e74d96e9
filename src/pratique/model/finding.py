"""What is wrong with an image: findings, their severity, and where and why they hold."""

from __future__ import annotations

import enum
from typing import Any, Literal

import msgspec

from pratique.model.advisory import Ssvc

FindingKind = Literal["vulnerability", "secret", "malware", "misconfiguration", "license", "eol"]
FindingStatus = Literal["affected", "fixed", "not_affected", "under_investigation"]
BaselineState = Literal["", "new", "updated", "unchanged"]


class Severity(enum.Enum):
    """Ordered from `unknown` to `critical`; the value is what documents carry."""

    UNKNOWN = "unknown"
    NEGLIGIBLE = "negligible"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for unknown up to 5 for critical."""
        return _RANKS[self]

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Severity):
            return NotImplemented
        return self.rank < other.rank


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class FindingPackage(msgspec.Struct, frozen=True, kw_only=True):
    """The package a finding is about; `source` is the source package whose advisory it was, if that differs."""

    purl: str
    name: str
    version: str
    ecosystem: str = ""
    source: str = ""


class FindingLocation(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was found: path, 1-based line, layer (diff_id) and the instruction that made that layer.

    `column`, `end_line` and `end_column` give the exact region where one is known, else 0. Columns are 1-based and count UTF-16
    code units, as SARIF and editors do; the end column stands behind the last character.
    """

    path: str = ""
    line: int = 0
    column: int = 0
    end_line: int = 0
    end_column: int = 0
    layer: str = ""
    instruction: str = ""


class Cvss(msgspec.Struct, frozen=True):
    """One CVSS vector with its base score (0 to 10) and who gave it."""

    version: str
    vector: str
    score: float
    source: str = ""


class Epss(msgspec.Struct, frozen=True):
    """EPSS of FIRST.org: probability of exploitation in 30 days and percentile, both 0 to 1; `date` of the score."""

    score: float
    percentile: float
    date: str = ""


class Because(msgspec.Struct, frozen=True, kw_only=True):
    """Why a package matched: which advisory of which source, the range, and the comparison that was true.

    `state` is the source's word on a fix ("wont-fix", "unfixed", ...), `note` what it adds ("Minor issue"), `urgency` its word
    for the severity of this package ("unimportant"); `also` are further advisories that say the same.
    """

    source: str
    advisory: str
    ecosystem: str
    package: str
    range: str
    comparison: str
    state: str = ""
    note: str = ""
    urgency: str = ""
    also: tuple[Because, ...] = ()


class VexNote(msgspec.Struct, frozen=True, kw_only=True):
    """The VEX statement that holds for a finding: document (id or where it was read), number in it, author, key that verified it.

    `status` is the statement's; that of the finding follows it only where it is not_affected or fixed.
    """

    document: str
    statement: int
    author: str
    status: FindingStatus
    signer: str = ""
    justification: str = ""
    impact: str = ""
    action: str = ""
    notes: str = ""
    timestamp: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. `fingerprint` is stable across scans (kind, id and package without version, path or layer).

    `fixed_since` is when the first fix came (RFC 3339), "" where no source says: a distributor's notice does, few others do.
    `controls` are those of benchmarks that a misconfiguration goes against ("CIS Docker 4.1").
    `baseline` compares with the baseline of the scan: not there, there but less grave, there; "" where none was given.
    """

    kind: FindingKind
    id: str
    title: str
    severity: Severity
    fingerprint: str
    status: FindingStatus = "affected"
    message: str = ""
    references: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    package: FindingPackage | None = None
    fixed_in: tuple[str, ...] = ()
    cvss: tuple[Cvss, ...] = ()
    epss: Epss | None = None
    kev: bool = False
    ssvc: Ssvc | None = None
    published: str = ""
    location: FindingLocation | None = None
    because: Because | None = None
    waiver: dict[str, Any] | None = None
    vex: VexNote | None = None
    fixed_since: str = ""
    controls: tuple[str, ...] = ()
    baseline: BaselineState = ""
