"""The runtime configuration that a container really starts with (`config.json`) in, its Spec out.

Specification: https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pratique.workload.docker_create import HERE, texts
from pratique.workload.spec import (
    ALL_CAPABILITIES,
    DEFAULT_CAPABILITIES,
    MASKED_PATHS,
    READ_ONLY_PATHS,
    Device,
    Mount,
    Spec,
    Variable,
    capability,
)

_NAMESPACES = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_PROPAGATIONS = frozenset(("shared", "rshared", "slave", "rslave"))
_HOST_NAMESPACE = re.compile(r"/proc/(?:1|self|thread-self)/(?:task/\d+/)?ns/")
# File systems that runtimes make anew for each container.
_OWN = frozenset(("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"))
# Devices that every container has: null, zero, full, random, urandom, tty, console, ptmx, pts.
_USUAL_DEVICES = frozenset(((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1)))
# Control groups that engines choose themselves.
_CGROUPS = re.compile(
    r"(?:/docker/[0-9a-f]+|system\.slice:docker:[0-9a-f]+|docker\.slice:docker:[0-9a-f]+"
    r"|(?:machine|user)\.slice:libpod:[0-9a-f]+|/?libpod_parent/libpod-[0-9a-f]+|/machine\.slice/libpod-[0-9a-f]+(?:\.scope)?)(?:/.*)?"
)
# System calls that no usual profile allows to a container without the capability for them.
_DANGEROUS = frozenset(
    (
        "bpf", "delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load", "open_by_handle_at",
        "perf_event_open", "swapon", "userfaultfd",
    )
)  # fmt: skip
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a folder of a container, not one of ours
_ENGINE_FILES = frozenset(
    (
        "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets", "/etc/passwd", "/etc/group",
        _SHARED_MEMORY,
    )
)  # fmt: skip
_NAMES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
# Where engines keep the folders of containers and volumes; {id} is the container's.
ENGINE_ROOTS = (
    "/var/lib/docker/containers/{id}/",
    "/var/lib/containers/storage/overlay-containers/{id}/userdata/",
    "/run/containers/storage/overlay-containers/{id}/userdata/",
    "/var/lib/containers/storage/vfs-containers/{id}/userdata/",
    "/run/containers/storage/vfs-containers/{id}/userdata/",
)
VOLUME_ROOTS = ("/var/lib/docker/volumes/", "/var/lib/containers/storage/volumes/")


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the engine that wrote a configuration, so that its own doing is not taken for what was asked for.

    `container` is the id; without it nothing counts as the engine's own file. `namespaces` are the paths of namespaces that
    are the container's own (of its pod). `shared_cgroups` says that the machine has no control group namespaces by default.
    `backed` are volumes that are paths of the machine, which only the engine knows: a gate that cannot ask it gives no `volumes`.
    """

    container: str = ""
    roots: tuple[str, ...] = ENGINE_ROOTS
    volumes: tuple[str, ...] = VOLUME_ROOTS
    namespaces: frozenset[str] = frozenset()
    shared_cgroups: bool = False
    backed: dict[str, str] = {}


def extract(config: Mapping[str, Any], engine: Engine = Engine(), *, subject: str = "container") -> Spec:  # noqa: B008 - frozen
    """Return the Spec of a container. Raises BudgetExceededError for endless lists."""
    linux: Mapping[str, Any] = config.get("linux") or {}
    capabilities = _capabilities(config.get("process") or {})
    rules = _rules(linux)
    privileged = _is_unconfined(capabilities, rules, linux)
    shared, joins, unknown = _namespaces(linux, engine)
    spec = extract_process(config.get("process") or {}, subject=subject)
    devices = () if privileged else tuple(_devices(linux, rules))
    sysctls = {key: str(value) for key, value in (linux.get("sysctl") or {}).items()}
    if "uts" not in {*shared, *(join.partition(":")[0] for join in joins)}:
        sysctls.pop("kernel.domainname", None)  # the container's own name: engines set it so
    if privileged:
        spec = msgspec.structs.replace(spec, capabilities_add=(), capabilities_drop=(), apparmor=None)
    return msgspec.structs.replace(
        spec,
        privileged=privileged,
        host_namespaces=shared,
        joins=joins,
        user_namespace=_has_users(linux),
        mounts=tuple(_mounts(config.get("mounts") or (), engine, {*shared, *(join.partition(":")[0] for join in joins)})),
        devices=devices,
        read_only_root=bool((config.get("root") or {}).get("readonly")),
        seccomp=None if privileged else _seccomp(linux.get("seccomp"), spec),
        masked_paths=privileged or set(texts(linux.get("maskedPaths"))) >= MASKED_PATHS,
        read_only_paths=privileged or set(texts(linux.get("readonlyPaths"))) >= READ_ONLY_PATHS,
        cgroup_parent=_cgroup(linux, engine),
        sysctls=sysctls,
        annotations={key: str(value) for key, value in (config.get("annotations") or {}).items()},
        root_propagation=str(linux.get("rootfsPropagation") or ""),
        pids_limit=_limit(linux, "pids", "limit"),
        memory_limit=_limit(linux, "memory", "limit"),
        cpu_limit=_limit(linux, "cpu", "quota"),
        unknown=unknown,
    )


