"""dpkg's status files and file lists in, installed Debian packages and the paths they own out.

Formats: deb-control(5), dpkg-query(1), and the one-file-per-package `status.d` of distroless images. OpenWrt's and Yocto's opkg
keeps the same format; its packages are listed as generic ones, because Debian's advisories do not speak of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pratique.inventory.ownership import Keeper
from pratique.model.inventory import Evidence, Gap, OwnershipEvidence, PackageEvidence, PackageType, SourcePackage
from pratique.model.ports import MEBIBYTE, File, Interest

_STATUS = "var/lib/dpkg/status"
_STATUS_D = "var/lib/dpkg/status.d"
_INFO = "var/lib/dpkg/info/"
_OPKG = ("usr/lib/opkg/status", "var/lib/opkg/status")

# The files of a package are in place in these states: whether its configuration succeeded does not matter to an attacker.
_ABSENT = (b"not-installed", b"config-files")
_BLANK_LINES = re.compile(rb"\n[ \t]+(?=\n)")


class Dpkg:
    """Inspects `status`, `status.d` and `info/*.list`."""

    name = "dpkg"
    version = 3
    interest = Interest(
        paths=(_STATUS, *_OPKG),
        under=(_STATUS_D,),
        suffixes=(".list",),
        max_bytes=64 * MEBIBYTE,  # a status file of all 60,000 packages of a release has about that
    )

    def inspect(self, file: File) -> Iterable[Evidence | Gap]:
        """Yield packages and their files."""
        path = file.path
        if path.startswith(_INFO):
            return _files_of(_stem(path, ".list"), file.read(), listed=True)
        if path.startswith(_STATUS_D + "/"):
            if path.endswith(".md5sums"):
                return _files_of(_stem(path, ".md5sums"), file.read(), listed=False)
            return _packages(file.read(), path, "deb", whole=True)
        if path == _STATUS:
            return _packages(file.read(), path, "deb", whole=False)
        return _packages(file.read(), path, "generic", whole=False) if path in _OPKG else ()


def _stem(path: str, suffix: str) -> str:
    return path.rpartition("/")[2].removesuffix(suffix)


def _files_of(stem: str, data: bytes, *, listed: bool) -> Iterator[Evidence]:
    """`listed` lines are absolute paths, the others a checksum, two spaces and a relative path."""
    text = data.decode("utf-8", "replace")
    paths = text.rstrip("\n").split("\n/") if listed else [line[34:] for line in text.splitlines()]
    if listed:
        paths[0] = paths[0].removeprefix("/")
    kept = Keeper().keep(paths)
    if kept:
        package, _, arch = stem.partition(":")
        yield OwnershipEvidence(type="deb", package=package, arch=arch, paths=tuple(kept))


def _packages(data: bytes, path: str, kind: PackageType, *, whole: bool) -> Iterator[Evidence | Gap]:
    """`whole` files are written by image builders, who may leave out the last line feed; dpkg itself never does."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    if b" \n" in data or b"\t\n" in data:  # apt ends a paragraph at a line of blanks, too
        data = _BLANK_LINES.sub(b"\n", data)
    if not whole and data and not data.endswith(b"\n"):
        yield Gap(code="inventory.truncated", message="dpkg: the last line is cut; later packages are missing", path=path)
        data = data[: data.rfind(b"\n") + 1]
    broken = hidden = 0
    for stanza in data.split(b"\n\n"):
        if not stanza or stanza.isspace():
            continue
        stanza = b"\n" + stanza.lstrip(b"\n") + b"\n"  # noqa: PLW2901
        hidden += max(0, stanza.count(b"\nPackage:") - 1)
        if b" " in (status := _field(stanza, b"\nStatus:")) and status.rpartition(b" ")[2] in _ABSENT:
            continue
        name, version = _field(stanza, b"\nPackage:"), _field(stanza, b"\nVersion:")
        if name and version:
            yield _package(kind, name.decode("utf-8", "replace"), version.decode("utf-8", "replace"), stanza)
        elif name:
            message = f"dpkg: {name.decode('utf-8', 'replace')[:100]} has no version"
            yield Gap(code="inventory.invalid", message=message, path=path)
        else:
            broken += 1
    if broken:
        yield Gap(code="inventory.invalid", message=f"dpkg: {broken} paragraphs without a package name", path=path)
    if hidden:
        message = f"dpkg: {hidden} packages stand in the paragraphs of others; they were not seen"
        yield Gap(code="inventory.invalid", message=message, path=path)


def _package(kind: PackageType, name: str, version: str, stanza: bytes) -> PackageEvidence:
    arch = _field(stanza, b"\nArchitecture:").decode("utf-8", "replace")
    source = None
    if written := _field(stanza, b"\nSource:"):
        source_name, _, rest = written.decode("utf-8", "replace").partition(" ")
        source_version = rest.strip(" ()") or version
        if source_name != name or source_version != version:
            source = SourcePackage(source_name, source_version)
    return PackageEvidence(type=kind, name=name, version=version, arch=arch, source=source)


def _field(stanza: bytes, key: bytes) -> bytes:
    """`key` has the line feed before it: continuation lines begin with a blank, so that it cannot stand in one."""
    start = stanza.find(key)
    if start < 0:
        return b""
    start += len(key)
    return stanza[start : stanza.index(b"\n", start)].strip()


INSPECTOR = Dpkg()
