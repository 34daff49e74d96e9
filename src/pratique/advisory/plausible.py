"""What a feed said and what it says now in, whether that can be so out: news that takes most of it away, or is old, is doubted.

An upstream that published half of its archive, a mirror that broke off, or one that somebody set back: each gives a file that can
be read, and of which a scan would say "nothing found".
"""

from __future__ import annotations

from datetime import date, timedelta

from pratique.advisory.index import Entry
from pratique.advisory.layout import Facts

# Feeds of fewer records may lose any number of them.
FEW = 100
# More than half of the records gone at once: no upstream has withdrawn as much; whole releases that ended were below a third.
_LEFT = 0.5
# Where the newest record is withdrawn, the one before it is the newest: in feeds that large it is hours or days older.
_OLDER = timedelta(days=30)


def doubt(before: Entry, now: Facts) -> str:
    """Return why what came is not taken in place of what is there; "" where there is nothing to doubt."""
    if before.records < FEW:
        return ""
    if now.records < before.records * _LEFT:
        return f"names {now.records} records where {before.records} are known"
    # A record may bear a date that has not come yet: it is as new as the fetch that brought it.
    then, there = _day(now.newest), min(filter(None, (_day(before.newest), _day(before.fetched_at))), default=None)
    if then is not None and there is not None and before.newest and there - then > _OLDER:
        return f"is older than what is here: its newest record is of {now.newest[:10]}, here is one of {before.newest[:10]}"
    return ""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None
