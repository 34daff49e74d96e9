"""What details say of packages in, each package with what it depends on, its hashes and its files out.

A need is met by what lies in the same image: by rules of each ecosystem, as its own tools look for it. A need that nothing meets
makes the relations of its package incomplete, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pratique.inventory.finders import Finder, Spot, finders
from pratique.inventory.squash import Seen
from pratique.model.inventory import (
    Checksum,
    ContentEvidence,
    DetailEvidence,
    FilesEvidence,
    ImageFile,
    Package,
    PackageDetails,
    PackageEvidence,
)

MAX_WORK = 1_000_000  # needs looked at and met in one image, dear ones counted several times; the largest has some 60,000
MAX_OWNED = 1_000_000  # paths that packages say to have installed, in one image; the largest has 300,000

Named = tuple[str, str, str, str, str, str, str]  # type, namespace, name, version, arch, path, inner


class _Said(NamedTuple):
    """What is said of one package at one place; `requires` None where nobody says it."""

    requires: tuple[str, ...] | None
    provides: tuple[str, ...]
    hashes: tuple[Checksum, ...]
    supplier: str = ""


def relate(packages: Sequence[Package], seen: Sequence[Seen], purl_of: Callable[[PackageEvidence], str]) -> list[Package]:
    """Give packages their details. `purl_of` names the package that a piece of evidence is of."""
    spots = _spots(seen, purl_of)
    said = _said(seen, spots)
    wanted = finders(spots, {spot: said[spot].provides for spot in said})
    known = {package.purl for package in packages}
    drafts: dict[str, _Draft] = {}
    left = MAX_WORK
    for spot in spots:
        draft = drafts.setdefault(spot.purl, _Draft())
        about = said.get(spot)
        left = draft.add(spot, about, wanted.get(spot.kind), left)
    files = _owned(seen, spots)
    found = []
    for package in packages:
        details = drafts.get(package.purl, _Draft()).details(package.purl, known, files.get(package.purl, ()))
        found.append(msgspec.structs.replace(package, details=details))
    return found


def _spots(seen: Sequence[Seen], purl_of: Callable[[PackageEvidence], str]) -> list[Spot]:
    found: dict[Spot, None] = {}
    for item in seen:
        for evidence in item.located.evidence:
            if isinstance(evidence, PackageEvidence) and evidence.name:
                found.setdefault(Spot(purl_of(evidence), item.located.path, evidence))
    return list(found)


def _said(seen: Sequence[Seen], spots: Sequence[Spot]) -> dict[Spot, _Said]:
    """Put what each file says of a package to the places where that package was seen."""
    by_name: dict[Named, Spot] = {}
    by_place: dict[tuple[str, str, str], list[Spot]] = {}
    for spot in spots:
        one = spot.evidence
        by_name[one.type, one.namespace, one.name, one.version, one.arch, spot.path, one.inner] = spot
        by_name.setdefault((one.type, one.namespace, one.name, "", "", spot.path, one.inner), spot)
        by_place.setdefault((one.type, spot.path, one.inner), []).append(spot)
    said = {spot: _Said(spot.evidence.depends, (), spot.evidence.hashes) for spot in spots}
    for item in seen:
        for evidence in item.located.evidence:
            if not isinstance(evidence, DetailEvidence):
                continue
            path = evidence.path or item.located.path
            if evidence.name:
                named = (evidence.type, evidence.namespace, evidence.name, evidence.version, evidence.arch)
                meant = by_name.get((*named, path, evidence.inner))
            else:
                there = by_place.get((evidence.type, path, evidence.inner), [])
                meant = there[0] if len(there) == 1 else None  # of several merged into one archive none is the archive
            if meant is not None:
                said[meant] = _merged(said[meant], evidence)
    return said


def _merged(old: _Said, evidence: DetailEvidence) -> _Said:
    requires = evidence.requires if old.requires is None else old.requires if evidence.requires is None else None
    if requires is None and old.requires is not None and evidence.requires is not None:
        requires = tuple(dict.fromkeys([*old.requires, *evidence.requires]))
    hashes = tuple(sorted({*old.hashes, *evidence.hashes}))
    return _Said(requires, (*old.provides, *evidence.provides), hashes, old.supplier or evidence.supplier)


class _Draft:
    """The details of one package, gathered from all places where it was seen."""

    def __init__(self) -> None:
        self.depends: set[str] = set()
        self.hashes: set[Checksum] | None = None
        self.told = self.silent = self.missing = False
        self.supplier = ""

    def add(self, spot: Spot, about: _Said | None, finder: Finder | None, left: int) -> int:
        """Enter what is said at one place; return how much work may still be done."""
        if left <= 0:
            self.silent = True
            return left
        self.supplier = self.supplier or (about.supplier if about is not None else "")
        hashes = set(about.hashes) if about is not None else set()
        # The same version may have been installed from two archives: only what all places agree on is the package's.
        self.hashes = hashes if self.hashes is None else self.hashes & hashes
        requires = about.requires if about is not None else None
        inside = finder.inside(spot) if finder is not None else ()
        self.depends.update(inside)
        if requires is None:
            self.silent = self.silent or not (inside and spot.whole)
            self.told = self.told or bool(inside)
            return left - len(inside)
        self.told = True
        each = 1 + len(spot.path) // 100  # where a need is looked for along the path
        for need in requires:
            met = finder.find(spot, need.removeprefix("?")) if finder is not None else ()
            self.missing = self.missing or not (met or need.startswith("?"))
            self.depends.update(met)
            left -= len(met) + each + len(need) // 10
            if left < 0:
                self.missing = True
                break
        return left

    def details(self, own: str, known: set[str], files: tuple[str, ...]) -> PackageDetails:
        """Return them."""
        relations = "unknown" if not self.told else "incomplete" if self.missing or self.silent else "complete"
        return PackageDetails(
            depends=tuple(sorted(self.depends.intersection(known) - {own})),
            relations=relations,  # type: ignore[arg-type]  # one of the three
            hashes=tuple(sorted(self.hashes or ())),
            files=files,
            supplier=self.supplier,
        )


def _owned(seen: Sequence[Seen], spots: Sequence[Spot]) -> dict[str, tuple[str, ...]]:
    """Return the paths that each package installed, by purl."""
    named: dict[tuple[str, str, str, str], str] = {}
    places: dict[tuple[str, str], str] = {}
    for spot in spots:
        one = spot.evidence
        places[one.type, spot.path] = spot.purl
        for version in (one.version, ""):
            for arch in (one.arch, ""):
                named.setdefault((one.type, one.name, version, arch), spot.purl)
    found: dict[str, set[str]] = {}
    left = MAX_OWNED
    for item in seen:
        for evidence in item.located.evidence:
            if isinstance(evidence, FilesEvidence) and left > 0:
                left -= len(evidence.paths)
                whole = (evidence.type, evidence.name, evidence.version, evidence.arch)
                purl = named.get(whole) if evidence.name else places.get((evidence.type, evidence.path))
                if purl:
                    found.setdefault(purl, set()).update(evidence.paths)
    return {purl: tuple(sorted(paths)) for purl, paths in found.items()}


def image_files(seen: Sequence[Seen], diff_ids: Sequence[str]) -> tuple[ImageFile, ...]:
    """Return the files of the squashed image, by path."""
    return tuple(
        ImageFile(item.located.path, diff_ids[item.layer] if diff_ids else "", evidence.size, evidence.hashes)
        for item in seen
        for evidence in item.located.evidence
        if isinstance(evidence, ContentEvidence)
    )


def present(packages: Iterable[Package], files: Iterable[ImageFile]) -> Iterator[Package]:
    """Leave out paths that are not in the image (slim ones drop documents), and write the others as they lie in it."""
    there = {file.path for file in files}
    for package in packages:
        details = package.details
        if isinstance(details, PackageDetails) and details.files:
            here = {_landed(path, there) for path in details.files} - {""}
            details = msgspec.structs.replace(details, files=tuple(sorted(here)))
            yield msgspec.structs.replace(package, details=details)
        else:
            yield package


def _landed(path: str, there: set[str] | Mapping[str, object]) -> str:
    """Return the path under which a file lies: /lib/x is at /usr/lib/x where both are merged, and the reverse."""
    if path in there:
        return path
    other = path[4:] if path.startswith("usr/") else f"usr/{path}"
    return other if other in there else ""
