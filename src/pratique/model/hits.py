"""What an advisory database answers about a package: hits, with version keys computed beforehand, so that matching only compares.

Data that `advisory` fills and `match` reads; it stands in the model because neither may import the other.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique.model.advisory import Advisory, RangeState

Bound = Literal[0, 1, 2, 3]
OPEN: Bound = 0
FIXED: Bound = 1
LAST_AFFECTED: Bound = 2
LIMIT: Bound = 3


class HitRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Versions v with introduced <= v that `upper` bounds: OPEN not, FIXED or LIMIT (v < upper), LAST_AFFECTED (v <= upper).

    `lower_key` and `upper_key` are `VersionScheme.key` of the two versions; b"" where that side is open, None where the version
    cannot be ordered (or its ecosystem has no scheme): then nobody may say "not vulnerable" because of this range.
    """

    introduced: str = ""
    upper: str = ""
    bound: Bound = 0
    lower_key: bytes | None = b""
    upper_key: bytes | None = b""

    @property
    def fixed(self) -> str:
        """The first version that has the fix; "" where none is known."""
        return self.upper if self.bound == FIXED else ""

    def contains(self, key: bytes) -> bool | None:
        """Say whether a version (by its key) lies within; None when that cannot be known."""
        lower, upper = self.lower_key, self.upper_key
        if lower and key < lower:
            return False
        above = bool(upper) and self.bound != OPEN and (key > upper if self.bound == LAST_AFFECTED else key >= upper)  # type: ignore[operator]
        if above:
            return False
        return None if lower is None or upper is None else True


class Hit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One advisory that speaks of the package asked for.

    `id` is the source's own; `source` the provider's name ("osv", "debian", ...) and `feed` where it came from ("osv/PyPI"); they
    are set by the look-up. `ranges`, exact `versions` (only those outside the ranges), `state`, `severity` (the distributor's
    word) and `note` are those of `model.advisory.Affected`. State "not-affected" has no ranges: the source denies it.
    """

    id: str
    ranges: tuple[HitRange, ...] = ()
    versions: tuple[str, ...] = ()
    state: RangeState = ""
    severity: str = ""
    note: str = ""
    source: str = ""
    feed: str = ""


# Ids of notices: a distributor's paper on the fixes of several vulnerabilities, each of which is a finding of its own.
_NOTICES = (
    "OESA-", "ALSA-", "RLSA-", "DSA-", "DLA-", "USN-", "LSN-", "RHSA-", "ELSA-", "ALAS", "SUSE-",
    "openSUSE-", "PHSA-", "MGASA-",
)  # fmt: skip
_CVES = ("CVE-", "UBUNTU-CVE-", "DEBIAN-CVE-")


def is_notice(advisory: Advisory) -> bool:
    """Say whether an advisory is a distributor's paper on fixes, which is published with them."""
    return advisory.id.startswith(_NOTICES)


def covers(advisory: Advisory) -> tuple[str, ...]:
    """Return the vulnerabilities that a notice fixes (ALSA-2024:1 -> its CVEs); () where the advisory is one vulnerability.

    A distributor's own record of a CVE (UBUNTU-CVE-2024-1) means that CVE.
    """
    if not is_notice(advisory):
        return ()
    return tuple(dict.fromkeys(name[name.index("CVE-") :] for name in advisory.related if name.startswith(_CVES)))
