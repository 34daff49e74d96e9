"""An object that asks for a grant, approves or ends one in, done out: people are known by what the API server knows them by.

`kubectl pratique` creates objects of the kind GrantOrder. The review of their creation says who it is who creates them, more
surely than anything that a person could send here; whether they may create any is RBAC's. An order is carried out once, when it
is created; it is never changed. With `--dry-run=server`, which has no effects, one asks: list, show, can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pratique.enforce.kubernetes import review as reviews
from pratique.enforce.kubernetes.entering import Entering
from pratique.enforce.kubernetes.keeper import ClusterKeeper
from pratique.enforce.kubernetes.review import Admission
from pratique.enforce.kubernetes.settings import Settings
from pratique.grant.lifecycle import Cancel, Complete, Deny, Event, Revoke
from pratique.grant.request import key
from pratique.grant.scopes import is_digest
from pratique.model.errors import ParseError, PratiqueError, UsageError
from pratique.model.privilege import LIVE_STATES, Asked, Grant, Scope, Subject, Task
from pratique.store.interface import Wanted
from pratique.store.line import stamp

KIND = "grantorders"
_MAX_WORD = 500  # characters of a reason or a name
MAX_SHOWN = 20  # grants that one answer lists: the API server takes 4 KiB of warnings
_ASKING = ("list", "show", "can")
_WAYS = ("exec", "attach", "portforward")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Orders:
    """Carries orders out at the store's desk."""

    def __init__(self, keeper: ClusterKeeper, entering: Entering, settings: Settings) -> None:
        self._keeper = keeper
        self._entering = entering
        self._cluster = settings.cluster
        self._known = keeper.orders

    async def answer(self, review: Admission) -> bytes:
        """Answer the review of an order."""
        import asyncio

        if review.resource.name != KIND or review.resource.sub:
            return reviews.refused(review.uid, "pratique: denied: there is nothing else in this group")
        if review.operation == "DELETE":
            return reviews.admitted(review.uid)
        if review.operation != "CREATE":
            return reviews.refused(review.uid, "pratique: denied: an order is not changed: create another one")
        if review.subject is None:
            return reviews.refused(review.uid, "pratique: denied: nobody is known here")
        if not self._known:
            hint = "the gate cannot tell its API server from others: start it with --client-ca or --client-token"
            return reviews.refused(review.uid, f"pratique: denied: {hint}")
        spec = review.item.get("spec")
        if not isinstance(spec, Mapping):
            raise ParseError("an order without a spec")
        verb = _word(spec, "verb")
        if review.dry_run and verb not in _ASKING:
            return reviews.admitted(review.uid, warnings=["pratique: nothing was done: this was a dry run"])
        if verb == "can":
            return reviews.admitted(review.uid, warnings=await self._can(review, review.subject, spec))
        try:
            asked = await self._asked(review, review.subject, spec) if verb == "request" else None
            work = self._work(verb, review.subject, spec, asked)
            said = await asyncio.get_running_loop().run_in_executor(None, work)
        except PratiqueError as error:
            hint = f" ({error.hint})" if error.hint else ""
            return reviews.refused(review.uid, f"pratique: {error.message}{hint}")
        return reviews.admitted(review.uid, warnings=said)

    def _work(self, verb: str, by: Subject, spec: Mapping[str, Any], asked: Asked | None) -> Callable[[], list[str]]:
        desk, name, reason = self._keeper.desk, _word(spec, "id"), _word(spec, "reason")
        if asked is not None:
            wanted = asked
            return lambda: _said(desk.request(wanted))
        if verb == "approve":
            return lambda: _said(desk.approve(name, by, reason, request_seen=_word(spec, "request")))
        events: dict[str, Event] = {
            "deny": Deny(by, reason), "revoke": Revoke(by, reason), "cancel": Cancel(by), "complete": Complete(by),
        }  # fmt: skip
        if verb in events:
            return lambda: _said(desk.act(name, events[verb]))
        if verb == "show":
            return lambda: _shown(desk.as_of_now(desk.store.get(name).grant))
        if verb == "list":
            return lambda: self._list(by)
        raise UsageError(f"there is no verb {verb[:40]!r}", hint="request, approve, deny, revoke, cancel, complete, list or show")

    async def _can(self, review: Admission, subject: Subject, spec: Mapping[str, Any]) -> list[str]:
        """Say whether somebody could enter a pod now; it costs nothing, as a question of the API server's own would."""
        way, pod = _word(spec, "way"), _word(spec, "pod")
        if way not in _WAYS or not pod:
            raise ParseError(f"a question names a pod and a way: {', '.join(_WAYS)}")
        ways = await self._entering.ways(subject, way, review.namespace, pod)
        try:
            decision = self._keeper.possible(ways, subject, self._keeper.moment()).decision
        except PratiqueError as error:
            return [f"no: {error.message}"]
        if decision.allowed:
            return [f"yes: {', '.join(decision.grants) or 'it needs no grant'}"]
        return [f"no: {reason.text}" for reason in decision.reasons] + [
            f"ask: {reason.request}" for reason in decision.reasons if reason.request
        ]

    def _list(self, by: Subject) -> list[str]:
        """Return one's own grants, and what waits for somebody's approval, without names of others' tasks."""
        states = (*LIVE_STATES, "requested")
        desk = self._keeper.desk
        found = [desk.as_of_now(kept.grant) for kept in desk.store.find(Wanted(states=states))]
        mine = [grant for grant in found if key(grant.asked.subject) == key(by) or grant.state == "requested"]
        return [_line(grant) for grant in mine[:MAX_SHOWN]] or ["no grants"]

    async def _asked(self, review: Admission, subject: Subject, spec: Mapping[str, Any]) -> Asked:
        container = await self._container(review, spec)
        images = (*_digests(spec), *(await self._images(review, container) if container else ()))
        names = spec.get("privileges")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) > 20:
            raise ParseError("an order's privileges are a list of names")
        argv = spec.get("argv") or []
        if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
            raise ParseError("an order's argv is a list of words")
        uses = spec.get("uses", 1)
        if not isinstance(uses, int) or isinstance(uses, bool) or uses < 0:
            raise ParseError("an order's uses is a number")
        scope = Scope(
            points=("kubernetes",),
            clusters=(self._cluster,) if self._cluster else (),
            namespaces=() if spec.get("everywhere") is True else (review.namespace,),
            container=container,
            images=images,
            argv=tuple(argv),
        )
        task = Task(id=_word(spec, "task"), ticket=_word(spec, "ticket"), purpose=_word(spec, "reason"))
        if not task.id or not task.purpose:
            raise UsageError("an order names the task and the reason")
        lasts = _seconds(_word(spec, "for"))
        return Asked(subject=subject, task=task, privileges=tuple(names), scope=scope, lifetime=lasts, uses=uses)

    async def _container(self, review: Admission, spec: Mapping[str, Any]) -> str:
        pod, container = _word(spec, "pod"), _word(spec, "container")
        if not pod:
            return ""
        if "/" in pod or "/" in container:
            raise ParseError("an order's pod and container are names")
        if container:
            return f"{review.namespace}/{pod}/{container}"
        ways = await self._entering.ways(review.subject, "exec", review.namespace, pod)
        names = [way.target.container for way in ways if way.target.container]
        if len(names) != 1:
            known = ", ".join(name.rpartition("/")[2] for name in names) or "none is known"
            raise UsageError(f"name the container of {pod}", hint=known)
        return names[0]

    async def _images(self, review: Admission, container: str) -> tuple[str, ...]:
        """Return the digest that runs there now: a grant is for what was meant, not for what the pod's name means later."""
        _, pod, _ = container.split("/")
        ways = await self._entering.ways(review.subject, "exec", review.namespace, pod)
        return tuple(way.target.digest for way in ways if way.target.container == container and way.target.digest)


