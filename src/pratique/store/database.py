"""A path in, an open SQLite database of the present schema out: WAL, on disk at every commit, one writer at a time."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from pratique.model.errors import StoreError
from pratique.store.place import Place, have_own


class StoreLockedError(StoreError):
    """Another process is at it."""


class StoreFullError(StoreError):
    """The disk is full."""


PATIENCE = 5.0  # seconds to wait for another writer, which takes milliseconds and one sync of the disk
_PAUSE = 0.01  # seconds between attempts to open
_MMAP = 0  # a database that another process truncates must not end this one by SIGBUS

# The condition that somebody broke the glass for a grant, as its body has it: `"break_glass":true`.
_BREAKS_GLASS = b'"break_glass":true'
BROKEN = f"instr(body, x'{_BREAKS_GLASS.hex()}') > 0"

# What brings a database from version n to n + 1: append, never edit.
_STEPS = (
    """
    CREATE TABLE grants (
        id TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL, provider TEXT NOT NULL, subject TEXT NOT NULL,
        requested_at REAL NOT NULL, expires_at REAL NOT NULL, changed INTEGER NOT NULL UNIQUE, body BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX grants_by_state ON grants (state, expires_at);
    CREATE INDEX grants_by_subject ON grants (provider, subject, state);
    CREATE TABLE uses (
        grant_id TEXT NOT NULL REFERENCES grants (id), session TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (grant_id, session)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO counters VALUES ('changed', 0);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE codes (
        hash TEXT PRIMARY KEY, sealed_by TEXT NOT NULL, sealed_at REAL NOT NULL, used_at REAL NOT NULL DEFAULT 0,
        used_by TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE policies (
        version INTEGER PRIMARY KEY, digest TEXT NOT NULL, set_at REAL NOT NULL, set_by TEXT NOT NULL, body BLOB NOT NULL,
        mark TEXT NOT NULL
    ) STRICT;
    CREATE TABLE unsaid (number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
    """,
    # Broken glasses are few among many, and asked for at each use. The words are looked for in what is signed for, the body, and
    # not in a column that could say otherwise; SQLite uses the index for a query that has the same condition, letter by letter.
    f"""
    CREATE INDEX grants_broken ON grants (provider, subject) WHERE {BROKEN};
    """,
)
VERSION = len(_STEPS)


def connect(place: Place, *, patience: float = PATIENCE) -> sqlite3.Connection:
    """Open the database of a store, made and brought up to date as needed. Raises StoreError."""
    return opened(place.database, _STEPS, patience=patience)


def opened(path: Path, steps: Sequence[str], *, patience: float) -> sqlite3.Connection:
    """Open a database that `steps` (statements, by version) make and bring up to date. Raises StoreError."""
    try:
        have_own(path)  # SQLite would make it as the umask says; its companions take this mode
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
    until = time.monotonic() + patience
    while True:
        try:
            return _connect(path, steps, patience)
        except StoreLockedError:  # while a log is begun, recovered or put away SQLite says so at once, and does not wait
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE)


def _connect(path: Path, steps: Sequence[str], patience: float) -> sqlite3.Connection:
    with telling(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, timeout=patience, isolation_level=None, check_same_thread=False
        )
        try:
            connection.executescript(
                f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA mmap_size = {_MMAP};"
                " PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
            )
            _migrate(connection, path, steps)
        except BaseException:
            connection.close()
            raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[str]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(steps):
        return
    with writing(connection, path):  # another process may have been faster
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(steps):
            raise StoreError(f"{path}: made by a newer pratique", hint="upgrade pratique here, too")
        for number in range(version, len(steps)):
            for statement in steps[number].split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")


@contextlib.contextmanager
def writing(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Be the one writer: all that is done within is kept, or nothing of it. Raises StoreError."""
    with telling(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into one line for a person."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreLockedError(f"{path}: locked by another process") from None
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise StoreFullError(f"{path}: the disk is full") from None
        raise StoreError(f"{path}: {error}") from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: damaged: {error}") from None
