"""The tar reader against the standard library, against Go's reader, and against archives that nobody honest would write."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tarcases
from pratique.image import tar
from pratique.image.blob import Deadline, Region
from pratique.image.walk import LayerWalk
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.layer import Selection
from tarcases import BLOCK, END, block, long, member, padded, pax

SPARSE = Path(__file__).parent / "sparse"
KINDS = {tar.REGULAR: "0", tar.HARDLINK: "1", tar.SYMLINK: "2", tar.DIRECTORY: "5", tar.OTHER: "o"}
Entry = list[str | int]


def read_all(data: bytes) -> tuple[list[Entry], str]:
    """Read an archive with our reader: [kind, name in hex, size, digest, link in hex] each, and the error at its end."""
    reader, at, found = tar.HeaderReader(), 0, list[Entry]()

    def read(count: int) -> bytes:
        nonlocal at
        part = data[at : at + count]
        if len(part) != count:
            raise ParseError("ends too early")
        at += count
        return part

    try:
        while at < len(data) and (header := reader.next(read(BLOCK), read)) is not None:
            body = read(header.size)
            at += -header.size % BLOCK
            if header.segments is not None:
                body = tar.expand(body, header.segments, header.real_size)
            digest = hashlib.sha256(body).hexdigest()
            found.append([KINDS[header.kind], header.path.hex(), len(body), digest, header.link.hex()])
    except (ParseError, BudgetExceededError) as error:
        return found, error.message
    return found, ""


def by_standard_library(data: bytes) -> list[Entry]:
    """Read the same with tarfile."""
    found: list[Entry] = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            kind = "0" if info.isreg() else {b"1": "1", b"2": "2", b"5": "5"}.get(info.type, "o")
            stream = archive.extractfile(info) if info.isreg() else None
            body = stream.read() if stream else b""
            name = info.name.encode("utf-8", "surrogateescape")
            link = info.linkname.encode("utf-8", "surrogateescape") if kind in "12" else b""
            found.append([kind, name.hex(), len(body), hashlib.sha256(body).hexdigest(), link.hex()])
    return found


@contextmanager
def region(data: bytes) -> Iterator[Region]:
    """Bytes as a region in the middle of a file."""
    descriptor = os.memfd_create("layer")
    try:
        os.write(descriptor, b"before" + data + b"behind")
        yield Region(descriptor, 6, len(data))
    finally:
        os.close(descriptor)


def walked(data: bytes) -> tuple[dict[bytes, bytes], LayerWalk]:
    """Walk a layer, wanting everything; return the content of what counts in the end."""
    with region(data) as where:
        walk = LayerWalk(where, lambda _path, _head: Selection((0,), 1 << 24, content=False), Deadline(None))
        content: dict[bytes, bytes] = {}
        for item in walk:
            content.pop(item.path, None)
            if item.file is not None:
                content[item.path] = item.file.read()
        return content, walk


def without_slash(entries: list[Entry]) -> list[Entry]:
    """Directories' names without the slash at their end, which tarfile takes away."""
    return [[kind, str(name).removesuffix("2f"), *rest] for kind, name, *rest in entries]


@pytest.mark.parametrize("chunk", range(10))
def test_agrees_with_the_standard_library(chunk: int) -> None:
    """Two thousand archives in three formats: the same entries, sizes and contents."""
    for seed in range(chunk * 200, chunk * 200 + 200):
        data = tarcases.archive(seed)
        ours, error = read_all(data)
        assert not error, seed
        assert without_slash(ours) == without_slash(by_standard_library(data)), seed


def test_agrees_with_go_where_archivers_differ() -> None:
    """What Go's reader says about odd archives is what runtimes unpack; where it refuses, they do, and any answer will do.

    Alone where an archive ends after an extension header, Go sees an end and we a damaged archive.
    """
    answers = ", ".join(json.loads((SPARSE / "go-answers.json").read_text("utf-8"))).split(", ")
    agreed = 0
    for seed, expected in enumerate(answers):
        entries, error = read_all(tarcases.strange(seed))
        if expected == "error" or error == "ends too early":
            continue
        assert not error, seed
        assert hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16] == expected, seed
        agreed += 1
    assert agreed > 300


