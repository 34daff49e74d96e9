"""The parts of the Kubernetes gate put together: one HTTPS server for both webhooks, and what must happen in time."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate kubernetes` imports this module
import contextlib
import hmac
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from pratique.enforce.kubernetes import review as reviews
from pratique.enforce.kubernetes.admission import Admitter
from pratique.enforce.kubernetes.api import ApiClient
from pratique.enforce.kubernetes.authorize import Authorizer
from pratique.enforce.kubernetes.entering import Entering
from pratique.enforce.kubernetes.eviction import Evictor
from pratique.enforce.kubernetes.images import Judge
from pratique.enforce.kubernetes.keeper import ClusterKeeper
from pratique.enforce.kubernetes.metrics import CONTENT_TYPE, PATH, Meter
from pratique.enforce.kubernetes.orders import Orders
from pratique.enforce.kubernetes.sessions import Reservations
from pratique.enforce.kubernetes.settings import DEADLINE, Settings
from pratique.enforce.kubernetes.tls import Identity, names_in
from pratique.enforce.serving import Answer, HttpServer
from pratique.enforce.serving import Asked as HttpAsked
from pratique.model.errors import ConfigurationError, ParseError, PratiqueError
from pratique.model.privilege import LIVE_STATES
from pratique.store.place import Place

ADMIT, AUTHORIZE, ALIVE, READY, POLICY = "/admit", "/authorize", "/livez", "/readyz", "/policy"
_TICK = 0.25  # seconds between looks at certificates, late authorisations and ended grants: some microseconds each


class Gate:
    """One gate in front of one cluster."""

    def __init__(self, place: Place, settings: Settings, api: ApiClient | None, judge: Judge | None = None) -> None:
        """Raises ConfigurationError, StoreError."""
        if not (settings.client_authority or settings.token or settings.anybody):
            raise ConfigurationError(
                "who may ask this gate? Whoever reaches it could use up grants of others",
                hint="--client-ca FILE or --client-token FILE; or --any-client, where only the API server can reach it",
            )
        self._settings = settings
        self._api = api
        self._images = judge
        self.keeper = ClusterKeeper(place, node=settings.cluster, observe=settings.observe)
        self.keeper.orders = bool(settings.client_authority or settings.token)
        entering, reservations = Entering(api, settings.cluster), Reservations()
        self.authorizer = Authorizer(self.keeper, entering, reservations, settings)
        orders = Orders(self.keeper, entering, settings)
        self.admitter = Admitter(self.keeper, entering, reservations, settings, orders, judge)
        self._evictor = Evictor(self.keeper, api, place.folder / "gate") if settings.evict and api is not None else None

    async def handle(self, asked: HttpAsked) -> Answer:
        """Answer one request of an API server."""
        path = asked.target.partition("?")[0]
        if asked.method == "GET" and path in (ALIVE, READY):
            return self._health(path)
        if not is_known(self._settings, asked):
            return Answer(401, b"this gate answers API servers that it knows\n", "text/plain")
        if asked.method == "GET" and path == POLICY:
            return self._policy()
        if asked.method != "POST" or path not in (ADMIT, AUTHORIZE):
            return Answer(404, b"there are /admit and /authorize\n", "text/plain")
        if path == AUTHORIZE:
            return Answer(200, await self.authorizer.handle(asked))
        body = await self.admitter.handle(asked)
        if self._evictor is not None and self.admitter.placed:
            placed, self.admitter.placed = self.admitter.placed, []
            self._evictor.remember(placed)
        return Answer(200, body)

    async def told(self, asked: HttpAsked, why: str) -> None:
        """Record a review that was denied as nobody decided on it; its answer is gone already. Raises what goes wrong."""
        path = asked.target.partition("?")[0]
        if asked.method != "POST" or path not in (ADMIT, AUTHORIZE) or not is_known(self._settings, asked):
            return
        subject, what = None, path
        with contextlib.suppress(ParseError):
            if path == ADMIT:
                review = reviews.read_admission(asked.body)
                subject, what = review.subject, review.what
            else:
                access = reviews.read_access(asked.body)
                subject, what = access.subject, f"{access.verb} {access.resource or '(no resource)'} {access.name}"
        await self.keeper.failed("kubernetes", subject, what[:300], why)

    async def tend(self) -> None:
        """Do what is due; called several times a second."""
        await self.authorizer.use_late()
        if self._evictor is not None:
            await self._evictor.end()

    def gauges(self) -> Mapping[str, tuple[str, float]]:
        """Return what counts now: whether it could decide, and how many grants live."""
        try:
            self.keeper.policy(self.keeper.moment())
            live = float(sum(one.state in LIVE_STATES for one in self.keeper.live().grants.values()))
        except PratiqueError:
            return {"pratique_gate_ready": ("Whether the store can be read.", 0)}
        return {
            "pratique_gate_ready": ("Whether the store can be read.", 1),
            "pratique_gate_grants_live": ("Grants that may be used now.", live),
        }

    async def close(self) -> None:
        """Let go of everything."""
        if self._api is not None:
            await self._api.close()
        if self._images is not None:
            await self._images.close()
        self.keeper.close()

    def _health(self, path: str) -> Answer:
        """Say that it is alive, or that it could decide: the store can be read."""
        if path == READY:
            try:
                self.keeper.policy(self.keeper.moment())
                self.keeper.live()
            except PratiqueError as error:
                return Answer(503, f"{error.message}\n".encode(), "text/plain")
        return Answer(200, b"ok\n", "text/plain")

    def _policy(self) -> Answer:
        """Give the policy that holds to relays, as it was written; nothing where none was set."""
        standing = self.keeper.desk.standing()
        if standing.state == "built-in":
            return Answer(204, b"", "text/plain")
        kept = self.keeper.desk.facts.former_policy()
        if standing.state != "set" or kept is None:
            return Answer(503, f"{standing.why}\n".encode(), "text/plain")
        return Answer(200, kept.body, "application/yaml")


def is_known(settings: Settings, asked: HttpAsked) -> bool:
    """Say whether it is an API server, or a relay of one, that asks."""
    if settings.token is not None:
        try:
            token = settings.token.read_bytes().strip()
        except OSError:
            return False
        given = asked.headers.get("authorization", "").removeprefix("Bearer ").encode("latin-1")
        if not token or not hmac.compare_digest(token, given):
            return False
    if settings.client_authority is not None:  # TLS verified that the authority signed it
        names = names_in(asked.peer.certificate)
        return bool(asked.peer.certificate) and (not settings.clients or any(name in settings.clients for name in names))
    return True


def failed(asked: HttpAsked, why: str) -> Answer:
    """Return the denial for what could not be decided in time, or not at all."""
    if asked.target.partition("?")[0] == AUTHORIZE:
        return Answer(200, reviews.access(denied=True, reason=f"pratique: denied: {why}", error=why))
    return Answer(200, reviews.refused(reviews.uid_of(asked.body), f"pratique: denied: {why}"))


async def _tend(identity: Identity, service: Service) -> None:
    """Do what is due. What fails is said and tried again: a gate that answers is worth more than one that is tidy."""
    try:
        identity.refresh()
        await service.tend()
    except Exception as error:  # noqa: BLE001 - as above
        sys.stderr.write(f"pratique: {type(error).__name__} while tending: {' '.join(str(error).split())[:300]}\n")


class Service(Protocol):
    """What answers, and has something to do in between."""

    async def handle(self, asked: HttpAsked) -> Answer: ...

    async def told(self, asked: HttpAsked, why: str) -> None: ...

    async def tend(self) -> None: ...

    def gauges(self) -> Mapping[str, tuple[str, float]]: ...

    async def close(self) -> None: ...


class _Metered:
    """A service whose answers are counted, and the numbers beside it, for whoever may ask it at all."""

    def __init__(self, settings: Settings, service: Service, meter: Meter) -> None:
        self._settings, self._service, self._meter = settings, service, meter

    async def handle(self, asked: HttpAsked) -> Answer:
        if asked.method == "GET" and asked.target == PATH and is_known(self._settings, asked):
            return Answer(200, self._meter.text(self._service.gauges()), CONTENT_TYPE)
        began = time.monotonic()
        answer = await self._service.handle(asked)
        self._meter.answered(asked, answer, began)
        return answer

    def failed(self, asked: HttpAsked, why: str) -> Answer:
        self._meter.failed(asked)
        return failed(asked, why)


async def run(settings: Settings, service: Service, ready: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the port. Raises ConfigurationError, OSError before."""
    server: HttpServer | None = None
    try:
        identity = Identity(settings.certificate, settings.key, settings.client_authority)
        metered = _Metered(settings, service, Meter({ADMIT: "admit", AUTHORIZE: "authorize"}, identity.expires))
        server = HttpServer(metered.handle, metered.failed, seconds=DEADLINE, max_body=reviews.MAX_BODY, told=service.told)
        port = await server.listen(settings.host, settings.port, identity.context)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        ready(port)
        while not stopped.is_set():
            await _tend(identity, service)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), _TICK)
    finally:
        if server is not None:
            server.close()
        await service.close()
