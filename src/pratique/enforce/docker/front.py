"""What people use in place of the engine's socket: it knows who they are, and says so to the engine's plugin.

Both sides are framed by h11, so that a request that could be read in two ways ends here. A connection that the engine takes over
(attach, exec, build sessions) is passed on as bytes from then on: what is in it carries no stamp, so no privilege.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pratique.enforce.docker.identity import HEADER, stamp
from pratique.enforce.serving import MAX_HEAD, Peer, peer_of, unix_socket

if TYPE_CHECKING:
    import asyncio

    import h11

_CHUNK = 256 << 10
# Connections of one user at once, each of which costs two files, so that nobody takes those of others. A large Compose project
# has some dozens.
MAX_OF_ONE = 300
_SAID = b'{"message":"pratique: you have too many connections open"}'
_TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SAID), _SAID)
)
_PATIENCE = 1.0  # seconds for the request of a client that is told that there is no engine
_STAMPED = HEADER.lower().encode()
# Headers of ours that nobody else may send.
_OURS = b"x-pratique-"
# What the engine sends when it takes a connection over without having been asked to by an Upgrade header.
_HIJACKED = (b"application/vnd.docker.raw-stream", b"application/vnd.docker.multiplexed-stream")


class FrontSocket:
    """Passes every request of `path` to the engine's socket, with the identity of who sent it."""

    def __init__(self, key: bytes, engine: Path) -> None:
        self._key = key
        self._engine = engine
        self._server: asyncio.Server | None = None
        self._taken: dict[str, asyncio.StreamWriter] = {}
        self._open: Counter[int] = Counter()
        self._serving: set[asyncio.Task[None]] = set()

    def cut(self, stamp_: str) -> None:
        """End the connection that the engine took over for the request with this stamp."""
        writer = self._taken.pop(stamp_, None)
        if writer is not None:
            writer.transport.abort()

    def holds(self, stamp_: str) -> bool:
        """Say whether the engine took over the connection of the request with this stamp, and it is open still."""
        return stamp_ in self._taken

    async def listen(self, path: Path, mode: int = 0o660, group: int = -1) -> None:
        """Listen, replacing what a killed process left. Raises OSError."""
        import asyncio

        self._server = await asyncio.start_unix_server(self._serve, sock=unix_socket(path, mode, group), limit=_CHUNK)

    async def close(self) -> None:
        """Take no more connections, and end those that there are: what goes through them is not watched any more."""
        import asyncio

        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # the gate ends: a server's task that is cancelled would be reported as a defect
        finally:
            self._serving.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        import h11

        upstream: asyncio.StreamWriter | None = None
        peer = peer_of(writer.get_extra_info("socket"))
        if self._open[peer.uid] >= MAX_OF_ONE:
            writer.write(_TOO_MANY)
            return
        self._open[peer.uid] += 1
        try:
            from_engine, upstream = await asyncio.open_unix_connection(str(self._engine), limit=_CHUNK)
            side = _Relay(peer, self._key, self._taken)
            await side.run(reader, writer, from_engine, upstream)
        except h11.ProtocolError:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except (ConnectionError, FileNotFoundError):
            if upstream is None:
                with contextlib.suppress(TimeoutError):  # what is not read when a socket is closed takes the answer with it
                    async with asyncio.timeout(_PATIENCE):
                        await reader.read(_CHUNK)
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            self._open[peer.uid] -= 1
            if upstream is not None:
                upstream.close()


