"""A region of a file in, verified plain tar bytes out, in pieces of bounded size: decompression and digests in one pass."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from isal import isal_zlib

from pratique.model.errors import BudgetExceededError, IntegrityError, ParseError

READ_SIZE = 256 << 10  # fits the second-level cache, so that hashing and inflating find the bytes there
PIECE = 1 << 20  # bounded output keeps two threads running at once (unbounded output holds the interpreter lock for longer)
MAX_LAYER_BYTES = 256 << 30  # no registry accepts such a layer; a stream that goes on for ever must end somewhere
RATIO_FROM = 8 << 30  # below 8 GiB any ratio is accepted: sparse log files of honest images compress very well
MAX_RATIO = 500  # honest layers stay below 100; gzip bombs come near 1,030, zstd and xz bombs far above
ZSTD_WINDOW = 1 << 27  # 128 MiB, what `zstd -d` accepts by default; a larger window is a claim on our memory

_GZIP = 31  # zlib's window bits: 15, plus 16 for the gzip wrapper

MAGICS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"))


class Deadline:
    """A moment after which work on hostile input stops, and somebody to be told how far it has come.

    `tell` is called with the number of stored bytes just read, from several threads.
    """

    def __init__(self, seconds: float | None, tell: Callable[[int], None] | None = None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._tell = tell

    def advance(self, count: int) -> None:
        """Say that `count` more bytes were read."""
        if self._tell is not None:
            self._tell(count)

    def check(self) -> None:
        """Raise BudgetExceededError once the time is over."""
        if self._at is not None and time.monotonic() > self._at:
            raise BudgetExceededError(f"not done within {self._seconds:g} seconds")


def compression_of(start: bytes) -> str:
    """Name the compression by the first six bytes of a blob: gzip, zstd, bzip2, xz or plain. Media types are not believed."""
    return next((name for magic, name in MAGICS if start.startswith(magic)), "plain")


class Region:
    """A bounded region of an open file, read by position: it shares the descriptor with nobody's file position."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.size = size

    def pieces(self, size: int = READ_SIZE) -> Iterator[bytes]:
        """Yield the region in order. Raises IntegrityError where the file is shorter than the region."""
        position, end = self.offset, self.offset + self.size
        while position < end:
            data = os.pread(self.descriptor, min(size, end - position), position)
            if not data:
                raise IntegrityError(f"a layer ends {end - position} bytes before its stated size")
            position += len(data)
            yield data


def digest(region: Region, deadline: Deadline | None = None) -> str:
    """Return "sha256:<hex>" of a region, reading through one reused buffer."""
    state = hashlib.sha256()
    buffer = memoryview(bytearray(PIECE))
    position, end = region.offset, region.offset + region.size
    while position < end:
        count = os.preadv(region.descriptor, [buffer[: min(PIECE, end - position)]], position)
        if count == 0:
            raise IntegrityError(f"a layer ends {end - position} bytes before its stated size")
        state.update(buffer[:count])
        position += count
        if deadline is not None:
            deadline.advance(count)
    return f"sha256:{state.hexdigest()}"


class TarStream:
    """The uncompressed bytes of a region, with both digests computed as they pass.

    Iterate to get the pieces; after the last one `finished` is true, and `blob_digest` and `diff_id` hold. `trailing` says that
    more came after the end of the compressed data.
    """

    def __init__(self, region: Region, compression: str, deadline: Deadline) -> None:
        self._region = region
        self._compression = compression
        self._deadline = deadline
        self._blob = hashlib.sha256()
        self._plain = hashlib.sha256()
        self._consumed = 0
        self.produced = 0
        self.trailing = False
        self.finished = False

    @property
    def blob_digest(self) -> str:
        """Digest of the stored bytes."""
        return f"sha256:{self._blob.hexdigest()}"

    @property
    def diff_id(self) -> str:
        """Digest of the uncompressed bytes."""
        return f"sha256:{self._plain.hexdigest()}"

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inflate():
            self._plain.update(piece)
            self.produced += len(piece)
            self._check()
            yield piece
        self.finished = True

    def _check(self) -> None:
        if self.produced > MAX_LAYER_BYTES:
            raise BudgetExceededError(f"a layer of more than {MAX_LAYER_BYTES >> 30} GiB")
        if self.produced > RATIO_FROM and self.produced > MAX_RATIO * max(self._consumed, 1):
            raise BudgetExceededError(f"a layer that grows by more than {MAX_RATIO} when decompressed")
        self._deadline.check()

    def _stored(self) -> Iterator[bytes]:
        for data in self._region.pieces():
            self._blob.update(data)
            self._consumed += len(data)
            self._deadline.advance(len(data))
            yield data

    def _inflate(self) -> Iterator[bytes]:
        if self._compression == "gzip":
            yield from self._gzip()
        elif self._compression == "zstd":
            yield from self._zstd()
        else:
            yield from self._members()

    def _gzip(self) -> Iterator[bytes]:
        state: Any = isal_zlib.decompressobj(_GZIP)
        fresh = True
        for stored in self._stored():
            data = b"" if self.trailing else stored
            while data:
                if state.eof:  # gzip members may follow each other; the runtimes read them as one stream
                    if data[0] != 0x1F:
                        self.trailing = True
                        break
                    state, fresh = isal_zlib.decompressobj(_GZIP), True
                try:
                    piece = state.decompress(data, PIECE)
                except isal_zlib.error as error:  # type: ignore[misc]
                    raise ParseError(f"damaged gzip data: {error}") from None
                fresh = False
                data = state.unused_data if state.eof else state.unconsumed_tail
                if piece:
                    yield piece
        if not state.eof and not fresh:
            raise ParseError("gzip data that ends too early")

    def _zstd(self) -> Iterator[bytes]:
        import zstandard  # noqa: PLC0415 - only when a layer needs it

        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        source = _Source(self._stored())
        try:
            reader = decompressor.stream_reader(source, read_size=READ_SIZE, read_across_frames=True)  # type: ignore[arg-type]
            with reader:
                while piece := reader.read(PIECE):
                    yield piece
        except zstandard.ZstdError as error:
            raise ParseError(f"damaged zstd data: {error}") from None
        source.drain()

    def _members(self) -> Iterator[bytes]:
        import bz2  # noqa: PLC0415 - only when a layer needs it
        import lzma  # noqa: PLC0415 - only when a layer needs it

        make = bz2.BZ2Decompressor if self._compression == "bzip2" else lambda: lzma.LZMADecompressor(memlimit=ZSTD_WINDOW)
        state: Any = make()
        for stored in self._stored():
            data = stored
            while data or not (state.eof or state.needs_input):
                if state.eof:
                    state = make()
                try:
                    piece = state.decompress(data, PIECE)
                except (OSError, lzma.LZMAError, ValueError) as error:
                    raise ParseError(f"damaged {self._compression} data: {error}") from None
                data = state.unused_data if state.eof else b""
                if piece:
                    yield piece
        if not state.eof:
            raise ParseError(f"{self._compression} data that ends too early")


class _Source:
    """Pieces as a readable object, for zstandard."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, whatever its size (zstandard asks for READ_SIZE, which is the most a piece has)."""
        return next(self._pieces, b"")

    def drain(self) -> None:
        """Read to the end, so that the digest covers every stored byte."""
        while self.read():
            pass
