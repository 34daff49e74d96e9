"""Requests, approvals and uses in, grants out: each change is judged, written in the ledger, and then kept, or none of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import msgspec

from pratique.grant.asking import request, request_hash
from pratique.grant.lifecycle import (
    Activate,
    Approve,
    Cancel,
    Complete,
    Deny,
    Event,
    Review,
    Revoke,
    Use,
    overdue,
    settle,
    transition,
    unreviewed,
)
from pratique.grant.policy import PrivilegePolicy, load
from pratique.grant.request import key
from pratique.grant.sealed import opened, sealed
from pratique.granting.alert import SECONDS, Alarm, AlertError, check, sound
from pratique.granting.clock import present
from pratique.granting.entries import alert, of_grant, of_use
from pratique.granting.folding import Folding, is_denial
from pratique.granting.rules import Rules, Standing
from pratique.model.errors import GrantError, LedgerError, StoreError
from pratique.model.privilege import Asked, Grant, Moment, Subject
from pratique.store.database import StoreFullError
from pratique.store.facts import LEDGER, Facts, KeptPolicy
from pratique.store.grants import SqliteGrants
from pratique.store.interface import Used, Wanted
from pratique.store.ledger import Ledger
from pratique.store.line import Entry, Who, stamp
from pratique.store.place import Place
from pratique.store.room import Room

CLOCK_SLACK = 2.0  # seconds that a clock may go back: what a time server corrects
# Seconds that an alert may take: a desk answers within some more, so that nobody is told "no" and holds it all the same.
LATEST = 2 * SECONDS
MAX_CODES = 50  # sealed codes made at once: each is an envelope in a safe
_NAMES: dict[type, str] = {
    Approve: "approve", Deny: "deny", Cancel: "cancel", Activate: "activate", Use: "use", Revoke: "revoke",
    Complete: "complete", Review: "review",
}  # fmt: skip
_ENDED_BY_TIME = {"lapsed": "lapse", "expired": "expire"}
# Events that give nobody anything, and are not waited for until they are on disk; what follows an alert is.
_GIVES_NOTHING = frozenset(("ended", "alert-sent"))
# What gives nobody anything is done even when the ledger cannot be written.
_TAKES = (Deny, Cancel, Revoke, Complete)


class Desk:
    """One store: its grants, its ledger, its policy. May be shared by threads."""

    def __init__(self, place: Place, *, clock: Callable[[], Moment] = present, node: str = "") -> None:
        self.place = place
        self.node = node or os.uname().nodename
        self._clock = clock
        self.store = SqliteGrants(place)
        self.ledger = Ledger(place)
        self.facts = Facts(self.store, self.ledger.keys)
        self.rules = Rules(self.facts)
        self._checked = False
        self._folding = Folding(self._append, Room(place))

    def close(self) -> None:
        """Write what was counted only, and let go of the store."""
        if counted := self._folding.end():
            with contextlib.suppress(StoreError):
                self._say(counted, must=False)
        self.store.close()
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> Moment:
        return self._clock()

    def standing(self) -> Standing:
        """Return the policy that holds now."""
        return self.rules.current(self._clock())

    # What people do

    def request(self, asked: Asked) -> Grant:
        """Keep a request. Raises GrantError for what may not be asked for, UsageError, StoreError."""
        now = self._steady()
        policy = self.rules.current(now).policy
        asked = msgspec.structs.replace(asked, nonce=secrets.token_hex(8))
        with self._telling("request", asked, asked.subject):
            grant = request(asked, policy, now, self._held(asked.subject))
        entries = [self._entry("request", grant)]
        if grant.state == "active":
            entries.append(self._entry("activate", grant))
        self.store.create(grant, lambda: self._say(entries))
        return grant

    def approve(self, name: str, by: Subject, reason: str = "", *, request_seen: str = "") -> Grant:
        """Agree to a request, as it was seen (its hash) or as it is."""
        grant = self.store.get(name).grant
        self._steady()
        return self.act(grant.id, Approve(by, request_seen or grant.request, reason))

    def act(self, name: str, event: Event) -> Grant:
        """Have something happen to a grant. Raises GrantError where it may not; that is recorded, too."""
        now = self._clock()
        policy = self.rules.current(now).policy
        by = getattr(event, "by", None)

        def step(grant: Grant) -> Grant:
            if request_hash(grant.asked) != grant.request:
                raise GrantError(f"{grant.id} is not what was asked for: it was changed in the store")
            if isinstance(event, Approve):
                self._refuse_frozen(grant, policy, now)
            after = transition(grant, event, policy, now)
            entries = [self._entry(_NAMES[type(event)], after, by=by, reason=getattr(event, "reason", ""))]
            if after.state == "active" and grant.state != "active" and not isinstance(event, Activate):
                entries.append(self._entry("activate", after))
            self._say(entries, must=not isinstance(event, _TAKES))
            return after

        with self._telling(_NAMES[type(event)], name, by):
            try:
                return self.store.change(name, step).grant
            except StoreFullError:
                if not isinstance(event, _TAKES) or not self.store.let_go_reserve():
                    raise
                return self.store.change(name, step).grant

    def _refuse_frozen(self, grant: Grant, policy: PrivilegePolicy, now: Moment) -> None:
        frozen = unreviewed(self.store.broken(grant.asked.subject.id), policy, now)
        if frozen:
            raise GrantError(
                f"{grant.asked.subject.id} broke the glass ({frozen[0].id}) and nobody reviewed it in time",
                hint=f"pratique break-glass review {frozen[0].id} --reason TEXT",
            )

    def break_glass(self, asked: Asked, code: str = "") -> Grant:
        """Give what is asked for at once, by a second factor or a sealed code, after the alert has gone out.

        Raises GrantError where it may not be, AlertError where the alert does not go out: nothing is given then.
        """
        now = self._steady()
        policy = self.rules.current(now).policy
        asked = msgspec.structs.replace(asked, break_glass=True, nonce=secrets.token_hex(8))
        with self._telling("break-glass", asked, asked.subject):
            hashed = opened(code, self.facts.unused_codes()) if code else None
            if code and hashed is None:
                raise GrantError("this code opens nothing", hint="each opens once; pratique break-glass seal makes new ones")
            grant = request(asked, policy, now, self._held(asked.subject), code=hashed is not None)
        self.alarm(alert(grant, policy, self.node), self._entry("break-glass", grant))
        grant = transition(grant, Activate(), policy, self._clock())

        def before() -> None:
            if hashed is not None and not self.facts.spend(hashed, key(asked.subject), now.wall):
                raise GrantError("this code was used a moment ago")
            self._say(
                [self._entry("break-glass", grant, detail={"code": hashed} if hashed else {}), self._entry("activate", grant)]
            )

        with self._telling("break-glass", asked, asked.subject):
            return self.store.create(grant, before).grant

    def alarm(self, message: dict[str, Any], entry: Entry) -> None:
        """Send an alert where alerts go. Raises AlertError where it does not go out; what came of it is recorded."""
        begun = time.monotonic()
        try:
            sound(self.alerts(), message)
            _refuse_late(begun)
        except AlertError as error:
            failed = msgspec.structs.replace(entry, event="alert-failed", reason=error.message)
            with contextlib.suppress(LedgerError):
                self.ledger.append(failed)
            raise
        self._append(msgspec.structs.replace(entry, event="alert-sent"))

    def alerts(self) -> Alarm:
        """Return where alerts go; the system's log where nobody said."""
        said = self.facts.get("alarm")
        return msgspec.json.decode(said, type=Alarm) if said else Alarm("syslog")

    def send_alerts_to(self, alarm: Alarm, by: Subject) -> None:
        """Have alerts go elsewhere, after one has arrived there."""
        check(alarm)
        sound(alarm, {"event": "alert-test", "by": key(by), "node": self.node})
        where = "webhook" if alarm.kind == "webhook" else " ".join((alarm.kind, *alarm.to))
        with self.store.writing():
            self._say([Entry(event="alert", by=Who.of(by), node=self.node, detail={"to": where})])
            self.facts.put("alarm", msgspec.json.encode(alarm).decode())

    def seal_codes(self, count: int, by: Subject) -> list[str]:
        """Return new codes for envelopes; only their hashes are kept."""
        made = [sealed(secrets.token_bytes(16)) for _ in range(min(count, MAX_CODES))]
        with self.store.writing():
            self._say([Entry(event="seal-codes", by=Who.of(by), node=self.node, detail={"count": str(len(made))})])
            self.facts.seal([hashed for _, hashed in made], key(by), self._clock().wall)
        return [code for code, _ in made]

    def set_policy(self, name: str, body: bytes, by: Subject) -> KeptPolicy:
        """Have a policy hold from now on. Raises PolicyError for one that is wrong."""
        digest = load(name, body).digest
        with self.store.writing():
            self._say([Entry(event="policy", by=Who.of(by), node=self.node, policy=digest)])
            return self.facts.set_policy(body, key(by), self._clock().wall)

    def sweep(self, grants: Sequence[Grant] | None = None) -> list[Grant]:
        """End what time has ended, of these or of all; return what was ended. What the ledger missed is written now."""
        now = self._clock()
        if grants is None:
            grants = [kept.grant for kept in self.store.find(Wanted(states=("requested", "approved", "active")))]
        late = [grant.id for grant in grants if settle(grant, now) is not grant]
        ended = [self.store.change(name, lambda grant: self._settled(grant, now)).grant for name in late]
        if self.facts.unsaid():
            self._say([], must=False)
        return ended

    def as_of_now(self, grant: Grant) -> Grant:
        """Return a grant as time has made it, whether or not that could be kept yet."""
        return settle(grant, self._clock())

    def _settled(self, grant: Grant, now: Moment) -> Grant:
        after = settle(grant, now)
        if after is not grant:
            self._say([self._entry(_ENDED_BY_TIME[after.state], after, reason=after.why)], must=False)
        return after

    # What gates do

    def use(self, name: str, session: str, seen: Entry) -> Used:
        """Consume one use of a grant for a session, on disk and in the ledger when this returns.

        `seen` says what the gate saw (point, needed, effective, session...); subject, task, grant and state are filled in. A
        session that has used it may go on while the grant's time lasts. Raises GrantError: then nothing may be allowed.
        """
        now = self._clock()
        policy = self.rules.current(now).policy

        def step(grant: Grant) -> Grant:
            if request_hash(grant.asked) != grant.request:
                raise GrantError(f"{grant.id} is not what was asked for: it was changed in the store")
            if not grant.asked.break_glass:
                self._refuse_frozen(grant, policy, now)
            after = transition(grant, Use(), policy, now)
            entries = [of_use(seen, "use", after, session, self.node)]
            if grant.state == "approved":
                entries.insert(0, self._entry("activate", after))
            if after.state == "exhausted":
                entries.append(self._entry("exhaust", after))
            self._say(entries)
            return after

        used = self.store.use(name, session, step)
        if used.again:
            grant = used.grant
            why = overdue(grant, now) if grant.state in ("active", "exhausted") else f"it is {grant.state}"
            if why:
                raise GrantError(f"{grant.id} no longer holds: {why}")
            self._say([of_use(seen, "use-again", grant, session, self.node)])
        return used

    def record(self, entry: Entry) -> None:
        """Write what a gate decided; it is on disk when this returns. Raises LedgerError: then nothing may be allowed.

        What gives nobody anything (a denial that is not only observed, the end of what ran) is written, and on disk soon after.
        A denial that is like many before it is counted only, see `folding`.
        """
        entry = entry if entry.node else msgspec.structs.replace(entry, node=self.node)
        if not is_denial(entry):
            self._append(entry)
            return
        for one in self._folding.take(entry):
            if one.count:
                self._say([one], must=False)
                continue
            try:
                self._append(one)
            except LedgerError:
                self._folding.missed(one)
                raise

    def _append(self, entry: Entry) -> None:
        self._check_ledger()
        self.ledger.append(entry, sync=not (is_denial(entry) or entry.event in _GIVES_NOTHING))

    # Entries

    def _entry(self, event: str, grant: Grant, **more: Any) -> Entry:
        return of_grant(event, grant, self.node, **more)

    def _say(self, entries: Sequence[Entry], *, must: bool = True) -> None:
        """Write entries in the ledger, after those that it did not take before; what need not be there now is kept for later."""
        said = 0
        try:
            self._check_ledger()
            for number, entry in self.facts.unsaid():
                self.ledger.append(entry)
                self.facts.said(number)
            for entry in entries:
                self.ledger.append(entry, sync=not is_denial(entry))
                said += 1
        except LedgerError:
            if must:
                raise
            for entry in entries[said:]:
                self.facts.leave_unsaid(entry)

    def _check_ledger(self) -> None:
        """Compare the ledger's name with that which this store knows: a ledger that was exchanged whole is noticed."""
        if self._checked:
            return
        name, known = self.ledger.head().ledger, self.facts.get(LEDGER)
        if not known:
            self.facts.put(LEDGER, name)
        elif known != name:
            raise LedgerError(f"{self.place.ledger}: this is not the ledger of this store's grants", hint="pratique audit verify")
        self._checked = True

    @contextlib.contextmanager
    def _telling(self, what: str, about: str | Asked, by: Subject | None) -> Iterator[None]:
        """Record what is refused, as far as the ledger can be written."""
        try:
            yield
        except GrantError as error:
            entry = Entry(
                event="refused",
                by=Who.of(by) if by is not None else None,
                decision="deny",
                grant="" if isinstance(about, Asked) else about,
                needed=about.privileges if isinstance(about, Asked) else (),
                task=about.task.id if isinstance(about, Asked) else "",
                reason=error.message,
                node=self.node,
                detail={"what": what},
            )
            with contextlib.suppress(StoreError):
                self._check_ledger()
                self.ledger.append(entry)
            raise

    def _held(self, subject: Subject) -> list[Grant]:
        """Return the grants of a person, whatever they are known by."""
        return [kept.grant for kept in self.store.find(Wanted(subject=subject.id))]

    def _steady(self) -> Moment:
        """Return now. Raises GrantError at the first look after the clock went back: nothing begins then, and it is recorded."""
        now = self._clock()
        last = float(self.facts.get("clock") or 0.0)
        if now.wall > last:
            self.facts.put("clock", repr(now.wall))
        elif now.wall < last - CLOCK_SLACK:
            self.facts.put("clock", repr(now.wall))
            self._say([Entry(event="clock", node=self.node, detail={"was": stamp(last)})])
            raise GrantError(
                f"the clock went back by {last - now.wall:.0f} s: nothing begins now", hint="see to the clock, then ask again"
            )
        return now


def _refuse_late(begun: float) -> None:
    """Raise AlertError where an alert took until whoever waits for it has given up."""
    if time.monotonic() - begun > LATEST:
        raise AlertError("the alert went out so late that whoever asked has given up: nothing was given")
