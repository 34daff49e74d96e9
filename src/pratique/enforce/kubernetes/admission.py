"""An AdmissionReview in, its answer out: workloads, what enters pods, tokens, volumes, and requests for grants.

Reads, deletions and whatever makes no pod go through: those are RBAC's. What connects in a way that is not known here, and every
operation that is not known, is denied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pratique.enforce.keeper import refusal
from pratique.enforce.kubernetes import podsecurity, workloads
from pratique.enforce.kubernetes import review as reviews
from pratique.enforce.kubernetes.amounting import Amount, amount
from pratique.enforce.kubernetes.entering import Entering
from pratique.enforce.kubernetes.eviction import Placed
from pratique.enforce.kubernetes.images import Judge, refusals
from pratique.enforce.kubernetes.keeper import Asked, Decider, Ruling
from pratique.enforce.kubernetes.orders import Orders
from pratique.enforce.kubernetes.review import Admission, Resource
from pratique.enforce.kubernetes.sessions import Key, Reservations
from pratique.enforce.kubernetes.settings import GROUP, Settings
from pratique.enforce.kubernetes.subjects import is_controller, is_node
from pratique.grant.globs import part_covers
from pratique.grant.request import Request, Target, key
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.privilege import Denial, Subject

if TYPE_CHECKING:
    from pratique.enforce.serving import Asked as HttpAsked

_MIRROR = "kubernetes.io/config.mirror"
_TOKEN_SECRET = "kubernetes.io/service-account-token"  # noqa: S105 - a type of secrets, as the API names it
_ENTERED = frozenset((("pods", "exec"), ("pods", "attach"), ("pods", "portforward"), ("pods", "proxy")))
# What makes pods, in whatever group and version; others do where they hold a pod's template.
_WORKLOADS = frozenset(
    (
        "pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicationcontrollers",
        "podtemplates",
    )
)  # fmt: skip


class Admitter:
    """Answers AdmissionReviews."""

    def __init__(
        self,
        keeper: Decider,
        entering: Entering,
        reservations: Reservations,
        settings: Settings,
        orders: Orders | None,
        judge: Judge | None = None,
    ) -> None:
        """`orders` is None where orders are carried out elsewhere, and refused here."""
        self._keeper = keeper
        self._entering = entering
        self._reservations = reservations
        self._settings = settings
        self._judge_images = judge
        self._orders = orders
        self.placed: list[Placed] = []

    async def handle(self, asked: HttpAsked) -> bytes:
        """Answer one review."""
        try:
            review = reviews.read_admission(asked.body)
        except ParseError as error:
            return self._unreadable(reviews.uid_of(asked.body), None, "AdmissionReview", error.message)
        try:
            return await self._judge(review)
        except (ParseError, BudgetExceededError) as error:
            return self._unreadable(review.uid, review.subject, review.what, error.message)

    def _unreadable(self, uid: str, subject: Subject | None, what: str, why: str) -> bytes:
        message = self._keeper.refused("kubernetes", subject, what, why)
        return reviews.refused(uid, message) if message else reviews.admitted(uid, warnings=[f"pratique: observed: {why}"])

    async def _judge(self, review: Admission) -> bytes:
        if review.operation not in reviews.OPERATIONS:
            return self._unreadable(review.uid, review.subject, review.what, "this operation is not known here")
        if review.resource.group == GROUP:
            if self._orders is None:
                return self._unreadable(review.uid, review.subject, review.what, "orders are not carried out here")
            return await self._orders.answer(review)
        if review.operation == "DELETE":
            return reviews.admitted(review.uid)
        if review.operation == "CONNECT":
            return await self._connect(review)
        resource = review.resource
        if (resource.name, resource.sub) == ("serviceaccounts", "token"):
            return await self._token(review)
        if (resource.group, resource.name, resource.sub) == ("", "secrets", ""):
            return await self._secret(review)
        if (resource.group, resource.name, resource.sub) == ("", "persistentvolumes", ""):
            return await self._volume(review)
        amounts = amount(review, self._settings.cluster)
        if amounts is not None:
            return await self._amounting(review, amounts)
        return await self._workload(workloads.normal(review))

    # -- what enters ----------------------------------------------------------------------------------------------------------

    async def _connect(self, review: Admission) -> bytes:
        resource = review.resource
        if resource.group == "" and (resource.name, resource.sub) in _ENTERED:
            request = await self._entering.request(review, review.subject)
        elif (resource.group, resource.name, resource.sub) == ("", "nodes", "proxy"):
            # The agent of a node runs commands in any of its pods for whoever reaches it.
            target = Target(cluster=self._settings.cluster, host=review.name, name=review.name)
            request = Request(subject=review.subject, action="engine", point="kubernetes", target=target)
        elif (resource.group, resource.name, resource.sub) == ("", "services", "proxy"):
            return reviews.admitted(review.uid)  # what a service offers it offers to the cluster
        else:
            return self._unreadable(review.uid, review.subject, review.what, "this way to connect is not known here")
        return await self._decide(review, [request])

    async def _token(self, review: Admission) -> bytes:
        spec = review.item.get("spec")
        bound = spec.get("boundObjectRef") if isinstance(spec, Mapping) else None
        subject = review.subject
        if (
            subject is not None
            and is_node(subject.id, subject.groups)
            and isinstance(bound, Mapping)
            and bound.get("kind") == "Pod"
        ):
            return reviews.admitted(review.uid)  # for a pod of its own: the API server's NodeRestriction sees to that
        if is_controller(subject, "") and review.namespace == "kube-system":
            return reviews.admitted(review.uid)  # the control plane's own controllers
        return await self._decide(review, [self._plain(review, "token")])

    async def _secret(self, review: Admission) -> bytes:
        """A secret of this type is filled with a token that never expires."""
        if review.item.get("type") != _TOKEN_SECRET or review.old.get("type") == _TOKEN_SECRET:
            return reviews.admitted(review.uid)
        return await self._decide(review, [self._plain(review, "token")])

    async def _volume(self, review: Admission) -> bytes:
        request = workloads.volume(review, review.subject, self._settings.cluster)
        return reviews.admitted(review.uid) if request is None else await self._decide(review, [request])

    async def _amounting(self, review: Admission, amounts: Amount) -> bytes:
        if not amounts.requests:
            return reviews.admitted(review.uid)
        asked = self._keeper.consider(amounts.requests, self._keeper.moment())
        granted = any(one.decision.ruling == "allow_with_grant" for one in asked)
        more = [Denial(rule="lasting", path="spec", text=amounts.lasting)] if granted and amounts.lasting else []
        return await self._settle(review, asked, f"k8s:{review.uid}", more)

    def _plain(self, review: Admission, action: Any) -> Request:
        target = Target(cluster=self._settings.cluster, namespace=review.namespace, name=review.name)
        return Request(subject=review.subject, action=action, point="kubernetes", target=target)

    # -- what runs ------------------------------------------------------------------------------------------------------------

    async def _workload(self, review: Admission) -> bytes:
        pods = workloads.templates(review)
        if not pods:
            if review.resource.name in _WORKLOADS and review.resource.sub in ("", "ephemeralcontainers"):
                raise ParseError(f"a {review.item.get('kind') or review.resource.name} without containers")
            return reviews.admitted(review.uid)
        standard = podsecurity.standard_of(self._settings.standards, review.namespace)
        before = workloads.former(review)  # nothing of what is created was there before, so that all of it is asked about
        specs = workloads.changed(review, whole=bool(before) and podsecurity.is_worse(pods, before, standard))
        if not specs:
            return reviews.admitted(review.uid)
        subject, held, session = self._made_for(review)
        requests = [workloads.request(review, spec, subject, self._settings.cluster) for spec in specs]
        if workloads.runs_drivers(review):
            requests[0] = msgspec.structs.replace(requests[0], extra=(workloads.DRIVER,))
        extra = podsecurity.lifting(pods, standard)
        if extra:  # what the standard forbids is asked for, so that a grant can be found for it
            requests[0] = msgspec.structs.replace(requests[0], extra=(*requests[0].extra, *extra))
        bad = await refusals(self._judge_images, specs, f"k8s:{review.namespace}") if self._judge_images is not None else {}
        for number, spec in enumerate(specs):
            if spec.image in bad and bad[spec.image].privilege:
                more_of = (*requests[number].extra, bad[spec.image].privilege)
                requests[number] = msgspec.structs.replace(requests[number], extra=more_of)
        asked = self._keeper.consider(requests, self._keeper.moment(), held)
        granted = self._keeper.held([name for one in asked for name in one.decision.grants])
        more = podsecurity.denials(pods, standard, granted)
        more += [
            Denial(rule="image", path="spec.image", text=bad[spec.image].reason)
            for spec, one in zip(specs, asked, strict=True)
            if spec.image in bad and not (one.decision.allowed and bad[spec.image].privilege)
        ]
        return await self._settle(review, asked, session, more)

    def _made_for(self, review: Admission) -> tuple[Subject | None, tuple[str, ...], str]:
        """Return who answers for it, the grants that were used for it before, and its session.

        A job's pods are made by a controller; what was granted to whoever made the job holds for them while it lives. The
        job's uid tells which: a reference to an owner that somebody else writes is not believed.
        """
        own = review.item.get("metadata")
        metadata: Mapping[str, Any] = own if isinstance(own, Mapping) else {}
        if review.resource.name == "pods" and is_controller(review.subject, "job-controller"):
            owners = metadata.get("ownerReferences")
            for owner in owners if isinstance(owners, list) else []:
                if isinstance(owner, Mapping) and owner.get("kind") == "Job" and owner.get("controller") is True:
                    session = f"job:{owner.get('uid')}"
                    held = self._keeper.used_by(session)
                    if held:
                        return held[0].asked.subject, tuple(grant.id for grant in held), session
        uid = metadata.get("uid")
        if review.resource == Resource("batch", "jobs") and isinstance(uid, str) and uid:
            return review.subject, (), f"job:{uid}"
        return review.subject, (), f"k8s:{review.uid}"

    # -- the ruling -----------------------------------------------------------------------------------------------------------

    async def _decide(self, review: Admission, requests: Sequence[Request]) -> bytes:
        asked = self._keeper.consider(requests, self._keeper.moment())
        return await self._settle(review, asked, f"k8s:{review.uid}", [])

    async def _settle(self, review: Admission, asked: Sequence[Asked], session: str, more: Sequence[Denial]) -> bytes:
        dry_run = _is_dry(review)
        if review.subject is not None and not dry_run:
            name = Key(key(review.subject), str(review.resource), review.namespace, review.name)
            reservation = self._reservations.take(name)
            session = reservation.session if reservation is not None else session
        refused = more or any(not one.decision.allowed for one in asked)
        if refused and self._is_exempt(review) and not _of_images(more):
            return await self._exempt(review, asked)
        ruling = await self._keeper.settle(asked, session, more, dry_run=dry_run)
        if ruling.allowed and ruling.grants and not dry_run and review.resource.name == "pods":
            self._place(review, ruling)
        return _answer(review, ruling)

    def _place(self, review: Admission, ruling: Ruling) -> None:
        """Remember a pod that runs by a grant, so that it can be ended with it."""
        metadata = review.item.get("metadata")
        if not isinstance(metadata, Mapping) or review.operation != "CREATE":
            return
        name, uid = review.name or metadata.get("name"), metadata.get("uid")
        if isinstance(name, str) and isinstance(uid, str):
            self.placed.append(Placed(review.namespace, name, uid, ruling.grants))

    def _is_exempt(self, review: Admission) -> bool:
        if any(review.namespace and part_covers(glob, review.namespace) for glob in self._settings.exempt_namespaces):
            return review.operation != "CONNECT"
        subject = review.subject
        if subject is None:
            return False
        if is_node(subject.id, subject.groups) and review.resource == Resource("", "pods"):
            metadata = review.item.get("metadata")
            notes = metadata.get("annotations") if isinstance(metadata, Mapping) else None
            return isinstance(notes, Mapping) and _MIRROR in notes  # a static pod, which runs already
        return subject.id in self._settings.exempt or any(f"group:{name}" in self._settings.exempt for name in subject.groups)

    async def _exempt(self, review: Admission, asked: Sequence[Asked]) -> bytes:
        """Let it through, and have it in the ledger: what is exempt is not unseen."""
        if not _is_dry(review):
            failure = await self._keeper.exempted([one.request for one in asked], review.what)
            if failure:
                return reviews.refused(review.uid, failure)
        return reviews.admitted(review.uid, notes={"ruling": "exempt"})


def _is_dry(review: Admission) -> bool:
    """Say whether nothing comes of it. A connection is made and a token is given whatever the option says."""
    return review.dry_run and review.operation != "CONNECT" and review.resource.sub != "token"


def _of_images(more: Sequence[Denial]) -> bool:
    """Say whether an image is why: that somebody is exempt from asking does not make an image good."""
    return any(one.rule == "image" for one in more)


def _answer(review: Admission, ruling: Ruling) -> bytes:
    notes = {"policy": ruling.policy, "needed": ", ".join(ruling.needed), "grants": ", ".join(ruling.grants)}
    notes = {name: value for name, value in notes.items() if value}
    if not ruling.allowed:
        rules = ", ".join(dict.fromkeys(one.rule for one in ruling.reasons))
        return reviews.refused(review.uid, refusal(ruling.as_decision()), notes=notes | {"ruling": "deny", "rules": rules})
    warnings = [f"pratique: would be denied: {one.text}" for one in ruling.reasons] if ruling.observed else []
    if _is_dry(review) and ruling.grants:
        warnings.append(f"pratique: this would use {', '.join(ruling.grants)}")
    return reviews.admitted(review.uid, warnings=warnings, notes=notes)
