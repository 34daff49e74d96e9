"""A name and a pattern of * and ? in, whether it fits out. Brackets are letters: paths and package names have them."""

from __future__ import annotations

from fnmatch import fnmatchcase


def fits(name: str, pattern: str) -> bool:
    """Say whether a name is what a pattern says: * is any text, slashes included, ? any one character; letter case counts."""
    if "*" not in pattern and "?" not in pattern:
        return name == pattern
    return fnmatchcase(name, pattern.replace("[", "[[]"))
