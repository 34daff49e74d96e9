"""What somebody asks for in, a grant out that waits for approval (or needs none); or why it cannot even be asked for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from pratique.grant import privileges
from pratique.grant.conditions import Asking, Condition, ask
from pratique.grant.lifecycle import MAX_TEXT, activated, unreviewed
from pratique.grant.policy import MAX_LIFETIME, CompiledEntitlement, PrivilegePolicy, seconds
from pratique.grant.privileges import Privilege
from pratique.grant.request import Request, target_of
from pratique.model.errors import GrantError, UsageError
from pratique.model.privilege import SECOND_FACTOR, Asked, Grant, Moment, State, Subject

BREAK_GLASS, SEALED_CODE = "break-glass", "sealed-code"  # what stands for an entitlement where the glass was broken
MAX_TICKET = 100  # characters; a pattern is matched against it
MAX_PRIVILEGES = 50  # of one request: who needs more needs another policy
MAX_SCOPE = 100  # entries of a scope
_WHO = frozenset(("subject.id", "subject.key", "subject.kind", "subject.provider", "subject.groups", "subject.owner"))
_CONTAINER = re.compile(r"[0-9a-f]{64}|[^/\s]+/[^/\s]+/[^/\s]+")


def request_hash(asked: Asked) -> str:
    """Return what approvers sign, `sha256:...`: an edit is a new request."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


def request(asked: Asked, policy: PrivilegePolicy, now: Moment, held: Iterable[Grant] = (), *, code: bool = False) -> Grant:
    """Return a new grant for what is asked: requested, or approved where nobody needs to agree. Raises GrantError, UsageError.

    `held` are the grants of the same subject, of which unreviewed ones freeze everything. `code` says that a sealed code was
    shown that `opened` accepted (and that the store marks as used). A broken glass is approved at once and only waits for
    Activate, which whoever calls sends after the alert. The entitlement is chosen where the request names none.
    """
    asked = msgspec.structs.replace(asked, subject=policy.known(asked.subject))
    wanted = privileges.fewest(privileges.parse_all(asked.privileges))
    _check_asked(asked, wanted)
    # What is kept is read back as floats: a whole number would be another request by its hash.
    asked = msgspec.structs.replace(asked, lifetime=float(asked.lifetime), idle=float(asked.idle))
    asked = msgspec.structs.replace(asked, privileges=tuple(str(one) for one in wanted), policy=policy.digest)
    if asked.break_glass or code:
        asked = _broken(asked, policy, code=code)
        state: State = "approved"
    else:
        frozen = unreviewed(held, policy, now)
        if frozen:
            raise GrantError(
                f"{asked.subject.id} broke the glass ({frozen[0].id}) and nobody reviewed it in time",
                hint=f"pratique break-glass review {frozen[0].id} --reason TEXT",
            )
        entitlement = _entitlement(asked, wanted, policy, now)
        written = entitlement.written
        idle = min(asked.idle or seconds(written.idle), seconds(written.idle) or asked.idle)
        asked = msgspec.structs.replace(asked, entitlement=entitlement.id, from_first_use=written.first_use, idle=float(idle))
        state = "requested" if entitlement.written.approvals.count else "approved"
    hashed = request_hash(asked)
    grant = Grant(
        id=f"g-{hashed[7:19]}",
        asked=asked,
        request=hashed,
        state=state,
        requested_at=now.wall,
        requested_boot=now.boot,
        boot_id=now.boot_id,
    )
    if state == "requested":
        return grant
    grant = msgspec.structs.replace(grant, approved_at=now.wall)
    return grant if asked.break_glass or asked.from_first_use else activated(grant, now)


def _check_asked(asked: Asked, wanted: tuple[Privilege, ...]) -> None:
    scope = asked.scope
    if not wanted or len(wanted) > MAX_PRIVILEGES:
        raise UsageError(f"a request is for 1 to {MAX_PRIVILEGES} privileges, this is for {len(wanted)}")
    if max(map(len, (scope.hosts, scope.clusters, scope.namespaces, scope.images, scope.labels, scope.argv))) > MAX_SCOPE:
        raise UsageError(f"a scope has at most {MAX_SCOPE} entries of a sort")
    if any("sha256:" not in image for image in scope.images):
        raise UsageError("images of a scope are named by digest, as tags move", hint="NAME@sha256:DIGEST")
    if scope.container and not _CONTAINER.fullmatch(scope.container):
        raise UsageError(
            f"{scope.container[:80]!r} is not the full id of a container, and names move",
            hint="docker inspect --format {{.Id}} NAME, or NAMESPACE/POD/CONTAINER",
        )
    if not asked.task.id or not asked.task.purpose.strip():
        raise UsageError("a request names its task and says what for", hint="--task ID --reason TEXT")
    if len(asked.task.purpose) > MAX_TEXT or len(asked.task.ticket) > MAX_TICKET or len(asked.task.id) > MAX_TICKET:
        raise UsageError(f"a purpose has at most {MAX_TEXT} characters, a task or ticket {MAX_TICKET}")
    if not 0 < asked.lifetime <= MAX_LIFETIME or asked.uses < 0 or asked.idle < 0:
        raise UsageError("a lifetime is more than 0s and at most 7d")


