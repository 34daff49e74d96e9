"""The cache folder in, an open advisory database out: hits for packages, details for hits, and what is not known as gaps.

Where a feed was never had, the starter set answers for its ecosystems.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pratique.advisory import index as catalogue
from pratique.advisory.feeds import ASSESSED, ENRICHMENT, FALLBACKS, names_for
from pratique.advisory.gaps import gaps_of_feed, same_release, unsupported_release
from pratique.advisory.index import Entry, Index, database_folder
from pratique.advisory.layout import FORMAT
from pratique.advisory.past import Past, opened, opened_then
from pratique.advisory.starter import FEED as STARTER
from pratique.advisory.starter import Starter
from pratique.advisory.store import FeedFile
from pratique.model.advisory import Advisory, Exploited, ExploitScore, Ssvc
from pratique.model.ecosystems import base, canonical, normalize
from pratique.model.errors import DatabaseError
from pratique.model.hits import Hit
from pratique.model.inventory import Gap
from pratique.model.programs import CPES
from pratique.model.report import DatabaseInfo, DatabaseSource

MAX_AGE = timedelta(days=7)
# An update that replaces a file between reading the index and opening the file: read the index again. Updates take seconds.
_RACES = 5

# Feeds about CVEs, one a year: only that of a CVE's year is asked.
_YEARLY, _OLDEST = "nvd/", "2002"
# Asked beside a release, which says what is missing: nothing there means that nothing was built for subscribers, or in a module.
# So are CPEs: NVD's yearly feeds are too large for a scan to wait for.
_BESIDE = re.compile(rf"Ubuntu:Pro:(?!FIPS)|SUSE:Linux Enterprise Module |SUSE:.*-LTSS$|Amazon Linux:2:|{CPES}$")

Reference = tuple[str, str]  # (feed, id): what an advisory is called, as one id may be in several feeds


class Database:
    """What is known, as of the moment it was opened: a later update does not change its answers. Not for use by two threads.

    With `past` it is what was known then: the starter set, of which nobody knows when it came, says nothing. Every method raises
    DatabaseError where a file turns out to be damaged.
    """

    def __init__(self, folder: Path, index: Index, files: dict[str, FeedFile], past: Past | None = None) -> None:
        self._folder = folder
        self._past = past
        self._index = index
        self._files = files
        self._starter: Starter | None = None
        self._answering: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; the database must not be asked any more."""
        for file in self._files.values():
            file.close()

    @property
    def starter(self) -> Starter:
        """The starter set, loaded when first asked."""
        if self._starter is None:
            self._starter = Starter.load() if self._past is None else Starter.nothing()
        return self._starter

    @property
    def as_of(self) -> datetime | None:
        """The moment whose knowledge answers; None for the present."""
        return self._past.as_of if self._past is not None else None

    @property
    def files(self) -> Mapping[str, FeedFile]:
        """The open files by feed, for whoever compares databases."""
        return self._files

    def has(self, ecosystem: str) -> bool:
        """Say whether a feed that speaks of `ecosystem` is there (the starter set does not count)."""
        return bool(self._feeds(ecosystem))

    def lookup(self, ecosystem: str, names: Iterable[str]) -> dict[str, list[Hit]]:
        """Return, for each of `names` about which something is known, all hits in all feeds, in a stable order.

        `ecosystem` with its release ("Debian:12", "PyPI"). Keys of the answer are the names as given; they are normalised here.
        Hits of state "not-affected" are among them. Versions are not compared: that is matching.
        """
        spelled: dict[str, list[str]] = {}
        for name in names:
            spelled.setdefault(normalize(ecosystem, name), []).append(name)
        place = canonical(ecosystem)
        found: dict[str, list[Hit]] = {}
        feeds = self._feeds(ecosystem)
        for feed in feeds:
            source = feed.partition("/")[0]
            for name, hits in self._files[feed].hits(place, list(spelled)):
                for hit in hits:
                    msgspec.structs.force_setattr(hit, "source", source)
                    msgspec.structs.force_setattr(hit, "feed", feed)
                found.setdefault(name, []).extend(hits)
        if not feeds:
            found = self.starter.lookup(place, spelled)
        return {given: hits for name, hits in found.items() for given in spelled[name]}

    def details(self, hits: Iterable[Hit]) -> dict[Reference, Advisory]:
        """Return, by (feed, id), the advisories of `hits` without `affected`; id and source alone where no more is known."""
        wanted: dict[str, dict[str, str]] = {}
        for hit in hits:
            wanted.setdefault(hit.feed, {})[hit.id] = hit.source
        found: dict[Reference, Advisory] = {}
        for feed, ids in wanted.items():
            known = self.starter.details(ids) if feed == STARTER else self._files[feed].details(list(ids))
            found.update({(feed, advisory.id): advisory for advisory in known})
            for name, source in ids.items():
                found.setdefault((feed, name), Advisory(id=name, source=source))
        return found

    def vectors(self, cves: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
        """Return (CVSS vector, feed) that any feed, of whatever ecosystem, gives for `cves`: for sources that score nothing."""
        wanted = sorted(set(cves))
        found: dict[str, list[tuple[str, str]]] = {}
        for feed, file in self._files.items():
            if not self._index.feeds[feed].scored:
                continue
            asked = [cve for cve in wanted if _of_year(cve, feed)] if feed.startswith(_YEARLY) else wanted
            names: dict[str, list[str]] = {cve: [cve] for cve in asked}
            for name, identifier in file.named(asked):
                names.setdefault(identifier, []).append(name)
            for advisory in file.details(sorted(names)):
                for cve in names[advisory.id]:
                    if cve == advisory.id or cve in advisory.aliases:
                        found.setdefault(cve, []).extend((vector, feed) for vector in advisory.cvss)
        for cve, vectors in self.starter.vectors(wanted).items():
            found.setdefault(cve, []).extend((vector, STARTER) for vector in vectors)
        return {cve: list(dict.fromkeys(vectors)) for cve, vectors in sorted(found.items()) if vectors}

    def aliases(self, identifier: str) -> list[str]:
        """Return every name that `identifier` has in any feed, sorted, without itself."""
        return sorted({name for _, advisory in self.find(identifier) for name in (advisory.id, *advisory.aliases)} - {identifier})

    def find(self, identifier: str) -> list[tuple[str, Advisory]]:
        """Return (feed, advisory without `affected`) of all that are called `identifier`, have it as an alias or cover it."""
        found: list[tuple[str, Advisory]] = []
        for feed, file in sorted(self._files.items()):
            ids = {identifier, *(name for _, name in file.named([identifier]))}
            found += ((feed, advisory) for advisory in file.details(sorted(ids)))
        return found + [(STARTER, advisory) for advisory in self.starter.find(identifier)]

    def affected(self, identifier: str) -> Iterator[tuple[str, str, str, Hit]]:
        """Yield (feed, ecosystem, package, hit) of everything that is called `identifier`. Reads the whole database: slow."""
        for feed, file in sorted(self._files.items()):
            ids = {identifier, *(name for _, name in file.named([identifier]))}
            yield from ((feed, ecosystem, package, hit) for ecosystem, package, hit in file.affected(ids))

    def search(self, text: str) -> Iterator[tuple[str, Advisory]]:
        """Yield (feed, advisory without `affected`) whose title or one of whose names contains `text`, in any case: slow."""
        wanted = text.lower()
        for feed, file in sorted(self._files.items()):
            for advisory in file.advisories():
                if wanted in "\0".join((advisory.summary, advisory.id, *advisory.aliases)).lower():
                    yield feed, advisory

    def packages(self, text: str) -> Iterator[tuple[str, str, str, int]]:
        """Yield (feed, ecosystem, package, number of advisories) of packages whose name contains `text`, in any case: slow."""
        for feed, file in sorted(self._files.items()):
            yield from ((feed, *row) for row in file.packages(text.lower()))

    def kev(self, cves: Iterable[str]) -> dict[str, Exploited]:
        """Return CISA's entries for those of `cves` that are known to be exploited."""
        wanted = sorted(set(cves))
        file = self._files.get(ENRICHMENT[0])
        listed = self.starter.kev(wanted) if file is None else file.kev(wanted)
        return {entry.cve: entry for entry in listed}

    def epss(self, cves: Iterable[str]) -> dict[str, ExploitScore]:
        """Return the EPSS scores of those of `cves` that have one. The starter set has none."""
        file = self._files.get(ENRICHMENT[1])
        return {} if file is None else {score.cve: score for score in file.epss(sorted(set(cves)))}

    def ssvc(self, cves: Iterable[str]) -> dict[str, Ssvc]:
        """Return CISA's answers for those of `cves` that it has assessed. The starter set has none."""
        file = self._files.get(ASSESSED)
        listed = file.details(sorted(set(cves))) if file is not None else ()
        return {advisory.id: advisory.ssvc for advisory in listed if advisory.ssvc is not None}

    def info(self, ecosystems: Iterable[str] | None = None) -> DatabaseInfo:
        """Say what was asked: all feeds there are, or those that answer for `ecosystems` and about CVEs in general."""
        names = set(self._files)
        if ecosystems is not None:
            names = {feed for ecosystem in ecosystems for feed in self._feeds(ecosystem)} | (names & {*ENRICHMENT, ASSESSED})
            names |= {feed for feed in self._files if feed.startswith(_YEARLY)}
        entries = [self._index.feeds[name] for name in sorted(names)]
        if not entries and self._past is not None:
            return DatabaseInfo(built_at="", digest="", kind="none")
        if self._past is None and not any(entry.ecosystems for entry in entries):
            starter = self.starter.info()
            entries_of_starter = (starter, *(_source(entry) for entry in entries))
            return DatabaseInfo(
                built_at=self.starter.built_at, digest=self.starter.digest, kind="starter", sources=entries_of_starter
            )
        listed = "".join(f"{entry.name} {entry.state}\n" for entry in entries)
        return DatabaseInfo(
            built_at=max(entry.changed_at for entry in entries),
            digest="sha256:" + hashlib.sha256(listed.encode()).hexdigest(),
            kind="full",
            sources=tuple(_source(entry) for entry in entries),
        )

    def gaps(self, ecosystems: Iterable[str], now: datetime, max_age: timedelta = MAX_AGE) -> list[Gap]:
        """Return what is not known about `ecosystems`, each gap with the feed or ecosystem it concerns as `source`.

        advisories.starter-only         no feed of the ecosystem is there, the shipped facts answer
        advisories.missing-source       a feed is not there, and nothing answers in its place (or CVEs lack KEV or EPSS)
        advisories.stale                a feed's last successful fetch is older than `max_age`
        advisories.unsupported-release  no feed speaks of this release of the distribution
        advisories.unsupported-ecosystem  there is no feed, and no starter fact
        advisories.unreadable-record    records of a feed were left out when it was built
        advisories.not-known-yet        (in the past) the feed came to the database later
        advisories.history-compacted    (in the past) what the feed said then is not kept any more
        """
        found: list[Gap] = []
        for ecosystem in sorted(set(ecosystems)):
            found += self._gaps_of(ecosystem)
        wanted = {name for ecosystem in ecosystems for name in self._feeds(ecosystem)}
        for name in ENRICHMENT:
            if name not in self._files:
                what = "is known to be exploited" if name == ENRICHMENT[0] else "is likely to be exploited"
                found.append(self._missing(name, f"whether a vulnerability {what} is not known"))
        for name in sorted(wanted | ({*ENRICHMENT, ASSESSED} & set(self._files))):
            found += gaps_of_feed(self._index.feeds[name], now, max_age)
        return sorted(set(found))

    def _gaps_of(self, ecosystem: str) -> Iterator[Gap]:
        if _BESIDE.match(ecosystem):
            return
        known = names_for([ecosystem])
        there = self._feeds(ecosystem)
        if not there:
            if self.starter.has(canonical(ecosystem)):
                why = "; ".join(self._why(name) for name in known) or "no feed of it is known"
                message = f"{ecosystem}: only the shipped starter set of well-known vulnerabilities was asked ({why})"
                yield Gap(code="advisories.starter-only", message=message, source=ecosystem)
            elif known:
                for name in known:
                    yield self._missing(name, f"vulnerabilities of {ecosystem} are not known")
            elif base(ecosystem) != ecosystem and names_for([base(ecosystem)]):
                yield unsupported_release(ecosystem)
            else:
                message = f"{ecosystem}: there is no advisory source for this ecosystem"
                yield Gap(code="advisories.unsupported-ecosystem", message=message, source=ecosystem)
            return
        for name in sorted(set(known) - set(there)):
            yield self._missing(name, f"vulnerabilities of {ecosystem} that only it names are not known")
        spoken = [canonical(ecosystem), *same_release(ecosystem)]
        if base(ecosystem) != ecosystem and not any(self._files[name].speaks_of(one) for name in there for one in spoken):
            yield unsupported_release(ecosystem)

    def _missing(self, name: str, effect: str) -> Gap:
        if self._past is not None:
            return self._past.missing(name, effect)
        return Gap(code="advisories.missing-source", message=f"{name}: {effect} ({self._why(name)})", source=name)

    def _why(self, name: str) -> str:
        entry = self._index.feeds.get(name)
        if entry is not None and entry.failure is not None:
            return f"{name} failed: {entry.failure.why}"
        return f"{name} was never fetched"

    def _feeds(self, ecosystem: str) -> list[str]:
        """Return the open feeds that answer for `ecosystem`: a fallback only while the feed it stands in for is not there."""
        if (known := self._answering.get(ecosystem)) is not None:
            return known
        family = base(ecosystem)
        chosen = [name for name in self._files if name.startswith(_YEARLY)] if ecosystem == CPES else []
        for name in self._files:
            offered = self._index.feeds[name].ecosystems
            if ecosystem in offered or family in offered:
                chosen.append(name)
        self._answering[ecosystem] = sorted(name for name in chosen if FALLBACKS.get(name) not in chosen)
        return self._answering[ecosystem]


def _of_year(cve: str, feed: str) -> bool:
    """Say whether a yearly feed is the one that holds a CVE; the oldest holds all before it, too."""
    year = cve[4:8]
    return feed == _YEARLY + year or (feed == _YEARLY + _OLDEST and year < _OLDEST)


def _source(entry: Entry) -> DatabaseSource:
    return DatabaseSource(
        name=entry.name,
        records=entry.records,
        fetched_at=entry.fetched_at,
        newest=entry.newest,
        licence=entry.licence,
        digest=entry.state,
    )


def open_database(
    cache_dir: Path, *, feeds: Sequence[str] | None = None, as_of: datetime | None = None, folder: Path | None = None
) -> Database:
    """Open what is there, all feeds or those named; takes no lock and never waits. An empty folder gives the starter set alone.

    With `as_of` (aware) it answers with what the database knew at the end of that second. `folder` names a database folder that
    does not lie in a cache. Raises DatabaseError when the index or a file is damaged.
    """
    folder = folder or database_folder(cache_dir)
    for _ in range(_RACES):
        index = catalogue.read(folder)
        wanted = {
            name: entry
            for name, entry in index.feeds.items()
            if entry.file and entry.format == FORMAT and (feeds is None or name in feeds)
        }
        try:
            if as_of is not None:
                return Database(folder, *opened_then(folder, wanted, as_of))
            return Database(folder, index, opened(folder, wanted))
        except FileNotFoundError:
            continue
    raise DatabaseError(f"{folder}: a file that the index names is missing", hint="run: pratique db update")


def verify(cache_dir: Path) -> dict[str, str]:
    """Return feed -> what is wrong with its file ("" for nothing): digest as recorded, and SQLite's own check.

    Raises DatabaseError when the index is damaged.
    """
    folder = database_folder(cache_dir)
    found: dict[str, str] = {}
    for name, entry in sorted(catalogue.read(folder).feeds.items()):
        if entry.file:
            found[name] = _problem(folder / entry.file, entry)
    return found


def _problem(path: Path, entry: Entry) -> str:
    try:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != entry.digest:
                return "is not what was built: its digest differs"
        file = FeedFile(path, entry.name)
        try:
            return file.check()
        finally:
            file.close()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except DatabaseError as error:
        return error.message
