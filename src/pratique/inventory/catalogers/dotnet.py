"""Dependency manifests of .NET programs and shared frameworks in, NuGet packages out.

`NAME.deps.json` lies beside each published program, and beside each shared framework, where it names the runtime pack whose
version advisories speak of (`Microsoft.NETCore.App.Runtime.linux-x64`). Rules:

- A library of type `package` counts if the target of the manifest takes a file from it. The SDK also lists packages whose
  files lost against newer ones of the framework (System.Net.Http 4.3.0 is the classic): nothing of them is there to be
  vulnerable.
- A library of type `runtimepack` is the runtime inside a self-contained program; its prefix `runtimepack.` is the SDK's.
- The framework's own package has no files in the 2.x manifests; it counts in the manifest that has its name, not in those of
  programs, where it says what the program was built against.
- A `project` counts only as the program itself (role "main"), a `reference` never: neither comes from NuGet.

https://github.com/dotnet/sdk/blob/main/documentation/specs/runtime-configuration-file.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.model.errors import ParseError
from pratique.model.inventory import Gap, PackageEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

# Manifests of the SDK itself reach 1 MB.
MAX_BYTES = 16 * MEBIBYTE
MAX_LIBRARIES = 20_000
MAX_NAME = 200

_SUFFIX = ".deps.json"
_RUNTIME_PACK = "runtimepack."
_NO_FILE = "_._"


class _Library(msgspec.Struct):
    type: Any = None


class _Used(msgspec.Struct, rename="camel"):
    runtime: Any = None
    native: Any = None
    runtime_targets: Any = None
    resources: Any = None
    compile_only: Any = None


class _Target(msgspec.Struct):
    name: str = ""


class _Manifest(msgspec.Struct, rename="camel"):
    libraries: dict[str, _Library] = {}
    targets: dict[str, dict[str, _Used]] = {}
    runtime_target: _Target | str = ""


_DECODER = msgspec.json.Decoder(_Manifest)


class _Dotnet:
    """The inspector: see the module's text."""

    name = "dotnet"
    version = 1
    interest = Interest(suffixes=(_SUFFIX,), max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[PackageEvidence | Gap]:
        """Yield the packages of a manifest, a Gap for each library that has no name. Raises ParseError, ValueError."""
        manifest = _DECODER.decode(file.read().removeprefix(b"\xef\xbb\xbf"))
        if len(manifest.libraries) > MAX_LIBRARIES:
            raise ParseError(f"{len(manifest.libraries)} .NET libraries; at most {MAX_LIBRARIES} are believed")
        program = file.path.rpartition("/")[2].removesuffix(_SUFFIX).casefold()
        used = _target(manifest)
        for key, library in manifest.libraries.items():
            if library.type not in ("package", "runtimepack", "project"):
                continue
            name, _, version = key.partition("/")
            if not (name and version) or len(key) > MAX_NAME:
                yield Gap(code="inventory.invalid", message=f"dotnet: no name and version: {key[:MAX_NAME]!r}", path=file.path)
            elif library.type == "project":
                if name.casefold() == program:
                    yield PackageEvidence(type="nuget", name=name, version=version, role="main")
            elif used is None or name.casefold() == program or library.type == "runtimepack" or _has_files(used.get(key)):
                yield PackageEvidence(type="nuget", name=name.removeprefix(_RUNTIME_PACK), version=version)


INSPECTOR = _Dotnet()


def _target(manifest: _Manifest) -> dict[str, _Used] | None:
    """Return what the manifest's own target uses; None where it states none, so that every package must be taken as used."""
    stated = manifest.runtime_target
    used = manifest.targets.get(stated if isinstance(stated, str) else stated.name)
    if used is None and len(manifest.targets) == 1:
        used = next(iter(manifest.targets.values()))
    return used or None


def _has_files(used: _Used | None) -> bool:
    if used is None or used.compile_only is True:
        return False
    for files in (used.runtime, used.native, used.runtime_targets, used.resources):
        if isinstance(files, dict) and any(not name.endswith(_NO_FILE) for name in files):
            return True
    return False
