"""An archive file in, where its parts lie out: only headers are read, 512 bytes each; nothing is extracted."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pratique.image.blob import Region, compression_of, digest
from pratique.image.options import SourceOptions
from pratique.image.tar import BLOCK, HARDLINK, REGULAR, SYMLINK, HeaderReader, clean
from pratique.model.errors import BudgetExceededError, IntegrityError, ParseError, TargetError
from pratique.model.image import Extent
from pratique.model.layer import shown

MAX_ENTRIES = 65_536  # four a layer in the old layout: room for a hundred images of the most layers Linux mounts
MAX_NAMES = 16 << 20  # bytes of names in all; honest ones have 80 each
MAX_LINKS = 8  # a layer that comes twice is one link away; more in a row is a loop or a trap
_OTHER_FILES = "an SBOM is read as sbom:FILE, an image from a registry as registry:NAME"


class Member(NamedTuple):
    """One entry of the outer archive."""

    kind: int
    offset: int
    size: int
    link: bytes


class Outer:
    """The table of contents of an archive. `stamp` identifies the file, as Extent wants it. Names have no leading slash.

    `called` is what people know it by, where it lies in a spool.
    """

    def __init__(self, path: Path, descriptor: int, stamp: str, called: str = "") -> None:
        self.path = path
        self.called = called or str(path)
        self.descriptor = descriptor
        self.stamp = stamp
        self._members: dict[bytes, list[Member]] = {}
        self._index(os.fstat(descriptor).st_size)

    def _index(self, end: int) -> None:
        reader, position, names, entries = HeaderReader(), 0, 0, 0
        following = 0

        def read(count: int) -> bytes:
            nonlocal following
            data = os.pread(self.descriptor, count, following)
            if len(data) != count:
                raise ParseError("it ends too early")
            following += count
            return data

        try:
            while position < end:
                following = position
                header = reader.next(read(BLOCK), read)
                if header is None:
                    return
                position = following + header.size + -header.size % BLOCK
                if following + header.size > end:
                    raise ParseError(f"it ends within {shown(header.path[:200])} (was it copied whole?)")  # noqa: TRY301
                name, outside = clean(header.path)
                entries, names = entries + 1, names + len(name)
                if entries > MAX_ENTRIES or names > MAX_NAMES:
                    raise TargetError(f"{self.called}: more than {MAX_ENTRIES} entries, or names beyond {MAX_NAMES >> 20} MiB")
                if not outside:
                    size = header.size if header.segments is None else -1
                    self._members.setdefault(name, []).append(Member(header.kind, following, size, header.link))
        except (ParseError, BudgetExceededError) as error:
            if not entries and not _is_tar(self.descriptor):
                raise TargetError(f"{self.called} is no image archive", hint=_OTHER_FILES) from None
            raise TargetError(f"{self.called} is a damaged archive: {error.message}") from None

    def __contains__(self, name: str) -> bool:
        return os.fsencode(name) in self._members

    def names(self) -> list[str]:
        """All names, as they come."""
        return [os.fsdecode(name) for name in self._members]

    def locate(self, name: str) -> Member:
        """Return the regular file of that name, links inside the archive followed. Raises IntegrityError."""
        at = os.fsencode(name)
        for _ in range(MAX_LINKS):
            found = self._members.get(at)
            if found is None:
                raise IntegrityError(f"{self.called}: {name} is missing from the archive")
            member = found[-1]
            if member.kind == REGULAR and member.size >= 0:
                self._refuse_rivals(name, found)
                return member
            if member.kind not in (SYMLINK, HARDLINK):
                raise IntegrityError(f"{self.called}: {name} is no regular file")
            target = member.link if member.kind == HARDLINK else at.rpartition(b"/")[0] + b"/" + member.link
            at, outside = clean(target)
            if outside or (member.kind == SYMLINK and member.link.startswith(b"/")):
                raise IntegrityError(f"{self.called}: {name} is a link that leads out of the archive")
        raise IntegrityError(f"{self.called}: {name} is a chain of more than {MAX_LINKS} links")

    def _refuse_rivals(self, name: str, found: list[Member]) -> None:
        """One reader takes the first of two entries with one name, another the last: they must be the same."""
        if len(found) > 1 and len({self._fingerprint(member) for member in found}) > 1:
            raise IntegrityError(f"{self.called}: the archive has different entries of the name {name}")

    def _fingerprint(self, member: Member) -> str:
        return digest(Region(self.descriptor, member.offset, member.size)) if member.kind == REGULAR else str(member)

    def read(self, name: str, limit: int) -> bytes:
        """Return a small file whole. Raises IntegrityError if it is missing, TargetError if it is too large."""
        member = self.locate(name)
        if member.size > limit:
            raise TargetError(f"{self.called}: {name} has {member.size} bytes; the limit is {limit}")
        return os.pread(self.descriptor, member.size, member.offset)

    def extent(self, name: str) -> Extent:
        """Return where a file lies."""
        member = self.locate(name)
        return Extent(str(self.path), member.offset, member.size, self.stamp)

    def start(self, name: str) -> bytes:
        """Return the first bytes of a file, by which compressions are known."""
        member = self.locate(name)
        return os.pread(self.descriptor, min(6, member.size), member.offset)


def _is_tar(descriptor: int) -> bool:
    """Say whether a file begins as tar archives do: what is wrong with it then is that it is damaged."""
    return os.pread(descriptor, 5, 257) == b"ustar"


def stamp_of(path: Path, status: os.stat_result) -> str:
    """Return what changes whenever a local file does: path, size, inode, times of content and status (nobody can set that)."""
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_dev}.{status.st_ino}"


@contextmanager
def open_outer(path: Path, options: SourceOptions, called: str = "") -> Iterator[Outer]:
    """Open an archive, a compressed one by way of a spool; errors call it `called`. Raises TargetError."""
    descriptor = open_file(path)
    try:
        status = os.fstat(descriptor)
        compression = compression_of(os.pread(descriptor, 6, 0))
        if compression == "plain":
            yield Outer(path, descriptor, stamp_of(path.absolute(), status), called)
            return
        from pratique.image.spool import Spool  # noqa: PLC0415 - plain archives do without
        from pratique.image.unpack import unpacked  # noqa: PLC0415 - as above

        with Spool(options, f"unpacking {path.name}") as spool:
            with contextlib.closing(unpacked(descriptor, status.st_size, compression)) as pieces:
                spool.fill(pieces)
            yield Outer(spool.path, spool.descriptor, spool.digest, called or str(path))
    finally:
        os.close(descriptor)


def open_file(path: Path) -> int:
    """Open a regular file to read. Raises TargetError with one clear line."""
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        )  # a FIFO must not make us wait before it is refused
    except FileNotFoundError:
        raise TargetError(f"{path}: there is no such file") from None
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TargetError(f"{path} is no regular file", hint="use - to read an archive from standard input")
    return descriptor


def kind_of(outer: Outer) -> str:
    """Say what an archive holds. Newer `docker save` archives are OCI layouts, too: what Docker itself reads goes first."""
    if "manifest.json" in outer:
        return "docker-archive"
    if "index.json" in outer:
        return "oci-archive"
    if "repositories" in outer:
        raise TargetError(f"{outer.called} was saved by a Docker older than 1.10", hint="load it and save it again")
    raise TargetError(
        f"{outer.called} is no image archive: it has neither manifest.json nor index.json",
        hint="unpack a root file system and scan it as rootfs:DIRECTORY",
    )


def detect_archive(path: Path) -> str:
    """Say which scheme reads an archive file. Raises TargetError.

    What a compressed one holds is known only after it was unpacked: it is an "archive", whose source looks again.
    """
    descriptor = open_file(path)
    try:
        if compression_of(os.pread(descriptor, 6, 0)) != "plain":
            return "archive"
        return kind_of(Outer(path, descriptor, ""))
    finally:
        os.close(descriptor)
