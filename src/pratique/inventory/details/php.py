"""Composer's record of what it installed in, what each package needs, replaces and was unpacked from out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.inventory.digests import hexadecimal
from pratique.model.inventory import Checksum, DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_NAMES = 1_000


class _Installed(msgspec.Struct):
    name: Any = None
    version: Any = None
    require: Any = None
    provide: Any = None
    replace: Any = None
    dist: Any = None


class _Record(msgspec.Struct):
    packages: list[_Installed]


_DECODER = msgspec.json.Decoder(list[_Installed] | _Record)


class PhpDetails:
    """Inspects `vendor/composer/installed.json`."""

    name = "details_php"
    version = 1
    interest = Interest(names=("installed.json",), max_bytes=32 * MEBIBYTE, scope="details")

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield the relations of each package."""
        if not f"/{file.path}".endswith("/composer/installed.json"):
            return
        record = _DECODER.decode(file.read().removeprefix(b"\xef\xbb\xbf"))
        for package in record.packages if isinstance(record, _Record) else record:
            name, version = package.name, package.version
            if isinstance(name, str) and isinstance(version, str) and name.strip(" /"):
                namespace, _, short = name.strip().lower().rpartition("/")
                yield DetailEvidence(
                    type="composer",
                    namespace=namespace,
                    name=short,
                    version=version.strip(),
                    requires=packages(package.require),
                    provides=(*packages(package.provide), *packages(package.replace)),
                    hashes=shasum(package.dist),
                )


def packages(value: Any) -> tuple[str, ...]:
    """Return the packages of a table of requirements. What has no slash (php, ext-json) is the platform, not a package."""
    names = list(value)[:MAX_NAMES] if isinstance(value, dict) else []
    return tuple(dict.fromkeys(name.lower() for name in names if isinstance(name, str) and "/" in name and len(name) <= 200))


def shasum(dist: Any) -> tuple[Checksum, ...]:
    """Return the digest of an archive; archives that a host packs anew each time have none."""
    return hexadecimal("sha1", dist.get("shasum")) if isinstance(dist, dict) else ()


INSPECTOR = PhpDetails()
