"""An ELF file in, its section names, sections and segments out.

Format: System V ABI, chapter 4 and 5 (gabi, "Object Files" and "Program Loading"). Most files of an image that come here are
shared libraries of no interest, so that the names are had with three reads and nothing is decoded before one is wanted.
"""

from __future__ import annotations

import struct

from pratique.inventory.executables.binary import Binary, ReadAt, Region
from pratique.model.errors import ParseError

MAGIC = b"\x7fELF"
HEADER_SIZE = 64
# The largest count that the header's 16 bits can state; kernel modules built with a section a function reach some thousands.
MAX_SECTIONS = 0xFFFF
# Names of 65,535 sections, at some 30 bytes each; real ones take 300 bytes.
MAX_NAMES = 2 << 20
# A segment needs alignment of at least a page; linkers write about a dozen.
MAX_SEGMENTS = 4096

_CORE_DUMP = 4
_NO_BITS = 8
_LOAD = 1
_NOTE = 4
_WRITE = 2

# Of the header: type, phoff, shoff, phentsize, phnum, shentsize, shnum, shstrndx; by class and byte order
_HEADERS = {
    b"\2\1": struct.Struct("<16xH14xQQ6xHHHHH"),
    b"\2\2": struct.Struct(">16xH14xQQ6xHHHHH"),
    b"\1\1": struct.Struct("<16xH10xII6xHHHHH"),
    b"\1\2": struct.Struct(">16xH10xII6xHHHHH"),
}
# Of a section: name, type, flags, address, offset, size, link; by pointer size and whether big-endian
_ROWS = {
    (8, False): struct.Struct("<IIQQQQI20x"),
    (8, True): struct.Struct(">IIQQQQI20x"),
    (4, False): struct.Struct("<IIIIIII12x"),
    (4, True): struct.Struct(">IIIIIII12x"),
}


class Elf(Binary):
    """An ELF file. `names` holds all section names, each ended by a NUL; it is empty where the section table is missing.

    `cut` says that the section table should be there and is not: the file was cut off behind its last segment.
    """

    __slots__ = ("_program", "_row", "_table", "cut", "names")

    def __init__(self, read_at: ReadAt, *, word: int, big_endian: bool) -> None:
        super().__init__("elf", read_at, word=word, big_endian=big_endian)
        self._row = _ROWS[word, big_endian]
        self._table = b""
        self._program = b""
        self.names = b""
        self.cut = False

    def take_sections(self, offset: int, count: int, names: int) -> None:
        """Read the section table and the names; `count` and `names` are the header's e_shnum and e_shstrndx."""
        row = self._row
        if not count or names == 0xFFFF:
            # Extended numbering: what does not fit 16 bits stands in the first section's size and link.
            first = row.unpack(self.read_at(offset, row.size))
            count, names = count or first[5], first[6] if names == 0xFFFF else names
        if count > MAX_SECTIONS or names >= count:
            raise ParseError("impossible section table")
        self._table = self.read_at(offset, row.size * count)
        if len(self._table) != row.size * count:
            raise ParseError("the file ends inside its section table")
        strings = row.unpack_from(self._table, row.size * names)
        if strings[5] > MAX_NAMES:
            raise ParseError(f"section names take {strings[5]} bytes, more than {MAX_NAMES}")
        self.names = self.read_at(strings[4], strings[5])

    def take_program(self, offset: int, entry: int, count: int) -> None:
        """Read the program header table."""
        if entry != (56 if self.word == 8 else 32) or count > MAX_SEGMENTS:
            raise ParseError("impossible program header")
        self._program = self.read_at(offset, entry * count)
        if len(self._program) != entry * count:
            raise ParseError("the file ends inside its program header")

    def decode(self) -> None:
        """Fill `sections` and `segments`: loaded segments named b"load" first, then notes named b"note"."""
        names = self.names
        self.sections = [
            Region(names[name : names.find(b"\0", name)], address, offset, size, bool(flags & 1))
            for name, kind, flags, address, offset, size, _ in self._row.iter_unpack(self._table)
            if kind != _NO_BITS
        ]
        order = ">" if self.big_endian else "<"
        if self.word == 8:
            rows = [(row[0], row[3], row[2], row[4], row[1]) for row in struct.iter_unpack(order + "IIQQ8xQ16x", self._program)]
        else:
            rows = [(row[0], row[2], row[1], row[3], row[4]) for row in struct.iter_unpack(order + "III4xI4xI4x", self._program)]
        self.segments = [
            Region(b"load" if kind == _LOAD else b"note", address, offset, size, bool(flags & _WRITE))
            for wanted in (_LOAD, _NOTE)
            for kind, address, offset, size, flags in rows
            if kind == wanted
        ]


def read_elf(read_at: ReadAt, size: int, head: bytes) -> Elf | None:
    """Read the section names of the file that begins with `head`; None for a core dump, which is no program.

    Raises ParseError where the file is cut off or its header impossible.
    """
    header = _HEADERS.get(head[4:6])
    if header is None or len(head) < header.size:
        raise ParseError("not an ELF header")
    kind, phoff, shoff, phentsize, phnum, shentsize, shnum, shstrndx = header.unpack_from(head)
    if kind == _CORE_DUMP:
        return None
    elf = Elf(read_at, word=8 if head[4] == 2 else 4, big_endian=head[5] == 2)
    if phnum:
        elf.take_program(phoff, phentsize, phnum)
    if shoff and shnum * shentsize + shoff <= size and shentsize == _ROWS[elf.word, elf.big_endian].size:
        elf.take_sections(shoff, shnum, shstrndx)
        return elf
    elf.decode()
    elf.cut = shoff != 0
    if not elf.segments or any(segment.offset + segment.size > size for segment in elf.segments):
        raise ParseError("the file ends before what its header promises")
    return elf
