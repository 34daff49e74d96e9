"""Pieces of any size in, exactly as many bytes as asked for out."""

from __future__ import annotations

from collections.abc import Iterator

from pratique.image.tar import BLOCK
from pratique.model.errors import ParseError


class Pull:
    """Exact reads over pieces of any size."""

    __slots__ = ("_at", "_pieces", "_view")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._view = b""
        self._at = 0

    def block(self) -> bytes:
        """Return the next 512 bytes, or b"" at a clean end."""
        at = self._at
        block = self._view[at : at + BLOCK]
        if len(block) == BLOCK:
            self._at = at + BLOCK
            return block
        if at == len(self._view) and not self._fill(1):
            return b""
        return self.read(BLOCK)

    def _fill(self, count: int) -> bool:
        """Have at least `count` bytes in view, as far as there are any; say whether there are."""
        parts = [self._view[self._at :]]
        have = len(parts[0])
        while have < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
            have += len(piece)
        self._view, self._at = b"".join(parts), 0
        return have >= count

    def peek(self, count: int) -> bytes:
        """Return the next bytes without taking them; fewer at the end."""
        if self._at + count > len(self._view):
            self._fill(count)
        return self._view[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes. Raises ParseError at the end of the data."""
        at = self._at
        data = self._view[at : at + count]
        if len(data) == count:
            self._at = at + count
            return data
        parts = [data]
        parts += self.pieces(count - len(data), drop=True)
        return b"".join(parts)

    def pieces(self, count: int, *, drop: bool = False) -> Iterator[bytes]:
        """Yield exactly `count` bytes in pieces; `drop` forgets what is in view first."""
        if drop:
            self._at = len(self._view)
        while count:
            if self._at == len(self._view):
                self._view, self._at = next(self._pieces, b""), 0
                if not self._view:
                    raise ParseError("a tar archive that ends too early")
            data = self._view[self._at : self._at + count]
            self._at += len(data)
            count -= len(data)
            yield data

    def skip(self, count: int, padding: int = 0) -> None:
        """Pass over exactly `count` bytes, and `padding` more as far as there are any: the last file's is often missing."""
        count += padding
        have = len(self._view) - self._at
        while count > have:
            count -= have
            self._view, self._at = next(self._pieces, b""), 0
            have = len(self._view)
            if not have:
                if count <= padding:
                    return
                raise ParseError("a tar archive that ends too early")
        self._at += count
