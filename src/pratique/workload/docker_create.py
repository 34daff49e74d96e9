"""The body of a request to create a container (or a volume, or a process in a container) in, the Spec of it out.

The body was decoded by a gate that refuses whatever could be read in two ways; here it is taken as it stands. Fields:
https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Container/operation/ContainerCreate
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pratique.model.errors import BudgetExceededError
from pratique.workload.place import Place
from pratique.workload.security import options
from pratique.workload.spec import (
    MASKED_PATHS,
    MAX_LISTED,
    READ_ONLY_PATHS,
    Device,
    Format,
    Mount,
    Port,
    Spec,
    Variable,
    capability,
    number_of,
)

HERE = Place(1, 1)  # a request has no lines
_PROPAGATIONS = frozenset(("shared", "rshared", "slave", "rslave", "private", "rprivate"))
# Key in HostConfig, and the namespace that "host" shares.
_NAMESPACES = (
    ("NetworkMode", "net"),
    ("PidMode", "pid"),
    ("IpcMode", "ipc"),
    ("UTSMode", "uts"),
    ("UsernsMode", "user"),
    ("CgroupnsMode", "cgroup"),
)
_BINDS = frozenset(("bind", "rbind", "move", "remount"))  # what is done with a folder that exists; the kernel looks at no type
# File systems of other machines, and how their shares are called among the paths of this one, as automounters do.
_REMOTE = {"nfs": "/net", "nfs4": "/net", "cifs": "/cifs", "smb3": "/cifs"}
_HOST = re.compile(r"[A-Za-z0-9\[\]:_-][A-Za-z0-9\[\]:._%-]{0,252}")
# Options by which the kernel goes elsewhere than the device says.
_ADDRESSES, _DETOURS = ("addr", "ip"), ("unc", "target", "path", "prefixpath", "source")


def extract(body: Mapping[str, Any], *, subject: str = "container", format: Format = "docker-create") -> Spec:  # noqa: A002 - as in Spec
    """Return the Spec of a container. Raises BudgetExceededError for endless lists."""
    host: Mapping[str, Any] = body.get("HostConfig") or {}
    user = str(body.get("User") or "")
    name, _, group = user.partition(":")
    return Spec(
        format=format,
        subject=subject,
        place=HERE,
        image=str(body.get("Image") or ""),
        user=name or None,
        group=group or None,
        uid=number_of(name),
        gid=number_of(group),
        groups=texts(host.get("GroupAdd")),
        privileged=bool(host.get("Privileged")),
        capabilities_add=tuple(map(capability, texts(host.get("CapAdd")))),
        capabilities_drop=tuple(map(capability, texts(host.get("CapDrop")))),
        host_namespaces=tuple(kind for key, kind in _NAMESPACES if host.get(key) == "host"),
        joins=tuple(_joins(host)),
        user_namespace=None,
        mounts=tuple(_mounts(host, texts(body.get("Volumes")))),
        devices=tuple(_devices(host)),
        read_only_root=host.get("ReadonlyRootfs"),
        ports=tuple(_ports(host)),
        environment=tuple(Variable(*item.partition("=")[::2], HERE) for item in texts(body.get("Env")) if "=" in item),
        memory_limit=_limit(host.get("Memory")),
        cpu_limit=_limit(host.get("NanoCpus")) or _limit(host.get("CpuQuota")),
        pids_limit=_limit(host.get("PidsLimit")),
        cgroup_parent=host.get("CgroupParent") or None,
        sysctls={key: str(value) for key, value in (host.get("Sysctls") or {}).items()},
        runtime=host.get("Runtime") or None,
        restart=(host.get("RestartPolicy") or {}).get("Name") or None,
        labels={key: str(value) for key, value in (body.get("Labels") or {}).items()},
        annotations={key: str(value) for key, value in (host.get("Annotations") or {}).items()},
        command=(*texts(body.get("Entrypoint")), *texts(body.get("Cmd"))),
        **_security(host),
    )


def extract_exec(body: Mapping[str, Any], *, user: str = "", subject: str = "exec") -> Spec:
    """Return the Spec of a process in a container; `user` is the container's own, which holds where the body names none."""
    name, _, group = str(body.get("User") or user).partition(":")
    return Spec(
        format="docker-create",
        subject=subject,
        place=HERE,
        user=name or None,
        group=group or None,
        uid=number_of(name),
        gid=number_of(group),
        privileged=bool(body.get("Privileged")),
        environment=tuple(Variable(*item.partition("=")[::2], HERE) for item in texts(body.get("Env")) if "=" in item),
        command=texts(body.get("Cmd")),
    )


def extract_volume(body: Mapping[str, Any]) -> Spec:
    """Return a Spec whose mounts are the paths of the machine that a volume stands for."""
    name = str(body.get("Name") or "")
    mount = backed(name, "", body.get("DriverOpts") or {}, driver=str(body.get("Driver") or "local"))
    return Spec(format="docker-create", subject=f"volume {name}", place=HERE, mounts=(mount,))


def backed(name: str, target: str, given: Mapping[str, Any], *, driver: str = "local", read_only: bool = False) -> Mount:
    """Return the mount that a volume is: with options of the local driver, one of a path or a device of the machine.

    What its options are is told by whatever file system they name, so that all but a few count as a path of the machine.
    """
    device, kind = str(given.get("device") or ""), str(given.get("type") or "")
    words = str(given.get("o") or "")
    source = backing(kind, words, device) if driver in ("", "local") else ""
    if not source:
        return Mount(kind="volume", source=name, target=target, read_only=read_only, place=HERE)
    return Mount(kind="bind", source=source, target=target, read_only=read_only, place=HERE)


