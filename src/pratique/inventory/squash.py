"""Layer records in, what a container would see out: whiteouts, opaque folders, replaced files and links, as runtimes apply them.

https://github.com/opencontainers/image-spec/blob/main/layer.md; package evidence that an upper layer hides is gone, findings of
detectors stay (what a lower layer leaks, anybody who pulls the image can read). Whiteouts hide what lower layers brought,
wherever in their layer they stand.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pratique.inventory.effort import EACH, KEPT, Effort
from pratique.inventory.moved import moved
from pratique.inventory.placement import Placement, placement
from pratique.model.inventory import Gap, PackageEvidence
from pratique.model.layer import LayerRecord, LayerTree, Located, shown

MAX_LINKS = 40  # as many as Linux follows before it says ELOOP

OF_CONTENT = frozenset(("details_content",))  # inspectors that say the same of a file whatever its name

Identity = tuple[str, str, str, str]


def identity(evidence: PackageEvidence) -> Identity:
    """Return what stays the same when a package database is written again with the package untouched."""
    return evidence.type, evidence.name, evidence.version, evidence.arch


class Seen(NamedTuple):
    """One inspector's view of one file, with the index of the layer that brought it.

    `origins` tells, for files that several layers wrote (package databases), in which layer each package came first and has been
    ever since; packages that it does not name came with `layer`. `gaps` are what the inspector could not read in the file.
    """

    layer: int
    inspector: str
    located: Located
    origins: Mapping[Identity, int] = {}
    gaps: tuple[Gap, ...] = ()


class Squashed(NamedTuple):
    """What survives. `leaked` are findings in files that an upper layer hides; `gaps` those of files that are still there."""

    alive: list[Seen]
    leaked: list[Seen]
    gaps: list[Gap]


def squash(records: Sequence[LayerRecord]) -> Squashed:
    """Apply layers, lowest first."""
    state = _State()
    for index, record in enumerate(records):
        state.apply(index, record)
    alive = [seen for path in sorted(state.alive) for seen in state.alive[path]]
    gaps = state.gaps + [gap for seen in alive for gap in seen.gaps]
    gaps += moved(state.links, records, {path: max(seen.layer for seen in found) for path, found in state.alive.items()})
    return Squashed([seen for seen in alive if seen.located.evidence or seen.located.findings], state.leaked, gaps)


class _State:
    def __init__(self) -> None:
        self.alive: dict[bytes, list[Seen]] = {}
        self.leaked: list[Seen] = []
        self.gaps: list[Gap] = []
        self.links: dict[bytes, bytes] = {}
        self._effort = Effort()
        self._above: set[bytes] = set()  # the folders above all that ever was alive or a link
        self._origins: dict[bytes, dict[Identity, int]] = {}

    def apply(self, index: int, record: LayerRecord) -> None:
        tree = record.tree
        own = self._own(index, record)
        files = tree.files.split(b"\0") if tree.files else []
        directories = set(tree.directories.split(b"\0")) if tree.directories else set()
        covers = set(files)
        placed = placement(tree, files, directories, self.links, self._effort)
        if placed is None and self._below_files([*own, *tree.symlinks], covers):
            placed = Placement({}, self._effort)
        self._alias(index, tree, own, placed, covers)
        if self.alive or self.links:
            self._whiteout(tree, directories)
        if placed is None:
            self._cover(covers, directories, set())
            self.links.update(tree.symlinks)
            for path, seen in own.items():
                self.alive[path] = self._dated(path, seen)
        else:
            self._in_order(files, tree, own, placed)
        self._resolve_elsewhere(index, tree, placed)
        for path in [*own, *tree.symlinks] if placed is None else [*self.alive, *self.links]:
            self._effort.climb(path, self._above)
        for path in self._origins.keys() - self.alive.keys():
            del self._origins[path]

    def _below_files(self, paths: Sequence[bytes], files: Container[bytes]) -> bool:
        """Say whether one of the paths lies below what is no folder, by the layer's names alone: one entry replaced another."""
        above: set[bytes] = set()
        for path in paths:
            self._effort.climb(path, above)
        return any(folder in files for folder in above)

    def _own(self, index: int, record: LayerRecord) -> dict[bytes, list[Seen]]:
        """Gather what the inspectors saw in this layer, by path."""
        own: dict[bytes, list[Seen]] = {}
        self.gaps += [msgspec.structs.replace(gap, layer=record.diff_id) for gap in record.gaps]
        for name, inspected in record.inspected.items():
            for located in inspected.located:
                own.setdefault(located.raw or located.path.encode(), []).append(Seen(index, name, located))
            for gap in inspected.gaps:
                dated = msgspec.structs.replace(gap, layer=record.diff_id)
                path = gap.path.partition("!/")[0]
                if path:
                    own.setdefault(path.encode(), []).append(Seen(index, name, Located(path), gaps=(dated,)))
                else:
                    self.gaps.append(dated)
        return own

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

    def _whiteout(self, tree: LayerTree, directories: set[bytes]) -> None:
        """Hide what whiteouts name. They follow the lower layers' links, but not where this layer brings a folder itself."""
        if tree.whiteouts or tree.opaques:
            links = {path: target for path, target in self.links.items() if path not in directories}
            placed = Placement(links, self._effort)
            self._cover({placed(path) for path in tree.whiteouts}, set(), {placed.folder(path) for path in tree.opaques})

    def _cover(self, covers: set[bytes], directories: set[bytes], opaque: set[bytes]) -> None:
        """Remove what is at or below `covers` and below `opaque`, and what is no folder at `directories`."""
        for path in sorted((self.alive.keys() & covers) | (self.alive.keys() & directories)):
            self._lose(path)
        for path in (self.links.keys() & covers) | (self.links.keys() & directories):
            del self.links[path]
        if not opaque and self._above.isdisjoint(covers):
            return
        hidden_folder: dict[bytes, bool] = {b"": b"" in opaque}

        def hidden(path: bytes) -> bool:
            """Say whether a path of the lower layers is covered by one of the folders above it."""
            folder = path.rpartition(b"/")[0]
            unknown = []
            while (known := hidden_folder.get(folder)) is None:
                if folder in covers or folder in opaque:
                    known = hidden_folder[folder] = True
                    break
                unknown.append(folder)
                folder = folder.rpartition(b"/")[0]
            if unknown:
                self._effort.spend(KEPT * sum(map(len, unknown)) + EACH)
                hidden_folder.update(dict.fromkeys(unknown, known))
            return known

        for path in [p for p in self.alive if hidden(p)]:
            self._lose(path)
        for path in [p for p in self.links if hidden(p)]:
            del self.links[path]

    def _lose(self, path: bytes) -> None:
        self.leaked += [seen for seen in self.alive.pop(path) if seen.located.findings]

    def _in_order(self, files: Sequence[bytes], tree: LayerTree, own: dict[bytes, list[Seen]], placed: Placement) -> None:
        """Apply a layer that writes through links, one entry after the other; folders first, as archivers write them."""
        folders = _Folders([*self.alive, *self.links], self._effort)
        placed.links = self.links
        placed.forget()
        for path in tree.directories.split(b"\0") if tree.directories else ():
            landed = placed(path)
            if landed in self.alive:
                self._lose(landed)
            if self.links.pop(landed, None) is not None:
                placed.forget()
        last = {path: number for number, path in enumerate(files) if path in tree.symlinks}
        for number, path in enumerate(files):
            landed = placed(path)
            for gone in folders.below(landed):
                if gone in self.alive:
                    self._lose(gone)
                if self.links.pop(gone, None) is not None:
                    placed.forget()
            if last.get(path) == number:
                self.links[landed] = tree.symlinks[path]
                placed.forget()
                folders.add(landed)
            elif path in own:
                here = own[path] if landed == path else [_moved(seen, landed) for seen in own[path]]
                self.alive[landed] = self._dated(landed, here)
                folders.add(landed)
        for path in own.keys() - set(files):  # gaps of files whose names are not text
            self.alive.setdefault(path, []).extend(own[path])

    def _alias(
        self, index: int, tree: LayerTree, own: dict[bytes, list[Seen]], placed: Placement | None, files: Container[bytes]
    ) -> None:
        """Give hard links what their target has: what content chose, or everything where the name has the same readers."""
        for path, target in tree.hardlinks.items():
            if path in tree.elsewhere:
                target = tree.elsewhere[path]  # noqa: PLW2901 - the end of a chain of links
            found = own.get(target) or self.alive.get(placed(target) if placed is not None else target, [])
            by_content = [seen for seen in found if seen.located.content or seen.inspector in OF_CONTENT]
            kept = found if path in tree.elsewhere else by_content
            if kept and path not in own:
                own[path] = [_at(seen, path, index) for seen in kept]
            elif path in tree.elsewhere and path not in own and target not in files:
                self._unresolved(path, target)

    def _resolve_elsewhere(self, index: int, tree: LayerTree, placed: Placement | None) -> None:
        """Give symbolic links to package databases what their target has in this or a lower layer."""
        for path, target in tree.elsewhere.items():
            if path in tree.symlinks:
                found = self.alive.get(placed(target) if placed is not None else target)
                if found:
                    self.alive[placed(path) if placed is not None else path] = [_at(seen, path, index) for seen in found]
                else:
                    self._unresolved(path, target)

    def _unresolved(self, path: bytes, target: bytes) -> None:
        message = f"a link to {shown(target)}, which this layer does not hold; what it says was not read"
        self.gaps.append(Gap(code="image.link-unresolved", message=message, path=shown(path)))


