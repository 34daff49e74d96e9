"""A feed and its current file in, its next file out, laid out as `layout.py` says; nothing where nothing changed.

One file a feed, so that a changed feed touches only itself, and a scan opens only what it asks. The first file is written at one
go; each later one is a copy of the one before with the changes made in it, so what it costs goes with what changed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import zstandard

from pratique.advisory import members as by_member
from pratique.advisory.collect import Collected, difference
from pratique.advisory.digest import SetDigest
from pratique.advisory.layout import COMPRESS_MEMBER_FROM, FORMAT, SCHEMA, Facts
from pratique.advisory.members import ByMember, Delta, Increment, OddlyNamedError
from pratique.advisory.tables import LEVEL, Squeeze, Tables, connect
from pratique.advisory.writer import Writer
from pratique.model.advisory import Feed, FeedRecord
from pratique.model.errors import DatabaseError, FeedError
from pratique.model.ports import AdvisoryProvider

# A dictionary pays from some hundred records on; 1,000 samples train in 0.1 s, more gain nothing.
_DICTIONARY_BYTES = 16 << 10
_DICTIONARY_RECORDS = 200
_DICTIONARY_SAMPLES = 1000
_encode = msgspec.msgpack.Encoder().encode

Marks = list[tuple[str, int, bytes]]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. `changed`: the feed says something else than before. `written`: there is a new file, if only of marks."""

    facts: Facts
    changed: bool
    written: bool


def build(records: Iterable[FeedRecord], path: Path, at: int = 0) -> Facts:
    """Write the first file of a feed at `path`, which must not exist. `at` is when this is learnt, in seconds of Unix time.

    Raises ParseError as the parser does: then the file is not to be used.
    """
    return _write(Collected.of(records), [], path, at)


class Turn(NamedTuple):
    """From which file (None: there is none) to which, which must not exist; when what changes is learnt, in seconds of Unix time.

    `afresh` has everything read, also what has not changed upstream, as the provider reads it otherwise than it did.
    """

    old: Path | None
    new: Path
    at: int
    afresh: bool = False


def renew(provider: AdvisoryProvider, feed: Feed, body: BinaryIO | Increment, turn: Turn) -> Built:
    """Make the new file of the old one and what upstream says now: its whole document, or single records.

    The new file is there afterwards if `written` says so. Raises ParseError as the parser does, FeedError for single
    records that cannot be put into place: then the whole feed must be fetched.
    """
    old, new, at, afresh = turn
    if isinstance(body, Increment):
        if old is None or not isinstance(provider, ByMember):
            raise FeedError(f"{feed.name}: single records fit only into what is there already")
        return _incremented(provider, feed, body, old, new, at)
    if old is None:
        collected, marks = _collect(provider, feed, body)
        return Built(facts=_write(collected, marks, new, at), changed=True, written=True)
    connection = connect(old)
    try:
        tables = Tables(connection, old)
        delta = _delta(provider, feed, body, tables, afresh=afresh)
        before = tables.facts
    finally:
        connection.close()
    return _amend(delta, before, old, new, at)


def renewed(provider: AdvisoryProvider, feed: Feed, content: Path | Increment, turn: Turn) -> Built:
    """Do the same with a file that was fetched; where the old file turns out to be damaged, as if there were none."""
    try:
        return _renew(provider, feed, content, turn)
    except DatabaseError:
        turn.new.unlink(missing_ok=True)
        return _renew(provider, feed, content, turn._replace(old=None))


def _renew(provider: AdvisoryProvider, feed: Feed, content: Path | Increment, turn: Turn) -> Built:
    if isinstance(content, Increment):
        return renew(provider, feed, content, turn)
    with content.open("rb") as body:
        return renew(provider, feed, body, turn)


def _incremented(provider: ByMember, feed: Feed, increment: Increment, old: Path, new: Path, at: int) -> Built:
    connection = connect(old)
    try:
        tables = Tables(connection, old)
        delta = by_member.incremented(tables, increment, feed, provider.reader(feed))
        before = tables.facts
    except OddlyNamedError:
        raise FeedError(f"{feed.name}: its records are not called as their files are") from None
    finally:
        connection.close()
    return _amend(delta, before, old, new, at)


def _collect(provider: AdvisoryProvider, feed: Feed, body: BinaryIO) -> tuple[Collected, Marks]:
    if isinstance(provider, ByMember):
        return by_member.collect(body, feed, provider.reader(feed))
    return Collected.of(provider.parse(feed, body)), []


