"""A question in, a ruling that is on record out: what every gate has in common.

The policy and the live grants come from the store, the decision from `pratique.grant`, and what is allowed beyond the baseline is
on disk before the answer leaves. Whatever fails on the way is a denial.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

import msgspec

from pratique.grant.decide import decide
from pratique.grant.index import GrantIndex
from pratique.grant.policy import PrivilegePolicy
from pratique.grant.request import Request
from pratique.granting.clock import present
from pratique.granting.desk import Desk
from pratique.granting.publishing import Publisher
from pratique.model.errors import PratiqueError
from pratique.model.privilege import LIVE_STATES, Decision, Denial, Grant, Moment, Point, State, Subject
from pratique.store.line import Entry, Who
from pratique.store.place import Place
from pratique.store.watch import Live, Snapshot

# Threads that write to disk for decisions; the ledger gathers what they write at once into one flush.
_WRITERS = 8
# Seconds that a thread which computes may keep the loop waiting; the interpreter's own 5 ms are as long as a decision may take.
_SWITCH = 0.0005
# A grant whose uses are spent still lives for the session that spent them.
_STATES: frozenset[State] = LIVE_STATES | {"exhausted"}


class Session(NamedTuple):
    """A ruling, the key under which its grants were used, and when."""

    decision: Decision
    key: str
    at: float


class Keeper:
    """One gate's connection to the store."""

    def __init__(self, place: Place, *, node: str = "", observe: bool = False) -> None:
        """`observe` lets through what would be denied, and records it."""
        sys.setswitchinterval(_SWITCH)
        self.desk = Desk(place, node=node)
        self.observe = observe
        self._live = Live(place, _STATES)
        self._index: tuple[int, GrantIndex] | None = None
        self._threads = ThreadPoolExecutor(_WRITERS, "keeper")
        self._publisher = Publisher(self.desk)

    def moment(self) -> Moment:
        """Return now."""
        return present()

    async def rule(
        self, request: Request, session: str, *, held: Sequence[str] = (), effective: str = "", note: str = ""
    ) -> Session:
        """Decide, use the grants, write it down, with what the gate noted. `held` are grants that this session used before.

        Never raises: what fails is a denial that says why.
        """
        import asyncio

        now = present()
        try:
            decision = self.decide(request, now, held)
        except PratiqueError as error:
            decision = denial("store", "", str(error))
        if decision.ruling == "allow":
            return Session(decision, session, now.wall)
        loop = asyncio.get_running_loop()
        decision = await loop.run_in_executor(self._threads, self._settle, request, decision, session, effective, note)
        return Session(decision, session, now.wall)

    def decide(self, request: Request, now: Moment, held: Sequence[str] = ()) -> Decision:
        """Decide by the policy and the grants as they are now. Raises StoreError."""
        policy = self.policy(now)
        snapshot = self.live()
        if held:
            own = [_revived(snapshot.grants[name]) for name in held if name in snapshot.grants]
            decision = decide(request, policy, GrantIndex(own), now)
            if decision.allowed:
                return decision
        return decide(request, policy, self._grants(snapshot), now)

    def policy(self, now: Moment) -> PrivilegePolicy:
        """Return the policy that holds."""
        return self.desk.rules.current(now).policy

    def live(self) -> Snapshot:
        """Return the grants that live, and those whose uses are spent. Raises StoreError when they are dead."""
        return self._live.current()

    def _grants(self, snapshot: Snapshot) -> GrantIndex:
        """Return the index of the live grants; each use is a change, so that only what changed is put anew."""
        if self._index is not None and self._index[0] == snapshot.generation:
            return self._index[1]
        if self._index is not None and snapshot.changed is not None and self._index[0] + 1 == snapshot.generation:
            index = self._index[1]
            for name in snapshot.changed:
                grant = snapshot.grants.get(name)
                if grant is not None and grant.state in LIVE_STATES:
                    index.put(grant)
                else:
                    index.discard(name)
        else:
            index = GrantIndex(grant for grant in snapshot.grants.values() if grant.state in LIVE_STATES)
        self._index = (snapshot.generation, index)
        return index

    def _settle(self, request: Request, decision: Decision, session: str, effective: str, note: str) -> Decision:
        """Use the grants, or record the denial; the ledger has it before this returns."""
        entry = self._entry(request, decision, session, effective)
        if note:
            entry = msgspec.structs.replace(entry, reason=f"{note}; {entry.reason}"[:1000])
        try:
            if decision.ruling == "deny":
                self.desk.record(entry)
            for name in decision.grants:
                self.desk.use(name, session, entry)
        except PratiqueError as error:
            return denial("ledger", "", str(error), decision.needed)
        if decision.ruling == "deny" and self.observe:
            return msgspec.structs.replace(decision, ruling="allow")
        return decision

    def _entry(self, request: Request, decision: Decision, session: str, effective: str) -> Entry:
        target = request.target
        said = {
            "action": request.action, "reference": target.reference, "digest": target.digest, "container": target.container,
            "namespace": target.namespace, "cluster": target.cluster, "name": target.name,
            "observed": "true" if self.observe and decision.ruling == "deny" else "",
        }  # fmt: skip
        if request.argv:
            with contextlib.suppress(PratiqueError):
                said["argv"] = self.desk.ledger.hashed(request.argv)
        return Entry(
            event="decision",
            subject=Who.of(request.subject) if request.subject else None,
            decision=decision.ruling,
            needed=decision.needed,
            effective=effective,
            policy=decision.policy,
            point=request.point,
            session=session,
            rule=decision.reasons[0].rule if decision.reasons else "",
            reason="; ".join(reason.text for reason in decision.reasons)[:1000],
            detail={name: value for name, value in said.items() if value},
        )

    async def refuse(self, point: Point, subject: Subject | None, what: str, why: str) -> str:
        """Do as `refused`, while others are served: the disk takes its time."""
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(self._threads, self.refused, point, subject, what, why)

    async def failed(self, point: Point, subject: Subject | None, what: str, why: str) -> None:
        """Record what was denied because no decision came, whether or not denials are only observed."""
        import asyncio

        words = (point, subject, what, why)
        await asyncio.get_running_loop().run_in_executor(None, lambda: self.refused(*words, observe=False))

    def refused(self, point: Point, subject: Subject | None, what: str, why: str, *, observe: bool | None = None) -> str:
        """Record what was denied before it could be decided; return the sentence for who asked ("" where it is only observed)."""
        observe = self.observe if observe is None else observe
        who = Who.of(subject) if subject else None
        detail = {"request": what, **({"observed": "true"} if observe else {})}
        entry = Entry(
            event="decision", subject=who, decision="deny", point=point, rule="unreadable", reason=why[:1000], detail=detail
        )
        try:
            self.desk.record(entry)
        except PratiqueError as error:
            return f"pratique: denied: {why}; {error}"
        return "" if observe else f"pratique: denied: {why}"

    def close(self) -> None:
        """Let go of the store."""
        self._publisher.stop()
        self._threads.shutdown()
        self._live.close()
        self.desk.close()


def _revived(grant: Grant) -> Grant:
    """Take a grant as it was before this session spent its uses; whether it did, the store says when it is used again."""
    return msgspec.structs.replace(grant, state="active", used=0) if grant.state == "exhausted" else grant


def refusal(decision: Decision, note: str = "") -> str:
    """Return a denial as a person reads it: what the gate noted, and each reason with the command that asks for the privilege."""
    lines = [
        "; ".join(reason.text for reason in alike) + (f" (request it: {request})" if request else "")
        for request, alike in groupby(decision.reasons, key=lambda reason: reason.request)
    ]
    return "pratique: denied: " + "; ".join([*([note] if note else []), *lines] or ["no reason is known"])


def denial(rule: str, path: str, text: str, needed: tuple[str, ...] = ()) -> Decision:
    """Return a denial with one reason."""
    return Decision(ruling="deny", needed=needed, reasons=(Denial(rule=rule, path=path, text=text),))
