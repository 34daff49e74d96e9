"""The records of one feed in, one compact read-only SQLite file out, laid out as `layout.py` says.

One file a feed, so that a changed feed rebuilds only itself, and a scan opens only what it asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import zstandard

from pratique.advisory.keys import Keys, outside
from pratique.advisory.layout import COMPRESS_FROM, FORMAT, SCHEMA, epss_place
from pratique.model.advisory import Advisory, Affected, Exploited, ExploitScore, FeedRecord
from pratique.model.hits import Hit, covers
from pratique.model.inventory import Gap

# Records left out that are named one by one; the others are only counted.
_NAMED_GAPS = 3
# A dictionary pays from some hundred records on; 1,000 samples train in 0.1 s, more gain nothing.
_DICTIONARY_BYTES = 16 << 10
_DICTIONARY_RECORDS = 200
_DICTIONARY_SAMPLES = 1000
_LEVEL = 9
_encode = msgspec.msgpack.Encoder().encode


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What came out: records, those of them with a CVSS vector, the newest date, records left out and the first few of these."""

    records: int
    scored: int
    newest: str
    skipped: int
    gaps: tuple[Gap, ...]


class _Collector:
    """Gathers the rows of one feed; hits are kept encoded, which takes a fifth of the memory."""

    def __init__(self) -> None:
        self.packages: dict[tuple[str, str], list[bytes]] = {}
        self.advisories: dict[str, bytes] = {}
        self.names: set[tuple[str, str]] = set()
        self.kev: dict[str, bytes] = {}
        self.epss: dict[int, list[bytes]] = {}
        self.score_date = ""
        self.records = 0
        self.newest = ""
        self.scored = 0
        self.skipped = 0
        self.gaps: list[Gap] = []
        self._keys: dict[str, Keys] = {}

    def take(self, record: FeedRecord) -> None:
        if isinstance(record, Gap):
            self._skip(record)
            return
        self.records += 1
        if isinstance(record, Advisory):
            self._advisory(record)
        elif isinstance(record, Exploited):
            self.kev[record.cve] = _encode(record)
            self.newest = max(self.newest, record.added)
        else:
            self._score(record)

    def _skip(self, gap: Gap) -> None:
        self.skipped += 1
        if len(self.gaps) < _NAMED_GAPS:
            self.gaps.append(gap)

    def _advisory(self, record: Advisory) -> None:
        self.newest = max(self.newest, record.modified)
        self.scored += bool(record.cvss)
        for affected in record.affected:
            keys = self._keys.get(affected.ecosystem)
            if keys is None:
                keys = self._keys[affected.ecosystem] = Keys(affected.ecosystem)
            row = self.packages.setdefault((affected.ecosystem, affected.name), [])
            row.append(_encode(_hit(record.id, affected, keys)))
        for name in (*record.aliases, *covers(record)):
            self.names.add((name, record.id))
        if record.id not in self.advisories and (record.aliases or record.summary or record.related or record.cvss):
            self.advisories[record.id] = _encode(msgspec.structs.replace(record, affected=()))

    def _score(self, record: ExploitScore) -> None:
        place = epss_place(record.cve)
        if place is None:
            self._skip(Gap(code="advisories.unreadable-record", message=f"{record.cve[:40]!r} is no CVE id", source="epss"))
            return
        block, offset = place
        packed = offset << 34 | round(record.score * 1e5) << 17 | round(record.percentile * 1e5)
        self.epss.setdefault(block, []).append(packed.to_bytes(6, "big"))
        self.score_date = self.newest = record.date


def _hit(name: str, affected: Affected, keys: Keys) -> Hit:
    ranges = tuple(map(keys.range, affected.ranges))
    versions = outside(affected.versions, ranges, keys) if affected.versions else ()
    return Hit(name, ranges, versions, affected.state, affected.severity, affected.note)


def build(records: Iterable[FeedRecord], path: Path) -> Built:
    """Write the file at `path`, which must not exist. Raises ParseError as the parser does: then the file is not to be used."""
    collector = _Collector()
    for record in records:
        collector.take(record)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        _write(connection, collector)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return Built(
        records=collector.records,
        scored=collector.scored,
        newest=collector.newest,
        skipped=collector.skipped,
        gaps=tuple(collector.gaps),
    )


def _write(connection: sqlite3.Connection, collected: _Collector) -> None:
    dictionary = _dictionary(list(collected.advisories.values()))
    meta = [("format", str(FORMAT).encode()), ("dictionary", dictionary), ("score_date", collected.score_date.encode())]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta))
    connection.executemany("INSERT INTO packages VALUES (?, ?, ?)", _package_rows(collected.packages))
    compress = zstandard.ZstdCompressor(
        level=_LEVEL,
        dict_data=zstandard.ZstdCompressionDict(dictionary) if dictionary else None,
        write_checksum=False,
        write_dict_id=False,
    ).compress
    rows = ((name, compress(data)) for name, data in sorted(collected.advisories.items()))
    connection.executemany("INSERT INTO advisories VALUES (?, ?)", rows)
    connection.executemany("INSERT INTO names VALUES (?, ?)", sorted(collected.names))
    connection.executemany("INSERT INTO kev VALUES (?, ?)", sorted(collected.kev.items()))
    blocks = ((block, b"".join(sorted(scores))) for block, scores in sorted(collected.epss.items()))
    connection.executemany("INSERT INTO epss VALUES (?, ?)", blocks)


def _package_rows(packages: dict[tuple[str, str], list[bytes]]) -> Iterator[tuple[str, str, bytes]]:
    compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress
    for (ecosystem, name), hits in sorted(packages.items()):
        data = _array(len(hits)) + b"".join(sorted(hits))
        yield ecosystem, name, data if len(data) < COMPRESS_FROM else compress(data)


def _array(length: int) -> bytes:
    """Return the msgpack header of an array: the elements are encoded already."""
    if length < 16:
        return bytes((0x90 | length,))
    return b"\xdc" + length.to_bytes(2, "big") if length < 1 << 16 else b"\xdd" + length.to_bytes(4, "big")


def _dictionary(samples: list[bytes | bytearray | memoryview[int]]) -> bytes:
    """Train on every n-th record; b"" where there are too few, or too alike, to learn from."""
    if len(samples) < _DICTIONARY_RECORDS:
        return b""
    step = max(1, len(samples) // _DICTIONARY_SAMPLES)
    try:
        return zstandard.train_dictionary(_DICTIONARY_BYTES, samples[::step], level=_LEVEL).as_bytes()
    except zstandard.ZstdError:
        return b""
