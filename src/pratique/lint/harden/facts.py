"""The configuration and the files of an image in, what a container of it starts and as whom out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pratique.workload.rootfs import Item, Rootfs, accounts, group_number, groups_of
from pratique.workload.spec import number_of

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # what engines set where an image sets none
_INITS = frozenset(("tini", "dumb-init", "catatonit", "docker-init"))  # they stay, and pass signals on
_WRAPPERS = _INITS | {"env", "nohup", "nice"}
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh"))
_KERNEL = ("/proc", "/sys", "/dev")
# Files that making an account copies into its home; nobody writes them.
_SKELETON = frozenset((".bashrc", ".bash_logout", ".profile", ".keep", ".gitkeep", ".wh..wh..opq"))
MAX_WRITABLE = 500  # folders that are told apart; an account with as many may write everywhere
MAX_LISTED = 1_000  # words, ports, volumes of a configuration: people write some dozens


class Who(NamedTuple):
    """An account; `uid` is None where the image does not know it. `named` says that it was given by its name."""

    uid: int | None
    gid: int | None
    groups: frozenset[int]
    named: bool
    text: str


class Program(NamedTuple):
    """A program that is started: its name, where it lies ("" unknown), what is there, and the wrapper that stays before it."""

    name: str
    path: str
    item: Item | None
    arguments: tuple[str, ...]
    wrapper: str = ""

    @property
    def script(self) -> str:
        """Return the text of a shell script, "" for any other program."""
        if self.name in _SHELLS:
            words = self.arguments
            at = next((number for number, word in enumerate(words) if word.startswith("-") and "c" in word), -1)
            return words[at + 1] if 0 <= at < len(words) - 1 else ""
        content = self.item.content if self.item is not None and self.item.content is not None else b""
        head = content[:128].split(b"\n", 1)[0]
        shell = head[:2] == b"#!" and any(word.rpartition(b"/")[2].decode("latin-1") in _SHELLS for word in head[2:].split())
        return content.decode("utf-8", "replace") if shell else ""


class ImageFacts(msgspec.Struct, frozen=True):
    """An image as a container of it sees it. `config` is the inner part of its configuration."""

    config: Mapping[str, Any]
    rootfs: Rootfs

    def who(self, user: str, group: str | None = None) -> Who:
        """Return an account of `user[:group]`, names and numbers alike; root where nothing is said."""
        name, _, own_group = user.partition(":")
        name, group = name.strip(), group or own_group or None
        known = accounts(self.rootfs)
        number = number_of(name) if name else 0
        entry = known.get(name) if number is None or name == "root" else next((e for e in known.values() if e[0] == number), None)
        uid = number if number is not None else entry[0] if entry is not None else None
        gid = number_of(group) if group else entry[1] if entry is not None else 0 if uid is not None else None
        if group and gid is None:
            gid = group_number(self.rootfs, group)
        called = name if name in known else next((key for key, e in known.items() if e[0] == uid), "")
        groups = groups_of(self.rootfs, called) if called else frozenset()
        return Who(uid, gid, groups | ({gid} if gid is not None else set()), bool(name) and not name.isdecimal(), user or "root")

    def words(self, key: str) -> tuple[str, ...]:
        """Return Entrypoint or Cmd."""
        value = self.config.get(key)
        items = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        return tuple(item for item in items[:MAX_LISTED] if isinstance(item, str))

    def names(self, key: str) -> tuple[str, ...]:
        """Return the keys of ExposedPorts or Volumes."""
        value = self.config.get(key)
        return (
            tuple(sorted(name for name in list(value)[:MAX_LISTED] if isinstance(name, str))) if isinstance(value, dict) else ()
        )

    @property
    def user(self) -> str:
        """Return USER."""
        value = self.config.get("User")
        return value.strip() if isinstance(value, str) else ""

    @property
    def workdir(self) -> str:
        """Return WORKDIR."""
        value = self.config.get("WorkingDir")
        return value if isinstance(value, str) and value.startswith("/") else "/"

    def _search(self) -> str:
        env = self.config.get("Env")
        for text in env[:MAX_LISTED] if isinstance(env, list) else ():
            if isinstance(text, str) and text.startswith("PATH="):
                return text[5:]
        return _PATH

    def program(self, words: Sequence[str]) -> Program | None:
        """Return what a command line starts, wrappers such as tini passed over; None without one."""
        rest, wrapper = list(words), ""
        while rest and rest[0].rsplit("/", 1)[-1] in _WRAPPERS:
            name = rest[0].rsplit("/", 1)[-1]
            wrapper = name if name in _INITS else wrapper
            rest = rest[1:]
            while rest and (rest[0].startswith("-") or "=" in rest[0]):
                rest = rest[1:]
        if not rest:
            return None
        name = rest[0]
        if "/" in name:
            places = [name if name.startswith("/") else f"{self.workdir}/{name}"]
        else:
            places = [f"{folder}/{name}" for folder in self._search().split(":") if folder.startswith("/")]
        for place in places:
            path, item = self.rootfs.resolve(place)
            if item is not None and item.kind == "file":
                return Program(name.rsplit("/", 1)[-1], path, item, tuple(rest[1:]), wrapper)
        return Program(name.rsplit("/", 1)[-1], places[0] if "/" in name else "", None, tuple(rest[1:]), wrapper)

    def wanted_names(self) -> frozenset[str]:
        """Return the names of files whose content tells what is started."""
        return frozenset(
            word.rsplit("/", 1)[-1] for word in (*self.words("Entrypoint"), *self.words("Cmd")) if word and len(word) < 200
        )

    def writable(self, who: Who) -> list[str]:
        """Return the folders that an account may write into, those of the kernel left out; none below another."""
        if who.uid is None:
            return []
        found: list[str] = []
        taken = set(_KERNEL)
        for path, item in self.rootfs.items.items():
            if item.kind != "folder" or not item.allows(2, who.uid, who.groups) or not item.allows(1, who.uid, who.groups):
                continue
            if path != "/" and not is_below(path, taken):
                found.append(path)
                taken.add(path)
            if len(found) == MAX_WRITABLE:
                break
        return found

    def loose_files(self, who: Who, covered: Sequence[str]) -> list[str]:
        """Return the files that an account may write although it may not write the folders they are in."""
        if who.uid is None:
            return []
        closed = {*_KERNEL, *covered}
        files = ((path, item) for path, item in self.rootfs.items.items() if item.kind == "file")
        return [path for path, item in files if item.allows(2, who.uid, who.groups) and not is_below(path, closed)]

    def is_of_devices(self, folder: str) -> bool:
        """Say whether nothing is in a folder but links to devices, as images link logs to /dev/stdout."""
        item = self.rootfs.items.get(folder)
        direct = [inner for path, inner in self.rootfs.below(folder) if path.rpartition("/")[0] == folder.rstrip("/")]
        to_devices = all(inner.kind == "link" and inner.link.startswith(("/dev/", "/proc/self/fd/")) for inner in direct)
        return item is not None and item.members == len(direct) and to_devices

    def is_empty(self, folder: str) -> bool:
        """Say whether nothing is in a folder that hiding it would take away: only folders that are empty, too."""
        item = self.rootfs.items.get(folder)
        if item is None or item.members == 0:
            return True
        known = list(self.rootfs.below(folder))
        seen: dict[str, int] = {}
        for path, _ in known:
            above = path.rpartition("/")[0] or "/"
            seen[above] = seen.get(above, 0) + 1
        for path, inner in [(folder, item), *known]:
            if inner.kind == "folder" and seen.get(path, 0) < inner.members:
                return False  # there are files that nobody here has looked at
            if inner.kind in ("file", "link", "other") and path.rpartition("/")[2] not in _SKELETON:
                return False
        return True


def is_below(path: str, folders: Collection[str]) -> bool:
    """Say whether a path is one of these folders, or in it; quick where they are a set."""
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return "/" in folders
