"""An archive of small files in, their bytes out one at a time, within budgets: OSV's zip, Red Hat's tar in zstd."""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from pratique.model.errors import ParseError
from pratique.model.inventory import Gap

MEBIBYTE = 1 << 20
# npm, the largest ecosystem, has about 250,000 records with its malicious packages; the list of names alone costs memory.
MAX_ENTRIES = 1_000_000
# The largest record seen (a Linux kernel one with all its versions) has about 1 MiB.
MAX_ENTRY_BYTES = 16 * MEBIBYTE
# Everything inflated: npm has about 1 GiB. Bounds time, not memory, as one record is held at a time.
MAX_TOTAL_BYTES = 8192 * MEBIBYTE
# JSON deflates to a tenth, a record that repeats itself to a hundredth; small archives may be as they are.
MAX_RATIO = 200
_RATIO_FROM = 256 * MEBIBYTE

# Red Hat's documents: about 60,000 of on average 150 KB; the largest (a kernel's, with all products) has some 20 MiB.
MAX_TAR_ENTRY_BYTES = 64 * MEBIBYTE
MAX_TAR_BYTES = 65_536 * MEBIBYTE
# A zstd frame may ask for a window of up to 2 GiB; upstream's need 8 MiB.
_MAX_WINDOW_BYTES = 128 * MEBIBYTE

# What reading one member may end in; the others can still be read.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_ZIP64_MAGIC = b"PK\x06\x06"
_ZIP64_COUNT = 32  # offset of "total number of entries" in the zip64 end record


class Zip:
    """An archive whose JSON files can be read one by one, within budgets. `body` must stay open."""

    def __init__(self, body: BinaryIO, source: str) -> None:
        """Read the directory. Raises ParseError when it is no zip, or has too many entries."""
        self._allowed = min(MAX_TOTAL_BYTES, max(_RATIO_FROM, MAX_RATIO * _refuse_crowds(body, source)))
        self._source = source
        self._total = 0
        try:
            self._archive = zipfile.ZipFile(body)
        except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, OSError, ValueError) as error:
            raise ParseError(f"{source}: not a readable zip archive: {error}") from error

    def members(self) -> list[zipfile.ZipInfo]:
        """Return the JSON files, in the archive's order: `filename`, `file_size` and `CRC` as its directory states them."""
        return [info for info in self._archive.infolist() if info.filename.endswith(".json")]

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """Return the content of a member, checked against its CRC. Raises one of UNREADABLE, ParseError for too much in all."""
        try:
            content = _inflate(self._archive, info)
        except OSError as error:
            raise ParseError(f"{self._source}: not a readable zip archive: {error}") from error
        self._total += len(content)
        if self._total > self._allowed:
            raise ParseError(f"{self._source}: the archive inflates to more than {self._allowed} bytes")
        return content


def entries(body: BinaryIO, source: str) -> Iterator[tuple[str, bytes] | Gap]:
    """Yield (name, content) of each JSON file in the archive, in the archive's order; a Gap for one that cannot be inflated.

    Raises ParseError when it is no zip, has too many entries or inflates to too much.
    """
    archive = Zip(body, source)
    for info in archive.members():
        try:
            content = archive.read(info)
        except UNREADABLE as error:
            yield unreadable(source, info.filename, str(error))
            continue
        yield info.filename, content


def tarred(body: BinaryIO, source: str) -> Iterator[tuple[str, bytes] | Gap]:
    """Do the same for a tar in zstd, read as a stream. Links and special files are passed over.

    Raises ParseError when it is none, is cut short or holds too much.
    """
    count = total = 0
    try:
        with (
            zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(body, read_across_frames=True) as plain,
            tarfile.open(fileobj=plain, mode="r|", ignore_zeros=False) as archive,
        ):
            for member in archive:
                count += 1
                total += member.size
                if count > MAX_ENTRIES or total > MAX_TAR_BYTES:
                    raise ParseError(f"{source}: the archive has more than {MAX_ENTRIES} entries or {MAX_TAR_BYTES} bytes")
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile remembers all of them
                if not member.isreg() or not member.name.endswith(".json"):
                    continue
                if member.size > MAX_TAR_ENTRY_BYTES:
                    yield unreadable(source, member.name, f"larger than {MAX_TAR_ENTRY_BYTES} bytes")
                    continue
                stream = archive.extractfile(member)
                content = stream.read() if stream is not None else b""
                yield member.name, content
    except (tarfile.TarError, zstandard.ZstdError, EOFError, OSError, ValueError) as error:
        raise ParseError(f"{source}: not a readable tar in zstd, or cut short: {error}") from error
    if not count:
        raise ParseError(f"{source}: an empty archive, or cut short")


def unreadable(source: str, record: str, why: str) -> Gap:
    """Return the note that one record of a feed was left out."""
    return Gap(code="advisories.unreadable-record", message=f"{source}: {record[:120]} was left out: {why[:200]}", source=source)


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MAX_ENTRY_BYTES:
        raise ValueError(f"larger than {MAX_ENTRY_BYTES} bytes")
    with archive.open(info) as stream:
        content = stream.read(MAX_ENTRY_BYTES + 1)
    if len(content) > MAX_ENTRY_BYTES:
        raise ValueError(f"larger than {MAX_ENTRY_BYTES} bytes")
    return content


def _refuse_crowds(body: BinaryIO, source: str) -> int:
    """Read the number of entries before zipfile builds an object for each; return the size of the archive."""
    size = body.seek(0, 2)
    body.seek(max(0, size - _END.size - 0xFFFF - 128))
    tail = body.read()
    body.seek(0)
    at = tail.rfind(_END_MAGIC)
    if at < 0 or at + _END.size > len(tail):
        raise ParseError(f"{source}: not a zip archive, or cut short")
    count, directory = _END.unpack_from(tail, at)[4:6]
    big = tail.rfind(_ZIP64_MAGIC, 0, at)
    if count == 0xFFFF and big >= 0 and big + _ZIP64_COUNT + 8 <= len(tail):
        count = int.from_bytes(tail[big + _ZIP64_COUNT : big + _ZIP64_COUNT + 8], "little")
    if count > MAX_ENTRIES or directory // 46 > MAX_ENTRIES * 4:
        raise ParseError(f"{source}: the archive lists {count} entries, more than {MAX_ENTRIES}")
    return size