class _Relay:
    """One client's connection and one to the engine, request after request."""

    def __init__(self, peer: Peer, key: bytes, taken: dict[str, asyncio.StreamWriter]) -> None:
        import h11

        self._taken = taken
        self._stamp = ""

        self._peer = peer
        self._key = key
        self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._engine = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)

    async def run(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_engine: asyncio.StreamReader,
        to_engine: asyncio.StreamWriter,
    ) -> None:
        """Pass on until one end closes."""
        import asyncio

        import h11

        while True:
            request = await _next(self._client, reader)
            if not isinstance(request, h11.Request):
                return
            to_engine.write(self._engine.send(self._stamped(request)) or b"")
            sending = asyncio.ensure_future(self._send_body(reader, to_engine))
            try:
                taken_over = await self._send_answer(request, from_engine, writer)
            except BaseException:
                sending.cancel()
                raise
            if taken_over:
                await sending
                await self._take_over(reader, writer, from_engine, to_engine)
                return
            if not sending.done():  # the engine answered before it had the whole body: it will not read the rest
                sending.cancel()
                return
            await sending
            if self._client.our_state is not h11.DONE or self._engine.their_state is not h11.DONE:
                return
            self._client.start_next_cycle()
            self._engine.start_next_cycle()

    def _stamped(self, request: h11.Request) -> h11.Request:
        import h11

        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        value = self._stamp = stamp(self._key, self._peer, method, target, time.time())
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
            raise h11.RemoteProtocolError("the body has two lengths")
        headers = [(name, value) for name, value in _one_type(request.headers.raw_items()) if not name.lower().startswith(_OURS)]
        return h11.Request(method=request.method, target=request.target, headers=[*headers, (HEADER.encode(), value.encode())])

    async def _send_body(self, reader: asyncio.StreamReader, to_engine: asyncio.StreamWriter) -> None:
        import h11

        while True:
            event = await _next(self._client, reader)
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                raise ConnectionError("the client went away")
            to_engine.write(self._engine.send(event) or b"")
            await to_engine.drain()
            if isinstance(event, h11.EndOfMessage):
                return

    async def _send_answer(self, request: h11.Request, from_engine: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the engine took the connection over."""
        import h11

        while True:
            event = await _next(self._engine, from_engine)
            if isinstance(event, h11.InformationalResponse):
                writer.write(self._client.send(_answer(event)) or b"")
                await writer.drain()
                if event.status_code == 101:
                    return True
            elif isinstance(event, h11.Response):
                if _hijacked(request, event):
                    writer.write(_head(event))
                    return True
                writer.write(self._client.send(_answer(event)) or b"")
            elif isinstance(event, h11.Data | h11.EndOfMessage):
                writer.write(self._client.send(event) or b"")
                await writer.drain()
                if isinstance(event, h11.EndOfMessage):
                    return False
            else:
                return False

    async def _take_over(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_engine: asyncio.StreamReader,
        to_engine: asyncio.StreamWriter,
    ) -> None:
        import asyncio

        to_engine.write(self._client.trailing_data[0])
        writer.write(self._engine.trailing_data[0])
        sending = asyncio.ensure_future(_pump(reader, to_engine))
        self._taken[self._stamp] = writer
        try:
            await _pump(from_engine, writer)  # the engine's end is the end: a client's may be of its input alone
        finally:
            self._taken.pop(self._stamp, None)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def _one_type(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Make several content types one that is none: the engine goes by the first, and shows its plugin the last."""
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    if len(kinds) < 2:
        return list(headers)
    rest = [(name, value) for name, value in headers if name.lower() != b"content-type"]
    return [*rest, (b"Content-Type", b", ".join(kinds))]


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
    import h11

    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        if connection.they_are_waiting_for_100_continue:
            raise h11.RemoteProtocolError("no continuation is given", error_status_hint=417)
        connection.receive_data(await reader.read(_CHUNK))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy to the end; a half that is closed closes the other side's half."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _answer(event: h11.Response | h11.InformationalResponse) -> h11.Response | h11.InformationalResponse:
    """Keep the letter case that the engine chose: some clients look for it."""
    return type(event)(status_code=event.status_code, headers=event.headers.raw_items(), reason=event.reason)


def _hijacked(request: h11.Request, event: h11.Response) -> bool:
    kinds = [value for name, value in event.headers if name == b"content-type"]
    path = request.target.partition(b"?")[0]
    streams = path.endswith((b"/attach", b"/start")) and request.method == b"POST"
    return streams and any(kind.startswith(_HIJACKED) for kind in kinds)


def _head(event: h11.Response) -> bytes:
    lines: Iterable[bytes] = (name + b": " + value for name, value in event.headers.raw_items())
    return b"HTTP/1.1 %d %s\r\n" % (event.status_code, bytes(event.reason)) + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
