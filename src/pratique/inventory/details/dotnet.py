"""Dependency manifests of .NET programs in, what each library needs and the digest of its package out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.inventory.digests import encoded
from pratique.model.inventory import DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_LIBRARIES = 20_000
MAX_NAMES = 1_000
_RUNTIME_PACK = "runtimepack."


class _Library(msgspec.Struct):
    type: Any = None
    sha512: Any = None


class _Used(msgspec.Struct):
    dependencies: Any = None


class _Target(msgspec.Struct):
    name: str = ""


class _Manifest(msgspec.Struct, rename="camel"):
    libraries: dict[str, _Library] = {}
    targets: dict[str, dict[str, _Used]] = {}
    runtime_target: _Target | str = ""


_DECODER = msgspec.json.Decoder(_Manifest)


class DotnetDetails:
    """Inspects `*.deps.json`."""

    name = "details_dotnet"
    version = 1
    interest = Interest(suffixes=(".deps.json",), max_bytes=16 * MEBIBYTE, scope="details")

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield the relations of each library. What needs a library without files needs what that one needs."""
        manifest = _DECODER.decode(file.read().removeprefix(b"\xef\xbb\xbf"))
        stated = manifest.runtime_target
        used = manifest.targets.get(stated if isinstance(stated, str) else stated.name)
        if used is None and len(manifest.targets) == 1:
            used = next(iter(manifest.targets.values()))
        for key, library in list(manifest.libraries.items())[:MAX_LIBRARIES]:
            name, _, version = key.partition("/")
            if name and version and library.type in ("package", "runtimepack", "project"):
                entry = (used or {}).get(key)
                yield DetailEvidence(
                    type="nuget",
                    name=name.removeprefix(_RUNTIME_PACK),
                    version=version,
                    requires=tuple(_needed(entry)) if entry is not None else None,
                    hashes=encoded("sha512", library.sha512.removeprefix("sha512-") if isinstance(library.sha512, str) else ""),
                )


def _needed(entry: _Used) -> Iterator[str]:
    """A library of which nothing is used (the framework has a newer one) is not listed: such a need is no gap."""
    table = entry.dependencies if isinstance(entry.dependencies, dict) else {}
    for name, version in list(table.items())[:MAX_NAMES]:
        if isinstance(version, str) and 0 < len(name) <= 200:
            yield f"?{name.removeprefix(_RUNTIME_PACK)}@{version}"


INSPECTOR = DotnetDetails()
