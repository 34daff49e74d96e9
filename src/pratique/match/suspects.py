"""Findings of one vulnerability in, those that a purl may mean out; and whether a package belongs to a product alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pratique.match.identity import OS_TYPES, About, is_source, name_of
from pratique.match.vers import Differs
from pratique.model.inventory import Package
from pratique.model.purl import Purl


class Suspects:
    """The findings of one vulnerability: where they stand, and the packages that they are about, by name."""

    def __init__(self, found: Sequence[tuple[int, Package | None]], about: About) -> None:
        self.places = [place for place, _ in found]
        self._about = about
        self._known = [(place, package) for place, package in found if package is not None]
        self._named: dict[tuple[str, str], list[tuple[int, Package]]] = {}
        for place, package in self._known:
            purl = about.purl(package)
            self._named.setdefault((purl.type, name_of(purl)), []).append((place, package))
            if purl.type in OS_TYPES:
                source = package.source.name if package.source is not None else package.name
                self._named.setdefault((f"{purl.type} source", source.lower()), []).append((place, package))

    def called(self, claim: Purl) -> list[tuple[int, Package]]:
        """Return those that a purl may mean."""
        if is_source(claim):
            return self._named.get((f"{claim.type} source", claim.name.lower()), [])
        return self._named.get((claim.type, name_of(claim)), [])

    def built_from(self, claim: Purl) -> Package | None:
        """Return one that is built from the source that a purl has the name of."""
        found = self._named.get((f"{claim.type} source", claim.name.lower()), [])
        return found[0][1] if found and not is_source(claim) else None

    @cached_property
    def names(self) -> str:
        """What they are called, for messages."""
        names = sorted({package.name for _, package in self._known})
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def apart(package: Package, holders: Sequence[Package] | None) -> Differs | None:
    """Say where a package is outside of the product that a statement is about."""
    if holders is None or _inside(package, holders):
        return None
    where = ", ".join(sorted({location.path for location in package.locations})[:2])
    return Differs(6, "elsewhere", f"{package.name} is not known to be there as a part of {holders[0].name} only ({where})")


def _inside(package: Package, holders: Sequence[Package]) -> bool:
    """Say whether a package is, in all its places, within one of the holders: shipped by it, in its archive, in its program."""
    if any(holder.purl in (package.purl, package.owner) for holder in holders):
        return True
    return bool(package.locations) and all(
        any(_within(location.path, place.path, holder) for holder in holders for place in holder.locations)
        for location in package.locations
    )


def _within(path: str, place: str, holder: Package) -> bool:
    if holder.type in OS_TYPES:
        return False  # the place of all of them is the package database
    if path == place:
        return holder.role == "main"  # a program and what was linked into it; others may share a lock file
    if path.startswith(f"{place}!"):
        return True
    folder = place.rpartition("/")[0]
    return holder.type == "npm" and bool(folder) and path.startswith(f"{folder}/node_modules/")
