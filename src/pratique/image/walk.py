"""A layer in, its tree and the files that somebody wants to see out: one pass, nothing extracted, memory independent of size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pratique.image.blob import Deadline, Region, TarStream, compression_of, digest
from pratique.image.tar import BLOCK, DIRECTORY, HARDLINK, REGULAR, SYMLINK, Header, HeaderReader, clean, dotted, expand
from pratique.model.errors import BudgetExceededError, IntegrityError, ParseError
from pratique.model.inventory import Gap
from pratique.model.layer import NOBODY, LayerTree, Selection, shown

HEAD = 16  # bytes of content that decide by magic; no magic that an inspector names is longer
MAX_ENTRIES = 2_000_000  # per layer; the largest real images have about a million in all, and each costs 100 bytes here
IN_MEMORY = 4 << 20  # wanted files above this are spooled while a compressed layer passes, so that memory stays flat
MAX_SPARSE = 64 << 20  # wanted sparse files are laid out in memory; evidence files are far smaller

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"


Select = Callable[[bytes, bytes], Selection | None]


class MemoryFile:
    """A file whose content was read as the layer passed."""

    __slots__ = ("_data", "mode", "path", "size")

    def __init__(self, path: str, mode: int, data: bytes) -> None:
        self.path = path
        self.mode = mode
        self.size = len(data)
        self._data = data

    def read(self) -> bytes:
        """Return everything."""
        return self._data

    def read_at(self, offset: int, length: int) -> bytes:
        """Return a slice."""
        return self._data[offset : offset + length]


class RegionFile:
    """A file that lies uncompressed in a region of an open file: nothing is read before it is asked for."""

    __slots__ = ("_descriptor", "_offset", "mode", "path", "size")

    def __init__(self, path: str, mode: int, region: Region) -> None:
        self.path = path
        self.mode = mode
        self.size = region.size
        self._descriptor = region.descriptor
        self._offset = region.offset

    def read(self) -> bytes:
        """Return everything."""
        return self.read_at(0, self.size)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        length = min(length, self.size - offset)
        return os.pread(self._descriptor, length, self._offset + offset) if length > 0 else b""


AnyFile = MemoryFile | RegionFile


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
    """

    def __init__(self, region: Region, select: Select, deadline: Deadline, spool: int = -1) -> None:
        self._region = region
        self._select = select
        self._deadline = deadline
        self._spool = spool
        self._files: list[bytes] = []
        self._directories: list[bytes] = []
        self._wanted: set[bytes] = set()
        self._rewritten = b""
        self._reader = HeaderReader()
        self.compression = compression_of(os.pread(region.descriptor, min(6, region.size), region.offset))
        self.tree = LayerTree()
        self.gaps: list[Gap] = []
        self.diff_id = ""
        self.blob_digest = ""

    def __iter__(self) -> Iterator[Wanted]:
        yield from self._plain() if self.compression == "plain" else self._compressed()
        self.tree.files = b"\0".join(self._files)
        self.tree.directories = b"\0".join(self._directories)
        self.tree.entries = len(self._files) + len(self._directories)

    def check(self, diff_id: str, blob_digest: str = "") -> None:
        """Compare with what the image states. Raises IntegrityError."""
        if self.compression == "plain" and not self.diff_id:
            self.diff_id = self.blob_digest = digest(self._region)
        for kind, stated, seen in (("digest", blob_digest, self.blob_digest), ("diff_id", diff_id, self.diff_id)):
            if stated and seen and stated != seen:
                raise IntegrityError(f"layer {stated} was tampered with or damaged: its {kind} is {seen}")

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
        if path in self._wanted:
            self._rewritten = path
        if header.kind == DIRECTORY:
            self._directories.append(path)
            return None
        if WHITEOUT in path and self._whiteout(path):
            return None
        self._files.append(path)
        if header.kind == REGULAR:
            return path
        if header.kind == SYMLINK:
            self.tree.symlinks[path] = header.link
        elif header.kind == HARDLINK:
            self.tree.hardlinks[path] = clean(header.link)[0]
        return None

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
        """Say that a wanted file was written again in the same layer, so that what was seen in it no longer counts."""
        path, self._rewritten = self._rewritten, b""
        return Wanted(path, NOBODY, None, 0)

    def _limit(self) -> None:
        self._deadline.check()
        if len(self._files) + len(self._directories) > MAX_ENTRIES:
            raise BudgetExceededError(f"a layer of more than {MAX_ENTRIES} entries")

    # -- plain layers: hop from header to header -------------------------------------------------------------------------------

    def _plain(self) -> Iterator[Wanted]:
        region, select, descriptor = self._region, self._select, self._region.descriptor
        position, end = region.offset, region.offset + region.size
        following = 0

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
                if self._rewritten:
                    yield self._again()
                if path is not None:
                    if position > end and payload + size > end:
                        raise ParseError("a file that is longer than its archive")  # noqa: TRY301 - as above
                    head = start[BLOCK:] if payload == base else os.pread(descriptor, HEAD, payload)
                    selection = select(path, head[:size] if size < HEAD else head)
                    if selection is not None:
                        self._wanted.add(path)
                        yield self._from_region(path, header, selection, Region(descriptor, payload, size))
                if len(self._files) & 0x3FF == 0:
                    self._limit()
        except (ParseError, BudgetExceededError) as error:
            self._broken(error)
        self.tree.size = region.size

    def _from_region(self, path: bytes, header: Header, selection: Selection, region: Region) -> Wanted:
        name = shown(path)
        if header.real_size > selection.max_bytes:
            return Wanted(path, selection, None, header.real_size)
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
        complete = True
        try:
            yield from self._entries(_Pull(pieces))
        except ParseError as error:
            self._broken(error)
        except BudgetExceededError as error:
            self._broken(error)
            complete = False
        try:
            for _ in pieces:  # padding after the archive's end belongs to the diff_id
                pass
        except (ParseError, BudgetExceededError) as error:
            complete = complete and isinstance(error, ParseError)
            self._broken(error)
        if stream.trailing:
            self._gap("image.layer-damaged", "data after the end of the compressed layer; it was not examined")
        self.tree.size = stream.produced
        if complete:
            self.blob_digest, self.diff_id = stream.blob_digest, stream.diff_id
        else:
            self.diff_id = self.blob_digest = ""

    def _entries(self, pull: _Pull) -> Iterator[Wanted]:
        select, reader, note = self._select, self._reader, self._note
        while block := pull.block():
            header = reader.next(block, pull.read)
            if header is None:
                return
            size = header.size
            path = note(header)
            if self._rewritten:
                yield self._again()
            if path is None:
                pull.skip(size + -size % BLOCK)
                continue
            selection = select(path, pull.peek(min(size, HEAD)) if size else b"")
            if selection is None:
                pull.skip(size + -size % BLOCK)
            else:
                self._wanted.add(path)
                yield self._from_stream(path, header, selection, pull)
            if len(self._files) & 0x3FF == 0:
                self._limit()

    def _from_stream(self, path: bytes, header: Header, selection: Selection, pull: _Pull) -> Wanted:
        size, padding = header.size, -header.size % BLOCK
        name = shown(path)
        if max(header.real_size, size) > selection.max_bytes:
            pull.skip(size + padding)
            return Wanted(path, selection, None, header.real_size)
        if header.segments is not None:
            data = pull.read(size + padding)[:size]
            return self._sparse(path, header, selection, data)
        if size <= IN_MEMORY or self._spool < 0:
            data = pull.read(size)
            pull.skip(padding)
            return Wanted(path, selection, MemoryFile(name, header.mode, data), size)
        os.ftruncate(self._spool, 0)
        position = 0
        for piece in pull.pieces(size):
            position += os.pwrite(self._spool, piece, position)
        pull.skip(padding)
        if position != size:
            raise BudgetExceededError("no room to look at a large file of a compressed layer")
        return Wanted(path, selection, RegionFile(name, header.mode, Region(self._spool, 0, size)), size)


