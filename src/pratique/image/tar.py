"""512-byte blocks in, tar headers out: a reader for hostile and huge archives, several times quicker than the standard library.

It follows what container runtimes do (Go's archive/tar): POSIX ustar, PAX and GNU extensions; link, device and directory
entries have no payload whatever their size says. Format: POSIX.1-2017 pax, "ustar Interchange
Format", and the GNU tar manual, appendix D.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import adler32

from pratique.model.errors import BudgetExceededError, ParseError

BLOCK = 512
MAX_EXTENSION = 1 << 20  # a PAX or long-name record: Linux limits paths to 4 KiB and xattrs to 64 KiB each, so 1 MiB is ample
MAX_PATH = 4096  # PATH_MAX of Linux: no runtime can create a longer one
MAX_SPARSE_SEGMENTS = 65_536  # a sparse map larger than this describes no real file

REGULAR, HARDLINK, SYMLINK, DIRECTORY, SPARSE, OTHER = range(6)
_KINDS = {
    b"0": REGULAR, b"\0": REGULAR, b"7": REGULAR, b"1": HARDLINK, b"2": SYMLINK, b"5": DIRECTORY, b"S": SPARSE,
    b"3": OTHER, b"4": OTHER, b"6": OTHER,
}  # fmt: skip
_ZERO = bytes(BLOCK)
_NO_PAYLOAD = frozenset((HARDLINK, SYMLINK, DIRECTORY, OTHER))

Segments = list[tuple[int, int]]
Read = Callable[[int], bytes]


class Header:
    """One entry. `size` is the payload in the archive, `real_size` that of the file (they differ for sparse files)."""

    __slots__ = ("_block", "kind", "link", "path", "real_size", "segments", "size")

    def __init__(self, path: bytes, kind: int, size: int, link: bytes, block: bytes) -> None:
        self.path = path
        self.kind = kind
        self.size = size
        self.link = link
        self.real_size = size
        self.segments: Segments | None = None
        self._block = block

    @property
    def mode(self) -> int:
        """Permission bits; decoded only when asked for, since few entries are looked at. Raises ParseError."""
        return number(self._block[100:108]) & 0o7777


def number(field: bytes) -> int:
    """Decode a numeric field: octal text, or base-256 where the first bit is set. Raises ParseError."""
    if field and field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if value < 0:
            raise ParseError("tar header with a negative number")
        return value
    text = field.replace(b"\0", b" ").strip()
    if not text:
        return 0
    if not text.isdigit():
        raise ParseError("tar header with a damaged number")
    try:
        return int(text, 8)
    except ValueError:
        raise ParseError("tar header with a damaged number") from None


def _check(block: bytes, stored: bytes, total: int) -> None:
    """Compare a checksum that is not written in the usual six digits, or not summed in the usual way. Raises ParseError."""
    expected = number(stored)
    signed = total - 256 * sum(1 for byte in block[:148] + block[156:] if byte > 127)
    if expected not in (total, signed):  # some old archivers summed signed bytes
        raise ParseError("tar header whose checksum does not match")


class HeaderReader:
    """Turns blocks into entries, with PAX and GNU extensions applied. Keeps global PAX headers between entries."""

    def __init__(self) -> None:
        self._global: dict[bytes, bytes] = {}

    def next(self, block: bytes, read: Read) -> Header | None:
        """Return the entry that begins with `block`, or None at the end of the archive.

        `read(n)` returns exactly the next n bytes after the block (for extension records and sparse maps); after the call, the
        next bytes are the payload. Raises ParseError, BudgetExceededError.
        """
        pax: dict[bytes, bytes] = {}
        long_path = long_link = b""
        simple = not self._global
        while True:
            if block == _ZERO:
                return None
            stored = block[148:156]
            # adler32's low half is 1 plus the sum of the bytes modulo 65521; 256 bytes sum to at most 65280, so halves are exact
            total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) + 254 - sum(stored)
            if stored[6:] != b"\0 " or not stored[:6].isdigit() or int(stored[:6], 8) != total:
                _check(block, stored, total)
            flag = block[156:157]
            if flag in b"05" and simple:
                return self._plain(block, flag)
            if flag not in b"xgLKXV":
                break
            data, simple = _extension(block, read), False
            if flag == b"L":
                long_path = data.split(b"\0", 1)[0]
            elif flag == b"K":
                long_link = data.split(b"\0", 1)[0]
            elif flag == b"g":
                self._global.update(_pax_records(data))
            elif flag in b"xX":
                pax.update(_pax_records(data))
            block = read(BLOCK)
        header = self._plain(block, flag)
        self._apply(header, {**self._global, **pax}, long_path, long_link)
        _read_sparse(header, block, {**self._global, **pax}, read)
        return header

    @staticmethod
    def _plain(block: bytes, flag: bytes) -> Header:
        path = block[:100].split(b"\0", 1)[0]
        if block[345] and block[257:263] == b"ustar\0":
            path = block[345:500].split(b"\0", 1)[0] + b"/" + path
        if flag == b"0":
            raw = block[124:136]
            try:
                size = int(raw[:11], 8) if raw[:11].isdigit() else number(raw)
            except ValueError:
                raise ParseError("tar header with a damaged number") from None
            return Header(path, DIRECTORY if path[-1:] == b"/" else REGULAR, size, b"", block)
        kind = _KINDS.get(flag, REGULAR)
        size = 0 if kind in _NO_PAYLOAD else number(block[124:136])
        if kind == REGULAR and path[-1:] == b"/":
            kind = DIRECTORY
        link = block[157:257].split(b"\0", 1)[0] if kind in (HARDLINK, SYMLINK) else b""
        return Header(path, kind, size, link, block)

    @staticmethod
    def _apply(header: Header, pax: dict[bytes, bytes], long_path: bytes, long_link: bytes) -> None:
        if path := pax.get(b"path") or long_path:
            header.path = path
            if header.kind == REGULAR and path.endswith(b"/"):
                header.kind = DIRECTORY
        if link := pax.get(b"linkpath") or long_link:
            header.link = link if header.kind in (HARDLINK, SYMLINK) else b""
        if (size := pax.get(b"size")) and header.kind not in _NO_PAYLOAD:
            if not size.isdigit() or len(size) > 19:
                raise ParseError("PAX size that is no number")
            header.size = int(size)
        header.real_size = header.size
        if len(header.path) > MAX_PATH:
            raise BudgetExceededError(f"a path of {len(header.path)} bytes; {MAX_PATH} is the most that Linux takes")


def _extension(block: bytes, read: Read) -> bytes:
    """Read the payload of an extension entry, padding included, and return it without the padding."""
    size = number(block[124:136])
    if size > MAX_EXTENSION:
        raise BudgetExceededError(f"a tar extension record of {size} bytes; the limit is {MAX_EXTENSION}")
    return read(size + -size % BLOCK)[:size]


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Parse "LENGTH KEY=VALUE newline" records. An empty value removes a key, as POSIX says."""
    records: dict[bytes, bytes] = {}
    offsets: list[bytes] = []
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 20)
        digits = data[position:blank] if blank > 0 else b""
        if not digits.isdigit():
            break
        end = position + int(digits)
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or end > len(data) or end <= blank:
            raise ParseError("damaged PAX record")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            offsets.append(value)  # sparse format 0.0 repeats these two keys
        records[key] = value
        position = end
    if offsets:
        records[b"GNU.sparse.map"] = b",".join(offsets)
    return records


