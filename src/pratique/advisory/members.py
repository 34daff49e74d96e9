"""An archive of single records and the file that was made of the last one in, the records that changed out.

The archive's directory names each member's size and CRC-32; what has both as before is not even inflated. Works where each member
holds one record named like it (OSV's "PYSEC-2024-1.json"), which the file itself remembers; otherwise everything is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import BinaryIO, Protocol, runtime_checkable

import msgspec

from pratique.advisory.archive import UNREADABLE, Zip, unreadable
from pratique.advisory.collect import NAMED_GAPS, Collected, grouped
from pratique.advisory.layout import Facts
from pratique.advisory.tables import Tables
from pratique.advisory.values import Changes
from pratique.model.advisory import Advisory, Feed, FeedRecord
from pratique.model.hits import covers
from pratique.model.inventory import Gap

_encode = msgspec.msgpack.Encoder().encode

Read = Callable[[str, bytes], Iterator[FeedRecord]]
Content = Callable[[], bytes]


@runtime_checkable
class ByMember(Protocol):
    """A provider whose feed is a zip of JSON files that are read one by one; `parse` gives the same records."""

    def reader(self, feed: Feed, /) -> Read:
        """Return what reads one file, given its name in the archive and its content. It may keep a memory between calls."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """What came of one member beside its advisory: the packages it has hits of; what of it could not be read, and why."""

    packages: dict[str, list[str]] = {}
    skipped: int = 0
    example: str = ""


class Increment(msgspec.Struct, frozen=True, kw_only=True):
    """Single records instead of a whole archive: content by member name ("PYSEC-2024-1.json"), and the names that are gone."""

    changed: dict[str, bytes]
    removed: frozenset[str] = frozenset()


class Delta(msgspec.Struct, kw_only=True):
    """What a newer feed changes: rows, marks of members (`whole`: of all), and the counts afterwards."""

    changes: Changes
    rows: list[tuple[str, int, bytes]]
    gone: list[str]
    counted: Facts
    whole: bool = False

    def __bool__(self) -> bool:
        return bool(self.changes or self.rows or self.gone)


class OddlyNamedError(Exception):
    """A member is not named like its record, or two are alike: there is no telling whose rows are whose."""


_member = msgspec.msgpack.Decoder(Member).decode
_advisory = msgspec.msgpack.Decoder(Advisory).decode


def mark(size: int, crc: int) -> int:
    """Return size and CRC-32 of a member as one number that SQLite can hold."""
    return (size & 0x3FFFFFFF) << 32 | crc


def mark_of(content: bytes) -> int:
    """Return the mark of a member with this content."""
    return mark(len(content), zlib.crc32(content))


def name_of(member: str) -> str:
    """Return the name of the record in a member: "all/PYSEC-2024-1.json" -> "PYSEC-2024-1"."""
    return member.rpartition("/")[2].removesuffix(".json")


def marks(tables: Tables) -> dict[str, int] | None:
    """Return record name -> mark of what the file was made of; None where that is not known, and all must be read."""
    if tables.meta.get("members") != b"1":
        return None
    return dict(tables.ask("SELECT name, mark FROM members"))


def newer(tables: Tables, known: Mapping[str, int], body: BinaryIO, feed: Feed, read: Read) -> Delta:
    """Compare an archive with what the file was made of, and read what differs.

    Raises ParseError for what is no archive, OddlyNamedError where everything must be read.
    """
    archive = Zip(body, feed.name)
    seen = set()
    changed: dict[str, tuple[int, Content]] = {}
    for info in archive.members():
        name = name_of(info.filename)
        if name in seen:
            raise OddlyNamedError
        seen.add(name)
        stamp = mark(info.file_size, info.CRC)
        if known.get(name) != stamp:
            changed[info.filename] = (stamp, partial(archive.read, info))
    return _delta(tables, changed, [name for name in known if name not in seen], feed, read)


def incremented(tables: Tables, increment: Increment, feed: Feed, read: Read) -> Delta:
    """Do the same with single records. Raises OddlyNamedError."""
    known = marks(tables)
    if known is None:
        raise OddlyNamedError
    changed: dict[str, tuple[int, Content]] = {}
    for name, content in increment.changed.items():
        stamp = mark_of(content)
        if known.get(name_of(name)) != stamp:
            changed[name] = (stamp, partial(bytes, content))
    gone = [name for name in map(name_of, sorted(increment.removed)) if name in known]
    return _delta(tables, changed, gone, feed, read)


def _delta(tables: Tables, changed: Mapping[str, tuple[int, Content]], gone: list[str], feed: Feed, read: Read) -> Delta:
    delta = Delta(changes=Changes(), rows=[], gone=gone, counted=tables.facts)
    counts = _Counts(tables)
    for name in gone:
        counts.leave(name, *_forget(tables, name, delta.changes))
    for path, (stamp, content) in changed.items():
        name = name_of(path)
        counts.leave(name, *_forget(tables, name, delta.changes))
        collected, member = _read(path, content, feed, read)
        counts.come(name, member, collected.counted)
        for (ecosystem, package), hits in collected.packages.items():
            delta.changes.put(ecosystem, package, name, grouped(hits)[name])
        delta.changes.advisories.update(collected.advisories)
        for alias, identifier in collected.names:
            delta.changes.names.setdefault(alias, {})[identifier] = True
        delta.rows.append((name, stamp, _encode(member)))
    if delta:
        delta.counted = counts.facts()
    return delta


def _forget(tables: Tables, name: str, changes: Changes) -> tuple[Member, Advisory | None]:
    """Undo what a member has in the file; return what that was."""
    data = tables.one("SELECT data FROM members WHERE name = ?", name)
    if data is None:
        return Member(), None
    member: Member = tables.decode(_member, tables.row(data))
    for ecosystem, packages in member.packages.items():
        for package in packages:
            changes.put(ecosystem, package, name, [])
    plain = tables.advisory(name)
    if not plain:
        return member, None
    changes.advisories[name] = b""
    advisory: Advisory = tables.decode(_advisory, plain)
    for alias in (*advisory.aliases, *covers(advisory)):
        changes.names.setdefault(alias, {})[name] = False
    return member, advisory


def _read(path: str, content: Content, feed: Feed, read: Read) -> tuple[Collected, Member]:
    part = _Part(Collected(bare=True))
    part.read(path, content, feed, read)
    if not part.named:
        raise OddlyNamedError
    return part.whole, part.member()


class _Counts:
    """Keeps the counts of a feed while members come and go."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._facts = tables.facts
        self._records, self._scored, self._skipped = self._facts.records, self._facts.scored, self._facts.skipped
        self._newest = ""
        self._lost_newest = False
        self._examples_differ = False
        self._touched: set[str] = set()
        self._come: dict[str, Member] = {}

    def leave(self, name: str, member: Member, advisory: Advisory | None) -> None:
        self._touched.add(name)
        self._skipped -= member.skipped
        self._examples_differ |= bool(member.skipped)
        if advisory is not None:
            self._records -= 1
            self._scored -= bool(advisory.cvss)
            self._lost_newest |= bool(advisory.modified) and advisory.modified == self._facts.newest

    def come(self, name: str, member: Member, counted: Facts) -> None:
        self._records += counted.records
        self._scored += counted.scored
        self._skipped += counted.skipped
        self._newest = max(self._newest, counted.newest)
        self._examples_differ |= bool(member.skipped)
        self._come[name] = member

    def facts(self) -> Facts:
        """Return the counts; examples and the newest date are looked for only where they may be others."""
        newest, examples = max(self._newest, self._facts.newest), self._facts.examples
        if self._lost_newest and self._newest < self._facts.newest:
            left = (data for name, data in self._tables.advisories() if name not in self._touched)
            newest = max((self._tables.decode(_advisory, data).modified for data in left), default="")
            newest = max(newest, self._newest)
        if self._examples_differ:
            listed = dict(self._come)
            for name, data in self._tables.ask("SELECT name, data FROM members"):
                if name not in self._touched:
                    listed[name] = self._tables.decode(_member, self._tables.row(data))
            examples = _examples(listed)
        return Facts(self._records, self._scored, self._skipped, examples, newest)


