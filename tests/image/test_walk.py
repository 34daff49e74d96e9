"""A layer walked: what is wanted, what is noted of its tree, limits, the spool and the digests."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import zstandard

import imagebuilder
from imagebuilder import Entry, hardlink, layer_of_entries, symlink
from pratique.image import walk as module
from pratique.image.blob import Deadline, Region
from pratique.image.walk import LayerWalk
from pratique.model.errors import IntegrityError
from pratique.model.layer import NOBODY, Selection

WANTED = Selection((0,), 1 << 24, content=False)
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def select(path: bytes, _head: bytes) -> Selection | None:
    """Want files named w."""
    return WANTED if path.rpartition(b"/")[2] == b"w" else None


@contextmanager
def walk(data: bytes, spool: int = -1, seconds: float | None = None) -> Iterator[LayerWalk]:
    """A layer in a file."""
    descriptor = os.memfd_create("layer")
    try:
        os.write(descriptor, data)
        yield LayerWalk(Region(descriptor, 0, len(data)), select, Deadline(seconds), spool)
    finally:
        os.close(descriptor)


@pytest.fixture(params=PACKED)
def pack(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    """Each way to store a layer."""
    return PACKED[request.param]


def test_the_tree(pack: Callable[[bytes], bytes]) -> None:
    """Files, folders, whiteouts, links; what is wanted with its mode and content."""
    data = layer_of_entries(
        [
            ("./d/", b""),
            ("d/w", Entry(b"content", mode=0o4755)),
            ("d/link", symlink("../w")),
            ("d/hard", hardlink("./d/w")),
            ("d/dev", Entry(type=tarfile.CHRTYPE)),
            ("d/.wh.gone", b""),
            (".wh.top", b""),
            ("e/.wh..wh..opq", b""),
            (".wh..wh.plnk", b""),
            ("d/.wh..", b""),
        ]
    )
    with walk(pack(data)) as walked:
        [wanted] = list(walked)
        assert wanted.file is not None
        assert (wanted.path, wanted.file.mode, wanted.size) == (b"d/w", 0o4755, 7)
    tree = walked.tree
    assert tree.files.split(b"\0") == [b"d/w", b"d/link", b"d/hard", b"d/dev"]
    assert tree.directories == b"d"
    assert (tree.whiteouts, tree.opaques) == ([b"d/gone", b"top"], [b"e"])
    assert (tree.symlinks, tree.hardlinks) == ({b"d/link": b"../w"}, {b"d/hard": b"d/w"})
    assert (tree.entries, tree.size) == (5, len(data))
    assert [gap.code for gap in walked.gaps] == ["image.path-outside"]


def test_digests(pack: Callable[[bytes], bytes]) -> None:
    """Both digests are compared, bytes behind the archive's end included."""
    data = imagebuilder.layer({"w": "x"}) + bytes(5000)
    stored = pack(data)
    right, other = imagebuilder.digest(data), imagebuilder.digest(b"other")
    for diff_id, blob_digest, fits in ((right, imagebuilder.digest(stored), True), (other, "", False), ("", other, False)):
        with walk(stored) as walked:
            list(walked)
            if fits:
                walked.check(diff_id, blob_digest)
            else:
                with pytest.raises(IntegrityError):
                    walked.check(diff_id, blob_digest)


def test_a_damaged_stream_is_never_verified() -> None:
    """A stream that ends early cannot be what its digest says, whatever it held."""
    stored = gzip.compress(imagebuilder.layer({"w": random.Random(1).randbytes(50_000)}))
    with walk(stored[:-30]) as walked:
        list(walked)
        assert walked.gaps
        with pytest.raises(IntegrityError):
            walked.check(imagebuilder.digest(stored))


