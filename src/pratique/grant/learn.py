"""What a gate would have denied in, the smallest policy that allows the harmless part of it out, as a file for people to read.

Three heaps. What many do often, and harms nobody else, goes into the baseline. What is root in a container, or is done seldom,
becomes an entitlement: it can be asked for. What is as good as root on the machine is only to be had with a ticket and another
person's approval, one use at a time. What a rule forbids is proposed nowhere: whoever wrote the rule meant it.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from pratique._kit.written import Duration, Written
from pratique.grant import privileges
from pratique.grant.asking import is_for
from pratique.grant.conditions import conjuncts
from pratique.grant.document import Baseline
from pratique.grant.globs import is_magic, plain
from pratique.grant.policy import CompiledEntitlement, Part
from pratique.grant.privileges import FORMS, OF_HOST, Privilege
from pratique.model.errors import UsageError
from pratique.model.privilege import Moment, Subject

OFTEN = 10  # times that something is seen before it counts as usual
FOLDED = 5  # names beside each other that are taken for one pattern: /builds/17, /builds/18, ...
MAX_NAMED = 8  # people that an entitlement names; more are not a list but a group, which a ledger does not know
MAX_OBSERVATIONS = 1_000_000  # more than a month of a busy machine

_NEVER = Moment(wall=0.0, boot=0.0, boot_id="")  # a condition on the time holds at no time that is not known

Heap = Literal["baseline", "entitlement", "guarded"]

# Folders of the machine with which one is root, or reads what only root should: never part of a baseline, whatever was seen.
_SENSITIVE = (
    "/", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var", "/var/lib", "/var/run",
    "/bin", "/home", "/lib64", "/var/log", "/var/spool", "/opt", "/mnt", "/media",
)  # fmt: skip
_BELOW = (
    "/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/var/run", "/var/lib/docker", "/var/lib/containerd",
    "/var/lib/containers", "/var/lib/kubelet", "/usr", "/lib", "/bin", "/sbin", "/var/spool/cron", "/var/lib/pratique",
)  # fmt: skip


class Observation(NamedTuple):
    """One thing that a gate would have denied: who (`PROVIDER:ID`, "" for nobody known), what it needs, and the rule.

    A container is looked at when it is made, when it is started, and by its runtime: `container` is its id where that is known,
    so that it counts once.
    """

    subject: str
    needed: tuple[str, ...]
    rule: str = ""
    container: str = ""


class Seen(NamedTuple):
    """A privilege, how often it was needed, by whom, and how often in what else."""

    privilege: Privilege
    times: int
    subjects: tuple[str, ...]
    stands_for: int = 1


class Proposal(NamedTuple):
    """The policy as text, and what it would have made of the observations: of how many each."""

    text: str
    by_baseline: int
    by_request: int
    not_allowed: int


def learn(observed: Iterable[Observation], holds: Part | None, name: str, often: int = OFTEN) -> Proposal:
    """Propose a policy. `holds` is the one that holds, if there is one: all of it is kept. Raises UsageError for too many."""
    observed = list(observed)
    if len(observed) > MAX_OBSERVATIONS:
        raise UsageError(f"more than {MAX_OBSERVATIONS} observations", hint="--since 7d")
    people = {one.subject for one in observed if one.subject}
    usable = [one for one in observed if one.subject and one.needed and _by_privilege(one.rule)]
    heaps: dict[Heap, list[Seen]] = {"baseline": [], "entitlement": [], "guarded": []}
    for seen in _folded([one for one in _counted(usable) if holds is None or not _is_given(holds, one)]):
        heaps[_heap(seen, len(people), often)].append(seen)
    baseline = _baseline(holds.baseline.written if holds is not None else Baseline(), heaps["baseline"])
    allowed, asked = _outcome(usable, heaps, holds)
    who = "1 person" if len(people) == 1 else f"{len(people)} people or robots"
    head = [
        f"# What {len(observed)} would-be denials of {who} come to.",
        f"# By the baseline: {allowed}. To be had by request: {asked}. Denied still: {len(observed) - allowed - asked}.",
        "# Read every line before it holds: what was seen may have been an attack. Numbers are times; names are who.",
        *_to_be_answered(heaps, holds),
    ]
    body = [
        "apiVersion: pratique/v1",
        "kind: PrivilegePolicy",
        f"metadata: {{name: {_word(name)}, description: proposed by pratique learn}}",
        "spec:",
        *(_where(holds) if holds is not None else ()),
        *(["  robots:", *(f"  - {_flow(robot)}" for robot in holds.robots)] if holds is not None and holds.robots else []),
        *baseline,
        *(_rules(holds) if holds is not None else ()),
        *_entitlements(heaps["entitlement"], heaps["guarded"], holds),
        *([f"  breakGlass: {_flow(holds.break_glass)}"] if holds is not None and holds.break_glass is not None else []),
    ]
    return Proposal("\n".join([*head, *body, *_left(observed), ""]), allowed, asked, len(observed) - allowed - asked)


def _to_be_answered(heaps: Mapping[Heap, Sequence[Seen]], holds: Part | None) -> list[str]:
    """Say what nobody can learn from watching: who approves, and who helps when nobody can."""
    lines = []
    if heaps["entitlement"] or heaps["guarded"]:
        lines.append('# To be answered: who approves? (approvals: {from: ["group:NAME"]}; by a key: pratique grant key add)')
    if holds is None or holds.break_glass is None:
        lines.append("# To be answered: who breaks the glass? (breakGlass: {groups: [NAME], maxTTL: 30m, review: 24h})")
    return lines


def _by_privilege(rule: str) -> bool:
    """What a rule of the policy forbids is not made up for by a privilege, nor what nobody understood."""
    return rule == "" or rule.startswith("privilege ")


def _counted(observed: Iterable[Observation]) -> list[Seen]:
    counts: Counter[Privilege] = Counter()
    containers: dict[Privilege, set[str]] = {}
    people: dict[Privilege, set[str]] = {}
    for one in observed:
        for text in set(one.needed):
            try:
                privilege = _tidy(privileges.parse(text))
            except UsageError:
                continue  # a ledger of another version
            people.setdefault(privilege, set()).add(one.subject)
            if one.container:
                containers.setdefault(privilege, set()).add(one.container)
            else:
                counts[privilege] += 1
    return [
        Seen(privilege, max(counts[privilege], len(containers.get(privilege, ()))), tuple(sorted(people[privilege])))
        for privilege in sorted(people)
    ]


def _tidy(privilege: Privilege) -> Privilege:
    """An image is taken by its repository: its digest is another one after each build."""
    if privilege.form != "run.image":
        return privilege
    repository = privilege.argument.partition("@")[0]
    return Privilege("run.image", f"{repository}@sha256:*")


def _folded(found: Sequence[Seen]) -> list[Seen]:
    """Put names that lie side by side together: five folders of builds are one pattern."""
    groups: dict[tuple[str, str, str], list[Seen]] = {}
    for seen in found:
        privilege = seen.privilege
        parent = privilege.argument.rpartition("/")[0] if FORMS[privilege.form].argument in ("mount", "repository") else ""
        groups.setdefault((privilege.form, parent, privilege.access), []).append(seen)
    result: list[Seen] = []
    for (form, parent, access), beside in groups.items():
        if not parent or parent.count("/") < 1 or len(beside) < FOLDED or (form == "run.mount" and is_sensitive(parent)):
            result += beside
            continue
        people = tuple(sorted({name for seen in beside for name in seen.subjects}))
        result.append(Seen(Privilege(form, f"{parent}/*", access), sum(seen.times for seen in beside), people, len(beside)))
    return sorted(result)


def is_sensitive(path: str) -> bool:
    """Say whether with a path (or pattern) of the machine one is root, or reads what only root should."""
    path = plain(path).rstrip("/*") or "/"
    if path in _SENSITIVE or is_magic(path) or path.endswith(".sock"):
        return True
    return any(path == above or path.startswith(above + "/") for above in _BELOW)


def _heap(seen: Seen, people: int, often: int) -> Heap:
    form = seen.privilege.form
    if form == "run.mount":
        if is_sensitive(seen.privilege.argument) or not seen.privilege.argument.startswith("/"):
            return "guarded"
    elif FORMS[form].lifetime == OF_HOST:
        return "guarded"
    elif form in ("exec.any", "exec.root", "attach", "token.mint", "impersonate", "debug.ephemeral"):
        return "entitlement"  # what is done in containers of others is always for a task
    usual = seen.times >= often and (len(seen.subjects) > 1 or people == 1)
    return "baseline" if usual else "entitlement"


def _is_given(holds: Part, seen: Seen) -> bool:
    """Say whether the policy that holds gives it to all of them already, at once or when they ask.

    What only something much wider would give (a capability by `run.privileged`) is still worth an entitlement of its own.
    """
    if privileges.covered(holds.baseline.privileges, seen.privilege):
        return True
    able = [
        one
        for one in holds.entitlements
        if privileges.covered([each for each in one.privileges if each.form == seen.privilege.form], seen.privilege)
    ]
    return all(any(_is_for(one, subject) for one in able) for subject in seen.subjects)


def _is_for(entitlement: CompiledEntitlement, subject: str) -> bool:
    """Say whether an entitlement is surely for somebody of whom a ledger knows the name alone: no groups, no place, no time."""
    provider, _, name = subject.partition(":")
    try:
        who = msgspec.convert({"id": name, "provider": provider}, Subject)
    except msgspec.ValidationError:
        return False  # a ledger of another version
    return len(entitlement.early) == len(conjuncts(entitlement.written.when)) and is_for(entitlement, who, _NEVER)


def _outcome(observed: Sequence[Observation], heaps: Mapping[Heap, Sequence[Seen]], holds: Part | None) -> tuple[int, int]:
    kept = holds.entitlements if holds is not None else ()
    free = [*(holds.baseline.privileges if holds is not None else ()), *(seen.privilege for seen in heaps["baseline"])]
    asked = [seen.privilege for seen in (*heaps["entitlement"], *heaps["guarded"])]
    asked += [one for entitlement in kept for one in entitlement.privileges]
    allowed = by_request = 0
    for one in observed:
        wanted = [_tidy(privileges.parse(text)) for text in one.needed if _is_known(text)]
        if all(privileges.covered(free, want) for want in wanted):
            allowed += 1
        elif all(privileges.covered([*free, *asked], want) for want in wanted):
            by_request += 1
    return allowed, by_request


def _is_known(text: str) -> bool:
    try:
        privileges.parse(text)
    except UsageError:
        return False
    return True


# The text


def _word(text: str) -> str:
    """Quote for YAML, which reads JSON's strings."""
    return json.dumps(text, ensure_ascii=True)


