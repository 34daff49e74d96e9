"""A database, or a repository that verifies, in; one file for sites without a connection out, and back. Nothing is extracted.

The file is a plain tar of a repository's own files (they are compressed already), read in place. A database of this machine has
targets alone, named without digests; what was taken from a signed repository has its metadata too, and is checked as it is there.
"""

from __future__ import annotations

import contextlib
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from pratique.advisory import index as index_file
from pratique.advisory.changes import check_state, state_digest
from pratique.advisory.index import INCOMING, Entry, database_folder, locked
from pratique.advisory.repository import catalogue as names
from pratique.advisory.repository import pull as pulling
from pratique.advisory.repository.catalogue import Catalogue
from pratique.advisory.repository.client import MAX_ROOT, Client
from pratique.advisory.repository.install import Installation, Note
from pratique.advisory.repository.pull import Pulled, pull, read_catalogue
from pratique.advisory.repository.shelf import Library, checked, read
from pratique.advisory.store import FeedFile
from pratique.model.errors import DatabaseError, ParseError, VerificationError

_BLOCK = 512
# Feeds, a catalogue, and a root for each year of a long life.
_MAX_MEMBERS = 4096
_CHUNK = 1 << 20
_NUMBER = re.compile(rb"[0-7]{1,11}[ \0]?")
_LABEL = re.compile(r"(?:[0-9a-f]{64}\.)?(.*)")


class Exported(msgspec.Struct, frozen=True):
    """What went into a file: feeds, bytes of it, and the publication that vouches for it (0: nobody does)."""

    feeds: int
    bytes: int
    number: int


# -- writing --------------------------------------------------------------------------------------------------------------------


def export(cache_dir: Path, file: Path) -> Exported:
    """Write the database of `cache_dir` into one file, the same for the same. Raises DatabaseError where there is none."""
    folder = database_folder(cache_dir)
    with _new(file) as out, tempfile.TemporaryDirectory(prefix="pratique-") as work, locked(folder):
        feeds = names.published(index_file.read(folder).feeds)
        if not feeds:
            raise DatabaseError(f"{cache_dir} has no database to export", hint="run: pratique db update")
        newest = max(entry.fetched_at for entry in feeds.values())
        catalogue = names.encode(Catalogue(number=0, published_at=newest, feeds=feeds))
        _add(out, f"targets/{names.catalogue_name()}", catalogue)
        for name, entry in feeds.items():
            packed = Path(work, "packed")
            names.pack(folder / entry.file, packed)
            _add(out, f"targets/{names.feed_name(name)}", packed)
    return Exported(len(feeds), file.stat().st_size, 0)


def export_signed(library: Library, root: bytes, file: Path, now: datetime) -> Exported:
    """Write the newest publication of a repository into one file, with all that verifies it. Raises as `pull`."""
    with _new(file) as out, tempfile.TemporaryDirectory(prefix="pratique-") as work:
        folder = Path(work)
        client = Client(library, root, folder / "trust", now)
        client.refresh()
        catalogue = read_catalogue(client, folder)
        metadata = client.metadata()
        for version in range(1, client.root_version):  # sites may trust an older root than this one does
            path = f"metadata/{version}.root.json"
            if path not in metadata and (older := read(library, path, MAX_ROOT)) is not None:
                metadata[path] = older
        for path, content in sorted(metadata.items()):
            _add(out, path, content)
        for name in (names.catalogue_name(), *map(names.feed_name, sorted(catalogue.feeds))):
            target = client.target(name)
            if target is not None:
                base, _, last = name.rpartition("/")
                packed = client.bring(target, folder, names.MAX_FILE)
                _add(out, f"targets/{base}/{target.hashes['sha256']}.{last}", packed)
                packed.unlink()
    return Exported(len(catalogue.feeds), file.stat().st_size, catalogue.number)


