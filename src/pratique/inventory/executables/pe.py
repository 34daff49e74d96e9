"""A Windows program in, its sections out.

Format: Microsoft's "PE Format" specification. A file that begins with MZ but has no PE header (a DOS program) has no sections.
"""

from __future__ import annotations

import struct

from pratique.inventory.executables.binary import Binary, ReadAt, Region
from pratique.model.errors import ParseError

MAGIC = b"MZ"
# Enough for DOS stub, headers and some 15 sections of nearly every file, so that one read does.
FIRST_READ = 1024
# The Windows loader refuses more (96 before Vista); the specification's field could state 65,535.
MAX_SECTIONS = 2048

_WRITE = 0x80000000
_DIRECTORY_CLR = 14


class Pe(Binary):
    """A PE file; `managed` says that it is a .NET assembly, whose code is not native. Addresses include the image base."""

    __slots__ = ("managed",)
    managed: bool


def read_pe(read_at: ReadAt, head: bytes) -> Pe | None:
    """Read the headers of the file that begins with `head`; None where it is no PE file. Raises ParseError."""
    if len(head) < 64:
        return None
    start = int.from_bytes(head[60:64], "little")
    if len(head) < start + 24:
        head = head[:64] + bytes(start - 64) + read_at(start, FIRST_READ) if 64 <= start <= FIRST_READ else head
    header = head[start : start + 24] if start + 24 <= len(head) else read_at(start, 24)
    if header[:4] != b"PE\0\0" or len(header) < 24:
        return None
    count, optional_size = struct.unpack_from("<6xH12xH", header)
    if count > MAX_SECTIONS:
        raise ParseError(f"{count} sections, more than {MAX_SECTIONS}")
    length = optional_size + 40 * count
    begin = start + 24
    rest = head[begin : begin + length] if begin + length <= len(head) else read_at(begin, length)
    if len(rest) < length or optional_size < 96:
        raise ParseError("the file ends inside its headers")
    wide = rest[:2] == b"\x0b\x02"
    base = struct.unpack_from("<Q", rest, 24)[0] if wide else struct.unpack_from("<I", rest, 28)[0]
    pe = Pe("pe", read_at, word=8 if wide else 4, big_endian=False)
    directory = (112 if wide else 96) + 8 * _DIRECTORY_CLR
    pe.managed = directory + 8 <= optional_size and rest[directory : directory + 8] != bytes(8)
    pe.sections = pe.segments = [
        Region(name.rstrip(b"\0"), base + address, offset, min(size, raw) if size else raw, bool(flags & _WRITE))
        for name, size, address, raw, offset, flags in struct.iter_unpack("<8sIIII12xI", rest[optional_size:length])
    ]
    return pe