def _note(seen: Seen) -> str:
    who = ", ".join(seen.subjects[:MAX_NAMED]) + (
        f" and {len(seen.subjects) - MAX_NAMED} more" if len(seen.subjects) > MAX_NAMED else ""
    )
    of = f", {seen.stands_for} names" if seen.stands_for > 1 else ""
    return f"  # {seen.times}{of}: {_printable(who)}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]


def _baseline(base: Baseline, seen: Sequence[Seen]) -> list[str]:
    uid = f"    uid: {{min: {base.uid.min}, numeric: {str(base.uid.numeric).lower()}}}"
    lines = ["  baseline:", f"    profile: {base.profile}", uid]
    if base.anonymous:
        lines.append("    anonymous: true")
    parts: dict[str, tuple[Sequence[str], str]] = {
        "caps": (base.caps, "run.cap:"), "mounts": (base.mounts, "run.mount:"), "privileges": (base.privileges, ""),
    }  # fmt: skip
    rest = list(seen)
    for key, (kept, prefix) in parts.items():
        mine = [one for one in rest if str(one.privilege).startswith(prefix)]
        rest = [one for one in rest if one not in mine]
        if not kept and not mine:
            continue
        lines.append(f"    {key}:")
        lines += [f"    - {_word(text)}" for text in kept]
        lines += [f"    - {_word(str(one.privilege).removeprefix(prefix))}{_note(one)}" for one in mine]
    return lines


