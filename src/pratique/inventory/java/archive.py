"""A Java archive that can be read at any offset in; the few members that tell what it is out.

A jar has thousands of classes and a handful of members of interest, so the table of contents is searched, not walked: a member's
name follows its fixed header, and where the number of headers in the table is the stated one, a name found is a member found.
Format: PKWARE's APPNOTE.TXT, 4.3 (structure), 4.3.14 and 4.5.3 (zip64).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from pratique.inventory.zipped import Member, ReadAt
from pratique.model.errors import BudgetExceededError, ParseError

# An archive of 400,000 classes, twice the largest known, has a table of about 50 MB.
MAX_TABLE = 64 << 20

# The end record is 22 bytes and a comment of at most 65,535; most archives have none, so that a short read finds it.
_END_SIZE = 22
_TAIL = _END_SIZE + 0xFFFF
_SHORT_TAIL = 4096
_END_SIGNATURE = b"PK\5\6"
_END = struct.Struct("<10xHLLH")
_END64_LOCATOR = struct.Struct("<4s4xQ4x")
_END64 = struct.Struct("<4s28xQQQ")
_SIGNATURE = b"PK\1\2"
_LOCAL_SIGNATURE = b"PK\3\4"
# flags, method, checksum, packed size, size, lengths of name, extra field and comment, offset of the local header
_ENTRY = struct.Struct("<4s4xHH4xLLLHHH8xL")
_LOCAL = struct.Struct("<4s22xHH")
_IN_ZIP64 = 0xFFFFFFFF
_MANY = 0xFFFF
_ZIP64_FIELD = 1
_STORED = 0
_DEFLATED = 8
_ENCRYPTED = 1


class Archive:
    """The table of contents of a zip archive of `size` bytes."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        """Raises ParseError where there is no archive, BudgetExceededError where its table is larger than any real one."""
        self.read_at = read_at
        self._table, self._shift, count = _table(read_at, size)
        self._plain = self._table.count(_SIGNATURE) == count

    def containing(self, part: bytes, wanted: Callable[[bytes], bool]) -> Iterator[Member]:
        """Yield the members whose name contains `part` and is `wanted`, in the table's order."""
        if not self._plain:
            yield from (member for member in self._walk() if part in member.name and wanted(member.name))
            return
        table = self._table
        at = table.find(part)
        while at >= 0:
            member, after = self._member(max(0, table.rfind(_SIGNATURE, 0, at)))
            if member is None or after <= at:
                # Also what bounds the work: every step is at least an entry on, and looks back no further than its beginning.
                raise ParseError("the zip table of contents is damaged")
            if part in member.name and wanted(member.name):
                yield member
            at = table.find(part, after)

    def has(self, part: bytes) -> bool:
        """Say whether a member's name contains `part`."""
        return part in self._table

    def window(self, member: Member) -> tuple[ReadAt, int] | None:
        """Return a reader of a member that is stored as it is, and its size; None where it is packed or encrypted."""
        if member.method != _STORED or member.flags & _ENCRYPTED or member.size != member.packed:
            return None
        start, size = self._start(member), member.size
        read_at = self.read_at

        def read_inside(offset: int, length: int) -> bytes:
            return read_at(start + offset, max(0, min(length, size - offset)))

        return read_inside, size

    def unpacked(self, member: Member) -> bytes:
        """Return the content of a packed member, of at most its stated size. Raises ParseError where that is not its own.

        A web application is unpacked whole this way, which igzip does in half the time of zlib.
        """
        from isal import isal_zlib  # noqa: PLC0415 - few images hold packed archives in archives

        if member.method != _DEFLATED or member.flags & _ENCRYPTED:
            raise ParseError(f"a zip member is encrypted or packed by method {member.method}")
        packed = self.read_at(self._start(member), member.packed)
        try:
            data = isal_zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub hides that it is an exception
            raise ParseError("a zip member is damaged") from error
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise ParseError("a zip member is damaged: length or checksum is not as stated")
        return data

    def _start(self, member: Member) -> int:
        """Return where a member's bytes begin, behind its local header."""
        local = self.read_at(member.offset, _LOCAL.size)
        if len(local) < _LOCAL.size or local[:4] != _LOCAL_SIGNATURE:
            raise ParseError("a zip member lies outside the file")
        _, name, extra = _LOCAL.unpack(local)
        return member.offset + _LOCAL.size + int(name) + int(extra)

    def _walk(self) -> Iterator[Member]:
        at = 0
        while at + _ENTRY.size <= len(self._table):
            member, at = self._member(at)
            if member is None:
                raise ParseError("the zip table of contents is damaged")
            yield member

    def _member(self, at: int) -> tuple[Member | None, int]:
        """Decode the entry at `at` of the table; return it and where the next one begins."""
        if at + _ENTRY.size > len(self._table):
            return None, len(self._table)
        signature, flags, method, crc, packed, size, name, extra, comment, offset = _ENTRY.unpack_from(self._table, at)
        begin = at + _ENTRY.size
        after = begin + name + extra + comment
        if signature != _SIGNATURE or after > len(self._table):
            return None, after
        if _IN_ZIP64 in (packed, size, offset):
            size, packed, offset = _wide(self._table[begin + name : begin + name + extra], size, packed, offset)
        return Member(self._table[begin : begin + name], flags, method, crc, packed, size, offset + self._shift), after


