"""512-byte blocks in, tar headers out: a reader for hostile and huge archives, several times quicker than the standard library.

It follows what container runtimes do (Go's archive/tar) wherever archivers differ, since what a container sees is what counts:
link, device and directory entries have no payload whatever their size says; a global PAX header changes no later entry; of two
PAX headers in a row the second counts; GNU's long name precedes PAX's path; only the oldest type of regular file (NUL) becomes
a directory by a slash at its end. Format: POSIX.1-2017 pax, "ustar Interchange Format", and the GNU tar manual, appendix D.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import adler32

from pratique.model.errors import BudgetExceededError, ParseError

BLOCK = 512
MAX_EXTENSION = 1 << 20  # a PAX or long-name record: Linux limits paths to 4 KiB and xattrs to 64 KiB each, so 1 MiB is ample
MAX_PATH = 4096  # PATH_MAX of Linux: no runtime can create a longer one
MAX_SPARSE_SEGMENTS = 65_536  # a sparse map larger than this describes no real file
MAX_EXTENSIONS = 1_000  # extension headers before one entry: archivers write four at most, a loop of them must end

REGULAR, HARDLINK, SYMLINK, DIRECTORY, SPARSE, OTHER = range(6)
_KINDS = {
    b"0": REGULAR, b"\0": REGULAR, b"7": REGULAR, b"1": HARDLINK, b"2": SYMLINK, b"5": DIRECTORY, b"S": SPARSE,
    b"3": OTHER, b"4": OTHER, b"6": OTHER,
}  # fmt: skip
_ZERO = bytes(BLOCK)
_NO_PAYLOAD = frozenset((HARDLINK, SYMLINK, DIRECTORY, OTHER))
_SPARSE_PAIR = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_CAPABILITY = b"SCHILY.xattr.security.capability"
_NAMES = frozenset((b"path", b"linkpath", b"uname", b"gname"))

Segments = list[tuple[int, int]]
Read = Callable[[int], bytes]


class Header:
    """One entry. `size` is the payload in the archive, `real_size` that of the file (they differ for sparse files).

    `capable` says that whoever runs the file is given capabilities. `pax` are extensions that were applied, None without any.
    """

    __slots__ = ("block", "capable", "kind", "link", "path", "pax", "real_size", "segments", "size")

    def __init__(self, path: bytes, kind: int, size: int, link: bytes, block: bytes) -> None:
        self.path = path
        self.kind = kind
        self.size = size
        self.link = link
        self.real_size = size
        self.segments: Segments | None = None
        self.block = block
        self.capable = False
        self.pax: dict[bytes, bytes] | None = None

    @property
    def mode(self) -> int:
        """Permission bits; decoded only when asked for, since few entries are looked at. Raises ParseError."""
        return number(self.block[100:108]) & 0o7777

    @property
    def owner(self) -> tuple[int, int]:
        """User and group; decoded when asked for. Raises ParseError."""
        pax = self.pax or {}
        uid, gid = pax.get(b"uid"), pax.get(b"gid")
        return (_decimal(uid) if uid else number(self.block[108:116]), _decimal(gid) if gid else number(self.block[116:124]))

    @property
    def capabilities(self) -> bytes:
        """The extended attribute with the file's capabilities, as the kernel keeps it."""
        return (self.pax or {}).get(_CAPABILITY, b"")


def number(field: bytes) -> int:
    """Decode a numeric field: octal text, or base-256 where the first bit is set. Raises ParseError."""
    if field and field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if value < 0 or value >> 63:
            raise ParseError("tar header with a number that is negative or beyond 63 bits")
        return value
    text = field.strip(b" \0").partition(b"\0")[0]
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
    """Turns blocks into entries, with PAX and GNU extensions applied."""

    def next(self, block: bytes, read: Read) -> Header | None:
        """Return the entry that begins with `block`, or None at the end of the archive.

        `read(n)` returns exactly the next n bytes after the block (for extension records and sparse maps); after the call, the
        next bytes are the payload. Raises ParseError, BudgetExceededError.
        """
        pax: dict[bytes, bytes] = {}
        long_path = long_link = b""
        extensions = 0
        while True:
            if block == _ZERO:
                _end(read)
                return None
            stored = block[148:156]
            # adler32's low half is 1 plus the sum of the bytes modulo 65521: exact for a block of ASCII (at most 65024), else for
            # each half (256 bytes sum to at most 65280)
            if block.isascii():
                total = (adler32(block) & 0xFFFF) + 255 - sum(stored)
            else:
                total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) + 254 - sum(stored)
            if stored != b"%06o\0 " % total:
                _check(block, stored, total)
            flag = block[156:157]
            if flag in b"05" and not extensions:
                return _plain(block, flag)
            if flag not in b"xgLKXV":
                break
            extensions += 1
            if extensions > MAX_EXTENSIONS:
                raise BudgetExceededError(f"more than {MAX_EXTENSIONS} tar extension headers in a row")
            data = _extension(block, read)
            if flag == b"L":
                long_path = data.partition(b"\0")[0]
            elif flag == b"K":
                long_link = data.partition(b"\0")[0]
            elif flag in b"xX":
                pax = _pax_records(data)
            elif flag == b"g":
                _pax_records(data)  # must be well-formed; what came before it is lost, as the runtimes have it
                pax, long_path, long_link = {}, b"", b""
            block = read(BLOCK)
        header = _plain(block, flag)
        _apply(header, pax, (long_path, long_link), flag)
        _read_sparse(header, block, pax, read)
        if len(header.path) > MAX_PATH or len(header.link) > MAX_PATH:
            raise BudgetExceededError(f"a path of more than {MAX_PATH} bytes, the most that Linux takes")
        return header


