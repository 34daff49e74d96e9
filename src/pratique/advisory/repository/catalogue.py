"""Feeds' files in, what a repository offers of them out: names of targets, the catalogue, packing and bounded unpacking.

<format>/catalogue.json.zst        which feeds there are, each with the digests of its file
<format>/feeds/<feed>.sqlite.zst   one feed's file, whole
<format>/changes/<number>.zst      what publication <number> changed in the files of the one before

A database of another format lies beside, under another first part: clients of both are served by one repository.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

from pratique.advisory.index import Entry, slug
from pratique.advisory.layout import FORMAT
from pratique.model.errors import ParseError

# The catalogue of all feeds has some 100 KiB; what is larger is not ours.
MAX_CATALOGUE = 16 << 20
MAX_PACKED_CATALOGUE = 4 << 20
# The largest feed's file has some 100 MB; a signed size beyond this is a mistake, and a disk is not filled by mistake.
MAX_FILE = 4 << 30
# All changes of one publication: more than this and the whole files are smaller.
MAX_CHANGES = 256 << 20
MAX_FEEDS = 2000
# Level 19 needs a window of 8 MiB. A frame that asks for more memory is refused.
_WINDOW = 1 << 25
_CHUNK = 1 << 20
# Twice the time of level 12 saves 4 % more: a feed is packed once and downloaded often.
_LEVEL = 19
# Feeds' names become names of files; a catalogue is signed, yet its signer may be mistaken.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+:-]*(?:/[A-Za-z0-9][A-Za-z0-9 ._+:-]*)*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """What one publication holds. `number` rises by one with each; `published_at` is RFC 3339.

    An entry is the publisher's: `digest` and `size` are of the file unpacked, `state` is the digest of what it says, however it
    came to say it.
    """

    number: int
    published_at: str
    feeds: dict[str, Entry] = {}


def catalogue_name() -> str:
    """Return the name of the catalogue's target."""
    return f"{FORMAT}/catalogue.json.zst"


def feed_name(feed: str) -> str:
    """Return the name of the target that is a feed's whole file."""
    return f"{FORMAT}/feeds/{slug(feed)}.sqlite.zst"


def changes_name(number: int) -> str:
    """Return the name of the target with the changes that a publication brought."""
    return f"{FORMAT}/changes/{number}.zst"


def changes_number(name: str) -> int | None:
    """Return which publication a target holds the changes of; None for any other target."""
    found = re.fullmatch(rf"{FORMAT}/changes/(\d{{1,18}})\.zst", name)
    return int(found[1]) if found else None


def encode(catalogue: Catalogue) -> bytes:
    """Return the catalogue's target, the same for the same catalogue."""
    ordered = msgspec.structs.replace(catalogue, feeds=dict(sorted(catalogue.feeds.items())))
    return squeeze(msgspec.json.encode(ordered))


def decode(packed: bytes) -> Catalogue:
    """Read a catalogue. Raises ParseError for what is none, or names feeds that could leave the database's folder."""
    try:
        catalogue = msgspec.json.decode(expand(packed, MAX_CATALOGUE), type=Catalogue)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ParseError(f"the catalogue cannot be read: {error}") from error
    if len(catalogue.feeds) > MAX_FEEDS:
        raise ParseError(f"the catalogue names more than {MAX_FEEDS} feeds")
    for name, entry in catalogue.feeds.items():
        if name != entry.name or len(name) > 200 or not _NAME.fullmatch(name):
            raise ParseError(f"the catalogue names a feed {name[:40]!r}, which is no name of one")
        if not (_DIGEST.fullmatch(entry.digest) and _DIGEST.fullmatch(entry.state) and 0 < entry.size <= MAX_FILE):
            raise ParseError(f"the catalogue gives no digest or size of {name}")
    return catalogue


def published(feeds: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return those feeds of an index that have a file of this format, sorted by name."""
    return {name: e for name, e in sorted(feeds.items()) if e.file and e.format == FORMAT and e.state}


def pack(source: Path, target: Path) -> None:
    """Compress a file, the same for the same content."""
    size = source.stat().st_size
    with source.open("rb") as plain, target.open("wb") as packed:
        _compressor().copy_stream(plain, packed, size=size)


def squeeze(plain: bytes) -> bytes:
    """Compress, the same for the same content."""
    return _compressor().compress(plain)


def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False, threads=0)


def expand(packed: bytes, limit: int) -> bytes:
    """Decompress at most `limit` bytes. Raises ParseError beyond that, and for what is not one whole frame."""
    import io  # noqa: PLC0415 - beside its one use

    return b"".join(_plain(io.BytesIO(packed), limit))


def unpack(packed: Path, target: Path, entry: Entry) -> None:
    """Decompress a feed's file. Raises ParseError, and leaves no file, where it is not what the entry says."""
    digest, done = hashlib.sha256(), 0
    try:
        with packed.open("rb") as source, target.open("wb") as sink:
            for piece in _plain(source, entry.size):
                digest.update(piece)
                done += len(piece)
                sink.write(piece)
    except ParseError:
        target.unlink(missing_ok=True)
        raise
    if done != entry.size or digest.hexdigest() != entry.digest:
        target.unlink()
        raise ParseError(f"the file of {entry.name} is not what the catalogue says: its digest differs")


def _plain(source: BinaryIO, limit: int) -> Iterator[bytes]:
    """Yield what one zstd frame holds; stop as soon as it is more than `limit`."""
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(source, read_size=_CHUNK)
    have = 0
    try:
        while piece := reader.read(min(_CHUNK, limit - have + 1)):
            have += len(piece)
            if have > limit:
                raise ParseError(f"a compressed file holds more than the {limit} bytes that it may")
            yield piece
    except zstandard.ZstdError as error:
        raise ParseError(f"a compressed file is damaged: {error}") from error
