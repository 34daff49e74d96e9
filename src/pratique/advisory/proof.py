"""What an upstream says a download is in, the check that it is that out: digests in headers, beside a file, or in an index.

RFC 9530 (Repr-Digest), Google Cloud Storage's x-goog-hash, the `.sha256` file that CSAF asks of providers, NVD's `.meta`.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from pratique.model.errors import FeedError

# What hashlib calls those that Repr-Digest may name; weaker ones there only guard against accidents, and are passed over.
_REGISTERED = {"sha-256": "sha256", "sha-512": "sha512"}
_MEMBER = re.compile(r"\s*([A-Za-z0-9-]+)=:?([A-Za-z0-9+/]+=*):?\s*\Z")
_LISTED = re.compile(rb"([0-9a-fA-F]{64})(?:\s|$)")
_CHUNK = 1 << 20

Digest = tuple[str, str]  # (hashlib's name, lower-case hexadecimal)


def stated(headers: Mapping[str, str]) -> list[Digest]:
    """Return what the answer's headers say of the whole file as it is transferred, its content coding included.

    Google's hash is of the file as stored, which is not what is sent when the server undoes its coding on the way.
    """
    found = [(_REGISTERED[name], value) for name, value in _members(headers.get("Repr-Digest", "")) if name in _REGISTERED]
    if headers.get("x-goog-stored-content-encoding", "identity") == headers.get("Content-Encoding", "identity"):
        # MD5 is no proof against anybody; it tells a damaged or wrongly resumed download of an archive of 300 MB.
        found += [("md5", value) for name, value in _members(headers.get("x-goog-hash", "")) if name == "md5"]
    return found


def _members(text: str) -> list[Digest]:
    found = []
    for part in text.split(","):
        member = _MEMBER.match(part)
        if member:
            try:
                found.append((member[1].lower(), base64.b64decode(member[2], validate=True).hex()))
            except (binascii.Error, ValueError):
                continue  # what is no digest proves nothing
    return found


def differs(path: Path, digests: list[Digest]) -> str:
    """Return the name of the first of `digests` that the file does not have; "" when it has all."""
    for name, expected in digests:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, lambda name=name: hashlib.new(name, usedforsecurity=False)).hexdigest() != expected:  # type: ignore[misc]
                return name
    return ""


def listed(content: bytes) -> str:
    """Return the sha256 that a `.sha256` file begins with; "" where it has none."""
    found = _LISTED.match(content.strip())
    return found[1].decode().lower() if found else ""


def verify(path: Path, fragment: str, url: str) -> None:
    """Check a file against "sha256=..." or, for what is inside of a gzip file, "sha256-inflated=...".

    Raises FeedError, and removes the file, where it is another; any other fragment says nothing.
    """
    kind, _, expected = fragment.partition("=")
    if kind == "sha256":
        found = differs(path, [("sha256", expected.lower())]) == ""
    elif kind == "sha256-inflated":
        found = _inflated(path) == expected.lower()
    else:
        return
    if not found:
        path.unlink(missing_ok=True)
        raise FeedError(f"{url}: is not what its index says: the digest differs")


def _inflated(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            while data := stream.read(_CHUNK):
                digest.update(data)
    except (OSError, EOFError, zlib.error):
        return ""
    return digest.hexdigest()
