"""Two versions of one ecosystem in, which is older out."""

from __future__ import annotations

from pratique.model.errors import UnorderableVersionError
from pratique.model.versions import scheme_for


def compare(ecosystem: str, left: str, right: str) -> int:
    """Return -1, 0 or 1 as `left` is older than, equal to or newer than `right`.

    `ecosystem` is OSV's name, with or without a release: "PyPI", "Debian:12", "Alpine:v3.20". Raises UnorderableVersionError
    for a version that the ecosystem cannot order, and for any version of an ecosystem without an order: one that is unknown
    ("npmm") or has commits instead of versions ("OSS-Fuzz"). Versions of PyPI that PEP 440 does not know are below all others.
    """
    scheme = scheme_for(ecosystem)
    if scheme is None:
        raise UnorderableVersionError(left, f"ecosystem {ecosystem!r}")
    older, newer = scheme.key(left), scheme.key(right)
    return (older > newer) - (older < newer)