def _broken(asked: Asked, policy: PrivilegePolicy, *, code: bool) -> Asked:
    terms = policy.break_glass(asked.subject, target_of(asked))
    if terms is None and any(part.break_glass is not None for part in policy.parts):
        raise GrantError(f"the policy lets others break the glass: it is not for {asked.subject.id}, or not for what is asked")
    if terms is None:
        raise GrantError(
            "no policy lets anybody break the glass here", hint="breakGlass: {groups: [NAME], maxTTL: 30m, review: 24h} in one"
        )
    if asked.lifetime > terms.max_ttl:
        raise GrantError(f"a broken glass lasts {lasts(terms.max_ttl)} at most", hint=f"--for {lasts(terms.max_ttl)}")
    if not code:
        if not set(terms.groups) & set(asked.subject.groups):
            raise GrantError(f"{asked.subject.id} is not in {', '.join(terms.groups) or 'any group that may break the glass'}")
        if asked.subject.strength < SECOND_FACTOR:
            raise GrantError("breaking the glass takes a second factor", hint="or a sealed code")
    return msgspec.structs.replace(
        asked, break_glass=True, from_first_use=False, entitlement=SEALED_CODE if code else BREAK_GLASS
    )


def _entitlement(asked: Asked, wanted: tuple[Privilege, ...], policy: PrivilegePolicy, now: Moment) -> CompiledEntitlement:
    """Find the entitlement that lets one ask for this; the reason is that of the one that came nearest."""
    target = target_of(asked)
    nearest = (0, f"nothing entitles {asked.subject.id} to {', '.join(map(str, wanted))}", "")
    for entitlement in policy.entitlements(asked.subject, target):
        if asked.entitlement not in ("", entitlement.id):
            continue
        far, why, hint = _refusal(asked, wanted, entitlement, now)
        if not why:
            return entitlement
        nearest = max(nearest, (far, why, hint))
    raise GrantError(nearest[1], hint=nearest[2])


def _refusal(asked: Asked, wanted: tuple[Privilege, ...], entitlement: CompiledEntitlement, now: Moment) -> tuple[int, str, str]:
    """Return how far a request came within an entitlement, why it goes no further, and what would help; 9 and "" if it does."""
    written = entitlement.written
    missing = [one for one in wanted if not privileges.covered(entitlement.privileges, one)]
    if missing:
        return 0, f"nothing entitles {asked.subject.id} to {', '.join(map(str, missing))}", ""
    said = holds_early(entitlement, asked, now)
    if said:
        return 1, said, ""
    longest = entitlement.max_ttl or privileges.lifetime(wanted)
    if asked.lifetime > longest:
        return 2, f"{entitlement.id} is for {lasts(longest)} at most", f"--for {lasts(longest)}"
    if written.max_uses and not 0 < asked.uses <= written.max_uses:
        return 2, f"{entitlement.id} is for {written.max_uses} uses at most", f"--uses {written.max_uses}"
    ticket = asked.task.ticket
    if written.ticket.required and not ticket:
        return 3, f"{entitlement.id} needs a ticket", "--ticket"
    if ticket and entitlement.ticket is not None and not entitlement.ticket.fullmatch(ticket):
        return 3, f"the ticket {ticket!r} is not like {written.ticket.pattern}", ""
    return 9, "", ""


def holds_early(entitlement: CompiledEntitlement, asked: Asked, now: Moment) -> str:
    """Return what is against it already when it is asked for; the whole condition is asked at each use."""
    seen = Request(subject=asked.subject, action="read", point=(asked.scope.points or ("prompt",))[0], target=target_of(asked))
    asking = Asking(seen, asked.privileges, now, asked.task)
    return next((why for part in entitlement.early if (why := unmet(entitlement.id, part, asking))), "")


def is_for(entitlement: CompiledEntitlement, subject: Subject, now: Moment) -> bool:
    """Say whether somebody may ask under an entitlement, as far as its condition speaks of who they are.

    How surely they are known does not count here: who asks may show a key.
    """
    seen = Asking(Request(subject=subject, action="read", point="prompt"), (), now)
    return all(ask(part, seen) is True for part in entitlement.early if _WHO.issuperset(part.names))


def unmet(name: str, condition: Condition, asking: Asking) -> str:
    """Return why a condition does not hold, "" where it does."""
    answer = ask(condition, asking)
    if answer is True:
        return ""
    text = " ".join(condition.text.split())
    return f"{name} holds only when {text}" + (f" ({answer})" if isinstance(answer, str) else "")


def lasts(duration: float) -> str:
    """Write seconds as people do: 90m, 1h, 45s."""
    whole = int(duration)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if whole >= size and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
