"""What a gate saw, as one question: who wants to do what to which thing, with what Spec."""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique.model.privilege import Asked, Point, Subject
from pratique.workload.spec import Spec

Action = Literal[
    "run", "exec", "attach", "copy", "build", "volume", "engine", "token", "impersonate", "push", "delete", "pull", "ephemeral",
    "read", "change",
]  # fmt: skip
ACTIONS: tuple[Action, ...] = Action.__args__  # type: ignore[attr-defined]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What it is done to. "" is what is not known, and matches no scope that restricts it.

    `container` is a full id, or `NAMESPACE/POD/CONTAINER`. `reference` is the image as named, `digest` (`sha256:...`) what the
    name was resolved to. `owner` is the `key` of who made the container that is executed in, attached to or copied to; `root`
    whether that container runs as uid 0 (None where nobody knows), `privileged` whether it is unconfined. `name` is the user who
    is impersonated, the repository that is pushed to, or whatever else the action is about.
    """

    host: str = ""
    cluster: str = ""
    namespace: str = ""
    container: str = ""
    labels: dict[str, str] = {}
    reference: str = ""
    digest: str = ""
    owner: str = ""
    root: bool | None = None
    privileged: bool = False
    name: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question to `decide`.

    `subject` is None where nobody is known. `spec` is what would run: for exec, attach and copy the process in the container
    (its user, its capabilities; a user that the request leaves open is the container's), for a volume its binds; None where the
    action needs none. `write` is false for a copy out of a container. `extra` are further privileges that the gate found to be
    needed. `insecure` marks a build without its sandbox.
    """

    subject: Subject | None
    action: Action
    point: Point
    target: Target = Target()
    spec: Spec | None = None
    argv: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    write: bool = True
    insecure: bool = False


def key(subject: Subject) -> str:
    """Return what tells subjects apart, `PROVIDER:ID`: who is named alike elsewhere is another."""
    return f"{subject.provider}:{subject.id}"


def target_of(asked: Asked) -> Target:
    """Return the place that a request is about, as far as its scope names one."""
    scope = asked.scope
    return Target(
        host=_only(scope.hosts),
        cluster=_only(scope.clusters),
        namespace=_only(scope.namespaces) or scope.container.partition("/")[0] * ("/" in scope.container),
        container=scope.container,
        labels=scope.labels,
        digest=_only(scope.images).rpartition("@")[2],
        reference=_only(scope.images),
    )


def _only(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else ""
