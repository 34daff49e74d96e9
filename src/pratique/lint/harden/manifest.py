"""A manifest in, its containers out; and the manifest with the least privileges of one of them written into it.

Values are put in one after another, each into the text as the last one left it, so that comments and order stay. What is said
elsewhere (an anchor that others refer to) is not changed; what could not be written is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pratique._kit.yamltree import Node, documents
from pratique.lint.fixes.edit import Edit
from pratique.lint.fixes.yaml import Change, Scene, edit_of
from pratique.lint.harden.proposal import PORTS, Proposal, Start
from pratique.lint.harden.runline import lines_of, tmpfs, with_flags
from pratique.workload import compose, kubernetes
from pratique.workload.spec import Spec

_ENGINE = re.compile(r"\b(?:docker|podman|nerdctl)\b")
_YAML = re.compile(r"""^["']?(?:services|apiVersion|kind)["']?[ \t]*:""", re.MULTILINE)


class Container(NamedTuple):
    """A container of a manifest: what it is called, its image, and what the manifest says of it."""

    name: str
    image: str
    start: Start


def containers(text: str) -> list[Container]:
    """Return the containers of a Compose file, of Kubernetes manifests, or of `docker run` lines. Raises ParseError."""
    runs = lines_of(text) if _ENGINE.search(text) and not _YAML.search(text) else []
    if runs:
        return [Container(f"run {number + 1}", run.start.spec.image, run.start) for number, run in enumerate(runs)]
    return [Container(item.name, item.start.spec.image, item.start) for item in _places(text)]


class _Place(NamedTuple):
    name: str
    start: Start
    node: Node
    pod: Node


def _places(text: str) -> Iterator[_Place]:
    nodes = documents(text)
    for document in nodes:
        if compose.is_compose(document):
            for spec, (name, node) in zip(compose.extract(document), _services(document), strict=True):
                start = Start(format="compose", spec=spec, entrypoint=_words(node, "entrypoint"), command=_words(node, "command"))
                yield _Place(name, start, node, node)
    objects = [item for document in nodes for item in kubernetes.objects(document)]
    specs = iter(kubernetes.extract(objects))
    for pod in kubernetes.pods(objects):
        for container in pod.containers():
            start = _start_of(next(specs), container.node, pod.spec)
            yield _Place(f"{pod.subject}/{container.name}", start, container.node, pod.spec)


def _services(document: Node) -> Iterator[tuple[str, Node]]:
    return ((name, node) for name, node in document.get("services").members() if node.kind == "map")


def _start_of(spec: Spec, node: Node, pod: Node) -> Start:
    token = pod.get("automountServiceAccountToken").truth is not False
    entrypoint, command = _words(node, "command"), _words(node, "args")
    return Start(format="kubernetes", spec=spec, entrypoint=entrypoint, command=command, token=token)


def _words(node: Node, key: str) -> tuple[str, ...] | None:
    value = node.get(key)
    if not value.given:
        return None
    return compose.words(value)


def hardened(text: str, name: str, proposal: Proposal) -> tuple[str, list[str]]:
    """Return a manifest with the proposal for one of its containers, and what could not be written into it."""
    start = next((item.start for item in containers(text) if item.name == name), None)
    if start is None:
        return text, [f"there is no {name}"]
    if start.format == "docker":
        missed = ["not privileged"] if proposal.unprivileged else []  # a flag that stands further back counts
        return with_flags(text, int(name.removeprefix("run ")) - 1, proposal), missed
    if start.format == "kubernetes":
        steps = list(_kubernetes(proposal, start.spec, _volumes(text, name, proposal)))
    else:
        steps = list(_compose(proposal, start.spec))
    missed = []
    for step in steps:
        changed = _written(text, name, step)
        if changed is None:
            missed.append(step.change.title)
        else:
            text = changed
    return text, missed


def _own(place: _Place) -> Node:
    return place.node


def _pod(place: _Place) -> Node:
    return place.pod


class _Step(NamedTuple):
    """One value to be put below the container or its pod."""

    change: Change
    where: Callable[[_Place], Node] = _own


def _written(text: str, name: str, step: _Step) -> str | None:
    place = next((item for item in _places(text) if item.name == name), None)
    if place is None:
        return None
    scene = Scene(text, documents(text))
    node = step.where(place)
    value = node.get(*step.change.path)
    if step.change.item and any(item.string.upper() == step.change.value.upper() for item in value):
        return text
    if not step.change.item and value.string == step.change.value.strip("'"):
        return text
    edit: Edit | None = edit_of(scene, node, step.change)
    return text[: edit.start] + edit.text + text[edit.end :] if edit is not None else None


def _set(title: str, value: str, *path: str) -> _Step:
    return _Step(Change(title, path, value))


def _add(title: str, value: str, *path: str) -> _Step:
    return _Step(Change(title, path, value, item=True))


def _volumes(text: str, name: str, proposal: Proposal) -> dict[str, str]:
    """Return a name for the volume of each folder that nothing in the pod has: containers must not share by accident."""
    place = next(item for item in _places(text) if item.name == name)
    taken = {volume.get("name").string for volume in place.pod.get("volumes")}
    found: dict[str, str] = {}
    for folder in proposal.tmpfs:
        wished = _volume_name(f"{name.rpartition('/')[2]}-{folder.strip('/')}")
        free = next(text for number in range(len(taken) + 1) if (text := f"{wished}-{number}" if number else wished) not in taken)
        taken.add(free)
        found[folder] = free
    return found


def _kubernetes(proposal: Proposal, spec: Spec, volumes: Mapping[str, str]) -> Iterator[_Step]:
    own = "securityContext"
    if proposal.unprivileged:
        yield _set("not privileged", "false", own, "privileged")
    if proposal.read_only:
        yield _set("a read-only root file system", "true", own, "readOnlyRootFilesystem")
        for folder, volume in volumes.items():
            yield _add(f"a folder for {folder}", f"{{name: {volume}, mountPath: {folder}}}", "volumeMounts")
            change = Change(f"a folder for {folder}", ("volumes",), f"{{name: {volume}, emptyDir: {{}}}}", item=True)
            yield _Step(change, _pod)
    if proposal.low_port:
        entry = f'{{name: {PORTS}, value: "{proposal.low_port}"}}'
        yield _Step(Change("ports below 1024", (own, "sysctls"), entry, item=True), _pod)
    if proposal.seccomp:
        yield _set("the runtime's seccomp profile", "RuntimeDefault", own, "seccompProfile", "type")
    for name in proposal.add:
        if name not in spec.capabilities_add:
            yield _add(f"the capability {name}", name, own, "capabilities", "add")
    if proposal.drop_all:
        yield _add("no other capability", "ALL", own, "capabilities", "drop")
    if proposal.no_new_privileges:
        yield _set("no escalation", "false", own, "allowPrivilegeEscalation")
    if proposal.group is not None:
        yield _set("its group", str(proposal.group), own, "runAsGroup")
    if proposal.user is not None:
        yield _set("its account", str(proposal.user), own, "runAsUser")
    if proposal.non_root and spec.run_as_non_root is not True:
        yield _set("not root", "true", own, "runAsNonRoot")


def _compose(proposal: Proposal, spec: Spec) -> Iterator[_Step]:
    if proposal.unprivileged:
        yield _set("not privileged", "false", "privileged")
    if proposal.read_only:
        for folder in reversed(proposal.tmpfs):
            yield _add(f"a folder for {folder}", tmpfs(folder, proposal), "tmpfs")
        yield _set("a read-only root file system", "true", "read_only")
    if proposal.low_port:
        yield _set("ports below 1024", str(proposal.low_port), "sysctls", PORTS)
    if proposal.no_new_privileges and spec.no_new_privileges is not True:
        yield _add("no escalation", "no-new-privileges:true", "security_opt")
    for capability in reversed(proposal.add):
        if capability not in spec.capabilities_add:
            yield _add(f"the capability {capability}", capability, "cap_add")
    if proposal.drop_all and "ALL" not in spec.capabilities_drop:
        yield _add("no other capability", "ALL", "cap_drop")
    if proposal.user is not None:
        group = f":{proposal.group}" if proposal.group is not None else ""
        yield _set("its account", f'"{proposal.user}{group}"', "user")


def _volume_name(path: str) -> str:
    """Return a name that clusters and engines take for a folder: letters, digits and hyphens, at most 50 of them."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in path.strip("/").lower())
    return kept.strip("-")[:50] or "data"
