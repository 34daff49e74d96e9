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
