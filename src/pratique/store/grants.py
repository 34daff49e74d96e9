"""Grants in, grants out: kept in SQLite, changed by one process at a time, and every change rung to the gates."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from pratique.model.errors import StoreError
from pratique.model.privilege import Grant, Provider, State
from pratique.store.database import BROKEN, PATIENCE, connect, telling, writing
from pratique.store.interface import Kept, Step, Used, Wanted
from pratique.store.place import Place, open_own

_decode = msgspec.json.Decoder(Grant).decode
_encode = msgspec.json.encode
RESERVE = 1 << 20  # bytes held for a full disk: some dozens of changes, of 16 KiB each in SQLite's log
_PROVIDERS: tuple[str, ...] = Provider.__args__  # type: ignore[attr-defined]
_MIN_PREFIX = 4  # letters of an id that a person may write for the whole; fewer are soon ambiguous


class NoSuchGrantError(StoreError):
    """There is no grant of that id."""


class ConflictError(StoreError):
    """Somebody else changed it first."""


class SqliteGrants:
    """The grants of one store. May be shared by threads; a process that forks opens its own."""

    def __init__(self, place: Place, *, patience: float = PATIENCE) -> None:
        self.place = place
        self._path = place.database
        self._lock = threading.RLock()
        self._connection = connect(place, patience=patience)
        try:
            self._bell = open_own(place.bell, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            self._connection.close()
            raise StoreError(f"{place.bell}: cannot be written: {error.strerror}") from None
        self._end = weakref.finalize(self, _let_go, self._connection, self._bell)
        self._take_reserve()

    def _take_reserve(self) -> None:
        """Hold some room on the disk, where it is not held yet and there is any."""
        with contextlib.suppress(OSError, StoreError):
            if not self.place.reserve.exists():
                descriptor = open_own(self.place.reserve, os.O_WRONLY | os.O_CREAT)
                try:
                    os.posix_fallocate(descriptor, 0, RESERVE)
                except OSError:
                    self.place.reserve.unlink(missing_ok=True)
                finally:
                    os.close(descriptor)

    def let_go_reserve(self) -> bool:
        """Give the room back, for a change that takes a privilege away on a full disk; say whether there was any."""
        try:
            self.place.reserve.unlink()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        self._end()

    def create(self, grant: Grant, before: Callable[[], None] | None = None) -> Kept:
        with self.writing() as connection:
            if before is not None:
                before()
            asked = grant.asked.subject
            row = (grant.id, 1, grant.state, asked.provider, asked.id, grant.requested_at, grant.expires_at)
            connection.execute("INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, self._next(), _encode(grant)))
        return Kept(grant, 1)

    def get(self, name: str) -> Kept:
        with self._lock, telling(self._path):
            return self._get(name)

    def find(self, wanted: Wanted = Wanted()) -> list[Kept]:  # noqa: B008 - immutable
        conditions, values = ["1"], list[Any]()
        if wanted.states:
            conditions.append(f"state IN ({', '.join('?' * len(wanted.states))})")
            values += wanted.states
        for column, value in (("provider", wanted.provider), ("subject", wanted.subject)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if wanted.expiring is not None:
            conditions.append("expires_at > 0 AND expires_at <= ?")
            values.append(wanted.expiring)
        sql = f"SELECT body, version FROM grants WHERE {' AND '.join(conditions)} ORDER BY requested_at DESC, id"  # noqa: S608
        with self._lock, telling(self._path):
            return [Kept(self._read(body), version) for body, version in self._connection.execute(sql, values)]

    def broken(self, subject: str | None = None) -> list[Grant]:
        """Return the grants for which somebody broke the glass, whatever they were known by then; of all people for None."""
        one = f"provider IN ({', '.join('?' * len(_PROVIDERS))}) AND subject = ? AND " if subject is not None else ""
        values = (*_PROVIDERS, subject) if subject is not None else ()
        with self._lock, telling(self._path):
            rows = self._connection.execute(f"SELECT body FROM grants WHERE {one}{BROKEN}", values)  # noqa: S608 - of our own words
            return [grant for (body,) in rows if (grant := self._read(body)).asked.break_glass]

    def change(self, name: str, step: Step) -> Kept:
        with self.writing():
            kept = self._get(name)
            return self._put(step(kept.grant), kept.version)

    def replace(self, grant: Grant, version: int) -> Kept:
        with self.writing():
            return self._put(grant, version)

    def use(self, name: str, session: str, step: Step) -> Used:
        with self.writing() as connection:
            kept = self._get(name)
            sql = "SELECT 1 FROM uses WHERE grant_id = ? AND session = ?"
            if connection.execute(sql, (kept.grant.id, session)).fetchone() is not None:
                return Used(kept.grant, again=True)
            after = self._put(step(kept.grant), kept.version).grant
            connection.execute("INSERT INTO uses VALUES (?, ?, ?)", (after.id, session, time.time()))
            return Used(after, again=False)

    def used_in(self, name: str, session: str) -> bool:
        """Say whether a session has consumed a use of a grant."""
        sql = "SELECT 1 FROM uses WHERE grant_id = ? AND session = ?"
        with self._lock, telling(self._path):
            return self._connection.execute(sql, (name, session)).fetchone() is not None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Be the one writer of the store; the bell is rung after what was done is kept. May be nested."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            with writing(self._connection, self._path):
                yield self._connection
            self._ring()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read the tables."""
        with self._lock, telling(self._path):
            yield self._connection

    def changes(self, after: int) -> list[tuple[int, str, str, Grant]]:
        """Return (number, id, state, grant) of what changed after a change of that number, the oldest first."""
        sql = "SELECT changed, id, state, body FROM grants WHERE changed > ? ORDER BY changed"
        with self._lock, telling(self._path):
            return [
                (number, name, state, self._read(body)) for number, name, state, body in self._connection.execute(sql, (after,))
            ]

    def in_states(self, states: Collection[State]) -> tuple[int, list[tuple[int, str, str, Grant]]]:
        """Return the number of the last change, and all grants in these states as `changes` does."""
        sql = f"SELECT changed, id, state, body FROM grants WHERE state IN ({', '.join('?' * len(states))})"  # noqa: S608
        with self.reading() as connection:
            connection.execute("BEGIN")  # both answers are of one moment
            try:
                (last,) = connection.execute("SELECT value FROM counters WHERE name = 'changed'").fetchone()
                rows = connection.execute(sql, tuple(states)).fetchall()
            finally:
                connection.execute("ROLLBACK")
        return last, [(number, name, state, self._read(body)) for number, name, state, body in rows]

    def data_version(self) -> int:
        """Return a number that differs as soon as another connection has changed anything. Takes microseconds."""
        with self._lock, telling(self._path):
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # who waits looks every second all the same; a full disk must not undo a revocation
            os.pwrite(self._bell, time.monotonic_ns().to_bytes(8, "little"), 0)

    def _next(self) -> int:
        sql = "UPDATE counters SET value = value + 1 WHERE name = 'changed' RETURNING value"
        number: int = self._connection.execute(sql).fetchone()[0]
        return number

    def _get(self, name: str) -> Kept:
        row = self._connection.execute("SELECT body, version FROM grants WHERE id = ?", (name,)).fetchone()
        if row is None and len(name) >= _MIN_PREFIX:
            sql = "SELECT body, version FROM grants WHERE substr(id, 1, ?) = ? LIMIT 2"
            rows = self._connection.execute(sql, (len(name), name)).fetchall()
            if len(rows) > 1:
                raise NoSuchGrantError(f"{name}: several grants begin so", hint="write more of the id")
            row = rows[0] if rows else None
        if row is None:
            raise NoSuchGrantError(f"{name}: there is no such grant", hint="pratique grant list")
        return Kept(self._read(row[0]), row[1])

    def _put(self, grant: Grant, version: int) -> Kept:
        row = (version + 1, grant.state, grant.expires_at, self._next(), _encode(grant), grant.id, version)
        sql = "UPDATE grants SET version = ?, state = ?, expires_at = ?, changed = ?, body = ? WHERE id = ? AND version = ?"
        if self._connection.execute(sql, row).rowcount != 1:
            raise ConflictError(f"{grant.id}: changed by somebody else in the meantime", hint="look at it again")
        return Kept(grant, version + 1)

    def _read(self, body: bytes) -> Grant:
        try:
            return _decode(body)
        except msgspec.DecodeError as error:
            raise StoreError(f"{self._path}: damaged: {error}") from None


def _let_go(connection: sqlite3.Connection, bell: int) -> None:
    connection.close()
    os.close(bell)
