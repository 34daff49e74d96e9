"""The store of another user, over its desk's socket: what a command needs of a `Desk`, asked of a process that may write it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from pratique.grant.asking import request_hash
from pratique.grant.lifecycle import Approve, Cancel, Complete, Deny, Event, Review, Revoke, settle
from pratique.grant.policy import builtin, load
from pratique.granting.approvers import Act, Signed, sign
from pratique.granting.clock import present
from pratique.granting.rules import BASELINE_ONLY, NAME, Standing
from pratique.granting.wire import HEADER, Acted, Broken, Held, Problem
from pratique.model.errors import GrantError, PolicyError, PratiqueError, StoreError, UsageError
from pratique.model.privilege import Asked, Grant, Moment, Subject
from pratique.store.facts import KeptPolicy
from pratique.store.interface import Kept, Wanted

SECONDS = 30.0  # an answer may wait for an alert that goes out, and for a disk
_MAX_ANSWER = 16 << 20  # bytes: hundreds of grants
_ACTS: dict[type, Act] = {
    Approve: "approve", Deny: "deny", Revoke: "revoke", Cancel: "cancel", Complete: "complete", Review: "review",
}  # fmt: skip
_ERRORS: dict[str, type[PratiqueError]] = {
    "grant": GrantError, "usage": UsageError, "policy": PolicyError, "store": StoreError, "busy": StoreError,
}  # fmt: skip
T = TypeVar("T")


class Key(NamedTuple):
    """The private key of an approver, and how to ask for its passphrase."""

    path: Path
    passphrase: Callable[[], str]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("desk", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Grants:
    """The grants that one may see."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask

    def get(self, name: str) -> Kept:
        """Return a grant. Raises StoreError."""
        return Kept(self._ask("GET", f"/v1/grants/{quote(name, safe='')}", Grant), 0)

    def find(self, wanted: Wanted = Wanted()) -> list[Kept]:  # noqa: B008 - immutable
        """Return the grants wanted, the youngest first. Raises StoreError."""
        query: list[tuple[str, str]] = [("state", state) for state in wanted.states]
        query += [("mine", "1")] if wanted.subject is not None else []
        query += [("until", repr(wanted.expiring))] if wanted.expiring is not None else []
        found: list[Grant] = self._ask("GET", "/v1/grants?" + urlencode(query), list[Grant])
        return [Kept(grant, 0) for grant in found]


class _Facts:
    def __init__(self, held: Callable[[], Held]) -> None:
        self._held = held

    def former_policy(self) -> KeptPolicy | None:
        """Return the policy as it was set."""
        held = self._held()
        body = held.body.encode()
        return KeptPolicy(held.version, load(NAME, body).digest, held.set_at, held.set_by, body) if body else None


class RemoteDesk:
    """A desk behind a socket. What only the store's owner may do is a UsageError."""

    def __init__(self, path: Path, key: Key | None = None) -> None:
        self._path = path
        self._key = key
        self.store = _Grants(self._ask)
        self.facts = _Facts(self._held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: each question has its own connection."""

    def now(self) -> Moment:
        return present()

    def standing(self) -> Standing:
        """Return the policy that holds. Raises StoreError."""
        held = self._held()
        if held.state == "built-in":
            return Standing(builtin(), "built-in", held.why)
        return Standing(load(NAME, held.body.encode()) if held.body else BASELINE_ONLY, held.state, held.why)

    def sweep(self) -> list[Grant]:
        """Do nothing: the desk does it."""
        return []

    def as_of_now(self, grant: Grant) -> Grant:
        return settle(grant, self.now())

    def request(self, asked: Asked) -> Grant:
        """Ask for privileges. Raises GrantError, UsageError, StoreError."""
        _not_claimed(asked.subject)
        return self._ask("POST", "/v1/grants", Grant, asked)

    def break_glass(self, asked: Asked, code: str = "") -> Grant:
        """Take privileges at once. Raises GrantError, UsageError, StoreError."""
        _not_claimed(asked.subject)
        signed = self._signed("break-glass", "", request_hash(asked))
        return self._ask("POST", "/v1/break-glass", Grant, Broken(asked=asked, code=code, signed=signed))

    def approve(self, name: str, by: Subject, reason: str = "", *, request_seen: str = "") -> Grant:
        """Agree to a request, as it was seen, or as it is."""
        grant = self.store.get(name).grant
        return self.act(grant.id, Approve(by, request_seen or grant.request, reason))

    def act(self, name: str, event: Event) -> Grant:
        """Have something happen to a grant. Raises GrantError, UsageError, StoreError."""
        act = _ACTS.get(type(event))
        if act is None:
            raise UsageError("this is done by gates")
        _not_claimed(event.by)  # type: ignore[union-attr]  # those that have nobody are not among _ACTS
        grant = self.store.get(name).grant
        seen = event.request if isinstance(event, Approve) else grant.request
        said = Acted(reason=str(getattr(event, "reason", "")), request=seen, signed=self._signed(act, grant.id, seen))
        return self._ask("POST", f"/v1/grants/{grant.id}/{act}", Grant, said)

    def set_policy(self, *_: object) -> KeptPolicy:
        """Refuse: whoever sets the policy owns the store."""
        raise self._owner("sets its policy")

    def alerts(self) -> Any:
        """Refuse, as above."""
        raise self._owner("knows where alerts go")

    def send_alerts_to(self, *_: object) -> None:
        """Refuse, as above."""
        raise self._owner("says where alerts go")

    def seal_codes(self, *_: object) -> list[str]:
        """Refuse, as above."""
        raise self._owner("seals codes")

    def _owner(self, what: str) -> UsageError:
        return UsageError(f"{self._path}: only the owner of the store {what}", hint="as root, with --store DIR")

    def _signed(self, act: Act, name: str, seen: str) -> Signed | None:
        if self._key is None:
            return None
        return sign(self._key.path, Signed(act=act, grant=name, request=seen, at=self.now().wall), self._key.passphrase)

    def _held(self) -> Held:
        return self._ask("GET", "/v1/standing", Held)

    def _ask(self, method: str, target: str, kind: type[T], body: Any = None) -> T:
        connection = _Connection(self._path)
        try:
            connection.request(method, target, None if body is None else msgspec.json.encode(body), HEADER if body else {})
            answer = connection.getresponse()
            data = answer.read(_MAX_ANSWER + 1)
            if answer.status == 200:
                return msgspec.json.decode(data, type=kind)
            problem = msgspec.json.decode(data, type=Problem)
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            raise StoreError(f"{self._path}: the desk does not answer: {why}", hint="is its gate running?") from None
        except (http.client.HTTPException, msgspec.MsgspecError) as error:
            raise StoreError(f"{self._path}: no desk answers here: {type(error).__name__}") from None
        finally:
            connection.close()
        raise _ERRORS[problem.kind](problem.message, hint=problem.hint)


def _not_claimed(by: Subject) -> None:
    if by.provider == "claimed":
        raise UsageError("the desk knows who you are: --as is for the owner of a store")
