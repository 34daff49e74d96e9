"""A program file's sections and segments in, their bytes by name or by address out; the formats' readers fill it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pratique.model.errors import ParseError

ReadAt = Callable[[int, int], bytes]


class Region(NamedTuple):
    """A section or segment: where it is loaded and where its bytes lie in the file (`size` is the size in the file)."""

    name: bytes
    address: int
    offset: int
    size: int
    writable: bool = False


class Binary:
    """One program image: `sections` by name, `segments` by address; `word` is the pointer size in bytes.

    `format` is "elf", "pe" or "macho". Nothing is read before it is asked for.
    """

    __slots__ = ("big_endian", "format", "read_at", "sections", "segments", "word")

    def __init__(self, form: str, read_at: ReadAt, *, word: int, big_endian: bool) -> None:
        self.format = form
        self.read_at = read_at
        self.word = word
        self.big_endian = big_endian
        self.sections: Sequence[Region] = ()
        self.segments: Sequence[Region] = ()

    def section(self, *names: bytes) -> Region | None:
        """Return the first section of one of these names that has bytes in the file."""
        return next((section for section in self.sections if section.name in names and section.size), None)

    def content(self, region: Region, limit: int) -> bytes:
        """Return a region's bytes. Raises ParseError where it is larger than `limit` or the file ends before it does."""
        if region.size > limit:
            raise ParseError(f"section {region.name.decode('ascii', 'replace')} has {region.size} bytes, more than {limit}")
        data = self.read_at(region.offset, region.size)
        if len(data) != region.size:
            raise ParseError(f"the file ends inside section {region.name.decode('ascii', 'replace')}")
        return data

    def at_address(self, address: int, length: int) -> bytes:
        """Return `length` bytes as loaded at `address`. Raises ParseError where no segment holds them all."""
        for segment in self.segments:
            inside = address - segment.address
            if inside >= 0 and inside + length <= segment.size:
                data = self.read_at(segment.offset + inside, length)
                if len(data) == length:
                    return data
                break
        raise ParseError(f"address {address:#x} is not in the file")
