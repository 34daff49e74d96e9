"""A SubjectAccessReview in, allowed or no opinion out: what a grant gives, for as long as it lives, with nothing to clean up.

RBAC is asked first and gives what is always allowed; this authoriser adds what is granted, and takes nothing away. So "no" is no
opinion, with the reason and the command that asks for a grant, which the API server shows. Denied outright is only what cannot
be read or decided, and acting as `system:masters`, which is beyond every check of a cluster.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pratique.enforce.keeper import refusal
from pratique.enforce.kubernetes import review as reviews
from pratique.enforce.kubernetes.entering import Entering
from pratique.enforce.kubernetes.keeper import Asked, ClusterKeeper, Ruling
from pratique.enforce.kubernetes.review import Access, Resource
from pratique.enforce.kubernetes.sessions import Key, Reservations
from pratique.enforce.kubernetes.settings import Settings
from pratique.grant.request import Request, Target, key
from pratique.model.errors import ParseError, PratiqueError
from pratique.model.privilege import Denial, Moment, Subject
from pratique.store.line import Entry, Who

if TYPE_CHECKING:
    from pratique.enforce.serving import Asked as HttpAsked

# Verbs that enter, change or make; to look at these resources is RBAC's to give.
_ENTERING = ("create", "get")
_CHANGING = ("update", "patch")
_IMPERSONATED = {
    ("", "users"): "",
    ("", "groups"): "group:",
    ("", "serviceaccounts"): "system:serviceaccount:",
    ("authentication.k8s.io", "uids"): "uid:",
    ("authentication.k8s.io", "userextras"): "extra:",
}
_NEVER = "system:masters"
# One command of kubectl is many requests, each of them authorised: together they are one use.
ACTING_SECONDS = 60.0
_BEYOND = "who is in system:masters is beyond every check of the cluster: no grant gives that"


class Question(NamedTuple):
    """What a review asks: the ways in which it might be allowed, and whether an admission review will follow."""

    ways: list[Request]
    followed: bool


class Authorizer:
    """Answers SubjectAccessReviews."""

    def __init__(self, keeper: ClusterKeeper, entering: Entering, reservations: Reservations, settings: Settings) -> None:
        self._keeper = keeper
        self._entering = entering
        self._reservations = reservations
        self._acting = Reservations(ACTING_SECONDS)
        self._cluster = settings.cluster

    async def handle(self, asked: HttpAsked) -> bytes:
        """Answer one review."""
        try:
            access = reviews.read_access(asked.body)
        except ParseError as error:
            message = self._keeper.refused("kubernetes", None, "SubjectAccessReview", error.message)
            return reviews.access(denied=True, reason=message, error=error.message)
        if access.resource is None:
            return reviews.access()
        if access.verb == "impersonate" and access.name == _NEVER and access.resource.name == "groups":
            message = self._keeper.refused("kubernetes", access.subject, "impersonate group system:masters", _BEYOND)
            return reviews.access(denied=bool(message), reason=message)
        question = await self._question(access, access.resource)
        if question is None:
            return reviews.access()
        if access.subject is None:
            return reviews.access(reason="pratique: nobody is known here, and grants are for somebody")
        return await self._answer(access, access.resource, question)

    async def _question(self, access: Access, resource: Resource) -> Question | None:
        """Return what is asked, None where this authoriser has no say."""
        if access.verb == "impersonate":
            return self._impersonation(access, resource)
        if resource.group:
            return None
        kind = (resource.name, resource.sub)
        if kind in (("pods", "exec"), ("pods", "attach"), ("pods", "portforward")) and access.verb in _ENTERING:
            ways = await self._entering.ways(access.subject, resource.sub, access.namespace, access.name)
            return Question(ways, followed=True)
        if kind == ("pods", "ephemeralcontainers") and access.verb in _CHANGING:
            return Question([self._plain(access, "change", extra=("debug.ephemeral",))], followed=True)
        if kind == ("serviceaccounts", "token") and access.verb == "create":
            return Question([self._plain(access, "token")], followed=True)
        if kind == ("nodes", "proxy"):
            return Question([self._plain(access, "engine")], followed=access.verb in (*_ENTERING, *_CHANGING, "delete"))
        return None

    def _impersonation(self, access: Access, resource: Resource) -> Question | None:
        prefix = _IMPERSONATED.get((resource.group, resource.name))
        if prefix is None or not access.name:
            return None
        name = f"{access.namespace}:{access.name}" if resource.name == "serviceaccounts" else access.name
        if resource.name == "userextras":
            name = f"{resource.sub}/{name}"
        request = self._plain(access, "impersonate")
        target = msgspec.structs.replace(request.target, name=prefix + name)
        return Question([msgspec.structs.replace(request, target=target)], followed=False)

    def _plain(self, access: Access, action: Any, extra: tuple[str, ...] = ()) -> Request:
        target = Target(cluster=self._cluster, namespace=access.namespace, name=access.name)
        return Request(subject=access.subject, action=action, point="kubernetes", target=target, extra=extra)

    async def _answer(self, access: Access, resource: Resource, question: Question) -> bytes:
        now = self._keeper.moment()
        subject = access.subject
        assert subject is not None  # asked by the caller
        if not question.followed and access.name:
            again = await self._again(question.ways[0], _key(access, resource, subject), now)
            if again is not None:
                return again
        try:
            found = self._keeper.possible(question.ways, subject, now)
        except PratiqueError as error:
            return reviews.access(denied=True, reason=f"pratique: denied: {error}", error=error.message)
        if found.decision.ruling != "allow_with_grant":
            if found.decision.allowed and (question.followed or access.verb == "impersonate"):
                return reviews.access()  # the baseline needs no grant: whether it may at all, RBAC says
            return reviews.access(reason=refusal(found.decision))
        if not access.name:  # a question whether one could: nothing can be done without a name
            return reviews.access(allowed=True, reason=f"pratique: {', '.join(found.decision.grants)}")
        name, kept = _key(access, resource, subject), self._reservations if question.followed else self._acting
        try:
            reservation, new = kept.make(name, time.monotonic(), found if question.followed else None)
        except OverflowError as error:
            return reviews.access(denied=True, reason=f"pratique: denied: {error}", error=str(error))
        if not question.followed:
            ruling = await self._keeper.settle([found], reservation.session)
        else:
            ruling = await self._note(found, reservation.session) if new else Ruling(allowed=True)
        if not ruling.allowed:
            kept.take(name)
            return reviews.access(denied=True, reason=refusal(ruling.as_decision()))
        return reviews.access(allowed=True, reason=f"pratique: {', '.join(found.decision.grants)}")

    async def _again(self, request: Request, name: Key, now: Moment) -> bytes | None:
        """Answer a further request of somebody who acts as another by the grants that were used for it; None where none were."""
        reservation = self._acting.find(name, time.monotonic())
        if reservation is None:
            return None
        held = tuple(grant.id for grant in self._keeper.used_by(reservation.session))
        asked = self._keeper.consider([request], now, held)
        if not held or not set(asked[0].decision.grants) <= set(held) or not asked[0].decision.allowed:
            return None
        ruling = await self._keeper.settle(asked, reservation.session)
        return reviews.access(allowed=True, reason=f"pratique: {', '.join(held)}") if ruling.allowed else None

    async def _note(self, found: Asked, session: str) -> Ruling:
        """Record that it was authorised; the grant is used when its admission review comes, or does not come in time."""
        import asyncio

        entry = Entry(
            event="authorize",
            subject=Who.of(found.request.subject) if found.request.subject else None,
            decision="allow_with_grant",
            needed=found.decision.needed,
            grant=", ".join(found.decision.grants),
            policy=found.decision.policy,
            point="kubernetes",
            session=session,
            detail={"action": found.request.action, "container": found.request.target.container or found.request.target.name},
        )
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._keeper.desk.record, entry)
        except PratiqueError as error:
            return Ruling(allowed=False, reasons=(Denial(rule="ledger", path="", text=str(error)),))
        return Ruling(allowed=True)

    async def use_late(self) -> None:
        """Use the grants of authorisations that no admission review followed."""
        self._acting.late(time.monotonic())
        for session, found in self._reservations.late(time.monotonic()):
            await self._keeper.settle([found], session)


def _key(access: Access, resource: Resource, subject: Subject) -> Key:
    return Key(key(subject), str(resource), access.namespace, access.name)
