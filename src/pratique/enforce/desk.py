"""Users of a machine in, the store of its gates behind: ask, see, approve, deny, revoke, break the glass, over a unix socket.

    desk = DeskSocket(Desk(place)); await desk.listen(path); ...; desk.close()        # in the process of a gate

The socket is open to every user of the machine. Who asks is what the kernel says (SO_PEERCRED), strength 1; a signature by a key
that is registered with the store makes an approver strength 2 (see `granting.approvers`). Nobody sees more than their own
grants, and those that they may approve or end. One user cannot keep others from being served: connections, requests and what
waits for approval are bounded for each of them. Whoever breaks a glass waits for the alert, in a thread of their own: an address
that takes alerts and does not answer keeps nobody else from approving or ending anything.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - only gates import this module
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from pratique.enforce.docker.identity import is_nobody, unix_subject
from pratique.enforce.serving import Answer, Asked, HttpServer
from pratique.grant import approval
from pratique.grant.asking import request_hash
from pratique.grant.lifecycle import Approve, Cancel, Complete, Deny, Event, Review, Revoke
from pratique.grant.request import key, target_of
from pratique.granting.approvers import Act, Approvers
from pratique.granting.desk import Desk
from pratique.granting.wire import MAX_LIST, MAX_MESSAGE, SOCKET, STATUS, Acted, Broken, Held, Kind, Problem
from pratique.model.errors import GrantError, PolicyError, PratiqueError, StoreError, UsageError
from pratique.model.privilege import Asked as AskedFor
from pratique.model.privilege import Grant, State, Subject
from pratique.store.grants import NoSuchGrantError
from pratique.store.interface import Wanted

# Seconds that an answer may take: an alert goes out before a glass is broken, and its program may be slow.
DEADLINE = 25.0
# What one user may ask: so many at once, and so many a second from then on. Looking is cheap; what is written costs a sync of
# the disk and lines in the ledger, which are never deleted.
LOOKS, LOOKS_A_SECOND = 60.0, 20.0
WRITES, WRITES_A_SECOND = 20.0, 0.5
# Requests of one person that wait for approval: more than anybody reads through.
MAX_PENDING = 20
# Connections of one user at once.
MAX_CONNECTIONS = 16
_THREADS = 4
# Glasses that are broken at once, each of which waits for its alert to go out, one for each user: root's place is kept.
MAX_ALERTS = 8
_USERS = 10_000
_ACTS: dict[str, Callable[[Subject, Acted], Event]] = {
    "approve": lambda by, said: Approve(by, said.request, said.reason),
    "deny": lambda by, said: Deny(by, said.reason),
    "revoke": lambda by, said: Revoke(by, said.reason),
    "cancel": lambda by, _: Cancel(by),
    "complete": lambda by, _: Complete(by),
    "review": lambda by, said: Review(by, said.reason),
}
_STATES: tuple[State, ...] = State.__args__  # type: ignore[attr-defined]
# States in which others may still do something about a grant.
_OPEN: tuple[State, ...] = ("requested", "approved", "active")
_PENDING: tuple[State, ...] = ("requested",)
T = TypeVar("T")


class _Bucket:
    """So many at once, so many a second: what is left for one user."""

    def __init__(self, most: float, rate: float) -> None:
        self._most, self._rate = most, rate
        self._left, self._at = most, time.monotonic()

    def take(self) -> bool:
        """Take one; say whether there was any."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _User:
    def __init__(self) -> None:
        self.looks = _Bucket(LOOKS, LOOKS_A_SECOND)
        self.writes = _Bucket(WRITES, WRITES_A_SECOND)


class BusyError(StoreError):
    """One user asked too much."""


