"""Paths of a layer in, the places where they really land out: a runtime follows symbolic links in the folders above a path."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pratique.model.layer import LayerTree

MAX_LINKS = 40  # as many as Linux follows before it says ELOOP
MAX_STEPS = 1_000  # parts of one path looked at, those of links included: a hostile path of thousands lands where it says


class Placement:
    """Resolves the folders of paths; the answers are kept until `forget`."""

    def __init__(self, links: Mapping[bytes, bytes]) -> None:
        self.links = links
        self._known: dict[bytes, bytes] = {}

    def forget(self) -> None:
        """Drop all answers: a link came or went."""
        self._known.clear()

    def __call__(self, path: bytes) -> bytes:
        """Return the path with its folders resolved."""
        folder, slash, base = path.rpartition(b"/")
        if not slash:
            return path
        landed = self.folder(folder)
        return landed + b"/" + base if landed else base

    def folder(self, folder: bytes) -> bytes:
        """Return a folder resolved, its own last part included."""
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = self._resolve(folder) if self.links else folder
        return known

    def _resolve(self, folder: bytes) -> bytes:
        pending = folder.split(b"/")[::-1]
        at: list[bytes] = []
        followed = steps = 0
        while pending and steps < MAX_STEPS:
            steps += 1
            part = pending.pop()
            if part == b"..":
                del at[-1:]
            elif part not in (b"", b"."):
                at.append(part)
                target = self.links.get(b"/".join(at))
                if target is not None and followed < MAX_LINKS:
                    followed += 1
                    at = [] if target.startswith(b"/") else at[:-1]
                    pending += target.split(b"/")[::-1]
        return b"/".join([*at, *(part for part in reversed(pending) if part not in (b"", b".", b".."))])


def placement(
    tree: LayerTree, files: Iterable[bytes], directories: Collection[bytes], lower: Mapping[bytes, bytes]
) -> Placement | None:
    """Return where the paths of a layer land, or None where each lands where it says: no link stands above any of them.

    Only links that the layer does not replace by a folder of its own count, and most layers bring all their folders.
    """
    if not (lower or tree.symlinks):
        return None
    above: set[bytes] = set()
    folders = {path.rpartition(b"/")[0] for path in files}
    folders.update(path.rpartition(b"/")[0] for path in directories)
    for folder in folders:
        while folder and folder not in above:
            above.add(folder)
            folder = folder.rpartition(b"/")[0]  # noqa: PLW2901 - climbs
    links = {**lower, **tree.symlinks}
    return Placement(links) if any(path in above for path in links if path not in directories) else None
