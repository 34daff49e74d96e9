"""A Compose file in, the Spec of each service out.

Format: https://github.com/compose-spec/compose-spec/blob/main/spec.md
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from pratique._kit.yamltree import Node
from pratique.model.errors import BudgetExceededError
from pratique.workload.docker_create import backing
from pratique.workload.place import Place
from pratique.workload.security import options as security_options
from pratique.workload.security import split
from pratique.workload.spec import MAX_LISTED, MAX_SPECS, Device, Mount, Port, Spec, Variable, capability, is_root, number_of

_EXTENDS = 10  # services that one after another extends; people write one or two
_DEFAULT = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^${}]*))?\}")
_NAMESPACES = (
    ("network_mode", "net"),
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("userns_mode", "user"),
    ("cgroup", "cgroup"),
)
_SECURITY = {
    "no-new-privileges": "no_new_privileges",
    "systempaths": "masked_paths",
    "label": "selinux",
    "seccomp": "seccomp",
    "apparmor": "apparmor",
}
_PROPAGATIONS = frozenset(("shared", "rshared", "slave", "rslave", "private", "rprivate"))
API_SOCKET = "/var/run/docker.sock"  # what `use_api_socket` binds, with the credentials of whoever starts it
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")


def is_compose(document: Node) -> bool:
    """Say whether a document is one: services, and nothing of a Kubernetes object."""
    return document.get("services").kind == "map" and not document.get("apiVersion").given


def extract(document: Node) -> list[Spec]:
    """Return one Spec a service. Raises BudgetExceededError."""
    services = list(document.get("services").members())
    if len(services) > MAX_SPECS:
        raise BudgetExceededError(f"more than {MAX_SPECS} services")
    return [_Service(name, extended(node, document), document).spec() for name, node in services if node.kind == "map"]


def extended(node: Node, document: Node) -> Node:
    """Return a service with what it takes from others of the same file; what it says itself counts, and lists are joined.

    https://github.com/compose-spec/compose-spec/blob/main/05-services.md#extends
    """
    chain = [node]
    while len(chain) < _EXTENDS and (source := chain[-1].get("extends")).given:
        name = text_of(source) if source.kind == "text" else "" if source.get("file").given else text_of(source.get("service"))
        base = document.get("services", name)
        if base.kind != "map" or any(base is other for other in chain):
            break
        chain.append(base)
    found = chain.pop()
    while chain:
        found = _joined(found, chain.pop())
    return found


def _joined(base: Node, own: Node) -> Node:
    pairs = dict(base.pairs)
    for key, value in own.pairs.items():
        before = pairs.get(key)
        if before is not None and before.kind == value.kind == "list" and key not in ("command", "entrypoint"):
            value = msgspec.structs.replace(value, items=[*before.items, *value.items])  # noqa: PLW2901 - the joined list
        elif before is not None and before.kind == value.kind == "map":
            value = _joined(before, value)  # noqa: PLW2901 - as above
        pairs[key] = value
    return msgspec.structs.replace(own, pairs=pairs, keys={**base.keys, **own.keys})


def built(document: Node) -> frozenset[str]:
    """Return the names that the file gives to images that it builds itself."""
    return frozenset(text_of(node.get("image")) for _, node in document.get("services").members() if node.get("build").given)


def unresolved(document: Node) -> Iterator[tuple[Place, str]]:
    """Yield what stands in other files, which is not read."""
    if document.get("include").given:
        yield document.at("include"), "include"
    for name, node in document.get("services").members():
        file = node.get("extends", "file")
        if file.given:
            yield file.place, f"service {name} extends a service of {text_of(file)}"


def text_of(node: Node) -> str:
    """Return a scalar with the defaults of its variables put in; a variable without one stays as it is written."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else found[2] if found[2] is not None else found[0]

    return _DEFAULT.sub(value, node.string)


def words(node: Node) -> tuple[str, ...]:
    """Return a command line, written as a list or as a shell's line. Raises BudgetExceededError."""
    if node.kind != "text":
        return tuple(text_of(item) for item in _listed(node))
    try:
        return tuple(shlex.split(text_of(node)))
    except ValueError:
        return (text_of(node),)


def _listed(node: Node) -> list[Node]:
    items = list(node) if node.kind == "list" else [node] if node.kind == "text" and node.given else []
    if len(items) > MAX_LISTED:
        raise BudgetExceededError(f"a list of more than {MAX_LISTED} items")
    return items


