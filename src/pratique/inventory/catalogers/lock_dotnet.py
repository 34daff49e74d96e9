"""NuGet's lock file, packages.config and project files in, declared NuGet packages out.

packages.lock.json lists each package once for every target framework, with `resolved` as its version; entries of type Project are
the solution's own. Names are as written: NuGet compares them without regard to case.

https://learn.microsoft.com/nuget/consume-packages/package-references-in-project-files#locking-dependencies
"""

from __future__ import annotations

from typing import Any

import msgspec

from pratique.inventory.digests import encoded
from pratique.inventory.lockfiles.documents import BOM, MAX_XML, record, text
from pratique.inventory.lockfiles.entries import Entries, LockInspector, base_name
from pratique.model.errors import ParseError
from pratique.model.ports import File, Interest

_LOCK, _CONFIG = "packages.lock.json", "packages.config"
_PROJECTS = (".csproj", ".fsproj", ".vbproj")


class _Lock(msgspec.Struct):
    dependencies: dict[str, dict[str, Any]] | None = None


_DECODER = msgspec.json.Decoder(_Lock)


def _read(file: File, entries: Entries) -> None:
    base = base_name(file.path)
    if base != _LOCK:
        from pratique.inventory.lockfiles import msbuild  # noqa: PLC0415 - only where there is such a file

        (msbuild.config if base == _CONFIG else msbuild.project)(file.read(), entries)
        return
    lock = _DECODER.decode(file.read().removeprefix(BOM))
    if lock.dependencies is None:
        raise ParseError("no dependencies in a packages.lock.json")
    for packages in lock.dependencies.values():
        for name, package in packages.items():
            if text(package, "type").lower() == "project":
                continue
            version = text(package, "resolved")
            if version:
                needs = [f"?{other}" for other in record(package, "dependencies")]  # a project of one's own may meet it
                entries.add(name, version, depends=needs, hashes=encoded("sha512", text(package, "contentHash")))
            else:
                entries.unresolved(name, "the lock file states no version")


INSPECTOR = LockInspector(
    "lock_dotnet",
    "nuget",
    # Beside XML, the lock file: some 200 bytes for each of a few hundred packages and frameworks.
    Interest(names=(_LOCK, _CONFIG), suffixes=_PROJECTS, scope="declared", max_bytes=MAX_XML),
    _read,
)
