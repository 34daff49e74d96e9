"""A ledger's place in, the files that a process keeps open between writes out: its lock, its head, the open segment.

Syncs are made beside the lock: others write on meanwhile, and one sync is for all that was written before it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time

from pratique.model.errors import LedgerError
from pratique.store.head import HeadFile
from pratique.store.line import NO_HASH, Tree
from pratique.store.loose import End
from pratique.store.place import Place, open_own

PATIENCE = 2.0  # seconds to wait for another process's write, which takes milliseconds; then it hangs
_HEAD_SYNC = 1.0  # seconds between syncs of the head; after a power cut it may be as much behind, and the lines have their marks


def segment_name(number: int) -> str:
    """Return the name of a segment's file."""
    return f"{number:08d}.jsonl"


def wait_for_lock(descriptor: int, kind: int, place: Place) -> None:
    """Take the lock of a ledger. Raises LedgerError when another process does not let go."""
    until, pause = time.monotonic() + PATIENCE, 0.0001
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise LedgerError(f"{place.lock}: another process holds the ledger") from None
            time.sleep(pause)
            pause = min(pause * 2, 0.002)
        else:
            return


class Files:
    """What a process keeps open between writes."""

    def __init__(self, place: Place) -> None:
        self.process = os.getpid()
        self.segment, self.number = -1, 0
        self.tree, self.tree_at = Tree(), 0  # of segment `number`, up to byte `tree_at`
        self.head_synced = 0.0
        self.swap = threading.Lock()  # held while the segment's file is exchanged, or copied for a sync
        # Held during a sync: of two at once the kernel would tell only one that a write failed, and the other would succeed.
        self.syncing = threading.Lock()
        self.written = self.synced = End(0, 0, 0, NO_HASH)  # up to where this process wrote, and knows to be on disk
        self.doubted = False  # whether a sync failed
        try:
            self.lock = open_own(place.lock, os.O_RDWR | os.O_CREAT)
            self.head = HeadFile(place)
        except OSError as error:
            raise LedgerError(f"{place.folder}: the ledger cannot be written: {error.strerror}") from None

    def close(self) -> None:
        self.use(-1, 0)
        self.head.close()
        os.close(self.lock)

    def use(self, segment: int, number: int) -> None:
        """Take another segment's file as the open one."""
        with self.swap:
            if self.segment >= 0:
                os.close(self.segment)
            self.segment, self.number = segment, number
        self.tree, self.tree_at = Tree(), 0

    def sync(self) -> None:
        """Have on disk what was written, while others go on writing. Raises OSError: then nobody knows what is on disk."""
        with self.syncing:
            with self.swap:
                if self.segment < 0 or self.synced >= self.written:
                    return
                written, segment = self.written, os.dup(self.segment)
            try:
                self.flush(segment)
            finally:
                os.close(segment)
            with self.swap:
                self.synced = max(self.synced, written)

    def flush(self, segment: int) -> None:
        """Have a segment on disk; to be called with `syncing` held. Raises OSError, also where a sync before failed."""
        if self.doubted:
            raise OSError(errno.EIO, "a sync before this one failed")
        try:
            os.fdatasync(segment)
        except OSError:
            self.doubted = True
            raise

    def sync_head(self) -> None:
        """Have the head on disk, too, where that was not done for a while. Raises OSError."""
        if time.monotonic() - self.head_synced > _HEAD_SYNC:
            self.head_synced = time.monotonic()
            self.head.sync()