def _where(holds: Part) -> list[str]:
    return [
        f"  {name}: {text}"
        for name, one in (("subjects", holds.subjects), ("scope", holds.scope))
        if (text := _flow(one)) != "{}"
    ]


def _rules(holds: Part) -> list[str]:
    lines = []
    for rule in holds.rules:
        said = {"id": rule.id, "deny": rule.condition.text, "message": rule.message, "actions": sorted(rule.actions)}
        lines.append("  - " + json.dumps({key: value for key, value in said.items() if value}))
    return ["  rules:", *lines] if lines else []


def _flow(written: Written) -> str:
    """Write what somebody wrote on one line of YAML, without what is as it would be anyway."""
    return json.dumps(_plain(written))


def _plain(value: Any) -> Any:
    if isinstance(value, Written):
        fields = [field for field in msgspec.structs.fields(value) if field.name not in ("places", "nodes")]
        given = {field.encode_name: _plain(getattr(value, field.name)) for field in fields}
        usual = {field.encode_name: _plain(field.default) for field in fields}
        return {name: one for name, one in given.items() if one != usual[name] and one not in ({}, [], None)}
    if isinstance(value, Duration):
        return f"{int(value)}s"
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def _entitlements(usual: Sequence[Seen], guarded: Sequence[Seen], holds: Part | None) -> list[str]:
    kept = holds.entitlements if holds is not None else ()
    lines = [f"  - {_flow(one.written)}" for one in kept]
    taken = {one.id for one in kept}
    terms = ["    maxUses: 1", "    ticket: {required: true}", "    approvals: {count: 1}"]
    for name, found, more in (("task", usual, ["    approvals: {count: 1}"]), ("machine", guarded, terms)):
        numbers = (number for number in itertools.count(1) if f"{name}-{number}" not in taken)
        for number, (people, group) in zip(numbers, _by_people(found), strict=False):
            lines += _entitlement(f"{name}-{number}", people, group, more)
    return ["  entitlements:", *lines] if lines else []


