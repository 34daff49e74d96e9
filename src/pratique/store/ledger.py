"""Entries in, lines on disk out: the ledger of who was allowed what, appended to by many threads and processes at once.

A line is on disk (fdatasync) before `append` returns; one that gives nobody anything may be written only, which the death of the
process does not undo, and is on disk a moment later (see `loose`). Threads that append at the same time share one write and one
sync, processes take turns by a lock on a file. What a writer left when it died is kept and said: whole lines that carry this
store's own mark are counted in, half a line is moved to `torn/`. A ledger that does not end as its head says, or that the disk
does not take, takes no more lines: LedgerError, and who asks for a privilege is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from pratique.model.errors import LedgerError, StoreError
from pratique.store.files import Files, wait_for_lock
from pratique.store.head import Head
from pratique.store.keys import Keys
from pratique.store.line import Entry
from pratique.store.loose import MAX_LOOSE, End, end_of
from pratique.store.place import Place
from pratique.store.writer import Receipt, Writer

SEGMENT_BYTES = 8 << 20  # a segment is read once more when it is sealed: 20 ms, which a gate's deadline of 500 ms bears
MAX_BATCH = 512  # entries in one write, so that the first of them does not wait for a crowd
# Seconds from a line that is only written to the sync of it and of what came meanwhile. A disk takes some milliseconds for one,
# so that a line is on disk some 20 ms after it was answered.
SYNC_AFTER = 0.005
_QUIET = 1.0  # seconds without a line after which the thread for that ends
_PATIENCE = 10.0  # seconds for the last sync of a process that ends


class _Waiting:
    """An entry that a thread waits for."""

    __slots__ = ("done", "end", "entry", "error", "receipt", "sync")

    def __init__(self, entry: Entry, *, sync: bool) -> None:
        self.entry = entry
        self.sync = sync  # whether it waits for the disk, too
        self.end: End | None = None
        self.receipt: Receipt | None = None
        self.error: Exception | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Ledger:
    """One store's ledger, open for writing. May be shared by threads, and is opened anew after a fork."""

    def __init__(self, place: Place, *, clock: Callable[[], float] = time.time, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._place = place
        self.keys = Keys(place)
        self._clock = clock
        self._limit = segment_bytes
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._led = False  # whether a thread writes for all
        self._sync_lock = threading.Lock()
        self._syncer: _Syncer | None = None
        self._files: Files | None = None
        self._doubted = False  # whether a sync failed, for files that are opened anew
        self._process = os.getpid()

    def append(self, entry: Entry, *, sync: bool = True) -> Receipt:
        """Append an entry and return when it is on disk. Raises LedgerError: then nothing may rest on it.

        Without `sync` it returns when the entry is written: only for what gives nobody anything.
        """
        if self._process != os.getpid():
            self._begin_anew()
        mine = _Waiting(entry, sync=sync)
        with self._queue_lock:
            self._queue.append(mine)
            lead, self._led = not self._led, True
        if not lead:
            mine.done.acquire()
        if mine.receipt is None and mine.error is None:
            self._lead()
        if mine.receipt is None or mine.end is None:
            raise mine.error or LedgerError("the ledger did not answer")
        if mine.sync:
            self._harden(mine.end)
        self._sync_soon()
        return mine.receipt

    def _begin_anew(self) -> None:
        """Take nothing over from the process that this one was forked from: its threads are not here, its locks may be held."""
        self._process = os.getpid()
        self._queue, self._led = [], False
        self._queue_lock, self._commit_lock, self._sync_lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._syncer, self._files = None, None

    def _harden(self, end: End) -> None:
        """Have on disk what was written up to `end`; one sync is for all who wait. Raises LedgerError."""
        files = self._files
        with self._sync_lock, contextlib.suppress(OSError):  # what fails here is tried once more below, and told
            if files is not None:
                if files.synced < end:
                    files.sync()
                if files.synced >= end:
                    files.sync_head()
                    return
        with self._commit_lock, self._writing() as writer:
            writer.sync()

    def _sync_soon(self) -> None:
        with self._queue_lock:
            syncer = self._syncer = self._syncer or _Syncer(self.sync)
        syncer.ring()

    def sync(self) -> None:
        """Have on disk all that this process wrote, and have the head say so. Raises LedgerError."""
        files = self._files
        if files is not None and files.process == os.getpid():
            self._harden(files.written)
            with self._commit_lock, self._writing() as writer:
                writer.settle_head()

    def _lead(self) -> None:
        """Write for all who wait; when the own entry is written, the first of those who came meanwhile leads."""
        with self._queue_lock:
            batch, self._queue[:MAX_BATCH] = self._queue[:MAX_BATCH], []
        try:
            with self._commit_lock:
                self._commit(batch)
        finally:
            with self._queue_lock:
                follower = self._queue[0] if self._queue else None
                self._led = follower is not None
            for waiting in batch[1:]:
                waiting.done.release()
            if follower is not None:
                follower.done.release()

    def hashed(self, words: Sequence[str]) -> str:
        """Return the keyed hash under which words (an argv, an environment) stand in the ledger. Raises LedgerError."""
        if not self._place.keys.joinpath("secret").exists():
            with self._commit_lock, self._writing():
                pass
        return self.keys.hashed(words)

    def head(self) -> Head:
        """Return where the ledger ends, signed, with all of it on disk; an empty one is begun."""
        with self._commit_lock, self._writing() as writer:
            writer.sync()
            return writer.head

    def rotate_key(self) -> tuple[str, str]:
        """Seal what there is, go on with a new key that the old one signs for, delete the old; return the old and the new."""
        with self._commit_lock, self._writing() as writer:
            old = writer.head.key
            if not writer.head.sealed:
                writer.seal()
            new = self.keys.add().key
            writer.open_segment()
            self.keys.forget_all_but(new)
            return old, new

    def seal(self) -> None:
        """Close the segment, so that all there is stands under a signed root."""
        with self._commit_lock, self._writing() as writer:
            if not writer.head.sealed:
                writer.seal()

    def close(self) -> None:
        """Let go of the files; what was written is on disk then, as far as the disk takes it."""
        if self._process != os.getpid():
            self._begin_anew()
        if self._syncer is not None:
            self._syncer.stop()
            self._syncer = None
        with contextlib.suppress(StoreError):
            self.sync()
        with self._commit_lock:
            self._forget()

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            with self._writing() as writer:
                receipts = writer.write([waiting.entry for waiting in batch])
                end, crowded = end_of(writer.head), writer.loose() > MAX_LOOSE
        except StoreError as error:
            self._give_up(batch, error)
        else:
            for waiting, receipt in zip(batch, receipts, strict=True):
                waiting.receipt, waiting.end = receipt, end
                waiting.sync = waiting.sync or crowded

    def _give_up(self, batch: list[_Waiting], error: StoreError) -> None:
        """Tell one thread why its entry was not written; of several, try each alone, as one entry may be what is wrong."""
        self._forget()
        if len(batch) == 1:
            batch[0].error = error
            return
        for waiting in batch:
            self._commit([waiting])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Writer]:
        """Yield a writer that stands at the end of the ledger, while no other process writes. Raises StoreError."""
        try:
            if self._files is None or self._files.process != os.getpid():
                self._files = Files(self._place)
                self._files.doubted = self._doubted
            files = self._files
            wait_for_lock(files.lock, fcntl.LOCK_EX, self._place)
            try:
                writer = Writer(self._place, files, self.keys, self._clock, self._limit)
                writer.find_end()
                yield writer
            finally:
                fcntl.flock(files.lock, fcntl.LOCK_UN)
        except OSError as error:
            raise LedgerError(f"{self._place.ledger}: cannot be written: {error.strerror or error}") from None

    def _forget(self) -> None:
        if self._files is not None:
            self._doubted = self._files.doubted
            self._files.close()
            self._files = None


class _Syncer:
    """A thread that has on disk, a moment after they were written, the lines for which nobody waits; ends when all is quiet."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._lock = threading.Lock()
        self._rang, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        """Say that something was written."""
        with self._lock:
            self._rang.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger-sync", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            if not self._rang.wait(_QUIET):
                with self._lock:
                    if not self._rang.is_set():
                        self._thread = None
                        return
            if self._ended.wait(SYNC_AFTER):
                return
            self._rang.clear()
            with contextlib.suppress(StoreError):  # it is in the head, and whoever writes next is told
                self._sync()

    def stop(self) -> None:
        """End after what is being done; more than a disk that hangs takes is not waited for."""
        self._ended.set()
        with self._lock:
            self._rang.set()
            thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE)
