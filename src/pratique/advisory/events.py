"""OSV range events in, intervals out: introduced, fixed, last_affected and limit, sorted as the specification's algorithm does.

https://ossf.github.io/osv-schema/#evaluation
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from pratique.advisory.keys import Keys
from pratique.model.advisory import VersionRange


class Event(msgspec.Struct, frozen=True):
    """One event as OSV writes it: exactly one field is set."""

    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


_Turn = tuple[str, str]  # kind, version


def intervals(events: Sequence[Event], keys: Keys) -> list[VersionRange]:
    """Return the intervals that `events` of one range spell, lowest first.

    Events need not be sorted. Where a version cannot be ordered they are taken in the order given. Limits clip every interval;
    of several the highest counts, as a version is within when it is below any.
    """
    plain = _simple(events)
    if plain is not None:
        return [plain]
    limit = _limit(events, keys)
    return [VersionRange(r.introduced, r.fixed, r.last_affected, limit) for r in _pair(_moments(events, keys))]


def _simple(events: Sequence[Event]) -> VersionRange | None:
    """Nine of ten ranges are one introduction and at most one end: nothing to sort."""
    if not events or len(events) > 2 or events[0].introduced is None:
        return None
    introduced = "" if events[0].introduced == "0" else events[0].introduced
    if len(events) == 1:
        return VersionRange(introduced)
    second = events[1]
    if second.fixed and not introduced:
        return VersionRange("", second.fixed)
    if second.last_affected and not introduced:
        return VersionRange("", "", second.last_affected)
    return None


def _moments(events: Iterable[Event], keys: Keys) -> list[list[_Turn]]:
    """Return the turns grouped by version, lowest first; in the order given, one by one, if any version cannot be ordered."""
    turns: list[tuple[bytes | None, _Turn]] = []
    for event in events:
        for kind, version in (("introduced", event.introduced), ("fixed", event.fixed), ("last_affected", event.last_affected)):
            if version == "0" and kind == "introduced":
                turns.append((b"", (kind, "")))
            elif version is not None:
                turns.append((keys(version), (kind, version)))
    if any(key is None for key, _ in turns):
        return [[turn] for _, turn in turns]
    turns.sort(key=_first)
    return [[turn for _, turn in group] for _, group in groupby(turns, key=_first)]


def _first(turn: tuple[bytes | None, _Turn]) -> bytes:
    return turn[0] or b""


def _pair(moments: Iterable[Sequence[_Turn]]) -> list[VersionRange]:
    """Walk the moments. At one version an open interval ends before another begins, a closed one begins before it ends."""
    found: list[VersionRange] = []
    start: str | None = None
    for moment in moments:
        ends_first = start is not None
        for kind, version in sorted(moment, key=lambda turn: (turn[0] == "introduced") is ends_first):
            if kind == "introduced":
                start = version if start is None else start
            elif start is not None:
                if (kind, version) != ("fixed", start):
                    found.append(VersionRange(start, **{kind: version}))
                start = None
    if start is not None:
        found.append(VersionRange(start))
    return found


def _limit(events: Iterable[Event], keys: Keys) -> str:
    limits = [event.limit for event in events if event.limit is not None]
    if not limits or "*" in limits:
        return ""
    return max(limits, key=lambda version: keys(version) or b"")
