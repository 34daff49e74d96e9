"""What an update changes in a feed's file, as data: new values by key. The same shape leads forward, and back in the history."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_encode = msgspec.msgpack.Encoder().encode

# (ecosystem -> package -> id of the advisory) -> its hits, each in msgpack; none where it says nothing of the package any more
Hits = dict[str, dict[str, dict[str, list[bytes]]]]


class Changes(msgspec.Struct, array_like=True):
    """The values that rows have afterwards, by key; those that do not change are not named. `at` is the second of the update.

    advisories  id -> msgpack, b"" where it is gone
    names       name -> id -> whether the advisory goes by that name
    kev         CVE -> msgpack, b"" where it is gone
    scores      what `scores.moves` says of the blocks that change (in the history these are rows of their own)
    meta        key -> value: the date of the scores and `layout.Facts`
    """

    at: int = 0
    hits: Hits = {}
    advisories: dict[str, bytes] = {}
    names: dict[str, dict[str, bool]] = {}
    kev: dict[str, bytes] = {}
    scores: dict[int, bytes] = {}
    meta: dict[str, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self.hits or self.advisories or self.names or self.kev or self.scores or self.meta)

    def put(self, ecosystem: str, package: str, identifier: str, hits: Iterable[bytes]) -> None:
        """Set what an advisory says of a package."""
        self.hits.setdefault(ecosystem, {}).setdefault(package, {})[identifier] = list(hits)

    def cover(self, older: Changes) -> None:
        """Let the values of `older` take the place of these: undoing goes from the newest update back. Scores are left alone."""
        for ecosystem, packages in older.hits.items():
            mine = self.hits.setdefault(ecosystem, {})
            for package, by_id in packages.items():
                mine.setdefault(package, {}).update(by_id)
        self.advisories.update(older.advisories)
        for name, ids in older.names.items():
            self.names.setdefault(name, {}).update(ids)
        self.kev.update(older.kev)
        self.meta.update(older.meta)

    def within(self, other: Changes) -> Changes:
        """Return the values of `other` for the keys named here, where it has one; scores are left alone."""
        found = Changes()
        for ecosystem, packages in self.hits.items():
            for package, by_id in packages.items():
                known = other.hits.get(ecosystem, {}).get(package, {})
                for identifier in by_id.keys() & known.keys():
                    found.put(ecosystem, package, identifier, known[identifier])
        found.advisories = {key: other.advisories[key] for key in self.advisories.keys() & other.advisories.keys()}
        for name, ids in self.names.items():
            if both := ids.keys() & other.names.get(name, {}).keys():
                found.names[name] = {key: other.names[name][key] for key in both}
        found.kev = {key: other.kev[key] for key in self.kev.keys() & other.kev.keys()}
        found.meta = {key: other.meta[key] for key in self.meta.keys() & other.meta.keys()}
        return found
