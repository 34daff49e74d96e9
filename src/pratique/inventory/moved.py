"""The links of an image in, package databases that a runtime finds behind them and nobody has read out, as gaps.

What an inspector wants is told by its path, before the layers are put together. Where a folder above a database is a link, or
where an upper layer writes the file that a database's link leads to, a runtime sees another file than the one that was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pratique.inventory.placement import Placement
from pratique.model.inventory import Gap
from pratique.model.layer import LayerRecord, shown

# What a name that ends in a slash stands for is every file in that folder.
_NAMES = {
    b"etc": (b"os-release",),
    b"usr/lib": (b"os-release",),
    b"var/lib/dpkg": (b"status", b"status.d/"),
    **dict.fromkeys((b"lib/apk/db", b"usr/lib/apk/db"), (b"installed",)),
    **dict.fromkeys(
        (b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm"),
        (b"rpmdb.sqlite", b"Packages.db", b"Packages"),
    ),
}
_PATHS = tuple(folder + b"/" + name for folder, names in _NAMES.items() for name in names)
_KNOWN = frozenset(path.rstrip(b"/") for path in _PATHS)


def moved(links: Mapping[bytes, bytes], records: Sequence[LayerRecord], read: Mapping[bytes, int]) -> list[Gap]:
    """Return a gap for each database that lies elsewhere and was not read there.

    `links` are the symbolic links of the whole image; `read` are the paths where something was read, with the layer of what was.
    """
    gaps: list[Gap] = []
    placed = Placement(links)
    told: set[bytes] = set()
    for path in _PATHS if links else ():
        name = path.rstrip(b"/")
        landed = placed.folder(name)
        if landed in _KNOWN or landed in told:
            continue
        top = _last_with(landed, records, within=path != name)
        if top >= 0 and max(read.get(name, -1), read.get(landed, -1)) < top:
            told.add(landed)
            message = f"by a link this is {shown(landed)}, which was not read"
            gaps.append(Gap(code="image.link-unresolved", message=message, path=shown(name), layer=records[top].diff_id))
    return gaps


def _last_with(path: bytes, records: Sequence[LayerRecord], *, within: bool) -> int:
    """Return the last layer that writes `path`, or something in it; -1 where none does."""
    return next((index for index in range(len(records) - 1, -1, -1) if _writes(records[index].tree.files, path, within)), -1)


def _writes(files: bytes, path: bytes, within: bool) -> bool:  # noqa: FBT001 - private
    if within:
        return files.startswith(path + b"/") or b"\0" + path + b"/" in files
    return files == path or files.startswith(path + b"\0") or files.endswith(b"\0" + path) or b"\0" + path + b"\0" in files
