"""Seeded archives of every format that archivers write, and hand-made blocks that none would write."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterable, Mapping, Sequence

BLOCK = 512
END = bytes(2 * BLOCK)
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
TYPES: tuple[bytes, ...] = (
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
)
TYPES += (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE)


def block(
    name: bytes,
    size: int | bytes = 0,
    flag: bytes = b"0",
    *,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    fields: Mapping[int, bytes] | None = None,
    checksum: bytes | None = None,
) -> bytes:
    """Write one header block; `fields` overwrite bytes at their offsets before the checksum is made."""
    raw = bytearray(BLOCK)
    raw[0 : len(name)] = name
    raw[100:108], raw[108:116], raw[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    raw[124:136] = size.ljust(12, b"\0") if isinstance(size, bytes) else b"%011o\0" % size
    raw[136:148] = b"00000000000\0"
    raw[156:157] = flag
    raw[157 : 157 + len(link)] = link
    raw[257 : 257 + len(magic)] = magic
    for at, content in (fields or {}).items():
        raw[at : at + len(content)] = content
    raw[148:156] = b" " * 8
    raw[148:156] = checksum if checksum is not None else b"%06o\0 " % sum(raw)
    return bytes(raw)


def member(name: bytes, data: bytes = b"", flag: bytes = b"0", **other: object) -> bytes:
    """Write a header and its payload."""
    return block(name, len(data), flag, **other) + padded(data)  # type: ignore[arg-type]


def padded(data: bytes) -> bytes:
    """Fill up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def records(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write PAX records."""
    out = b""
    for key, value in pairs:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        out += str(length).encode() + body
    return out


def pax(*pairs: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    """Write a PAX header."""
    return member(b"PaxHeaders/x", records(pairs), flag)


def long(data: bytes, flag: bytes = b"L") -> bytes:
    """Write a GNU long name (L) or long link (K)."""
    return member(b"././@LongLink", data + b"\0", flag, magic=b"ustar  \0")


def word(chance: random.Random, longest: int = 30) -> str:
    """Make a name's part, now and then long or not ASCII."""
    length = chance.choice((1, 2, 8, chance.randint(1, longest)))
    letters = "abcxyz._-" if chance.random() < 0.9 else "abcäß日 +"
    text = "".join(chance.choice(letters) for _ in range(length))
    return text if text.strip(".") else f"a{text}"


def archive(seed: int) -> bytes:
    """Make an archive with the standard library: the seed decides about format, names, kinds and sizes."""
    chance = random.Random(seed)
    format_ = chance.choice(FORMATS)
    buffer = io.BytesIO()
    headers = {"comment": "x"} if format_ == tarfile.PAX_FORMAT and chance.random() < 0.3 else None
    with tarfile.open(fileobj=buffer, mode="w", format=format_, pax_headers=headers) as out:
        for _ in range(chance.randint(1, 8)):
            longest = 200 if format_ != tarfile.USTAR_FORMAT else 20
            info = tarfile.TarInfo("/".join(word(chance, longest) for _ in range(chance.choice((1, 2, 3, 6)))))
            if len(info.name.encode()) > 95 and format_ == tarfile.USTAR_FORMAT:
                info.name = info.name.encode()[:90].decode("utf-8", "ignore").rstrip("/") or "a"
            info.type = chance.choice(TYPES)
            if info.type == tarfile.AREGTYPE and len(info.name.encode()) > 90:
                info.type = tarfile.REGTYPE  # a name cut behind a slash: a directory for tarfile, a file for Go
            if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = word(chance, 120 if longest == 200 else 20)
            if format_ == tarfile.PAX_FORMAT and chance.random() < 0.2:
                info.pax_headers = {"SCHILY.xattr.user.x": word(chance), "mtime": "1.5"}
            info.mode, info.uid = chance.choice((0o644, 0o4755)), chance.choice((0, 1000, 2_097_151))
            data = b""
            if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
                data = chance.randbytes(chance.choice((0, 1, 511, 512, 513, 1024, chance.randint(0, 5000))))
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def strange(seed: int) -> bytes:
    """Make an archive of raw blocks: extensions in any order, odd numbers, flags, magics, checksums and ends."""
    chance = random.Random(seed)
    out = b""
    for number in range(chance.randint(1, 5)):
        for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
            out += _extension(chance, number)
        data = chance.randbytes(chance.choice((0, 3, 512, 700)))
        name = chance.choice((b"a", b"d/e", b"./x", b"/abs", b"../up", b"a/", b"long" * 25, b"", b"a/../b")) + b"%d" % number
        name += chance.choice((b"", b"", b"/"))
        size = chance.choice((b"%011o\0", b"%011o ", b"%o", b" %o \0", b"%012o")) % len(data)
        if chance.random() < 0.15:
            size = b"\x80" + len(data).to_bytes(11, "big")
        magic = chance.choice((b"ustar\x0000", b"ustar\x0000", b"ustar  \0", b"", b"ustar\0xx"))
        fields = {345: b"pre/fix"} if chance.random() < 0.2 else {}
        if chance.random() < 0.05:
            fields[508] = b"tar\0"
        flag = chance.choice((b"0", b"0", b"0", b"\0", b"5", b"1", b"2", b"3", b"4", b"6", b"7", b"Z"))
        head = block(name[:100], size, flag, link=b"target%d" % number, magic=magic, fields=fields)
        if chance.random() < 0.1:
            total = int(head[148:154], 8)
            head = head[:148] + chance.choice((b"%7o\0", b"%06o \0", b"%07o ", b" %o\0\0\0\0\0"))[:8] % total + head[156:]
            head = (head + bytes(BLOCK))[:BLOCK]
        out += head + (padded(data) if flag not in b"512346" else b"")
    ends = (END, END, b"", bytes(BLOCK), bytes(BLOCK) + member(b"behind", b"x"), b"\0" * 100, END + b"garbage")
    out += chance.choice(ends)
    if chance.random() < 0.05:
        out = out[: chance.randrange(len(out))]
    return out


def _extension(chance: random.Random, number: int) -> bytes:
    name = chance.choice((b"pax%d" % number, b"dir/pax%d/" % number, b"n" * 300, b""))
    kind = chance.randrange(8)
    if kind == 0:
        return long(name or b"gnu")
    if kind == 1:
        return long(name, b"K")
    if kind == 2:
        return pax((b"path", name), (b"comment", b"c"))
    if kind == 3:
        return pax((b"linkpath", name))
    if kind == 4:
        return pax((b"path", b"global"), (b"size", b"7"), flag=b"g")
    if kind == 5:
        return pax((b"size", b"%d" % chance.choice((0, 512, 3))))
    if kind == 6:
        return pax((b"mtime", b"1.5"), (b"path", b"nul\0nul")) if chance.random() < 0.2 else pax((b"mtime", b"1.5"))
    return _sparse(chance)


def _sparse(chance: random.Random) -> bytes:
    """Announce a sparse file whose map seldom fits."""
    major, minor = chance.choice(((b"1", b"0"), (b"0", b"1"), (b"0", b"0"), (b"7", b"0"), (b"", b"")))
    pairs: list[tuple[bytes, bytes]] = [(b"GNU.sparse.name", b"real%d" % chance.randrange(9))]
    if major:
        pairs += [(b"GNU.sparse.major", major), (b"GNU.sparse.minor", minor)]
    pairs.append((chance.choice((b"GNU.sparse.realsize", b"GNU.sparse.size")), b"%d" % chance.choice((0, 10, 2000))))
    maps: Sequence[bytes] = (b"0,3", b"0,1,5,2", b"5,2,0,1", b"0,99999", b"", b"x")
    chosen = chance.choice(maps)
    pairs.append((b"GNU.sparse.numblocks", b"%d" % (len(chosen.split(b",")) // 2)))
    pairs.append((b"GNU.sparse.map", chosen))
    return pax(*pairs)
