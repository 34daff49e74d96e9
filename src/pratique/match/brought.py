"""The problem that an SBOM leaves out what packages of the system brought in, the same problem as far as it matters out. Pure.

A package of a language that came with one of the system is asked about only where the distributor's feed never speaks of that
one (`pratique.match.find.unanswered`). So a document that does not list it lacks nothing for all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import msgspec

from pratique.match.find import OS_TYPES, is_answered
from pratique.model.hits import Hit
from pratique.model.inventory import Gap, Package

UNLISTED = "inventory.brought-unlisted"
_NAMED = 8  # packages that the problem names, those first whose name speaks of a language; more are counted
_OF_LANGUAGES = re.compile(r"(?:python3?|py3|ruby|rubygem|node|nodejs|php|golang|rust)[\d.]*-|(?:lib)?[\w.+-]+-java$|java-")


def narrowed(
    gaps: Iterable[Gap], packages: Sequence[Package], release: str, hits: Mapping[str, Mapping[str, Sequence[Hit]]]
) -> tuple[Gap, ...]:
    """Return the gaps, that of the unlisted with the packages that nobody answers for; without it where there are none.

    `hits` is what the distributor's feed says of the packages of `release`.
    """
    found = tuple(gaps)
    if all(gap.code != UNLISTED for gap in found):
        return found
    names = {
        package.name
        for package in packages
        if package.type in OS_TYPES
        and package.name not in _bare().get(package.type, ())
        and not is_answered(package, release, hits)
    }
    silent = sorted(names, key=lambda name: (_OF_LANGUAGES.match(name) is None, name))
    if not silent:
        return tuple(gap for gap in found if gap.code != UNLISTED)
    return tuple(_told(gap, silent) if gap.code == UNLISTED else gap for gap in found)


def _told(gap: Gap, silent: Sequence[str]) -> Gap:
    rest = f" and {len(silent) - _NAMED} more" if len(silent) > _NAMED else ""
    message = f"{gap.message}; the distribution's advisories never speak of {', '.join(silent[:_NAMED])}{rest}"
    return msgspec.structs.replace(gap, message=message)


@cache
def _bare() -> dict[str, frozenset[str]]:
    import tomllib  # noqa: PLC0415 - only for such documents
    from importlib import resources  # noqa: PLC0415 - as above

    return msgspec.convert(
        tomllib.loads((resources.files("pratique.match") / "bare.toml").read_text("utf-8")), dict[str, frozenset[str]]
    )
