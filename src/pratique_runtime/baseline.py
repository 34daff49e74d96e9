"""An OCI specification in, what it asks beyond the strictest baseline out: what holds while nobody can be asked.

Source of the fields: https://github.com/opencontainers/runtime-spec/blob/main/config.md.
"""

from __future__ import annotations

NAMESPACES = ("pid", "ipc", "mount", "uts", "network")
# What every engine mounts of the kernel's own file systems; nothing of the machine.
KERNEL_MOUNTS = {"proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "cgroup2"}
# Files that engines make for each container, and bind: they are the container's own.
ENGINE_FILES = {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/dev/shm", "/run/.containerenv"}  # noqa: S108
ENGINE_FOLDERS = ("/var/lib/docker/", "/var/lib/containers/", "/run/containers/", "/var/lib/containerd/")
# Where engines show a container's files while it runs.
RUNNING_FOLDERS = ("/run/containerd/", "/run/docker/", "/var/run/docker/")
MASKED = {"/proc/kcore", "/proc/keys", "/proc/timer_list"}
# Profiles that engines load themselves, in force.
APPARMOR = ("docker-default", "containers-default-", "crio-default", "cri-containerd.apparmor.d")
# Parameters of a container's own network that engines set by themselves.
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"}
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def beyond(command: str, spec: object, folders: tuple[str, ...] = ()) -> list[str]:
    """Return what is beyond; empty when it may run. Whatever has an unknown shape is beyond.

    `folders` are where an engine keeps its files, where that is not the usual place.
    """
    try:
        if not isinstance(spec, dict):
            return ["the specification has an unknown shape"]
        if command == "exec":
            return _process(spec)
        found = [*_process(spec["process"]), *_namespaces(spec["linux"]), *_linux(spec["linux"]), *_mounts(spec, folders)]
        return [*found, *_root(spec["root"], folders)]
    except (KeyError, TypeError, AttributeError, ValueError):
        return ["the specification has an unknown shape"]


def _process(process: dict[str, object]) -> list[str]:
    found = []
    user = process["user"]
    if not isinstance(user, dict) or not _number(user.get("uid")) or not _number(user.get("gid")):
        found.append("it runs as root, or in root's group")
    elif 0 in (user.get("additionalGids") or ()):
        found.append("it runs in root's group")
    capabilities = process.get("capabilities") or {}
    if not isinstance(capabilities, dict) or any(capabilities.get(name) for name in SETS):
        found.append("it has capabilities")
    if process.get("noNewPrivileges") is not True:
        found.append("it may gain privileges")
    profile = str(process.get("apparmorProfile") or "")
    if profile and not profile.startswith(APPARMOR):
        found.append(f"its AppArmor profile is {profile[:100]}")  # which may be loaded as one that only complains
    return found


def _number(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _namespaces(linux: dict[str, object]) -> list[str]:
    own = {item["type"] for item in linux["namespaces"] if not item.get("path")}  # type: ignore[attr-defined]
    return [f"it shares the {name} namespace" for name in NAMESPACES if name not in own]


def _linux(linux: dict[str, object]) -> list[str]:
    found = []
    if not linux.get("seccomp"):
        found.append("seccomp is off")
    if linux.get("devices"):
        found.append("it has devices")
    if not MASKED.issubset(linux.get("maskedPaths") or ()):  # type: ignore[arg-type]
        found.append("paths of the kernel are not masked")
    if not SYSCTLS.issuperset(linux.get("sysctl") or {}):  # type: ignore[arg-type]
        found.append("it sets kernel parameters")
    rules = (linux.get("resources") or {}).get("devices") or []  # type: ignore[attr-defined]
    if not rules or rules[0].get("allow") or rules[0].get("type") not in (None, "", "a") or _wide(rules):
        found.append("it may use devices of the machine")
    return found


def _wide(rules: list[dict[str, object]]) -> bool:
    """Engines allow character devices that every container has (null, zero, tty, pts ...) and the making of any node."""
    usual = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None), (136, -1), (10, 200)}
    for rule in rules[1:]:
        if not rule.get("allow") or rule.get("access") == "m":
            continue
        if rule.get("type") != "c" or (rule.get("major"), rule.get("minor")) not in usual:
            return True
    return False


def _root(root: dict[str, object], folders: tuple[str, ...]) -> list[str]:
    """Refuse a folder of the machine in place of an image; a path that is not absolute is in the engine's own bundle."""
    path = str(root["path"])
    own = not path.startswith("/") or path.startswith((*ENGINE_FOLDERS, *RUNNING_FOLDERS, *folders))
    return [] if own and ".." not in path.split("/") else [f"its files are {path[:100]}"]


def _mounts(spec: dict[str, object], folders: tuple[str, ...]) -> list[str]:
    found = []
    for mount in spec.get("mounts") or ():  # type: ignore[attr-defined]
        kind, source, target = mount.get("type"), str(mount.get("source") or ""), str(mount.get("destination") or "")
        options = mount.get("options") or ()
        bound = kind == "bind" or "bind" in options or "rbind" in options
        own = target in ENGINE_FILES and source.startswith((*ENGINE_FOLDERS, *folders)) and ".." not in source.split("/")
        if (bound and not own) or (not bound and kind not in KERNEL_MOUNTS):
            found.append(f"it mounts {source[:100]}")
    return found
