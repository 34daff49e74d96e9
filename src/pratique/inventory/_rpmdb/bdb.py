"""A Berkeley DB hash file (rpm's `Packages` up to RHEL 8) in, header blobs out.

The format is described by Berkeley DB's source (dbinc/db_page.h). All pages are gone through in order, not bucket by bucket:
that finds every pair, and a damaged page costs its own pairs only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pratique.inventory._rpmdb.window import Window
from pratique.model.errors import ParseError

_HASH_MAGIC = 0x061561
_UNSORTED, _OVERFLOW, _META, _SORTED = 2, 7, 8, 13  # page types
_IN_PAGE, _OFF_PAGE = 1, 3  # item types
_HEAD = 26  # bytes before a page's index
_SMALL = 16  # a shorter value is no header: key 0 holds the highest package number in 4 bytes


def recognises(head: bytes) -> bool:
    """Say whether a file that begins with `head` is such a database."""
    return _order(head) != ""


def _order(head: bytes) -> str:
    magic = head[12:16]
    for order, name in (("<", "little"), (">", "big")):
        if magic == _HASH_MAGIC.to_bytes(4, "little" if name == "little" else "big"):
            return order
    return ""


def blobs(window: Window, head: bytes) -> Iterator[bytes | ParseError]:
    """Yield the value of each pair that is a header, or a ParseError for one that cannot be read."""
    if len(head) < 72:
        raise ParseError("the Berkeley DB header is cut")
    order = _order(head)
    (size,) = struct.unpack_from(f"{order}I", head, 20)
    (last,) = struct.unpack_from(f"{order}I", head, 32)
    if not 512 <= size <= 65536 or size & (size - 1) or head[25] != _META:
        raise ParseError("the Berkeley DB header is damaged")
    if head[24]:
        raise ParseError("the Berkeley DB is encrypted")
    book = _Book(window, order, size)
    if (last + 1) * size > window.size:
        yield ParseError("the Berkeley DB is cut; later packages are missing")
    for number in range(1, min(last + 1, window.size // size)):
        if window.read(number * size + 25, 1)[0] in (_UNSORTED, _SORTED):
            yield from book.values(number)


class _Book:
    """Reads pages. An overflow page is used once in the life of this object."""

    def __init__(self, window: Window, order: str, size: int) -> None:
        self._window = window
        self._size = size
        self._order = order
        self._seen: set[int] = set()

    def values(self, number: int) -> Iterator[bytes | ParseError]:
        """Yield the values of one hash page."""
        page = self._window.exactly(number * self._size, self._size)
        (entries,) = struct.unpack_from(f"{self._order}H", page, 20)
        if _HEAD + 2 * entries > self._size:
            yield ParseError(f"page {number} is damaged")
            return
        index = struct.unpack_from(f"{self._order}{entries}H", page, _HEAD)
        for position in range(1, entries, 2):  # keys at even, values at odd positions
            start, end = index[position], index[position - 1]  # items lie from the end of the page backwards, none over another
            before = index[position - 2] if position > 1 else self._size
            if not _HEAD < start < end < before + (position == 1):
                yield ParseError(f"page {number} is damaged")
            elif page[start] == _IN_PAGE:
                if end - start > _SMALL:
                    yield page[start + 1 : end]
            elif page[start] == _OFF_PAGE and end - start >= 12:
                try:
                    yield self._chain(*struct.unpack_from(f"{self._order}2I", page, start + 4))
                except ParseError as error:
                    yield error
            else:
                yield ParseError(f"page {number} holds an item of unknown type {page[start]}")

    def _chain(self, number: int, length: int) -> bytes:
        """Put together a value that fills pages of its own."""
        parts: list[bytes] = []
        left = length
        while left > 0:
            if number in self._seen or not number:
                raise ParseError("a chain of overflow pages is broken")
            self._seen.add(number)
            page = self._window.exactly(number * self._size, self._size)
            following, used, kind = struct.unpack_from(f"{self._order}I2xHxB", page, 16)
            if kind != _OVERFLOW or not 0 < used <= self._size - _HEAD:
                raise ParseError(f"page {number} is no overflow page")
            parts.append(page[_HEAD : _HEAD + used])
            left -= used
            number = following
        if left:
            raise ParseError("a value is longer than it says")
        return b"".join(parts)
