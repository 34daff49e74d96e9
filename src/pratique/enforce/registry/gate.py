"""The parts of the registry's gate put together: token service, proxy, judging, and the gate's own listener for scans."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate registry` imports this module
import contextlib
import ipaddress
import secrets
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11  # noqa: TID253 - as above
import msgspec

from pratique.enforce.admission import Admission, AdmissionSpec
from pratique.enforce.desk import DeskSocket
from pratique.enforce.keeper import Keeper
from pratique.enforce.registry.access import SCANNER, AccessSpec, Doorman, Reading
from pratique.enforce.registry.accounts import Accounts
from pratique.enforce.registry.contents import Contents
from pratique.enforce.registry.conversation import Conversation
from pratique.enforce.registry.exchange import Client, Gone, TooLargeError
from pratique.enforce.registry.judging import Judging
from pratique.enforce.registry.proxy import Front, Proxy
from pratique.enforce.registry.relay import Upstream
from pratique.enforce.registry.service import TokenService, problem
from pratique.enforce.registry.tokens import Tokens, load_signer
from pratique.enforce.scanning import Scanner
from pratique.enforce.serving import MAX_CONNECTIONS
from pratique.store.place import Place

if TYPE_CHECKING:
    import ssl

_CHUNK = 256 << 10
# Connections of one address at once: a build machine pulls some images in parallel, with a few connections each.
MAX_OF_ONE = 256
# Seconds between looks whether the certificate was renewed.
RENEW_SECONDS = 30.0
_BAD = b"HTTP/1.1 %d Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
UPSTREAM = "pratique-upstream"  # the audience of what the registry is shown


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gate listens, what it stands before, and by what it decides.

    `name` is what people call the registry, such as `reg.example:5000`. `upstream` is the host and port of the registry itself.
    `desk` is the socket at which users of this machine ask for grants, None for none. `public` is the address that clients reach
    the gate at, where something stands before it.
    """

    listen: tuple[str, int]
    upstream: tuple[str, int]
    users: Path
    name: str = ""
    public: str = ""
    certificate: Path | None = None
    key: Path | None = None
    access: AccessSpec | Path | None = None
    admission: AdmissionSpec | None = None
    rsa: bool = False
    observe: bool = False
    desk: Path | None = None


