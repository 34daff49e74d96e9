"""Offsets in a text in, lines and columns out."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class Place(NamedTuple):
    """1-based line and column, in characters."""

    line: int
    column: int


class Mapped(NamedTuple):
    """A text put together from pieces of a file (continued lines): `starts` are their offsets, `places` where each began."""

    text: str
    starts: tuple[int, ...]
    places: tuple[Place, ...]

    def at(self, offset: int) -> Place:
        """Return where the character at `offset` stands in the file; the end of the text stands behind its last character."""
        number = max(bisect_right(self.starts, offset) - 1, 0)
        place = self.places[number]
        return Place(place.line, place.column + offset - self.starts[number])

    def part(self, start: int, end: int | None = None) -> Mapped:
        """Return text[start:end] that still knows its places."""
        text = self.text[start:end]
        stop = start + len(text)
        inside = [number for number, offset in enumerate(self.starts) if start < offset < stop]
        starts = (0, *(self.starts[number] - start for number in inside))
        return Mapped(text, starts, (self.at(start), *(self.places[number] for number in inside)))


def whole(text: str, line: int = 1) -> Mapped:
    """Return a text that stands in the file as it is, its first character at the start of `line`."""
    starts, places, offset = [], [], 0
    for number, piece in enumerate(text.split("\n")):
        starts.append(offset)
        places.append(Place(line + number, 1))
        offset += len(piece) + 1
    return Mapped(text, tuple(starts), tuple(places))
