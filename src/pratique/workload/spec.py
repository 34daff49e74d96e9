"""The one description of something that asks to run, whatever format asked: who it is, and what it may do to the machine."""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique.workload.place import Place

MAX_SPECS = 1_000  # containers in one file; the largest bundles of a whole platform have some hundreds
MAX_LISTED = 300  # mounts, ports, variables ... of one container; a reference to a list can be repeated for nothing

Format = Literal["dockerfile", "image", "compose", "kubernetes", "docker-create", "docker-inspect", "oci"]

# What engines give a container that asks for nothing: https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
DEFAULT_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip


# What engines and runtimes hide of /proc and /sys, and what they let only be read; newer ones add to both.
MASKED_PATHS = frozenset(
    ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware")
)
READ_ONLY_PATHS = frozenset(("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"))
# As the kernel numbers and names them, from 0: https://man7.org/linux/man-pages/man7/capabilities.7.html, linux/capability.h
CAPABILITY_NUMBERS = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
    "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
ALL_CAPABILITIES = frozenset(CAPABILITY_NUMBERS)


class Mount(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`source` is a path of the machine for a `bind`, a name for a `volume`."""

    kind: Literal["bind", "volume", "tmpfs", "other"]
    source: str
    target: str
    read_only: bool = False
    propagation: str = ""
    place: Place


class Device(msgspec.Struct, frozen=True, gc=False):
    """A device of the machine, or a rule for many."""

    path: str
    place: Place


class Port(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A port of the container that the machine forwards; `host` is 0 where the engine picks one, `address` "" for all."""

    container: str
    host: int
    address: str = ""
    place: Place


class Variable(msgspec.Struct, frozen=True, gc=False):
    """A variable with a value in the clear."""

    name: str
    value: str
    place: Place


class Spec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One container. None means that nothing is said, so that the engine's default holds.

    `user` and `group` are as written; a name may be root in the image. `host_namespaces` are of `pid`, `ipc`,
    `net`, `uts`, `user`, `cgroup`. Capabilities have no CAP_ and are in capitals. `seccomp` and `apparmor` are "unconfined" or
    the profile. `places` says where each attribute that is given stands.

    `namespace` is the cluster's, where an object names one.

    `uid` and `gid` are numbers where they are known for certain. `joins` are namespaces and volumes of other containers, written
    `KIND:OF`. `user_namespace` is whether it has its own, so that its root is nobody on the machine. `unknown` is what was asked
    for and is not understood here; nobody who decides may overlook it.
    """

    format: Format
    subject: str
    place: Place
    image: str = ""
    user: str | None = None
    group: str | None = None
    groups: tuple[str, ...] = ()
    run_as_non_root: bool | None = None
    privileged: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    host_namespaces: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    read_only_root: bool | None = None
    no_new_privileges: bool | None = None
    seccomp: str | None = None
    apparmor: str | None = None
    selinux: str | None = None
    masked_paths: bool = True
    ports: tuple[Port, ...] = ()
    environment: tuple[Variable, ...] = ()
    memory_limit: str | None = None
    cpu_limit: str | None = None
    pids_limit: str | None = None
    cgroup_parent: str | None = None
    uid: int | None = None
    gid: int | None = None
    user_namespace: bool | None = None
    joins: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    runtime: str | None = None
    restart: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    command: tuple[str, ...] = ()
    read_only_paths: bool = True
    root_propagation: str = ""
    host_process: bool = False
    unknown: tuple[str, ...] = ()
    namespace: str = ""
    places: dict[str, Place] = {}

    def at(self, attribute: str) -> Place:
        """Return where an attribute stands, or where the container does."""
        return self.places.get(attribute, self.place)


def capability(name: str) -> str:
    """Return a capability in capitals, without CAP_."""
    return name.strip().upper().removeprefix("CAP_")


def is_root(user: str | None) -> bool:
    """Say whether `user[:group]` is certainly root; "00", "+0" and "-0" are, too."""
    name = (user or "").partition(":")[0].strip()
    return name == "root" or (name != "" and name.lstrip("+-").strip("0") == "" and name.strip("+-") != "")


def number_of(name: str | None) -> int | None:
    """Return the number that a user or group certainly is, as engines read it; None for a name, which the image explains."""
    text = (name or "").strip()
    if text == "root":
        return 0
    sign, digits = (text[:1], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        return None
    return -int(digits) if sign == "-" else int(digits)
