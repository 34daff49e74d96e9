"""Two states of the database in, the records that differ out, each with what of it differs: for people who ask why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from pratique.advisory.keyed import Keys
from pratique.advisory.lookup import Database
from pratique.advisory.store import FeedFile
from pratique.advisory.touched import changed_keys
from pratique.model.advisory import Advisory
from pratique.model.hits import Hit, HitRange

# The field of an advisory, and what people call it.
_CALLED = {
    "aliases": "aliases",
    "cvss": "severity",
    "cwes": "weaknesses",
    "kind": "kind",
    "modified": "date",
    "published": "date",
    "references": "references",
    "related": "related",
    "severity": "severity",
    "summary": "title",
    "withdrawn": "withdrawn",
}


class PackageChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a record says of one package, in words, before and after; "" where it says nothing. `fixed` are the versions."""

    ecosystem: str
    package: str
    before: str = ""
    after: str = ""
    fixed_before: tuple[str, ...] = ()
    fixed_after: tuple[str, ...] = ()


class RecordChange(msgspec.Struct, frozen=True, kw_only=True):
    """One record of one feed that differs. `what` names what does: severity, range, fixed version, aliases, withdrawn, ..."""

    feed: str
    id: str
    change: Literal["added", "removed", "changed"]
    aliases: tuple[str, ...] = ()
    title: str = ""
    what: tuple[str, ...] = ()
    packages: tuple[PackageChange, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that differs. `kev` and `scores` are CVEs whose entry, or score, does; `feeds_added`, `feeds_removed` whole feeds."""

    records: tuple[RecordChange, ...]
    kev: tuple[str, ...]
    scores: tuple[str, ...]
    feeds_added: tuple[str, ...]
    feeds_removed: tuple[str, ...]


def compare(before: Database, after: Database) -> Difference:
    """Return what differs, records by feed and id. Raises DatabaseError for a damaged file."""
    keys = changed_keys(before, after)
    records = [
        record
        for feed, differing in keys.items()
        for record in _records(feed, differing, before.files.get(feed), after.files.get(feed))
    ]
    return Difference(
        records=tuple(records),
        kev=tuple(sorted({cve for one in keys.values() for cve in one.kev})),
        scores=tuple(sorted({cve for one in keys.values() for cve in one.scores})),
        feeds_added=tuple(sorted(after.files.keys() - before.files.keys())),
        feeds_removed=tuple(sorted(before.files.keys() - after.files.keys())),
    )


def _records(feed: str, keys: Keys, before: FeedFile | None, after: FeedFile | None) -> Iterator[RecordChange]:
    by_id: dict[str, set[tuple[str, str]]] = {identifier: set() for identifier in keys.advisories}
    for ecosystem, package, identifier in keys.hits:
        by_id.setdefault(identifier, set()).add((ecosystem, package))
    ids = sorted(by_id)
    old, new = (_details(file, ids) for file in (before, after))
    old_hits, new_hits = (_hits(file, by_id) for file in (before, after))
    for identifier in ids:
        packages = [
            _package(pair, old_hits.get((*pair, identifier), ()), new_hits.get((*pair, identifier), ()))
            for pair in sorted(by_id[identifier])
        ]
        was, now = old.get(identifier), new.get(identifier)
        known = now or was
        yield RecordChange(
            feed=feed,
            id=identifier,
            change=_change(was, now, packages),
            aliases=known.aliases if known is not None else (),
            title=known.summary if known is not None else "",
            what=_what(was, now, packages),
            packages=tuple(packages),
        )


def _change(
    was: Advisory | None, now: Advisory | None, packages: Sequence[PackageChange]
) -> Literal["added", "removed", "changed"]:
    """A record of which only packages are known is there while it names one; that it named others, nobody looked up."""
    if (was is None) != (now is None):
        return "added" if was is None else "removed"
    if was is None and packages and not any(one.before for one in packages):
        return "added"
    if was is None and packages and not any(one.after for one in packages):
        return "removed"
    return "changed"


def _what(was: Advisory | None, now: Advisory | None, packages: Sequence[PackageChange]) -> tuple[str, ...]:
    if (was is None) != (now is None):
        return ()
    found = set()
    if was is not None and now is not None:
        found = {called for field, called in _CALLED.items() if getattr(was, field) != getattr(now, field)}
    for one in packages:
        if not one.before or not one.after:
            found.add("packages")
        elif one.fixed_before != one.fixed_after:
            found |= {"fixed version", "range"}
        else:
            found.add("range")
    return tuple(sorted(found))


def _details(file: FeedFile | None, ids: Sequence[str]) -> dict[str, Advisory]:
    return {} if file is None else {one.id: one for one in file.details(ids)}


def _hits(file: FeedFile | None, by_id: dict[str, set[tuple[str, str]]]) -> dict[tuple[str, str, str], tuple[Hit, ...]]:
    if file is None:
        return {}
    wanted: dict[str, set[str]] = {}
    for pairs in by_id.values():
        for ecosystem, package in pairs:
            wanted.setdefault(ecosystem, set()).add(package)
    found: dict[tuple[str, str, str], tuple[Hit, ...]] = {}
    for ecosystem, packages in wanted.items():
        for package, hits in file.hits(ecosystem, sorted(packages)):
            for hit in hits:
                key = (ecosystem, package, hit.id)
                found[key] = (*found.get(key, ()), hit)
    return found


def _package(pair: tuple[str, str], before: Sequence[Hit], after: Sequence[Hit]) -> PackageChange:
    return PackageChange(
        ecosystem=pair[0],
        package=pair[1],
        before="; ".join(map(words, before)),
        after="; ".join(map(words, after)),
        fixed_before=_fixed(before),
        fixed_after=_fixed(after),
    )


def _fixed(hits: Sequence[Hit]) -> tuple[str, ...]:
    return tuple(one.fixed for hit in hits for one in hit.ranges if one.fixed)


def words(hit: Hit) -> str:
    """Return what a hit says, as people write it: "unfixed: >= 1.0 < 2.0, 2.1"."""
    listed = ", ".join([*map(interval, hit.ranges), *hit.versions])
    notes = " ".join(part for part in (hit.severity, f"({hit.note})" if hit.note else "") if part)
    return " ".join(part for part in (hit.state, listed, notes) if part) or "named"


def interval(one: HitRange) -> str:
    """Return a range, as people write it."""
    end = {1: f"< {one.upper}", 2: f"<= {one.upper}", 3: f"< {one.upper}"}.get(one.bound, "")
    start = f">= {one.introduced}" if one.introduced else ""
    return " ".join(part for part in (start, end) if part) or "every version"
