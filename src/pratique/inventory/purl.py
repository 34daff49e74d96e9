"""Package facts in, package URLs out, as the purl specification writes them.

https://github.com/package-url/purl-spec; our own dozen lines because an image has thousands of packages and the public library
takes 37 microseconds a purl. It is the oracle of our tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

_SAFE = "-._~:"  # what the specification leaves as it is beside letters and digits


@lru_cache(maxsize=8192)
def _escape(text: str) -> str:
    return quote(text, safe=_SAFE, errors="surrogateescape")


def purl(kind: str, namespace: str, name: str, version: str, qualifiers: Iterable[tuple[str, str]] = ()) -> str:
    """Write `pkg:kind/namespace/name@version?key=value&...`; empty parts are left out, qualifiers sorted by key."""
    parts = ["pkg:", kind, "/"]
    if namespace:
        parts += ["/".join(_escape(part) for part in namespace.split("/") if part), "/"]
    parts.append(_escape(name))
    if version:
        parts += ["@", _escape(version)]
    pairs = sorted((key, value) for key, value in qualifiers if value)
    if pairs:
        parts += ["?", "&".join(f"{key}={quote(value, safe=_SAFE + '/')}" for key, value in pairs)]
    return "".join(parts)
