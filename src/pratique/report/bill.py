"""A report in, what the SBOM formats have in common out: the details of packages, and which package installed which files."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pratique.model.inventory import ImageFile, Package, PackageDetails
from pratique.model.report import Report

_NOTHING = PackageDetails()


class Files(NamedTuple):
    """Files by the purl of the package that installed them; a file of several is with the first. `loose` are all others."""

    owned: dict[str, list[ImageFile]]
    loose: list[ImageFile]


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