def _by_people(found: Sequence[Seen]) -> list[tuple[tuple[str, ...], list[Seen]]]:
    """Put together what the same people need, so that each entitlement is for those who were seen and for no others."""
    groups: dict[tuple[str, ...], list[Seen]] = {}
    for seen in found:
        groups.setdefault(seen.subjects if len(seen.subjects) <= MAX_NAMED else (), []).append(seen)
    return sorted(groups.items())


def _entitlement(name: str, people: Sequence[str], group: Sequence[Seen], terms: Sequence[str]) -> list[str]:
    lines = [f"  - id: {name}", "    privileges:"]
    lines += [f"    - {_word(str(seen.privilege))}{_note(seen)}" for seen in group]
    if people:
        named = ", ".join(_literal(one) for one in people)
        lines.append(f"    when: {_word(f'subject.key in [{named}]')}")
    return [*lines, *terms]


def _literal(text: str) -> str:
    """Write a string of a condition: printable, without what could end it."""
    return "'" + "".join(letter if letter.isprintable() and letter not in "'\\" else "?" for letter in text) + "'"


def _left(observed: Sequence[Observation]) -> list[str]:
    """Say in comments what is allowed by nothing of this."""
    rules = Counter(one.rule for one in observed if not _by_privilege(one.rule))
    lines = [f"#   {_printable(rule)}: {count}" for rule, count in rules.most_common()]
    nobody = sum(not one.subject for one in observed)
    if nobody:
        lines.append(f"#   nobody knew who asked: {nobody}")
    return ["# Denied still:", *lines] if lines else []


__all__ = ["Observation", "Proposal", "learn"]
