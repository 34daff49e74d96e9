"""A privilege policy in, what in it gives more than its author may have meant out: each a place in the file and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pratique._kit.place import Place
from pratique.grant.learn import is_sensitive
from pratique.grant.policy import CompiledEntitlement, Part, PrivilegePolicy
from pratique.grant.privileges import FORMS, OF_HOST, Privilege
from pratique.model.privilege import CERTIFICATE

MANY = 5  # uses beyond which a privilege over the machine is a standing one


class Advice(NamedTuple):
    """Where, and what is doubtful there."""

    place: Place
    text: str


def advice(policy: PrivilegePolicy) -> list[Advice]:
    """Return what is doubtful, in the order of the file. Nothing of it is wrong: a policy may mean it."""
    return sorted(one for part in policy.parts for one in _part(part))


def _part(part: Part) -> Iterator[Advice]:
    written = part.baseline.written
    risky = [str(one) for one in part.baseline.privileges if _is_of_host(one) and not _reads_little(one)]
    if risky:
        yield Advice(written.place(), f"the baseline gives everybody what is as good as root on the machine: {', '.join(risky)}")
    if written.anonymous and part.baseline.privileges:
        yield Advice(written.place("anonymous"), "those whom nobody knows have the baseline, too")
    for entitlement in part.entitlements:
        yield from _entitlement(entitlement, everybody=not part.subjects.groups and not part.subjects.ids)
    if part.entitlements and part.break_glass is None:
        yield Advice(Place(1, 1), "nobody may break the glass: when nobody can approve, nobody can help")


def _entitlement(entitlement: CompiledEntitlement, *, everybody: bool) -> Iterator[Advice]:
    written, name = entitlement.written, entitlement.id
    terms = written.approvals
    over = [str(one) for one in entitlement.privileges if _is_of_host(one)]
    what = ", ".join(over[:3]) + (" and more" if len(over) > 3 else "")
    if over and not terms.count:
        yield Advice(written.place("approvals"), f"{name} gives {what} to whoever asks, with nobody's approval")
    elif over and not terms.whom:
        yield Advice(written.place("approvals"), f"{name} gives {what} by the approval of anybody at all: name who may (from)")
    if terms.count and not terms.four_eyes:
        yield Advice(written.place("approvals"), f"{name} lets people approve their own requests (fourEyes)")
    if terms.count and terms.strength < CERTIFICATE:
        yield Advice(
            written.place("approvals"), f"{name} takes the word of a user name for an approval (strength {terms.strength})"
        )
    if over and (written.max_uses == 0 or written.max_uses > MANY):
        often = "any number of" if written.max_uses == 0 else str(written.max_uses)
        yield Advice(written.place("max_uses"), f"{name} gives {what} for {often} uses (maxUses)")
    if over and everybody and not written.when:
        yield Advice(written.place(), f"{name} entitles everybody to {what}: say whom (subjects, or when)")


def _is_of_host(privilege: Privilege) -> bool:
    return FORMS[privilege.form].lifetime == OF_HOST


def _reads_little(privilege: Privilege) -> bool:
    """A folder of a project, read or written, is what baselines are for; the root of the machine and its own folders are not."""
    return privilege.form == "run.mount" and not is_sensitive(privilege.argument)
