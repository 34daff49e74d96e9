"""Entries in, lines on disk out: the ledger of who was allowed what, appended to by many threads and processes at once.

A line is on disk (fdatasync) before `append` returns; threads that append at the same time share one write and one sync,
processes take turns by a lock on a file. What a writer left when it died is kept and said: whole lines that carry this store's
own mark are counted in, half a line is moved to `torn/`. A ledger that does not end as its head says takes no more lines:
LedgerError, and who asks for a privilege is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from pratique.model.errors import LedgerError, StoreError
from pratique.store.head import Head
from pratique.store.keys import Keys
from pratique.store.line import Entry
from pratique.store.place import Place
from pratique.store.writer import Files, Receipt, Writer, wait_for_lock

SEGMENT_BYTES = 8 << 20  # a segment is read once more when it is sealed: 20 ms, which a gate's deadline of 500 ms bears
MAX_BATCH = 512  # entries in one write, so that the first of them does not wait for a crowd


class _Waiting:
    """An entry that a thread waits for."""

    __slots__ = ("done", "entry", "error", "receipt")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
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
        self._files: Files | None = None

    def append(self, entry: Entry) -> Receipt:
        """Append an entry and return when it is on disk. Raises LedgerError: then nothing was recorded."""
        mine = _Waiting(entry)
        with self._queue_lock:
            self._queue.append(mine)
            lead, self._led = not self._led, True
        if not lead:
            mine.done.acquire()
        if mine.receipt is None and mine.error is None:
            self._lead()
        if mine.receipt is None:
            raise mine.error or LedgerError("the ledger did not answer")
        return mine.receipt

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
            with self._commit_lock, self._locked():
                pass
        return self.keys.hashed(words)

    def head(self) -> Head:
        """Return where the ledger ends, signed; an empty one is begun."""
        with self._commit_lock, self._locked() as writer:
            writer.sync_head()
            return writer.head

    def rotate_key(self) -> tuple[str, str]:
        """Seal what there is, go on with a new key that the old one signs for, delete the old; return the old and the new."""
        with self._commit_lock, self._locked() as writer:
            old = writer.head.key
            if not writer.head.sealed:
                writer.seal()
            new = self.keys.add().key
            writer.open_segment()
            self.keys.forget_all_but(new)
            return old, new

    def seal(self) -> None:
        """Close the segment, so that all there is stands under a signed root."""
        with self._commit_lock, self._locked() as writer:
            if not writer.head.sealed:
                writer.seal()

    def close(self) -> None:
        with self._commit_lock:
            self._forget()

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            with self._locked() as writer:
                receipts = writer.write([waiting.entry for waiting in batch])
        except StoreError as error:
            self._give_up(batch, error)
        except OSError as error:
            self._give_up(batch, LedgerError(f"{self._place.ledger}: cannot be written: {error.strerror or error}"))
        else:
            for waiting, receipt in zip(batch, receipts, strict=True):
                waiting.receipt = receipt

    def _give_up(self, batch: list[_Waiting], error: StoreError) -> None:
        """Tell one thread why its entry was not written; of several, try each alone, as one entry may be what is wrong."""
        self._forget()
        if len(batch) == 1:
            batch[0].error = error
            return
        for waiting in batch:
            self._commit([waiting])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Writer]:
        """Yield a writer that stands at the end of the ledger, while no other process writes."""
        if self._files is None or self._files.process != os.getpid():
            self._files = Files(self._place)
        files = self._files
        wait_for_lock(files.lock, fcntl.LOCK_EX, self._place)
        try:
            writer = Writer(self._place, files, self.keys, self._clock, self._limit)
            writer.find_end()
            yield writer
        finally:
            fcntl.flock(files.lock, fcntl.LOCK_UN)

    def _forget(self) -> None:
        if self._files is not None:
            self._files.close()
            self._files = None
