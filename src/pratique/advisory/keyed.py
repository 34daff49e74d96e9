"""Two states of one feed in, the keys under which they differ out. Where one grew out of the other, its history names them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pratique.advisory.history import PastFile
from pratique.advisory.layout import Facts
from pratique.advisory.scores import split
from pratique.advisory.store import FeedFile
from pratique.advisory.values import Changes

_encode = msgspec.msgpack.Encoder().encode
_facts = msgspec.msgpack.Decoder(Facts).decode
_END = 1 << 62  # later than every second


class Keys(msgspec.Struct):
    """Where two states differ: hits by (ecosystem, package, advisory), advisories, (name, advisory), CVEs of KEV and of EPSS.

    `dated` says that the date of the scores differs, which every score tells.
    """

    hits: set[tuple[str, str, str]] = msgspec.field(default_factory=set)
    advisories: set[str] = msgspec.field(default_factory=set)
    names: set[tuple[str, str]] = msgspec.field(default_factory=set)
    kev: set[str] = msgspec.field(default_factory=set)
    scores: set[str] = msgspec.field(default_factory=set)
    dated: bool = False

    def __bool__(self) -> bool:
        return bool(self.hits or self.advisories or self.names or self.kev or self.scores or self.dated)


def differing(before: FeedFile | None, after: FeedFile | None, *, scores: bool = True) -> Keys:
    """Return the keys under which two states of a feed differ, in values that look-ups give. None: the feed is not there.

    Without `scores` these, which are many, are not looked at.
    """
    if before is not None and after is not None:
        if before.facts.state == after.facts.state:
            return Keys()
        span = _lineage(before, after)
        if span is not None:
            keys = _narrowed(before, after, *span)
            if scores:
                _narrowed_scores(keys, before, after, *span)
            return keys
    keys = _compared(before, after)
    if scores:
        _compared_scores(keys, before, after)
    return keys


def _lineage(before: FeedFile, after: FeedFile) -> tuple[FeedFile, int, int] | None:
    """Return the file whose history covers both states, and the seconds between which it does; None where there is none."""
    for file, other in ((after, before), (before, after)):
        low, high = sorted((_second(before, file), _second(after, file)))
        begin = other.facts.changed if file.path != other.path else low
        if begin < file.born or begin < file.horizon or low >= high:
            continue
        if file.path == other.path:
            return file, low, high
        if _state_at(file, begin) == other.facts.state:
            return file, begin, _second(file, file)
    return None


def _state_at(file: FeedFile, second: int) -> str:
    facts = file.tables.facts
    for undo in file.tables.past(second):
        if "facts" in undo.meta:
            facts = file.tables.decode(_facts, undo.meta["facts"])
    return facts.state


def _second(file: FeedFile, within: FeedFile) -> int:
    """Return the second up to which a file answers; for another file that of its last change."""
    if isinstance(file, PastFile):
        return file.as_of
    return _END if file.path == within.path else file.facts.changed


def _narrowed(before: FeedFile, after: FeedFile, file: FeedFile, low: int, high: int) -> Keys:
    """Look at what the history names, and keep what is really another: it may have changed back."""
    named = Changes()
    for changes in file.tables.past(low):
        if changes.at <= high:
            named.cover(changes)
    keys = Keys()
    for ecosystem, packages in named.hits.items():
        old, new = (_hits(one, ecosystem, list(packages)) for one in (before, after))
        for package, by_id in packages.items():
            for identifier in by_id:
                key = (package, identifier)
                if old.get(key) != new.get(key):
                    keys.hits.add((ecosystem, package, identifier))
    ids = list(named.advisories)
    one_, other_ = ({one.id: one for one in file_.details(ids)} for file_ in (before, after))
    keys.advisories = {identifier for identifier in ids if one_.get(identifier) != other_.get(identifier)}
    names = list(named.names)
    keys.names = set(before.named(names)) ^ set(after.named(names))
    cves = list(named.kev)
    old_kev, new_kev = ({one.cve: one for one in file_.kev(cves)} for file_ in (before, after))
    keys.kev = {cve for cve in cves if old_kev.get(cve) != new_kev.get(cve)}
    return keys


def _narrowed_scores(keys: Keys, before: FeedFile, after: FeedFile, file: FeedFile, low: int, high: int) -> None:
    for block in {block for until, moves in file.tables.moves(low) if until <= high for block in moves}:
        keys.scores.update(_moved(block, before.block(block), after.block(block)))
    keys.dated = before.score_date() != after.score_date()


def _hits(file: FeedFile, ecosystem: str, packages: list[str]) -> dict[tuple[str, str], list[bytes]]:
    found: dict[tuple[str, str], list[bytes]] = {}
    for package, hits in file.hits(ecosystem, packages):
        for hit in hits:
            found.setdefault((package, hit.id), []).append(_encode(hit))
    return found


def _compared(before: FeedFile | None, after: FeedFile | None) -> Keys:
    keys = Keys()
    for field, contents in (("hits", _all_hits), ("advisories", _all_advisories), ("kev", _all_exploited)):
        old, new = (dict(contents(file)) if file is not None else {} for file in (before, after))
        getattr(keys, field).update(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    keys.names = (before.names() if before is not None else set()) ^ (after.names() if after is not None else set())
    return keys


def _compared_scores(keys: Keys, before: FeedFile | None, after: FeedFile | None) -> None:
    blocks = (dict(file.scored()) if file is not None else {} for file in (before, after))
    old_blocks, new_blocks = blocks
    for block in old_blocks.keys() | new_blocks.keys():
        keys.scores.update(_moved(block, old_blocks.get(block, b""), new_blocks.get(block, b"")))
    keys.dated = (before.score_date() if before is not None else "") != (after.score_date() if after is not None else "")


def _all_hits(file: FeedFile) -> Iterator[tuple[tuple[str, str, str], object]]:
    for ecosystem, package, hits in file.every():
        by_id: dict[str, list[bytes]] = {}
        for hit in hits:
            by_id.setdefault(hit.id, []).append(_encode(hit))
        yield from (((ecosystem, package, identifier), own) for identifier, own in by_id.items())


def _all_advisories(file: FeedFile) -> Iterator[tuple[str, object]]:
    yield from ((one.id, one) for one in file.advisories())


def _all_exploited(file: FeedFile) -> Iterator[tuple[str, object]]:
    yield from ((one.cve, one) for one in file.kev(file.exploited()))


def scored_in(block: int, data: bytes) -> Iterator[str]:
    """Yield the CVEs that have a score in a block."""
    return _moved(block, b"", data)


def _moved(block: int, old: bytes, new: bytes) -> Iterator[str]:
    """Yield the CVEs of a block whose score or percentile differs."""
    before, after = split(old), split(new)
    for offset in before.keys() | after.keys():
        if before.get(offset) != after.get(offset):
            yield f"CVE-{block >> 24}-{(block & 0xFFFFFF) << 10 | offset:04}"
