"""RFC 3339 in, moments in UTC out, and back."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache


@lru_cache(maxsize=8192)
def moment(text: str) -> dt.datetime:
    """Read RFC 3339; a date alone is its first second in UTC. Raises ValueError."""
    value = dt.datetime.fromisoformat(text)
    try:
        return (value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is outside of the calendar") from None


def written(value: dt.datetime) -> str:
    """Write a moment in UTC as everything here does: RFC 3339 to the second, with a Z."""
    return value.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


_UNITS = ((604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def lasting(seconds: int) -> str:
    """Write a duration in the largest unit that it is a whole number of: 1209600 is "2 weeks", 5400 "90 minutes"."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds and seconds % size == 0), (1, "second"))
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"