def extract_process(process: Mapping[str, Any], *, subject: str = "process") -> Spec:
    """Return the Spec of a process: what `exec` starts in a container, or the first one."""
    user: Mapping[str, Any] = process.get("user") or {}
    uid, gid = int(user.get("uid") or 0), int(user.get("gid") or 0)
    capabilities = _capabilities(process)
    label = str(process.get("selinuxLabel") or "")
    return Spec(
        format="oci",
        subject=subject,
        place=HERE,
        user=str(uid),
        group=str(gid),
        uid=uid,
        gid=gid,
        groups=tuple(str(one) for one in user.get("additionalGids") or () if one != gid),
        capabilities_add=tuple(sorted(capabilities - DEFAULT_CAPABILITIES)),
        capabilities_drop=tuple(sorted(DEFAULT_CAPABILITIES - capabilities)),
        no_new_privileges=True if process.get("noNewPrivileges") else None,
        apparmor=str(process.get("apparmorProfile") or "") or None,
        selinux="unconfined" if ":spc_t:" in label or label.endswith(":spc_t") else label or None,
        environment=tuple(Variable(*item.partition("=")[::2], HERE) for item in texts(process.get("env")) if "=" in item),
        command=texts(process.get("args")),
    )


def _capabilities(process: Mapping[str, Any]) -> frozenset[str]:
    given: Mapping[str, Any] = process.get("capabilities") or {}
    return frozenset(capability(name) for kind in _SETS for name in texts(given.get(kind)))


def _is_unconfined(capabilities: frozenset[str], rules: Sequence[str], linux: Mapping[str, Any]) -> bool:
    """Old kernels lack the newest capabilities, so that most of them are as good as all."""
    return len(capabilities & ALL_CAPABILITIES) >= 36 and "a *:* rwm" in rules and not linux.get("seccomp")


def _namespaces(linux: Mapping[str, Any], engine: Engine) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    given = {str(item.get("type")): str(item.get("path") or "") for item in linux.get("namespaces") or ()}
    shared, joins = [], []
    for kind, name in _NAMESPACES.items():
        if kind not in given:
            if not (kind == "cgroup" and engine.shared_cgroups):
                shared.append(name)
        elif _HOST_NAMESPACE.match(given[kind]):
            shared.append(name)
        elif given[kind] and given[kind] not in engine.namespaces:
            joins.append(f"{name}:{given[kind]}")
    if _HOST_NAMESPACE.match(given.get("user", "")):
        shared.append("user")
    lacking = "mount" not in given or bool(given["mount"])
    return tuple(shared), tuple(joins), ("it has no mount namespace of its own",) if lacking else ()


def _has_users(linux: Mapping[str, Any]) -> bool | None:
    """Whether its uid 0 is somebody else on the machine; None where there is no user namespace."""
    if not any(item.get("type") == "user" for item in linux.get("namespaces") or ()):
        return None
    return not any(int(item.get("hostID") or 0) == 0 for item in linux.get("uidMappings") or ({"hostID": 0},))


def _rules(linux: Mapping[str, Any]) -> list[str]:
    found = []
    for item in (linux.get("resources") or {}).get("devices") or ():
        if item.get("allow"):
            major, minor = (_number(item.get(key)) for key in ("major", "minor"))
            found.append(f"{item.get('type') or 'a'} {major}:{minor} {item.get('access') or 'rwm'}")
    return found


def _number(value: Any) -> str:
    return "*" if value is None or value == -1 else str(value)


def _devices(linux: Mapping[str, Any], rules: Sequence[str]) -> Iterator[Device]:
    """Yield nodes by their paths, and the rules that open more than these and what every container has."""
    known = {f"{kind} {major}:{'*' if minor < 0 else minor}" for major, minor in _USUAL_DEVICES for kind in "c"}
    for item in linux.get("devices") or ():
        number = f"{item.get('type') or 'c'} {item.get('major')}:{item.get('minor')}"
        if number not in known:
            known.add(number)
            yield Device(str(item.get("path") or "/dev"), HERE)
    for rule in rules:
        number, _, access = rule.rpartition(" ")
        if number not in known and not (access == "m" and number in ("c *:*", "b *:*")):  # making nodes opens none
            yield Device(rule, HERE)


