"""Rows in, one digest of the set of them out. A row comes or goes at the cost of that row, not of the set.

The sum of the rows' hashes, each stretched to 2,048 bits, modulo 2**2048: the incremental hash of Bellare and Micciancio ("A new
paradigm for collision-free hashing", 1997, AdHash). The width is for Wagner's generalised birthday attack (2002), which costs
about 2 to the power of twice the root of the width: 2**90 here. Order, page layout and compression do not matter.
"""

from __future__ import annotations

import hashlib

import msgspec

_BYTES = 256
_MASK = (1 << 8 * _BYTES) - 1
_encode = msgspec.msgpack.Encoder().encode

Row = tuple[str | int | bytes, ...]  # the table's name first


class SetDigest:
    """The digest of a set of rows, each in at most once."""

    __slots__ = ("_sum",)

    def __init__(self, content: bytes = b"") -> None:
        self._sum = int.from_bytes(content, "little")

    def add(self, row: Row) -> None:
        """Take a row in."""
        self._sum += _element(row)

    def remove(self, row: Row) -> None:
        """Take a row out that is in."""
        self._sum -= _element(row)

    def content(self) -> bytes:
        """Return what another SetDigest goes on from."""
        self._sum &= _MASK
        return self._sum.to_bytes(_BYTES, "little")

    def hex(self) -> str:
        """Return the digest: 64 hexadecimal digits."""
        return hashlib.sha256(self.content()).hexdigest()


def _element(row: Row) -> int:
    # msgpack writes lengths, so no two rows come to the same bytes.
    return int.from_bytes(hashlib.shake_128(_encode(row)).digest(_BYTES), "little")
