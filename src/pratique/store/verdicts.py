"""Digests of images in, the verdicts on record out: what a gate looks up before it has anything scanned.

verdicts.sqlite lies beside the grants of a store. A verdict is kept by the digest that was judged (the manifest's, or the id of
an engine's image) and the digest of the rules that judged it, so that ci and a cluster, which decide by different rules, do not
overwrite each other. Another digest of the very same image (its configuration's) points to it. That of an index never does: an
index is several images, of which somebody may have had one judged; it has a verdict of its own, on all of them. Every row carries
a mark made with the store's secret: what somebody else wrote into the file is not believed, and is as unknown as if it were not
there.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection

import msgspec

from pratique.model.errors import StoreError
from pratique.model.report import Decision, Reason
from pratique.store.database import opened, telling, writing
from pratique.store.keys import Keys
from pratique.store.place import Place

FILE = "verdicts.sqlite"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MAX_NAMES = 200  # digests of one image that are looked up: an engine knows one a registry that it came from
MAX_REASONS = 50  # kept of one verdict: a person reads a handful, and the report has all
MAX_TEXT = 500  # characters of one reason
_PATIENCE = 5.0  # seconds to wait for another writer
_READ_PATIENCE = 0.2  # seconds that a gate waits for a lock; it has 500 ms in all
_STEPS = (
    """
    CREATE TABLE verdicts (
        digest TEXT NOT NULL, rules TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL, mark TEXT NOT NULL,
        PRIMARY KEY (digest, rules)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE names (
        name TEXT NOT NULL, digest TEXT NOT NULL, mark TEXT NOT NULL, PRIMARY KEY (name, digest)
    ) STRICT, WITHOUT ROWID;
    """,
)


class KeptVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was decided on one image, or on all of an index. Times are seconds since the epoch, digests `sha256:...`.

    `names` are other digests of the very same image, never of what leads to it and to others; `index` marks what does.
    `rules` is the digest of all that it was judged by (policies, waivers, context), `policy` what people call that. `database`
    and `database_at` say which advisories were asked. `until` is when something that it rests on ends, such as a waiver; 0 is
    never. `report` names the whole report, where that was kept. `complete` is false where parts could not be examined.
    """

    digest: str
    names: tuple[str, ...] = ()
    reference: str = ""
    platform: str = ""
    decision: Decision
    reasons: tuple[Reason, ...] = ()
    rules: str
    policy: str = ""
    database: str = ""
    database_at: float = 0.0
    complete: bool = True
    index: bool = False
    at: float
    until: float = 0.0
    report: str = ""
    by: str = ""


_decode = msgspec.json.Decoder(KeptVerdict).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def bounded(verdict: KeptVerdict) -> KeptVerdict:
    """Return a verdict as it is kept: a hostile image cannot make it large. Raises StoreError where it has no digest."""
    if not DIGEST.fullmatch(verdict.digest):
        raise StoreError(f"{verdict.reference or 'this target'} has no digest: its verdict cannot be kept")
    names = tuple(sorted({name for name in verdict.names if DIGEST.fullmatch(name)} - {verdict.digest}))[:MAX_NAMES]
    reasons = tuple(Reason(reason.rule[:MAX_TEXT], reason.message[:MAX_TEXT]) for reason in verdict.reasons[:MAX_REASONS])
    return msgspec.structs.replace(
        verdict, names=names, reasons=reasons, reference=verdict.reference[:MAX_TEXT], report=verdict.report[:MAX_TEXT]
    )


class Verdicts:
    """The verdicts of one store. May be shared by threads."""

    def __init__(self, place: Place, keys: Keys | None = None, *, gate: bool = False) -> None:
        """With `gate` a lock is waited for as long as a gate can. Raises StoreError."""
        self._path = place.folder / FILE
        self._keys = keys or Keys(place)
        self._lock = threading.RLock()
        self._connection = opened(self._path, _STEPS, patience=_READ_PATIENCE if gate else _PATIENCE)

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        self._connection.close()

    def find(self, digests: Collection[str]) -> list[KeptVerdict]:
        """Return what was decided on an image known by any of these digests, the youngest first."""
        wanted = [digest for digest in dict.fromkeys(digests) if DIGEST.fullmatch(digest)]
        with self._lock, telling(self._path):
            found: dict[tuple[str, str], KeptVerdict] = {}
            for digest in wanted[:MAX_NAMES]:
                for judged in (digest, *self._pointed(digest)):
                    for rules, body, mark in self._connection.execute(
                        "SELECT rules, body, mark FROM verdicts WHERE digest = ?", (judged,)
                    ):
                        verdict = self._read(judged, rules, body, mark)
                        if verdict is not None:
                            found[judged, rules] = verdict
        return sorted(found.values(), key=lambda one: (-one.at, one.digest, one.rules))

    def put(self, verdict: KeptVerdict, before: Callable[[KeptVerdict | None], None]) -> KeptVerdict:
        """Keep a verdict; `before` is told which one it replaces, and nothing is kept where it raises. Raises StoreError.

        An older verdict does not replace a younger one: two scans may end in another order than they began.
        """
        verdict = bounded(verdict)
        with self._lock, writing(self._connection, self._path):
            row = self._connection.execute(
                "SELECT body, mark FROM verdicts WHERE digest = ? AND rules = ?", (verdict.digest, verdict.rules)
            ).fetchone()
            was = self._read(verdict.digest, verdict.rules, *row) if row is not None else None
            if was is not None and was.at > verdict.at:
                return was
            before(was)
            body = _encode(verdict)
            self._connection.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?)",
                (verdict.digest, verdict.rules, verdict.at, body, self._mark(verdict.digest, verdict.rules, body)),
            )
            rows = [(name, verdict.digest, self._mark(name, verdict.digest, b"")) for name in verdict.names]
            self._connection.executemany("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", rows)
        return verdict

    def forget(self, before: float) -> int:
        """Delete what was decided before a time (seconds since the epoch), and names that point nowhere; return how many."""
        with self._lock, writing(self._connection, self._path):
            gone = self._connection.execute("DELETE FROM verdicts WHERE at < ?", (before,)).rowcount
            self._connection.execute("DELETE FROM names WHERE digest NOT IN (SELECT digest FROM verdicts)")
        return gone

    def _pointed(self, name: str) -> list[str]:
        rows = self._connection.execute("SELECT digest, mark FROM names WHERE name = ?", (name,)).fetchall()
        return [digest for digest, mark in rows if mark == self._mark(name, digest, b"")]

    def _read(self, digest: str, rules: str, body: bytes, mark: str) -> KeptVerdict | None:
        """Return a row, None where this store did not write it so."""
        if mark != self._mark(digest, rules, body):
            return None
        try:
            verdict = _decode(body)
        except msgspec.DecodeError:  # of a version to come
            return None
        return verdict if (verdict.digest, verdict.rules) == (digest, rules) else None

    def _mark(self, first: str, second: str, content: bytes) -> str:
        return self._keys.mark("verdict", b"\0".join((first.encode(), second.encode(), content)))
