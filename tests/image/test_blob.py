"""Compressed regions in, verified plain bytes out."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import zstandard

from pratique.image import blob
from pratique.image.blob import Deadline, Region, TarStream, compression_of, digest
from pratique.model.errors import BudgetExceededError, IntegrityError, ParseError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor(level=3).compress(data),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@contextmanager
def region(data: bytes) -> Iterator[Region]:
    """Bytes as a region in the middle of a file."""
    descriptor = os.memfd_create("blob")
    try:
        os.write(descriptor, b"before" + data + b"behind")
        yield Region(descriptor, 6, len(data))
    finally:
        os.close(descriptor)


def unpacked(data: bytes, deadline: float | None = None) -> tuple[bytes, TarStream]:
    """Decompress a blob."""
    with region(data) as where:
        stream = TarStream(where, compression_of(data[:6]), Deadline(deadline))
        pieces = list(stream)
        assert all(len(piece) <= blob.PIECE for piece in pieces)
        return b"".join(pieces), stream


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def sample(seed: int) -> bytes:
    """Make bytes that compress well, badly or not at all."""
    chance = random.Random(seed)
    parts = []
    for _ in range(chance.randint(0, 6)):
        kind = chance.randrange(3)
        size = chance.choice((0, 1, 100, 65_536, 1 << 20, chance.randint(0, 3 << 20)))
        parts.append(
            bytes(size) if kind == 0 else chance.randbytes(size // 4) if kind == 1 else b"word %d " % size * (size // 10)
        )
    return b"".join(parts)


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("read_size", [1 << 18, 4099, 61])
def test_bytes_and_digests(compression: str, read_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content and both digests are right, however the file is read."""
    monkeypatch.setattr(Region.pieces, "__defaults__", (read_size,))
    for seed in range(6 if read_size > 100 else 2):
        plain = sample(seed) if read_size > 100 else sample(seed)[:50_000]
        packed = PACKERS[compression](plain)
        data, stream = unpacked(packed)
        assert data == plain
        assert stream.finished
        assert not stream.trailing
        assert (stream.diff_id, stream.blob_digest, stream.produced) == (sha256(plain), sha256(packed), len(plain))


@pytest.mark.parametrize("compression", PACKERS)
def test_several_members(compression: str) -> None:
    """Members or frames that follow each other are one stream, empty ones included."""
    pack = PACKERS[compression]
    packed = pack(b"one") + pack(b"") + pack(b"two" * 100_000) + pack(b"")
    data, stream = unpacked(packed)
    assert data == b"one" + b"two" * 100_000
    assert stream.blob_digest == sha256(packed)


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_broken_off(compression: str, kept: float) -> None:
    """A stream that breaks off is an error, or ends with a digest that is not the stated one."""
    plain = random.Random(1).randbytes(400_000)
    packed = PACKERS[compression](plain)
    packed = packed[: max(8, int(len(packed) * kept))]
    try:
        _, stream = unpacked(packed)
    except ParseError:
        return
    assert stream.diff_id != sha256(plain)


@pytest.mark.parametrize("compression", PACKERS)
def test_a_changed_byte(compression: str) -> None:
    """A changed byte anywhere in a stream is an error, or changes the digest of the blob and never ends in another exception."""
    plain = b"some content " * 3000
    packed = PACKERS[compression](plain)
    chance = random.Random(2)
    for _ in range(60):
        data = bytearray(packed)
        data[chance.randrange(6, len(data))] ^= 1 << chance.randrange(8)
        try:
            _, stream = unpacked(bytes(data))
        except (ParseError, BudgetExceededError):
            continue
        assert stream.blob_digest != sha256(packed)


def test_a_wrong_checksum_of_gzip() -> None:
    """The checksum at the end of a member counts, as it does for the runtimes."""
    packed = gzip.compress(b"content" * 1000)
    for at in (-8, -4):
        damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :] if at != -1 else packed
        with pytest.raises(ParseError):
            unpacked(damaged)


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 512,
        b"garbage",
        b"\0" * 700_000 + b"\x1f\x8b",
        b"x" * blob.READ_SIZE * 2 + b"\x1f",
        b"x" * (blob.READ_SIZE - 27) + b"\x1f" * 99,
    ],
)
def test_data_behind_gzip(tail: bytes) -> None:
    """What follows the last member is told of, and belongs to the blob's digest."""
    packed = gzip.compress(b"content") + tail
    data, stream = unpacked(packed)
    assert data == b"content"
    assert stream.trailing
    assert stream.blob_digest == sha256(packed)


def test_skippable_frames_of_zstd() -> None:
    """Skippable frames (estargz and zstd:chunked end with one) hold nothing."""
    frame = b"\x50\x2a\x4d\x18" + (9).to_bytes(4, "little") + b"a" * 9
    packed = PACKERS["zstd"](b"content") + frame
    data, stream = unpacked(packed)
    assert data == b"content"
    assert stream.blob_digest == sha256(packed)


def test_a_window_of_zstd_that_is_too_large() -> None:
    """A frame that asks for more memory than `zstd -d` gives is refused."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=28)
    chunks = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = chunks.compress(b"content") + chunks.flush()
    with pytest.raises(ParseError):
        unpacked(packed)


def test_a_flood_of_empty_members() -> None:
    """A hundred thousand empty members take no quadratic time."""
    member = gzip.compress(b"")
    data, stream = unpacked(member * 100_000)
    assert data == b""
    assert stream.finished


@pytest.mark.parametrize("compression", PACKERS)
def test_limits(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size and ratio are bounded; below the threshold any ratio will do."""
    packed = PACKERS[compression](bytes(8 << 20))
    assert len(unpacked(packed)[0]) == 8 << 20
    monkeypatch.setattr(blob, "RATIO_FROM", 1 << 20)
    monkeypatch.setattr(blob, "MAX_RATIO", 5)
    with pytest.raises(BudgetExceededError, match="grows"):
        unpacked(packed)
    monkeypatch.setattr(blob, "MAX_RATIO", 1 << 40)
    monkeypatch.setattr(blob, "MAX_LAYER_BYTES", 1 << 20)
    with pytest.raises(BudgetExceededError, match="GiB"):
        unpacked(packed)
    with pytest.raises(BudgetExceededError, match="seconds"):
        unpacked(packed, deadline=-1.0)


def test_a_file_that_is_too_short() -> None:
    """A region beyond the end of its file is no layer."""
    with region(zlib.compress(b"x")) as where:
        longer = Region(where.descriptor, where.offset, where.size + 1000)
        with pytest.raises(IntegrityError):
            digest(longer)
        with pytest.raises(IntegrityError):
            list(longer.pieces())


def test_digest_of_a_region() -> None:
    """A region's digest is that of its bytes alone."""
    for size in (0, 1, blob.PIECE - 1, blob.PIECE, blob.PIECE + 1, 3 * blob.PIECE):
        data = random.Random(size).randbytes(size)
        with region(data) as where:
            assert digest(where) == sha256(data)
