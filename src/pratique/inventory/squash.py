"""Layer records in, what a container would see out: whiteouts, opaque folders, replaced files and links, as runtimes apply them.

https://github.com/opencontainers/image-spec/blob/main/layer.md; package evidence that an upper layer hides is gone, findings of
detectors stay (what a lower layer leaks, anybody who pulls the image can read).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from pratique.model.inventory import Gap, PackageEvidence
from pratique.model.layer import LayerRecord, LayerTree, Located, shown

MAX_LINKS = 40  # as many as Linux follows before it says ELOOP


Identity = tuple[str, str, str, str]


def identity(evidence: PackageEvidence) -> Identity:
    """Return what stays the same when a package database is written again with the package untouched."""
    return evidence.type, evidence.name, evidence.version, evidence.arch


class Seen(NamedTuple):
    """One inspector's view of one file, with the index of the layer that brought it.

    `origins` tells, for files that several layers wrote (package databases), in which layer each package came first and has been
    ever since; packages that it does not name came with `layer`.
    """

    layer: int
    inspector: str
    located: Located
    origins: Mapping[Identity, int] = {}


class Squashed(NamedTuple):
    """What survives. `leaked` are findings in files that an upper layer hides."""

    alive: list[Seen]
    leaked: list[Seen]
    gaps: list[Gap]


def squash(records: Sequence[LayerRecord]) -> Squashed:
    """Apply layers, lowest first."""
    state = _State()
    for index, record in enumerate(records):
        state.apply(index, record)
    alive = [seen for path in sorted(state.alive) for seen in state.alive[path]]
    return Squashed(alive, state.leaked, state.gaps)


class _State:
    def __init__(self) -> None:
        self.alive: dict[bytes, list[Seen]] = {}
        self.leaked: list[Seen] = []
        self.gaps: list[Gap] = []
        self._links: dict[bytes, bytes] = {}
        self._origins: dict[bytes, dict[Identity, int]] = {}

    def apply(self, index: int, record: LayerRecord) -> None:
        tree = record.tree
        directories = set(tree.directories.split(b"\0")) if tree.directories else set()
        placed = _Placement({**self._links, **tree.symlinks}, directories)
        if self.alive or self._links:
            self._hide(tree, directories, placed)
        for path, target in tree.symlinks.items():
            self._links[placed(path)] = target
        own: dict[bytes, list[Seen]] = {}
        for name, inspected in record.inspected.items():
            for located in inspected.located:
                own.setdefault(located.raw or located.path.encode(), []).append(Seen(index, name, located))
        self._alias(index, tree, own)
        for path, seen in own.items():
            landed = placed(path)
            self.alive[landed] = self._dated(landed, seen)
        for path in self._origins.keys() - self.alive.keys():
            del self._origins[path]

    def _dated(self, path: bytes, seen: list[Seen]) -> list[Seen]:
        """Carry the layer in which each package came first from the former version of the same file to this one."""
        before = self._origins.get(path, {})
        origins: dict[Identity, int] = {}
        for item in seen:
            for evidence in item.located.evidence:
                if isinstance(evidence, PackageEvidence):
                    key = identity(evidence)
                    origins[key] = before.get(key, item.layer)
        self._origins[path] = origins
        return [item._replace(origins=origins) for item in seen] if before else seen

    def _hide(self, tree: LayerTree, directories: set[bytes], placed: _Placement) -> None:
        files = set(tree.files.split(b"\0")) if tree.files else set()
        placed.learn(files)
        if placed.moves:
            files = {placed(path) for path in files}
        covers = files.union(placed(path) for path in tree.whiteouts)
        opaque = {placed(path) for path in tree.opaques}
        hidden_folder: dict[bytes, bool] = {b"": b"" in opaque}

        def hidden(folder: bytes) -> bool:
            """Say whether a folder of the lower layers is covered, itself or by one of its parents."""
            passed: list[bytes] = []
            while (known := hidden_folder.get(folder)) is None:
                passed.append(folder)
                if folder in covers or folder in opaque:
                    known = True
                    break
                folder = folder.rpartition(b"/")[0]
            hidden_folder.update(dict.fromkeys(passed, known))
            return known

        for path in [p for p in self.alive if p in covers or p in directories or hidden(p.rpartition(b"/")[0])]:
            self.leaked += [seen for seen in self.alive.pop(path) if seen.located.findings]
        for path in [p for p in self._links if p in covers or p in directories or hidden(p.rpartition(b"/")[0])]:
            del self._links[path]

    def _alias(self, index: int, tree: LayerTree, own: dict[bytes, list[Seen]]) -> None:
        """Give hard links what their target has: of this layer what content chose, of lower layers everything."""
        for path, target in tree.hardlinks.items():
            if path not in own and target in own:
                copies = [_at(seen, path, index) for seen in own[target] if seen.located.content]
                if copies:
                    own[path] = copies
        for path, target in tree.elsewhere.items():
            if target in self.alive:
                own[path] = [_at(seen, path, index) for seen in self.alive[target]]
            else:
                message = f"a link to {shown(target)}, which this layer does not hold; what it says was not read"
                self.gaps.append(Gap(code="image.link-unresolved", message=message, path=shown(path)))


def _at(seen: Seen, path: bytes, layer: int) -> Seen:
    old = seen.located
    located = msgspec.structs.replace(old, path=shown(path), raw=path)
    return Seen(layer, seen.inspector, located)


class _Placement:
    """Where a path of a layer really lands: a runtime follows symbolic links in the folders above it, unless the layer itself
    brings such a folder as a directory.
    """

    def __init__(self, links: dict[bytes, bytes], directories: set[bytes]) -> None:
        self._links = links
        self._directories = directories
        self._known: dict[bytes, bytes] = {b"": b""}
        self.moves = True

    def learn(self, files: set[bytes]) -> None:
        """Find out whether anything moves at all: only folders that the layer does not bring itself can, and most bring all."""
        folders = {path.rpartition(b"/")[0] for path in files}
        folders.update(path.rpartition(b"/")[0] for path in self._directories)
        self.moves = any(self._folder(folder) != folder for folder in folders - self._directories)

    def __call__(self, path: bytes) -> bytes:
        """Return the path with its folders resolved."""
        folder, slash, base = path.rpartition(b"/")
        if not (slash and self.moves):
            return path
        landed = self._folder(folder)
        return landed + b"/" + base if landed else base

    def _folder(self, folder: bytes) -> bytes:
        """Resolve a folder from the top, following links; a link that leads back to itself ends after MAX_LINKS."""
        known = self._known.get(folder)
        if known is not None:
            return known
        landed = b""
        pending = folder.split(b"/")[::-1]
        followed = 0
        while pending:
            base = pending.pop()
            here = landed + b"/" + base if landed else base
            target = self._links.get(here)
            if target is None or here in self._directories or followed >= MAX_LINKS:
                landed = here
                continue
            followed += 1
            joined = _lexical(target if target.startswith(b"/") else landed + b"/" + target)
            pending += joined.split(b"/")[::-1] if joined else []
            landed = b""
        self._known[folder] = landed
        return landed


def _lexical(path: bytes) -> bytes:
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)
