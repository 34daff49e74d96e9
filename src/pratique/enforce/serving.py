"""HTTP/1.1 requests in, a handler's answers out: the one server of every gate, on a unix socket, TCP or TLS.

Framing is h11's. What is ours is what a gate needs: bounds on every part, the identity of the peer, one write an answer without
Nagle's delay, and an answer that denies when the handler fails or is late.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pratique.enforce.crowd import Connection, Crowd

if TYPE_CHECKING:
    import asyncio
    import ssl

    import h11

# Request line and headers; Go's own default is 1 MiB, but nothing that a gate is asked needs more than a few KiB.
MAX_HEAD = 64 << 10
# A Kubernetes review carries the old and the new object, each up to 1.5 MiB in etcd, and JSON around them.
MAX_BODY = 8 << 20
# A client that has begun a request ends it within this many seconds, or is let go.
READ_SECONDS = 10.0
# A connection that is kept open and asks nothing is closed: more than the 90 s that Go's client keeps one.
IDLE_SECONDS = 120.0
# Connections at once, so that a gate never runs out of files; beyond it see `crowd`.
MAX_CONNECTIONS = 2_000
# Connections that the kernel keeps until they are taken, and seconds until the next try where none can be.
_BACKLOG, _PAUSE = 1_024, 0.05
# Failed answers of which is told at once: where everything fails, some of them say so.
_MAX_TOLD = 64
_CHUNK = 64 << 10
# What the kernel says of a peer that there is not; every lower number can be somebody, and is no sign of ours.
_NO_ID = (1 << 32) - 1


class Peer(NamedTuple):
    """Who is at the other end: the numbers of a unix socket's peer, else -1; the DER of a verified TLS certificate, else b""."""

    pid: int = -1
    uid: int = -1
    gid: int = -1
    certificate: bytes = b""
    address: str = ""


class Asked(NamedTuple):
    """One request. Header names are in lower case; of headers that come twice the values are joined by ", "."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    peer: Peer


class Answer(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Asked], Awaitable[Answer]]
Teller = Callable[[Asked, str], Awaitable[object]]


def peer_of(handle: socket.socket | None) -> Peer:
    """Return what the kernel says about the other end of a unix socket."""
    if handle is None or handle.family != socket.AF_UNIX:
        return Peer()
    pid, uid, gid = struct.unpack("iII", handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
    return Peer(pid, -1 if uid == _NO_ID else uid, -1 if gid == _NO_ID else gid)


def unix_socket(path: Path, mode: int, group: int) -> socket.socket:
    """Return a bound socket, replacing what a killed process left; nobody connects before it is `mode`. Raises OSError."""
    path.unlink(missing_ok=True)
    handle = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        handle.bind(str(path))
        if group >= 0:
            os.chown(path, -1, group)
        path.chmod(mode)
    except OSError:
        handle.close()
        raise
    finally:
        os.umask(before)
    return handle


class HttpServer:
    """Serves one handler. `failed` is the answer when the handler raises or is late: a gate's denial."""

    def __init__(
        self,
        handler: Handler,
        failed: Callable[[Asked, str], Answer],
        *,
        seconds: float,
        max_body: int = MAX_BODY,
        max_of_one: int = MAX_CONNECTIONS,
        told: Teller | None = None,
    ) -> None:
        """`seconds` is the handler's deadline; one user of a unix socket has `max_of_one` connections at once, root aside.

        `told` hears of what was answered by `failed`, and why, once it was: for the record, as far as there can be one.
        """
        self._max_of_one = max_of_one
        self._crowd = Crowd(MAX_CONNECTIONS)
        self._handler = handler
        self._failed = failed
        self._told = told
        self._seconds = seconds
        self._max_body = max_body
        self._sockets: list[socket.socket] = []
        self._listening: list[asyncio.Task[None]] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()

    async def listen_unix(self, path: Path, mode: int = 0o600, group: int = -1) -> None:
        """Listen on a unix socket, replacing what a killed process left. Raises OSError."""
        self._listen(unix_socket(path, mode, group), None)

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen on TCP; return the port, which the system picks for 0. Raises OSError."""
        import asyncio

        found = await asyncio.get_running_loop().getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((address[0], port, *address[2:]))
            except OSError:
                one.close()
                raise
            port = int(one.getsockname()[1])  # an address that a name has besides is served on the same one
            self._listen(one, context)
        return port

    def _listen(self, one: socket.socket, context: ssl.SSLContext | None) -> None:
        import asyncio

        one.listen(_BACKLOG)
        self._sockets.append(one)
        self._listening.append(asyncio.get_running_loop().create_task(self._accept(one, context)))

    def close(self) -> None:
        """Take no more connections."""
        for task in self._listening:
            task.cancel()
        for one in self._sockets:
            one.close()
        self._listening, self._sockets = [], []

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Take connections as they come: they are counted before a handshake, which costs more than to open one."""
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            try:
                handle, _ = await loop.sock_accept(listening)
            except OSError:  # no files are left, or the client is gone: others are served meanwhile
                await asyncio.sleep(_PAUSE)
                continue
            task = loop.create_task(self._serve(handle, context))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, handle: socket.socket, context: ssl.SSLContext | None) -> None:
        import asyncio

        task = asyncio.current_task()
        assert task is not None
        peer = _counted(handle)
        connection = Connection(peer, task.cancel)
        own = isinstance(peer, int) and peer > 0 and self._crowd.count(peer) >= self._max_of_one
        if own or not self._crowd.enter(connection):
            handle.close()
            return
        transport: asyncio.Transport | None = None
        try:
            reader = asyncio.StreamReader(limit=_CHUNK)
            protocol = asyncio.StreamReaderProtocol(reader)
            loop = asyncio.get_running_loop()
            seconds = READ_SECONDS if context is not None else None
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, handle, ssl=context, ssl_handshake_timeout=seconds, ssl_shutdown_timeout=seconds
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            await self._converse(reader, writer, connection)
        except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            if transport is not None:  # its place is needed, the gate ends, the client went away or is too slow
                transport.abort()
        finally:
            self._crowd.leave(connection)
            if transport is not None:
                transport.close()
            else:
                handle.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, own: Connection) -> None:
        import h11

        handle: socket.socket | None = writer.get_extra_info("socket")
        if handle is not None and handle.family in (socket.AF_INET, socket.AF_INET6):
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = _peer(writer)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        while True:
            try:
                asked = await self._read(connection, reader, peer)
            except h11.RemoteProtocolError as error:
                await _send(connection, writer, Answer(error.error_status_hint, b"", "text/plain"))
                return
            if asked is None:
                return
            self._crowd.heard(own)
            own.busy = True
            answer, why = await self._answer(asked)
            try:
                await _send(connection, writer, answer)
            finally:
                if why:
                    self._tell(asked, why)
            own.busy = False
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _read(self, connection: h11.Connection, reader: asyncio.StreamReader, peer: Peer) -> Asked | None:
        import asyncio

        import h11

        request: h11.Request | None = None
        body: list[bytes] = []
        size = 0
        loop = asyncio.get_running_loop()
        until, begun = loop.time() + IDLE_SECONDS, False
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    raise h11.RemoteProtocolError("no continuation is given", error_status_hint=417)
                async with asyncio.timeout_at(until):
                    data = await reader.read(_CHUNK)
                if not data and request is None:
                    return None
                connection.receive_data(data)
                if not begun:  # for all of a request: who sends a byte now and then does not go on for ever
                    until, begun = loop.time() + READ_SECONDS, True
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > self._max_body:
                    raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return _asked(request, b"".join(body), peer)
            else:
                return None

    async def _answer(self, asked: Asked) -> tuple[Answer, str]:
        """Return the answer, and why it is not the handler's ("" where it is)."""
        import asyncio

        try:
            async with asyncio.timeout(self._seconds):
                return await self._handler(asked), ""
        except TimeoutError:
            why = f"no decision within {self._seconds:g} s"
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a gate ends in a denial that says so
            why = f"the gate failed: {type(error).__name__}"
        return self._failed(asked, why), why

    def _tell(self, asked: Asked, why: str) -> None:
        """Have it told what was answered for the handler; what takes long, or is too much, is not waited for."""
        import asyncio

        if self._told is None or len(self._telling) >= _MAX_TOLD:
            return
        task = asyncio.get_running_loop().create_task(_tell(self._told, asked, why))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