@pytest.mark.parametrize("name", ["old-gnu", "pax-0.0", "pax-0.1", "pax-1.0"])
def test_sparse_files_of_gnu_tar(name: str) -> None:
    """All four ways to write holes give the files back, through the walk as well."""
    data = gzip.decompress((SPARSE / f"{name}.tar.gz").read_bytes())
    ours, error = read_all(data)
    assert not error
    assert ours == by_standard_library(data)
    assert [entry[2] for entry in ours] == [400_000, 700_000, 1_000_000, 11]
    for packed in (data, gzip.compress(data)):
        content, walk = walked(packed)
        assert {path: len(body) for path, body in content.items()} == {
            b"holes": 400_000,
            b"many": 700_000,
            b"empty": 1_000_000,
            b"plain": 11,
        }
        assert content[b"holes"][100_000:100_006] == b"middle"
        assert not walk.gaps


@given(st.binary(max_size=3000))
@settings(max_examples=150)
def test_any_bytes_end(data: bytes) -> None:
    """Any bytes end in entries or a gap, nothing else, plain or compressed."""
    read_all(data)
    walked(data)
    walked(gzip.compress(data))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_archives_end(seed: int) -> None:
    """Archives with bytes changed (checksums mended or not) end in entries or a gap, nothing else."""
    chance = random.Random(seed)
    for number in range(40):
        data = bytearray(chance.choice((tarcases.archive, tarcases.strange))(seed * 1000 + number))
        for _ in range(chance.randint(1, 6)):
            if data:
                data[chance.randrange(len(data))] = chance.choice((0, 32, 48, 56, 128, 255, chance.randrange(256)))
        for at in range(0, len(data) - BLOCK + 1, BLOCK):
            head = data[at : at + BLOCK]
            if chance.random() < 0.8 and any(head):
                head[148:156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(head)
        read_all(bytes(data))
        plain, first = walked(bytes(data))
        packed, second = walked(gzip.compress(bytes(data)))
        assert plain == packed
        assert first.tree.files == second.tree.files
        assert [gap.code for gap in first.gaps] == [gap.code for gap in second.gaps]


def error_of(data: bytes) -> str:
    """Return the error that an archive ends with."""
    return read_all(data)[1]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(block(b"a", b"\xff" * 12), id="negative size"),
        pytest.param(block(b"a", b"\x80" + b"\xff" * 11), id="size beyond 63 bits"),
        pytest.param(block(b"a", b"00000000089"), id="size in no octal digits"),
        pytest.param(block(b"a", b"1 2"), id="size with a blank inside"),
        pytest.param(block(b"a", checksum=b"999999\0 "), id="checksum in no octal digits"),
        pytest.param(block(b"a", checksum=b"000000\0 "), id="wrong checksum"),
        pytest.param(member(b"x", b"20 path=short\n", b"x") + member(b"a"), id="PAX length beyond its end"),
        pytest.param(member(b"x", b"junk", b"x") + member(b"a"), id="PAX without a length"),
        pytest.param(member(b"x", b"8 path=a", b"x") + member(b"a"), id="PAX without a line's end"),
        pytest.param(pax((b"path", b"a\0etc/os-release")) + member(b"a"), id="NUL in a path"),
        pytest.param(pax((b"size", b"-1")) + member(b"a"), id="negative PAX size"),
        pytest.param(pax((b"size", b"9" * 5000)) + member(b"a"), id="PAX size of 5,000 digits"),
        pytest.param(bytes(BLOCK) + member(b"behind", b"x"), id="entries behind a lone block of zeros"),
        pytest.param(block(b"x", 1 << 33, b"x"), id="extension of 8 GiB"),
        pytest.param(pax() * 1001 + member(b"a"), id="a thousand extensions in a row"),
        pytest.param(pax((b"path", b"a/" * 2500)) + member(b"a"), id="path of 5,000 bytes"),
        pytest.param(long(b"a" * 5000) + member(b"a"), id="name of 5,000 bytes"),
        pytest.param(pax((b"linkpath", b"a" * 5000)) + block(b"a", flag=b"2"), id="link of 5,000 bytes"),
    ],
)
def test_hostile_headers_are_refused(data: bytes) -> None:
    """Each ends in an error that becomes a gap."""
    assert error_of(data + END)
    assert walked(data + END)[1].gaps[0].code in {"image.layer-damaged", "image.layer-limit"}


