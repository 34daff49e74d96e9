"""A review in; answered here where it needs no grant, else by the gate that holds the store.

Grants are used on one disk, one after the other, and the ledger has one end: that cannot be in two places. What needs no grant,
which is nearly all that a cluster asks, needs no store either: a relay decides it by the policy alone, and so a cluster goes on
creating pods while the store is away. All else is passed on as it came; without an answer it is denied.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate kubernetes` imports this module
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from pratique.enforce.kubernetes import review as reviews
from pratique.enforce.kubernetes.admission import Admitter
from pratique.enforce.kubernetes.entering import Entering
from pratique.enforce.kubernetes.gate import ADMIT, ALIVE, AUTHORIZE, POLICY, READY, is_known
from pratique.enforce.kubernetes.keeper import Asked, Ruling
from pratique.enforce.kubernetes.sessions import Reservations
from pratique.enforce.kubernetes.settings import DEADLINE, GROUP, Settings
from pratique.enforce.serving import Answer
from pratique.enforce.serving import Asked as HttpAsked
from pratique.grant.decide import decide
from pratique.grant.index import GrantIndex
from pratique.grant.policy import PrivilegePolicy, builtin, load
from pratique.grant.privileges import Privilege
from pratique.grant.request import Request
from pratique.granting.clock import present
from pratique.granting.rules import BASELINE_ONLY, LAST_GOOD
from pratique.model.errors import ConfigurationError, CouldNotError, ParseError, PolicyError
from pratique.model.privilege import Denial, Grant, Moment, Point, Subject

if TYPE_CHECKING:
    import ssl

    import httpx2

_NAME = "the store's policy"
_POLL = 2.0  # seconds between looks whether the store's policy is another one
_PATIENCE = DEADLINE - 0.05  # seconds for the store's answer: a little less than this answer may take
_MAX_POLICY = 4 << 20


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gate with the store is, and what is shown to it."""

    address: str
    authority: Path
    certificate: Path
    key: Path


class _PassOn(Exception):  # noqa: N818 - no error: the review is somebody else's
    pass


class BaselineKeeper:
    """Decides by the policy alone. Whatever would have to be used or recorded is passed on."""

    def __init__(self) -> None:
        self.policy: PrivilegePolicy = BASELINE_ONLY
        self._nobody = GrantIndex()

    def moment(self) -> Moment:
        """Return now."""
        return present()

    def consider(self, requests: Iterable[Request], now: Moment, held: Sequence[str] = ()) -> list[Asked]:  # noqa: ARG002 - of others
        """Decide each as if nobody held a grant."""
        return [Asked(request, decide(request, self.policy, self._nobody, now)) for request in requests]

    async def settle(
        self,
        asked: Sequence[Asked],
        session: str,  # noqa: ARG002 - nothing is used here
        more: Sequence[Denial] = (),
        *,
        dry_run: bool = False,  # noqa: ARG002 - as above
    ) -> Ruling:
        """Allow what needs nothing, pass all else on."""
        if more or not all(one.decision.ruling == "allow" for one in asked):
            raise _PassOn
        return Ruling(allowed=True, policy=next((one.decision.policy for one in asked), ""))

    async def exempted(self, requests: Sequence[Request], what: str) -> str:  # noqa: ARG002 - it is recorded elsewhere
        """Pass it on: it has to be recorded."""
        raise _PassOn

    def used_by(self, session: str) -> list[Grant]:  # noqa: ARG002 - nothing is known of sessions here
        """Return nothing."""
        return []

    def held(self, names: Sequence[str]) -> tuple[Privilege, ...]:  # noqa: ARG002 - as above
        """Return nothing."""
        return ()

    def refused(self, point: Point, subject: Subject | None, what: str, why: str) -> NoReturn:  # noqa: ARG002 - as above
        """Pass it on: it has to be recorded."""
        raise _PassOn


