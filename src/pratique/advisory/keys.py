"""An ecosystem and a version in, its sort key out: version schemes with a memory, as feeds repeat versions a great deal."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from pratique.model.advisory import VersionRange
from pratique.model.errors import UnorderableVersionError
from pratique.model.hits import FIXED, LAST_AFFECTED, LIMIT, OPEN, Bound, HitRange
from pratique.model.ports import VersionScheme
from pratique.model.versions import scheme_for

# Versions remembered per ecosystem; a key has about 30 bytes, so this stays below 40 MB.
_MEMORY = 200_000


class Keys:
    """Sort keys of one ecosystem's versions; None for what it cannot order."""

    def __init__(self, ecosystem: str) -> None:
        self._scheme: VersionScheme | None = scheme_for(ecosystem)
        self._known: dict[str, bytes | None] = {}

    def __call__(self, version: str) -> bytes | None:
        """Return the key, or None where the scheme cannot order it or there is no scheme."""
        try:
            return self._known[version]
        except KeyError:
            pass
        if len(self._known) >= _MEMORY:
            self._known.clear()
        key = None
        if self._scheme is not None:
            try:
                key = self._scheme.key(version)
            except UnorderableVersionError:
                key = None
        self._known[version] = key
        return key

    def range(self, interval: VersionRange) -> HitRange:
        """Return the range with its keys. Of `fixed` and `limit` the lower one bounds."""
        lower = self(interval.introduced) if interval.introduced else b""
        upper, bound = _upper(interval)
        if interval.limit and bound == FIXED:
            fix, limit = self(interval.fixed), self(interval.limit)
            if fix is not None and limit is not None and limit < fix:
                upper, bound = interval.limit, LIMIT
        return HitRange(interval.introduced, upper, bound, lower, self(upper) if bound != OPEN else b"")


def _upper(interval: VersionRange) -> tuple[str, Bound]:
    if interval.fixed:
        return interval.fixed, FIXED
    if interval.last_affected:
        return interval.last_affected, LAST_AFFECTED
    if interval.limit:
        return interval.limit, LIMIT
    return "", OPEN


def outside(versions: Sequence[str], ranges: Sequence[HitRange], keys: Keys) -> tuple[str, ...]:
    """Return those exact versions that no range contains for sure: the others say nothing new."""
    cover = _Cover(ranges)
    kept = []
    for version in versions:
        key = keys(version)
        if key is None or key not in cover:
            kept.append(version)
    return tuple(kept)


# How far a range reaches: (without end, key of the end, the end included).
_Reach = tuple[bool, bytes, bool]


def _reach(one: HitRange) -> _Reach:
    return (False, one.upper_key, one.bound == LAST_AFFECTED) if one.upper_key and one.bound != OPEN else (True, b"", False)


class _Cover:
    """What ranges contain together, for sure. Asked in logarithmic time: a record may name a hundred thousand of both."""

    def __init__(self, ranges: Sequence[HitRange]) -> None:
        known = sorted((one.lower_key, _reach(one)) for one in ranges if one.lower_key is not None and one.upper_key is not None)
        self._lowers = [lower for lower, _ in known]
        self._reaches = list(accumulate((reach for _, reach in known), max))

    def __contains__(self, key: bytes) -> bool:
        at = bisect_right(self._lowers, key)
        if not at:
            return False
        endless, upper, closed = self._reaches[at - 1]
        return endless or key < upper or (closed and key == upper)
