"""A stream of unknown length in, a bounded file beside the cache out: archives that come compressed, by pipe or by socket."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pratique.image.options import SourceOptions
from pratique.model.errors import BudgetExceededError, IntegrityError, ParseError, TargetError

MAX_SPOOL = 128 << 30  # the largest images (machine learning, with their models) stay below 100 GiB unpacked
RESERVE = 256 << 20  # what is left free on the disk: a full disk hurts everybody else on the machine
CHECK_EVERY = 64 << 20  # asking for free space costs a system call; between two questions no more than this is written


class Spool:
    """A temporary file with a name, so that any thread or child can open it; gone when closed.

    Those of killed processes are removed by the next one: a living owner holds a lock on its file.
    """

    def __init__(self, options: SourceOptions, what: str) -> None:
        folder = options.cache_dir / "spool"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            descriptor, name = tempfile.mkstemp(dir=folder, suffix=".tar")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TargetError(f"no temporary file can be made in {folder}: {error.strerror}") from None
        self.path = Path(name)
        self.descriptor = descriptor
        self.size = 0
        self.digest = ""
        self._what = what
        self._options = options
        self._unchecked = CHECK_EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)

    def fill(self, pieces: Iterable[bytes], total: int = -1) -> None:
        """Write all pieces; afterwards `size` and `digest` (of what was written) hold. Raises TargetError where a budget ends."""
        state = hashlib.sha256()
        try:
            for piece in pieces:
                self._afford(len(piece))
                state.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(self.descriptor, view) :]
                self.size += len(piece)
                self._options.note(self._what, self.size, total)
        except (ParseError, BudgetExceededError, IntegrityError) as error:
            raise TargetError(f"{self._what}: {error.message}") from None
        except OSError as error:
            raise TargetError(f"{self._what}: {error.strerror or error}") from None
        self.digest = f"sha256:{state.hexdigest()}"

    def _afford(self, count: int) -> None:
        self._unchecked += count
        if self.size + count > MAX_SPOOL:
            raise TargetError(f"{self._what}: more than {MAX_SPOOL >> 30} GiB")
        if self._unchecked >= CHECK_EVERY:
            self._unchecked = 0
            need_room(self.path.parent, CHECK_EVERY, self._what)


def need_room(folder: Path, count: int, what: str) -> None:
    """Raise TargetError unless `count` more bytes fit on the disk of `folder` with a reserve."""
    if shutil.disk_usage(folder).free < count + RESERVE:
        raise TargetError(f"{what}: no room on the disk of {folder}", hint="free some, or choose another place with --cache-dir")


def _sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for entry in os.scandir(folder):
        try:
            descriptor = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # gone already, or not ours to touch
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if entry.name.endswith(".tar"):
                Path(entry.path).unlink()
        except OSError:
            continue  # its owner is alive
        finally:
            os.close(descriptor)