def _read_sparse(header: Header, block: bytes, pax: dict[bytes, bytes], read: Read) -> None:
    """Fill in `segments` and `real_size` of a sparse file: old GNU, or PAX 0.0, 0.1 and 1.0."""
    if header.kind == SPARSE:
        header.kind = REGULAR
        header.segments, header.real_size = _old_gnu_map(block, read), number(block[483:495])
    elif header.kind == REGULAR and (b"GNU.sparse.major" in pax or b"GNU.sparse.map" in pax):
        if name := pax.get(b"GNU.sparse.name"):
            header.path = name
        size = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"0"
        if not size.isdigit() or len(size) > 19:
            raise ParseError("sparse file without a size")
        if pax.get(b"GNU.sparse.major") == b"1":
            header.segments, used = _pax_map(read, header.size)
            header.size -= used
        else:
            header.segments = _pairs(pax.get(b"GNU.sparse.map", b"").split(b","))
        header.real_size = int(size)


def _pairs(values: list[bytes]) -> Segments:
    if values == [b""]:
        return []
    if len(values) % 2 or len(values) > 2 * MAX_SPARSE_SEGMENTS or not all(v.isdigit() and len(v) < 20 for v in values):
        raise ParseError("damaged map of a sparse file")
    return [(int(offset), int(length)) for offset, length in zip(values[::2], values[1::2], strict=True)]


def _old_gnu_map(block: bytes, read: Read) -> Segments:
    segments: Segments = []
    area, count, extended = block[386:482], 4, block[482]
    while True:
        for at in range(0, count * 24, 24):
            if area[at + 12 : at + 24].strip(b"\0 "):
                segments.append((number(area[at : at + 12]), number(area[at + 12 : at + 24])))
        if not extended:
            return segments
        if len(segments) > MAX_SPARSE_SEGMENTS:
            raise BudgetExceededError(f"a sparse file of more than {MAX_SPARSE_SEGMENTS} segments")
        area, count = read(BLOCK), 21
        extended = area[504]


def _pax_map(read: Read, available: int) -> tuple[Segments, int]:
    """Read the map of format 1.0, which precedes the data: a count and that many pairs, one number a line."""
    buffer = b""
    used = 0
    values: list[bytes] = []
    wanted = 1
    while len(values) < wanted:
        if used + BLOCK > available or used > MAX_EXTENSION:
            raise ParseError("damaged map of a sparse file")
        buffer += read(BLOCK)
        used += BLOCK
        *lines, buffer = buffer.split(b"\n")
        values += lines
        if values and wanted == 1:
            if not values[0].isdigit() or int(values[0]) > MAX_SPARSE_SEGMENTS:
                raise ParseError("damaged map of a sparse file")
            wanted = 1 + 2 * int(values[0])
    return _pairs(values[1:wanted]) if wanted > 1 else [], used


def expand(data: bytes, segments: Segments, real_size: int) -> bytes:
    """Lay the stored segments out as the file reads: holes are zeros. `real_size` must have been bounded by the caller."""
    whole = bytearray(real_size)
    position = 0
    for offset, length in segments:
        if offset + length > real_size or position + length > len(data):
            raise ParseError("sparse map that exceeds its file")
        whole[offset : offset + length] = data[position : position + length]
        position += length
    return bytes(whole)


def clean(path: bytes) -> tuple[bytes, bool]:
    """Return the path as a runtime places it under the root (no leading slash, no dots), and whether it tried to leave it."""
    outside = False
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
            else:
                outside = True
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts), outside


def dotted(path: bytes) -> bool:
    """Say whether a path has a "." or ".." segment after its first; names that merely begin with a dot are common."""
    return b"/./" in path or b"/../" in path or path.endswith((b"/.", b"/.."))