class RegistryGate:
    """One gate, from `start` to `close`. Raises OSError, StoreError, ConfigurationError where it cannot stand."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self._settings = settings
        folder = place.folder / "gate" / "registry"
        self._keeper = Keeper(place, observe=settings.observe)
        signer = load_signer(folder, rsa=settings.rsa)
        self._password = secrets.token_hex(32)  # of the gate's own reader; it lives as long as the process
        self._admission: Admission | None = None
        self._contents: Contents | None = None
        if settings.admission is not None:
            scanner = Scanner(username=SCANNER, password=self._password)
            self._admission = Admission(place, settings.admission, scanner=scanner)
            self._contents = Contents(folder)
        self._judging = Judging(self._admission, self._contents)
        self._signer = signer
        self._accounts = Accounts(settings.users)
        self._reading = Reading(settings.access)
        self._upstream = Tokens(signer, UPSTREAM)
        self._servers: list[asyncio.Server] = []
        self._desk: DeskSocket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._of: Counter[str] = Counter()
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        settings = self._settings
        context = _tls(settings)
        if settings.desk is not None:
            self._desk = DeskSocket(self._keeper.desk)
            await self._desk.listen(settings.desk)
        host, port = settings.listen
        outside = await asyncio.start_server(self._outside, host, port, ssl=context, limit=_CHUNK)
        inside = await asyncio.start_server(self._inside, "127.0.0.1", 0, limit=_CHUNK)
        self._servers = [outside, inside]
        self.port = int(outside.sockets[0].getsockname()[1])
        own = f"127.0.0.1:{inside.sockets[0].getsockname()[1]}"
        self._judging.target = own
        name = settings.name or f"{host}:{self.port}"
        scheme = "https" if context is not None else "http"
        realm = f"{settings.public}/token" if settings.public else ""
        doorman = Doorman(self._keeper, self._reading, name)
        service = TokenService(self._signer, name, self._accounts, doorman, scanner=self._password)
        behind = (service, doorman, self._upstream, self._judging)
        if context is not None:
            renewing = asyncio.get_running_loop().create_task(self._renew(context))
            self._tasks.add(renewing)
        self._front = Proxy(Front(name, realm, scheme), *behind)
        self._own = Proxy(Front(name, f"http://{own}/token"), *behind)

    async def _renew(self, context: ssl.SSLContext) -> None:
        """Take a certificate that was renewed for the connections to come; one that cannot be read leaves the one before."""
        seen = _stamps(self._settings)
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if (now := _stamps(self._settings)) != seen:
                with contextlib.suppress(OSError):  # half written: it is looked at again
                    context.load_cert_chain(str(self._settings.certificate), self._settings.key)
                    seen = now

    async def close(self) -> None:
        """Take no more connections, end those that there are, and let go of the store."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._desk is not None and self._settings.desk is not None:
            self._desk.close()
            self._settings.desk.unlink(missing_ok=True)
        if self._admission is not None:
            await self._admission.close()
        if self._contents is not None:
            self._contents.close()
        self._keeper.close()

    def _outside(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._take(reader, writer, own=False)

    def _inside(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._take(reader, writer, own=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, own: bool) -> None:
        peer = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        crowded = not _is_loopback(address) and self._of[address] >= MAX_OF_ONE
        if len(self._tasks) >= MAX_CONNECTIONS or crowded:
            writer.transport.abort()
            return
        self._of[address] += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, own=own))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, address))

    def _ended(self, task: asyncio.Task[None], address: str) -> None:
        self._tasks.discard(task)
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, own: bool) -> None:
        upstream = Upstream(*self._settings.upstream)
        conversation = Conversation(self._own if own else self._front, upstream, own=own)
        try:
            handle: Any = writer.get_extra_info("socket")
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = Client(reader, writer)
            while await client.next():
                try:
                    await conversation.serve(client)
                except TooLargeError:
                    await client.say(problem(413, "SIZE_INVALID", "pratique: the body is too large"))
                    return
        except h11.RemoteProtocolError as error:
            with contextlib.suppress(OSError):
                writer.write(
                    b"HTTP/1.1 %d Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % error.error_status_hint
                )
        except (OSError, TimeoutError, Gone, h11.LocalProtocolError):
            writer.transport.abort()  # nobody is there, or nothing can be said any more: half an answer must not look whole
        except Exception as error:  # noqa: BLE001 - a defect ends one connection, and is told to whoever runs the gate
            writer.transport.abort()
            sys.stderr.write(f"pratique: a defect of pratique: {type(error).__name__}: {error}\n")
        finally:
            conversation.close()
            writer.close()


def _is_loopback(address: str) -> bool:
    """Say whether it is this machine, or what stands before the gate on it: everybody comes from there."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _stamps(settings: Settings) -> tuple[int, ...]:
    found = []
    for path in (settings.certificate, settings.key):
        with contextlib.suppress(OSError):
            found.append(path.stat().st_mtime_ns if path is not None else 0)
    return tuple(found)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    return context


async def serve(place: Place, settings: Settings, ready: Callable[[RegistryGate], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError, StoreError, ConfigurationError before `ready` is called."""
    gate = RegistryGate(place, settings)
    await gate.start()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if ready is not None:
        ready(gate)
    await stopped.wait()
    await gate.close()


def configuration(place: Place, settings: Settings) -> str:
    """Return what to write into the registry's own configuration, so that it takes nobody's word but the gate's."""
    signer = load_signer(place.folder / "gate" / "registry", rsa=settings.rsa)
    return (
        "# into the registry's configuration, in place of its own auth section; let it listen on a loopback address\n"
        "http:\n"
        f"  addr: {settings.upstream[0]}:{settings.upstream[1]}\n"
        "  relativeurls: true\n"
        "storage:\n"
        "  redirect:\n"
        "    disable: true\n"
        "  delete:\n"
        "    enabled: true\n"
        "auth:\n"
        "  token:\n"
        f"    realm: {settings.public or 'http://' + (settings.name or 'the-gate')}/token\n"
        f"    service: {UPSTREAM}\n"
        "    issuer: pratique\n"
        f"    rootcertbundle: {signer.certificate}\n"
    )
