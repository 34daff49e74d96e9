"""What is known about vulnerabilities, in the shape of OSV: advisories, the packages they affect, and version ranges.

https://ossf.github.io/osv-schema/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal

import msgspec

from pratique.model.inventory import Gap

RangeState = Literal["", "unfixed", "wont-fix", "not-affected", "undetermined", "end-of-life"]


class VersionRange(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """Versions v with introduced <= v, and v < fixed, or v <= last_affected. An empty bound is open.

    `introduced` "" (OSV's "0") is before every version. `limit` bounds as `fixed` does, but is no fix.
    """

    introduced: str = ""
    fixed: str = ""
    last_affected: str = ""
    limit: str = ""


class Affected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One package that an advisory affects.

    `ecosystem` is OSV's with its release ("Debian:12", "PyPI", "Alpine:v3.20"); `name` is as the ecosystem writes it, normalised
    by `pratique.model.ecosystems.normalize`. `versions` are exact affected versions beside the ranges. `severity` is the
    distributor's own word, if any; `state` says that a fix is not (or never) to be had, or that it is not affected at all.
    """

    ecosystem: str
    name: str
    ranges: tuple[VersionRange, ...] = ()
    versions: tuple[str, ...] = ()
    severity: str = ""
    state: RangeState = ""
    note: str = ""


class Ssvc(msgspec.Struct, frozen=True, omit_defaults=True):
    """CISA's answers to the decision points of SSVC that do not depend on who asks: https://certcc.github.io/SSVC/.

    `exploitation` is none, poc or active; `automatable` no or yes; `impact` (technical) partial or total; `date` of the answer.
    """

    exploitation: str = ""
    automatable: str = ""
    impact: str = ""
    date: str = ""


class Advisory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of one source. Times are RFC 3339 in UTC; `cvss` holds vectors as published; `source` is the provider's name."""

    id: str
    source: str
    aliases: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    summary: str = ""
    cvss: tuple[str, ...] = ()
    severity: str = ""
    references: tuple[str, ...] = ()
    cwes: tuple[str, ...] = ()
    published: str = ""
    modified: str = ""
    withdrawn: str = ""
    affected: tuple[Affected, ...] = ()
    kind: Literal["vulnerability", "malware"] = "vulnerability"
    ssvc: Ssvc | None = None


class Exploited(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of CISA's catalogue of known exploited vulnerabilities."""

    cve: str
    added: str
    due: str = ""
    ransomware: bool = False


class ExploitScore(msgspec.Struct, frozen=True, kw_only=True):
    """An EPSS score of one CVE."""

    cve: str
    score: float
    percentile: float
    date: str


FeedRecord = Advisory | Exploited | ExploitScore | Gap


class Feed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One address that a provider reads. `path` is its place in a mirror, `url` its upstream; `ecosystems` what it brings.

    `max_bytes` bounds the download. `required` makes its absence an error of `db update`.
    """

    name: str
    path: str
    url: str
    max_bytes: int
    ecosystems: tuple[str, ...] = ()
    licence: str = ""
    required: bool = False


Parse = Callable[[Feed, BinaryIO], Iterator[FeedRecord]]
