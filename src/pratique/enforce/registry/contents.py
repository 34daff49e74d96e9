"""Manifests that went by in, which of them need a blob out: a layer may be fetched for the sake of an image that may.

A token, and the protocol, know repositories and not images: a client that knows a layer's digest could fetch it without the
manifest. Kept in registry.sqlite in the gate's folder: who has a manifest from yesterday asks for its blobs today. It can be
deleted; then manifests have to be asked for again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pratique.enforce.registry.manifests import Manifest
from pratique.store.database import telling, writing
from pratique.store.place import have_own

_REMEMBERED = 10_000  # manifests known to be written down: a pull by a thousand nodes writes once
MAX_NEEDING = 1_000  # manifests looked at for one blob: a base layer that thousands share is in an allowed one long before
_SCHEMA = """
CREATE TABLE IF NOT EXISTS manifests (
    number INTEGER PRIMARY KEY, repository TEXT NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL, config TEXT NOT NULL,
    UNIQUE (repository, digest)
) STRICT;
CREATE TABLE IF NOT EXISTS blobs (
    repository TEXT NOT NULL, blob TEXT NOT NULL, manifest INTEGER NOT NULL, PRIMARY KEY (repository, blob, manifest)
) STRICT, WITHOUT ROWID;
"""


class Needing(NamedTuple):
    """A manifest that needs a blob."""

    digest: str
    kind: str
    config: str


class Contents:
    """What the repositories of one registry hold, as far as it went by. May be shared by threads."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreError, OSError."""
        self._path = folder / "registry.sqlite"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        have_own(self._path)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()
        with telling(self._path):
            self._connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode=rw", uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
            )
            self._connection.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 0;" + _SCHEMA
            )

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def kind(self, repository: str, digest: str) -> str:
        """Return the kind of a manifest that need not be written down any more; "" for another."""
        return self._known.get((repository, digest), "")

    def learn(self, repository: str, manifest: Manifest) -> None:
        """Write down what a manifest needs. Raises StoreError."""
        with self._lock, writing(self._connection, self._path):
            row = (repository, manifest.digest, manifest.kind, manifest.config)
            self._connection.execute(
                "INSERT INTO manifests (repository, digest, kind, config) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (repository, digest) DO UPDATE SET kind = excluded.kind",
                row,
            )
            sql = "SELECT number FROM manifests WHERE repository = ? AND digest = ?"
            (number,) = self._connection.execute(sql, row[:2]).fetchone()
            rows = [(repository, blob, number) for blob in dict.fromkeys(manifest.blobs)]
            self._connection.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", rows)
        if not manifest.unsure:
            self._known[repository, manifest.digest] = manifest.kind
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, repository: str, digest: str) -> None:
        """Forget a manifest that was deleted. Raises StoreError."""
        self._known.pop((repository, digest), None)
        with self._lock, writing(self._connection, self._path):
            sql = "DELETE FROM manifests WHERE repository = ? AND digest = ? RETURNING number"
            for (number,) in self._connection.execute(sql, (repository, digest)).fetchall():
                self._connection.execute("DELETE FROM blobs WHERE repository = ? AND manifest = ?", (repository, number))

    def needing(self, repository: str, blob: str) -> list[Needing]:
        """Return the manifests of a repository that need a blob, the youngest first. Raises StoreError."""
        sql = (
            "SELECT m.digest, m.kind, m.config FROM blobs b JOIN manifests m ON m.number = b.manifest"
            " WHERE b.repository = ? AND b.blob = ? ORDER BY m.number DESC LIMIT ?"
        )
        with self._lock, telling(self._path):
            return [Needing(*row) for row in self._connection.execute(sql, (repository, blob, MAX_NEEDING))]
