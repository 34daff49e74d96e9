"""The checks' descriptions, which are data: TOML files beside the functions that do the checking."""

from __future__ import annotations

import functools
from importlib import resources

import msgspec

from pratique.model.finding import Severity

FILES = ("dockerfile", "container", "kubernetes", "pod-security", "image", "comments")


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check. `benchmarks` name the requirements of others that it covers; `references` are addresses to read more at."""

    id: str
    title: str
    severity: Severity
    rationale: str
    remedy: str
    benchmarks: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    check: tuple[Check, ...]


@functools.cache
def catalogue() -> dict[str, Check]:
    """Return every check by its id, in the order of the files."""
    import tomllib  # noqa: PLC0415 - only where something is linted

    folder = resources.files("pratique.lint.checks")
    found: dict[str, Check] = {}
    for name in FILES:
        read = msgspec.convert(tomllib.loads((folder / f"{name}.toml").read_text("utf-8")), _File)
        found.update((check.id, check) for check in read.check)
    return found
