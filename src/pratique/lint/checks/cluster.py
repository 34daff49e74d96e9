"""Checks of Kubernetes objects beyond the Pod Security Standards: tokens, and what roles allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pratique._kit.yamltree import Node
from pratique.lint.hit import Hit
from pratique.workload.kubernetes import Pod

# A verb or resource that leads to more rights than the role has itself.
# https://kubernetes.io/docs/concepts/security/rbac-good-practices/#kubernetes-rbac-privilege-escalation-risks
_VERBS = frozenset(("escalate", "bind", "impersonate"))
_RESOURCES = {
    "pods/exec": ("create", "get"),
    "pods/attach": ("create", "get"),
    "pods/ephemeralcontainers": ("update", "patch"),
    "nodes/proxy": ("get", "create"),
    "serviceaccounts/token": ("create",),
    "secrets": ("get", "list", "watch"),
    "certificatesigningrequests/approval": ("update", "patch"),
}


def _name(item: Node) -> str:
    namespace, name = item.get("metadata", "namespace").string, item.get("metadata", "name").string
    return f"{item.get('kind').string} {namespace + '/' if namespace else ''}{name}"


def _hit(item: Node, at: Node, what: str) -> Hit:
    return Hit(at.place, f"{_name(item)}: {what}", f"{_name(item)}\0{what}", _name(item))


def service_account_token(pod: Pod) -> Iterator[Hit]:
    """The pod gets a token for the cluster's API, although most need none."""
    key = "automountServiceAccountToken"
    if pod.spec.get(key).truth is not False and any(True for _ in pod.containers()):
        place = pod.spec.at(key)
        yield Hit(place, f"{pod.subject}: a token for the cluster's API is mounted", f"{pod.subject}\0token", pod.subject)


def rbac_wildcard(item: Node) -> Iterator[Hit]:
    """Everything, now and in future."""
    if item.get("kind").string not in ("Role", "ClusterRole"):
        return
    for rule in item.get("rules"):
        for key in ("verbs", "resources"):
            for value in rule.get(key):
                if value.string == "*":
                    yield _hit(item, value, f"{key} has *")


def rbac_admin(item: Node) -> Iterator[Hit]:
    """All rights on the cluster are given."""
    if item.get("kind").string == "ClusterRoleBinding" and item.get("roleRef", "name").string == "cluster-admin":
        yield _hit(item, item.get("roleRef", "name"), "gives cluster-admin")


def rbac_escalation(item: Node) -> Iterator[Hit]:
    """Rights that lead to further rights."""
    if item.get("kind").string not in ("Role", "ClusterRole"):
        return
    for rule in item.get("rules"):
        verbs = [verb.string for verb in rule.get("verbs")]
        for verb in rule.get("verbs"):
            if verb.string in _VERBS:
                yield _hit(item, verb, f"the verb {verb.string}")
        for resource in rule.get("resources"):
            allowed = [verb for verb in verbs if verb in _RESOURCES.get(resource.string, ())]
            if allowed and not rule.get("resourceNames").items:
                yield _hit(item, resource, f"{', '.join(allowed)} on {resource.string}")


PODS: dict[str, Callable[[Pod], Iterator[Hit]]] = {"k8s-service-account-token": service_account_token}
OBJECTS: dict[str, Callable[[Node], Iterator[Hit]]] = {
    "k8s-rbac-wildcard": rbac_wildcard,
    "k8s-rbac-admin": rbac_admin,
    "k8s-rbac-escalation": rbac_escalation,
}
