"""What is created or changed in, one request a container that asks for something new out.

What was admitted before is not judged again: an update is about those containers whose privileges or image it changes, so that
scaling, labels and status stay free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from pratique.enforce.kubernetes.pods import digest_in
from pratique.enforce.kubernetes.review import Admission
from pratique.grant.request import Request, Target
from pratique.model.errors import ParseError
from pratique.model.privilege import Subject
from pratique.workload.kubernetes import CONTAINERS, extract_object, pod_templates
from pratique.workload.place import Place
from pratique.workload.spec import Mount, Spec

# What runs once and ends. All else starts again by itself, which a grant does not give.
_ONCE = "no"
_HERE = Place(1, 1)
_EPHEMERAL = "ephemeralcontainers"
# Volumes for which a node's agent runs a program as root with what the pod says: a driver of the node's, and git with its hooks.
_PROGRAMS = ("flexVolume", "gitRepo")
DRIVER = "volume.hostbind"


def normal(review: Admission) -> Admission:
    """Return a review whose objects are pods where they are a pod's ephemeral containers alone, as before 1.22."""
    return review._replace(item=_as_pod(review.item), old=_as_pod(review.old))


def changed(review: Admission, *, whole: bool = False) -> list[Spec]:
    """Return the Specs of containers that are new or ask for something else than before. Raises BudgetExceededError.

    `whole` says that something else got worse, so that every container is asked about.
    """
    before: dict[bytes, None] = {}
    for spec in _specs(review, review.old):
        before.setdefault(_essence(spec), None)
    found = list(_specs(review, review.item))
    if whole or runs_drivers(review):
        return found
    return [spec for spec in found if _essence(spec) not in before]


def requests(review: Admission, subject: Subject | None, cluster: str) -> list[Request]:
    """Return what is to be decided for an object that is, or makes, pods. Raises BudgetExceededError."""
    return [request(review, spec, subject, cluster) for spec in changed(review)]


def request(review: Admission, spec: Spec, subject: Subject | None, cluster: str) -> Request:
    """Return the question about one container."""
    action: Literal["ephemeral", "run"] = "ephemeral" if review.resource.sub == _EPHEMERAL else "run"
    name = review.name or str(_map(review.item.get("metadata")).get("generateName") or "")
    container = spec.subject.rpartition(" ")[2]
    return Request(
        subject=subject,
        action=action,
        point="kubernetes",
        target=Target(
            cluster=cluster,
            namespace=review.namespace,
            container=f"{review.namespace}/{name}/{container}",
            labels=spec.labels,
            reference=spec.image,
            digest=digest_in(spec.image),
            name=str(review.resource),
        ),
        spec=spec,
        argv=spec.command,
    )


def runs_drivers(review: Admission) -> bool:
    """Say whether an object has volumes, which it had not before, that are made by a program of the node's."""
    had = [volume for pod in pod_templates(review.old) for volume in _programs(pod)]
    return any(volume not in had for pod in pod_templates(review.item) for volume in _programs(pod))


def templates(review: Admission) -> list[Mapping[str, Any]]:
    """Return the pods that the object is or makes. Raises ParseError for containers that are no list of objects."""
    found = [pod for pod in pod_templates(review.item) if _map(pod.get("spec"))]
    for pod in found:
        for key, _ in CONTAINERS:
            listed = pod["spec"].get(key) or []
            if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
                raise ParseError(f"the object's {key} are no list of containers")
    return [pod for pod in found if any(pod["spec"].get(key) for key, _ in CONTAINERS)]


def former(review: Admission) -> list[Mapping[str, Any]]:
    """Return the pods that the object was or made before it is updated."""
    return pod_templates(review.old)


def volume(review: Admission, subject: Subject | None, cluster: str) -> Request | None:
    """Return the question about a persistent volume that is a path of its node, or made by its programs; None for any other.

    A volume is bound to a claim by an update, which changes nothing of where it is.
    """
    spec, old = _map(review.item.get("spec")), _map(review.old.get("spec"))
    target = Target(cluster=cluster, name=review.name)
    if spec.get("flexVolume") is not None and spec.get("flexVolume") != old.get("flexVolume"):
        return Request(subject=subject, action="change", point="kubernetes", target=target, extra=(DRIVER,))
    kinds = [kind for kind in ("hostPath", "local") if spec.get(kind) is not None]
    if all(spec[kind] == old.get(kind) for kind in kinds):
        return None
    paths = [_map(spec[kind]).get("path") for kind in kinds]
    modes = spec.get("accessModes")
    read_only = modes == ["ReadOnlyMany"]
    mounts = tuple(Mount(kind="bind", source=str(path), target="", read_only=read_only, place=_HERE) for path in paths)
    made = Spec(format="kubernetes", subject=f"PersistentVolume {review.name}", place=_HERE, mounts=mounts)
    return Request(subject=subject, action="volume", point="kubernetes", target=target, spec=made)


def _specs(review: Admission, item: Mapping[str, Any]) -> Iterator[Spec]:
    again, images = _starts_again(review, item), _mounted_images(item)
    for spec in extract_object(item):
        ephemeral = ", ephemeral container " in spec.subject
        if review.resource.sub == _EPHEMERAL and not ephemeral:
            continue  # the subresource changes no other
        made = msgspec.structs.replace(spec, restart=_ONCE if ephemeral else again or _restart(spec))
        yield made
        # Programs of an image that is mounted run as the container's own do: it must be one that may run.
        for mount in made.mounts:
            if mount.kind == "volume" and mount.source in images:
                yield msgspec.structs.replace(made, image=images[mount.source])


def _starts_again(review: Admission, item: Mapping[str, Any]) -> str:
    """Return what starts its pods again, "" where only the pod's own policy does."""
    kind = str(item.get("kind") or "")
    return "" if review.resource.name in ("pods", "jobs") else kind or review.resource.name


def _restart(spec: Spec) -> str:
    return _ONCE if spec.restart == "Never" else spec.restart or "Always"


def _essence(spec: Spec) -> bytes:
    """Return what counts of a Spec: who it is, what it may do and what image it runs, not its size or labels."""
    return msgspec.msgpack.encode(
        msgspec.structs.replace(
            spec,
            place=_HERE,
            mounts=tuple(msgspec.structs.replace(mount, place=_HERE) for mount in spec.mounts),
            devices=(),
            ports=tuple(msgspec.structs.replace(port, place=_HERE) for port in spec.ports),
            environment=(),
            memory_limit=None,
            cpu_limit=None,
            pids_limit=None,
            labels={},
            annotations={},
            places={},
        ),
        order="deterministic",
    )


def _programs(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [volume for volume in _volumes(pod) if any(volume.get(kind) is not None for kind in _PROGRAMS)]


def _mounted_images(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the images that are volumes (1.31 and later), by the volume's name."""
    return {
        str(volume.get("name")): str(_map(volume["image"]).get("reference") or "")
        for pod in pod_templates(item)
        for volume in _volumes(pod)
        if volume.get("image") is not None
    }


def _volumes(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = _map(pod.get("spec")).get("volumes")
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def _as_pod(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if item.get("kind") != "EphemeralContainers":
        return item
    return {**item, "kind": "Pod", "spec": {"ephemeralContainers": item.get("ephemeralContainers") or []}}


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
