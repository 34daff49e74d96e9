"""An open feed file in, its rows as they are before compression out: what writing and comparing have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import zstandard

from pratique.advisory import scores
from pratique.advisory.layout import COMPRESS_FROM, Facts
from pratique.advisory.values import Changes
from pratique.model.errors import DatabaseError

# A row of hits inflated: the Linux kernel's in Debian has about 1 MB.
MAX_ROW_BYTES = 256 << 20
LEVEL = 9
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class _Head(msgspec.Struct, array_like=True, gc=False):
    """As much of a hit as tells whose it is."""

    id: str


_heads = msgspec.msgpack.Decoder(list[_Head]).decode
_raws = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_facts = msgspec.msgpack.Decoder(Facts).decode
_changes = msgspec.msgpack.Decoder(Changes).decode
_moves = msgspec.msgpack.Decoder(dict[int, bytes]).decode


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for reading; it must not change while it is open."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)


class Tables:
    """Reads rows of one file, plain. Every method raises DatabaseError where the file turns out to be damaged."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @cached_property
    def meta(self) -> dict[str, bytes]:
        """The table `meta`."""
        return dict(self.ask("SELECT key, value FROM meta"))

    @property
    def facts(self) -> Facts:
        """What is said of the state as it is."""
        facts: Facts = self.decode(_facts, self.meta.get("facts", b""))
        return facts

    def ask(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that a query brings."""
        try:
            yield from self._connection.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from error

    def one(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row; None where there is no row."""
        row = next(self.ask(sql, *values), None)
        return None if row is None else row[0]

    def hits(self, ecosystem: str, package: str) -> list[tuple[str, bytes]]:
        """Return (id of the advisory, hit in msgpack) of a package, as they are ordered."""
        return self.split(self.one("SELECT hits FROM packages WHERE ecosystem = ? AND name = ?", ecosystem, package))

    def split(self, data: bytes | None) -> list[tuple[str, bytes]]:
        """Take a row of hits apart."""
        if data is None:
            return []
        row = self.row(data)
        heads = self.decode(_heads, row)
        return [(head.id, bytes(raw)) for head, raw in zip(heads, self.decode(_raws, row), strict=True)]

    def ids(self, data: bytes) -> list[str]:
        """Return whose hits a row holds."""
        return [head.id for head in self.decode(_heads, self.row(data))]

    def packages(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield (ecosystem, package, hits as one msgpack array) of all."""
        for ecosystem, name, data in self.ask("SELECT ecosystem, name, hits FROM packages"):
            yield ecosystem, name, self.row(data)

    def advisory(self, identifier: str) -> bytes:
        """Return an advisory's msgpack; b"" where it is not there."""
        data = self.one("SELECT data FROM advisories WHERE id = ?", identifier)
        return b"" if data is None else self.plain(data)

    def advisories(self) -> Iterator[tuple[str, bytes]]:
        """Yield (id, msgpack) of all."""
        for identifier, data in self.ask("SELECT id, data FROM advisories"):
            yield identifier, self.plain(data)

    def past(self, since: int) -> Iterator[Changes]:
        """Yield what undoes each update after the second `since`, the newest first; scores are not among it."""
        for until, data in self.ask("SELECT until, data FROM history WHERE until > ? ORDER BY until DESC", since):
            changes = self.decode(_changes, self.plain(data))
            changes.at = until
            yield changes

    def block(self, block: int) -> bytes:
        """Return a block of scores; b"" where it is not there."""
        return self.one("SELECT data FROM epss WHERE block = ?", block) or b""

    def moves(self, since: int) -> Iterator[tuple[int, scores.Moves]]:
        """Yield (second, what leads blocks of scores back to before it) of each update after `since`, the newest first."""
        for until, data in self.ask("SELECT until, data FROM scores WHERE until > ? ORDER BY until DESC", since):
            yield until, scores.Moves(self.decode(_moves, self.row(data)))

    def led(self, moves: scores.Moves, number: int, block: bytes) -> bytes:
        """Return the block of scores that moves lead to."""
        try:
            return moves.lead(number, block)
        except ValueError as error:
            raise self.damaged(error) from error

    def row(self, data: bytes) -> bytes:
        """Return a row of hits as it was before it was, or was not, compressed."""
        return self._inflated(self._inflate, data) if data[:4] == ZSTD_MAGIC else data

    def plain(self, data: bytes) -> bytes:
        """Return what was compressed with the feed's dictionary."""
        return self._inflated(self._details, data)

    @cached_property
    def dictionary(self) -> zstandard.ZstdCompressionDict | None:
        """The feed's dictionary; None where it has none."""
        words = self.meta.get("dictionary")
        return zstandard.ZstdCompressionDict(words) if words else None

    @cached_property
    def _inflate(self) -> Callable[..., bytes]:
        return zstandard.ZstdDecompressor().decompress

    @cached_property
    def _details(self) -> Callable[..., bytes]:
        return zstandard.ZstdDecompressor(dict_data=self.dictionary).decompress

    def _inflated(self, inflate: Callable[..., bytes], data: bytes) -> bytes:
        try:
            if zstandard.frame_content_size(data) > MAX_ROW_BYTES:  # the limit below is for frames that do not state their size
                raise self.damaged("a row is too large")
            return inflate(data, max_output_size=MAX_ROW_BYTES)
        except zstandard.ZstdError as error:
            raise self.damaged(error) from error

    def decode(self, decode: Callable[[bytes], Any], data: bytes) -> Any:
        """Decode msgpack."""
        try:
            return decode(data)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self.damaged(error) from error

    def damaged(self, error: object) -> DatabaseError:
        """Return the error that says so."""
        return DatabaseError(f"{self._path} is damaged: {error}", hint="run: pratique db update")


class Squeeze:
    """Compresses rows as they are stored. A compressor is made once, its dictionary digested once."""

    def __init__(self, dictionary: zstandard.ZstdCompressionDict | None) -> None:
        def compressor(words: zstandard.ZstdCompressionDict | None) -> Callable[[bytes], bytes]:
            return zstandard.ZstdCompressor(level=LEVEL, dict_data=words, write_checksum=False, write_dict_id=False).compress

        self.plain = compressor(dictionary)
        self._large = compressor(None)

    def row(self, hits: bytes, least: int = COMPRESS_FROM) -> bytes:
        """Return a row of hits as it is stored: compressed from `least` bytes on."""
        return hits if len(hits) < least else self._large(hits)


def array(elements: list[bytes]) -> bytes:
    """Return the msgpack array of elements that are encoded already."""
    length = len(elements)
    if length < 16:
        head = bytes((0x90 | length,))
    else:
        head = b"\xdc" + length.to_bytes(2, "big") if length < 1 << 16 else b"\xdd" + length.to_bytes(4, "big")
    return head + b"".join(elements)
