"""What was found in a part of a manifest in, what it itself says out: a patch leaves out what the manifest below it has.

Kustomize's patches name kind and object, and of a container its name and what is to change. No container runs without an image,
so that a pod of which none has one is a part. What is missing from it is nothing to report; what it sets is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pratique._kit.yamltree import Node
from pratique.lint.hit import Hit
from pratique.workload.kubernetes import Pod
from pratique.workload.place import Place
from pratique.workload.spec import Spec

Found = tuple[str, Hit]

# Checks that speak where something is missing, too, and the key that they ask for: where that stands, it was said.
_ASKED = {
    "ct-root-filesystem": "readOnlyRootFilesystem",
    "ct-memory-limit": "memory",
    "ct-cpu-limit": "cpu",
    "ct-image-tag": "image",
    "pss-escalation": "allowPrivilegeEscalation",
    "pss-non-root": "runAsNonRoot",
    "pss-seccomp-set": "seccompProfile",
    "pss-capabilities-dropped": "drop",
    "k8s-service-account-token": "automountServiceAccountToken",
}


def is_patch(pod: Pod) -> bool:
    """Say whether a pod is a part of one: it has containers, and none of them an image."""
    containers = list(pod.containers())
    return bool(containers) and not any(container.node.get("image").given for container in containers)


def of_spec(spec: Spec, found: Iterable[Found]) -> list[Found]:
    """Return what stands somewhere in the container: what is missing is reported where it begins."""
    return [(name, hit) for name, hit in found if name not in _ASKED or hit.place != spec.place]


def of_pod(pod: Pod, found: Iterable[Found]) -> list[Found]:
    """Return what was said."""
    said: set[tuple[str, Place]] = set(_keys(pod.spec)) | set(_keys(pod.spec.get("securityContext")))
    for container in pod.containers():
        context = container.node.get("securityContext")
        said |= {*_keys(context), *_keys(context.get("capabilities"))}
    return [(name, hit) for name, hit in found if name not in _ASKED or (_ASKED[name], hit.place) in said]


def _keys(node: Node) -> Iterator[tuple[str, Place]]:
    return ((key, node.at(key)) for key in _ASKED.values() if node.get(key).given)
