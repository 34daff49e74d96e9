"""An rpmdb.sqlite in, the header blobs of its table `Packages` out.

The format: https://www.sqlite.org/fileformat2.html. Our own walk over the table instead of the SQLite library: only the pages of
one table are read (indexes are half of such a file), a damaged page costs its own packages only, and no C code runs over bytes
that may be hostile.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from pratique.inventory._rpmdb.window import Window
from pratique.model.errors import ParseError

_MAGIC = b"SQLite format 3\0"
_INTERIOR, _LEAF = 5, 13
_MAX_DEPTH = 20  # SQLite's own limit (BTCURSOR_MAX_DEPTH)


def recognises(head: bytes) -> bool:
    """Say whether a file that begins with `head` is such a database."""
    return head.startswith(_MAGIC)


def blobs(window: Window, head: bytes) -> Iterator[bytes | ParseError]:
    """Yield the blobs of `Packages`, or a ParseError for each part that cannot be read."""
    if len(head) < 100:
        raise ParseError("the SQLite header is cut")
    table = _Table(window, head)
    root = 0
    for record in table.rows(1):
        if isinstance(record, ParseError):
            raise record
        columns = _columns(record)
        if columns[:2] == [b"table", b"Packages"]:
            root = int.from_bytes(columns[3] or b"", "big")
    if not root:
        raise ParseError("the SQLite database has no table Packages")
    yield from _values(table, root)


def _values(table: _Table, root: int) -> Iterator[bytes | ParseError]:
    for record in table.rows(root):
        if isinstance(record, ParseError):
            yield record
            continue
        try:
            blob = _columns(record)[1]
        except (ParseError, IndexError):
            yield ParseError("a row of Packages cannot be read")
            continue
        yield blob or ParseError("a row of Packages has no header")


class _Table:
    """Walks table B-trees. A page is visited once in the life of this object."""

    def __init__(self, window: Window, head: bytes) -> None:
        self._window = window
        size = int.from_bytes(head[16:18], "big")
        self._page_size = 65536 if size == 1 else size
        self._usable = self._page_size - head[20]
        if self._page_size < 512 or self._page_size & (self._page_size - 1) or self._usable < 480:
            raise ParseError("the SQLite page size is impossible")
        self._seen: set[int] = set()

    def rows(self, root: int) -> Iterator[bytes | ParseError]:
        """Yield the record of each row below page `root`."""
        stack = [(root, 1)]
        while stack:
            number, depth = stack.pop()
            try:
                page = self._page(number)
                children, cells = _open(page, 100 if number == 1 else 0)
            except (ParseError, struct.error, IndexError):
                yield ParseError(f"page {number} is no page of a table, or is used twice")
                continue
            if depth < _MAX_DEPTH:
                stack += [(child, depth + 1) for child in reversed(children)]
            elif children:
                yield ParseError("the table is too deep")
            yield from self._records(number, page, cells)

    def _records(self, number: int, page: bytes, cells: Sequence[int]) -> Iterator[bytes | ParseError]:
        left = self._usable  # cells that overlap are no SQLite's
        for cell in cells:
            try:
                record = self._payload(page, cell)
            except ParseError as error:
                yield error
                continue
            if len(record) <= self._usable - 35:
                left -= len(record)  # longer ones fill pages of their own, each of which is used once
            if left < 0:
                yield ParseError(f"rows overlap on page {number}")
                return
            yield record

    def _page(self, number: int) -> bytes:
        if number in self._seen or number < 1:
            raise ParseError(f"page {number} is used twice")
        self._seen.add(number)
        return self._window.exactly((number - 1) * self._page_size, self._page_size)

    def _payload(self, page: bytes, cell: int) -> bytes:
        length, at = _varint(page, cell)
        _, at = _varint(page, at)
        if length > self._window.size:
            raise ParseError("a row is larger than the database")
        usable = self._usable
        local = length
        if length > usable - 35:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (usable - 4)
            if local > usable - 35:
                local = least
        if at + local > usable:
            raise ParseError("a row reaches beyond its page")
        parts = [page[at : at + local]]
        left, at = length - local, at + local
        following = int.from_bytes(page[at : at + 4], "big") if left else 0
        while left > 0:
            overflow = self._page(following)
            following = int.from_bytes(overflow[:4], "big")
            parts.append(overflow[4 : min(usable, 4 + left)])
            left -= usable - 4
        return b"".join(parts)


def _open(page: bytes, start: int) -> tuple[list[int], tuple[int, ...]]:
    """Return the child pages of an interior page, or the cells of a leaf."""
    kind, count = page[start], int.from_bytes(page[start + 3 : start + 5], "big")
    if kind == _LEAF:
        return [], struct.unpack_from(f">{count}H", page, start + 8)
    if kind != _INTERIOR:
        raise ParseError("no page of a table")
    cells = struct.unpack_from(f">{count}H", page, start + 12)
    children = [struct.unpack_from(">I", page, cell)[0] for cell in cells]
    return [*children, struct.unpack_from(">I", page, start + 8)[0]], ()


def _columns(record: bytes) -> list[bytes | None]:
    """Return the raw bytes of each column (integers big-endian); None for NULL and the constants 0 and 1."""
    end, at = _varint(record, 0)
    columns: list[bytes | None] = []
    start = end
    while at < end:
        kind, at = _varint(record, at)
        width = (kind - 12) // 2 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind]
        if start + width > len(record):
            raise ParseError("a row is cut")
        columns.append(record[start : start + width] if width else None)
        start += width
    return columns


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(at, min(at + 8, len(data))):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    if at + 8 < len(data):
        return value << 8 | data[at + 8], at + 9
    raise ParseError("a number is cut")
