"""One feed's SQLite file in, its answers out. Opened read-only and immutable: no lock, no journal, no write, ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import zstandard

from pratique.advisory.layout import epss_place
from pratique.model.advisory import Advisory, Exploited, ExploitScore
from pratique.model.errors import DatabaseError
from pratique.model.hits import Hit

# SQLite takes 32,766 parameters; lists of 500 were fastest.
_BATCH = 500
# A row of hits inflated: the Linux kernel's in Debian has about 1 MB.
_MAX_ROW_BYTES = 256 << 20
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

T = TypeVar("T")

_hits = msgspec.msgpack.Decoder(list[Hit]).decode
_advisory = msgspec.msgpack.Decoder(Advisory).decode
_exploited = msgspec.msgpack.Decoder(Exploited).decode


class FeedFile:
    """The open file of one feed. Every method raises DatabaseError when the file turns out to be damaged."""

    def __init__(self, path: Path, feed: str) -> None:
        """Open it. Raises FileNotFoundError where it is gone: a newer one has replaced it."""
        if not path.exists():
            raise FileNotFoundError(path)
        self.feed = feed
        self._path = path
        # Connecting opens the file, so a later update cannot take it away; nothing is read before it is asked for.
        self._connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)

    @cached_property
    def _meta(self) -> dict[str, bytes]:
        return dict(self._ask("SELECT key, value FROM meta", ()))

    @cached_property
    def _inflate(self) -> Callable[..., bytes]:
        return zstandard.ZstdDecompressor().decompress

    @cached_property
    def _details(self) -> Callable[..., bytes]:
        words = self._meta.get("dictionary")
        return zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(words) if words else None).decompress

    def close(self) -> None:
        self._connection.close()

    def hits(self, ecosystem: str, names: Sequence[str]) -> Iterator[tuple[str, list[Hit]]]:
        """Yield (name, hits) for those of `names` (normalised) that the feed knows. `source` and `feed` are not yet set."""
        for marks, batch in _batches(names):
            sql = f"SELECT name, hits FROM packages WHERE ecosystem = ? AND name IN ({marks})"  # noqa: S608 - only question marks
            for name, data in self._ask(sql, (ecosystem, *batch)):
                yield name, self._decode(_hits, self._row(data))

    def speaks_of(self, ecosystem: str) -> bool:
        """Say whether the feed has anything about `ecosystem`, its release included."""
        return next(self._ask("SELECT 1 FROM packages WHERE ecosystem = ? LIMIT 1", (ecosystem,)), None) is not None

    def details(self, ids: Sequence[str]) -> Iterator[Advisory]:
        """Yield the advisories, without `affected`, of those `ids` about which there is more to say than the id."""
        for marks, batch in _batches(ids):
            for (data,) in self._ask(f"SELECT data FROM advisories WHERE id IN ({marks})", batch):  # noqa: S608
                yield self._decode(_advisory, self._plain(self._details, data))

    def named(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield (name, id) for each advisory that has one of `names` as an alias, or covers it."""
        for marks, batch in _batches(names):
            yield from self._ask(f"SELECT name, id FROM names WHERE name IN ({marks})", batch)  # noqa: S608

    def kev(self, cves: Sequence[str]) -> Iterator[Exploited]:
        """Yield the entries of those of `cves` that are known to be exploited."""
        for marks, batch in _batches(cves):
            for (data,) in self._ask(f"SELECT data FROM kev WHERE cve IN ({marks})", batch):  # noqa: S608
                yield self._decode(_exploited, data)

    def epss(self, cves: Iterable[str]) -> Iterator[ExploitScore]:
        """Yield the scores of those of `cves` that have one."""
        wanted: dict[int, list[tuple[int, str]]] = {}
        date = self._meta.get("score_date", b"").decode()
        for cve in cves:
            place = epss_place(cve)
            if place is not None:
                wanted.setdefault(place[0], []).append((place[1], cve))
        for marks, batch in _batches(list(wanted)):
            for block, data in self._ask(f"SELECT block, data FROM epss WHERE block IN ({marks})", batch):  # noqa: S608
                numbers = {int.from_bytes(data[at : at + 2], "big") >> 2: at for at in range(0, len(data), 6)}
                for offset, cve in wanted[block]:
                    if (at := numbers.get(offset)) is not None:
                        packed = int.from_bytes(data[at : at + 6], "big")
                        score, percentile = (packed >> 17 & 0x1FFFF) / 1e5, (packed & 0x1FFFF) / 1e5
                        yield ExploitScore(cve=cve, score=score, percentile=percentile, date=date)

    def affected(self, ids: Collection[str]) -> Iterator[tuple[str, str, Hit]]:
        """Yield (ecosystem, package, hit) of every hit of `ids`. Reads every row: for people who ask, not for scans."""
        marks = [name.encode() for name in ids]
        for ecosystem, package, data in self._ask("SELECT ecosystem, name, hits FROM packages ORDER BY ecosystem, name", ()):
            row = self._row(data)
            if any(mark in row for mark in marks):
                yield from ((ecosystem, package, hit) for hit in self._decode(_hits, row) if hit.id in ids)

    def packages(self, text: str) -> Iterator[tuple[str, str, int]]:
        """Yield (ecosystem, package, number of advisories) of packages with `text` (lower case) in their names: slow."""
        sql = "SELECT ecosystem, name, hits FROM packages WHERE instr(lower(name), ?) ORDER BY ecosystem, name"
        for ecosystem, name, data in self._ask(sql, (text,)):
            yield ecosystem, name, len(self._decode(_hits, self._row(data)))

    def advisories(self) -> Iterator[Advisory]:
        """Yield every advisory about which there is more to say than the id, without `affected`, by id."""
        for (data,) in self._ask("SELECT data FROM advisories ORDER BY id", ()):
            yield self._decode(_advisory, self._plain(self._details, data))

    def check(self) -> str:
        """Return what SQLite's own integrity check complains of; "" when nothing."""
        row = next(self._ask("PRAGMA integrity_check(1)", ()), ("no answer",))
        return "" if row[0] == "ok" else str(row[0])

    def _row(self, data: bytes) -> bytes:
        return self._plain(self._inflate, data) if data[:4] == _ZSTD_MAGIC else data

    def _plain(self, inflate: Callable[..., bytes], data: bytes) -> bytes:
        try:
            return inflate(data, max_output_size=_MAX_ROW_BYTES)
        except zstandard.ZstdError as error:
            raise self._damaged(error) from error

    def _ask(self, sql: str, values: Sequence[str | int]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _decode(self, decode: Callable[[bytes], T], data: bytes) -> T:
        try:
            return decode(data)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DatabaseError:
        return DatabaseError(f"{self._path} is damaged: {error}", hint="run: pratique db update")


def _batches(values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    for at in range(0, len(values), _BATCH):
        batch = values[at : at + _BATCH]
        yield ",".join("?" * len(batch)), batch