async def _tell(told: Teller, asked: Asked, why: str) -> None:
    import asyncio

    try:
        async with asyncio.timeout(READ_SECONDS):
            await told(asked, why)
    except Exception as error:  # noqa: BLE001 - it is denied all the same
        sys.stderr.write(f"pratique: a denial is not on record: {why}; {type(error).__name__}\n")


def _counted(handle: socket.socket) -> int | str:
    """Return as whom a connection counts: a user's number, or an address."""
    try:
        return peer_of(handle).uid if handle.family == socket.AF_UNIX else str(handle.getpeername()[0])
    except OSError:
        return ""


def _asked(request: h11.Request, body: bytes, peer: Peer) -> Asked:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Asked(request.method.decode("ascii"), request.target.decode("latin-1"), headers, body, peer)


def _peer(writer: asyncio.StreamWriter) -> Peer:
    tls = writer.get_extra_info("ssl_object")
    if tls is not None:
        return Peer(certificate=tls.getpeercert(binary_form=True) or b"", address=str(writer.get_extra_info("peername")[0]))
    handle = writer.get_extra_info("socket")
    if handle is not None and handle.family != socket.AF_UNIX:
        return Peer(address=str(writer.get_extra_info("peername")[0]))
    return peer_of(handle)


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Send it in one write: two would wait for each other's acknowledgement. Raises TimeoutError where nobody takes it."""
    import asyncio

    import h11

    headers = [("content-type", answer.content_type), ("content-length", str(len(answer.body))), *answer.headers]
    parts = [
        connection.send(h11.Response(status_code=answer.status, headers=headers)),
        connection.send(h11.Data(data=answer.body)) if answer.body else b"",
        connection.send(h11.EndOfMessage()),
    ]
    writer.write(b"".join(part for part in parts if part))
    async with asyncio.timeout(READ_SECONDS):
        await writer.drain()
