"""A private copy of a feed's file and changes in, the changed file out, with what undoes them in its history."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pratique.advisory import scores
from pratique.advisory.collect import grouped
from pratique.advisory.digest import SetDigest
from pratique.advisory.layout import CLOCK_SKEW_SECONDS, COMPRESS_MEMBER_FROM, KEEP_SCORES_SECONDS, KEEP_SECONDS, Facts
from pratique.advisory.tables import Squeeze, Tables, array
from pratique.advisory.values import Changes

# Rows that grow split pages that were full; once a file is this much larger than when it was last packed, it is packed again,
# so that its size follows its content and the cost of packing is shared by the updates that made it necessary.
_SLACK = 1.04
_SLACK_PAGES = 4
_encode = msgspec.msgpack.Encoder().encode


class Writer:
    """Changes one file, which nobody else may have open, in one transaction. A context manager; an error keeps nothing.

    Nothing is flushed here: the file counts once it is given its name (`index.adopt`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -65536"
        )
        self._connection.execute("BEGIN")
        self.tables = Tables(self._connection, path)
        self._squeeze = Squeeze(self.tables.dictionary)
        self._digest = SetDigest(self.tables.meta["sum"])
        self._facts = self.tables.facts
        self._born = int(self.tables.meta["born"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._put("sum", self._digest.content())
                self._connection.execute("COMMIT")
                self._pack()
        finally:
            self._connection.close()

    @property
    def facts(self) -> Facts:
        """What is said of the state that was reached."""
        return self._facts

    def apply(self, changes: Changes, counted: Facts) -> Changes:
        """Make the changes, learnt at `changes.at`; return what undoes them, which is in the history, too.

        `counted` are the counts afterwards. A time before that of the last change is taken for that of the last change: a clock
        that was set back does not make knowledge older. Raises ValueError where changes do not fit.
        """
        if self._facts.changed > changes.at + CLOCK_SKEW_SECONDS:
            self._date_back(changes.at)
        at = max(changes.at, self._facts.changed)
        undo = Changes(at)
        self._hits(changes, undo)
        self._advisories(changes, undo)
        self._names(changes, undo)
        self._kev(changes, undo)
        moved = self._scores(changes, at)
        date = changes.meta.get("score_date")
        old = self.tables.meta.get("score_date", b"")
        if date is not None and date != old:
            undo.meta["score_date"] = old
            self._swap(("meta", "score_date", old) if old else None, ("meta", "score_date", date) if date else None)
            self._put("score_date", date)
        facts = msgspec.structs.replace(counted, state=self._digest.hex(), changed=at if undo or moved else self._facts.changed)
        if facts != self._facts:
            undo.meta["facts"] = _encode(self._facts)
            self._put("facts", _encode(facts))
            self._facts = facts
        self._remember(undo, at)
        return undo

    def members(self, rows: Iterable[tuple[str, int, bytes]], gone: Iterable[str], *, known: bool) -> None:
        """Keep the marks of records that were read, and forget those that are gone; all, where they are not `known` any more."""
        if not known:
            self._connection.execute("DELETE FROM members")
        self._connection.executemany("DELETE FROM members WHERE name = ?", ((name,) for name in gone))
        stored = ((name, mark, self._squeeze.row(data, COMPRESS_MEMBER_FROM)) for name, mark, data in rows)
        self._connection.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", stored)
        if (told := b"1" if known else b"0") != self.tables.meta.get("members"):
            self._put("members", told)

    def forget(self, at: int, keep: int = KEEP_SECONDS) -> int:
        """Drop the history of more than `keep` seconds before `at`, of scores that of a month; return how many rows went."""
        found = 0
        horizon = int(self.tables.meta.get("horizon", b"0"))
        for table, before in (("history", at - keep), ("scores", at - min(keep, KEEP_SCORES_SECONDS))):
            last = self.tables.one(f"SELECT max(until) FROM {table} WHERE until <= ?", before)  # noqa: S608 - of two names
            if last is not None:
                # What was undone at that second is gone, so from that second on all is right, and before it nothing is.
                horizon = max(horizon, last)
                found += self._connection.execute(f"DELETE FROM {table} WHERE until <= ?", (before,)).rowcount  # noqa: S608
        if found:
            self._put("horizon", str(horizon).encode())
        return found

    def _date_back(self, at: int) -> None:
        """Take what a clock that was ahead has dated for learnt at `at`: sometime before, nobody knows when.

        Else all that is learnt until that clock's time comes would be dated then, and be unknown as of any day before.
        """
        told = Changes(at)
        for earlier in self.tables.past(at):
            told.cover(earlier)
        blocks: dict[int, tuple[bytes, bytes]] = {}
        for _, moves in self.tables.moves(at):
            for block in moves:
                now, then = blocks.get(block) or (self.tables.block(block),) * 2
                blocks[block] = now, self.tables.led(moves, block, then)
        for table in ("history", "scores"):
            self._connection.execute(f"DELETE FROM {table} WHERE until > ?", (at,))  # noqa: S608 - of two names
        if self._born > at:
            self._born = at
            self._put("born", str(at).encode())
        else:
            self._remember(told, at)
            if blocks:
                self._remember_moves(blocks, at)
        if int(self.tables.meta.get("horizon", b"0")) > at:
            self._put("horizon", str(at).encode())
        self._facts = msgspec.structs.replace(self._facts, changed=at)

    def _hits(self, changes: Changes, undo: Changes) -> None:
        for ecosystem, packages in changes.hits.items():
            for package, wanted in packages.items():
                before = self.tables.hits(ecosystem, package)
                old = grouped(before)
                differing = [name for name, hits in wanted.items() if old.get(name, []) != sorted(hits)]
                if not differing:
                    continue
                for name in differing:
                    undo.put(ecosystem, package, name, old.get(name, []))
                kept = [hit for name, hit in before if name not in wanted]
                after = sorted([*kept, *(hit for hits in wanted.values() for hit in hits)])
                self._row(ecosystem, package, [hit for _, hit in before], after)

    def _row(self, ecosystem: str, package: str, before: list[bytes], after: list[bytes]) -> None:
        old, new = array(before), array(after)
        self._swap(
            ("packages", ecosystem, package, old) if before else None, ("packages", ecosystem, package, new) if after else None
        )
        if after:
            row = (ecosystem, package, self._squeeze.row(new))
            self._connection.execute("INSERT OR REPLACE INTO packages VALUES (?, ?, ?)", row)
        else:
            self._connection.execute("DELETE FROM packages WHERE ecosystem = ? AND name = ?", (ecosystem, package))

    def _advisories(self, changes: Changes, undo: Changes) -> None:
        for identifier, new in changes.advisories.items():
            old = self.tables.advisory(identifier)
            if old == new:
                continue
            undo.advisories[identifier] = old
            self._swap(("advisories", identifier, old) if old else None, ("advisories", identifier, new) if new else None)
            if new:
                row = (identifier, self._squeeze.plain(new))
                self._connection.execute("INSERT OR REPLACE INTO advisories VALUES (?, ?)", row)
            else:
                self._connection.execute("DELETE FROM advisories WHERE id = ?", (identifier,))

    def _names(self, changes: Changes, undo: Changes) -> None:
        for name, ids in changes.names.items():
            for identifier, wanted in ids.items():
                there = self.tables.one("SELECT 1 FROM names WHERE name = ? AND id = ?", name, identifier) is not None
                if there == wanted:
                    continue
                undo.names.setdefault(name, {})[identifier] = there
                row = ("names", name, identifier)
                self._swap(row if there else None, row if wanted else None)
                sql = "INSERT INTO names VALUES (?, ?)" if wanted else "DELETE FROM names WHERE name = ? AND id = ?"
                self._connection.execute(sql, (name, identifier))

    def _kev(self, changes: Changes, undo: Changes) -> None:
        for cve, new in changes.kev.items():
            old = self.tables.one("SELECT data FROM kev WHERE cve = ?", cve) or b""
            if old == new:
                continue
            undo.kev[cve] = old
            self._swap(("kev", cve, old) if old else None, ("kev", cve, new) if new else None)
            if new:
                self._connection.execute("INSERT OR REPLACE INTO kev VALUES (?, ?)", (cve, new))
            else:
                self._connection.execute("DELETE FROM kev WHERE cve = ?", (cve,))

    def _scores(self, changes: Changes, at: int) -> bool:
        back: dict[int, tuple[bytes, bytes]] = {}
        moves = scores.Moves(changes.scores)
        for block in moves:
            old = self.tables.block(block)
            new = moves.lead(block, old)
            if new == old:
                continue
            self._swap(("epss", block, old) if old else None, ("epss", block, new) if new else None)
            if new:
                self._connection.execute("INSERT OR REPLACE INTO epss VALUES (?, ?)", (block, new))
            else:
                self._connection.execute("DELETE FROM epss WHERE block = ?", (block,))
            back[block] = new, old
        if back and at > self._born:
            self._remember_moves(back, at)
        return bool(back)

    def _remember_moves(self, back: dict[int, tuple[bytes, bytes]], at: int) -> None:
        for _, earlier in self.tables.moves(at - 1):  # a second update in one second: what was before both of them counts
            for block in earlier:
                new, middle = back.get(block) or (self.tables.block(block),) * 2
                back[block] = new, self.tables.led(earlier, block, middle)
        row = (at, self._squeeze.row(_encode(scores.moves(back)), 0))
        self._connection.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", row)

    def _remember(self, undo: Changes, at: int) -> None:
        """Before it was built nothing was known of the feed, so what is undone in that same second need not be told."""
        if not undo or at <= self._born:
            return
        told = Changes(at)
        told.cover(undo)
        for earlier in self.tables.past(at - 1):  # only one can be there, of the same second
            told.cover(earlier)
        row = (at, self._squeeze.plain(_encode(told)))
        self._connection.execute("INSERT OR REPLACE INTO history VALUES (?, ?)", row)

    def _swap(self, old: tuple[str | int | bytes, ...] | None, new: tuple[str | int | bytes, ...] | None) -> None:
        if old is not None:
            self._digest.remove(old)
        if new is not None:
            self._digest.add(new)

    def _put(self, key: str, value: bytes) -> None:
        self.tables.meta[key] = value
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _pack(self) -> None:
        """Write the pages anew where the file has become loose."""
        pages, free = self.tables.one("PRAGMA page_count"), self.tables.one("PRAGMA freelist_count")
        packed_pages = int(self.tables.meta.get("packed", b"0"))
        if pages <= packed_pages * _SLACK + _SLACK_PAGES and free <= packed_pages * (_SLACK - 1) + _SLACK_PAGES:
            return
        beside = self._path.with_name(f"{self._path.name}.packed")
        beside.unlink(missing_ok=True)
        try:
            self._connection.execute("VACUUM INTO ?", (str(beside),))
            packed = sqlite3.connect(beside, isolation_level=None)
            packed.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            pages = packed.execute("PRAGMA page_count").fetchone()[0]
            packed.execute("INSERT OR REPLACE INTO meta VALUES ('packed', ?)", (str(pages).encode(),))
            packed.close()
            beside.replace(self._path)
        finally:
            beside.unlink(missing_ok=True)
