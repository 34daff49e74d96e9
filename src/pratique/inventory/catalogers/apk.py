"""The installed database of apk (Alpine, Wolfi, Chainguard, OpenWrt) in, packages and the paths they own out.

https://wiki.alpinelinux.org/wiki/Apk_spec#Installed_Database_V2
"""

from __future__ import annotations

from collections.abc import Iterator

from pratique.inventory.ownership import Keeper
from pratique.model.inventory import Evidence, Gap, OwnershipEvidence, PackageEvidence, SourcePackage
from pratique.model.ports import MEBIBYTE, File, Interest


class Apk:
    """Inspects `lib/apk/db/installed`, which newer releases keep under /usr."""

    name = "apk"
    version = 3
    interest = Interest(
        paths=("lib/apk/db/installed", "usr/lib/apk/db/installed"),
        max_bytes=64 * MEBIBYTE,  # a desktop with 1,500 packages has 20 MiB
    )

    def inspect(self, file: File) -> Iterator[Evidence | Gap]:
        """Yield packages and their files."""
        data, path = file.read(), file.path
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if data and not data.endswith(b"\n"):
            yield Gap(code="inventory.truncated", message="apk: the last line is cut; later packages are missing", path=path)
            data = data[: data.rfind(b"\n") + 1]
        keeper, broken, hidden = Keeper(), 0, 0
        for stanza in data.split(b"\n\n"):
            if not stanza or stanza.isspace():
                continue
            head, _, files = (b"\n" + stanza.strip(b"\n")).partition(b"\nF:")
            head += b"\n"
            hidden += max(0, head.count(b"\nP:") + files.count(b"\nP:") - 1)
            name, version, arch = _field(head, b"\nP:"), _field(head, b"\nV:"), _field(head, b"\nA:")
            if not name:
                broken += 1
                continue
            if not version:
                yield Gap(code="inventory.invalid", message=f"apk: {name[:100]} has no version", path=path)
                continue
            origin, licence = _field(head, b"\no:"), _field(head, b"\nL:")
            yield PackageEvidence(
                type="apk",
                name=name,
                version=version,
                arch=arch,
                source=SourcePackage(origin, version) if origin and origin != name else None,
                licenses=(licence,) if licence else (),
            )
            if paths := _paths(files, keeper):
                yield OwnershipEvidence(type="apk", package=name, arch=arch, paths=tuple(paths))
        if broken:
            yield Gap(code="inventory.invalid", message=f"apk: {broken} entries without a package name", path=path)
        if hidden:
            message = f"apk: {hidden} packages stand in the entries of others; they were not seen"
            yield Gap(code="inventory.invalid", message=message, path=path)


def _field(head: bytes, key: bytes) -> str:
    start = head.find(key)
    if start < 0:
        return ""
    start += 3
    return head[start : head.index(b"\n", start)].decode("utf-8", "replace").strip()


def _paths(files: bytes, keeper: Keeper) -> list[str]:
    """`files` is what follows the first F: line's key: folders (F:), each with its files (R:), each with its facts (a:, Z:)."""
    kept: list[str] = []
    for part in files.decode("utf-8", "replace").split("\nF:") if files else ():
        folder, *entries = part.split("\nR:")
        if entries:
            folder = folder.partition("\n")[0]
            kept += keeper.keep_in(folder + "/" if folder else "", [entry.partition("\n")[0] for entry in entries])
    return kept


INSPECTOR = Apk()