def backing(kind: str, options_: str, device: str) -> str:
    """Return the path that a volume of the local driver stands for; "" where it holds nothing of this machine or another.

    A bind is one whatever type it is said to be. What lies on another machine is `/net/HOST/PATH` (NFS) or `/cifs/HOST/SHARE`:
    the engine mounts it as root, with what that machine trusts this one with. "/" is what nobody can tell.
    """
    words = [word.strip() for word in options_.split(",")]
    bound = not _BINDS.isdisjoint(words)
    if not (device or options_) or (kind == "tmpfs" and not bound):
        return ""
    if kind in _REMOTE and not bound:
        return _remote(_REMOTE[kind], words, device)
    return device if device.startswith("/") else "/"  # an overlay names its folders in the options: any of the machine's


def _remote(root: str, words: list[str], device: str) -> str:
    given = dict(word.partition("=")[::2] for word in words)
    if root == "/net":
        host, colon, path = device.rpartition(":/")
        path = colon[1:] + path
    else:
        host, _, path = device.replace("\\", "/").lstrip("/").partition("/")
    hosts = {given[name] for name in _ADDRESSES if given.get(name)} or {host}
    host = min(hosts)
    sure = (
        len(hosts) == 1 and _HOST.fullmatch(host) and len(given) == len(words) and not any(given.get(name) for name in _DETOURS)
    )
    if not sure or ".." in path.split("/"):
        return "/"
    return f"{root}/{host}/{path.strip('/')}".rstrip("/")


def texts(value: Any) -> tuple[str, ...]:
    """Return the strings of a list, of one string, or the keys of a table. Raises BudgetExceededError for endless lists."""
    if value is None or value == "":
        return ()
    items: Iterable[Any] = [value] if isinstance(value, str) else value
    found = tuple(str(item) for item in items)
    if len(found) > MAX_LISTED * 10:
        raise BudgetExceededError(f"a list of more than {MAX_LISTED * 10} items")
    return found


def _security(host: Mapping[str, Any]) -> dict[str, Any]:
    given = options(texts(host.get("SecurityOpt")))
    for key, attribute, usual in (
        ("MaskedPaths", "masked_paths", MASKED_PATHS),
        ("ReadonlyPaths", "read_only_paths", READ_ONLY_PATHS),
    ):
        paths = host.get(key)
        if paths is not None and not usual <= set(paths) and not host.get("Privileged"):
            given[attribute] = False
    return given


def _joins(host: Mapping[str, Any]) -> Iterator[str]:
    for key, kind in _NAMESPACES:
        head, colon, other = str(host.get(key) or "").partition(":")
        if colon and head in ("container", "ns"):
            yield f"{kind}:{other}"
    for other in texts(host.get("VolumesFrom")):
        yield f"volumes:{other.partition(':')[0]}"
    if host.get("Cgroup"):
        yield f"cgroup:{host['Cgroup']}"


def _mounts(host: Mapping[str, Any], volumes: Iterable[str]) -> Iterator[Mount]:
    for bind in texts(host.get("Binds")):
        yield _bind(bind)
    for item in host.get("Mounts") or ():
        yield _mount(item)
    for target in host.get("Tmpfs") or ():
        yield Mount(kind="tmpfs", source="", target=str(target), place=HERE)
    for target in volumes:
        yield Mount(kind="volume", source="", target=target, place=HERE)


def _bind(bind: str) -> Mount:
    source, _, rest = bind.partition(":")
    target, _, options_ = rest.partition(":")
    words = options_.split(",")
    propagation = next((word for word in words if word in _PROPAGATIONS), "")
    if not target:
        return Mount(kind="volume", source="", target=source, place=HERE)
    return Mount(
        kind="bind" if source.startswith("/") else "volume",
        source=source,
        target=target,
        read_only="ro" in words,
        propagation=propagation,
        place=HERE,
    )


def _mount(item: Mapping[str, Any]) -> Mount:
    kind, source, target = str(item.get("Type") or ""), str(item.get("Source") or ""), str(item.get("Target") or "")
    read_only = bool(item.get("ReadOnly"))
    if kind == "volume":
        driver = (item.get("VolumeOptions") or {}).get("DriverConfig") or {}
        return backed(source, target, driver.get("Options") or {}, driver=str(driver.get("Name") or "local"), read_only=read_only)
    if kind == "tmpfs":
        return Mount(kind="tmpfs", source="", target=target, place=HERE)
    if kind in ("image", "cluster"):
        return Mount(kind="other", source=source, target=target, read_only=read_only, place=HERE)
    propagation = str((item.get("BindOptions") or {}).get("Propagation") or "")
    return Mount(kind="bind", source=source or "/", target=target, read_only=read_only, propagation=propagation, place=HERE)


def _devices(host: Mapping[str, Any]) -> Iterator[Device]:
    for item in host.get("Devices") or ():
        yield Device(str(item.get("PathOnHost") or "/dev"), HERE)
    for rule in texts(host.get("DeviceCgroupRules")):
        yield Device(rule, HERE)
    for item in host.get("DeviceRequests") or ():
        yield Device(f"/dev/{item.get('Driver') or 'gpu'}", HERE)  # which nodes that will be, the driver says


def _ports(host: Mapping[str, Any]) -> Iterator[Port]:
    for container, bindings in (host.get("PortBindings") or {}).items():
        for binding in bindings or ():
            published = str(binding.get("HostPort") or "").partition("-")[0]
            port = int(published) if published.isascii() and published.isdigit() and len(published) < 6 else 0
            yield Port(container=container.partition("/")[0], host=port, address=str(binding.get("HostIp") or ""), place=HERE)


def _limit(value: Any) -> str | None:
    return str(value) if isinstance(value, int) and value > 0 else None
