"""Checks of roles and bindings: what they allow, and what that leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pratique._kit.yamltree import Node
from pratique.lint.checks.cluster import hit_of
from pratique.lint.hit import Hit

Check = Callable[[Node], Iterator[Hit]]

_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")
_CHANGES = ("create", "update", "patch")
_REMOVALS = ("delete", "deletecollection")
# A verb or resource that leads to more rights than the role has itself.
# https://kubernetes.io/docs/concepts/security/rbac-good-practices/#kubernetes-rbac-privilege-escalation-risks
_VERBS = frozenset(("escalate", "bind", "impersonate"))
_ESCALATIONS = {
    "pods/exec": ("create", "get"),
    "pods/attach": ("create", "get"),
    "pods/ephemeralcontainers": ("update", "patch"),
    "nodes/proxy": ("get", "create"),
    "serviceaccounts/token": ("create",),
    "secrets": ("get", "list", "watch"),
    "certificatesigningrequests/approval": ("update", "patch"),
    "persistentvolumes": ("create",),
    "roles": _CHANGES,
    "rolebindings": _CHANGES,
    "clusterroles": _CHANGES,
    "clusterrolebindings": _CHANGES,
    "mutatingwebhookconfigurations": _CHANGES,
    "validatingwebhookconfigurations": _CHANGES,
}
_MAKERS = (
    "pods", "deployments", "daemonsets", "statefulsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs",
)  # fmt: skip
_TRAFFIC = ("services", "endpoints", "endpointslices", "ingresses", "networkpolicies")
# Bound to everybody by every cluster: what may be known without a name.
_PUBLIC = ("system:public-info-viewer",)
_AUTHENTICATED = (*_PUBLIC, "system:basic-user", "system:discovery", "system:service-account-issuer-discovery")


def _rules(item: Node) -> Iterator[tuple[Node, list[str]]]:
    """Yield the rules of a role, each with its verbs."""
    if item.get("kind").string in _ROLES:
        for rule in item.get("rules"):
            yield rule, [verb.string for verb in rule.get("verbs")]


def _on(item: Node, watched: Mapping[str, tuple[str, ...]]) -> Iterator[Hit]:
    """Yield a hit for each resource on which a role that names no object has one of these verbs."""
    for rule, verbs in _rules(item):
        for resource in rule.get("resources") if not rule.get("resourceNames").items else ():
            allowed = [verb for verb in verbs if verb in watched.get(resource.string, ())]
            if allowed:
                yield hit_of(item, resource, f"{', '.join(allowed)} on {resource.string}")


def _of(watched: Mapping[str, tuple[str, ...]]) -> Check:
    def check(item: Node) -> Iterator[Hit]:
        return _on(item, watched)

    return check


def wildcard(item: Node) -> Iterator[Hit]:
    """Everything, now and in future."""
    for rule, _ in _rules(item):
        for key in ("verbs", "resources"):
            for value in rule.get(key):
                if value.string == "*":
                    yield hit_of(item, value, f"{key} has *")


def admin(item: Node) -> Iterator[Hit]:
    """All rights on the cluster are given, or on what is in it."""
    kind, role = item.get("kind").string, item.get("roleRef", "name")
    if kind not in _BINDINGS:
        return
    if role.string == "cluster-admin":
        yield hit_of(item, role, "gives cluster-admin")
    elif role.string in ("admin", "edit") and kind == "ClusterRoleBinding":
        yield hit_of(item, role, f"gives {role.string} in every namespace")
    for subject in item.get("subjects"):
        if subject.get("name").string == "system:masters":
            yield hit_of(item, subject.get("name"), "names system:masters, whom no policy can take anything from")


def escalation(item: Node) -> Iterator[Hit]:
    """Rights that lead to further rights."""
    for rule, _ in _rules(item):
        for verb in rule.get("verbs"):
            if verb.string in _VERBS:
                yield hit_of(item, verb, f"the verb {verb.string}")
    yield from _on(item, _ESCALATIONS)


def configuration(item: Node) -> Iterator[Hit]:
    """What programs are told, and on EKS who is who, can be changed."""
    yield from _on(item, {"configmaps": _CHANGES})
    for rule, verbs in _rules(item):
        for name in rule.get("resourceNames"):
            if name.string == "aws-auth" and any(verb in ("update", "patch", "*") for verb in verbs):
                yield hit_of(item, name, "changes aws-auth, which says who is an administrator")


def anonymous(item: Node) -> Iterator[Hit]:
    """Rights are given to whoever asks, without a name or with any."""
    if item.get("kind").string not in _BINDINGS:
        return
    role = item.get("roleRef", "name").string
    for subject in item.get("subjects"):
        name = subject.get("name").string
        if name in ("system:anonymous", "system:unauthenticated") and role not in _PUBLIC:
            yield hit_of(item, subject.get("name"), f"gives {role} to {name}: to everybody who can reach the cluster")
        elif name in ("system:authenticated", "system:serviceaccounts") and role not in _AUTHENTICATED:
            yield hit_of(item, subject.get("name"), f"gives {role} to {name}: to every account, every pod's included")


OBJECTS: dict[str, Check] = {
    "k8s-rbac-wildcard": wildcard,
    "k8s-rbac-admin": admin,
    "k8s-rbac-escalation": escalation,
    "k8s-rbac-workloads": _of(dict.fromkeys(_MAKERS, _CHANGES)),
    "k8s-rbac-configuration": configuration,
    "k8s-rbac-traffic": _of(dict.fromkeys(_TRAFFIC, _CHANGES)),
    "k8s-rbac-traces": _of(dict.fromkeys(("pods/log", "events"), _REMOVALS)),
    "k8s-rbac-anonymous": anonymous,
}
