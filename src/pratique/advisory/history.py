"""One feed's SQLite file and a moment in, the answers of that moment out: what is there, with what came later undone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from pratique.advisory.layout import Facts
from pratique.advisory.store import FeedFile, decode_advisory, decode_exploited, decode_hits
from pratique.advisory.tables import array
from pratique.advisory.values import Changes
from pratique.model.advisory import Advisory, Exploited
from pratique.model.hits import Hit

_encode = msgspec.msgpack.Encoder().encode
_facts = msgspec.msgpack.Decoder(Facts).decode


class PastFile(FeedFile):
    """A feed as it was known at the end of a second. What was undone since is read at the first question, once.

    Right from `born` on, and not before `horizon`: whoever opens it looks.
    """

    def __init__(self, path: Path, feed: str, as_of: int) -> None:
        super().__init__(path, feed)
        self.as_of = as_of

    @cached_property
    def _undone(self) -> Changes:
        """The values of that moment, of whatever changed since."""
        values = Changes()
        for older in self.tables.past(self.as_of):
            values.cover(older)
        return values

    @cached_property
    def facts(self) -> Facts:
        data = self._undone.meta.get("facts")
        if data is None:
            return self.tables.facts
        facts: Facts = self._decode(_facts, data)
        return facts

    def hits(self, ecosystem: str, names: Sequence[str]) -> Iterator[tuple[str, list[Hit]]]:
        undone = self._undone.hits.get(ecosystem)
        if undone is None:
            yield from super().hits(ecosystem, names)
            return
        left = dict.fromkeys(names)
        for name, now in super().hits(ecosystem, names):
            left.pop(name, None)
            if then := self._then(now, undone.get(name)):
                yield name, then
        for name in left:
            if then := self._then([], undone.get(name)):
                yield name, then

    def _then(self, now: list[Hit], undone: Mapping[str, list[bytes]] | None) -> list[Hit]:
        if undone is None:
            return now
        kept = [hit for hit in now if hit.id not in undone]
        for hits in undone.values():
            kept += self._decode(decode_hits, array(hits))
        return sorted(kept, key=_encode)  # the order in which they lay

    def speaks_of(self, ecosystem: str) -> bool:
        undone = self._undone.hits.get(ecosystem)
        if undone is None:
            return super().speaks_of(ecosystem)
        return next(self.every(ecosystem), None) is not None

    def details(self, ids: Sequence[str]) -> Iterator[Advisory]:
        undone = self._undone.advisories
        yield from super().details([name for name in ids if name not in undone])
        for name in ids:
            if data := undone.get(name):
                yield self._decode(decode_advisory, data)

    def named(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        undone = self._undone.names
        for name, identifier in super().named(names):
            if undone.get(name, {}).get(identifier, True):
                yield name, identifier
        for name in names:
            there = {identifier for _, identifier in super().named([name])} if name in undone else set()
            yield from ((name, key) for key, held in undone.get(name, {}).items() if held and key not in there)

    def kev(self, cves: Sequence[str]) -> Iterator[Exploited]:
        undone = self._undone.kev
        yield from super().kev([cve for cve in cves if cve not in undone])
        for cve in cves:
            if data := undone.get(cve):
                yield self._decode(decode_exploited, data)

    def score_date(self) -> str:
        date = self._undone.meta.get("score_date")
        return super().score_date() if date is None else date.decode()

    def _blocks(self, blocks: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        wanted, then = set(blocks), dict(super()._blocks(blocks))
        for _, moves in self.tables.moves(self.as_of):
            for block in wanted.intersection(moves):
                then[block] = self.tables.led(moves, block, then.get(block, b""))
        yield from ((block, data) for block, data in then.items() if data)

    def affected(self, ids: Collection[str]) -> Iterator[tuple[str, str, Hit]]:
        for ecosystem, package, hits in self.every():
            yield from ((ecosystem, package, hit) for hit in hits if hit.id in ids)

    def packages(self, text: str) -> Iterator[tuple[str, str, int]]:
        for ecosystem, package, hits in self.every():
            if text in package.lower():
                yield ecosystem, package, len(hits)

    def every(self, only: str = "") -> Iterator[tuple[str, str, list[Hit]]]:
        left = {(place, name) for place, names in self._undone.hits.items() for name in names if only in {"", place}}
        for ecosystem, name, now in super().every(only):
            left.discard((ecosystem, name))
            if then := self._then(now, self._undone.hits.get(ecosystem, {}).get(name)):
                yield ecosystem, name, then
        for ecosystem, name in sorted(left):
            if then := self._then([], self._undone.hits[ecosystem][name]):
                yield ecosystem, name, then

    def advisories(self) -> Iterator[Advisory]:
        undone = self._undone.advisories
        for identifier, data in self.tables.advisories():
            if identifier not in undone:
                yield self._decode(decode_advisory, data)
        yield from (self._decode(decode_advisory, data) for data in undone.values() if data)

    def owners(self) -> Iterator[tuple[str, str, list[str]]]:
        for ecosystem, package, hits in self.every():
            yield ecosystem, package, [hit.id for hit in hits]

    def names(self) -> set[tuple[str, str]]:
        found = super().names()
        for name, ids in self._undone.names.items():
            for identifier, held in ids.items():
                (found.add if held else found.discard)((name, identifier))
        return found

    def exploited(self) -> list[str]:
        undone = self._undone.kev
        return [cve for cve in super().exploited() if cve not in undone] + [cve for cve, data in undone.items() if data]

    def scored(self) -> Iterator[tuple[int, bytes]]:
        blocks = {block for (block,) in self.tables.ask("SELECT block FROM epss")}
        blocks |= {block for _, moves in self.tables.moves(self.as_of) for block in moves}
        yield from self._blocks(sorted(blocks))