def _end(read: Read) -> None:
    """Accept the end of an archive: two blocks of zeros, or one and nothing more. Raises ParseError where entries follow."""
    try:
        following = read(BLOCK)
    except ParseError:
        return
    if following != _ZERO:
        raise ParseError("a single block of zeros inside a tar archive")


def _prefix(block: bytes) -> bytes:
    """Return what precedes the name. GNU's format has times in its place, unless old writers of Go's put a prefix there."""
    magic = block[257:265]
    if magic[:6] == b"ustar\0":
        end = 476 if block[508:] == b"tar\0" else 500  # star keeps times behind a shorter prefix
        return block[345:end].partition(b"\0")[0]
    if magic != b"ustar  \0":
        return b""
    try:
        number(block[345:357])
        number(block[357:369])
    except ParseError:
        prefix = block[345:500].partition(b"\0")[0]
        return prefix if prefix.isascii() else b""
    return b""


def _plain(block: bytes, flag: bytes) -> Header:
    path = block[:100].partition(b"\0")[0]
    if block[345] and block[257:262] == b"ustar" and (prefix := _prefix(block)):
        path = prefix + b"/" + path
    if flag == b"0":
        raw = block[124:136]
        if raw[:11].isdigit() and raw[11] in b"\0 ":
            try:
                return Header(path, REGULAR, int(raw[:11], 8), b"", block)
            except ValueError:
                raise ParseError("tar header with a damaged number") from None
        return Header(path, REGULAR, number(raw), b"", block)
    kind = _KINDS.get(flag, REGULAR)
    if flag == b"\0" and path[-1:] == b"/":
        kind = DIRECTORY
    size = 0 if kind in _NO_PAYLOAD else number(block[124:136])
    link = block[157:257].partition(b"\0")[0] if kind in (HARDLINK, SYMLINK) else b""
    return Header(path, kind, size, link, block)


def _apply(header: Header, pax: dict[bytes, bytes], gnu: tuple[bytes, bytes], flag: bytes) -> None:
    """Let extensions override the header: GNU's long names (path, link) come before PAX's."""
    header.path = gnu[0] or pax.get(b"path") or header.path
    if flag == b"\0":
        if header.path.endswith(b"/"):
            header.kind, header.size = DIRECTORY, 0
        elif header.kind == DIRECTORY:
            header.kind, header.size = REGULAR, number(header.block[124:136])
    if header.kind in (HARDLINK, SYMLINK):
        header.link = gnu[1] or pax.get(b"linkpath") or header.link
    if (size := pax.get(b"size")) and header.kind not in _NO_PAYLOAD:
        header.size = _decimal(size)
    header.real_size = header.size
    header.capable = _CAPABILITY in pax
    header.pax = pax


def _decimal(text: bytes) -> int:
    """Decode a decimal number of at most 63 bits. Raises ParseError."""
    if not text.isdigit() or len(text) > 19 or int(text) >> 63:
        raise ParseError("a number in a PAX header that is none")
    return int(text)


