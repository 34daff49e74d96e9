"""Interests of all inspectors in, one index out: which inspectors want a file, by path and first bytes, in a few look-ups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pratique.model.layer import Selection
from pratique.model.ports import Interest

MAX_FOLDERS_REMEMBERED = 65_536  # folders repeat from entry to entry; the memory of them is dropped when it gets larger


class InterestIndex:
    """Compiled interests. `select` is called for every file of an image."""

    def __init__(self, interests: Sequence[Interest]) -> None:
        self._interests = interests
        names: dict[bytes, list[int]] = defaultdict(list)
        paths: dict[bytes, list[int]] = defaultdict(list)
        suffixes: dict[bytes, list[tuple[bytes, int]]] = defaultdict(list)
        folders: dict[bytes, list[int]] = defaultdict(list)
        magics: dict[bytes, list[tuple[bytes, int]]] = defaultdict(list)
        for index, interest in enumerate(interests):
            for name in interest.names:
                names[name.encode()].append(index)
            for path in interest.paths:
                paths[path.encode()].append(index)
            for suffix in interest.suffixes:
                suffixes[suffix[suffix.rindex(".") :].encode()].append((suffix.encode(), index))
            for folder in interest.under:
                folders[folder.strip("/").encode()].append(index)
            for magic in interest.magic:
                magics[magic[:2]].append((magic, index))
        self._names, self._paths, self._suffixes = dict(names), dict(paths), dict(suffixes)
        self._folders = {folder: tuple(who) for folder, who in folders.items()}
        self._magics = dict(magics)
        self._every = tuple(index for index, interest in enumerate(interests) if interest.everything)
        self._under: dict[bytes, tuple[int, ...]] = {}
        self._made: dict[tuple[int, ...], Selection] = {}
        self.rest = self._selection(self._every, content=False) if self._every else None  # what nobody else wants

    def select(self, path: bytes, head: bytes) -> Selection | None:
        """Return who wants the file at `path` (no leading slash) that begins with `head`; None where nobody does."""
        folder, _, base = path.rpartition(b"/")
        dot = base.rfind(b".")
        by_name = self._names.get(base)
        by_suffix = self._suffixes.get(base[dot:]) if dot >= 0 else None
        by_path = self._paths.get(path)
        by_folder = self._under.get(folder)
        if by_folder is None:
            by_folder = self._enter(folder)
        by_magic = self._magics.get(head[:2])
        if not (by_name or by_suffix or by_path or by_folder or by_magic):
            return self.rest
        who = {*(by_name or ()), *(by_path or ()), *by_folder}
        if by_suffix:
            who.update(index for suffix, index in by_suffix if base.endswith(suffix))
        content = False
        if by_magic and not who:
            who.update(index for magic, index in by_magic if head.startswith(magic))
            content = True
        elif by_magic:
            who.update(index for magic, index in by_magic if head.startswith(magic))
        return self._selection(tuple(sorted(who.union(self._every))), content=content) if who else self.rest

    def exact(self, path: bytes) -> bool:
        """Say whether somebody names this very path: a package database or the like, which is wanted even through a link."""
        return path in self._paths

    def _selection(self, who: tuple[int, ...], *, content: bool) -> Selection:
        key = (*who, -1) if content else who
        made = self._made.get(key)
        if made is None:
            most = max(self._interests[index].max_bytes for index in who)
            made = self._made[key] = Selection(who, most, content)
        return made

    def _enter(self, folder: bytes) -> tuple[int, ...]:
        """Find the wanted folders that `folder` is or lies in, and remember the answer; that of its parent is mostly known."""
        found: tuple[int, ...] = ()
        parent = folder
        while parent and self._folders:
            found += self._folders.get(parent, ())
            parent = parent.rpartition(b"/")[0]
            if (above := self._under.get(parent)) is not None:
                found += above
                break
        if len(self._under) >= MAX_FOLDERS_REMEMBERED:
            self._under.clear()
        self._under[folder] = found
        return found
