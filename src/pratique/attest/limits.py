"""Texts of documents in, bounded and comparable values out; and how large a document may be."""

from __future__ import annotations

import datetime as dt
from typing import Any

MAX_DOCUMENT = 64 << 20  # bytes; the largest VEX document of a large vendor has 30 MB
MAX_STATEMENTS = 100_000  # of one document: the largest hub holds a tenth of that in all
MAX_PRODUCTS = 500_000  # of one document, as often as they are named: Red Hat's longest names 60,000
MAX_NAMES = 100  # names of one vulnerability; the most that are known have 20
MAX_TEXT = 4_000  # characters of an impact or action statement that a report carries
MAX_NAME = 2_000  # characters of an id, author or product; a purl with all qualifiers has 300


def text(value: Any, limit: int = MAX_TEXT) -> str:
    """Return a text, cut to its limit; "" for what is none."""
    found = value.strip() if isinstance(value, str) else ""
    return found if len(found) <= limit else found[: limit - 1] + "…"


def name(value: Any) -> str:
    """Return a name, or "" where it is none or longer than any: a name that is cut would be another."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**18 else ""
    return value.strip() if isinstance(value, str) and len(value) <= MAX_NAME else ""


def moment(*values: Any) -> str:
    """Return the first of these RFC 3339 times that is one, in UTC with six decimals and a Z; "" where none is."""
    for value in values:
        if not isinstance(value, str) or not value or len(value) > 64:
            continue
        try:
            found = dt.datetime.fromisoformat(value)
            if found.tzinfo is None:
                found = found.replace(tzinfo=dt.UTC)
            return found.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        except (ValueError, OverflowError):
            continue
    return ""


def items(value: Any) -> list[Any]:
    """Return a list, or an empty one for whatever is none."""
    return value if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    """Return an object, or an empty one for whatever is none."""
    return value if isinstance(value, dict) else {}
