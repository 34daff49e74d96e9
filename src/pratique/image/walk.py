"""A layer in, its tree and the files that somebody wants to see out: one pass, nothing extracted, memory independent of size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pratique.image.blob import Deadline, Region, TarStream, compression_of, digest
from pratique.image.files import AnyFile, MemoryFile, RegionFile
from pratique.image.pull import Pull
from pratique.image.tar import BLOCK, DIRECTORY, HARDLINK, REGULAR, SYMLINK, Header, HeaderReader, clean, dotted, expand
from pratique.model.errors import BudgetExceededError, IntegrityError, ParseError
from pratique.model.inventory import Gap
from pratique.model.layer import NOBODY, LayerTree, Selection, shown

HEAD = 16  # bytes of content that decide by magic; no magic that an inspector names is longer
MAX_ENTRIES = 2_000_000  # per layer; the largest real images have about a million in all, and each costs 100 bytes here
IN_MEMORY = 4 << 20  # wanted files above this are spooled while a compressed layer passes, so that memory stays flat
MAX_PATH_BYTES = (
    192 << 20
)  # all paths and links of a layer: a million paths of real images have 80 MiB, and all must fit one message
CHECKED = 1024  # entries between two looks at the limits
MAX_SPARSE = 64 << 20  # wanted sparse files are laid out in memory; evidence files are far smaller

_SPECIAL = 103  # where in a header the digit of the mode stands that has the setuid, setgid and sticky bits
_ZERO = ord("0")
_SETUID = 0o6000

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"


Select = Callable[[bytes, bytes], Selection | None]


class Wanted(NamedTuple):
    """A file that was selected; `file` is None where it is larger than anybody reads."""

    path: bytes
    selection: Selection
    file: AnyFile | None
    size: int


class LayerWalk:
    """Walks one layer. Iterate to the end, then `tree`, `gaps`, `diff_id` and `blob_digest` hold.

    `spool` is the descriptor of an unnamed temporary file for large wanted files of compressed layers (-1: keep them in memory).
    A layer that breaks off inside is walked as far as it goes and has a Gap; its digests are computed to the last byte anyway.
    Where a limit ended the decompression, nothing is verified: the Gap "image.layer-limit" says so.
    An entry replaces an earlier one of the same name: what was yielded and no longer counts is yielded again, for NOBODY.
    """

    def __init__(self, region: Region, select: Select, deadline: Deadline, spool: int = -1) -> None:
        self._region = region
        self._select = select
        self._deadline = deadline
        self._spool = spool
        self._files: list[bytes] = []
        self._directories: list[bytes] = []
        self._wanted: set[bytes] = set()
        self._marked: set[bytes] = set()
        self._capable: set[bytes] = set()
        self._void = b""
        self._damage = ""
        self._link_bytes = 0
        self._reader = HeaderReader()
        self.compression = compression_of(os.pread(region.descriptor, min(6, region.size), region.offset))
        self.tree = LayerTree()
        self.gaps: list[Gap] = []
        self.link_places: dict[bytes, int] = {}
        self.rewritten: set[bytes] = set()
        self.diff_id = ""
        self.blob_digest = ""

    def __iter__(self) -> Iterator[Wanted]:
        yield from self._plain() if self.compression == "plain" else self._compressed()
        self.tree.files = b"\0".join(self._files)
        self.tree.directories = b"\0".join(self._directories)
        self.tree.entries = len(self._files) + len(self._directories)
        self.tree.capable = sorted(self._capable)

    def check(self, diff_id: str, blob_digest: str = "") -> None:
        """Compare with what the image states. Raises IntegrityError."""
        if self._damage and (diff_id or blob_digest):
            raise IntegrityError(f"layer {blob_digest or diff_id} was tampered with or damaged: {self._damage}")
        if self.compression == "plain" and not self.diff_id:
            self.diff_id = self.blob_digest = digest(self._region)
        for kind, stated, seen in (("digest", blob_digest, self.blob_digest), ("diff_id", diff_id, self.diff_id)):
            if stated and seen and stated != seen:
                raise IntegrityError(f"layer {stated} was tampered with or damaged: its {kind} is {seen}")

    @property
    def place(self) -> int:
        """How many files were met so far: tells what of two entries came first (see `link_places`)."""
        return len(self._files)

    def _gap(self, code: str, message: str, path: bytes = b"") -> None:
        self.gaps.append(Gap(code=code, message=message, path=shown(path)))

    # -- one entry ------------------------------------------------------------------------------------------------------------

    def _note(self, header: Header) -> bytes | None:
        """Enter a header into the tree; return the path of a regular file, else None."""
        path = header.path
        if path[:2] == b"./":
            path = path[2:]
        if path[-1:] == b"/":
            path = path.rstrip(b"/")
        if path[:1] in b"/." or b"//" in path or (b"/." in path and dotted(path)):
            path, outside = clean(path)
            if outside:
                self._gap("image.path-outside", "a path that leads out of the image; it is taken as the runtimes do", path)
        if not path:
            return None
        if path in self._marked:
            self._replace(path)
        if header.kind == DIRECTORY:
            self._directories.append(path)
            return None
        if WHITEOUT in path and self._whiteout(path):
            return None
        self._files.append(path)
        if header.kind == REGULAR:
            if header.block[_SPECIAL] != _ZERO or header.capable:
                self._privileged(path, header)
            return path
        if header.kind == SYMLINK:
            self.tree.symlinks[path] = header.link
        elif header.kind == HARDLINK:
            self.tree.hardlinks[path] = clean(header.link)[0]
            self.link_places[path] = len(self._files)
        else:
            return None
        self._link_bytes += len(header.link)
        self._marked.add(path)
        return None

    def _privileged(self, path: bytes, header: Header) -> None:
        """Note what gives rights to whoever runs it. The fourth digit of nearly all modes, which have seven, says no."""
        try:
            mode = header.mode
        except ParseError:  # no number: runtimes refuse the layer
            mode = 0
        if mode & _SETUID or header.capable:
            self._link_bytes += len(path)  # these paths are kept twice
            self._marked.add(path)
        if mode & _SETUID:
            self.tree.setuid[path] = mode
        if header.capable:
            self._capable.add(path)

    def _replace(self, path: bytes) -> None:
        """Forget what was at `path`: an entry of the same name takes its place."""
        self._marked.remove(path)
        self.tree.symlinks.pop(path, None)
        self.tree.hardlinks.pop(path, None)
        self.tree.setuid.pop(path, None)
        self._capable.discard(path)
        if path in self._wanted:
            self._wanted.remove(path)
            self._void = path
            self.rewritten.add(path)

    def _whiteout(self, path: bytes) -> bool:
        folder, _, base = path.rpartition(b"/")
        if not base.startswith(WHITEOUT):
            return False
        if base == OPAQUE:
            self.tree.opaques.append(folder)
        elif not base.startswith(WHITEOUT + WHITEOUT):  # .wh..wh.* are notes of the AUFS driver
            hidden = base[len(WHITEOUT) :]
            if hidden in (b"", b".", b".."):
                self._gap("image.path-outside", "a whiteout that names no file; it is left out", path)
            else:
                self.tree.whiteouts.append(folder + b"/" + hidden if folder else hidden)
        return True

    def _again(self) -> Wanted:
        """Say what no longer counts."""
        path, self._void = self._void, b""
        return Wanted(path, NOBODY, None, 0)

    def _limit(self, entries: int) -> None:
        self._deadline.check()
        if entries > MAX_ENTRIES:
            raise BudgetExceededError(f"a layer of more than {MAX_ENTRIES} entries")
        recent = sum(map(len, self._files[-CHECKED:])) + sum(map(len, self._directories[-CHECKED:]))
        self._link_bytes += recent
        if self._link_bytes > MAX_PATH_BYTES:
            raise BudgetExceededError(f"a layer whose paths have more than {MAX_PATH_BYTES >> 20} MiB")

    # -- plain layers: hop from header to header -------------------------------------------------------------------------------

    def _plain(self) -> Iterator[Wanted]:
        region, select, descriptor = self._region, self._select, self._region.descriptor
        position, end = region.offset, region.offset + region.size
        following = entries = 0

        def read(count: int) -> bytes:
            nonlocal following
            data = os.pread(descriptor, min(count, end - following), following)
            if len(data) != count:
                raise ParseError("a tar archive that ends too early")
            following += count
            return data

        try:
            while position < end:
                start = os.pread(descriptor, BLOCK + HEAD, position)
                if position + BLOCK > end or len(start) < BLOCK:
                    raise ParseError("a tar archive that ends too early")  # noqa: TRY301 - one place turns it into a Gap
                following = base = position + BLOCK
                header = self._reader.next(start[:BLOCK], read)
                if header is None:
                    break
                payload, size = following, header.size
                position = payload + size + -size % BLOCK
                path = self._note(header)
                if self._void:
                    yield self._again()
                if position > end and payload + size > end:
                    raise ParseError("a file that is longer than its archive")  # noqa: TRY301 - as above
                if path is not None:
                    head = start[BLOCK:] if payload == base else os.pread(descriptor, HEAD, payload)
                    selection = select(path, head[:size] if size < HEAD else head)
                    if selection is not None:
                        self._wanted.add(path)
                        self._marked.add(path)
                        yield self._from_region(path, header, selection, Region(descriptor, payload, size))
                entries += 1
                if entries % CHECKED == 0:
                    self._limit(entries)
        except (ParseError, BudgetExceededError) as error:
            self._broken(error)
        self.tree.size = region.size

    def _from_region(self, path: bytes, header: Header, selection: Selection, region: Region) -> Wanted:
        name = shown(path)
        size = max(header.real_size, header.size)
        if size > selection.max_bytes:
            return Wanted(path, selection, None, size)
        if header.segments is not None:
            return self._sparse(path, header, selection, RegionFile(name, 0, region).read())
        return Wanted(path, selection, RegionFile(name, header.mode, region), region.size)

    def _sparse(self, path: bytes, header: Header, selection: Selection, data: bytes) -> Wanted:
        if header.real_size > MAX_SPARSE:
            return Wanted(path, selection, None, header.real_size)
        whole = expand(data, header.segments or [], header.real_size)
        return Wanted(path, selection, MemoryFile(shown(path), header.mode, whole), len(whole))

    def _broken(self, error: ParseError | BudgetExceededError) -> None:
        code = "image.layer-limit" if isinstance(error, BudgetExceededError) else "image.layer-damaged"
        self._gap(code, f"{error.message}; what follows in this layer was not examined")

    # -- compressed layers: the bytes pass once --------------------------------------------------------------------------------

    def _compressed(self) -> Iterator[Wanted]:
        stream = TarStream(self._region, self.compression, self._deadline)
        pieces = iter(stream)
        failure: ParseError | BudgetExceededError | None = None
        try:
            yield from self._entries(Pull(pieces))
        except (ParseError, BudgetExceededError) as error:
            self._broken(error)
            failure = error
        try:
            for _ in pieces:  # padding after the archive's end belongs to the diff_id
                pass
        except (ParseError, BudgetExceededError) as error:
            self._broken(error)
            failure = error
        if stream.trailing:
            self._gap("image.layer-damaged", "data after the end of the compressed layer; it was not examined")
        self.tree.size = stream.produced
        if stream.finished:
            self.blob_digest, self.diff_id = stream.blob_digest, stream.diff_id
        elif isinstance(failure, ParseError):
            self._damage = failure.message

    def _entries(self, pull: Pull) -> Iterator[Wanted]:
        select, reader, note = self._select, self._reader, self._note
        entries = 0
        while block := pull.block():
            header = reader.next(block, pull.read)
            if header is None:
                return
            size = header.size
            path = note(header)
            if self._void:
                yield self._again()
            selection = select(path, pull.peek(min(size, HEAD)) if size else b"") if path is not None else None
            if path is None or selection is None:
                if size:
                    pull.skip(size, -size % BLOCK)
            else:
                self._wanted.add(path)
                self._marked.add(path)
                wanted = self._from_stream(path, header, selection, pull)
                if wanted is not None:
                    yield wanted
            entries += 1
            if entries % CHECKED == 0:
                self._limit(entries)

    def _from_stream(self, path: bytes, header: Header, selection: Selection, pull: Pull) -> Wanted | None:
        size, padding = header.size, -header.size % BLOCK
        name = shown(path)
        if max(header.real_size, size) > selection.max_bytes:
            pull.skip(size, padding)
            return Wanted(path, selection, None, max(header.real_size, size))
        if header.segments is not None or size <= IN_MEMORY or self._spool < 0:
            data = pull.read(size)
            pull.skip(0, padding)
            if header.segments is not None:
                return self._sparse(path, header, selection, data)
            return Wanted(path, selection, MemoryFile(name, header.mode, data), size)
        written = self._spooled(pull.pieces(size))
        pull.skip(0, padding)
        if written != size:
            self._gap("image.unreadable", "no room to look at a large file of a compressed layer; it was not examined", path)
            return None
        return Wanted(path, selection, RegionFile(name, header.mode, Region(self._spool, 0, size)), size)

    def _spooled(self, pieces: Iterator[bytes]) -> int:
        """Write a file to the spool; return how many bytes found room there. Takes all pieces in any case."""
        os.ftruncate(self._spool, 0)
        position, full = 0, False
        for piece in pieces:
            if not full:
                try:
                    position += os.pwrite(self._spool, piece, position)
                except OSError:
                    full = True
        return -1 if full else position
