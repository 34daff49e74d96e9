"""A file of an image in, slices of it out, read in pieces, so that a large database is never in memory whole."""

from __future__ import annotations

from pratique.model.errors import ParseError
from pratique.model.ports import File

_PIECE = 1 << 16  # large enough that neighbouring pages cost one read, small enough that a stray page wastes little
_PIECES = 64  # 4 MiB: tree pages and the value being put together stay at hand


class Window:
    """Random access to `file`."""

    def __init__(self, file: File) -> None:
        self._file = file
        self.size = file.size
        self._pieces: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        index, start = divmod(offset, _PIECE)
        if start + length <= _PIECE:
            piece = self._pieces.get(index)
            if piece is None:
                piece = self._fetch(index)
            return piece[start : start + length]
        return self._file.read_at(offset, length)

    def exactly(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`. Raises ParseError where the file ends before."""
        data = self.read(offset, length)
        if len(data) != length:
            raise ParseError(f"the rpm database ends before byte {offset + length}")
        return data

    def _fetch(self, index: int) -> bytes:
        if len(self._pieces) >= _PIECES:
            del self._pieces[next(iter(self._pieces))]
        piece = self._pieces[index] = self._file.read_at(index * _PIECE, _PIECE)
        return piece
