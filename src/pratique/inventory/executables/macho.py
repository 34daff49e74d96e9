"""A macOS program in, its images (one a processor) with sections and segments out.

Format: Apple's <mach-o/loader.h> and <mach-o/fat.h>. A universal file begins like a Java class file; they are told apart by the
number that follows, a count of processors there and a version from 45 up here, which is why MAGICS states both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pratique.inventory.executables.binary import Binary, ReadAt, Region
from pratique.model.errors import ParseError

# Apple has shipped files for at most five processors; eight leave room.
MAX_IMAGES = 8
# The linker refuses more than 255 sections; load commands of real programs take some kilobytes.
MAX_COMMANDS_SIZE = 1 << 20

_THIN = {
    b"\xcf\xfa\xed\xfe": ("<", 8),
    b"\xce\xfa\xed\xfe": ("<", 4),
    b"\xfe\xed\xfa\xcf": (">", 8),
    b"\xfe\xed\xfa\xce": (">", 4),
}
_FAT = {b"\xca\xfe\xba\xbe": struct.Struct(">8xII4x"), b"\xca\xfe\xba\xbf": struct.Struct(">8xQQ8x")}
MAGICS = (*_THIN, *(fat + bytes((0, 0, 0, count)) for fat in _FAT for count in range(1, MAX_IMAGES + 1)))

_WRITE = 2
# Segment command, by pointer size: (address, size in memory, offset, size in file, initial protection, number of sections)
_SEGMENT = {8: (0x19, "24xQ8xQQ4xII4x", "16s16sQQI28x"), 4: (0x1, "24xI4xII4xII4x", "16s16sIII24x")}


def read_macho(read_at: ReadAt, head: bytes) -> Iterator[Binary]:
    """Yield the images of the file that begins with `head`. Raises ParseError where it is cut off."""
    if head[:4] in _THIN:
        yield _image(read_at, 0)
        return
    row = _FAT[head[:4]]
    count = int.from_bytes(head[4:8], "big")
    table = read_at(8, count * row.size) if count <= MAX_IMAGES else b""
    if not table or len(table) < count * row.size:
        raise ParseError("the file ends inside its list of processors")
    for offset, _ in row.iter_unpack(table):
        yield _image(read_at, offset)


def _image(read_at: ReadAt, start: int) -> Binary:
    header = read_at(start, 32)
    if header[:4] not in _THIN or len(header) < 32:
        raise ParseError("no Mach-O image where one should be")
    order, word = _THIN[header[:4]]
    count, length = struct.unpack_from(order + "16xII", header)
    if length > MAX_COMMANDS_SIZE:
        raise ParseError(f"load commands take {length} bytes, more than {MAX_COMMANDS_SIZE}")
    commands = read_at(start + (32 if word == 8 else 28), length)
    if len(commands) < length:
        raise ParseError("the file ends inside its load commands")
    binary = Binary("macho", read_at, word=word, big_endian=order == ">")
    binary.sections, binary.segments = _segments(commands, count, order, word, start)
    return binary


def _segments(commands: bytes, count: int, order: str, word: int, start: int) -> tuple[list[Region], list[Region]]:
    sections: list[Region] = []
    segments: list[Region] = []
    wanted, segment_form, section_form = _SEGMENT[word]
    segment, section = struct.Struct(order + segment_form), struct.Struct(order + section_form)
    at = 0
    for _ in range(count):
        kind, length = struct.unpack_from(order + "II", commands, at)
        if length < 8:
            raise ParseError("a load command without length")
        if kind == wanted:
            address, offset, size, protection, inside = segment.unpack_from(commands, at)
            name = commands[at + 8 : at + 24].rstrip(b"\0")
            segments.append(Region(name, address, start + offset, size, bool(protection & _WRITE)))
            body = commands[at + segment.size : min(at + length, at + segment.size + inside * section.size)]
            sections += [
                Region(title.rstrip(b"\0"), where, start + begin, extent)
                for title, _, where, extent, begin in section.iter_unpack(body[: len(body) // section.size * section.size])
            ]
        at += length
    return sections, segments
