"""The facts shipped with the package in, answers of the same shape as the database's out, for whoever has fetched nothing yet.

`facts.json` is made by `tools/starter.py` out of a mirror: ids, packages, ranges, vectors and dates; the titles are ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from pratique.advisory.keys import Keys
from pratique.advisory.starter import lifecycles
from pratique.model.advisory import Advisory, Exploited, VersionRange
from pratique.model.ecosystems import LIFE_CYCLES
from pratique.model.hits import Hit
from pratique.model.report import DatabaseSource

FEED = "starter"


class Fact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one source says of one package: `id` names the vulnerability, `origin` is an index into `Facts.origins`."""

    id: str
    origin: int
    ranges: tuple[VersionRange, ...] = ()
    versions: tuple[str, ...] = ()


class Known(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One vulnerability. `cvss` are vectors; `kev` the date on which CISA listed it."""

    id: str
    title: str
    aliases: tuple[str, ...] = ()
    cvss: tuple[str, ...] = ()
    severity: str = ""
    cwes: tuple[str, ...] = ()
    published: str = ""
    kev: str = ""
    kind: Literal["vulnerability", "malware"] = "vulnerability"


class Origin(msgspec.Struct, frozen=True):
    """Where facts were taken from: the feed or its publisher, the provider that read it, and the licence of its records."""

    publisher: str
    source: str
    licence: str


class Facts(msgspec.Struct, frozen=True):
    """The whole set; `facts` of an ecosystem (package -> Fact) are decoded when that ecosystem is asked for."""

    built_at: str
    origins: tuple[Origin, ...]
    known: tuple[Known, ...]
    facts: dict[str, msgspec.Raw]


_packages = msgspec.json.Decoder(dict[str, list[Fact]]).decode


class Starter:
    """The starter set; answers as `Database` does."""

    def __init__(self, content: bytes) -> None:
        facts = msgspec.json.decode(content, type=Facts)
        self.built_at = facts.built_at
        self.digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self._origins = facts.origins
        self._known = {known.id: known for known in facts.known}
        self._facts = facts.facts

    @classmethod
    def load(cls) -> Starter:
        """Read the shipped file."""
        return cls(Path(__file__).with_name("facts.json").read_bytes())

    @classmethod
    def nothing(cls) -> Starter:
        """Return a set that knows nothing."""
        return cls(msgspec.json.encode(Facts("", (), (), {})))

    def __len__(self) -> int:
        return len(self._known)

    @property
    def ecosystems(self) -> frozenset[str]:
        """Ecosystems, with their releases, of which something is known."""
        return frozenset(self._facts)

    def packages(self, ecosystem: str) -> Iterator[str]:
        """Yield the packages of `ecosystem` of which something is known."""
        yield from _packages(self._facts[ecosystem]) if ecosystem in self._facts else ()

    def has(self, ecosystem: str) -> bool:
        """Say whether any fact is about `ecosystem`."""
        return ecosystem in self._facts

    def lookup(self, ecosystem: str, names: Iterable[str]) -> dict[str, list[Hit]]:
        """Return the hits for those of `names` (normalised) of which something is known."""
        if ecosystem == LIFE_CYCLES:
            return lifecycles.lookup(names)
        keys = Keys(ecosystem)
        packages = _packages(self._facts[ecosystem]) if ecosystem in self._facts else {}
        return {name: [self._hit(fact, keys) for fact in packages[name]] for name in names if name in packages}

    def _hit(self, fact: Fact, keys: Keys) -> Hit:
        source = self._origins[fact.origin].source
        return Hit(fact.id, tuple(map(keys.range, fact.ranges)), fact.versions, source=source, feed=FEED)

    def details(self, ids: Iterable[str]) -> Iterator[Advisory]:
        """Yield the advisories of those `ids` that are known."""
        for name in ids:
            if known := self._known.get(name):
                yield _advisory(known)

    def find(self, identifier: str) -> Iterator[Advisory]:
        """Yield the advisories called so, by id or alias."""
        for known in self._known.values():
            if identifier == known.id or identifier in known.aliases:
                yield _advisory(known)

    def vectors(self, cves: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the CVSS vectors of those of `cves` that are known."""
        return {cve: self._known[cve].cvss for cve in cves if cve in self._known}

    def kev(self, cves: Iterable[str]) -> Iterator[Exploited]:
        """Yield those of `cves` that CISA had listed when the set was made."""
        for cve in cves:
            if (known := self._known.get(cve)) and known.kev:
                yield Exploited(cve=cve, added=known.kev)

    def info(self) -> DatabaseSource:
        """Say what the set is, as a source."""
        licences = sorted({origin.licence for origin in self._origins})
        return DatabaseSource(name=FEED, records=len(self), fetched_at=self.built_at, licence=", ".join(licences))


def _advisory(known: Known) -> Advisory:
    fields: dict[str, Any] = {name: getattr(known, name) for name in ("aliases", "cvss", "severity", "cwes", "published")}
    return Advisory(id=known.id, source=FEED, summary=known.title, kind=known.kind, **fields)
