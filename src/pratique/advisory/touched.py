"""Two states of the database in, the packages whose matching may differ out: what a fleet has to match again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pratique.advisory.feeds import FALLBACKS
from pratique.advisory.keyed import Keys, differing, scored_in
from pratique.advisory.lookup import Database
from pratique.advisory.starter import Starter
from pratique.advisory.store import FeedFile

# From so many names on, reading all names of a feed is faster than asking for each.
_MANY = 2000
Pair = tuple[str, str]  # ecosystem and package, as feeds write them: `canonical(ecosystem)`, `normalize(ecosystem, name)`


def changed_keys(before: Database, after: Database, *, scores: bool = True) -> dict[str, Keys]:
    """Return, by feed, the keys under which two states differ; only feeds that do. Raises DatabaseError for a damaged file."""
    found = {}
    for feed in sorted(before.files.keys() | after.files.keys()):
        keys = differing(before.files.get(feed), after.files.get(feed), scores=scores)
        if keys:
            found[feed] = keys
    return found


def touched(before: Database, after: Database, *, scores: bool = True) -> set[Pair]:
    """Return the (ecosystem, package) pairs whose findings may differ between two states of the database.

    A package that is in no such pair has the same hits, details, aliases, vectors, KEV entries and (with `scores`) EPSS scores in
    both. EPSS moves most scores every day: whoever does not judge by them leaves them out, and a package is named only for what
    else changed. `before` and `after` are open databases: of one folder at two moments (`open_database(as_of=...)`), or of two
    folders; where one grew out of the other the cost goes with what changed, and with the number of packages, not their rows.
    The shipped starter set counts as there in both; gaps and counts of sources are not compared. Raises DatabaseError for a
    damaged file.
    """
    changed = changed_keys(before, after, scores=scores)
    pairs = {(ecosystem, package) for keys in changed.values() for ecosystem, package, _ in keys.hits}
    for feed, keys in changed.items():
        for database in (before, after):
            if keys.advisories and (file := database.files.get(feed)) is not None:
                pairs |= _owning(file, keys.advisories)
    spoken = set(_spoken(before, after, changed, scores=scores))
    if any(keys.dated for keys in changed.values()) and scores:
        spoken |= {cve for database in (before, after) for cve in _spelled(_all_scored(database))}
    pairs |= _starter(before, after)
    for feed in before.files.keys() ^ after.files.keys():
        pairs |= _every(before, after, (fallback for fallback, primary in FALLBACKS.items() if primary == feed))
    for database in (before, after):
        for file in database.files.values():
            pairs |= _speaking_of(file, spoken)
    return pairs


def _spoken(before: Database, after: Database, changed: dict[str, Keys], *, scores: bool) -> Iterator[str]:
    """Yield every name of a vulnerability that all its packages are told something else of: KEV, EPSS, vectors, an assessment."""
    names: set[str] = set()
    for feed, keys in changed.items():
        yield from keys.kev
        if scores:
            yield from _spelled(keys.scores)
        served = sorted(keys.advisories | {identifier for _, identifier in keys.names})
        for database in (before, after):
            file = database.files.get(feed)
            for advisory in file.details(served) if file is not None else ():
                names.update((advisory.id, *advisory.aliases))
    for one, other in ((before.vectors(names), after.vectors(names)), (before.ssvc(names), after.ssvc(names))):
        yield from (name for name in names if one.get(name) != other.get(name))


def _spelled(cves: Iterable[str]) -> Iterator[str]:
    """Yield how feeds may write CVEs: CVE-2026-0001 is looked up without the leading zeros, too."""
    for cve in cves:
        yield cve
        head, _, number = cve.rpartition("-")
        if number.startswith("0"):
            yield f"{head}-{int(number)}"


def _all_scored(database: Database) -> Iterator[str]:
    for file in database.files.values():
        for block, data in file.scored():
            yield from scored_in(block, data)


def _speaking_of(file: FeedFile, spoken: set[str]) -> set[Pair]:
    """Return the packages with a hit of an advisory that goes by, or covers, one of the names."""
    if not spoken:
        return set()
    if len(spoken) > _MANY:
        others = {identifier for name, identifier in file.names() if name in spoken}
    else:
        others = {identifier for _, identifier in file.named(sorted(spoken))}
    return {
        (ecosystem, package)
        for ecosystem, package, ids in file.owners()
        if not spoken.isdisjoint(ids) or not others.isdisjoint(ids)
    }


def _owning(file: FeedFile, advisories: set[str]) -> set[Pair]:
    """Return the packages of a feed with a hit of one of its advisories."""
    return {(ecosystem, package) for ecosystem, package, ids in file.owners() if not advisories.isdisjoint(ids)}


def _every(before: Database, after: Database, feeds: Iterable[str]) -> set[Pair]:
    """Return all packages of feeds that begin, or cease, to answer in another's place."""
    wanted = list(feeds)
    return {
        (ecosystem, package)
        for database in (before, after)
        for feed in wanted
        if (file := database.files.get(feed)) is not None
        for ecosystem, package, _ in file.every()
    }


def _starter(before: Database, after: Database) -> set[Pair]:
    """Return the packages that the starter set answers for in one state only."""
    starter = Starter.load()
    one, other = (
        {
            (ecosystem, package)
            for ecosystem in starter.ecosystems
            if not database.has(ecosystem)
            for package in starter.packages(ecosystem)
        }
        for database in (before, after)
    )
    return one ^ other
