"""`runtimes.toml` in, look-ups of life cycles out, in the form that the feed `endoflife/products` gives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from pratique.model.hits import Hit

FEED = "starter"


class _Product(msgspec.Struct, frozen=True):
    """Releases by name, with the last day of their support."""

    label: str
    releases: dict[str, Any]


@cache
def _products() -> dict[str, _Product]:
    import tomllib  # noqa: PLC0415 - only images with a runtime of their own need it

    content = Path(__file__).with_name("runtimes.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(content), dict[str, _Product])


def lookup(products: Iterable[str]) -> dict[str, list[Hit]]:
    """Return, for each of `products` that is known, a hit a release: `versions` names it, `note` is the day."""
    return {
        name: [
            Hit(f"EOL-{name}-{release}", versions=(release,), state="end-of-life", note=str(day), source=FEED, feed=FEED)
            for release, day in known.releases.items()
        ]
        for name in products
        if (known := _products().get(name)) is not None
    }