@contextlib.contextmanager
def _new(file: Path) -> Iterator[tarfile.TarFile]:
    """Write beside, and rename when all is there."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as out:
                yield out
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _add(out: tarfile.TarFile, path: str, content: bytes | Path) -> None:
    import io  # noqa: PLC0415 - beside its one use

    member = tarfile.TarInfo(path)
    member.mode = 0o644
    member.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        out.addfile(member, stream)


# -- reading --------------------------------------------------------------------------------------------------------------------


class Bundle:
    """A repository in a tar file. Raises ParseError for what is no such file."""

    def __init__(self, file: Path) -> None:
        self.name = str(file)
        self._stream: BinaryIO = file.open("rb")
        try:
            self.members = dict(_members(self._stream))
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        self._stream.close()

    @property
    def signed(self) -> bool:
        """Say whether there is metadata to verify."""
        return "metadata/timestamp.json" in self.members

    def open(self, path: str, offset: int = 0) -> Iterator[bytes]:
        if path not in self.members:
            raise FileNotFoundError(path)
        at, size = self.members[path]
        at, size = at + offset, size - offset
        while size > 0 and (piece := os.pread(self._stream.fileno(), min(size, _CHUNK), at)):
            yield piece
            at, size = at + len(piece), size - len(piece)

    def find(self, name: str) -> str:
        """Return the path of a target, with or without its digest before its name. Raises ParseError where it is not there."""
        folder, _, base = name.rpartition("/")
        for path in self.members:
            there, _, last = path.rpartition("/")
            found = _LABEL.fullmatch(last)
            if there == f"targets/{folder}" and found and found[1] == base:
                return path
        raise ParseError(f"{self.name} has no {name}")


def _members(stream: BinaryIO) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield (path, (offset, bytes)). Plain files alone, as `export` writes them: whatever else a tar may hold is refused."""
    end = os.fstat(stream.fileno()).st_size
    at = 0
    for _ in range(_MAX_MEMBERS):
        header = os.pread(stream.fileno(), _BLOCK, at)
        if len(header) < _BLOCK:
            raise ParseError("it ends in the middle")
        if not any(header):
            return
        path, size = _header(header)
        at += _BLOCK
        if at + size > end:
            raise ParseError("it ends in the middle")
        yield path, (at, size)
        at += -(-size // _BLOCK) * _BLOCK
    raise ParseError(f"it has more than {_MAX_MEMBERS} members")


def _header(header: bytes) -> tuple[str, int]:
    stated = _NUMBER.match(header[148:156])
    total = sum(header) - sum(header[148:156]) + 8 * 32
    size = _NUMBER.fullmatch(header[124:136])
    if header[257:262] != b"ustar" or header[156:157] != b"0" or size is None:
        raise ParseError("it is no tar of plain files")
    if stated is None or int(stated[0].strip(b" \0"), 8) != total:
        raise ParseError("a member's header is damaged")
    name, prefix = (field.partition(b"\0")[0].decode("ascii", "replace") for field in (header[:100], header[345:500]))
    path = f"{prefix}/{name}" if prefix else name
    try:
        return checked(path), int(size[0].strip(b" \0"), 8)
    except FileNotFoundError:
        raise ParseError(f"it has a member {path[:80]!r}, which is no part of a repository") from None


def open_bundle(file: Path) -> Bundle:
    """Open an exported file. Raises DatabaseError for what is none."""
    try:
        return Bundle(file)
    except ParseError as error:
        raise DatabaseError(f"{file} is no exported database: {error.message}") from error
    except OSError as error:
        raise DatabaseError(f"{file}: {error.strerror or error}") from error


def import_signed(cache_dir: Path, file: Path, root: bytes, how: pulling.How) -> Pulled:
    """Take the publication in a file over, if it verifies by `root` and is not older than what was seen. Raises as `pull`."""
    bundle = open_bundle(file)
    try:
        if not bundle.signed:
            raise VerificationError(f"{file} is not signed", hint="export it from a repository: --database ADDRESS")
        return pull(cache_dir, bundle, root, how)
    finally:
        bundle.close()


def import_unsigned(cache_dir: Path, file: Path, how: pulling.How) -> Pulled:
    """Take a file over on the word of whoever brought it: only damage is noticed, nothing else. Raises DatabaseError."""
    folder = database_folder(cache_dir)
    bundle = open_bundle(file)
    try:
        with locked(folder, how.waiting):
            (folder / INCOMING).mkdir(exist_ok=True)
            return _take_over(bundle, Installation(folder), folder / INCOMING)
    except ParseError as error:
        raise DatabaseError(f"{file} is damaged: {error.message}", hint="the database is as it was") from error
    finally:
        bundle.close()


def _take_over(bundle: Bundle, into: Installation, incoming: Path) -> Pulled:
    packed = read(bundle, bundle.find(names.catalogue_name()), names.MAX_PACKED_CATALOGUE)
    catalogue = names.decode(packed or b"")
    whole = [entry for entry in catalogue.feeds.values() if not into.keep(entry)]
    for entry in whole:
        at = incoming / "packed.target"
        with at.open("wb") as sink:
            for piece in bundle.open(bundle.find(names.feed_name(entry.name))):
                sink.write(piece)
        names.unpack(at, incoming / "plain.target", entry)
        at.unlink()
        _sound(incoming / "plain.target", entry)
        into.take(entry, incoming / "plain.target")
    into.finish(Note())
    kept = sorted(set(catalogue.feeds) - {entry.name for entry in whole})
    return Pulled(
        number=catalogue.number,
        published_at=catalogue.published_at,
        root=0,
        whole=tuple(entry.name for entry in whole),
        changed=(),
        unchanged=tuple(kept),
        bytes=sum(size for _, size in bundle.members.values()),
    )


def _sound(path: Path, entry: Entry) -> None:
    """Refuse a file that SQLite finds damaged, or whose rows are not of the state that it names. Raises ParseError.

    The state must be true: a signed publication that is pulled later would leave a file alone that claims to be of its state.
    """
    try:
        file = FeedFile(path, entry.name)
        try:
            problem = file.check()
        finally:
            file.close()
        if not problem and state_digest(path) == entry.state and check_state(path):
            return
    except DatabaseError as error:
        raise ParseError(error.message) from error
    raise ParseError(f"the file of {entry.name}: {problem or 'its state is not as stated'}")