def sparse(segments: bytes, count: int, real: int, data: bytes = b"data") -> bytes:
    """A sparse file in format 0.1."""
    pairs = ((b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", b"1"), (b"GNU.sparse.name", b"real"))
    return pax(
        *pairs, (b"GNU.sparse.map", segments), (b"GNU.sparse.numblocks", b"%d" % count), (b"GNU.sparse.size", b"%d" % real)
    ) + (member(b"GNUSparseFile.0/real", data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(sparse(b"0,4,2,2", 2, 100), id="overlapping"),
        pytest.param(sparse(b"4,2,0,2", 2, 100), id="out of order"),
        pytest.param(sparse(b"99,4", 1, 100), id="beyond the end"),
        pytest.param(sparse(b"0,4", 2, 100), id="fewer than stated"),
        pytest.param(sparse(b"0,x", 1, 100), id="no number"),
        pytest.param(sparse(b"0,4000", 1, 5000), id="more than is stored"),
        pytest.param(
            pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")) + member(b"a", b"9" * 5000), id="count of 5,000 digits"
        ),
        pytest.param(
            pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")) + member(b"a", b"7\n1\n"), id="map that ends early"
        ),
        pytest.param(block(b"a", 0, b"S"), id="GNU's kind in a POSIX archive"),
    ],
)
def test_sparse_maps_that_lie(data: bytes) -> None:
    """A map that does not fit its file is an error."""
    assert error_of(data + END)
    assert walked(data + END)[1].gaps


def test_sparse_file_of_a_terabyte() -> None:
    """A wanted sparse file that claims a huge size is too large to read, and takes no memory."""
    data = sparse(b"0,4", 1, 1 << 40) + member(b"next", b"x") + END
    for packed in (data, gzip.compress(data)):
        with region(packed) as where:
            walk = LayerWalk(where, lambda _path, _head: Selection((0,), 1 << 50, content=False), Deadline(None))
            seen = [(item.path, item.file is None, item.size) for item in walk]
        assert seen == [(b"real", True, 1 << 40), (b"next", False, 1)]


def test_an_unknown_sparse_version_is_a_plain_file() -> None:
    """A version of sparse files that no runtime knows changes nothing: its content must not be taken for a hole."""
    data = pax((b"GNU.sparse.major", b"7"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.size", b"4")) + member(b"a", b"data") + END
    assert walked(data)[0] == {b"a": b"data"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(member(b"a", b"x", flag=b"\0", magic=b""), {b"a": b"x"}, id="version 7"),
        pytest.param(block(b"a", b"0000000000a\0"[:0] + b" 1 \0") + padded(b"x"), {b"a": b"x"}, id="blanks round a number"),
        pytest.param(block(b"a", b"000000000001") + padded(b"x"), {b"a": b"x"}, id="twelve digits"),
        pytest.param(block(b"a", b"\x80" + bytes(10) + b"\x01") + padded(b"x"), {b"a": b"x"}, id="base 256"),
        pytest.param(pax((b"size", b"3")) + block(b"a", 0) + padded(b"xyz"), {b"a": b"xyz"}, id="size override"),
        pytest.param(member(b"a/", b"x"), {b"a": b"x"}, id="file with a slash at its end"),
        pytest.param(long(b"g") + pax((b"path", b"p")) + member(b"a", b"x"), {b"g": b"x"}, id="GNU before PAX"),
        pytest.param(pax((b"path", b"1")) + pax((b"path", b"2")) + member(b"a", b"x"), {b"2": b"x"}, id="second PAX header"),
        pytest.param(pax((b"path", b"1"), flag=b"g") + member(b"a", b"x"), {b"a": b"x"}, id="global header"),
        pytest.param(pax((b"path", b"")) + member(b"a", b"x"), {b"a": b"x"}, id="empty value"),
        pytest.param(block(b"d", 512, b"5") + member(b"a", b"x"), {b"a": b"x"}, id="directory with a size"),
        pytest.param(member(b"./../../a", b"x"), {b"a": b"x"}, id="leads out"),
        pytest.param(member(b"/a//b/./c/../d", b"x"), {b"a/b/d": b"x"}, id="dots and slashes"),
        pytest.param(member(b"", b"x"), {}, id="no name"),
        pytest.param(member(b"a", b"x")[:513], {b"a": b"x"}, id="no padding at the end"),
        pytest.param(member(b"a", b"x") + END + member(b"hidden", b"x"), {b"a": b"x"}, id="behind the end"),
        pytest.param(member(b"a", b"x") + bytes(BLOCK), {b"a": b"x"}, id="one block of zeros"),
    ],
)
def test_odd_but_readable(data: bytes, expected: dict[bytes, bytes]) -> None:
    """What runtimes accept is read as they read it, plain and compressed."""
    assert walked(data)[0] == expected
    assert walked(gzip.compress(data))[0] == expected


def test_a_thousand_records() -> None:
    """A PAX header of a mebibyte with a hundred thousand records takes no quadratic time."""
    pairs = [(b"k%d" % number, b"v") for number in range(40_000)]
    assert walked(pax(*pairs, (b"path", b"named")) + member(b"a", b"x") + END)[0] == {b"named": b"x"}
