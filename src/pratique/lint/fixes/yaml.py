"""Compose files and manifests and what was found in them in, changes of their values out.

None of these is safe: each takes something away from a container that it might use. They are proposals, and what editors offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from pratique._kit.yamltree import Node
from pratique.lint.fixes.edit import Edit, Fix
from pratique.lint.hit import Hit
from pratique.lint.regions import Lines
from pratique.workload import compose, kubernetes

PIDS = "200"  # more than most services have, and far less than a machine can bear


class Scene:
    """The services and containers of a file, looked up by what stands in them."""

    def __init__(self, text: str, nodes: Iterable[Node]) -> None:
        self.text = text
        self.lines = Lines(text)
        documents = list(nodes)
        self._services = sorted(_services(documents), key=lambda node: node.start)
        objects = [item for node in documents for item in kubernetes.objects(node)]
        self._pods = [pod for pod in kubernetes.pods(objects) if pod.spec.kind == "map"]
        self._containers = [container.node for pod in self._pods for container in pod.containers()]

    def container(self, hit: Hit) -> Node | None:
        """Return the service or container that a hit stands in."""
        return _within(self._containers or self._services, self._offset(hit))

    def pod(self, hit: Hit) -> Node | None:
        """Return the pod's spec that a hit stands in, or before."""
        return _within([pod.spec for pod in self._pods], self._offset(hit))

    def scalar(self, hit: Hit, node: Node) -> Node | None:
        """Return the item of a list under `node` that a hit is."""
        return next((item for item in node if item.place == hit.place and item.kind == "text"), None)

    def _offset(self, hit: Hit) -> int:
        return self.lines.at(hit.place)

    def line_end(self, offset: int) -> int:
        """Return where the line of an offset ends, its break excluded."""
        end = self.text.find("\n", offset)
        end = len(self.text) if end < 0 else end
        return end - 1 if self.text[end - 1 : end] == "\r" else end

    @property
    def newline(self) -> str:
        """The line break of the file."""
        return "\r\n" if "\r\n" in self.text else "\n"


def _services(documents: Iterable[Node]) -> Iterator[Node]:
    for document in documents:
        if compose.is_compose(document):
            for name, node in document.get("services").members():
                if node.kind == "map":
                    yield msgspec.structs.replace(node, start=document.get("services").keys[name].start)


def _within(nodes: Iterable[Node], offset: int) -> Node | None:
    found = [node for node in nodes if node.start <= offset <= node.end]
    return min(found, key=lambda node: node.end - node.start) if found else None


class Change(NamedTuple):
    """Give a path below a container (or its pod) a value; `item` adds to a list."""

    title: str
    path: tuple[str, ...]
    value: str
    item: bool = False
    pod: bool = False


# By check and kind of file; what both have is under "".
CHANGES: dict[str, dict[str, Change]] = {
    "ct-root-filesystem": {
        "compose": Change("Make the root filesystem read-only", ("read_only",), "true"),
        "kubernetes": Change("Make the root filesystem read-only", ("securityContext", "readOnlyRootFilesystem"), "true"),
    },
    "ct-new-privileges": {
        "compose": Change("Set no-new-privileges", ("security_opt",), "no-new-privileges:true", item=True),
    },
    "ct-capabilities-kept": {"compose": Change("Drop all capabilities", ("cap_drop",), "ALL", item=True)},
    "ct-privileged": {"compose": Change("Write privileged: false", ("privileged",), "false")},
    "ct-restart": {"compose": Change("Start it again five times at most", ("restart",), "on-failure:5")},
    "ct-pids-limit": {"compose": Change(f"Allow {PIDS} processes", ("pids_limit",), PIDS)},
    "pss-privileged": {"kubernetes": Change("Write privileged: false", ("securityContext", "privileged"), "false")},
    "pss-escalation": {
        "kubernetes": Change("Forbid escalation", ("securityContext", "allowPrivilegeEscalation"), "false"),
    },
    "pss-non-root": {"kubernetes": Change("Refuse root", ("securityContext", "runAsNonRoot"), "true")},
    "pss-seccomp-set": {
        "kubernetes": Change("Ask for the runtime's profile", ("securityContext", "seccompProfile", "type"), "RuntimeDefault"),
    },
    "pss-capabilities-dropped": {
        "kubernetes": Change("Drop all capabilities", ("securityContext", "capabilities", "drop"), "ALL", item=True),
    },
    "k8s-shared-processes": {
        "kubernetes": Change("Let each container have its own processes", ("shareProcessNamespace",), "false", pod=True),
    },
    "k8s-service-account-token": {
        "kubernetes": Change("Mount no token", ("automountServiceAccountToken",), "false", pod=True),
    },
}


def propose(scene: Scene, kind: str, name: str, hit: Hit) -> Fix | None:
    """Return how to mend a hit, None where that is not known."""
    own = _OWN.get(name)
    if own is not None:
        return own(scene, hit)
    change = CHANGES.get(name, {}).get(kind)
    node = (scene.pod(hit) if change.pod else scene.container(hit)) if change is not None else None
    if change is None or node is None:
        return None
    edit = edit_of(scene, node, change)
    return Fix(name, hit, change.title, safe=False, edits=(edit,)) if edit is not None else None


