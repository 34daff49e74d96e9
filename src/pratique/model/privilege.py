"""Root, by name: who asks, for which task, for what, where, until when; and the decision on it.

The vocabulary of grants and gates. Everything here is data; `pratique.grant` decides, `pratique.store` keeps. What a gate holds
thousands of has `gc=False`: it holds nothing that could lead back to it, and a collector that walks it all costs a gate 20 ms.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Point = Literal["docker", "podman", "runtime", "kubernetes", "registry", "ci", "prompt"]
Provider = Literal["unix", "tls", "oidc", "k8s", "claimed"]
State = Literal[
    "requested", "denied", "cancelled", "lapsed", "approved", "active", "exhausted", "expired", "revoked", "completed"
]
Ruling = Literal["allow", "allow_with_grant", "deny"]

# How sure a gate is of who asks.
CLAIMED, PEER, CERTIFICATE, SECOND_FACTOR = 0, 1, 2, 3

# States in which a grant is still to be had, or is had.
LIVE_STATES: frozenset[State] = frozenset(("approved", "active"))
FINAL_STATES: frozenset[State] = frozenset(("denied", "cancelled", "lapsed", "exhausted", "expired", "revoked", "completed"))


class Subject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who asks. `id` is unique within `provider`; `strength` is one of the constants above.

    `owner` is the person who answers for a robot: an owner does not approve what the robot asks for.
    """

    id: str
    kind: Literal["human", "robot", "node"] = "human"
    provider: Provider = "claimed"
    groups: tuple[str, ...] = ()
    strength: int = CLAIMED
    owner: str = ""


class Task(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What it is for."""

    id: str
    ticket: str = ""
    purpose: str = ""


class Scope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a grant holds. An empty field does not restrict; every other must match, by glob where it says so.

    `images` are `NAME@sha256:...` or `sha256:...`: names and tags were resolved when the request was made. `hosts`,
    `clusters` and `namespaces` are globs. `container` is a full container id, or `NAMESPACE/POD/CONTAINER`. `argv` is compared
    as `argv_match` says, with "sha256" over the words joined by NUL. `uid` is the lowest uid that may be taken;
    `capabilities` the most.
    """

    points: tuple[Point, ...] = ()
    hosts: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    container: str = ""
    labels: dict[str, str] = {}
    images: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    argv_match: Literal["exact", "prefix", "sha256"] = "exact"
    uid: int = 0
    capabilities: tuple[str, ...] | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a person asks for; its hash is what approvers sign, so that an edit is a new request. Durations in seconds.

    `uses` 0 is without limit. `idle` 0 is without. `nonce` makes two like requests differ.
    """

    subject: Subject
    task: Task
    privileges: tuple[str, ...]
    scope: Scope
    lifetime: float
    uses: int = 1
    idle: float = 0.0
    from_first_use: bool = False
    break_glass: bool = False
    entitlement: str = ""
    policy: str = ""
    nonce: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One approver's word on one request hash, at a time (seconds since the epoch)."""

    by: Subject
    at: float
    request: str
    reason: str = ""


class Grant(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request and what became of it. Times are seconds since the epoch, 0 where it has not happened.

    `expires_at` is wall clock, `expires_boot` the same instant on the boot clock of the boot `boot_id`: whichever comes first
    ends it, so that a clock that is set back gives nothing. The other `_boot` are boot clock likewise; before it is active,
    `boot_id` is the boot of the request. `request` is the hash of `asked`.
    """

    id: str
    asked: Asked
    request: str
    state: State
    requested_at: float
    approvals: tuple[Approval, ...] = ()
    approved_at: float = 0.0
    activated_at: float = 0.0
    expires_at: float = 0.0
    expires_boot: float = 0.0
    boot_id: str = ""
    used: int = 0
    last_used_at: float = 0.0
    ended_at: float = 0.0
    ended_by: str = ""
    why: str = ""
    requested_boot: float = 0.0
    last_used_boot: float = 0.0


class Moment(msgspec.Struct, frozen=True):
    """Now, on both clocks, in seconds: `wall` since the epoch, `boot` since the boot `boot_id` (sleep included)."""

    wall: float
    boot: float = 0.0
    boot_id: str = ""


class Obligation(msgspec.Struct, frozen=True):
    """What a gate owes for an allow; the value of `kill_at` is in seconds since the epoch, that of `drop` a capability."""

    kind: Literal["record", "taint", "kill_at", "no_new_privileges", "drop"]
    value: str = ""


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """Why not: the rule, the attribute, a sentence, and the command that asks for it ("" where nothing can be asked)."""

    rule: str
    path: str
    text: str
    request: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate is to do. `needed` are the fewest privileges beyond the baseline, `grants` those that cover them."""

    ruling: Ruling
    needed: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    reasons: tuple[Denial, ...] = ()
    policy: str = ""

    @property
    def allowed(self) -> bool:
        """Say whether it may go on."""
        return self.ruling != "deny"