@pytest.mark.parametrize("stored", ["gzip", "zstd"])
def test_large_files_are_spooled(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large wanted file goes through the spool, one after the other; without a spool through memory."""
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    contents = [random.Random(seed).randbytes(size) for seed, size in enumerate((3_000_000, 10, 2_000_000, 1001))]
    data = PACKED[stored](layer_of_entries([(f"{number}/w", content) for number, content in enumerate(contents)]))
    with tempfile.TemporaryFile() as spool:
        for descriptor in (spool.fileno(), -1):
            with walk(data, descriptor) as walked:
                for content, wanted in zip(contents, walked, strict=True):
                    assert wanted.file is not None
                    assert wanted.file.read() == content
                    assert wanted.file.read_at(5, 5) == content[5:10]
                    assert wanted.file.read_at(len(content) - 2, 100) == content[-2:]
                    assert wanted.file.read_at(len(content) + 5, 100) == b""


def test_a_full_spool_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for a large file, it is a gap and the rest is examined."""
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    data = gzip.compress(layer_of_entries([("a/w", bytes(2_000_000)), ("b/w", b"x")]))
    with open("/dev/full", "r+b", buffering=0) as full, walk(data, full.fileno()) as walked:  # noqa: PTH123
        monkeypatch.setattr(os, "ftruncate", lambda *_: None)
        assert [wanted.path for wanted in walked] == [b"b/w"]
    assert [(gap.code, gap.path) for gap in walked.gaps] == [("image.unreadable", "a/w")]


def test_limits(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of any kind, paths and time are bounded; what came before counts, and the digests still hold."""
    kinds: dict[str, tuple[str, bytes | Entry]] = {
        "files": ("d/{}", b""),
        "folders": ("d/{}/", b""),
        "whiteouts": ("d/.wh.{}", b""),
        "links": ("d/{}", symlink("x")),
    }
    monkeypatch.setattr(module, "CHECKED", 16)
    monkeypatch.setattr(module, "MAX_ENTRIES", 100)
    for pattern, content in kinds.values():
        data = layer_of_entries([("w", b"x"), *((pattern.format(number), content) for number in range(300))])
        with walk(pack(data)) as walked:
            assert [wanted.path for wanted in walked] == [b"w"]
            assert [gap.code for gap in walked.gaps] == ["image.layer-limit"]
            walked.check(imagebuilder.digest(data))
    monkeypatch.setattr(module, "MAX_ENTRIES", 10_000)
    monkeypatch.setattr(module, "MAX_PATH_BYTES", 10_000)
    for name, content in ((f"{'n' * 90}/{{}}", b""), ("{}", symlink("t" * 90))):
        data = layer_of_entries([(name.format(number), content) for number in range(300)])
        with walk(pack(data)) as walked:
            list(walked)
            assert [gap.code for gap in walked.gaps] == ["image.layer-limit"]
    with walk(pack(data), seconds=-1.0) as walked:
        list(walked)
        assert {gap.code for gap in walked.gaps} == {"image.layer-limit"}


def test_what_is_written_again(pack: Callable[[bytes], bytes]) -> None:
    """A wanted file that something else replaces in the same layer is taken back."""
    for second in (("w", symlink("x")), ("w/", b""), ("w", hardlink("y")), ("w", Entry(type=tarfile.FIFOTYPE))):
        with walk(pack(layer_of_entries([("w", b"1"), second]))) as walked:
            assert [(wanted.path, wanted.selection is NOBODY) for wanted in walked] == [(b"w", False), (b"w", True)]
    with walk(pack(layer_of_entries([("w", symlink("x")), ("w", hardlink("y")), ("w/", b"")]))) as walked:
        list(walked)
    assert not walked.tree.symlinks
    assert not walked.tree.hardlinks


def test_larger_than_anybody_reads(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file is told of, not read."""
    monkeypatch.setitem(globals(), "WANTED", Selection((0,), 100, content=False))
    with walk(pack(layer_of_entries([("a/w", bytes(101)), ("b/w", bytes(100))]))) as walked:
        assert [(wanted.path, wanted.file is None, wanted.size) for wanted in walked] == [
            (b"a/w", True, 101),
            (b"b/w", False, 100),
        ]


def test_tiny_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of any size give the same entries."""
    data = layer_of_entries([(f"{number}/w", random.Random(number).randbytes(number * 97)) for number in range(20)])
    expected = [hashlib.sha256(random.Random(number).randbytes(number * 97)).digest() for number in range(20)]
    for size in (1, 7, 511, 513):
        monkeypatch.setattr("pratique.image.blob.PIECE", size)
        for name in ("gzip", "zstd"):
            with walk(PACKED[name](data)) as walked:
                assert [hashlib.sha256(wanted.file.read()).digest() for wanted in walked if wanted.file] == expected