class Relay:
    """One relay in front of one gate."""

    def __init__(self, settings: Settings, upstream: Upstream, keep: Path, *, images: bool = False) -> None:
        """`keep` is the folder of the last good policy. With `images` all that runs is passed on, as verdicts are in the store.

        Raises ConfigurationError.
        """
        if not (settings.client_authority or settings.token or settings.anybody):
            hint = "--client-ca FILE or --client-token FILE; or --any-client, where only the API server can reach it"
            raise ConfigurationError("who may ask this relay?", hint=hint)
        self._settings = settings
        self._images = images
        self._kept = keep / "policy.yaml"
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.keeper = BaselineKeeper()
        reservations = Reservations()
        self._admitter = Admitter(self.keeper, Entering(None, settings.cluster), reservations, settings, None)
        self._line = _Line(upstream)
        self._good_at = 0.0
        self._looked = 0.0
        self._begin()

    async def handle(self, asked: HttpAsked) -> Answer:
        """Answer one request of an API server."""
        path = asked.target.partition("?")[0]
        if asked.method == "GET" and path in (ALIVE, READY):
            ready = path == ALIVE or self._good_at > 0
            return Answer(200, b"ok\n", "text/plain") if ready else Answer(503, b"no policy yet\n", "text/plain")
        known = is_known(self._settings, asked)
        if not known and not self._settings.anybody:
            return Answer(401, b"this gate answers API servers that it knows\n", "text/plain")
        if asked.method != "POST" or path not in (ADMIT, AUTHORIZE):
            return Answer(404, b"there are /admit and /authorize\n", "text/plain")
        if not known and not _is_harmless(path, asked.body):
            return _denied(path, asked.body, "a relay that knows nobody carries out no orders, and gives no access")
        if path == ADMIT and not self._images:
            with contextlib.suppress(_PassOn):
                return Answer(200, await self._admitter.handle(asked))
        try:
            return Answer(200, await self._line.post(path, asked.body))
        except CouldNotError as error:
            return _denied(path, asked.body, f"this needs a grant, and {error.message}")

    async def told(self, asked: HttpAsked, why: str) -> None:
        """Record nothing: the ledger is with the store."""

    async def tend(self) -> None:
        """Do what is due; called several times a second."""
        now = time.monotonic()
        await self._line.tidy()
        if now - self._looked >= _POLL:
            self._looked = now
            await self._look()
        if time.time() - self._good_at >= LAST_GOOD:
            self.keeper.policy = BASELINE_ONLY

    def gauges(self) -> Mapping[str, tuple[str, float]]:
        """Return how old the policy is that is decided by; nothing where there is none."""
        ready = {"pratique_gate_ready": ("Whether there is a policy to decide by.", float(self._good_at > 0))}
        if self._good_at <= 0:
            return ready
        age = time.time() - self._good_at
        return ready | {"pratique_relay_policy_age_seconds": ("Since the store last said which policy holds.", age)}

    async def close(self) -> None:
        """Let go of connections."""
        await self._line.close()

    def _begin(self) -> None:
        """Take up the policy of before, for as long as it may outlive its store."""
        with contextlib.suppress(OSError, PolicyError):
            written = self._kept.stat().st_mtime
            if 0 <= time.time() - written < LAST_GOOD:
                body = self._kept.read_bytes()
                self.keeper.policy, self._good_at = load(_NAME, body) if body else builtin(), written

    async def _look(self) -> None:
        try:
            body = await self._line.policy()
            self.keeper.policy = load(_NAME, body) if body else builtin()
        except (CouldNotError, PolicyError):
            return
        self._good_at = time.time()
        part = self._kept.with_suffix(".part")
        with contextlib.suppress(OSError):
            part.write_bytes(body)
            part.replace(self._kept)


class _Line:
    """The connection to the gate with the store."""

    def __init__(self, upstream: Upstream) -> None:
        if not upstream.address.startswith("https://"):
            raise ConfigurationError(f"--upstream {upstream.address}: an address begins with https://")
        self._upstream = upstream
        self._context()  # so that a missing authority is an error at once
        self._client: httpx2.AsyncClient | None = None
        self._former: list[tuple[float, httpx2.AsyncClient]] = []
        self._seen: tuple[int, ...] = ()

    def _context(self) -> ssl.SSLContext:
        import ssl

        authority = self._upstream.authority
        try:
            return ssl.create_default_context(cafile=str(authority))
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"{authority}: no certificates of an authority: {error}") from None

    async def post(self, path: str, body: bytes) -> bytes:
        """Pass a review on; return the answer. Raises CouldNotError."""
        status, answer = await self._ask("POST", path, body)
        if status != 200:
            raise CouldNotError(f"the gate with the store answered {status}")
        return answer

    async def policy(self) -> bytes:
        """Return the policy that holds, empty where none was set. Raises CouldNotError."""
        status, body = await self._ask("GET", POLICY, b"")
        if status not in (200, 204) or len(body) > _MAX_POLICY:
            raise CouldNotError(f"the gate with the store answered {status} about its policy")
        return body

    async def tidy(self) -> None:
        """Let go of connections by certificates of before, when nothing can be under way on them any more."""
        while self._former and time.monotonic() - self._former[0][0] > DEADLINE:
            await self._former.pop(0)[1].aclose()

    async def close(self) -> None:
        if self._client is not None:
            self._former.append((0.0, self._client))
            self._client = None
        for _, client in self._former:
            await client.aclose()
        self._former.clear()

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        import httpx2

        try:
            client = await self._fresh()
            headers = {"Content-Type": "application/json"}
            async with asyncio.timeout(_PATIENCE):
                answer = await client.request(method, self._upstream.address.rstrip("/") + path, headers=headers, content=body)
        except (OSError, httpx2.HTTPError) as error:
            raise CouldNotError(f"the gate with the store does not answer ({type(error).__name__})") from None
        return answer.status_code, answer.content

    async def _fresh(self) -> httpx2.AsyncClient:
        """Return a client that shows the certificate, and believes the authority, as they are now.

        What does not fit together, as while files are exchanged, leaves the former in use. What is under way goes on.
        """
        import httpx2

        pair = (self._upstream.certificate, self._upstream.key)
        try:
            seen = tuple(path.stat().st_mtime_ns for path in (*pair, self._upstream.authority))
            if self._client is None or seen != self._seen:
                context = self._context()
                context.load_cert_chain(*pair)
                if self._client is not None:
                    self._former.append((time.monotonic(), self._client))
                self._client = httpx2.AsyncClient(verify=context, timeout=_PATIENCE, trust_env=False)
                self._seen = seen
        except (OSError, ConfigurationError) as error:
            if self._client is None:
                raise OSError(str(error)) from None
        return self._client


def _is_harmless(path: str, body: bytes) -> bool:
    """Say whether a review may come from anybody: for orders and access an API server that is known has to vouch for who asks."""
    try:
        return path == ADMIT and reviews.read_admission(body).resource.group != GROUP
    except ParseError:
        return False


def _denied(path: str, body: bytes, why: str) -> Answer:
    """Deny what cannot be decided here."""
    text = f"pratique: denied: {why}"
    if path == AUTHORIZE:
        return Answer(200, reviews.access(denied=True, reason=text, error=why))
    return Answer(200, reviews.refused(reviews.uid_of(body), text))
