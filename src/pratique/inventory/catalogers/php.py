"""Composer's record of what it installed in, Packagist packages out.

`vendor/composer/installed.json` is a list of packages (Composer 1) or an object that holds it (Composer 2); the vendor folder
may have any name, the folder `composer` in it may not. Versions are kept as released (`v1.2.3`, `dev-main`): Packagist's
order knows both.

https://getcomposer.org/doc/04-schema.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.model.errors import ParseError
from pratique.model.inventory import Gap, PackageEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

# The record of a large shop (400 packages) is 1.5 MB.
MAX_BYTES = 32 * MEBIBYTE
MAX_PACKAGES = 20_000
MAX_NAME = 200
MAX_LICENSES = 16


class _Installed(msgspec.Struct):
    name: Any = None
    version: Any = None
    license: Any = None


class _Record(msgspec.Struct):
    packages: list[_Installed]


_DECODER = msgspec.json.Decoder(list[_Installed] | _Record)


class _Php:
    """The inspector: see the module's text."""

    name = "php"
    version = 1
    interest = Interest(names=("installed.json",), max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[PackageEvidence | Gap]:
        """Yield the packages of a record, and a Gap for each that has no name or version. Raises ParseError, ValueError."""
        if not f"/{file.path}".endswith("/composer/installed.json"):
            return
        record = _DECODER.decode(file.read().removeprefix(b"\xef\xbb\xbf"))
        packages = record.packages if isinstance(record, _Record) else record
        if len(packages) > MAX_PACKAGES:
            raise ParseError(f"{len(packages)} Composer packages; at most {MAX_PACKAGES} are believed")
        for package in packages:
            yield _package(package, file.path)


INSPECTOR = _Php()


def _package(package: _Installed, path: str) -> PackageEvidence | Gap:
    name, version = package.name, package.version
    if not (_said(name) and _said(version)):
        message = f"php: a package without name or version: {str(name)[:MAX_NAME]}"
        return Gap(code="inventory.invalid", message=message, path=path)
    # Packagist's names are lower case; the package URL type composer demands it.
    namespace, _, short = name.strip().lower().rpartition("/")
    return PackageEvidence(
        type="composer", namespace=namespace, name=short, version=version.strip(), licenses=_licenses(package.license)
    )


def _said(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MAX_NAME and bool(text.strip(" /")) and not text.rstrip().endswith("/")


def _licenses(stated: Any) -> tuple[str, ...]:
    names = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else []
    return tuple(dict.fromkeys(name for name in names[:MAX_LICENSES] if isinstance(name, str) and 0 < len(name) <= MAX_NAME))
