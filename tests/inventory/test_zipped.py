"""The zip reader against the standard library's, and against damage."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.inventory.zipped import content, members
from pratique.model.errors import BudgetExceededError, ParseError


class Reader:
    """Bytes that are read by offset, as a File is."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


def packed(files: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """Return a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


NAMES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=400), max_size=5),
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    launcher=st.binary(max_size=30),
    comment=st.binary(max_size=30).filter(lambda text: b"PK" not in text),
)
def test_zip_round_trip(files: dict[str, bytes], compression: int, launcher: bytes, comment: bytes) -> None:
    """What the standard library packs comes out again, with a launcher before the archive and a comment behind it."""
    data = launcher + packed(files, compression=compression, comment=comment)
    read_at = Reader(data)
    assert {one.name.decode(): content(read_at, one, 1000) for one in members(read_at, len(data))} == files


def test_zip_member_too_large() -> None:
    """A member that states more than the limit is not inflated; one that states less than it holds is found out."""
    data = packed({"a": bytes(5000)})
    read_at = Reader(data)
    (member,) = members(read_at, len(data))
    with pytest.raises(BudgetExceededError):
        content(read_at, member, 4999)
    with pytest.raises(ParseError, match="length or checksum"):
        content(read_at, member._replace(size=10), 1000)


def test_zip_refuses_what_it_cannot_read() -> None:
    """Encryption, other methods and offsets outside the file are errors."""
    data = packed({"a": b"x"}, compression=zipfile.ZIP_STORED)
    read_at = Reader(data)
    (member,) = members(read_at, len(data))
    for wrong in (member._replace(flags=1), member._replace(method=12)):
        with pytest.raises(ParseError, match="encrypted or packed"):
            content(read_at, wrong, 100)
    with pytest.raises(ParseError, match="outside"):
        content(read_at, member._replace(offset=10_000), 100)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_zip_any_damage(data: st.DataObject) -> None:
    """An archive that was cut and changed anywhere ends in the same contents or an error that is meant."""
    whole = bytearray(packed({"one": b"first", "two": bytes(100)}))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[data.draw(st.integers(0, 5)) : data.draw(st.integers(0, len(whole)))])
    read_at = Reader(damaged)
    try:
        for member in members(read_at, len(damaged)):
            assert content(read_at, member, 1000) in (b"first", bytes(100))
    except (ParseError, BudgetExceededError):
        pass
