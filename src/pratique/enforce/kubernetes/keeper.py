"""Several questions about one review in, one ruling that is on record out: all of it is allowed, or nothing is used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from pratique.enforce.keeper import Keeper, denial
from pratique.enforce.kubernetes.wording import for_people
from pratique.grant import privileges
from pratique.grant.asking import request_hash
from pratique.grant.decide import decide
from pratique.grant.index import GrantIndex
from pratique.grant.privileges import Privilege
from pratique.grant.request import Request, key
from pratique.model.errors import PratiqueError
from pratique.model.privilege import LIVE_STATES, Decision, Denial, Grant, Moment, Point, Subject

# Grants that are asked whether a workload used them; whoever holds more at once is not helped by this gate.
MAX_ASKED = 200


class Ruling(NamedTuple):
    """What comes of one review: whether it may go on, why not, the grants that were used and the privileges it needed."""

    allowed: bool
    reasons: tuple[Denial, ...] = ()
    grants: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    policy: str = ""
    observed: bool = False

    def as_decision(self) -> Decision:
        """Return it as one decision, for what speaks of decisions."""
        ruling: Literal["allow", "deny"] = "allow" if self.allowed else "deny"
        return Decision(ruling=ruling, needed=self.needed, grants=self.grants, reasons=self.reasons, policy=self.policy)


class Asked(NamedTuple):
    """A question and what was decided about it."""

    request: Request
    decision: Decision


class Decider(Protocol):
    """Decides and records; what is behind it holds the store, or asks one who does."""

    def moment(self) -> Moment: ...

    def consider(self, requests: Iterable[Request], now: Moment, held: Sequence[str] = ()) -> list[Asked]: ...

    async def settle(
        self, asked: Sequence[Asked], session: str, more: Sequence[Denial] = (), *, dry_run: bool = False
    ) -> Ruling: ...

    async def exempted(self, requests: Sequence[Request], what: str) -> str: ...

    def used_by(self, session: str) -> list[Grant]: ...

    def held(self, names: Sequence[str]) -> tuple[Privilege, ...]: ...

    def refused(self, point: Point, subject: Subject | None, what: str, why: str) -> str: ...


class ClusterKeeper(Keeper):
    """One gate's connection to the store. With `orders` denials say how to ask through the API server."""

    orders = False
    _by_subject: tuple[int, dict[str, list[Grant]]] | None = None

    def consider(self, requests: Iterable[Request], now: Moment, held: Sequence[str] = ()) -> list[Asked]:
        """Decide each; nothing is used or recorded yet. What cannot be decided is denied."""
        return [Asked(request, self._one(request, now, held)) for request in requests]

    def _one(self, request: Request, now: Moment, held: Sequence[str]) -> Decision:
        try:
            return self._said(self.decide(request, now, held))
        except PratiqueError as error:
            return denial("store", "", str(error))

    def possible(self, ways: Iterable[Request], subject: Subject, now: Moment) -> Asked:
        """Return the first way that is allowed, or the last that is not. Raises StoreError.

        The command of an exec is not known yet, so that grants are taken as if they named none: its admission review decides.
        """
        grants = GrantIndex(_any_command(grant) for grant in self._of(subject))
        policy = self.policy(now)
        found: Asked | None = None
        for request in ways:
            decision = self._said(decide(request, policy, grants, now))
            found = Asked(request, decision)
            if decision.ruling == "allow_with_grant":
                break
        assert found is not None  # there is always a way to ask for
        return found

    def _of(self, subject: Subject) -> list[Grant]:
        """Return the live grants of somebody. Raises StoreError."""
        snapshot = self.live()
        if self._by_subject is None or self._by_subject[0] != snapshot.generation:
            found: dict[str, list[Grant]] = {}
            for grant in snapshot.grants.values():
                if grant.state in LIVE_STATES:
                    found.setdefault(key(grant.asked.subject), []).append(grant)
            self._by_subject = (snapshot.generation, found)
        return self._by_subject[1].get(key(subject), [])

    def _said(self, decision: Decision) -> Decision:
        return for_people(decision) if self.orders else decision

    async def settle(self, asked: Sequence[Asked], session: str, more: Sequence[Denial] = (), *, dry_run: bool = False) -> Ruling:
        """Use the grants of what was allowed, or record what was denied; the ledger has it before this returns.

        `more` are denials for other reasons. With `dry_run` nothing is used or recorded: whoever asks may see what would be.
        """
        import asyncio

        reasons = tuple(reason for one in asked if not one.decision.allowed for reason in one.decision.reasons) + tuple(more)
        ruling = Ruling(
            allowed=not reasons and all(one.decision.allowed for one in asked),
            reasons=reasons,
            grants=tuple(dict.fromkeys(name for one in asked for name in one.decision.grants)),
            needed=tuple(dict.fromkeys(name for one in asked for name in one.decision.needed)),
            policy=next((one.decision.policy for one in asked), ""),
        )
        if ruling.allowed and not ruling.grants:
            return ruling
        if not dry_run:
            loop = asyncio.get_running_loop()
            failure = await loop.run_in_executor(self._threads, self._write, asked, more, ruling, session)
            if failure is not None:
                return ruling._replace(allowed=False, reasons=failure.reasons)
        if not ruling.allowed and self.observe:
            return ruling._replace(allowed=True, observed=True)
        return ruling

    def _write(self, asked: Sequence[Asked], more: Sequence[Denial], ruling: Ruling, session: str) -> Decision | None:
        try:
            for request, decision in asked:
                judged = decision
                if decision.allowed and not ruling.allowed:
                    if not more or request is not asked[0].request:
                        continue  # another of its containers is why: that one is recorded
                    judged = msgspec.structs.replace(decision, ruling="deny", reasons=tuple(more), grants=())
                entry = self._entry(request, judged, session, "")
                if judged.ruling == "deny":
                    self.desk.record(entry)
                elif ruling.allowed:
                    for name in decision.grants:
                        self.desk.use(name, session, entry)
        except PratiqueError as error:
            return denial("ledger", "", str(error))
        return None

    async def exempted(self, requests: Sequence[Request], what: str) -> str:
        """Record what somebody who is exempt does beyond the baseline; return why it may not be, "" where it is on record."""
        import asyncio

        def write() -> str:
            try:
                for request in requests:
                    decision = Decision(ruling="allow", reasons=(Denial(rule="exempt", path="", text=what),))
                    self.desk.record(self._entry(request, decision, "", ""))
            except PratiqueError as error:
                return f"pratique: denied: {error}"
            return ""

        return await asyncio.get_running_loop().run_in_executor(self._threads, write)

    def used_by(self, session: str) -> list[Grant]:
        """Return the grants that live, or are spent, which a session used before; none where nobody can tell."""
        try:
            grants = list(self.live().grants.values())[:MAX_ASKED]
            return [grant for grant in grants if self.desk.store.used_in(grant.id, session)]
        except PratiqueError:
            return []

    def held(self, names: Sequence[str]) -> tuple[Privilege, ...]:
        """Return the privileges of these grants; none where nobody can tell."""
        try:
            grants = self.live().grants
        except PratiqueError:
            return ()
        return privileges.parse_all(text for name in names if name in grants for text in grants[name].asked.privileges)


def _any_command(grant: Grant) -> Grant:
    """Return a grant as if its scope named no command: for a look ahead, never for a use."""
    if not grant.asked.scope.argv:
        return grant
    asked = msgspec.structs.replace(grant.asked, scope=msgspec.structs.replace(grant.asked.scope, argv=()))
    hashed = request_hash(asked)
    if grant.request != request_hash(grant.asked):
        return grant  # it is not what was approved, and stays so
    approvals = tuple(
        msgspec.structs.replace(one, request=hashed) if one.request == grant.request else one for one in grant.approvals
    )
    return msgspec.structs.replace(grant, asked=asked, request=hashed, approvals=approvals)
