"""HTTP/1.1 requests in, a handler's answers out: the one server of every gate, on a unix socket, TCP or TLS.

Framing is h11's. What is ours is what a gate needs: bounds on every part, the identity of the peer, one write an answer without
Nagle's delay, and an answer that denies when the handler fails or is late.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
# Connections at once; beyond it a new one is closed at once, so that a gate never runs out of files.
MAX_CONNECTIONS = 2_000
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
    ) -> None:
        """`seconds` is the handler's deadline; one user of a unix socket has `max_of_one` connections at once, root aside."""
        self._max_of_one = max_of_one
        self._of: dict[int, int] = {}
        self._handler = handler
        self._failed = failed
        self._seconds = seconds
        self._max_body = max_body
        self._open = 0
        self._servers: list[asyncio.Server] = []

    async def listen_unix(self, path: Path, mode: int = 0o600, group: int = -1) -> None:
        """Listen on a unix socket, replacing what a killed process left. Raises OSError."""
        import asyncio

        self._servers.append(await asyncio.start_unix_server(self._serve, sock=unix_socket(path, mode, group), limit=_CHUNK))

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen on TCP; return the port, which the system picks for 0. Raises OSError."""
        import asyncio

        server = await asyncio.start_server(self._serve, host, port, ssl=context, limit=_CHUNK)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Take no more connections."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        self._open += 1
        uid = _peer(writer).uid
        self._of[uid] = self._of.get(uid, 0) + 1
        try:
            if self._open <= MAX_CONNECTIONS and (uid <= 0 or self._of[uid] <= self._max_of_one):
                await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away, or was too slow: there is nobody to answer
        finally:
            self._open -= 1
            self._of[uid] -= 1
            if not self._of[uid]:
                del self._of[uid]
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
            await _send(connection, writer, await self._answer(asked))
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _read(self, connection: h11.Connection, reader: asyncio.StreamReader, peer: Peer) -> Asked | None:
        import asyncio

        import h11

        request: h11.Request | None = None
        body: list[bytes] = []
        size = 0
        seconds = IDLE_SECONDS
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    raise h11.RemoteProtocolError("no continuation is given", error_status_hint=417)
                async with asyncio.timeout(seconds):
                    data = await reader.read(_CHUNK)
                if not data and request is None:
                    return None
                connection.receive_data(data)
                seconds = READ_SECONDS
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

    async def _answer(self, asked: Asked) -> Answer:
        import asyncio

        try:
            async with asyncio.timeout(self._seconds):
                return await self._handler(asked)
        except TimeoutError:
            return self._failed(asked, f"no decision within {self._seconds:g} s")
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a gate ends in a denial that says so
            return self._failed(asked, f"the gate failed: {type(error).__name__}")


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
    """Send it in one write: two would wait for each other's acknowledgement."""
    import h11

    headers = [("content-type", answer.content_type), ("content-length", str(len(answer.body))), *answer.headers]
    parts = [
        connection.send(h11.Response(status_code=answer.status, headers=headers)),
        connection.send(h11.Data(data=answer.body)) if answer.body else b"",
        connection.send(h11.EndOfMessage()),
    ]
    writer.write(b"".join(part for part in parts if part))
    await writer.drain()
