"""What is bound into a container in, where it really is out - and whether it was that which got bound.

A folder that is mounted in several places is called by the one that shows the most of its file system: what is bound from there
is what a policy's globs are about, whatever it was called in the request. A path can be exchanged for a link between the decision
and the mount; so what was decided on is looked for among the mounts of the container before its first process runs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pratique.workload.spec import Mount, Spec

_MOUNTS = Path("/proc/self/mountinfo")
# A machine with thousands of containers has tens of thousands of mounts, at about 150 bytes each.
_MAX_MOUNTS = 16 << 20


class Mounted(NamedTuple):
    """One mount: which folder (`root`) of which file system (`device`) is seen at `point`."""

    device: str
    root: str
    point: str


class Bound(NamedTuple):
    """What is to be bound: each as the file system and the folder in it that the kernel is going to name."""

    folders: tuple[tuple[str, str], ...]

    def is_in(self, pid: int) -> bool:
        """Say whether all of it is mounted for a process. Raises OSError where the process is gone."""
        found = Counter((one.device, one.root) for one in read_mounts(Path(f"/proc/{pid}/mountinfo")))
        return all(found[folder] >= count for folder, count in Counter(self.folders).items())


def with_real_sources(spec: Spec, volumes: Sequence[str] = (), asking: int = 0) -> tuple[Spec, Bound]:
    """Return a Spec whose binds are named by where they really are, and how to know them again.

    A volume (a folder in one of `volumes`) on which a path of the machine is mounted is a bind of that path. `asking` is the
    runtime's process, which sees what its engine mounted, also where that has a mount namespace of its own.
    """
    if not any(mount.kind in ("bind", "volume") for mount in spec.mounts):
        return spec, Bound(())
    mounted = mounts_of(asking)
    made = tuple(_really(mount, volumes, mounted) for mount in spec.mounts)
    sources = [mount.source for mount in made if mount.kind == "bind"]
    return msgspec.structs.replace(spec, mounts=made), Bound(tuple(inside(path, mounted) for path in sources))


def _really(mount: Mount, volumes: Sequence[str], mounted: list[Mounted]) -> Mount:
    if mount.kind == "bind":
        path = real(mount.source, mounted)
        name = _volume(path, volumes)
        return msgspec.structs.replace(mount, kind="volume" if name else "bind", source=name or path)
    if mount.kind == "volume":
        for folder in volumes:
            path = real(f"{folder.rstrip('/')}/{mount.source}/_data", mounted)
            if not path.startswith(folder):
                return msgspec.structs.replace(mount, kind="bind", source=path)
    return mount


def _volume(path: str, volumes: Sequence[str]) -> str:
    """Return the volume that a path is a part of, "" for none: engines mount a part of one by way of a folder of their own."""
    for folder in volumes:
        name, data, _ = path.removeprefix(folder).partition("/_data/")
        if path.startswith(folder) and name and data and "/" not in name:
            return name
    return ""


def inside(path: str, mounted: list[Mounted]) -> tuple[str, str]:
    """Return the file system that a path is on, and its folder there; ("", path) where nobody can tell."""
    own = max((one for one in mounted if _below(path, one.point)), key=lambda one: len(one.point), default=None)
    return (own.device, _joined(own.root, path[len(own.point.rstrip("/")) :])) if own is not None else ("", path)


def real(source: str, mounted: list[Mounted]) -> str:
    """Return where a path really is, or would be made; "/" where nobody can tell."""
    try:
        path = str(Path(source).resolve(strict=True))
        if _is_root(path):
            return "/"
    except FileNotFoundError:  # an engine makes the folders that are missing, as root, below whatever a link leads to
        path = os.path.realpath(source)
    except (OSError, RuntimeError, ValueError):
        return "/"
    device, folder = inside(path, mounted)
    known = [one for one in mounted if one.device == device and _below(folder, one.root)]
    if not known:
        return path
    widest = min(known, key=lambda one: (len(one.root), len(one.point)))
    return _joined(widest.point, folder[len(widest.root.rstrip("/")) :])


def _is_root(path: str) -> bool:
    """Say whether it is the machine's root by another name, as /proc has: a folder is what its device and number are."""
    seen, root = os.stat(path), os.stat("/")  # noqa: PTH116 - strings all along
    return (seen.st_dev, seen.st_ino) == (root.st_dev, root.st_ino)


def _below(path: str, folder: str) -> bool:
    return folder in ("/", path) or path.startswith(folder + "/")


def _joined(folder: str, rest: str) -> str:
    return (folder.rstrip("/") + "/" + rest.strip("/")).rstrip("/") or "/"


def mounts_of(process: int) -> list[Mounted]:
    """Return what is mounted for a process; for this one where that is gone."""
    if process > 0:
        try:
            return read_mounts(Path(f"/proc/{process}/mountinfo"))
        except OSError:
            pass  # what it asked is void then
    return mounts()


def mounts() -> list[Mounted]:
    """Return what is mounted on this machine, the newest last; empty where the kernel does not say."""
    try:
        return read_mounts(_MOUNTS)
    except OSError:
        return []


def read_mounts(file: Path) -> list[Mounted]:
    """Read a mountinfo of proc(5). Raises OSError."""
    with file.open("rb") as stream:
        lines = stream.read(_MAX_MOUNTS).decode("utf-8", "surrogateescape").splitlines()
    parted = (line.split(" ", 5) for line in lines)
    return [Mounted(parts[2], _plain(parts[3]), _plain(parts[4])) for parts in parted if len(parts) > 5]


def _plain(text: str) -> str:
    """Undo the kernel's octal way to write blanks."""
    head, *rest = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] if part[:3].isdigit() else "\\" + part for part in rest)
