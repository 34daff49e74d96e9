"""Conditions of privilege policies in, answers out: the names that they may use, with their types, are one table.

An error is an answer: the sentence that says what went wrong. Whoever asks denies then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from pratique._kit.cel import ConditionError, Language, answer, conjuncts, tokens
from pratique.grant.request import ACTIONS, Request, Target, key
from pratique.model.privilege import Moment, Point, Provider, Subject, Task
from pratique.workload.place import Place
from pratique.workload.spec import Spec

_NOBODY = Subject(id="", strength=0)
_NOTHING = Spec(format="dockerfile", subject="", place=Place(1, 1))
# What the items of these lists know; a misspelt one would be an error only when it is asked, which is when it matters.
FIELDS: dict[str, tuple[str, ...]] = {
    "spec.mounts": ("kind", "source", "target", "read_only", "propagation"),
    "spec.ports": ("container", "host", "address"),
}
_MACROS = (".all", ".exists", ".exists_one", ".existsOne", ".filter", ".map")


class Asking(NamedTuple):
    """What a condition looks at: the request, the privileges that it needs, the moment, and the task of a grant, if any."""

    request: Request
    needed: tuple[str, ...]
    now: Moment
    task: Task = Task(id="")

    @property
    def subject(self) -> Subject:
        """Who asks."""
        return self.request.subject or _NOBODY

    @property
    def target(self) -> Target:
        """What it is done to."""
        return self.request.target

    @property
    def spec(self) -> Spec:
        """What would run."""
        return self.request.spec or _NOTHING


class Name(NamedTuple):
    """A name that conditions may use: type, meaning, and how it is read."""

    type: str
    doc: str
    read: Callable[[Asking], Any]


class Condition(NamedTuple):
    """A condition that was checked: its text, the names in it, and the program."""

    text: str
    names: tuple[str, ...]
    program: Any


def _mounts(asking: Asking) -> list[dict[str, Any]]:
    return [
        {"kind": m.kind, "source": m.source, "target": m.target, "read_only": m.read_only, "propagation": m.propagation}
        for m in asking.spec.mounts
    ]


def _when(asking: Asking) -> dt.datetime:
    return dt.datetime.fromtimestamp(asking.now.wall, dt.UTC)


NAMES: dict[str, Name] = {
    "subject.id": Name("string", "who asks", lambda a: a.subject.id),
    "subject.key": Name("string", "PROVIDER:ID", lambda a: key(a.subject)),
    "subject.kind": Name("string", "human, robot or node", lambda a: a.subject.kind),
    "subject.provider": Name("string", "unix, tls, oidc, k8s or claimed", lambda a: a.subject.provider),
    "subject.groups": Name("list(string)", "groups", lambda a: list(a.subject.groups)),
    "subject.strength": Name("int", "0 claimed, 1 peer, 2 certificate or token, 3 second factor", lambda a: a.subject.strength),
    "subject.owner": Name("string", "who answers for a robot", lambda a: a.subject.owner),
    "target.host": Name("string", "the machine", lambda a: a.target.host),
    "target.cluster": Name("string", "the cluster", lambda a: a.target.cluster),
    "target.namespace": Name("string", "the namespace", lambda a: a.target.namespace),
    "target.container": Name("string", "the container's id, or NAMESPACE/POD/CONTAINER", lambda a: a.target.container),
    "target.labels": Name("map(string)", "labels; asking for one that is not there is an error", lambda a: a.target.labels),
    "target.image": Name("string", "the image as named", lambda a: a.target.reference),
    "target.digest": Name("string", "sha256:..., nothing where it is not known", lambda a: a.target.digest),
    "target.owner": Name("string", "who made the container, PROVIDER:ID", lambda a: a.target.owner),
    "target.name": Name("string", "the user to be, the repository, ...", lambda a: a.target.name),
    "request.action": Name("string", ", ".join(ACTIONS), lambda a: a.request.action),
    "request.point": Name("string", "docker, podman, runtime, kubernetes, registry, ci or prompt", lambda a: a.request.point),
    "request.argv": Name("list(string)", "the command", lambda a: list(a.request.argv)),
    "request.needed": Name("list(string)", "the privileges beyond the baseline", lambda a: list(a.needed)),
    "request.write": Name("bool", "a copy goes into the container", lambda a: a.request.write),
    "request.insecure": Name("bool", "a build goes without its sandbox", lambda a: a.request.insecure),
    "spec.image": Name("string", "the image as written", lambda a: a.spec.image),
    "spec.user": Name("string", "as written; nothing where nothing is said", lambda a: a.spec.user or ""),
    "spec.privileged": Name("bool", "without confinement", lambda a: a.spec.privileged),
    "spec.capabilities": Name("list(string)", "capabilities added, without CAP_", lambda a: list(a.spec.capabilities_add)),
    "spec.dropped": Name("list(string)", "capabilities dropped", lambda a: list(a.spec.capabilities_drop)),
    "spec.namespaces": Name("list(string)", "namespaces of the machine", lambda a: list(a.spec.host_namespaces)),
    "spec.mounts": Name("list(map)", "mounts: kind, source, target, read_only, propagation", _mounts),
    "spec.devices": Name("list(string)", "devices of the machine", lambda a: [device.path for device in a.spec.devices]),
    "spec.ports": Name(
        "list(map)",
        "ports of the machine: container, host, address",
        lambda a: [{"container": p.container, "host": p.host, "address": p.address} for p in a.spec.ports],
    ),
    "spec.environment": Name("list(string)", "names of variables", lambda a: [one.name for one in a.spec.environment]),
    "spec.read_only_root": Name("bool", "its own files cannot be written", lambda a: a.spec.read_only_root is True),
    "spec.no_new_privileges": Name("bool", "set-user-ID gives nothing", lambda a: a.spec.no_new_privileges is True),
    "spec.masked_paths": Name("bool", "/proc is masked as usual", lambda a: a.spec.masked_paths),
    "spec.seccomp": Name("string", "unconfined, a profile, or nothing", lambda a: a.spec.seccomp or ""),
    "spec.apparmor": Name("string", "unconfined, a profile, or nothing", lambda a: a.spec.apparmor or ""),
    "spec.selinux": Name("string", "as written", lambda a: a.spec.selinux or ""),
    "spec.memory_limit": Name("string", "as written; nothing where there is none", lambda a: a.spec.memory_limit or ""),
    "spec.cpu_limit": Name("string", "as written; nothing where there is none", lambda a: a.spec.cpu_limit or ""),
    "context.task": Name("string", "of the grant; nothing in rules", lambda a: a.task.id),
    "context.ticket": Name("string", "of the grant; nothing in rules", lambda a: a.task.ticket),
    "context.hour": Name("int", "0 to 23, UTC", lambda a: _when(a).hour),
    "context.weekday": Name("int", "0 is Monday, UTC", lambda a: _when(a).weekday()),
    "now": Name("timestamp", "the moment of the decision", _when),
}
_WORDS = {
    "request.action": ACTIONS,
    "request.point": Point.__args__,  # type: ignore[attr-defined]
    "subject.provider": Provider.__args__,  # type: ignore[attr-defined]
    "subject.kind": ("human", "robot", "node"),
}


@cache
def _language() -> Language:
    return Language({name: known.type for name, known in NAMES.items()}, _WORDS)


def compile_condition(text: str) -> Condition:
    """Check and compile. Raises ConditionError."""
    language = _language()
    program = language.compile(text)
    _check_fields(text)
    return Condition(text, language.used(text), program)


def _check_fields(text: str) -> None:
    """Refuse what an item of a list of maps does not have: `spec.mounts.exists(m, m.sauce == '/')`."""
    pieces = tokens(text)
    variables: dict[str, str] = {}
    for at, piece in enumerate(pieces[:-2]):
        over = next((name for name in FIELDS for macro in _MACROS if piece.text == name + macro), "")
        if over and pieces[at + 1].text == "(":
            variables[pieces[at + 2].text] = over
    for piece in pieces:
        variable, _, field = piece.text.partition(".") if piece.kind == "name" else ("", "", "")
        over = variables.get(variable, "")
        first = field.partition(".")[0]
        if over and first and first not in FIELDS[over]:
            raise ConditionError(
                f"an item of {over} has no {first!r}", piece.offset + len(variable) + 1, f"one of {', '.join(FIELDS[over])}"
            )


def ask(condition: Condition, asking: Asking) -> bool | str:
    """Return true, false, or what went wrong as a sentence."""
    return answer(condition.program, {name: NAMES[name].read(asking) for name in condition.names})


def together(texts: Sequence[str]) -> Any:
    """Return one program that answers several conditions, None where that cannot be."""
    return _language().together(texts)


__all__ = ["FIELDS", "NAMES", "Asking", "Condition", "ConditionError", "ask", "compile_condition", "conjuncts", "together"]