def _wide(extra: bytes, *fields: int) -> list[int]:
    """Replace those of `fields` that say so by the 64-bit values of the extra field, which stand there in the same order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP64_FIELD:
            values = iter(struct.unpack(f"<{length // 8}Q", extra[at + 4 : at + 4 + length // 8 * 8]))
            return [next(values, field) if field == _IN_ZIP64 else field for field in fields]
        at += 4 + length
    return list(fields)


def _table(read_at: ReadAt, size: int) -> tuple[bytes, int, int]:
    """Return the table of contents, by how much offsets are shifted (a launcher stands before it), and the number of entries."""
    end, tail, at = _end(read_at, size)
    count, length, start, _ = _END.unpack_from(tail, at)
    wide = tail[max(0, at - _END64_LOCATOR.size) : at]
    if wide[:4] == b"PK\6\7" and (_IN_ZIP64 in (length, start) or count == _MANY):  # else Java does not look at it
        end = _END64_LOCATOR.unpack(wide)[1]
        record = read_at(end, _END64.size)
        if record[:4] != b"PK\6\6" or len(record) < _END64.size:
            raise ParseError("the zip64 end record is not where it should be")
        _, count, length, start = _END64.unpack(record)
    if length > MAX_TABLE:
        raise BudgetExceededError(f"a zip table of {length} bytes; at most {MAX_TABLE} are read")
    shift = end - length - start
    if shift < 0:
        raise ParseError("the zip table of contents lies outside the file")
    table = read_at(end - length, length)
    if len(table) != length:
        raise ParseError("the zip table of contents is cut off")
    return table, shift, count


def _end(read_at: ReadAt, size: int) -> tuple[int, bytes, int]:
    """Return where the end record is: in the file, and in the part of the file that is returned, too.

    Chosen as Java does, since what it does not load does not run: the last one whose comment ends the file, or which follows upon
    a table. An archive's comment may hold what looks like the end of another.
    """
    for length in (_SHORT_TAIL, _TAIL):
        tail = read_at(max(0, size - length), length)
        first = size - len(tail)
        at = tail.rfind(_END_SIGNATURE, 0, max(0, len(tail) - _END_SIZE) + len(_END_SIGNATURE))
        while at >= 0:
            if _is_end(read_at, tail, at, size):
                return first + at, tail, at
            at = tail.rfind(_END_SIGNATURE, 0, at + len(_END_SIGNATURE) - 1)
        if length >= size:
            break
    raise ParseError("no end of a zip archive: cut off, or no archive")


def _is_end(read_at: ReadAt, tail: bytes, at: int, size: int) -> bool:
    _, length, start, comment = _END.unpack_from(tail, at)
    if at + _END_SIZE + comment == len(tail):
        return True
    table = size - len(tail) + at - length
    return table >= start and read_at(table, 4) == _SIGNATURE and read_at(table - start, 4) == _LOCAL_SIGNATURE
