"""Codes for envelopes: made from random bytes, kept as hashes, compared in a time that tells nothing.

They open the glass when everything else is down; each does so once, which the store sees to.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from pratique.model.errors import UsageError

MIN_RANDOM = 16  # bytes: 128 bits cannot be guessed, so that a fast hash is enough
_SEAL = b"pratique sealed code\0"


def sealed(random: bytes) -> tuple[str, str]:
    """Return a code for an envelope and the hash to keep of it, from at least 16 random bytes."""
    if len(random) < MIN_RANDOM:
        raise UsageError("a sealed code needs 16 random bytes")
    alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 32 signs that nobody confuses on paper
    number = int.from_bytes(random[:MIN_RANDOM], "big")
    signs = "".join(alphabet[(number >> (5 * place)) & 31] for place in range(26))
    code = "-".join(signs[at : at + 5] for at in range(0, len(signs), 5))
    return code, code_hash(code)


def code_hash(code: str) -> str:
    """Return what is kept of a code. It has 128 random bits, so that a fast hash is enough."""
    plain = "".join(sign for sign in code.upper() if sign.isalnum())
    return "sha256:" + hashlib.sha256(_SEAL + plain.encode("utf-8", "surrogatepass")).hexdigest()


def opened(code: str, hashes: Iterable[str]) -> str | None:
    """Return the hash that a code opens, None for none; all are compared, so that time tells nothing."""
    given = code_hash(code)
    found = None
    for one in hashes:
        if hmac.compare_digest(one.encode(), given.encode()):
            found = one
    return found
