"""The command that asks for a grant on the store's machine in, the same for `kubectl` out.

A cluster's users are known to the gate as the API server knows them; a grant that they asked for as users of some machine would
be another's. So what a denial tells them to type is an order.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import msgspec

from pratique.model.privilege import Decision, Denial

_KEPT = {
    "--privilege": "-p",
    "--task": "--task",
    "--reason": "--reason",
    "--ticket": "--ticket",
    "--for": "--for",
    "--image": "--image",
}


def as_order(command: str) -> str:
    """Return `kubectl pratique ... request ...` for `pratique grant request ...`; any other command, and none, as it is."""
    words = shlex.split(command) if command else []
    if words[:3] != ["pratique", "grant", "request"] or len(words) % 2 == 0:
        return command
    said = list(zip(words[3::2], words[4::2], strict=True))
    given = dict(said)
    namespace, container = given.get("--namespace", ""), given.get("--container", "")
    made = ["kubectl", "pratique", *(["-n", namespace] if namespace else []), "request"]
    for name, value in said:
        if name in _KEPT:
            made += [_KEPT[name], value]
    if container.count("/") == 2:
        _, pod, name = container.split("/")
        made += ["--pod", pod, "-c", name]
    if not namespace:
        made.append("--everywhere")
    return " ".join(map(shlex.quote, made))


def for_people(decision: Decision) -> Decision:
    """Return a decision whose denials say what a user of the cluster types."""
    return msgspec.structs.replace(decision, reasons=tuple(_for_people(decision.reasons))) if decision.reasons else decision


def _for_people(reasons: Iterable[Denial]) -> Iterable[Denial]:
    for reason in reasons:
        yield msgspec.structs.replace(reason, request=as_order(reason.request))