def _moved(seen: Seen, path: bytes) -> Seen:
    text = shown(path)
    raw = b"" if text.encode() == path else path
    return seen._replace(located=msgspec.structs.replace(seen.located, path=text, raw=raw))


def _at(seen: Seen, path: bytes, layer: int) -> Seen:
    return _moved(seen, path)._replace(layer=layer, origins={}, gaps=())


class _Folders:
    """Paths by folder, to find what lies below one without a look at all."""

    def __init__(self, paths: Sequence[bytes], effort: Effort) -> None:
        self._effort = effort
        self._inside: dict[bytes, set[bytes]] = {}
        self._paths: set[bytes] = set()
        for path in paths:
            self.add(path)

    def add(self, path: bytes) -> None:
        """Enter a path, and the folders above it as far as they are not there."""
        self._paths.add(path)
        cost = EACH
        while path:
            folder = path.rpartition(b"/")[0]
            inside = self._inside.setdefault(folder, set())
            if path in inside:
                break
            inside.add(path)
            cost += KEPT * (len(folder) + EACH)
            path = folder
        self._effort.spend(cost)

    def below(self, path: bytes) -> list[bytes]:
        """Take out and return all paths at and below one, itself first."""
        if path not in self._paths and path not in self._inside:
            return []
        found, pending = [], [path]
        while pending:
            one = pending.pop()
            if one in self._paths:
                self._paths.remove(one)
                found.append(one)
            pending += self._inside.pop(one, ())
        self._inside.get(path.rpartition(b"/")[0], set()).discard(path)
        return found