class _Pull:
    """Exact reads over pieces of any size."""

    __slots__ = ("_at", "_pieces", "_view")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._view = b""
        self._at = 0

    def block(self) -> bytes:
        """Return the next 512 bytes, or b"" at a clean end."""
        at = self._at
        block = self._view[at : at + BLOCK]
        if len(block) == BLOCK:
            self._at = at + BLOCK
            return block
        if at == len(self._view) and not self._fill(1):
            return b""
        return self.read(BLOCK)

    def _fill(self, count: int) -> bool:
        """Have at least `count` bytes in view, as far as there are any; say whether there are."""
        parts = [self._view[self._at :]]
        have = len(parts[0])
        while have < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
            have += len(piece)
        self._view, self._at = b"".join(parts), 0
        return have >= count

    def peek(self, count: int) -> bytes:
        """Return the next bytes without taking them; fewer at the end."""
        if self._at + count > len(self._view):
            self._fill(count)
        return self._view[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes. Raises ParseError at the end of the data."""
        at = self._at
        data = self._view[at : at + count]
        if len(data) == count:
            self._at = at + count
            return data
        parts = [data]
        parts += self.pieces(count - len(data), drop=True)
        return b"".join(parts)

    def pieces(self, count: int, *, drop: bool = False) -> Iterator[bytes]:
        """Yield exactly `count` bytes in pieces; `drop` forgets what is in view first."""
        if drop:
            self._at = len(self._view)
        while count:
            if self._at == len(self._view):
                self._view, self._at = next(self._pieces, b""), 0
                if not self._view:
                    raise ParseError("a tar archive that ends too early")
            data = self._view[self._at : self._at + count]
            self._at += len(data)
            count -= len(data)
            yield data

    def skip(self, count: int) -> None:
        """Pass over exactly `count` bytes."""
        have = len(self._view) - self._at
        while count > have:
            count -= have
            self._view, self._at = next(self._pieces, b""), 0
            have = len(self._view)
            if not have:
                raise ParseError("a tar archive that ends too early")
        self._at += count
