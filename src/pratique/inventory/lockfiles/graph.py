"""Edges between packages in, those that only developers need out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def reached(roots: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    """Return everything that can be reached from the roots, themselves included."""
    seen = set(roots)
    waiting = list(seen)
    while waiting:
        for follower in edges.get(waiting.pop(), ()):
            if follower not in seen:
                seen.add(follower)
                waiting.append(follower)
    return seen