def _delta(provider: AdvisoryProvider, feed: Feed, body: BinaryIO, tables: Tables, *, afresh: bool) -> Delta:
    known = by_member.marks(tables)
    if known is not None and isinstance(provider, ByMember) and not afresh:
        try:
            return by_member.newer(tables, known, body, feed, provider.reader(feed))
        except OddlyNamedError:
            body.seek(0)
    collected, marks = _collect(provider, feed, body)
    gone = sorted((known or {}).keys() - {name for name, _, _ in marks})
    return Delta(changes=difference(tables, collected), rows=marks, gone=gone, counted=collected.counted, whole=True)


def _amend(delta: Delta, before: Facts, old: Path, new: Path, at: int) -> Built:
    same = msgspec.structs.replace(delta.counted, state=before.state, changed=before.changed) == before
    if same and not delta:
        return Built(facts=before, changed=False, written=False)
    copy(old, new)
    delta.changes.at = at
    with Writer(new) as writer:
        writer.apply(delta.changes, delta.counted)
        writer.members(delta.rows, delta.gone, known=bool(delta.rows) or not delta.whole)
        writer.forget(at)
    return Built(facts=writer.facts, changed=writer.facts.state != before.state, written=True)


def copy(old: Path, new: Path) -> None:
    """Copy a file within the system's core; where the file system shares blocks between files (btrfs, XFS), it shares these."""
    with old.open("rb") as source, new.open("xb") as target:
        left = os.fstat(source.fileno()).st_size
        try:
            while left > 0:
                done = os.copy_file_range(source.fileno(), target.fileno(), left)
                if not done:
                    break
                left -= done
        except OSError:  # not between these file systems, or not on this system
            source.seek(target.seek(0, os.SEEK_SET))
            target.truncate()
            shutil.copyfileobj(source, target, 1 << 20)


def _write(collected: Collected, marks: Marks, path: Path, at: int) -> Facts:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        facts = _fill(connection, collected, marks, at)
        connection.execute("COMMIT")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute("INSERT INTO meta VALUES ('packed', ?)", (str(pages).encode(),))
    finally:
        connection.close()
    return facts


def _fill(connection: sqlite3.Connection, collected: Collected, marks: Marks, at: int) -> Facts:
    words = _dictionary(list(collected.advisories.values()))
    squeeze = Squeeze(zstandard.ZstdCompressionDict(words) if words else None)
    digest = SetDigest()

    def packages() -> Iterable[tuple[str, str, bytes]]:
        for ecosystem, name, hits in collected.rows():
            digest.add(("packages", ecosystem, name, hits))
            yield ecosystem, name, squeeze.row(hits)

    def advisories() -> Iterable[tuple[str, bytes]]:
        for name, data in sorted(collected.advisories.items()):
            digest.add(("advisories", name, data))
            yield name, squeeze.plain(data)

    def told(table: str, rows: Iterable[tuple[str | int | bytes, ...]]) -> Iterable[tuple[str | int | bytes, ...]]:
        for row in rows:
            digest.add((table, *row))
            yield row

    connection.executemany("INSERT INTO packages VALUES (?, ?, ?)", packages())
    connection.executemany("INSERT INTO advisories VALUES (?, ?)", advisories())
    connection.executemany("INSERT INTO names VALUES (?, ?)", told("names", sorted(collected.names)))
    connection.executemany("INSERT INTO kev VALUES (?, ?)", told("kev", sorted(collected.kev.items())))
    connection.executemany("INSERT INTO epss VALUES (?, ?)", told("epss", collected.blocks()))
    stored = ((name, mark, squeeze.row(data, COMPRESS_MEMBER_FROM)) for name, mark, data in sorted(marks))
    connection.executemany("INSERT INTO members VALUES (?, ?, ?)", stored)
    date = collected.score_date.encode()
    if date:
        digest.add(("meta", "score_date", date))
    facts = msgspec.structs.replace(collected.counted, state=digest.hex(), changed=at)
    meta = {
        "born": str(at).encode(),
        "dictionary": words,
        "facts": _encode(facts),
        "format": str(FORMAT).encode(),
        "members": b"1" if marks else b"0",
        "score_date": date,
        "sum": digest.content(),
    }
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    return facts


def _dictionary(samples: list[bytes | bytearray | memoryview[int]]) -> bytes:
    """Train on every n-th record; b"" where there are too few, or too alike, to learn from."""
    if len(samples) < _DICTIONARY_RECORDS:
        return b""
    step = max(1, len(samples) // _DICTIONARY_SAMPLES)
    try:
        return zstandard.train_dictionary(_DICTIONARY_BYTES, samples[::step], level=LEVEL).as_bytes()
    except zstandard.ZstdError:
        return b""