def _said(grant: Grant) -> list[str]:
    more = {
        "requested": f"to be approved by somebody else: kubectl pratique approve {grant.id}",
        "active": f"until {stamp(grant.expires_at)}" if grant.expires_at else "",
    }
    return [_line(grant), *([more[grant.state]] if more.get(grant.state) else [])]


def _line(grant: Grant) -> str:
    asked = grant.asked
    where = asked.scope.container or ", ".join(asked.scope.namespaces)
    what = f"{', '.join(asked.privileges)} for {asked.subject.id} at {where or 'the cluster'}, task {asked.task.id}"
    return f"{grant.id} {grant.state}: {what}"


def _shown(grant: Grant) -> list[str]:
    asked = grant.asked
    ends = [f"until {stamp(grant.expires_at)}"] if grant.expires_at else []
    return [
        _line(grant),
        f"request {grant.request}",
        f"because: {asked.task.purpose}",
        *ends,
        *([grant.why] if grant.why else []),
    ]


def _digests(spec: Mapping[str, Any]) -> tuple[str, ...]:
    images = spec.get("images") or []
    if not isinstance(images, list) or not all(isinstance(one, str) and len(one) <= _MAX_WORD for one in images):
        raise ParseError("an order's images are a list of names")
    for image in images:
        if not is_digest(image.rpartition("@")[2]):
            raise UsageError(f"{image} names no digest, and tags move", hint="NAME@sha256:...")
    return tuple(images)


def _word(spec: Mapping[str, Any], name: str) -> str:
    found = spec.get(name) or ""
    if not isinstance(found, str) or len(found) > _MAX_WORD:
        raise ParseError(f"an order's {name} is a text of at most {_MAX_WORD} characters")
    return found


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or len(number) > 6:
        raise UsageError(f"for {text[:20]!r} is no duration", hint="such as 30m")
    return float(int(number) * _UNITS[unit])
