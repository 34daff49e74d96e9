"""What a package needs in, the packages of the same image that meet it out: one finder a kind of package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from pratique.model.errors import PratiqueError
from pratique.model.inventory import PackageEvidence
from pratique.versions import compare

MAX_MET = 50  # packages that meet one need, and that are kept of one name; two architectures are usual, or some versions
MAX_VERSIONS = 10  # of one gem that are compared with what is asked for
MAX_CONSTRAINTS = 4  # on one gem; people write one or two
MAX_FOLDERS = 64  # folders above a Node package; real ones lie some ten deep
_SITE = re.compile(r"^(.*?)/?(?:usr/)?(?:local/)?lib(?:64|32)?/(python\d)(?:\.\d+)?/(?:site|dist)-packages$")


class Spot(NamedTuple):
    """A package at one place of the image."""

    purl: str
    path: str
    evidence: PackageEvidence

    @property
    def kind(self) -> str:
        """The type of the package."""
        return self.evidence.type

    @property
    def full(self) -> str:
        """The name as others ask for it."""
        one = self.evidence
        return f"{one.namespace}{':' if one.type == 'maven' else '/'}{one.name}" if one.namespace else one.name

    @property
    def whole(self) -> bool:
        """Whether its place says all that it contains: a Go program's list of modules does."""
        return self.evidence.type == "golang" and self.evidence.role == "main" and not self.evidence.declared


class Finder(Protocol):
    """Knows all packages of one kind."""

    def find(self, spot: Spot, need: str) -> Sequence[str]:
        """Return the purls of what meets a need of the package at `spot`; none where nothing does."""

    def inside(self, spot: Spot) -> Sequence[str]:
        """Return the purls of what a package contains by the place where it lies."""


def finders(spots: Iterable[Spot], provides: Mapping[Spot, tuple[str, ...]]) -> dict[str, Finder]:
    """Return a finder for each kind that is there."""
    kinds: dict[str, list[Spot]] = {}
    for spot in spots:
        kinds.setdefault(spot.kind, []).append(spot)
    return {kind: _FINDERS.get(kind, _Neighbours)(there, provides) for kind, there in kinds.items()}


class _System:
    """Packages of the system: one of each name and architecture, and names that several provide."""

    def __init__(self, spots: Sequence[Spot], provides: Mapping[Spot, tuple[str, ...]]) -> None:
        self._names: dict[str, dict[str, str]] = {}
        self._provided: dict[str, dict[str, str]] = {}
        for spot in spots:
            _keep(self._names.setdefault(spot.evidence.name, {}), spot.purl, spot.evidence.arch)
            for name in provides.get(spot, ()):
                _keep(self._provided.setdefault(name, {}), spot.purl, spot.evidence.arch)

    def find(self, spot: Spot, need: str) -> Sequence[str]:
        """The first of the alternatives that is there, by its own name before one that provides it."""
        for name in need.split("|"):
            found = self._names.get(name) or self._provided.get(name)
            if found:
                same = [purl for purl, arch in found.items() if arch == spot.evidence.arch]
                return sorted(same or found)[:MAX_MET]
        return ()

    def inside(self, _: Spot) -> Sequence[str]:
        """Nothing: what it installed is told by its owner."""
        return ()


def _keep(there: dict[str, str], purl: str, fact: str, most: int = MAX_MET) -> None:
    """Enter a package under its name, as long as there are not too many of them."""
    if len(there) < most:
        there[purl] = fact