class _Service:
    def __init__(self, name: str, node: Node, document: Node) -> None:
        self._name = name
        self._node = node
        self._document = document
        self._places: dict[str, Place] = {}

    def spec(self) -> Spec:
        given: dict[str, Any] = self._security()
        hooks = tuple(self._hooks())
        if hooks:
            given["unknown"] = (*given.get("unknown", ()), *hooks)
        user = self._text("user", "user")
        name, _, group = (user or "").partition(":")
        limits = self._node.get("deploy", "resources", "limits")
        return Spec(
            format="compose",
            subject=f"service {self._name}",
            place=self._document.get("services").at(self._name),
            image=self._text("image", "image") or "",
            user=name or None,
            group=group or None,
            groups=tuple(text_of(item) for item in _listed(self._get("group_add", "groups"))),
            privileged=self._get("privileged", "privileged").truth is True,
            capabilities_add=tuple(capability(text_of(item)) for item in _listed(self._get("cap_add", "capabilities_add"))),
            capabilities_drop=tuple(capability(text_of(item)) for item in _listed(self._get("cap_drop", "capabilities_drop"))),
            host_namespaces=tuple(self._namespaces()),
            mounts=tuple(self._mounts()),
            devices=tuple(self._devices()),
            read_only_root=self._get("read_only", "read_only_root").truth,
            ports=tuple(self._ports()),
            environment=tuple(self._environment()),
            memory_limit=self._text("mem_limit", "memory_limit") or text_of(limits.get("memory")) or None,
            cpu_limit=self._text("cpus", "cpu_limit") or text_of(limits.get("cpus")) or None,
            pids_limit=self._text("pids_limit", "pids_limit") or text_of(limits.get("pids")) or None,
            cgroup_parent=self._text("cgroup_parent", "cgroup_parent"),
            uid=number_of(name),
            gid=number_of(group),
            joins=tuple(self._joins()),
            sysctls=dict(self._pairs("sysctls")),
            runtime=self._text("runtime", "runtime"),
            restart=self._text("restart", "restart"),
            labels=dict(self._pairs("labels")),
            annotations=dict(self._pairs("annotations")),
            command=(*self._words("entrypoint"), *self._words("command")),
            places=self._places,
            **given,
        )

    def _get(self, key: str, attribute: str) -> Node:
        node = self._node.get(key)
        if node.given:
            self._places[attribute] = self._node.at(key)
        return node

    def _text(self, key: str, attribute: str) -> str | None:
        return text_of(self._get(key, attribute)) or None

    def _security(self) -> dict[str, Any]:
        items = _listed(self._node.get("security_opt"))
        for item in items:
            attribute = _SECURITY.get(split(text_of(item))[0])
            if attribute is not None:
                self._places[attribute] = item.place
        return security_options(text_of(item) for item in items)

    def _hooks(self) -> Iterator[str]:
        """Yield what runs in the container beside its own command with more than it has."""
        for key in ("post_start", "pre_stop"):
            for item in _listed(self._node.get(key)):
                if item.get("privileged").truth is True or is_root(text_of(item.get("user"))):
                    self._places.setdefault("unknown", item.place)
                    yield f"a {key} hook that runs as root"

    def _pairs(self, key: str) -> Iterator[tuple[str, str]]:
        """Yield names and values of a map, or of a list of `name=value`."""
        node = self._get(key, key)
        for name, value in node.members():
            yield name, text_of(value)
        for item in _listed(node):
            word, _, said = text_of(item).partition("=")
            yield word, said

    def _words(self, key: str) -> tuple[str, ...]:
        return words(self._get(key, "command"))

    def _joins(self) -> Iterator[str]:
        for key, namespace in _NAMESPACES:
            head, colon, other = text_of(self._node.get(key)).partition(":")
            if colon and head in ("container", "service"):
                self._places.setdefault("joins", self._node.at(key))
                yield f"{namespace}:{other}"
        for item in _listed(self._get("volumes_from", "joins")):
            yield f"volumes:{text_of(item).removeprefix('container:').partition(':')[0]}"

    def _namespaces(self) -> Iterator[str]:
        for key, namespace in _NAMESPACES:
            node = self._node.get(key)
            if text_of(node) == "host":
                self._places["host_" + namespace] = self._node.at(key)
                yield namespace

    def _mounts(self) -> Iterator[Mount]:
        for item in _listed(self._node.get("volumes")):
            mount = self._long(item) if item.kind == "map" else _short(item)
            yield self._backed(mount)
        if self._node.get("use_api_socket").truth is True:
            place = self._node.at("use_api_socket")
            yield Mount(kind="bind", source=API_SOCKET, target=API_SOCKET, place=place)
        for kind, folder in (("secrets", "/run/secrets"), ("configs", "")):
            for item in _listed(self._node.get(kind)):
                yield from self._file(kind, folder, item)

    def _file(self, kind: str, folder: str, item: Node) -> Iterator[Mount]:
        """A secret or config that is a file is bound into the container; one that lies beside this file is the project's own."""
        name = text_of(item.get("source")) if item.kind == "map" else text_of(item)
        source = text_of(self._document.get(kind, name, "file"))
        if source.startswith(("/", "~", "..")) or _WINDOWS.match(source):
            target = text_of(item.get("target")) if item.kind == "map" else ""
            target = target if target.startswith("/") else f"{folder}/{target or name}"
            yield Mount(kind="bind", source=source, target=target, read_only=True, place=item.place)

    def _long(self, item: Node) -> Mount:
        kinds: dict[str, Literal["bind", "volume", "tmpfs"]] = {"bind": "bind", "volume": "volume", "tmpfs": "tmpfs"}
        return Mount(
            kind=kinds.get(text_of(item.get("type")), "other"),
            source=text_of(item.get("source")) or text_of(item.get("src")),
            target=text_of(item.get("target")) or text_of(item.get("dst")),
            read_only=item.get("read_only").truth is True,
            propagation=text_of(item.get("bind", "propagation")),
            place=item.place,
        )

    def _backed(self, mount: Mount) -> Mount:
        """A named volume of the local driver can be a folder of the machine under another name."""
        options = (
            self._document.get("volumes", mount.source, "driver_opts") if mount.kind == "volume" else Node("none", mount.place)
        )
        source = backing(text_of(options.get("type")), text_of(options.get("o")), text_of(options.get("device")))
        if not source:
            return mount
        return Mount(kind="bind", source=source, target=mount.target, read_only=mount.read_only, place=mount.place)

    def _devices(self) -> Iterator[Device]:
        for item in _listed(self._node.get("devices")):
            text = text_of(item.get("source")) if item.kind == "map" else text_of(item).partition(":")[0]
            if text.startswith("/"):
                yield Device(text, item.place)
        for item in _listed(self._node.get("device_cgroup_rules")):
            yield Device(text_of(item), item.place)
        gpus = self._node.get("gpus")
        if gpus.given or self._node.get("deploy", "resources", "reservations", "devices").given:
            yield Device("/dev/gpu", gpus.place)  # which nodes that will be, the driver says

    def _ports(self) -> Iterator[Port]:
        for item in _listed(self._node.get("ports")):
            if item.kind == "map":
                published = text_of(item.get("published")).partition("-")[0]
                address = text_of(item.get("host_ip"))
                container = text_of(item.get("target"))
            else:
                head, _, container = text_of(item).rpartition(":")
                address, _, published = head.rpartition(":") if ":" in head else ("", "", head)
                published = published.partition("-")[0]
            host = int(published) if published.isdecimal() and len(published) < 6 else 0
            if item.kind == "map" or item.given:
                yield Port(container=container, host=host, address=address.strip("[]"), place=item.place)

    def _environment(self) -> Iterator[Variable]:
        node = self._node.get("environment")
        for name, value in node.members():
            if value.given:
                yield Variable(name, text_of(value), node.at(name))
        for item in _listed(node):
            name, equals, text = text_of(item).partition("=")
            if equals:
                yield Variable(name, text, item.place)


def _short(item: Node) -> Mount:
    """`[source:]target[:options]`; a source that is a path is a bind."""
    text = text_of(item)
    drive = text[:2] if _WINDOWS.match(text) else ""
    parts = text[len(drive) :].split(":")
    if len(parts) == 1:
        return Mount(kind="volume", source="", target=drive + parts[0], place=item.place)
    source, target = drive + parts[0], parts[1]
    options = parts[2].split(",") if len(parts) > 2 else []
    kind: Literal["bind", "volume"] = "bind" if source[:1] in ("/", ".", "~") or drive else "volume"
    propagation = next((option for option in options if option in _PROPAGATIONS), "")
    return Mount(kind=kind, source=source, target=target, read_only="ro" in options, propagation=propagation, place=item.place)
