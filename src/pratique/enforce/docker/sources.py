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


# File systems of a volume that hold nothing of this machine: memory, and those of other machines, on which the edge has decided.
_OF_NOBODY = frozenset(("tmpfs", "ramfs"))
_OF_OTHERS = frozenset(("nfs", "nfs4", "cifs", "smb3"))


class Mounted(NamedTuple):
    """One mount: which folder (`root`) of which file system (`device`, of a `kind`, from `origin`) is seen at `point`."""

    device: str
    root: str
    point: str
    kind: str = ""
    origin: str = ""


class Bound(NamedTuple):
    """What is to be bound: each as the file system and the folder in it that the kernel is going to name."""

    folders: tuple[tuple[str, str], ...]

    def is_in(self, pid: int) -> bool:
        """Say whether all of it is mounted for a process. Raises OSError where the process is gone."""
        found = Counter((one.device, one.root) for one in read_mounts(Path(f"/proc/{pid}/mountinfo")))
        return all(found[folder] >= count for folder, count in Counter(self.folders).items())


def with_real_sources(spec: Spec, volumes: Sequence[str] = (), asking: int = 0, *, at_edge: bool = True) -> tuple[Spec, Bound]:
    """Return a Spec whose binds are named by where they really are, and how to know them again.

    A volume (a folder in one of `volumes`) on which a path or a device of the machine is mounted is a bind of that. `asking` is
    the runtime's process, which sees what its engine mounted, also where that has a mount namespace of its own. `at_edge` says
    that there is an edge, where volumes on other machines were decided on by what they are called; without one they are "/".
    """
    if not any(mount.kind in ("bind", "volume") for mount in spec.mounts):
        return spec, Bound(())
    mounted = mounts_of(asking)
    own = _OF_NOBODY | _OF_OTHERS if at_edge else _OF_NOBODY
    made = [_really(mount, volumes, mounted, own) for mount in spec.mounts]
    bound = Bound(tuple(inside(path, mounted) for _, path in made if path))
    return msgspec.structs.replace(spec, mounts=tuple(mount for mount, _ in made)), bound


def _really(mount: Mount, volumes: Sequence[str], mounted: list[Mounted], own: frozenset[str]) -> tuple[Mount, str]:
    """Return a mount as what it is, and where it is to be looked for; "" where it is nothing of the machine's."""
    if mount.kind == "bind":
        path = real(mount.source, mounted)
        name, place = _volume(path, volumes)
        device = _device(place, mounted, own) if name else path
        made = msgspec.structs.replace(mount, kind="bind" if device else "volume", source=device or name)
        return made, path if device else ""
    if mount.kind == "volume":
        for folder in volumes:
            place = f"{folder.rstrip('/')}/{mount.source}/_data"
            path = real(place, mounted)
            if not path.startswith(folder):
                return msgspec.structs.replace(mount, kind="bind", source=path), path
            device = _device(os.path.realpath(place), mounted, own)
            if device:
                return msgspec.structs.replace(mount, kind="bind", source=device), path
    return mount, ""


def _device(place: str, mounted: list[Mounted], own: frozenset[str]) -> str:
    """Return what is mounted on a volume's folder: a device, "/" for what nobody can tell, "" for nothing of the machine's."""
    found = next((one for one in reversed(mounted) if one.point == place), None)
    if found is None or found.kind in own:
        return ""
    return found.origin if found.origin.startswith("/") else "/"


def _volume(path: str, volumes: Sequence[str]) -> tuple[str, str]:
    """Return the volume that a path is a part of, and its folder; "" for none: engines show a part elsewhere."""
    for folder in volumes:
        name, data, _ = path.removeprefix(folder).partition("/_data/")
        if path.startswith(folder) and name and data and "/" not in name:
            return name, f"{folder.rstrip('/')}/{name}/_data"
    return "", ""


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
    return [Mounted(parts[2], _plain(parts[3]), _plain(parts[4]), *_of_what(parts[5])) for parts in parted if len(parts) > 5]


def _of_what(rest: str) -> tuple[str, str]:
    """Return the type of a file system and where it comes from: they follow a hyphen that stands alone."""
    kind, _, more = rest.partition(" - ")[2].partition(" ")
    return kind, _plain(more.partition(" ")[0])


def _plain(text: str) -> str:
    """Undo the kernel's octal way to write blanks."""
    head, *rest = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] if part[:3].isdigit() else "\\" + part for part in rest)
