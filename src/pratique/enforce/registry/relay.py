"""One connection to the registry behind the gate: a request out, its answer in, bodies streamed, both ends framed anew by h11."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, NamedTuple

from pratique.enforce.serving import MAX_HEAD
from pratique.model.errors import CouldNotError

if TYPE_CHECKING:
    import asyncio

    import h11

CHUNK = 256 << 10
# Seconds that the registry may take to begin an answer: it may be writing a large layer to slow storage.
ANSWER_SECONDS = 120.0
# Headers that pass from client to registry. The rest says something about the client, or about the way to here.
_ASKED = frozenset(
    (b"accept", b"content-type", b"content-range", b"range", b"if-none-match", b"if-match", b"content-length",
     b"transfer-encoding", b"user-agent")
)  # fmt: skip
# Headers that pass from registry to client.
_ANSWERED = frozenset(
    (b"content-type", b"content-length", b"transfer-encoding", b"docker-content-digest", b"docker-distribution-api-version",
     b"docker-upload-uuid", b"location", b"range", b"content-range", b"accept-ranges", b"etag", b"link", b"cache-control",
     b"last-modified", b"oci-subject", b"oci-filters-applied", b"oci-chunk-min-length", b"x-content-type-options")
)  # fmt: skip


class UpstreamError(CouldNotError):
    """The registry behind the gate did not answer, or not as a registry does."""


class Answered(NamedTuple):
    """The head of an answer; names of headers in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def one(self, name: bytes) -> str:
        """Return a header, "" where there is none."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


class Upstream:
    """A connection to the registry, opened when it is needed and kept while it lives."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._state: h11.Connection | None = None
        self._spent = False  # the registry answered before it had read the whole request: nothing more can be asked

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = self._state = None

    def tidy(self) -> None:
        """Hang up where an answer was not read to its end: nothing more can be asked on this connection."""
        import h11

        if self._state is not None and self._state.our_state is not h11.IDLE:
            self.close()

    async def ask(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: AsyncIterator[bytes] | bytes = b""
    ) -> Answered:
        """Send a request with its body, and return the head of the answer. Raises UpstreamError."""
        import h11

        try:
            state, writer = await self._opened()
            writer.write(state.send(h11.Request(method=method, target=target, headers=headers)) or b"")
            answered = await self._exchange(state, writer, body)
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            self.close()
            raise UpstreamError(f"the registry does not answer: {type(error).__name__}") from error
        return answered

    async def _exchange(
        self, state: h11.Connection, writer: asyncio.StreamWriter, body: AsyncIterator[bytes] | bytes
    ) -> Answered:
        """Send the body and wait for the answer, whichever comes first: a registry may refuse what it has not read yet."""
        import asyncio

        sending = asyncio.ensure_future(self._send(state, writer, body))
        head = asyncio.ensure_future(self._head())
        try:
            await asyncio.wait({sending, head}, return_when=asyncio.FIRST_COMPLETED)
            if not head.done():
                await sending  # where it failed nobody will answer
            answered = await head
            self._spent = not sending.done()
            return answered
        finally:
            for task in (sending, head):
                task.cancel()
            await asyncio.gather(sending, head, return_exceptions=True)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the answer's body. Raises UpstreamError where it is cut short."""
        import h11

        assert self._state is not None
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                self.close()
                raise UpstreamError("the registry's answer is cut short")
        if self._spent or self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            self.close()
        else:
            self._state.start_next_cycle()

    async def whole(self, limit: int) -> bytes:
        """Return the answer's body. Raises UpstreamError where it is larger than `limit`."""
        found = bytearray()
        async for part in self.body():
            found += part
            if len(found) > limit:
                self.close()
                raise UpstreamError(f"the registry's answer has more than {limit >> 20} MiB")
        return bytes(found)

    async def _opened(self) -> tuple[h11.Connection, asyncio.StreamWriter]:
        import asyncio

        import h11

        if self._reader is not None and (self._reader.at_eof() or self._writer is None or self._writer.is_closing()):
            self.close()
        if self._writer is None or self._state is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=CHUNK)
            self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        return self._state, self._writer

    async def _send(self, state: h11.Connection, writer: asyncio.StreamWriter, body: AsyncIterator[bytes] | bytes) -> None:
        import h11

        if isinstance(body, bytes):
            writer.write((state.send(h11.Data(data=body)) or b"") if body else b"")
        else:
            async for part in body:
                writer.write(state.send(h11.Data(data=part)) or b"")
                await writer.drain()
        writer.write(state.send(h11.EndOfMessage()) or b"")
        await writer.drain()

    async def _head(self) -> Answered:
        import h11

        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return Answered(event.status_code, [(bytes(name), bytes(value)) for name, value in event.headers])
            if not isinstance(event, h11.InformationalResponse):
                raise UpstreamError("the registry hung up")

    async def _next(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        import asyncio

        import h11

        assert self._state is not None
        assert self._reader is not None
        while True:
            event = self._state.next_event()
            if event is not h11.NEED_DATA:
                return event
            async with asyncio.timeout(ANSWER_SECONDS):
                self._state.receive_data(await self._reader.read(CHUNK))


def asked_headers(headers: list[tuple[bytes, bytes]], host: str, token: str) -> list[tuple[bytes, bytes]]:
    """Return what the registry is told of a client's request."""
    kept = [(name, value) for name, value in headers if name in _ASKED]
    return [(b"host", host.encode()), (b"authorization", b"Bearer " + token.encode()), *kept]


def answered_headers(headers: list[tuple[bytes, bytes]], location: Callable[[str], str]) -> list[tuple[bytes, bytes]]:
    """Return what a client is told of the registry's answer; addresses are made those of the gate."""
    found = []
    for name, value in headers:
        if name in _ANSWERED:
            found.append((name, location(value.decode("latin-1")).encode("latin-1") if name == b"location" else value))
    return found
