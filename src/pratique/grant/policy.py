"""A PrivilegePolicy in, what it says compiled out: conditions checked, privileges parsed, and a digest of all that was read.

What a policy leaves open is bounded by built-in limits, and a store without a policy has the built-in one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

import msgspec

from pratique._kit.cel import ConditionError
from pratique._kit.text import Text, decode, parse
from pratique._kit.written import Duration, Written, build, offset_place
from pratique.grant import privileges
from pratique.grant.conditions import Condition, compile_condition, conjuncts
from pratique.grant.document import (
    MAX_ENTITLEMENTS,
    MAX_RULES,
    After,
    Approvals,
    Baseline,
    BreakGlass,
    Entitlement,
    PolicyFile,
    PolicySpec,
    Robot,
    Rule,
    Subjects,
    Ticket,
    Where,
)
from pratique.grant.globs import part_covers
from pratique.grant.privileges import Privilege
from pratique.grant.request import Target, key
from pratique.grant.rules import CompiledRule, RuleIndex
from pratique.model.errors import PolicyError, UsageError
from pratique.model.privilege import PEER, SECOND_FACTOR, Subject

PENDING = 24 * 3600  # seconds after which a request that nobody approved lapses: nobody remembers why it was made
MAX_LIFETIME = 7 * 24 * 3600  # seconds; what is needed for longer is no exception, and belongs in the baseline
MAX_APPROVALS = 10  # more people than any review has
MAX_PATTERN = 200  # characters of a ticket's pattern
BUILT_IN = "built-in"
# Who may approve where no policy says it: people who are root on the machine already.
ADMINISTRATORS = ("group:root", "group:sudo", "group:wheel", "unix:root")

_EARLY = frozenset(("subject", "context", "now"))
_REPEATED = re.compile(r"[)\]}*+?]\s*[*+{]|\\[1-9]|\(\?")
T = TypeVar("T")


class CompiledEntitlement(NamedTuple):
    """An entitlement: privileges, lifetime in seconds (0: theirs), its condition (None where there is none), what was written.

    `early` are those parts of the condition that can be told when it is asked for: they speak of the subject and the task alone.
    """

    id: str
    privileges: tuple[Privilege, ...]
    max_ttl: int
    condition: Condition | None
    ticket: re.Pattern[str] | None
    written: Entitlement
    early: tuple[Condition, ...] = ()
    claimed: bool = False

    def covers(self, wanted: Iterable[Privilege]) -> bool:
        """Say whether all of these may be asked for."""
        return all(privileges.covered(self.privileges, one) for one in wanted)


class CompiledBaseline(NamedTuple):
    """A baseline: what is written, and the privileges that nobody needs to ask for."""

    written: Baseline
    privileges: tuple[Privilege, ...]


class Part(NamedTuple):
    """What one file says."""

    name: str
    subjects: Subjects
    scope: Where
    baseline: CompiledBaseline
    rules: RuleIndex
    entitlements: tuple[CompiledEntitlement, ...]
    break_glass: BreakGlass | None
    robots: tuple[Robot, ...] = ()

    def is_for(self, subject: Subject | None, target: Target) -> bool:
        """Say whether it applies to somebody at some place."""
        return self._speaks_of(subject) and self._is_at(target)

    def _speaks_of(self, subject: Subject | None) -> bool:
        groups, ids = self.subjects.groups, self.subjects.ids
        if not groups and not ids:
            return True
        return subject is not None and (bool(set(groups) & set(subject.groups)) or key(subject) in ids)

    def _is_at(self, target: Target) -> bool:
        return (
            matches(self.scope.hosts, target.host)
            and matches(self.scope.clusters, target.cluster)
            and matches(self.scope.namespaces, target.namespace)
        )


class PrivilegePolicy:
    """The policies that hold together: rules of all that apply, the strictest of their baselines, entitlements of any.

    `reads` says that some rule names the action `read`: nothing else is ever asked about that.
    """

    def __init__(self, parts: Sequence[Part], digest: str) -> None:
        self.parts = tuple(parts)
        self.digest = digest
        self.name = ", ".join(part.name for part in parts)
        self.owners = {robot.id: robot.owner for part in parts for robot in part.robots}
        self.reads = any(part.rules.reads for part in parts)

    def parts_for(self, subject: Subject | None, target: Target) -> tuple[Part, ...]:
        """Return the parts that apply; where none does, the built-in baseline without any entitlement."""
        found = tuple(part for part in self.parts if part.is_for(subject, target))
        return found or (_nobody(),)

    def known(self, subject: Subject) -> Subject:
        """Return somebody with the owner who answers for them, where they are a robot of these policies."""
        owner = self.owners.get(key(subject)) if self.owners else None
        return subject if owner is None else msgspec.structs.replace(subject, kind="robot", owner=owner)

    def entitlement(self, name: str, subject: Subject, target: Target) -> CompiledEntitlement | None:
        """Return an entitlement by its id, as it holds for a subject at a place."""
        return next((one for one in self.entitlements(subject, target) if one.id == name), None)

    def entitlements(self, subject: Subject, target: Target) -> list[CompiledEntitlement]:
        """Return all that somebody may ask for at a place."""
        return [one for part in self.parts_for(subject, target) for one in part.entitlements]

    def break_glass(self, subject: Subject, target: Target) -> BreakGlass | None:
        """Return the terms under which somebody may break the glass; None where nobody may."""
        return next((part.break_glass for part in self.parts_for(subject, target) if part.break_glass is not None), None)


def matches(globs: Sequence[str], value: str) -> bool:
    """Say whether one of the globs matches, or there is none; what is not known matches none."""
    return not globs or (value != "" and any(part_covers(glob, value) for glob in globs))


def load(name: str, content: bytes) -> PrivilegePolicy:
    """Read a policy file. Raises PolicyError with FILE:LINE:COLUMN."""
    text = decode(name, content)
    file = build(text, parse(text), PolicyFile)
    return PrivilegePolicy((_part(text, file),), "sha256:" + hashlib.sha256(content).hexdigest())


def combine(policies: Sequence[PrivilegePolicy]) -> PrivilegePolicy:
    """Put several files together. Raises PolicyError where two entitlements have one name."""
    if len(policies) == 1:
        return policies[0]
    parts = [part for policy in policies for part in policy.parts]
    seen: set[str] = set()
    for part in parts:
        for one in part.entitlements:
            if one.id in seen:
                raise PolicyError(f"two policies have an entitlement {one.id!r}", hint="give each its own id")
            seen.add(one.id)
    digest = hashlib.sha256("\n".join(policy.digest for policy in policies).encode()).hexdigest()
    return PrivilegePolicy(parts, f"sha256:{digest}")


@cache
def builtin() -> PrivilegePolicy:
    """Return the policy of a store that has none: nothing privileged without a grant that an administrator approved.

    Claimed identities (`--as`) may approve each other; what they approve, no gate honours.
    """
    approvals = Approvals(count=1, whom=ADMINISTRATORS, four_eyes=True, strength=PEER)
    written = Entitlement(id=BUILT_IN, privileges=(), max_uses=0, approvals=approvals, ticket=Ticket(), after=After())
    everything = privileges.every()
    entitlement = CompiledEntitlement(BUILT_IN, everything, 0, None, None, written, (), claimed=True)
    part = _nobody()._replace(
        name=BUILT_IN,
        entitlements=(entitlement,),
        break_glass=BreakGlass(groups=tuple(name.partition(":")[2] for name in ADMINISTRATORS if name.startswith("group:"))),
    )
    return PrivilegePolicy((part,), "sha256:" + hashlib.sha256(b"pratique built-in privilege policy 1").hexdigest())


@cache
def _nobody() -> Part:
    spec = PolicySpec()
    return Part("none", spec.subjects, spec.scope, compile_baseline(spec.baseline), RuleIndex(()), (), None)


def compile_baseline(written: Baseline, text: Text | None = None) -> CompiledBaseline:
    """Return a baseline with the privileges that it gives. Raises PolicyError, or UsageError where there is no text."""
    named = [("caps", f"run.cap:{cap}") for cap in written.caps]
    named += [("mounts", f"run.mount:{mount}") for mount in written.mounts]
    named += [("privileges", privilege) for privilege in written.privileges]
    given = [_privilege(text, written, attribute, name) for attribute, name in named]
    of_profile = {
        "restricted": ("run.cap:NET_BIND_SERVICE",),
        "baseline": ("run.root", "run.userns-root", "run.uid:*", "run.group:*", "run.new-privileges", "build.run", "cp.write"),
        "custom": (),
    }[written.profile]
    return CompiledBaseline(written, privileges.fewest([*given, *privileges.parse_all(of_profile)]))


def _privilege(text: Text | None, written: Written, attribute: str, name: str) -> Privilege:
    try:
        return privileges.parse(name)
    except UsageError as error:
        if text is None:
            raise
        text.fail(written.place(attribute), error.message, error.hint)


def _part(text: Text, file: PolicyFile) -> Part:
    spec = file.spec
    for name, found, most in (("rules", spec.rules, MAX_RULES), ("entitlements", spec.entitlements, MAX_ENTITLEMENTS)):
        if len(found) > most:
            text.fail(spec.place(name), f"more than {most} {name}")
    _once(text, spec.rules)
    _once(text, spec.entitlements)
    return Part(
        file.metadata.name,
        spec.subjects,
        spec.scope,
        compile_baseline(spec.baseline, text),
        RuleIndex(_rule(text, rule) for rule in spec.rules),
        tuple(_entitlement(text, entitlement) for entitlement in spec.entitlements),
        spec.break_glass,
        spec.robots,
    )


def _once(text: Text, items: Sequence[Rule] | Sequence[Entitlement]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            text.fail(item.place("id"), f"the id {item.id!r} is given twice")
        seen.add(item.id)


def _condition(text: Text, written: Written, attribute: str, condition: str) -> Condition:
    try:
        return compile_condition(condition)
    except ConditionError as error:
        text.fail(offset_place(text, written, attribute, error.offset), f"{attribute}: {error.message}", error.hint)


def _rule(text: Text, rule: Rule) -> CompiledRule:
    return CompiledRule(rule.id, rule.message, frozenset(rule.actions), _condition(text, rule, "deny", rule.deny))


def _entitlement(text: Text, entitlement: Entitlement) -> CompiledEntitlement:
    given = tuple(_privilege(text, entitlement, "privileges", name) for name in entitlement.privileges)
    if not given:
        text.fail(entitlement.place("privileges"), "an entitlement to nothing")
    if entitlement.id in (BUILT_IN, "break-glass", "sealed-code"):
        text.fail(entitlement.place("id"), f"{entitlement.id} is the name of something else")
    for name, lasts in (("maxTTL", entitlement.max_ttl), ("idle", entitlement.idle)):
        if lasts is not None and not 0 < lasts <= MAX_LIFETIME:
            text.fail(entitlement.place("max_ttl" if name == "maxTTL" else name), f"{name} is more than 0s and at most 7d")
    approvals = entitlement.approvals
    if not (0 <= approvals.count <= MAX_APPROVALS and PEER <= approvals.strength <= SECOND_FACTOR):
        text.fail(entitlement.place("approvals"), f"0 to {MAX_APPROVALS} approvals, of a strength from {PEER} to {SECOND_FACTOR}")
    condition = _condition(text, entitlement, "when", entitlement.when) if entitlement.when else None
    lifetime = int(entitlement.max_ttl or privileges.lifetime(given))
    parts = [compile_condition(part) for part in conjuncts(entitlement.when)] if entitlement.when else []
    early = tuple(part for part in parts if {name.partition(".")[0] for name in part.names} <= _EARLY)
    return CompiledEntitlement(entitlement.id, given, lifetime, condition, _ticket(text, entitlement.ticket), entitlement, early)


def _ticket(text: Text, ticket: Ticket) -> re.Pattern[str] | None:
    """Compile a pattern that takes no time that grows faster than the ticket: no repeated groups, no references."""
    if not ticket.pattern:
        return None
    if len(ticket.pattern) > MAX_PATTERN or (")" in ticket.pattern and _REPEATED.search(_without_simple(ticket.pattern))):
        text.fail(ticket.place("pattern"), "a pattern without repeated groups, references and look-around, please")
    try:
        return re.compile(ticket.pattern)
    except re.error as error:
        text.fail(ticket.place("pattern"), f"no regular expression: {error}")


def _without_simple(pattern: str) -> str:
    """Take out `[...]+` and the like, which may be repeated."""
    return re.sub(r"\[[^\]]*\][*+?]?", "", pattern)


def seconds(lasts: Duration | None) -> int:
    """Return a duration, 0 for none."""
    return int(lasts or 0)


__all__ = ["PENDING", "SECOND_FACTOR", "Part", "PrivilegePolicy", "builtin", "combine", "load", "matches"]
