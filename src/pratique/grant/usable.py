"""A grant and a request in, why the grant does not help out: asked again at each use, whatever was true when it was given."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pratique.grant import privileges
from pratique.grant.approval import counted
from pratique.grant.asking import BREAK_GLASS, SEALED_CODE, request_hash, unmet
from pratique.grant.conditions import Asking
from pratique.grant.lifecycle import is_late, overdue
from pratique.grant.policy import CompiledEntitlement, PrivilegePolicy
from pratique.grant.privileges import Privilege
from pratique.grant.request import Request
from pratique.grant.scopes import outside
from pratique.model.privilege import PEER, SECOND_FACTOR, Grant, Moment


class Use(NamedTuple):
    """A grant that helps: when it ends (seconds since the epoch), and what is to be done with what was touched."""

    grant: Grant
    ends: float
    taint: str
    entitled: tuple[Privilege, ...] | None  # None: to everything that was asked for


def check(grant: Grant, request: Request, policy: PrivilegePolicy, now: Moment) -> Use | str:
    """Return the use that a grant is for a request, or why it is none."""
    return _ended(grant, now) or outside(grant.asked.scope, request) or _entitled(grant, request, policy, now)


def _ended(grant: Grant, now: Moment) -> str:
    asked = grant.asked
    if asked.subject.provider == "claimed" or asked.subject.strength < PEER:
        return "whoever asked for it was not known"
    if grant.state == "approved" and asked.from_first_use:
        early = now.wall < grant.requested_at
        why = "it was not used in time" if early or is_late(grant, now) else ""
    elif grant.state != "active":
        why = f"it is {grant.state}"
    else:
        why = overdue(grant, now)
    if asked.uses and grant.used >= asked.uses:
        why = "it was used as often as it may be"
    if not why and grant.request != request_hash(asked):
        why = "it is not what was approved"
    return why


def _entitled(grant: Grant, request: Request, policy: PrivilegePolicy, now: Moment) -> Use | str:
    asked = grant.asked
    start = grant.activated_at if grant.state == "active" else now.wall
    if asked.break_glass:
        return _broken(grant, request, policy, start)
    entitlement = policy.entitlement(asked.entitlement, request.subject or asked.subject, request.target)
    if entitlement is None:
        return f"the policy no longer has {asked.entitlement}"
    longest = entitlement.max_ttl or privileges.lifetime(privileges.parse_all(asked.privileges))
    ends = start + min(asked.lifetime, longest)
    if now.wall >= ends:
        return f"{entitlement.id} is for a shorter time now"
    why = _short_of(grant, entitlement, policy)
    if why:
        return why
    if entitlement.condition is not None:
        why = unmet(entitlement.id, entitlement.condition, Asking(request, asked.privileges, now, asked.task))
        if why:
            return why
    return Use(grant, ends, entitlement.written.after.taint, entitlement.privileges)


def _short_of(grant: Grant, entitlement: CompiledEntitlement, policy: PrivilegePolicy) -> str:
    written, asked = entitlement.written, grant.asked
    if written.max_uses and grant.used >= written.max_uses:
        return "it was used as often as it may be"
    ticket = asked.task.ticket
    if written.ticket.required and (not ticket or (entitlement.ticket is not None and not entitlement.ticket.fullmatch(ticket))):
        return f"{entitlement.id} needs a ticket"
    have = len(counted(_known(grant, policy), written.approvals))
    if have < written.approvals.count:
        return f"it has {have} of {written.approvals.count} approvals that a gate honours"
    return ""


def _known(grant: Grant, policy: PrivilegePolicy) -> Grant:
    """Return a grant with the owners that the policy of today gives to the robots in it."""
    if not policy.owners:
        return grant
    given = tuple(msgspec.structs.replace(one, by=policy.known(one.by)) for one in grant.approvals)
    asked = msgspec.structs.replace(grant.asked, subject=policy.known(grant.asked.subject))
    return msgspec.structs.replace(grant, asked=asked, approvals=given)


def _broken(grant: Grant, request: Request, policy: PrivilegePolicy, start: float) -> Use | str:
    asked = grant.asked
    terms = policy.break_glass(request.subject or asked.subject, request.target)
    if terms is None:
        return "nobody may break the glass here"
    if asked.entitlement == BREAK_GLASS:
        if asked.subject.strength < SECOND_FACTOR or not set(terms.groups) & set(asked.subject.groups):
            return f"{asked.subject.id} may not break the glass"
    elif asked.entitlement != SEALED_CODE:
        return "it broke no glass"
    return Use(grant, start + min(asked.lifetime, terms.max_ttl), "break-glass", None)
