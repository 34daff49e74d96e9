"""Paths of a layer in, the places where they really land out: a runtime follows symbolic links in the folders above a path."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pratique.inventory.effort import EACH, KEPT, Effort
from pratique.model.layer import LayerTree

MAX_LINKS = 40  # as many as Linux follows before it says ELOOP
MAX_STEPS = 1_000  # parts of one path looked at, those of links included: a hostile path of thousands lands where it says
MAX_PATH = 4_096  # PATH_MAX of Linux: what a link makes longer leads nowhere


class Placement:
    """Resolves the folders of paths; the answers are kept until `forget`."""

    def __init__(self, links: Mapping[bytes, bytes], effort: Effort | None = None) -> None:
        self.links = links
        self._effort = effort or Effort()
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
        at = b""
        followed = steps = cost = 0
        while pending and steps < MAX_STEPS:
            steps += 1
            part = pending.pop()
            cost += len(at) + EACH
            if part == b"..":
                at = at.rpartition(b"/")[0]
            elif part not in (b"", b"."):
                here = at + b"/" + part if at else part
                target = self.links.get(here)
                if target is None or followed >= MAX_LINKS:
                    at = here
                else:
                    followed += 1
                    if target.startswith(b"/"):
                        at = b""
                    cost += EACH * target.count(b"/")
                    pending += target.split(b"/")[::-1]
        rest = [part for part in reversed(pending) if part not in (b"", b".", b"..")]
        landed = b"/".join([at, *rest] if at else rest)
        if len(landed) > MAX_PATH:
            landed = folder
        self._effort.spend(cost + KEPT * (len(landed) + EACH))
        return landed


def placement(
    tree: LayerTree, files: Iterable[bytes], directories: Collection[bytes], lower: Mapping[bytes, bytes], effort: Effort
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
        if folder and folder not in above:
            effort.climb(folder, above)
            above.add(folder)
    links = {**lower, **tree.symlinks}
    effort.spend(EACH * len(lower))
    return Placement(links, effort) if any(path in above for path in links if path not in directories) else None
