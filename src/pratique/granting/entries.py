"""Grants and what happened to them in, entries of the ledger and alerts out."""

from __future__ import annotations

from typing import Any

import msgspec

from pratique.grant.lifecycle import review_within
from pratique.grant.policy import PrivilegePolicy
from pratique.grant.request import key
from pratique.model.privilege import Grant, Scope, Subject
from pratique.store.line import Entry, Who, stamp

_MAX_SAID = 2000  # characters of each part of a scope: a line of the ledger has 64 KiB, and a grant some ten lines


def of_grant(event: str, grant: Grant, node: str, *, by: Subject | None = None, reason: str = "", **extra: Any) -> Entry:
    """Return the entry for what happened to a grant; where it holds stands in its detail."""
    asked = grant.asked
    extra["detail"] = _where(asked.scope) | extra.get("detail", {})
    return Entry(
        event=event,
        subject=Who.of(asked.subject),
        by=Who.of(by) if by is not None else None,
        needed=asked.privileges,
        grant=grant.id,
        task=asked.task.id,
        ticket=asked.task.ticket,
        reason=reason or (asked.task.purpose if event in ("request", "break-glass") else ""),
        request=grant.request,
        policy=asked.policy,
        node=node,
        state=grant.state,
        until=stamp(grant.expires_at) if grant.expires_at else "",
        **extra,
    )


def _where(scope: Scope) -> dict[str, str]:
    """Say where a grant holds in words that can be looked for: the hash of a request tells an auditor nothing."""
    several = {"images": scope.images, "hosts": scope.hosts, "clusters": scope.clusters, "namespaces": scope.namespaces}
    said = {name: " ".join(values) for name, values in several.items()} | {"container": scope.container}
    return {name: text if len(text) <= _MAX_SAID else f"{text[:_MAX_SAID]}..." for name, text in said.items() if text}


def of_use(seen: Entry, event: str, grant: Grant, session: str, node: str) -> Entry:
    """Return the entry for a use, with what the gate saw."""
    base = of_grant(event, grant, node)
    return msgspec.structs.replace(
        base,
        decision="allow_with_grant",
        session=session,
        needed=seen.needed or base.needed,
        effective=seen.effective,
        policy=seen.policy or base.policy,
        point=seen.point,
        node=seen.node or base.node,
        rule=seen.rule,
        detail=seen.detail,
    )


def alert(grant: Grant, policy: PrivilegePolicy, node: str) -> dict[str, Any]:
    """Return what an alert says of a glass that is about to be broken."""
    asked = grant.asked
    return {
        "event": "break-glass",
        "grant": grant.id,
        "subject": key(asked.subject),
        "strength": asked.subject.strength,
        "privileges": list(asked.privileges),
        "task": asked.task.id,
        "reason": asked.task.purpose,
        "seconds": asked.lifetime,
        "review_within": review_within(grant, policy),
        "node": node,
    }
