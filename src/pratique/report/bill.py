"""A report in, what the SBOM formats have in common out: the details of packages, and which package installed which files."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from pratique.model.inventory import ImageFile, Package, PackageDetails
from pratique.model.report import Report

_NOTHING = PackageDetails()
_ADDRESS = re.compile(
    r"[A-Za-z0-9_%+-](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_%+-])?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
)
_BRACKETS = re.compile(r"[()\[\]\"]")
_TEAM = re.compile(r"\b(?:team|maintainers?|group|project|developers|packag\w+|foundation|inc|linux)\b", re.IGNORECASE)


class Files(NamedTuple):
    """Files by the purl of the package that installed them; a file of several is with the first. `loose` are all others."""

    owned: dict[str, list[ImageFile]]
    loose: list[ImageFile]


class Supplier(NamedTuple):
    """Who answers for a package; `address` is "" where none that can be written to is stated."""

    name: str
    address: str
    team: bool


def supplier_of(package: Package) -> Supplier | None:
    """Return who answers for a package, as its own package manager says it; None where it says nothing."""
    stated = details_of(package).supplier
    name, _, rest = stated.partition("<")
    name = " ".join(_BRACKETS.sub(" ", name).split()) or stated.strip("<> ")
    found = _ADDRESS.fullmatch(rest.partition(">")[0].strip())
    address = found[0] if found is not None else ""
    if not name:
        return None
    return Supplier(name, address, team=not rest or "lists" in address or _TEAM.search(name) is not None)


def details_of(package: Package) -> PackageDetails:
    """Return the details of a package, empty ones where nobody asked for any."""
    return package.details if isinstance(package.details, PackageDetails) else _NOTHING


def files_of(report: Report) -> Files:
    """Share the files of the target out among its packages; a package of the system goes before what it brought along."""
    found = Files({}, [])
    if isinstance(report.files, msgspec.UnsetType):
        return found
    owners: dict[str, str] = {}
    for brought in (False, True):
        for package in report.packages:
            if bool(package.owner) is brought:
                for path in details_of(package).files:
                    owners.setdefault(path, package.purl)
    for file in report.files:
        purl = owners.get(file.path)
        (found.loose if purl is None else found.owned.setdefault(purl, [])).append(file)
    return found
