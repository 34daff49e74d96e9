"""A grant and what happened in, the grant as it is then out; or a GrantError that says in one line why it may not be so.

Pure: whoever calls holds the lock, keeps the result, and writes the ledger. requested -> denied | cancelled | lapsed |
approved -> active -> exhausted | expired | revoked | completed; what is exhausted still lets its last session go on, and can be
revoked or completed until its time is over. Nothing makes a grant longer or wider.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from pratique.grant import approval as approvals
from pratique.grant import privileges
from pratique.grant.policy import PENDING, CompiledEntitlement, PrivilegePolicy
from pratique.grant.request import key, target_of
from pratique.model.errors import GrantError
from pratique.model.privilege import (
    FINAL_STATES,
    Approval,
    Grant,
    Moment,
    State,
    Subject,
)

MAX_TEXT = 1_000  # characters of a purpose or reason: a sentence or two
CLOCK_SLACK = 2.0  # seconds by which clocks of two machines of one cluster may differ
REVIEW = 24 * 3600  # seconds within which a broken glass is reviewed, where no policy says it


class Approve(NamedTuple):
    """Somebody agrees, to the request with this hash."""

    by: Subject
    request: str
    reason: str = ""


class Deny(NamedTuple):
    """Somebody who might approve does not."""

    by: Subject
    reason: str = ""


class Cancel(NamedTuple):
    """Whoever asked does not want it any more."""

    by: Subject


class Activate(NamedTuple):
    """The clock starts: after the alert where the glass was broken."""


class Use(NamedTuple):
    """A gate allows something by it."""


class Revoke(NamedTuple):
    """Somebody ends it."""

    by: Subject
    reason: str = ""


class Complete(NamedTuple):
    """Whoever holds it has done the task."""

    by: Subject


class Review(NamedTuple):
    """Somebody else looked at what was done behind the broken glass."""

    by: Subject
    reason: str


Event = Approve | Deny | Cancel | Activate | Use | Revoke | Complete | Review


def settle(grant: Grant, now: Moment) -> Grant:
    """Return the grant as time alone has made it: lapsed, or expired."""
    if grant.state in FINAL_STATES:
        return grant
    if grant.state != "active":
        if not is_late(grant, now):
            return grant
        return _end(grant, "lapsed" if grant.state == "requested" else "expired", now, "time", "nobody came in time")
    why = overdue(grant, now)
    return _end(grant, "expired", now, "time", why) if why else grant


def is_late(grant: Grant, now: Moment) -> bool:
    """Say whether a request waited for too long, by either clock."""
    same = bool(now.boot_id) and grant.boot_id == now.boot_id
    return now.wall - grant.requested_at >= PENDING or (same and now.boot - grant.requested_boot >= PENDING)


def overdue(grant: Grant, now: Moment) -> str:
    """Return why time has ended an active grant, "" where it has not. Either clock is enough, and a clock set back is, too."""
    if now.wall >= grant.expires_at:
        return "its time is over"
    if grant.boot_id and now.boot_id:
        if grant.boot_id != now.boot_id:
            return "the machine was started anew"
        if now.boot >= grant.expires_boot:
            return "its time is over by the machine's own clock"
    if now.wall < grant.activated_at - CLOCK_SLACK:
        return "the clock was set back"
    return f"it was not used for {grant.asked.idle:g} s" if _is_idle(grant, now) else ""


def _is_idle(grant: Grant, now: Moment) -> bool:
    if not grant.asked.idle:
        return False
    rested = now.wall - max(grant.last_used_at, grant.activated_at)
    if grant.boot_id and now.boot_id:
        started = grant.expires_boot - grant.asked.lifetime
        rested = max(rested, now.boot - max(grant.last_used_boot, started))
    return rested >= grant.asked.idle


def transition(grant: Grant, event: Event, policy: PrivilegePolicy, now: Moment) -> Grant:
    """Return what an event makes of a grant. Raises GrantError with one line, and nothing has changed then."""
    if now.wall < grant.requested_at - CLOCK_SLACK:
        raise GrantError(f"{grant.id} was requested in the future", hint="set the clock")
    settled = settle(grant, now)
    if not isinstance(event, (Activate, Use)):
        event = event._replace(by=policy.known(event.by))
    if isinstance(event, Review):
        return _reviewed(settled, event, now)
    if settled.state in FINAL_STATES and not _is_taken_back(settled, event, now):
        raise GrantError(f"{grant.id} is {settled.state}" + (f": {settled.why}" if settled.why else ""))
    match event:
        case Approve():
            return _approve(settled, event, policy, now)
        case Deny():
            return _deny(settled, event, policy, now)
        case Cancel():
            _of_holder(settled, event.by, "cancel")
            _in(settled, ("requested", "approved"), "cancelled")
            return _end(settled, "cancelled", now, key(event.by), "")
        case Activate():
            _in(settled, ("approved",), "activated")
            return activated(settled, now)
        case Use():
            return _use(settled, now)
        case Revoke():
            return _revoke(settled, event, policy, now)
        case Complete():
            _of_holder(settled, event.by, "complete")
            _in(settled, ("active", "exhausted"), "completed")
            return _end(settled, "completed", now, key(event.by), "")


def _is_taken_back(grant: Grant, event: Event, now: Moment) -> bool:
    """Say whether an event ends a grant whose uses are spent: the session that spent the last one still goes on by it."""
    return grant.state == "exhausted" and isinstance(event, Revoke | Complete) and not overdue(grant, now)


def unreviewed(grants: Iterable[Grant], policy: PrivilegePolicy, now: Moment) -> list[Grant]:
    """Return those of the grants for which the glass was broken and that nobody reviewed in time."""
    return [
        grant
        for grant in grants
        if grant.asked.break_glass
        and grant.activated_at
        and not _has_review(grant)
        and now.wall - grant.activated_at >= review_within(grant, policy)
    ]


def review_within(grant: Grant, policy: PrivilegePolicy) -> int:
    """Return in how many seconds a broken glass must be reviewed."""
    terms = policy.break_glass(grant.asked.subject, target_of(grant.asked))
    return int(terms.review) if terms is not None else REVIEW


def _approve(grant: Grant, event: Approve, policy: PrivilegePolicy, now: Moment) -> Grant:
    _in(grant, ("requested",), "approved")
    if not hmac.compare_digest(event.request.encode(), grant.request.encode()):
        raise GrantError(f"what was approved is not what {grant.id} asks for", hint="look at it again")
    entitlement = _still(grant, policy)
    why = approvals.acceptable(event.by, grant.asked, entitlement)
    if why:
        raise GrantError(why, hint=approvals.remedy(event.by, entitlement.written.approvals))
    if any(approvals.is_same_person(one.by, event.by) for one in grant.approvals):
        raise GrantError(f"{event.by.id} has approved {grant.id} already")
    given = Approval(by=event.by, at=now.wall, request=grant.request, reason=event.reason[:MAX_TEXT])
    grant = msgspec.structs.replace(grant, approvals=(*grant.approvals, given))
    if len(grant.approvals) < entitlement.written.approvals.count:
        return grant
    grant = msgspec.structs.replace(grant, state="approved", approved_at=now.wall)
    return grant if grant.asked.from_first_use else activated(grant, now)


def _still(grant: Grant, policy: PrivilegePolicy) -> CompiledEntitlement:
    """Return the entitlement of a grant as the policy of today has it. Raises GrantError."""
    asked = grant.asked
    found = policy.entitlement(asked.entitlement, asked.subject, target_of(asked))
    if found is None or not found.covers(privileges.parse_all(asked.privileges)):
        raise GrantError(f"the policy no longer has what {grant.id} was asked under ({asked.entitlement})")
    return found


def _deny(grant: Grant, event: Deny, policy: PrivilegePolicy, now: Moment) -> Grant:
    _in(grant, ("requested",), "denied")
    entitlement = _still(grant, policy)
    why = approvals.acceptable(event.by, grant.asked, entitlement)
    if why:
        raise GrantError(why, hint=approvals.remedy(event.by, entitlement.written.approvals))
    return _end(grant, "denied", now, key(event.by), event.reason)


def _use(grant: Grant, now: Moment) -> Grant:
    if grant.state == "approved" and grant.asked.from_first_use:
        grant = activated(grant, now)
    _in(grant, ("active",), "used")
    used = grant.used + 1
    boot = now.boot if now.boot_id == grant.boot_id else grant.last_used_boot
    grant = msgspec.structs.replace(
        grant, used=used, last_used_at=max(now.wall, grant.last_used_at), last_used_boot=max(boot, grant.last_used_boot)
    )
    if grant.asked.uses and used >= grant.asked.uses:
        return msgspec.structs.replace(grant, state="exhausted", why="it was used as often as it may be")
    return grant


def _revoke(grant: Grant, event: Revoke, policy: PrivilegePolicy, now: Moment) -> Grant:
    """Ending is for whoever holds it, answers for it, approved it or might have: it only takes away."""
    asked = grant.asked
    entitlement = policy.entitlement(asked.entitlement, asked.subject, target_of(asked))
    may = (
        approvals.is_party(event.by, asked.subject)
        or any(approvals.is_same_person(one.by, event.by) for one in grant.approvals)
        or entitlement is None
        or entitlement.claimed
        or approvals.is_named(event.by, entitlement.written.approvals.whom)
    )
    if not may:
        raise GrantError(f"{event.by.id} neither holds {grant.id} nor may approve it")
    return _end(grant, "revoked", now, key(event.by), event.reason)


def _reviewed(grant: Grant, event: Review, now: Moment) -> Grant:
    if not grant.asked.break_glass:
        raise GrantError(f"{grant.id} broke no glass: there is nothing to review")
    if approvals.is_party(event.by, grant.asked.subject):
        raise GrantError("whoever broke the glass does not review it")
    if event.by.provider == "claimed" and grant.asked.subject.provider != "claimed":
        raise GrantError("a review is by somebody who is known, and this name is only claimed")
    if not event.reason.strip():
        raise GrantError("a review says what was found", hint="--reason TEXT")
    given = Approval(by=event.by, at=now.wall, request=grant.request, reason=event.reason[:MAX_TEXT])
    return msgspec.structs.replace(grant, approvals=(*grant.approvals, given))


def _has_review(grant: Grant) -> bool:
    return any(not approvals.is_party(one.by, grant.asked.subject) for one in grant.approvals)


def activated(grant: Grant, now: Moment) -> Grant:
    """Return a grant whose clock has started."""
    return msgspec.structs.replace(
        grant,
        state="active",
        activated_at=now.wall,
        expires_at=now.wall + grant.asked.lifetime,
        expires_boot=now.boot + grant.asked.lifetime if now.boot_id else 0.0,
        boot_id=now.boot_id,
    )


def _end(grant: Grant, state: State, now: Moment, by: str, why: str) -> Grant:
    return msgspec.structs.replace(grant, state=state, ended_at=now.wall, ended_by=by, why=why[:MAX_TEXT])


def _in(grant: Grant, states: tuple[State, ...], done: str) -> None:
    if grant.state not in states:
        raise GrantError(f"{grant.id} is {grant.state}, and cannot be {done}")


def _of_holder(grant: Grant, by: Subject, what: str) -> None:
    if key(by) != key(grant.asked.subject):
        raise GrantError(f"only {grant.asked.subject.id} can {what} {grant.id}", hint="others revoke or deny")
