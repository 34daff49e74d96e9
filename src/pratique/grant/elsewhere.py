"""A denial and the grants that somebody holds in, those that would allow it at some other place out: each with that place.

A grant is for a container, an image or a namespace; who asks without naming one is told no, and should know how near yes is.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

import msgspec

from pratique.grant import privileges
from pratique.grant.decide import decide
from pratique.grant.prompt import Answer, Book
from pratique.grant.request import Request
from pratique.model.privilege import Decision, Denial, Grant, Scope


class Elsewhere(NamedTuple):
    """A grant that would allow it: where, as people say it, and as options of `pratique can`."""

    grant: Grant
    decision: Decision
    where: str
    options: tuple[str, ...]


def elsewhere(answer: Answer, book: Book) -> list[Elsewhere]:
    """Return the live grants with which the same would be allowed where they are for; none where it is allowed as it is.

    Each is decided upon as a gate would: what a rule denies everywhere is not offered.
    """
    request = answer.request
    if answer.decision.allowed or request.subject is None:
        return []
    missing = privileges.parse_all(one.rule.removeprefix("privilege ") for one in _missing(answer.decision))
    if not missing:
        return []
    found = []
    for grant in book.grants.live(request.subject):
        held = privileges.parse_all(grant.asked.privileges)
        if not any(privileges.covered(held, one) for one in missing):
            continue
        there = _there(request, grant.asked.scope)
        decision = decide(there, book.policy, book.grants, book.now)
        if decision.allowed and grant.id in decision.grants and there != request:
            found.append(Elsewhere(grant, decision, *_said(request, grant.asked.scope)))
    return found


def place_of_scope(scope: Scope) -> str:
    """Return where a grant holds, as people say it; "" for one that holds everywhere."""
    return _said(Request(subject=None, action="read", point="prompt"), scope)[0]


def _missing(decision: Decision) -> list[Denial]:
    return [one for one in decision.reasons if one.rule.startswith("privilege ")]


def _there(request: Request, scope: Scope) -> Request:
    """Return the same question about the place that a scope names. A pattern stands for what it covers: it covers itself."""
    target = request.target
    image = scope.images[0] if scope.images else ""
    name, _, digest = image.rpartition("@")
    target = msgspec.structs.replace(
        target,
        host=next(iter(scope.hosts), target.host),
        cluster=next(iter(scope.clusters), target.cluster),
        namespace=next(iter(scope.namespaces), target.namespace),
        container=scope.container or target.container,
        labels={**target.labels, **scope.labels},
        reference=name or target.reference,
        digest=digest or target.digest,
    )
    argv = scope.argv if scope.argv and scope.argv_match != "sha256" else request.argv
    point = scope.points[0] if scope.points and request.point not in scope.points else request.point
    return msgspec.structs.replace(request, target=target, argv=argv, point=point)


def _said(request: Request, scope: Scope) -> tuple[str, tuple[str, ...]]:
    """Return where a scope is, as far as the question did not say so."""
    target = request.target
    words, options = [], []
    for name, globs, value in (
        ("host", scope.hosts, target.host), ("cluster", scope.clusters, target.cluster),
        ("namespace", scope.namespaces, target.namespace),
    ):  # fmt: skip
        if globs and value not in globs:
            words.append(f"the {name} {' or '.join(globs)}")
            options += [f"--{name}", globs[0]]
    if scope.container and scope.container != target.container:
        words.append(f"the container {scope.container}")
        options += ["--container", scope.container]
    for label, value in scope.labels.items():
        if target.labels.get(label) != value:
            words.append(f"containers with the label {label}={value}")
            options += ["--label", f"{label}={value}"]
    if scope.images and target.digest not in {image.rpartition("@")[2] for image in scope.images}:
        words.append(f"the image {' or '.join(scope.images)}")
        options.append(scope.images[0])
    if scope.argv:
        hashed = scope.argv_match == "sha256"
        words.append("one command, known by its hash" if hashed else f"the command {shlex.join(scope.argv)}")
    if scope.points and request.point not in scope.points:
        words.append(f"the gate of {' or '.join(scope.points)}")
        options += ["--point", scope.points[0]]
    return ", ".join(words), tuple(options)
