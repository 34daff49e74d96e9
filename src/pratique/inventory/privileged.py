"""The trees of an image's layers in, the files that give rights to whoever runs them out, as they are in the squashed image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pratique.model.inventory import PrivilegedFile
from pratique.model.layer import LayerTree, shown

MAX_FILES = 2_000  # of one image; a whole desktop has some fifty


def privileged_files(trees: Sequence[LayerTree], diff_ids: Sequence[str]) -> tuple[PrivilegedFile, ...]:
    """Return files with setuid or setgid bits or capabilities, those that an upper layer replaces or hides left out.

    `diff_ids` are the layers', lowest first. Paths are compared as they are written: links between folders are not followed, so
    that a file may be listed that an upper layer hides under another name of its folder, never the other way round.
    """
    alive: dict[bytes, PrivilegedFile] = {}
    for tree, diff_id in zip(trees, diff_ids, strict=True):
        if alive:
            alive = {path: file for path, file in alive.items() if not _hides(tree, path)}
        for path in {*tree.setuid, *tree.capable}:
            if len(alive) < MAX_FILES:
                alive[path] = PrivilegedFile(shown(path), diff_id, tree.setuid.get(path, 0), path in tree.capable)
    return tuple(sorted(alive.values()))


def _hides(tree: LayerTree, path: bytes) -> bool:
    """Say whether a layer puts something else in the place of a path, or removes it."""
    places = [path, *_folders(path)]
    return (
        any(place in tree.whiteouts for place in places)
        or any(folder in tree.opaques for folder in (*places[1:], b""))
        or any(_among(place, tree.files) for place in places)
        or _among(path, tree.directories)
    )


def _among(path: bytes, joined: bytes) -> bool:
    """Say whether a path is one of those that are joined by NUL, without taking them apart: a layer may have a million."""
    within = b"\0" + path + b"\0"
    return within in joined or joined.startswith(within[1:]) or joined.endswith(within[:-1]) or joined == path


def _folders(path: bytes) -> Iterator[bytes]:
    """Yield the folders that a path is in, the innermost first."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path