def _examples(members: Mapping[str, Member]) -> tuple[str, ...]:
    """Return the first few reasons, by name of the record, so that they do not depend on the order of reading."""
    return tuple(member.example for _, member in sorted(members.items()) if member.example)[:NAMED_GAPS]


def collect(body: BinaryIO, feed: Feed, read: Read) -> tuple[Collected, list[tuple[str, int, bytes]]]:
    """Read every member; return the rows and the marks. Marks are none where members are oddly named. Raises ParseError."""
    archive = Zip(body, feed.name)
    collected, listed, rows = Collected(bare=True), dict[str, Member](), list[tuple[str, int, bytes]]()
    plain = True
    for info in archive.members():
        name = name_of(info.filename)
        part = _Part(collected)
        part.read(info.filename, partial(archive.read, info), feed, read)
        plain = plain and part.named and name not in listed
        if plain:
            listed[name] = part.member()
            rows.append((name, mark(info.file_size, info.CRC), _encode(listed[name])))
    if not plain:
        return collected, []
    collected.name_gaps(_examples(listed))
    return collected, rows


class _Part:
    """Takes the records of one member into the whole, and keeps what they were. `named` says that they are called as it is."""

    def __init__(self, whole: Collected) -> None:
        self.whole = whole
        self.named = True
        self._skipped = 0
        self._example = ""
        self._packages: dict[str, list[str]] = {}

    def read(self, path: str, content: Content, feed: Feed, read: Read) -> None:
        """Take what is in a member; that it cannot be inflated is a gap, too."""
        try:
            body = content()
        except UNREADABLE as error:
            self._take(unreadable(feed.name, path, str(error)))
            return
        name = name_of(path)
        for record in read(path, body):
            self.named = self.named and (isinstance(record, Gap) or (isinstance(record, Advisory) and record.id == name))
            self._take(record)

    def _take(self, record: FeedRecord) -> None:
        self.whole.take(record)
        if isinstance(record, Gap):
            self._skipped += 1
            self._example = self._example or record.message
        elif isinstance(record, Advisory):
            for ecosystem, package in sorted({(one.ecosystem, one.name) for one in record.affected}):
                self._packages.setdefault(ecosystem, []).append(package)

    def member(self) -> Member:
        """Say what came of it."""
        return Member(self._packages, self._skipped, self._example)