def _mounts(mounts: Sequence[Mapping[str, Any]], engine: Engine, foreign: set[str]) -> Iterator[Mount]:
    """Yield what is mounted beside what every container has; `foreign` are the namespaces that are not its own."""
    for item in mounts:
        target, source = str(item.get("destination") or ""), str(item.get("source") or "")
        options = texts(item.get("options"))
        kind = str(item.get("type") or "")
        bound = kind == "bind" or "bind" in options or "rbind" in options
        read_only = "ro" in options or "rro" in options
        if not bound and kind in _OWN:
            if kind == "tmpfs" and not target.startswith("/dev"):
                yield Mount(kind="tmpfs", source="", target=target, read_only=read_only, place=HERE)
            continue
        if bound and _is_own_file(source, target, engine, foreign):
            continue
        volume = _volume(source, engine)
        if volume in engine.backed:
            volume, source = "", engine.backed[volume]
        propagation = next((word for word in options if word in _PROPAGATIONS), "")
        yield Mount(
            kind="volume" if volume else "bind",
            source=volume or (source if source.startswith("/") else _lower(options)),
            target=target,
            read_only=read_only,
            propagation=propagation,
            place=HERE,
        )


def _is_own_file(source: str, target: str, engine: Engine, foreign: set[str]) -> bool:
    """Say whether a bind is one of the files that engines write for a container; only under the folder of that container.

    Who joins the network of another container has its files of names, too, and who shares the machine's memory, its folder.
    """
    if target in ("/sbin/docker-init", "/run/podman-init", "/dev/init"):
        return source.rpartition("/")[2] in ("docker-init", "tini", "catatonit", "tini-static")
    if target == source == _SHARED_MEMORY:
        return "ipc" in foreign
    if not engine.container or target not in _ENGINE_FILES or "/../" in source:
        return False
    if any(source.startswith(root.replace("{id}", engine.container)) for root in engine.roots):
        return True
    if "net" not in foreign or target not in _NAMES:
        return False
    folders = [re.escape(root).replace(re.escape("{id}"), "[0-9a-f]{64}") for root in engine.roots]
    return any(re.fullmatch(folder + target.rpartition("/")[2], source) for folder in folders)


def _volume(source: str, engine: Engine) -> str:
    """Return the name of the volume that a path belongs to, "" for none."""
    for root in engine.volumes:
        name, _, rest = source.removeprefix(root).partition("/")
        if source.startswith(root) and name and rest == "_data":
            return name
    return ""


def _lower(options: Sequence[str]) -> str:
    """Return the folder that another file system shows: an overlay's lowest, or all of the machine where it is not told."""
    lower = next((word.partition("=")[2] for word in options if word.startswith("lowerdir=")), "")
    return lower.partition(":")[0] if lower.startswith("/") and ":" not in lower else "/"


def _seccomp(given: Mapping[str, Any] | None, spec: Spec) -> str | None:
    """Return "unconfined" for none, "custom" for one that allows what only more capabilities explain, None for a usual one."""
    if not given:
        return "unconfined"
    if given.get("defaultAction") in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
        return "custom"
    allowed = {
        name
        for rule in given.get("syscalls") or ()
        if rule.get("action") in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY") and not rule.get("args")
        for name in rule.get("names") or ()
    }
    return "custom" if allowed & _DANGEROUS and not spec.capabilities_add else None


def _cgroup(linux: Mapping[str, Any], engine: Engine) -> str | None:
    """Return the group that was chosen, as it was asked for: the engine puts the container's own below it."""
    path = str(linux.get("cgroupsPath") or "")
    if not path or _CGROUPS.fullmatch(path):
        return None
    if not engine.container:
        return path
    for own in (
        f"/{engine.container}",
        f"/libpod-{engine.container}",
        f":docker:{engine.container}",
        f":libpod:{engine.container}",
    ):
        if path.endswith(own) and ".." not in path.split("/"):
            return path.removesuffix(own) or path
    return path


def _limit(linux: Mapping[str, Any], group: str, key: str) -> str | None:
    value = ((linux.get("resources") or {}).get(group) or {}).get(key)
    return str(value) if isinstance(value, int) and value > 0 else None
