"""Versions as documents state them and a package in, whether the package's is meant out. Pure.

https://github.com/package-url/vers-spec; the versions of a range are put in order first, as writers do not.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from pratique.model.errors import UnorderableVersionError
from pratique.model.inventory import Package
from pratique.model.versions import scheme_for
from pratique.model.vex import UnappliedCode

MAX_CONSTRAINTS = 1_000  # of one range; the longest known have some 200


class Differs(NamedTuple):
    """What differs. The higher `near`, the nearer a document came: of several differences the nearest is worth telling."""

    near: int
    code: UnappliedCode
    message: str


def key_of(version: str, package: Package) -> bytes:
    """Return what orders a version of a package, b"" where nothing does."""
    scheme = scheme_for(package.ecosystem)
    if scheme is None:
        return b""
    try:
        return bytes(scheme.key(version))
    except UnorderableVersionError:
        return b""


def in_ranges(ranges: Sequence[str], version: str, package: Package) -> Differs | None:
    """Return None where a version is in one of the ranges (without any: always), else what differs."""
    if not ranges:
        return None
    found = [_in_range(one, version, package) for one in ranges]
    if True in found:
        return None
    unknown = next((one for one, inside in zip(ranges, found, strict=True) if inside is None), "")
    if unknown:
        return Differs(4, "not-comparable", f"the versions {unknown[:100]!r} cannot be compared with {version} of {package.name}")
    return Differs(4, "version-differs", f"it is about versions {', '.join(ranges[:5])}; {package.name} is {version}")


_CONSTRAINT = re.compile(r"(>=|<=|!=|=|<|>)?\s*(.+)")


def _in_range(text: str, version: str, package: Package) -> bool | None:
    """Say whether a version is in a vers: range, or is the version that is written; None where that cannot be known."""
    key = key_of(version, package)
    if not text.startswith("vers:"):
        if re.match(r"\s*[<>=~^*]", text):
            return None
        return text == version or (bool(key) and key_of(text, package) == key)
    body = text.partition("/")[2].strip()
    if body == "*":
        return True
    constraints = _constraints(body, package)
    if constraints is None or not key:
        return None
    for at, sign in constraints:
        if at == key:
            return "=" in sign and sign != "!="
    bounds = [(at, sign[0]) for at, sign in constraints if sign[0] in "<>"]
    if not bounds:
        return bool(constraints) and all(sign == "!=" for _, sign in constraints)
    if (bounds[0][1] == "<" and key < bounds[0][0]) or (bounds[-1][1] == ">" and key > bounds[-1][0]):
        return True
    return any(low[1] == ">" and high[1] == "<" and low[0] < key < high[0] for low, high in itertools.pairwise(bounds))


def _constraints(body: str, package: Package) -> list[tuple[bytes, str]] | None:
    found = []
    for part in body.split("|", MAX_CONSTRAINTS):
        match = _CONSTRAINT.fullmatch(part.strip())
        key = key_of(unquote(match[2]), package) if match else b""
        if match is None or not key:
            return None
        found.append((key, match[1] or "="))
    return sorted(found)
