"""A user as the API server authenticated them in, a subject out; nobody where it was not sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pratique.model.errors import ParseError
from pratique.model.privilege import CERTIFICATE, Subject

MAX_GROUPS = 1_000  # groups of one user; directories of large companies give some hundreds
_NOBODY = "system:anonymous"
_UNKNOWN_GROUP = "system:unauthenticated"
_ROBOT = "system:serviceaccount:"
_NODE, _NODES = "system:node:", "system:nodes"


def subject_of(user: Mapping[str, Any]) -> Subject | None:
    """Return who asks, None for anonymous. Raises ParseError for what no API server says.

    Strength 2: the API server verified a certificate or a token. It does not say whether there was a second factor.
    """
    name, groups = user.get("username"), user.get("groups") or []
    if name is not None and not isinstance(name, str):
        raise ParseError("the review's user has no name")
    if not isinstance(groups, list) or len(groups) > MAX_GROUPS or not all(isinstance(group, str) for group in groups):
        raise ParseError("the review's groups are no list of names")
    if not name or name == _NOBODY or _UNKNOWN_GROUP in groups:
        return None
    return Subject(
        id=name,
        provider="k8s",
        kind="robot" if name.startswith(_ROBOT) else "node" if is_node(name, groups) else "human",
        groups=tuple(groups),
        strength=CERTIFICATE,
    )


def is_node(name: str, groups: list[str] | tuple[str, ...]) -> bool:
    """Say whether it is the agent of a node."""
    return name.startswith(_NODE) and _NODES in groups


def is_controller(subject: Subject | None, name: str) -> bool:
    """Say whether it is a controller of the control plane itself, with credentials of its own or with those of all."""
    return subject is not None and subject.id in (
        f"system:serviceaccount:kube-system:{name}",
        "system:kube-controller-manager",
    )
