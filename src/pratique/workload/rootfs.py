"""The entries of an image's layers in, what a container would find out: owners, modes and links, as runtimes have it.

https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

MAX_LINKS = 40  # as many as Linux follows before it says ELOOP
Kind = Literal["folder", "file", "link", "other"]


class Item(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One entry. `link` is the target of a symbolic link, `capabilities` what whoever runs the file is given.

    `content` is there for the few files that were asked for. `members` counts what is in a folder.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    link: str = ""
    capabilities: tuple[str, ...] = ()
    content: bytes | None = None
    members: int = 0

    @property
    def privileged(self) -> bool:
        """Say whether it gives rights to whoever runs it."""
        return self.kind == "file" and (bool(self.capabilities) or bool(self.mode & 0o6000))

    def allows(self, right: int, uid: int, groups: frozenset[int]) -> bool:
        """Say whether an account has a right (4 reading, 2 writing, 1 running or entering), by owner and mode alone."""
        shift = 6 if uid == self.uid else 3 if self.gid in groups else 0
        return bool(self.mode >> shift & right)


ROOT = Item("folder", 0o755, 0, 0)


class Rootfs(msgspec.Struct, frozen=True):
    """What a container finds, by absolute path. Folders and links are all there; of files those that somebody may want to know:
    with rights, with owners other than root, that others may write, and those that were asked for.
    """

    items: dict[str, Item]

    def resolve(self, path: str) -> tuple[str, Item | None]:
        """Follow links; return where a path leads, and what is there (None: nothing, or nothing that is known)."""
        parts = [part for part in reversed(path.split("/")) if part]
        done: list[str] = []
        followed = 0
        while parts:
            part = parts.pop()
            if part in (".", ".."):
                done = done[:-1] if part == ".." else done
                continue
            here = "/" + "/".join([*done, part])
            item = self.items.get(here)
            if item is None or item.kind != "link":
                done.append(part)
                continue
            followed += 1
            if followed > MAX_LINKS:
                return here, None
            parts += reversed([piece for piece in item.link.split("/") if piece])
            done = [] if item.link.startswith("/") else done
        found = "/" + "/".join(done)
        return found, self.items.get(found) if done else self.items.get("/", ROOT)

    def below(self, folder: str) -> Iterator[tuple[str, Item]]:
        """Yield what is known to be in a folder, at any depth."""
        start = folder.rstrip("/") + "/"
        for path, item in self.items.items():
            if path.startswith(start) and path != start:
                yield path, item


class _Node:
    __slots__ = ("children", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.children: dict[str, _Node] = {}


class Layers:
    """Layers laid over one another, lowest first: `hide` and `clear` of a layer come before its `put`."""

    def __init__(self) -> None:
        self._root = _Node(ROOT)

    def hide(self, path: str) -> None:
        """Take away what lower layers put at a path."""
        above, name = self._above(path)
        if above is not None:
            above.children.pop(name, None)

    def clear(self, folder: str) -> None:
        """Take away what lower layers put into a folder."""
        node = self._find(folder)
        if node is not None:
            node.children.clear()

    def put(self, path: str, item: Item) -> None:
        """Enter one entry; a folder keeps what is in it."""
        parts = [part for part in path.split("/") if part]
        if not parts:
            self._root.item = item
            return
        above = self._folder(parts[:-1])
        old = above.children.get(parts[-1])
        if old is not None and old.item.kind == item.kind == "folder":
            old.item = item
        else:
            above.children[parts[-1]] = _Node(item)

    def find(self, path: str) -> Item | None:
        """Return what is at a path, for hard links to it."""
        node = self._find(path)
        return node.item if node is not None else None

    def rootfs(self) -> Rootfs:
        """Return what is there now, as `Rootfs` says which files."""
        found: dict[str, Item] = {}
        waiting: list[tuple[str, _Node]] = [("/", self._root)]
        while waiting:
            path, node = waiting.pop()
            item = node.item
            if item.kind == "folder":
                found[path] = msgspec.structs.replace(item, members=len(node.children))
            elif item.kind != "file" or _matters(item):
                found[path] = item
            waiting += [(f"{path.rstrip('/')}/{name}", child) for name, child in node.children.items()]
        return Rootfs(dict(sorted(found.items())))

    def _above(self, path: str) -> tuple[_Node | None, str]:
        head, _, name = path.strip("/").rpartition("/")
        return self._find(head), name

    def _find(self, path: str) -> _Node | None:
        node = self._root
        for part in path.split("/"):
            if part:
                child = node.children.get(part)
                if child is None:
                    return None
                node = child
        return node

    def _folder(self, parts: list[str]) -> _Node:
        """Return the folder that an entry goes into: links of lower layers are followed inside of the image, gaps are filled."""
        trail, waiting, followed = [self._root], list(reversed(parts)), 0
        while waiting:
            part = waiting.pop()
            if part in (".", ".."):
                if part == ".." and len(trail) > 1:
                    trail.pop()
                continue
            children = trail[-1].children
            child = children.get(part)
            if child is not None and child.item.kind == "link" and followed < MAX_LINKS:
                followed += 1
                waiting += reversed([piece for piece in child.item.link.split("/") if piece])
                if child.item.link.startswith("/"):
                    del trail[1:]
                continue
            if child is None or child.item.kind != "folder":
                child = children[part] = _Node(ROOT)
            trail.append(child)
        return trail[-1]


def _matters(item: Item) -> bool:
    return item.content is not None or item.privileged or item.uid != 0 or item.gid != 0 or bool(item.mode & 0o022)


def accounts(rootfs: Rootfs) -> Mapping[str, tuple[int, int, str]]:
    """Return the accounts of an image by name: user, group and home folder, as /etc/passwd has them."""
    found: dict[str, tuple[int, int, str]] = {}
    for fields in _lines(rootfs, "/etc/passwd", 6):
        if fields[2].isdecimal() and fields[3].isdecimal() and len(fields[2] + fields[3]) < 21:
            found.setdefault(fields[0], (int(fields[2]), int(fields[3]), fields[5]))
    return found


def groups_of(rootfs: Rootfs, account: str) -> frozenset[int]:
    """Return the numbers of the groups that name an account as their member, as /etc/group has them."""
    lines = _lines(rootfs, "/etc/group", 4)
    return frozenset(int(fields[2]) for fields in lines if fields[2].isdecimal() and account in fields[3].split(","))


def group_number(rootfs: Rootfs, name: str) -> int | None:
    """Return the number of a group of the image, None without one."""
    return next(
        (int(fields[2]) for fields in _lines(rootfs, "/etc/group", 3) if fields[0] == name and fields[2].isdecimal()), None
    )


def _lines(rootfs: Rootfs, path: str, least: int) -> Iterator[list[str]]:
    _, item = rootfs.resolve(path)
    content = item.content if item is not None and item.content is not None else b""
    for line in content.decode("utf-8", "replace").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least and not line.startswith("#"):
            yield fields