class _Neighbours:
    """Packages that one file lists: a lock, a program, a record of what was installed. They need each other by their names."""

    def __init__(self, spots: Sequence[Spot], provides: Mapping[Spot, tuple[str, ...]]) -> None:
        self._there: dict[tuple[str, str], dict[str, str]] = {}
        self._exact: dict[tuple[str, str, str], str] = {}
        self._programs: dict[str, list[Spot]] = {}
        for spot in spots:
            for name in (spot.full, *provides.get(spot, ())):
                _keep(self._there.setdefault((spot.path, name.lower()), {}), spot.purl, "")
                self._exact.setdefault((spot.path, name.lower(), spot.evidence.version), spot.purl)
            if spot.kind == "golang":
                self._programs.setdefault(spot.path, []).append(spot)

    def find(self, spot: Spot, need: str) -> Sequence[str]:
        """The version that is asked for; without one, all of that name."""
        for one in need.split("|"):
            name, version = _parted(one)
            exact = self._exact.get((spot.path, name.lower(), version))
            if exact is not None:
                return (exact,)
            there = self._there.get((spot.path, name.lower()), {})
            if there and (not version or len(there) == 1):
                return sorted(there)
        return ()

    def inside(self, spot: Spot) -> Sequence[str]:
        """All modules of a Go program for its main one; a graph of them is not written into programs."""
        if not spot.whole:
            return ()
        return sorted({other.purl for other in self._programs.get(spot.path, ()) if other.purl != spot.purl})


def _parted(need: str) -> tuple[str, str]:
    """Split `name@version`; the @ of a scope begins a name."""
    at = need.find("@", 1)
    return (need, "") if at < 0 else (need[:at], need[at + 1 :])


class _Python(_Neighbours):
    """Distributions of one environment: the same site-packages, or those of the system's interpreter together."""

    def __init__(self, spots: Sequence[Spot], provides: Mapping[Spot, tuple[str, ...]]) -> None:
        super().__init__([spot for spot in spots if spot.evidence.declared], provides)
        self._found: dict[tuple[str, str], set[str]] = {}
        for spot in spots:
            self._found.setdefault((_environment(spot), _normal(spot.evidence.name)), set()).add(spot.purl)

    def find(self, spot: Spot, need: str) -> Sequence[str]:
        """By any spelling of the name."""
        if spot.evidence.declared:
            return super().find(spot, need)
        return sorted(self._found.get((_environment(spot), _normal(need)), ()))[:MAX_MET]


def _environment(spot: Spot) -> str:
    """Return the folder that a distribution was installed into; the system's three and both of lib and lib64 are one."""
    if spot.evidence.inner:
        return f"{spot.path}!"
    folder = spot.path.rpartition("/")[0] if not spot.path.endswith(".egg-info") else spot.path
    site = folder.rpartition("/")[0]
    found = _SITE.match(site)
    return f"{found[1]}:{found[2]}" if found else site


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class _Node(_Neighbours):
    """Packages in folders: a name is looked for in the node_modules of the folder and of those above it, as Node does."""

    def __init__(self, spots: Sequence[Spot], provides: Mapping[Spot, tuple[str, ...]]) -> None:
        super().__init__([spot for spot in spots if not spot.path.endswith("/package.json")], provides)
        self._folders: dict[str, str] = {}
        self._names: dict[tuple[str, str], set[str]] = {}
        for spot in spots:
            if spot.path.endswith("/package.json"):
                self._folders[spot.path[: -len("/package.json")]] = spot.purl
                self._names.setdefault((_application(spot.path), spot.full), set()).add(spot.purl)

    def find(self, spot: Spot, need: str) -> Sequence[str]:
        """In the folders; pnpm's links lead where no folder says it, so that the only one of a name is taken."""
        if not spot.path.endswith("/package.json"):
            return super().find(spot, need)
        folder = spot.path[: -len("/package.json")]
        for _ in range(MAX_FOLDERS):
            inside = f"{folder}/{need}" if folder.endswith("/node_modules") else f"{folder}/node_modules/{need}".lstrip("/")
            found = self._folders.get(inside)
            if found is not None:
                return (found,)
            if not folder:
                break
            folder = folder.rpartition("/")[0]
        debian = self._folders.get(f"usr/share/nodejs/{need}")
        if debian is not None:
            return (debian,)
        named = self._names.get((_application(spot.path), need), set())
        return tuple(named) if len(named) == 1 else ()


