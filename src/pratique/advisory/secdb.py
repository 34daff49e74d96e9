"""A security database of an apk distribution in, advisories out: what Alpine, Wolfi and Chainguard publish alike.

Each package lists, by the version that has the fix, the vulnerabilities fixed in it; version "0" means never affected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import msgspec

from pratique.advisory.archive import unreadable
from pratique.advisory.keys import Keys
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, VersionRange
from pratique.model.errors import ParseError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*[-_][A-Za-z0-9][A-Za-z0-9._:-]*\Z|VSV[0-9]+\Z")
_SEPARATORS = re.compile(r"[\s,;/()]+")
# Ids that mean one vulnerability each, as CVEs do; XSA, TALOS, ZDI and others may cover several, so they are only related.
_SINGULAR = ("GHSA-", "CGA-")


class _Package(msgspec.Struct, frozen=True):
    name: str
    secfixes: dict[str, list[str] | None] | None = None


class _Item(msgspec.Struct, frozen=True):
    pkg: _Package


class _Database(msgspec.Struct, frozen=True):
    packages: list[msgspec.Raw] | None = None


def parse(feed: Feed, body: BinaryIO, source: str) -> Iterator[FeedRecord]:
    """Yield one Advisory for each (package, vulnerability) of the feed's one ecosystem. Raises ParseError when it is no secdb."""
    ecosystem = feed.ecosystems[0]
    keys = Keys(ecosystem)
    item = msgspec.json.Decoder(_Item)
    try:
        database = msgspec.json.decode(body.read(feed.max_bytes), type=_Database)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ParseError(f"{feed.name}: not a security database: {error}") from error
    for raw in database.packages or ():
        try:
            package = item.decode(raw).pkg
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            yield unreadable(feed.name, bytes(raw)[:60].decode(errors="replace"), str(error))
            continue
        yield from _advisories(package, ecosystem, source, keys)


def _advisories(package: _Package, ecosystem: str, source: str, keys: Keys) -> Iterator[Advisory]:
    fixes: dict[str, str] = {}
    relatives: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for version, lines in (package.secfixes or {}).items():
        for name, aliases, related in _vulnerabilities(lines or ()):
            seen = fixes.get(name)
            fixes[name] = version if seen is None else _later(seen, version, keys)
            relatives.setdefault(name, (aliases, related))
    for name, version in fixes.items():
        never = version == "0"
        yield Advisory(
            id=name,
            source=source,
            aliases=relatives[name][0],
            related=relatives[name][1],
            affected=(
                Affected(
                    ecosystem=ecosystem,
                    name=package.name,
                    ranges=() if never else (VersionRange("", version),),
                    state="not-affected" if never else "",
                ),
            ),
        )


def _later(one: str, other: str, keys: Keys) -> str:
    """A vulnerability named under two versions was fixed by the later: the first fix was not enough. "0" gives way."""
    if "0" in {one, other}:
        return one if other == "0" else other
    return max(one, other, key=lambda version: keys(version) or b"")


def _vulnerabilities(lines: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Yield (id, aliases, related) of each vulnerability that the lines under one version name."""
    for group in _groups(list(lines)):
        cves = [name for name in group if name.startswith("CVE-")]
        singular = [name for name in group if name.startswith(_SINGULAR)]
        others = [name for name in group if name not in cves and name not in singular]
        if len(cves) == 1:
            yield cves[0], tuple(singular), tuple(others)
        elif cves:
            for cve in cves:
                yield cve, (), tuple(singular + others)
        elif singular:
            ghsa = [name for name in singular if name.startswith("GHSA-")] or singular
            for name in ghsa:
                rest = tuple(n for n in singular if n not in ghsa)
                yield name, rest if len(ghsa) == 1 else (), tuple(others)
        else:
            for name in others:
                yield name, (), ()


def _groups(lines: list[str]) -> Iterator[list[str]]:
    """Yield the ids that stand for one vulnerability: a line each, or where Chainguard's own id closes them, all up to it.

    A CGA id is given to one vulnerability of one package, so the ids before it are its other names.
    """
    names = [[_spelling(word) for word in _SEPARATORS.split(line) if _NAME.match(word)] for line in lines]
    if not lines or not lines[-1].startswith("CGA-"):
        yield from (group for group in names if group)
        return
    group: list[str] = []
    for name in (name for line in names for name in line):
        group.append(name)
        if name.startswith("CGA-"):
            yield group
            group = []


def _spelling(name: str) -> str:
    """Undo the one slip that occurs: CVE_2019-2426."""
    return name.replace("_", "-", 1) if name.startswith("CVE_") else name