def _extension(block: bytes, read: Read) -> bytes:
    """Read the payload of an extension entry, padding included, and return it without the padding."""
    size = number(block[124:136])
    if size > MAX_EXTENSION:
        raise BudgetExceededError(f"a tar extension record of {size} bytes; the limit is {MAX_EXTENSION}")
    return read(size + -size % BLOCK)[:size]


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Parse "LENGTH KEY=VALUE newline" records. An empty value leaves the header's own, as the runtimes have it."""
    records: dict[bytes, bytes] = {}
    areas: list[bytes] = []
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 20)
        digits = data[position:blank] if blank > 0 else b""
        if not digits.isdigit():
            raise ParseError("damaged PAX record")
        end = position + int(digits)
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not (equals and key) or end > len(data) or end <= blank or data[end - 1] != 10:
            raise ParseError("damaged PAX record")
        if key in _SPARSE_PAIR:  # sparse format 0.0 repeats these two keys, in turn
            if key != _SPARSE_PAIR[len(areas) & 1] or b"," in value:
                raise ParseError("damaged map of a sparse file")
            areas.append(value)
        elif b"\0" in (value if key in _NAMES else key):
            raise ParseError("a name with a NUL in a PAX record")
        else:
            records[key] = value
        position = end
    if areas:
        records[b"GNU.sparse.map"] = b",".join(areas)
    return records


def _read_sparse(header: Header, block: bytes, pax: dict[bytes, bytes], read: Read) -> None:
    """Fill in `segments` and `real_size` of a sparse file: old GNU, or PAX 0.0, 0.1 and 1.0."""
    if header.kind == SPARSE:
        header.kind = REGULAR
        header.segments, header.real_size = _old_gnu_map(block, read), number(block[483:495])
    elif version := _sparse_version(pax):
        if header.kind != REGULAR:
            raise ParseError("a sparse entry that is no file")
        header.path = pax.get(b"GNU.sparse.name") or header.path
        if size := pax.get(b"GNU.sparse.size") or pax.get(b"GNU.sparse.realsize"):
            header.real_size = _decimal(size)
        if version == 1:
            header.segments, used = _pax_map(read, header.size)
            header.size -= used
        else:
            header.segments = _pairs(pax.get(b"GNU.sparse.map", b""), pax.get(b"GNU.sparse.numblocks", b""))
    else:
        return
    end = 0
    for offset, length in header.segments:
        if offset < end or offset + length > header.real_size:
            raise ParseError("map of a sparse file that is not in order or exceeds the file")
        end = offset + length


def _sparse_version(pax: dict[bytes, bytes]) -> float:
    """Tell which sparse format a PAX header announces: 1, or 0.1 for both older ones; 0 for none, or one that nobody knows."""
    stated = pax.get(b"GNU.sparse.major", b""), pax.get(b"GNU.sparse.minor", b"")
    if stated == (b"1", b"0"):
        return 1
    return 0.1 if stated in ((b"0", b"0"), (b"0", b"1")) or (stated == (b"", b"") and pax.get(b"GNU.sparse.map")) else 0


def _pairs(text: bytes, count: bytes) -> Segments:
    values = text.split(b",") if text else []
    if len(values) != 2 * _decimal(count) or len(values) > 2 * MAX_SPARSE_SEGMENTS:
        raise ParseError("damaged map of a sparse file")
    return [(_decimal(offset), _decimal(length)) for offset, length in zip(values[::2], values[1::2], strict=True)]


def _old_gnu_map(block: bytes, read: Read) -> Segments:
    if block[257:265] != b"ustar  \0":
        raise ParseError("a sparse file of GNU's kind in an archive of another")
    segments: Segments = []
    area, count, extended = block[386:482], 4, block[482]
    while True:
        for at in range(0, count * 24, 24):
            if not area[at]:
                break
            segments.append((number(area[at : at + 12]), number(area[at + 12 : at + 24])))
        if not extended:
            return segments
        if len(segments) > MAX_SPARSE_SEGMENTS:
            raise BudgetExceededError(f"a sparse file of more than {MAX_SPARSE_SEGMENTS} segments")
        area, count = read(BLOCK), 21
        extended = area[504]


def _pax_map(read: Read, available: int) -> tuple[Segments, int]:
    """Read the map of format 1.0, which precedes the data: a count and that many pairs, one number a line."""
    parts: list[bytes] = []
    used = lines = 0
    wanted = 1
    while lines < wanted:
        if used + BLOCK > available or used >= MAX_EXTENSION:
            raise ParseError("damaged map of a sparse file")
        parts.append(read(BLOCK))
        used += BLOCK
        lines += parts[-1].count(b"\n")
        if lines and wanted == 1:
            count = _decimal(b"".join(parts).partition(b"\n")[0])
            if count > MAX_SPARSE_SEGMENTS:
                raise ParseError("damaged map of a sparse file")
            wanted += 2 * count
    values = b"".join(parts).split(b"\n")[1:wanted]
    return [(_decimal(offset), _decimal(length)) for offset, length in zip(values[::2], values[1::2], strict=True)], used


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
