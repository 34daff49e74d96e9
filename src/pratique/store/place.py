"""A folder in, the places of grants, ledger and keys out; a folder that others may write is refused.

grants.sqlite          grants, uses, break-glass codes, policies (SQLite, WAL)
reserve                room on the disk, let go when it is full, so that grants can be ended even then
changed                rung after every change: a gate waits on it, see watch.py
ledger/00000001.jsonl  the ledger, one file a segment
head                   count and hash of the ledger's last line, signed
torn/                  what a writer that died left half written, never deleted
keys/                  private and public keys of the ledger, the secret of its hashes, the anchor
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pratique._kit.folders import default_store_dir
from pratique.model.errors import StoreError, UsageError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
FOLDER_MODE, FILE_MODE = 0o700, 0o600


class Place:
    """Where the parts of one store lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "grants.sqlite"
        self.bell = folder / "changed"
        self.ledger = folder / "ledger"
        self.head = folder / "head"
        self.lock = folder / "ledger.lock"
        self.torn = folder / "torn"
        self.reserve = folder / "reserve"
        self.keys = folder / "keys"


def open_place(given: str | Path | None = None, *, create: bool = True) -> Place:
    """Return the store in a folder (default: $XDG_STATE_HOME/pratique), made where it is missing and `create` says so.

    Raises UsageError for an address, StoreError for a folder that is missing, unusable, or that others may write.
    """
    if given is not None and ("://" in str(given) or str(given).startswith("unix:")):
        raise UsageError(f"--store {given}: only a folder is understood here", hint="give the folder that holds the store")
    folder = Path(given) if given else default_store_dir()
    try:
        if create and not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        real = folder.resolve(strict=True)
        _check(folder, real)
    except FileNotFoundError:
        raise StoreError(f"{folder}: there is no store", hint="pratique grant request makes one") from None
    except OSError as error:
        raise StoreError(f"{folder}: no store can be here: {error.strerror}") from None
    return Place(real)


def _check(folder: Path, real: Path) -> None:
    seen = real.stat()
    if not stat.S_ISDIR(seen.st_mode):
        raise StoreError(f"{folder}: a store is a folder")
    if foreign(seen):
        raise StoreError(f"{folder}: others may write this store, so nothing in it can be trusted", hint=f"chmod 700 {folder}")
    for above in real.parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StoreError(f"{folder}: others may replace this store: {above} is theirs to write", hint=f"chmod o-w {above}")


def foreign(seen: os.stat_result) -> bool:
    """Say whether somebody else may write a file or folder: by its mode, or as its owner."""
    return bool(seen.st_mode & _OTHERS_WRITE) or seen.st_uid not in (0, os.geteuid())


def make_folder(path: Path) -> None:
    """Make a folder of the store that only its owner may enter."""
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def open_own(path: Path, flags: int) -> int:
    """Open a file of the store: no link is followed, and others may not write it. Raises OSError, StoreError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    seen = os.fstat(descriptor)
    if not stat.S_ISREG(seen.st_mode) or foreign(seen):
        os.close(descriptor)
        raise StoreError(f"{path}: others may write this file, so nothing in it can be trusted", hint=f"chmod 600 {path}")
    return descriptor


def have_own(path: Path) -> None:
    """Make a file of the store where there is none; else check it as `open_own` does. Raises OSError, StoreError.

    A file that is there is not opened: the kernel takes all locks of a process on a file away when the process closes any
    descriptor of it, those of SQLite's other connections included. Another process would then put their log away under them.
    Source: https://sqlite.org/howtocorrupt.html, 2.2.
    """
    try:
        os.close(open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        seen = path.lstat()
        if not stat.S_ISREG(seen.st_mode) or foreign(seen):
            raise StoreError(
                f"{path}: others may write this file, so nothing in it can be trusted", hint=f"chmod 600 {path}"
            ) from None


def sync_folder(path: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
