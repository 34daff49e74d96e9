"""A zip archive that can be read at any offset in; its table of contents and single small members out.

Nothing is unpacked but what is asked for, and nothing is believed: the table is bounded, a member inflates to at most the stated
limit and must have its checksum. https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pratique.model.errors import BudgetExceededError, ParseError

ReadAt = Callable[[int, int], bytes]

# The end record is 22 bytes and a comment of at most 65,535.
_TAIL = 22 + 0xFFFF
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
# 100,000 members with long names fit; the table of the largest wheels has 20,000.
MAX_TABLE = 16 << 20
MAX_MEMBERS = 200_000
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
# A field that holds this says that a 64-bit value stands elsewhere: no package archive is that large.
_IN_ZIP64 = 0xFFFFFFFF


class Member(NamedTuple):
    """One entry of the table; `offset` is that of its local header."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def members(read_at: ReadAt, size: int) -> Iterator[Member]:
    """Yield the entries of the table of contents. Raises ParseError and BudgetExceededError."""
    tail = read_at(max(0, size - _TAIL), _TAIL)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise ParseError("no end of a zip archive: cut off, or no archive")
    _, _, _, _, count, length, start, _ = _END.unpack_from(tail, at)
    if start == _IN_ZIP64 or length > MAX_TABLE or count > MAX_MEMBERS:
        raise BudgetExceededError(f"a zip table of {count} entries and {length} bytes")
    end = max(0, size - _TAIL) + at
    # Bytes before the archive (a launcher) shift every offset by as much as the table itself is shifted.
    shift = end - length - start
    if shift < 0:
        raise ParseError("the zip table of contents lies outside the file")
    table = read_at(end - length, length)
    here = 0
    while here + _ENTRY.size <= len(table):
        entry = _ENTRY.unpack_from(table, here)
        if entry[0] != b"PK\x01\x02":
            raise ParseError("the zip table of contents is damaged")
        named = here + _ENTRY.size
        here = named + entry[10] + entry[11] + entry[12]
        yield Member(table[named : named + entry[10]], entry[3], entry[4], entry[7], entry[8], entry[9], entry[16] + shift)


def content(read_at: ReadAt, member: Member, limit: int) -> bytes:
    """Return a member's content. Raises BudgetExceededError above `limit` bytes, ParseError where it is damaged."""
    if max(member.size, member.packed) > limit:
        raise BudgetExceededError(f"a zip member of {member.size} bytes; at most {limit} are read")
    local = read_at(member.offset, _LOCAL.size)
    if len(local) < _LOCAL.size or not local.startswith(b"PK\x03\x04"):
        raise ParseError("a zip member lies outside the file")
    head = _LOCAL.unpack(local)
    data = read_at(member.offset + _LOCAL.size + head[9] + head[10], member.packed)
    if member.flags & _ENCRYPTED or member.method not in (_STORED, _DEFLATED):
        raise ParseError(f"a zip member is encrypted or packed by method {member.method}")
    if member.method == _DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit)
        except zlib.error as error:
            raise ParseError("a zip member is damaged") from error
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise ParseError("a zip member is damaged: length or checksum is not as stated")
    return data
