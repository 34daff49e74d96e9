"""composer.lock in, declared Packagist packages out. `packages-dev` have the role "dev".

What has a `path` as its distribution is a folder of the project's own and left out. A branch (`dev-main`) is a version like any
other here: whoever compares it says that it cannot.

https://getcomposer.org/doc/01-basic-usage.md#commit-your-composer-lock-file-to-version-control
"""

from __future__ import annotations

from typing import Any

import msgspec

from pratique.inventory.digests import hexadecimal
from pratique.inventory.lockfiles.documents import BOM, text
from pratique.inventory.lockfiles.entries import Entries, LockInspector, from_git, licenses_of
from pratique.model.errors import ParseError
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_BYTES = 16 * MEBIBYTE  # the lock of a large shop (400 packages) is 1 MB


class _Package(msgspec.Struct):
    name: str
    version: Any = None
    license: Any = None
    dist: Any = None
    require: Any = None
    source: Any = None


class _Lock(msgspec.Struct, rename="kebab"):
    packages: list[_Package] | None = None
    packages_dev: list[_Package] | None = None


_DECODER = msgspec.json.Decoder(_Lock)


def _read(file: File, entries: Entries) -> None:
    lock = _DECODER.decode(file.read().removeprefix(BOM))
    if lock.packages is None:
        raise ParseError("no packages in a composer.lock")
    for role, packages in (("", lock.packages), ("dev", lock.packages_dev or ())):
        for package in packages:
            _package(package, role, entries)


def _package(package: _Package, role: str, entries: Entries) -> None:
    if text(package.dist, "type") == "path":
        return
    # Packagist's names are lower case; the package URL type demands it.
    vendor, _, name = package.name.lower().rpartition("/")
    # Only what has no archive comes from the repository itself: Packagist names a repository for every package.
    source = package.source if not isinstance(package.dist, dict) else None
    git = text(source, "url") if text(source, "type") == "git" else ""
    version = package.version if isinstance(package.version, str) else ""
    qualifiers = from_git(git, text(source, "reference")) if git else ()
    entries.add(
        name,
        version.strip(),
        namespace=vendor,
        role=role,
        licenses=licenses_of(package.license),
        qualifiers=qualifiers,
        depends=_needs(package),
        hashes=hexadecimal("sha1", text(package.dist, "shasum")),
    )


def _needs(package: _Package) -> list[str]:
    """Return the packages that one needs. What has no slash (php, ext-json) is the platform; another may take one's place."""
    stated = package.require if isinstance(package.require, dict) else {}
    return [f"?{name.lower()}" for name in stated if "/" in name]


INSPECTOR = LockInspector(
    "lock_php", "composer", Interest(names=("composer.lock",), scope="declared", max_bytes=MAX_BYTES), _read
)
