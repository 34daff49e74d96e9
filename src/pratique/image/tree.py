"""A folder of this machine in, its tree and the files that somebody wants to see out: as for a layer, for `rootfs:` and `dir:`.

Symbolic links are entered, never followed: a link that leads out of the folder cannot make us read what lies there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pratique.image.blob import Deadline, Region
from pratique.image.files import AnyFile, RegionFile
from pratique.image.walk import HEAD, MAX_ENTRIES, Select, Wanted
from pratique.model.errors import BudgetExceededError
from pratique.model.inventory import Gap
from pratique.model.layer import LayerTree, Selection, shown

MAX_DEPTH = 200  # PATH_MAX allows 2,048 levels; no file tree that a program made has 200
KERNEL_FOLDERS = frozenset((b"proc", b"sys", b"dev"))  # a root file system's mounts of the kernel hold no files of the image


class FolderWalk:
    """Walks a folder. Iterate to the end, then `tree` and `gaps` hold."""

    def __init__(self, folder: Path, select: Select, deadline: Deadline, *, skip: frozenset[bytes] = frozenset()) -> None:
        self._root = os.fsencode(folder)
        self._select = select
        self._deadline = deadline
        self._skip = skip
        self._files: list[bytes] = []
        self._directories: list[bytes] = []
        self.tree = LayerTree()
        self.gaps: list[Gap] = []

    def __iter__(self) -> Iterator[Wanted]:
        try:
            yield from self._folder(b"", 0)
        except BudgetExceededError as error:
            self._gap("image.layer-limit", f"{error.message}; the rest of the folder was not examined", b"")
        self.tree.files = b"\0".join(self._files)
        self.tree.directories = b"\0".join(self._directories)
        self.tree.entries = len(self._files) + len(self._directories)

    def _gap(self, code: str, message: str, path: bytes) -> None:
        self.gaps.append(Gap(code=code, message=message, path=shown(path)))

    def _folder(self, relative: bytes, depth: int) -> Iterator[Wanted]:
        if depth > MAX_DEPTH:
            self._gap("image.too-deep", f"a folder more than {MAX_DEPTH} levels deep; it was not examined", relative)
            return
        try:
            with os.scandir(self._root + b"/" + relative if relative else self._root) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self._gap("image.unreadable", f"cannot be listed: {error.strerror}", relative)
            return
        self._deadline.check()
        for entry in entries:
            path = relative + b"/" + entry.name if relative else entry.name
            if len(self._files) + len(self._directories) > MAX_ENTRIES:
                raise BudgetExceededError(f"more than {MAX_ENTRIES} entries")
            if entry.is_symlink():
                self._files.append(path)
                try:
                    self.tree.symlinks[path] = os.readlink(entry.path)  # noqa: PTH115 - names are bytes here
                except OSError as error:
                    self._gap("image.unreadable", f"cannot be read: {error.strerror}", path)
            elif entry.is_dir(follow_symlinks=False):
                if path not in self._skip:
                    self._directories.append(path)
                    yield from self._folder(path, depth + 1)
            else:
                self._files.append(path)
                if entry.is_file(follow_symlinks=False):
                    yield from self._file(path, entry.path)

    def _file(self, path: bytes, full: bytes) -> Iterator[Wanted]:
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            selection = self._select(path, b"")
            if selection is not None:
                self._gap("image.unreadable", f"cannot be read: {error.strerror}", path)
            return
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return
            self.tree.size += facts.st_size
            if facts.st_mode & (stat.S_ISUID | stat.S_ISGID):
                self.tree.setuid[path] = stat.S_IMODE(facts.st_mode)
            selection = self._select(path, os.pread(descriptor, HEAD, 0))
            if selection is not None:
                yield self._wanted(path, selection, descriptor, facts)
        finally:
            os.close(descriptor)

    @staticmethod
    def _wanted(path: bytes, selection: Selection, descriptor: int, facts: os.stat_result) -> Wanted:
        name = shown(path)
        file: AnyFile | None = None
        if facts.st_size <= selection.max_bytes:
            file = RegionFile(name, stat.S_IMODE(facts.st_mode), Region(descriptor, 0, facts.st_size))
        return Wanted(path, selection, file, facts.st_size)