def _application(path: str) -> str:
    """Return the folder whose node_modules holds a package."""
    return path.partition("/node_modules/")[0]


class _Gems:
    """Gems lie in several homes that Ruby searches together; of several versions those count that fit."""

    def __init__(self, spots: Sequence[Spot], provides: Mapping[Spot, tuple[str, ...]]) -> None:
        self._locked = _Neighbours([spot for spot in spots if spot.evidence.declared], provides)
        self._names: dict[str, dict[str, str]] = {}
        for spot in spots:
            if not spot.evidence.declared:
                _keep(self._names.setdefault(spot.evidence.name, {}), spot.purl, spot.evidence.version, MAX_VERSIONS)

    def find(self, spot: Spot, need: str) -> Sequence[str]:
        """Take the versions that fit."""
        if spot.evidence.declared:
            return self._locked.find(spot, need)
        name, _, stated = need.partition(" ")
        there = self._names.get(name, {})
        fitting = [purl for purl, version in there.items() if len(there) == 1 or _fits(version, stated)]
        return sorted(fitting)[:MAX_MET]

    def inside(self, _: Spot) -> Sequence[str]:
        """Nothing."""
        return ()


def _fits(version: str, stated: str) -> bool:
    parts = [part.strip() for part in stated.split(",")[:MAX_CONSTRAINTS]]
    return all(_holds(version, *part.rpartition(" ")[::2]) for part in parts if part)


def _holds(version: str, operator: str, other: str) -> bool:
    """Apply one constraint of RubyGems; `~> 1.2.3` is at least that, and below 1.3."""
    try:
        order = compare("RubyGems", version, other)
        if operator.strip() == "~>":
            head = other.split(".")[:-1] or other.split(".")
            numbers = [part for part in head if part.isdigit()]
            above = ".".join([*numbers[:-1], str(int(numbers[-1]) + 1)]) if numbers else other
            return order >= 0 and compare("RubyGems", version, above) < 0
    except PratiqueError:
        return False
    return {
        "": order == 0,
        "=": order == 0,
        "!=": order != 0,
        ">": order > 0,
        "<": order < 0,
        ">=": order >= 0,
        "<=": order <= 0,
    }.get(operator.strip(), False)


class _Maven:
    """Archives: what lies in one is its part, and what a part needs lies in the same archive, or in the same folder."""

    def __init__(self, spots: Sequence[Spot], _: Mapping[Spot, tuple[str, ...]]) -> None:
        self._together: dict[tuple[str, str], dict[str, str]] = {}
        self._parts: dict[tuple[str, str], set[str]] = {}
        for spot in spots:
            for place in (spot.path, _folder(spot)):
                _keep(self._together.setdefault((place, spot.full), {}), spot.purl, "")
            if spot.evidence.inner:
                outer = spot.evidence.inner.rpartition("!/")[0]
                self._parts.setdefault((spot.path, outer), set()).add(spot.purl)

    def find(self, spot: Spot, need: str) -> Sequence[str]:
        """In the same outermost archive, else beside it."""
        found = self._together.get((spot.path, need)) or self._together.get((_folder(spot), need))
        return sorted(found or ())[:MAX_MET]

    def inside(self, spot: Spot) -> Sequence[str]:
        """What was put into the archive."""
        return sorted(self._parts.get((spot.path, spot.evidence.inner), set()) - {spot.purl})


def _folder(spot: Spot) -> str:
    return f"{spot.path.rpartition('/')[0]}/"


_FINDERS: dict[str, Callable[[Sequence[Spot], Mapping[Spot, tuple[str, ...]]], Finder]] = {
    **dict.fromkeys(("deb", "apk", "rpm"), _System),
    "pypi": _Python,
    "npm": _Node,
    "gem": _Gems,
    "maven": _Maven,
}
