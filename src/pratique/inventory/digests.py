"""Digests as lock files and package managers write them in, Checksums out; and the digests of a file."""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import Any

from pratique.inventory.zipped import ReadAt
from pratique.model.inventory import Checksum

CHUNK = 1 << 20
_BYTES = {"md5": 16, "sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_WORDS = 4  # digests of one archive in one text; npm writes one, rarely two


def hexadecimal(algorithm: Any, value: Any) -> tuple[Checksum, ...]:
    """Return a digest that is written in hexadecimal digits, nothing where it is none."""
    if not isinstance(value, str) or not isinstance(algorithm, str):
        return ()
    known = len(value) == 2 * _BYTES.get(algorithm, -1) and _HEXADECIMAL.fullmatch(value)
    return (Checksum(algorithm, value),) if known else ()


def encoded(algorithm: str, value: Any) -> tuple[Checksum, ...]:
    """Return a digest that is written in base64, nothing where it is none."""
    try:
        raw = binascii.a2b_base64(value, strict_mode=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return ()
    return (Checksum(algorithm, raw.hex()),) if len(raw) == _BYTES.get(algorithm) else ()


def integrity(text: Any) -> tuple[Checksum, ...]:
    """Read digests as npm writes them, `sha512-BASE64`, several parted by blanks. https://www.w3.org/TR/SRI/."""
    found: list[Checksum] = []
    for word in text.split()[:_WORDS] if isinstance(text, str) else ():
        algorithm, _, value = word.partition("-")
        found += encoded(algorithm, value.partition("?")[0])
    return tuple(sorted(found))


def digests(read_at: ReadAt, size: int) -> tuple[Checksum, ...]:
    """Return the SHA-1, by which Maven's repositories know an archive, and the SHA-256; nothing where the file ends too early."""
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    at = 0
    while at < size:
        chunk = read_at(at, min(CHUNK, size - at))
        if not chunk:
            return ()
        sha1.update(chunk)
        sha256.update(chunk)
        at += len(chunk)
    return Checksum("sha1", sha1.hexdigest()), Checksum("sha256", sha256.hexdigest())
