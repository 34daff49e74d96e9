"""What one layer did to the file tree, and what the inspectors saw in it: the unit that is cached."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pratique.model.finding import Finding
from pratique.model.inventory import Evidence, Gap


class Selection(NamedTuple):
    """Who wants a file: indices of inspectors, the most bytes that any of them reads, and whether content decided."""

    who: tuple[int, ...]
    max_bytes: int
    content: bool


NOBODY = Selection((), 0, content=False)


def shown(path: bytes) -> str:
    r"""Return a path as text: bytes that are not UTF-8 appear as \xNN, so that every document can carry it."""
    return path.decode("utf-8", "backslashreplace")


class LayerTree(msgspec.Struct, kw_only=True):
    """The paths of one layer. Paths have no leading slash and are bytes as in the archive.

    `files` and `directories` are joined by NUL, in order of appearance; `files` holds everything that is no directory.
    `whiteouts` hide a path of lower layers, `opaques` the whole content that lower layers put into a directory.
    `elsewhere` are wanted links whose target is not in this layer. `setuid` are files that run with the rights of their owner
    (setuid, setgid), with their mode; `capable` those that give capabilities to whoever runs them.
    """

    files: bytes = b""
    directories: bytes = b""
    whiteouts: list[bytes] = msgspec.field(default_factory=list)
    opaques: list[bytes] = msgspec.field(default_factory=list)
    symlinks: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    hardlinks: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    elsewhere: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    setuid: dict[bytes, int] = msgspec.field(default_factory=dict)
    capable: list[bytes] = msgspec.field(default_factory=list)
    entries: int = 0
    size: int = 0


class Located(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one inspector saw in one file. `content` is true where the content and not the name chose the file.

    `raw` is the path as in the archive where that is not UTF-8, else empty.
    """

    path: str
    evidence: tuple[Evidence, ...] = ()
    findings: tuple[Finding, ...] = ()
    content: bool = False
    raw: bytes = b""


class Inspected(msgspec.Struct, frozen=True):
    """All that one version of one inspector saw in a layer."""

    version: int
    located: tuple[Located, ...]
    gaps: tuple[Gap, ...] = ()


class LayerRecord(msgspec.Struct, kw_only=True):
    """A layer, examined. `gaps` are those of the walk itself; those of inspectors stand with them."""

    diff_id: str
    tree: LayerTree
    inspected: dict[str, Inspected]
    gaps: list[Gap] = msgspec.field(default_factory=list)