def edit_of(scene: Scene, node: Node, change: Change) -> Edit | None:
    """Return how a path below a node gets a value, None where that is not known: what is said elsewhere is never changed."""
    return _given(scene, node, change.path, change)


def _given(scene: Scene, node: Node, path: tuple[str, ...], change: Change) -> Edit | None:
    """Go down as far as there is something, and put the rest there."""
    key, rest = path[0], path[1:]
    value = node.get(key)
    if not value.given:
        return _replaced(scene, node, key, value, rest, change) if key in node.pairs else _inserted(scene, node, path, change)
    if not node.start <= value.start <= value.end <= node.end:  # a reference: others mean the same text
        return None
    if rest:
        if value.kind == "map" and value.flow and not value.pairs:
            return Edit(value.start, value.end, _flow(rest, change))
        return _given(scene, value, rest, change) if value.kind == "map" else None
    if not change.item:
        return Edit(value.start, value.end, change.value) if value.kind == "text" and value.start >= 0 else None
    if value.kind != "list" or any(item.string.upper() == change.value.upper() for item in value):
        return None
    if value.flow:
        return Edit(value.start + 1, value.start + 1, change.value + (", " if value.items else ""))
    last = value.items[-1]
    if last.kind == "text" and "\n" in scene.text[last.start : last.end]:
        return None
    line = scene.text.rfind("\n", 0, last.start) + 1
    lead = scene.text[line : last.start]
    if lead.strip() != "-":
        return None
    end = scene.line_end(last.end)
    return Edit(end, end, scene.newline + lead + change.value)


def _replaced(scene: Scene, node: Node, key: str, value: Node, rest: tuple[str, ...], change: Change) -> Edit | None:
    """Give a key without a value one: `key:` with nothing behind it, or null."""
    if value.kind != "text" or value.start < node.keys[key].end:
        return None
    written = _flow(rest, change)
    colon = scene.text.find(":", node.keys[key].end, value.end + 2)
    if colon < 0:
        return None
    return Edit(colon + 1, max(value.end, colon + 1), " " + written)


def _inserted(scene: Scene, node: Node, path: tuple[str, ...], change: Change) -> Edit | None:
    """Put a new key behind the first that has its value on the same line, or before all."""
    own = [(key, value) for key, value in node.entries() if node.start <= key.start and key.end <= node.end]
    if not own:  # all that it says is said elsewhere
        return None
    if node.flow:
        at = scene.text.find("{", node.start, node.end) + 1
        return Edit(at, at, f"{path[0]}: {_flow(path[1:], change)}, ") if at else None
    own.sort(key=lambda pair: pair[0].start)
    first = own[0][0]
    indent = " " * (first.place.column - 1)
    line = scene.text[scene.text.rfind("\n", 0, first.start) + 1 : first.start]
    if line.strip(" ") not in ("", "-") and set(line) - set(" -"):
        return None
    for key, value in own:
        if value.kind == "text" and value.plain and value.start > key.end and "\n" not in scene.text[key.start : value.end]:
            end = scene.line_end(value.end)
            return Edit(end, end, scene.newline + scene.newline.join(_block(path, change, indent)))
    if line.strip(" "):
        return None
    lines = _block(path, change, indent)
    return Edit(first.start, first.start, scene.newline.join(lines).lstrip(" ") + scene.newline + indent)


def _block(path: tuple[str, ...], change: Change, indent: str) -> list[str]:
    lines = [f"{indent}{'  ' * depth}{key}:" for depth, key in enumerate(path)]
    if change.item:
        return [*lines, f"{indent}{'  ' * len(path)}- {change.value}"]
    return [*lines[:-1], f"{lines[-1]} {change.value}"]


def _flow(path: tuple[str, ...], change: Change) -> str:
    written = f"[{change.value}]" if change.item else change.value
    for key in reversed(path):
        written = f"{{{key}: {written}}}"
    return written


def _loopback(scene: Scene, hit: Hit) -> Fix | None:
    """Open a port on the machine's loopback alone."""
    service = scene.container(hit)
    item = scene.scalar(hit, service.get("ports")) if service is not None else None
    if item is None or item.start < 0:
        return None
    start = item.start + (0 if item.plain else 1)
    if not scene.text.startswith(item.text, start):
        return None
    bare = item.text.removeprefix("0.0.0.0:").removeprefix("[::]:")
    parts = bare.partition("/")[0].split(":")
    if len(parts) > 2 or "$" in item.text:
        return None
    text = "127.0.0.1:" + (bare if len(parts) == 2 else ":" + bare)
    edit = Edit(start, start + len(item.text), text)
    return Fix("ct-all-interfaces", hit, "Open it on 127.0.0.1 alone", safe=False, edits=(edit,))


_OWN: dict[str, Callable[[Scene, Hit], Fix | None]] = {"ct-all-interfaces": _loopback}
