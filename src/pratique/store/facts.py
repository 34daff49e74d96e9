"""What a store keeps beside grants: facts, policies with all earlier ones, sealed codes, entries that the ledger has not yet.

Policies are marked with the store's secret and numbered, so that one from elsewhere, or an earlier one put back, is not taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from pratique.model.errors import StoreError
from pratique.store.grants import SqliteGrants
from pratique.store.keys import Keys
from pratique.store.line import Entry
from pratique.store.place import Place

_GOOD = "policy.good"  # the fact that says which policy was found good last, and when, marked
_HIGHEST = "policy"  # the fact that holds the highest number of a policy, marked
_decode_entry = msgspec.json.Decoder(Entry).decode


LEDGER = "ledger"  # the fact that holds the name of the ledger that the grants of this store are in
HEADS = "heads"  # the fact that says where the ends of the ledger are published


def read_fact(place: Place, name: str) -> str:
    """Return a fact of a store, "" where it is not there or cannot be read; nothing is written."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(place.database))}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row is not None else ""


def ledger_name(place: Place) -> str:
    """Return the name of the ledger that a store's grants are in, "" where that cannot be read; nothing is written."""
    return read_fact(place, LEDGER)


class KeptPolicy(NamedTuple):
    """A policy as it was set; `digest` is that of its bytes, `sha256:...`."""

    version: int
    digest: str
    set_at: float
    set_by: str
    body: bytes


class Facts:
    """The tables of a store that are not grants. Every method raises StoreError where the store does not answer."""

    def __init__(self, store: SqliteGrants, keys: Keys) -> None:
        self._store, self._keys = store, keys

    def get(self, name: str) -> str:
        """Return a fact, "" where there is none."""
        with self._store.reading() as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row is not None else ""

    def put(self, name: str, value: str) -> None:
        with self._store.writing() as connection:
            connection.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value))

    def beginning(self, prefix: str) -> list[str]:
        """Return the facts whose names begin so, by name."""
        with self._store.reading() as connection:
            sql = "SELECT value FROM facts WHERE substr(name, 1, ?) = ? ORDER BY name"
            return [str(value) for (value,) in connection.execute(sql, (len(prefix), prefix))]

    def set_policy(self, body: bytes, set_by: str, set_at: float) -> KeptPolicy:
        """Keep a policy as the one that holds from now on."""
        with self._store.writing() as connection:
            version = max(self._highest(), self._last_version()) + 1
            kept = KeptPolicy(version, "sha256:" + hashlib.sha256(body).hexdigest(), set_at, set_by, body)
            connection.execute("INSERT INTO policies VALUES (?, ?, ?, ?, ?, ?)", (*kept, self._mark(kept)))
            self.put(_HIGHEST, f"{version} {self._keys.mark('policy version', str(version).encode())}")
        return kept

    def policy(self) -> KeptPolicy | None:
        """Return the policy that holds, None where none was ever set. Raises StoreError for one that cannot be trusted."""
        highest = self._highest()
        if not highest and not self._last_version():
            return None
        kept = self._policy(highest)
        if kept is None:
            raise StoreError(f"policy {highest} of the store is missing, changed, or an earlier one was put in its place")
        return kept

    def former_policy(self) -> KeptPolicy | None:
        """Return the newest policy that can be trusted, for when the one that should hold cannot be."""
        return next((kept for version in range(self._last_version(), 0, -1) if (kept := self._policy(version))), None)

    def note_good(self, version: int, at: float) -> None:
        """Write down that a policy was found good at a time, for a process that begins when it no longer is."""
        said = f"{version} {at!r}"
        self.put(_GOOD, f"{said} {self._keys.mark('policy good', said.encode())}")

    def last_good(self) -> tuple[KeptPolicy, float] | None:
        """Return the policy that was found good last, and when; None where it cannot be trusted, or is gone."""
        version, _, rest = self.get(_GOOD).partition(" ")
        at, _, mark = rest.partition(" ")
        if not mark or mark != self._keys.mark("policy good", f"{version} {at}".encode()):
            return None
        kept = self._policy(int(version))
        return (kept, float(at)) if kept is not None else None

    def _policy(self, version: int) -> KeptPolicy | None:
        with self._store.reading() as connection:
            sql = "SELECT version, digest, set_at, set_by, body, mark FROM policies WHERE version = ?"
            row = connection.execute(sql, (version,)).fetchone()
        if row is None:
            return None
        kept = KeptPolicy(*row[:5])
        sound = row[5] == self._mark(kept) and kept.digest == "sha256:" + hashlib.sha256(kept.body).hexdigest()
        return kept if sound else None

    def _mark(self, kept: KeptPolicy) -> str:
        return self._keys.mark("policy", f"{kept.version} {kept.digest} {kept.set_at!r} {kept.set_by}".encode())

    def _highest(self) -> int:
        number, _, mark = self.get(_HIGHEST).partition(" ")
        if not number:
            return 0
        if mark != self._keys.mark("policy version", number.encode()):
            raise StoreError("the number of the store's policy was changed by somebody else")
        return int(number)

    def _last_version(self) -> int:
        with self._store.reading() as connection:
            row = connection.execute("SELECT max(version) FROM policies").fetchone()
        return int(row[0] or 0)

    def seal(self, hashes: list[str], sealed_by: str, sealed_at: float) -> None:
        """Keep the hashes of new sealed codes."""
        with self._store.writing() as connection:
            connection.executemany(
                "INSERT INTO codes (hash, sealed_by, sealed_at) VALUES (?, ?, ?)", [(one, sealed_by, sealed_at) for one in hashes]
            )

    def unused_codes(self) -> list[str]:
        """Return the hashes of codes that still open."""
        with self._store.reading() as connection:
            return [str(row[0]) for row in connection.execute("SELECT hash FROM codes WHERE used_at = 0 ORDER BY hash")]

    def spend(self, hashed: str, used_by: str, used_at: float) -> bool:
        """Mark a code as used; say whether it was not before. However many ask at once, one is told yes."""
        with self._store.writing() as connection:
            sql = "UPDATE codes SET used_at = ?, used_by = ? WHERE hash = ? AND used_at = 0"
            return connection.execute(sql, (used_at, used_by, hashed)).rowcount == 1

    def leave_unsaid(self, entry: Entry) -> None:
        """Keep an entry that the ledger did not take, until it does."""
        with self._store.writing() as connection:
            connection.execute("INSERT INTO unsaid (body) VALUES (?)", (msgspec.json.encode(entry),))

    def unsaid(self) -> list[tuple[int, Entry]]:
        """Return the entries that are to be written yet."""
        with self._store.reading() as connection:
            rows = connection.execute("SELECT number, body FROM unsaid ORDER BY number").fetchall()
        return [(number, _decode_entry(body)) for number, body in rows]

    def said(self, number: int) -> None:
        with self._store.writing() as connection:
            connection.execute("DELETE FROM unsaid WHERE number = ?", (number,))
