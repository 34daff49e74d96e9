"""A store in, the live grants as they are this moment out: what a gate asks at every decision, and waits on between them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import time
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from pratique.model.errors import StoreError
from pratique.model.privilege import LIVE_STATES, Grant, State
from pratique.store.grants import SqliteGrants
from pratique.store.place import Place, open_own

GRACE = 5.0  # seconds that grants outlive a store that does not answer; then they are dead
_PATIENCE = 0.2  # seconds to wait for a lock: a gate has 500 ms in all
_KEEP_SPENT = 60.0  # seconds after its time that a spent grant is shown, so that a gate can see its session off
_LOOK = 1.0  # seconds between looks when nothing rings, for a bell that was lost
_IN_MODIFY = 0x2  # https://man7.org/linux/man-pages/man7/inotify.7.html
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK and IN_CLOEXEC have these values


class Snapshot(NamedTuple):
    """The live grants, and a number that counts up whenever they change: an index built for it holds until then.

    `changed` are the ids that differ from the snapshot before (those not in `grants` went); None where all may.
    """

    generation: int
    grants: Mapping[str, Grant]
    changed: tuple[str, ...] | None = None


class Live:
    """The live grants of a store, read again only where something changed: about 4 microseconds when nothing did."""

    def __init__(self, place: Place, states: Collection[State] = LIVE_STATES) -> None:
        self._place, self._states = place, frozenset(states)
        self._store: SqliteGrants | None = None
        self._identity = (0, 0)
        self._version = -1
        self._number = 0
        self._grants: dict[str, Grant] = {}
        self._generation, self._anew = 0, True
        self._answered = 0.0
        self._snapshot = Snapshot(0, MappingProxyType({}))

    def current(self) -> Snapshot:
        """Return the live grants. Raises StoreError when the store has not answered for GRACE seconds: they are dead then."""
        try:
            self._look()
        except StoreError:
            self.close()
            if not self._answered or time.monotonic() - self._answered > GRACE:
                self._forget()
                raise
        else:
            self._answered = time.monotonic()
        return self._snapshot

    def _look(self) -> None:
        store = self._opened()
        version = store.data_version()
        if version == self._version:
            return
        now = time.time()
        if self._anew:  # what ended long ago is not read, however much of it there is
            self._number, changes = store.in_states(self._states)
        else:
            changes = store.changes(self._number)
            self._number = changes[-1][0] if changes else self._number
        for _, name, state, grant in changes:
            if state in self._states and not _is_over(grant, now):
                self._grants[name] = grant
            else:
                self._grants.pop(name, None)
        self._version = version
        if changes or self._anew:
            changed = None if self._anew else tuple(name for _, name, _, _ in changes)
            self._generation, self._anew = self._generation + 1, False
            self._snapshot = Snapshot(self._generation, MappingProxyType(dict(self._grants)), changed)

    def _opened(self) -> SqliteGrants:
        """Return the open store; one that was put in its place is another store, whose grants are read anew."""
        try:
            seen = self._place.database.stat()
        except OSError as error:
            raise StoreError(f"{self._place.database}: {error.strerror}") from None
        identity = (seen.st_dev, seen.st_ino)
        if self._store is not None and identity != self._identity:
            self.close()
            self._forget()
        if self._store is None:
            self._store = SqliteGrants(self._place, patience=_PATIENCE)
            self._identity, self._version = identity, -1
        return self._store

    def _forget(self) -> None:
        self._grants.clear()
        self._number, self._anew = 0, True

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _is_over(grant: Grant, now: float) -> bool:
    """Say whether a grant that was used up is of no use even to the session that used it: all that ever were would pile up."""
    return grant.state == "exhausted" and now - grant.expires_at > _KEEP_SPENT


class Watcher:
    """Wakes who waits when grants change. `fileno` may be given to select, poll or an event loop; then call `drain`."""

    def __init__(self, place: Place) -> None:
        os.close(open_own(place.bell, os.O_RDWR | os.O_CREAT))
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(_FLAGS)
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, os.fsencode(place.bell), _IN_MODIFY) < 0:
            error = os.strerror(ctypes.get_errno())
            self.close()
            raise StoreError(f"{place.bell}: cannot be watched: {error}", hint="sysctl fs.inotify.max_user_instances")
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def fileno(self) -> int:
        return self._descriptor

    def wait(self, timeout: float = _LOOK) -> bool:
        """Wait until something changed, or for `timeout` seconds; say whether it rang."""
        rang = bool(self._poll.poll(timeout * 1000))
        if rang:
            self.drain()
        return rang

    def drain(self) -> None:
        """Take the rings that have come."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, 4096):
                pass

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
