"""A step of a build by BuildKit, which the engine runs within itself, in; what of it is the builder's own doing, taken away.

No plugin sees what such a build asks for: it is said on a connection that the engine took over. So a builder is let through with
what a build needs, and each step is decided on when its runtime starts it.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec

from pratique.workload.spec import Mount, Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pratique.model.privilege import Subject

_ID = re.compile(r"[a-z0-9]{20,40}")
# Where the engine keeps the layers that a step mounts, its caches, and the secrets that were sent to it.
_STORES = ("overlay2/", "vfs/dir/", "fuse-overlayfs/", "btrfs/subvolumes/", "zfs/graph/", "buildkit/", "tmp/buildkit-")
# The control groups that it puts steps into, with either driver.
_GROUPS = ("/docker/buildkit", "system.slice")
# Builders whose connections are known at once; each has one or two.
_MAX_CHANNELS = 1_000
# Seconds until the engine has taken a connection over, and for which a builder counts whose connection is not seen.
_OPENING, _UNSEEN = 30.0, 600.0


def is_step(root: str, path: str, identifier: str) -> bool:
    """Say whether a runtime's file is that of a step, in the folder of an engine that keeps all in `root`."""
    return _ID.fullmatch(identifier) is not None and path == f"{root}/buildkit/executor/{identifier}/config.json"


def without_its_own(spec: Spec, root: str) -> Spec:
    """Leave out what BuildKit mounts of its own stores, and the control group that it puts every step into."""
    mounts = tuple(mount for mount in spec.mounts if not _is_own(mount, f"{root}/"))
    group = None if spec.cgroup_parent in _GROUPS else spec.cgroup_parent
    return msgspec.structs.replace(spec, mounts=mounts, cgroup_parent=group)


def _is_own(mount: Mount, root: str) -> bool:
    inner = mount.source.removeprefix(root)
    return mount.kind == "bind" and mount.source.startswith(root) and inner.startswith(_STORES)


class Channels:
    """Connections that the engine took over for builders, by the stamp of their request; they last while `is_open` says so.

    A builder who came without a stamp (a TLS client) is known for some minutes.
    """

    def __init__(self) -> None:
        self.is_open: Callable[[str], bool] = lambda _: False
        self._known: dict[str, tuple[Subject, float, bool]] = {}

    def add(self, stamped: str, subject: Subject) -> None:
        """Note who opens one."""
        self._known = {one: said for one, said in self._known.items() if self._lasts(one, *said[1:])}
        if len(self._known) < _MAX_CHANNELS:
            name = stamped or f"{subject.provider}:{subject.id}"
            self._known.pop(name, None)
            self._known[name] = (subject, time.monotonic(), bool(stamped))

    def builders(self) -> list[Subject]:
        """Return who builds at this moment, each once, the last to begin at the end."""
        return list(dict.fromkeys(said[0] for one, said in self._known.items() if self._lasts(one, *said[1:])))

    def _lasts(self, name: str, since: float, seen: bool) -> bool:  # noqa: FBT001 - a part of what is known, as it is kept
        return time.monotonic() - since < (_OPENING if seen else _UNSEEN) or self.is_open(name)
