"""A pod as the API server has it, and one of its containers, in; the target and the Spec of a process in it out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pratique.grant.request import Target
from pratique.workload.kubernetes import CONTAINERS, extract_object
from pratique.workload.spec import Spec

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LISTS = tuple(key for key, _ in CONTAINERS)
_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
_DEFAULT = "kubectl.kubernetes.io/default-container"
# The kubelet refuses to start it as root; which other uid the image names, nobody knows here, so that it is the least.
_NOT_ROOT = 1


class Process(NamedTuple):
    """A container of a pod, as something that can be entered; `spec` is None where nobody knows what it is."""

    target: Target
    spec: Spec | None


def processes(pod: Mapping[str, Any], cluster: str) -> Iterator[Process]:
    """Yield every container of a pod. Raises BudgetExceededError."""
    metadata = _map(pod.get("metadata"))
    namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    statuses = _statuses(pod)
    for container, spec in named(pod):
        status = statuses.get(container, {})
        found = _DIGEST.search(str(status.get("imageID") or ""))
        effective = _effective(spec, status)
        yield Process(
            Target(
                cluster=cluster,
                namespace=namespace,
                container=f"{namespace}/{name}/{container}",
                labels=_labels(metadata),
                reference=spec.image,
                digest=found.group() if found else digest_in(spec.image),
                root=None if effective.uid is None else effective.uid == 0,
                privileged=spec.privileged,
            ),
            effective,
        )


def named(item: Mapping[str, Any]) -> list[tuple[str, Spec]]:
    """Return each container's name with its Spec, in the order of `extract_object`; for a pod."""
    names = [
        str(container.get("name") or "")
        for key in _LISTS
        for container in _list(_map(item.get("spec")).get(key))
        if isinstance(container, Mapping)
    ]
    return list(zip(names, extract_object(item), strict=True))


def default_container(pod: Mapping[str, Any]) -> str:
    """Return the container that is meant where none is named: the only one, as the API server takes it, else the annotated."""
    containers = [str(_map(one).get("name") or "") for one in _list(_map(pod.get("spec")).get("containers"))]
    if len(containers) == 1:
        return containers[0]
    said = _map(_map(pod.get("metadata")).get("annotations")).get(_DEFAULT)
    return said if isinstance(said, str) and said in containers else ""


def digest_in(image: str) -> str:
    """Return the digest that a reference names, "" where it names none."""
    tail = image.rpartition("@")[2] if "@" in image else ""
    return tail if _DIGEST.fullmatch(tail) else ""


def _effective(spec: Spec, status: Mapping[str, Any]) -> Spec:
    """Say as whom it runs: what is written, else what the node reports (from 1.31 on), else that it is at least not root.

    A status may be written by whoever RBAC lets write it, so that it only says what the pod itself leaves open. What is entered
    does not start again, whatever its container does.
    """
    spec = msgspec.structs.replace(spec, restart=None)
    if spec.uid is not None:
        return spec
    user = _map(_map(status.get("user")).get("linux")).get("uid")
    if isinstance(user, int) and not isinstance(user, bool):
        return msgspec.structs.replace(spec, uid=user)
    if spec.uid is None and spec.run_as_non_root is True:
        return msgspec.structs.replace(spec, uid=_NOT_ROOT)
    return spec


def _statuses(pod: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    status = _map(pod.get("status"))
    listed = [one for key in _STATUSES for one in _list(status.get(key)) if isinstance(one, Mapping)]
    return {str(one.get("name") or ""): one for one in listed}


def _labels(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): value for key, value in _map(metadata.get("labels")).items() if isinstance(value, str)}


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
