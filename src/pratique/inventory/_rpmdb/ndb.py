"""A Packages.db (rpm's own "ndb", which SUSE uses) in, header blobs out.

The format is described by rpm's source alone (lib/backend/ndb/rpmpkg.c): little-endian; a 32-byte header; pages of 4,096 bytes
that hold slots of 16 bytes (magic, package, offset and length in blocks of 16 bytes); each blob between a head and a tail.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from pratique.inventory._rpmdb.window import Window
from pratique.model.errors import ParseError

_MAGIC, _SLOT, _HEAD, _TAIL = b"RpmP", b"Slot", b"BlbS", b"BlbE"
_PAGE, _ROW, _BLOCK = 4096, 16, 16


def recognises(head: bytes) -> bool:
    """Say whether a file that begins with `head` is such a database."""
    return head.startswith(_MAGIC)


def blobs(window: Window, head: bytes) -> Iterator[bytes | ParseError]:
    """Yield the blob of each slot that is in use, or a ParseError for one that cannot be read."""
    if len(head) < 32:
        raise ParseError("the ndb header is cut")
    version, _, pages = struct.unpack_from("<3I", head, 4)
    if version != 0:
        raise ParseError(f"an ndb database of version {version}")
    if pages * _PAGE > window.size or not pages:
        raise ParseError("the ndb database has fewer pages than it says")
    left = window.size
    for page in range(pages):
        rows = window.exactly(page * _PAGE, _PAGE)
        for magic, package, offset, count in struct.iter_unpack("<4s3I", rows[2 * _ROW if page == 0 else 0 :]):
            if magic != _SLOT:
                yield ParseError(f"slot page {page} is damaged")
                break
            if not package or not offset:
                continue  # a free slot
            left -= count * _BLOCK
            if left < 0:
                yield ParseError("ndb blobs overlap or lie beyond the file")
                return
            try:
                yield _blob(window, package, offset * _BLOCK, count * _BLOCK)
            except ParseError as error:
                yield error


def _blob(window: Window, package: int, offset: int, length: int) -> bytes:
    data = window.exactly(offset, length)
    if length < 28 or data[:4] != _HEAD or data[-4:] != _TAIL:
        raise ParseError(f"the blob of package {package} is damaged")
    owner, _, size = struct.unpack_from("<3I", data, 4)
    checksum, again = struct.unpack_from("<2I", data, length - 12)
    if owner != package or size != again or size > length - 28 or zlib.adler32(data[:-12]) != checksum:
        raise ParseError(f"the blob of package {package} is damaged")
    return data[16 : 16 + size]
