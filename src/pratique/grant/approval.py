"""An approver and a request in, why this approval does not count out; and what of a grant a gate may honour."""

from __future__ import annotations

from pratique.grant.document import Approvals
from pratique.grant.policy import CompiledEntitlement
from pratique.grant.request import key
from pratique.model.privilege import CLAIMED, Approval, Asked, Grant, Subject


def is_same_person(one: Subject, other: Subject) -> bool:
    """Say whether two may be one: whoever has the same name elsewhere is taken for the same, as four eyes are asked for."""
    return one.id.casefold() == other.id.casefold()


def is_party(by: Subject, requester: Subject) -> bool:
    """Say whether somebody is the requester, answers for the requesting robot, or is a robot of the requester."""
    answers = {requester.id.casefold(), requester.owner.casefold()} - {""}
    return by.id.casefold() in answers or by.owner.casefold() in answers


def is_named(by: Subject, whom: tuple[str, ...]) -> bool:
    """Say whether somebody is in `from`: `group:NAME` or `PROVIDER:ID`; everybody is where it is empty."""
    return not whom or key(by) in whom or any(f"group:{group}" in whom for group in by.groups)


def objection(by: Subject, asked: Asked, terms: Approvals) -> str:
    """Return why an approval would not be honoured by a gate, "" where it would be."""
    if terms.four_eyes and is_party(by, asked.subject):
        return "whoever asks, or answers for who asks, does not approve"
    if by.provider == "claimed" or by.strength < max(terms.strength, CLAIMED + 1):
        return f"an approver must be known with strength {terms.strength}; {by.id} is with {by.strength}"
    if not is_named(by, terms.whom):
        return f"{by.id} is not among {', '.join(terms.whom)}"
    return ""


def remedy(by: Subject, terms: Approvals) -> str:
    """Return what helps an approver who is not known well enough, "" where nothing would."""
    if by.provider == "unix" and by.strength < terms.strength:
        return f"--key FILE, of a key that the store's owner registered: pratique grant key add {by.id} FILE.pub"
    return ""


def acceptable(by: Subject, asked: Asked, entitlement: CompiledEntitlement) -> str:
    """Return why an approval may not even be recorded: where claimed identities may approve, they need no more than two eyes."""
    terms = entitlement.written.approvals
    if entitlement.claimed and by.provider == "claimed":
        return "whoever asks, or answers for who asks, does not approve" if is_party(by, asked.subject) else ""
    return objection(by, asked, terms)


def counted(grant: Grant, terms: Approvals) -> list[Approval]:
    """Return the approvals that a gate honours, one a person, for the request as it is."""
    found: dict[str, Approval] = {}
    for approval in grant.approvals:
        if approval.request == grant.request and not objection(approval.by, grant.asked, terms):
            found.setdefault(approval.by.id.casefold(), approval)
    return list(found.values())
