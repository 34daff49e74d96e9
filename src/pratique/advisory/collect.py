"""Records of a feed in, the rows that they come to out, encoded; and in what these rows differ from those of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from pratique.advisory import scores
from pratique.advisory.keys import Keys, outside
from pratique.advisory.layout import Facts, epss_place
from pratique.advisory.tables import Tables, array
from pratique.advisory.values import Changes
from pratique.model.advisory import Advisory, Affected, Exploited, ExploitScore, FeedRecord
from pratique.model.hits import Hit, covers
from pratique.model.inventory import Gap

# Records left out that are named one by one; the others are only counted.
NAMED_GAPS = 3
_encode = msgspec.msgpack.Encoder().encode


class Collected:
    """The rows of one feed, or of some of its records; hits are kept encoded, which takes a fifth of the memory."""

    def __init__(self, *, bare: bool = False) -> None:
        """Take advisories of which only the id is known, too, if `bare`; look-ups need none."""
        self._bare = bare
        self.packages: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
        self.advisories: dict[str, bytes] = {}
        self.names: set[tuple[str, str]] = set()
        self.kev: dict[str, bytes] = {}
        self.score_date = ""
        self._records = self._scored = self._skipped = 0
        self._newest = ""
        self._gaps: list[str] = []
        self._scores: dict[int, dict[int, bytes]] = {}
        self._keys: dict[str, Keys] = {}

    @classmethod
    def of(cls, records: Iterable[FeedRecord]) -> Collected:
        """Take all of `records`. Raises what reading them raises."""
        collected = cls()
        for record in records:
            collected.take(record)
        return collected

    @classmethod
    def out_of(cls, tables: Tables) -> Collected:
        """Take the rows of a file, and no counts."""
        collected = cls()
        for ecosystem, package, row in tables.packages():
            collected.packages[ecosystem, package] = tables.split(row)
        collected.advisories = dict(tables.advisories())
        collected.names = set(tables.ask("SELECT name, id FROM names"))
        collected.kev = dict(tables.ask("SELECT cve, data FROM kev"))
        for block, data in tables.ask("SELECT block, data FROM epss"):
            collected._scores[block] = scores.split(data)
        collected.score_date = tables.meta.get("score_date", b"").decode()
        return collected

    @property
    def counted(self) -> Facts:
        """The counts so far; state and time are not among them."""
        return Facts(self._records, self._scored, self._skipped, tuple(self._gaps), self._newest)

    def name_gaps(self, examples: tuple[str, ...]) -> None:
        """Name these reasons for what was left out, instead of those that came first."""
        self._gaps = list(examples)

    def take(self, record: FeedRecord) -> None:
        """Add one record."""
        if isinstance(record, Gap):
            self._skip(record)
            return
        self._records += 1
        if isinstance(record, Advisory):
            self._advisory(record)
        elif isinstance(record, Exploited):
            self.kev[record.cve] = _encode(record)
            self._newest = max(self._newest, record.added)
        else:
            self._score(record)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of scores, in order."""
        for block, listed in sorted(self._scores.items()):
            yield block, b"".join(one for _, one in sorted(listed.items()))

    def rows(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield (ecosystem, package, hits as a msgpack array), in order."""
        for (ecosystem, name), hits in sorted(self.packages.items()):
            yield ecosystem, name, array(sorted(one for _, one in hits))

    def _skip(self, gap: Gap) -> None:
        self._skipped += 1
        if len(self._gaps) < NAMED_GAPS:
            self._gaps.append(gap.message)

    def _advisory(self, record: Advisory) -> None:
        self._newest = max(self._newest, record.modified)
        self._scored += bool(record.cvss)
        for affected in record.affected:
            keys = self._keys.get(affected.ecosystem)
            if keys is None:
                keys = self._keys[affected.ecosystem] = Keys(affected.ecosystem)
            row = self.packages.setdefault((affected.ecosystem, affected.name), [])
            row.append((record.id, _encode(_hit(record.id, affected, keys))))
        for name in (*record.aliases, *covers(record)):
            self.names.add((name, record.id))
        if record.id not in self.advisories:
            bare = msgspec.structs.replace(record, affected=())
            if self._bare or bare != Advisory(id=record.id, source=record.source):
                self.advisories[record.id] = _encode(bare)

    def _score(self, record: ExploitScore) -> None:
        place = epss_place(record.cve)
        if place is None:
            self._records -= 1
            self._skip(Gap(code="advisories.unreadable-record", message=f"{record.cve[:40]!r} is no CVE id", source="epss"))
            return
        block, offset = place
        self._scores.setdefault(block, {})[offset] = scores.pack(offset, record.score, record.percentile)
        self.score_date = self._newest = record.date


def _hit(name: str, affected: Affected, keys: Keys) -> Hit:
    ranges = tuple(map(keys.range, affected.ranges))
    versions = outside(affected.versions, ranges, keys) if affected.versions else ()
    return Hit(name, ranges, versions, affected.state, affected.severity, affected.note)


def difference(current: Tables, wanted: Collected) -> Changes:
    """Return what makes the file `current` into one of the rows of `wanted`. Reads the whole file."""
    changes = Changes()
    _hits(current, wanted, changes)
    _blobs(current.advisories(), wanted.advisories, changes.advisories)
    _blobs(current.ask("SELECT cve, data FROM kev"), wanted.kev, changes.kev)
    there = set(current.ask("SELECT name, id FROM names"))
    for name, identifier in there ^ wanted.names:
        changes.names.setdefault(name, {})[identifier] = (name, identifier) in wanted.names
    blocks = dict(current.ask("SELECT block, data FROM epss"))
    moved = {block: (old, data) for block, data in wanted.blocks() if (old := blocks.pop(block, b"")) != data}
    changes.scores = scores.moves({**moved, **{block: (old, b"") for block, old in blocks.items()}})
    date = wanted.score_date.encode()
    if date != current.meta.get("score_date", b""):
        changes.meta["score_date"] = date
    return changes


def _hits(current: Tables, wanted: Collected, changes: Changes) -> None:
    seen = set()
    for ecosystem, package, row in current.packages():
        seen.add((ecosystem, package))
        hits = wanted.packages.get((ecosystem, package), [])
        if hits and array(sorted(one for _, one in hits)) == row:
            continue
        old, new = grouped(current.split(row)), grouped(hits)
        for identifier in old.keys() | new.keys():
            if old.get(identifier) != new.get(identifier):
                changes.put(ecosystem, package, identifier, new.get(identifier, []))
    for (ecosystem, package), hits in wanted.packages.items():
        if (ecosystem, package) not in seen:
            for identifier, own in grouped(hits).items():
                changes.put(ecosystem, package, identifier, own)


def grouped(hits: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Return id -> its hits, sorted."""
    found: dict[str, list[bytes]] = {}
    for identifier, hit in hits:
        found.setdefault(identifier, []).append(hit)
    for own in found.values():
        own.sort()
    return found


def _blobs(current: Iterable[tuple[str, bytes]], wanted: dict[str, bytes], changes: dict[str, bytes]) -> None:
    left = dict(wanted)
    for key, data in current:
        new = left.pop(key, b"")
        if new != data:
            changes[key] = new
    changes.update(left)
