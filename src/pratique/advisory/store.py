"""One feed's SQLite file in, its answers out. Opened read-only and immutable: no lock, no journal, no write, ever."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pratique.advisory.layout import Facts, epss_place
from pratique.advisory.scores import read, split
from pratique.advisory.tables import Tables, connect
from pratique.model.advisory import Advisory, Exploited, ExploitScore
from pratique.model.hits import Hit

# SQLite takes 32,766 parameters; lists of 500 were fastest.
_BATCH = 500

decode_hits = msgspec.msgpack.Decoder(list[Hit]).decode
decode_advisory = msgspec.msgpack.Decoder(Advisory).decode
decode_exploited = msgspec.msgpack.Decoder(Exploited).decode


class FeedFile:
    """The open file of one feed. Every method raises DatabaseError when the file turns out to be damaged."""

    def __init__(self, path: Path, feed: str) -> None:
        """Open it. Raises FileNotFoundError where it is gone: a newer one has replaced it."""
        if not path.exists():
            raise FileNotFoundError(path)
        self.feed = feed
        self.path = path
        # Connecting opens the file, so a later update cannot take it away; nothing is read before it is asked for.
        self._connection = connect(path)
        self.tables = Tables(self._connection, path)

    @property
    def facts(self) -> Facts:
        """What is said of the state that answers."""
        return self.tables.facts

    @property
    def born(self) -> int:
        """The second (Unix time) from which on something is known here."""
        return int(self.tables.meta.get("born", b"0"))

    @property
    def horizon(self) -> int:
        """The second before which the history was dropped."""
        return int(self.tables.meta.get("horizon", b"0"))

    def close(self) -> None:
        self._connection.close()

    def hits(self, ecosystem: str, names: Sequence[str]) -> Iterator[tuple[str, list[Hit]]]:
        """Yield (name, hits) for those of `names` (normalised) that the feed knows. `source` and `feed` are not yet set."""
        for marks, batch in _batches(names):
            sql = f"SELECT name, hits FROM packages WHERE ecosystem = ? AND name IN ({marks})"  # noqa: S608 - only question marks
            for name, data in self._ask(sql, (ecosystem, *batch)):
                yield name, self._decode(decode_hits, self.tables.row(data))

    def speaks_of(self, ecosystem: str) -> bool:
        """Say whether the feed has anything about `ecosystem`, its release included."""
        return next(self._ask("SELECT 1 FROM packages WHERE ecosystem = ? LIMIT 1", (ecosystem,)), None) is not None

    def details(self, ids: Sequence[str]) -> Iterator[Advisory]:
        """Yield the advisories, without `affected`, of those `ids` about which there is more to say than the id."""
        for marks, batch in _batches(ids):
            for (data,) in self._ask(f"SELECT data FROM advisories WHERE id IN ({marks})", batch):  # noqa: S608
                yield self._decode(decode_advisory, self.tables.plain(data))

    def named(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield (name, id) for each advisory that has one of `names` as an alias, or covers it."""
        for marks, batch in _batches(names):
            yield from self._ask(f"SELECT name, id FROM names WHERE name IN ({marks})", batch)  # noqa: S608

    def kev(self, cves: Sequence[str]) -> Iterator[Exploited]:
        """Yield the entries of those of `cves` that are known to be exploited."""
        for marks, batch in _batches(cves):
            for (data,) in self._ask(f"SELECT data FROM kev WHERE cve IN ({marks})", batch):  # noqa: S608
                yield self._decode(decode_exploited, data)

    def epss(self, cves: Iterable[str]) -> Iterator[ExploitScore]:
        """Yield the scores of those of `cves` that have one."""
        wanted: dict[int, list[tuple[int, str]]] = {}
        for cve in cves:
            place = epss_place(cve)
            if place is not None:
                wanted.setdefault(place[0], []).append((place[1], cve))
        date = self.score_date()
        for block, data in self._blocks(list(wanted)):
            records = split(data)
            for offset, cve in wanted[block]:
                if (record := records.get(offset)) is not None:
                    score, percentile = read(record)
                    yield ExploitScore(cve=cve, score=score, percentile=percentile, date=date)

    def score_date(self) -> str:
        """Return the date of the scores, "" where there are none."""
        return self.tables.meta.get("score_date", b"").decode()

    def _blocks(self, blocks: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for marks, batch in _batches(blocks):
            yield from self._ask(f"SELECT block, data FROM epss WHERE block IN ({marks})", batch)  # noqa: S608

    def affected(self, ids: Collection[str]) -> Iterator[tuple[str, str, Hit]]:
        """Yield (ecosystem, package, hit) of every hit of `ids`. Reads every row: for people who ask, not for scans."""
        marks = [name.encode() for name in ids]
        for ecosystem, package, data in self._ask("SELECT ecosystem, name, hits FROM packages ORDER BY ecosystem, name", ()):
            row = self.tables.row(data)
            if any(mark in row for mark in marks):
                yield from ((ecosystem, package, hit) for hit in self._decode(decode_hits, row) if hit.id in ids)

    def packages(self, text: str) -> Iterator[tuple[str, str, int]]:
        """Yield (ecosystem, package, number of advisories) of packages with `text` (lower case) in their names: slow."""
        sql = "SELECT ecosystem, name, hits FROM packages WHERE instr(lower(name), ?) ORDER BY ecosystem, name"
        for ecosystem, name, data in self._ask(sql, (text,)):
            yield ecosystem, name, len(self._decode(decode_hits, self.tables.row(data)))

    def advisories(self) -> Iterator[Advisory]:
        """Yield every advisory about which there is more to say than the id, without `affected`, by id."""
        for (data,) in self._ask("SELECT data FROM advisories ORDER BY id", ()):
            yield self._decode(decode_advisory, self.tables.plain(data))

    def every(self, only: str = "") -> Iterator[tuple[str, str, list[Hit]]]:
        """Yield (ecosystem, package, hits) of all there is, or of one ecosystem."""
        sql = "SELECT ecosystem, name, hits FROM packages WHERE ?1 = '' OR ecosystem = ?1 ORDER BY ecosystem, name"
        for ecosystem, name, data in self._ask(sql, (only,)):
            yield ecosystem, name, self._decode(decode_hits, self.tables.row(data))

    def owners(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield (ecosystem, package, ids of its advisories) of all there is."""
        for ecosystem, name, data in self._ask("SELECT ecosystem, name, hits FROM packages", ()):
            yield ecosystem, name, self.tables.ids(data)

    def names(self) -> set[tuple[str, str]]:
        """Return every (name, id) that `named` answers with."""
        return set(self._ask("SELECT name, id FROM names", ()))

    def exploited(self) -> list[str]:
        """Return every CVE that `kev` knows."""
        return [cve for (cve,) in self._ask("SELECT cve FROM kev", ())]

    def scored(self) -> Iterator[tuple[int, bytes]]:
        """Yield every block of scores."""
        yield from self._blocks([block for (block,) in self._ask("SELECT block FROM epss", ())])

    def block(self, block: int) -> bytes:
        """Return one block of scores; b"" where there is none."""
        return next((data for _, data in self._blocks([block])), b"")

    def check(self) -> str:
        """Return what SQLite's own integrity check complains of; "" when nothing."""
        row = next(self._ask("PRAGMA integrity_check(1)", ()), ("no answer",))
        return "" if row[0] == "ok" else str(row[0])

    def _ask(self, sql: str, values: Sequence[str | int]) -> Iterator[tuple[Any, ...]]:
        return self.tables.ask(sql, *values)

    def _decode(self, decode: Callable[[bytes], Any], data: bytes) -> Any:
        return self.tables.decode(decode, data)


def _batches(values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    for at in range(0, len(values), _BATCH):
        batch = values[at : at + _BATCH]
        yield ",".join("?" * len(batch)), batch
