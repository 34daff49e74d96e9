"""What commands print with `--format json`, as types from which their schemas are made; scan, explain and diff have their own.

An empty string stands for "not known" or "none" where a text is expected, null only where the type says so. Times are RFC 3339.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, get_type_hints

import msgspec

from pratique.enforce.doctor.finding import Checked
from pratique.lint.harden.proposal import Proposal
from pratique.model.privilege import Obligation, Point, Provider, State
from pratique.model.report import Verdict
from pratique.policy.document import Examine
from pratique.store.head import Head

Decision = Literal["allow", "warn", "deny", "unknown"]
Strength = Literal[0, 1, 2, 3]


class Who(TypedDict):
    """Somebody, and how surely they are known: 0 claimed, 1 a user name, 2 a certificate, key or token, 3 a second factor."""

    id: str
    provider: Provider
    strength: Strength
    kind: Literal["human", "robot"]


class TaskOf(TypedDict):
    """What it is for."""

    id: str
    ticket: str
    reason: str


class ScopeOf(TypedDict, total=False):
    """Where a grant holds; what is left out does not restrict."""

    points: list[Point]
    hosts: list[str]
    clusters: list[str]
    namespaces: list[str]
    container: str
    labels: dict[str, str]
    images: list[str]
    argv: list[str]
    argv_match: Literal["exact", "prefix", "sha256"]
    uid: int
    capabilities: list[str]


class ApprovalOf(TypedDict):
    """One approval, and the hash of the request that it is for."""

    by: Who
    at: str
    reason: str
    request: str


class GrantOf(TypedDict):
    """A grant in the state that it has now. `seconds` is its lifetime; `uses` 0 is without limit, `idle` 0 is without."""

    id: str
    state: State
    subject: Who
    privileges: list[str]
    task: TaskOf
    scope: ScopeOf
    seconds: float
    uses: int
    used: int
    idle: float
    break_glass: bool
    entitlement: str
    policy: str
    request: str
    requested_at: str
    approvals: list[ApprovalOf]
    active_from: str
    expires_at: str
    last_used_at: str
    ended_at: str
    ended_by: str
    why: str


class KeyOf(TypedDict):
    """An approver's public key, and who registered it when."""

    of: str
    key: str
    by: str
    at: str


class Advice(TypedDict):
    """What of a policy may not be meant, and where it stands."""

    file: str
    line: int
    column: int
    message: str


class PolicyChecked(TypedDict):
    """A privilege policy that can be set, and what in it may not be meant."""

    valid: bool
    digest: str
    advice: list[Advice]


class HeldOf(TypedDict):
    """A grant that would be used. `uses_left` null is without limit."""

    id: str
    until: str
    seconds_left: int
    uses_left: int | None


class ElsewhereOf(HeldOf):
    """A grant by which it would be allowed at another place: which, and the question that gets a yes."""

    where: str
    container: str
    images: list[str]
    hosts: list[str]
    clusters: list[str]
    namespaces: list[str]
    labels: dict[str, str]
    command: str


class ReasonOf(TypedDict):
    """Why not: the rule, what of the request, and the command that asks for it. `line` 0 is in no file."""

    rule: str
    path: str
    text: str
    request: str
    line: int


class AnswerOf(TypedDict):
    """One thing that was asked about. `waiting` are requests for it that are not approved yet."""

    what: str
    allowed: bool
    ruling: Literal["allow", "allow_with_grant", "deny"]
    needed: list[str]
    grants: list[HeldOf]
    obligations: list[Obligation]
    reasons: list[ReasonOf]
    elsewhere: list[ElsewhereOf]
    waiting: list[str]
    subject: str
    policy: str


class Answers(TypedDict):
    """`can WHAT`: allowed is whether all of it is."""

    allowed: bool
    answers: list[AnswerOf]


class Standing(TypedDict):
    """A grant that is held. `where` "" is everywhere."""

    id: str
    privileges: list[str]
    until: str
    where: str


class MayAsk(TypedDict):
    """What may be asked for, and for how long at most; 0 is by what it is."""

    id: str
    privileges: list[str]
    seconds: float


class Overview(TypedDict):
    """`can` without anything."""

    subject: str
    policy: str
    baseline: list[str]
    grants: list[Standing]
    entitlements: list[MayAsk]


class Health(TypedDict):
    """`doctor`, and `gate kubernetes check`: red is what lets somebody round the gate."""

    enforced: bool
    colour: Literal["green", "amber", "red"]
    checks: list[Checked]


class Fault(TypedDict):
    """What is wrong with a ledger, and where."""

    segment: str
    line: int
    seq: int
    text: str


class Verified(TypedDict):
    """`audit verify`."""

    verified: bool
    lines: int
    segments: int
    head: Head | None
    problems: list[Fault]
    notes: list[str]


class Learnt(TypedDict):
    """`learn`: the policy as text, and of how many observations each heap is."""

    text: str
    by_baseline: int
    by_request: int
    not_allowed: int
    observed: int


class Fired(TypedDict):
    """One thing that a rule fired on."""

    on: str
    outcome: str
    effect: str
    message: str
    note: str


class PartOf(TypedDict):
    """A part of a condition, and for how many things it held."""

    when: str
    held: int


class RuleTold(TypedDict):
    """What a rule did, or why it did nothing."""

    rule: str
    policy: str
    origin: str
    effect: str
    when: str
    each: str | None
    asked: int
    fired: list[Fired]
    why_not: str
    parts: list[PartOf]


class PolicyTold(TypedDict):
    """`policy explain`."""

    schema: Literal["urn:pratique:schema:policy-explain-1"]
    target: str
    digest: str
    verdict: Verdict
    rules: list[RuleTold]


class Simulated(TypedDict):
    """`policy simulate`: one report, before and after; how often each rule fired and, with --rule, on what."""

    report: str
    target: str
    before: Decision
    after: Decision
    rules: dict[str, int]
    fired: NotRequired[dict[str, list[str]]]


class RuleSet(TypedDict):
    """`policy list`: one rule set that is shipped."""

    name: str
    description: str
    rules: int
    digest: str
    examine: list[Examine]


class WaiverOf(TypedDict, total=False):
    """`waiver list`: what was written; `ended` says why one that ended did."""

    id: str
    vulnerability: list[str]
    package: str
    image: str
    layer: str
    base: str
    path: str
    environment: str
    rule: str
    owner: str
    reason: str
    expires: str
    ticket: str
    author: str
    approver: str
    created: str
    until: list[str]
    severity: str
    digest: str
    justification: str
    impact: str
    state: Literal["active", "ended"]
    ended: str


def fields_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the members of a struct as they are written; one that may be left out says so."""
    hints = get_type_hints(kind, include_extras=True)
    lax = kind.__struct_config__.omit_defaults
    return {
        field.encode_name: NotRequired[hints[field.name]] if lax and not field.required else hints[field.name]
        for field in msgspec.structs.fields(kind)
    }


class Kept(TypedDict):
    """A part of the cache."""

    files: int
    bytes: int


class CacheStatus(TypedDict):
    """`cache status`."""

    folder: str
    parts: dict[str, Kept]


Hardened = TypedDict("Hardened", {"container": str, **fields_of(Proposal)})  # type: ignore[misc]  # as above