class DeskSocket:
    """Serves one desk, which may be shared with a gate's own."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._approvers = Approvers(desk)
        self._threads = ThreadPoolExecutor(_THREADS, "desk")
        self._alerting = ThreadPoolExecutor(MAX_ALERTS, "alert")
        self._alerts: set[int] = set()
        self._users: OrderedDict[int, _User] = OrderedDict()
        self._server = HttpServer(self.handle, _failed, seconds=DEADLINE, max_body=MAX_MESSAGE, max_of_one=MAX_CONNECTIONS)

    async def listen(self, path: Path = Path(SOCKET)) -> None:
        """Listen on a socket that every user of the machine may use, replacing what a killed process left. Raises OSError."""
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        await self._server.listen_unix(path, 0o666)

    def close(self) -> None:
        """Take no more connections; end when what is being written is."""
        self._server.close()
        self._threads.shutdown()
        self._alerting.shutdown()

    async def handle(self, asked: Asked) -> Answer:
        """Answer one request."""
        if is_nobody(asked.peer.uid):
            return _problem("grant", "nobody can tell who asks")
        user = self._user(asked.peer.uid)
        write = asked.method == "POST"
        if asked.peer.uid != 0 and not (user.writes if write else user.looks).take():
            return _problem("busy", "too many requests: wait a little")
        if write and _path(asked) == ["v1", "break-glass"]:
            return await self._alerted(asked)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, asked)

    async def _alerted(self, asked: Asked) -> Answer:
        """Answer who breaks a glass, which waits for the alert to go out."""
        uid = asked.peer.uid
        if uid in self._alerts:
            return _problem("busy", "an alert of yours is going out: wait for it")
        if len(self._alerts) >= MAX_ALERTS - (uid != 0):
            return _problem("busy", "too many alerts are going out: wait a little")
        self._alerts.add(uid)
        work = asyncio.get_running_loop().run_in_executor(self._alerting, self._answer, asked)
        work.add_done_callback(lambda _: self._alerts.discard(uid))  # not before: who stops waiting does not stop the alert
        return await asyncio.shield(work)

    def _user(self, uid: int) -> _User:
        user = self._users.pop(uid, None) or _User()
        self._users[uid] = user
        while len(self._users) > _USERS:
            self._users.popitem(last=False)
        return user

    def _answer(self, asked: Asked) -> Answer:
        try:
            subject = unix_subject(asked.peer.uid, asked.peer.gid)
            return Answer(200, msgspec.json.encode(self._served(asked, subject)))
        except GrantError as error:
            return _problem("grant", error.message, error.hint)
        except PolicyError as error:
            return _problem("policy", error.message, error.hint)
        except UsageError as error:
            return _problem("usage", error.message, error.hint)
        except BusyError as error:
            return _problem("busy", error.message, error.hint)
        except PratiqueError as error:
            return _problem("store", error.message, error.hint)

    def _served(self, asked: Asked, subject: Subject) -> Any:
        query = asked.target.partition("?")[2]
        match asked.method, _path(asked):
            case "GET", ["v1", "standing"]:
                return self._standing()
            case "GET", ["v1", "grants"]:
                return self._list(subject, query)
            case "GET", ["v1", "grants", name]:
                return self._desk.as_of_now(self._seen(subject, name))
            case "POST", ["v1", "grants"]:
                return self._request(subject, _read(asked.body, AskedFor))
            case "POST", ["v1", "grants", name, act] if act in _ACTS:
                return self._act(subject, name, act, _read(asked.body, Acted))  # type: ignore[arg-type]  # it is one of them
            case "POST", ["v1", "break-glass"]:
                return self._break(subject, _read(asked.body, Broken))
        raise UsageError(f"{asked.method[:10]!a} {asked.target[:100]!a} is nothing that this desk does")

    # -- looking ---------------------------------------------------------------------------------------------------------------

    def _standing(self) -> Held:
        standing = self._desk.standing()
        kept = self._desk.facts.former_policy() if standing.state in ("set", "last-good") else None
        if kept is None:
            return Held(state=standing.state, why=standing.why)
        return Held(
            state=standing.state, why=standing.why, version=kept.version, set_at=kept.set_at, set_by=kept.set_by,
            body=kept.body.decode("utf-8", "replace"),
        )  # fmt: skip

    def _list(self, subject: Subject, query: str) -> list[Grant]:
        """List one's own grants, and of others' those that one may still do something about: history is the owner's to read."""
        said = parse_qsl(query, max_num_fields=len(_STATES) + 2)
        states: tuple[State, ...] = tuple(state for state in _STATES if ("state", str(state)) in said)
        until = next((value for name, value in said if name == "until"), "")
        try:
            expiring = float(until) if until else None
        except ValueError:
            raise UsageError("until is a time in seconds") from None
        found = {kept.grant.id: kept.grant for kept in self._desk.store.find(Wanted(states, None, subject.id, expiring))}
        others = tuple(state for state in states or _OPEN if state in _OPEN)
        if others and ("mine", "1") not in said:
            found |= {kept.grant.id: kept.grant for kept in self._desk.store.find(Wanted(others, None, None, expiring))}
            if not states and self._may_review(subject):  # what waits for a review has ended long ago
                found |= {grant.id: grant for grant in self._desk.store.broken() if grant.activated_at and not grant.approvals}
        seen = [self._desk.as_of_now(grant) for grant in found.values() if self._may_see(subject, grant)]
        return sorted(seen, key=lambda grant: (-grant.requested_at, grant.id))[:MAX_LIST]

    def _seen(self, subject: Subject, name: str) -> Grant:
        """Return a grant that somebody may see; what they may not see is not there. Raises StoreError."""
        try:
            grant = self._desk.store.get(name).grant
        except NoSuchGrantError:
            grant = None
        if grant is None or not self._may_see(subject, grant):
            raise NoSuchGrantError(f"{name[:40]}: there is no such grant of yours", hint="pratique grant list")
        return grant

    def _may_review(self, subject: Subject) -> bool:
        """Say whether somebody is among those who break glasses, and so look at each other's: to look for them takes a while."""
        terms = [part.break_glass for part in self._desk.standing().policy.parts]
        return subject.id == "root" or any(one is not None and set(one.groups) & set(subject.groups) for one in terms)

    def _may_see(self, subject: Subject, grant: Grant) -> bool:
        """Say whether a grant is one's own, one's robot's, or one that one may approve or end."""
        asked = grant.asked
        if approval.is_party(subject, asked.subject) or subject.id == "root":
            return True
        if any(approval.is_same_person(one.by, subject) for one in grant.approvals):
            return True
        policy = self._desk.standing().policy
        if asked.break_glass:  # whoever may break it knows what to look for when it was broken
            glass = policy.break_glass(asked.subject, target_of(asked))
            return glass is not None and not set(glass.groups).isdisjoint(subject.groups)
        entitlement = policy.entitlement(asked.entitlement, asked.subject, target_of(asked))
        terms = entitlement.written.approvals if entitlement is not None else None
        return terms is not None and terms.count > 0 and approval.is_named(subject, terms.whom)

    # -- doing -----------------------------------------------------------------------------------------------------------------

    def _request(self, subject: Subject, asked: AskedFor) -> Grant:
        pending = Wanted(states=_PENDING, provider=subject.provider, subject=subject.id)
        waiting = self._desk.store.find(pending)
        if len(waiting) >= MAX_PENDING and self._desk.sweep([kept.grant for kept in waiting]):
            waiting = self._desk.store.find(pending)
        if len(waiting) >= MAX_PENDING:
            raise BusyError(f"{len(waiting)} requests of {key(subject)} wait for approval", hint="pratique grant cancel ID")
        return self._desk.request(msgspec.structs.replace(asked, subject=subject))

    def _break(self, subject: Subject, broken: Broken) -> Grant:
        if broken.signed is not None:
            if (broken.signed.act, broken.signed.request) != ("break-glass", request_hash(broken.asked)):
                raise GrantError("what was signed is not what is asked for")
            subject = self._approvers.strengthened(subject, broken.signed)
        return self._desk.break_glass(msgspec.structs.replace(broken.asked, subject=subject), broken.code)

    def _act(self, subject: Subject, name: str, act: Act, said: Acted) -> Grant:
        grant = self._seen(subject, name)
        if said.signed is not None:
            if (said.signed.act, said.signed.grant, said.signed.request) != (act, grant.id, said.request):
                raise GrantError("what was signed is not what is asked for")
            if said.request != grant.request:
                raise GrantError(f"what was signed is not what {grant.id} asks for", hint="look at it again")
            subject = self._approvers.strengthened(subject, said.signed)
        return self._desk.act(grant.id, _ACTS[act](subject, said))


def _path(asked: Asked) -> list[str]:
    return asked.target.partition("?")[0].split("/")[1:]


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError(f"what was sent cannot be read: {str(error)[:200]}") from None


def _problem(kind: Kind, message: str, hint: str = "") -> Answer:
    return Answer(STATUS[kind], msgspec.json.encode(Problem(kind=kind, message=message[:2000], hint=hint[:500])))


def _failed(_: Asked, why: str) -> Answer:
    return _problem("store", why)


async def serve(desk: Desk, path: Path = Path(SOCKET)) -> DeskSocket:
    """Open a desk to the users of this machine; `close` ends it. Raises OSError."""
    opened = DeskSocket(desk)
    await opened.listen(path)
    return opened
