"""One client's connection in, its requests one after the other out, framed by h11; bodies as they come, bounded in time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pratique.enforce.serving import IDLE_SECONDS, MAX_HEAD, Answer

if TYPE_CHECKING:
    import asyncio

    import h11

_CHUNK = 256 << 10
# Seconds between two parts of a body that is being sent, or taken: a client that is slower holds a connection for nothing.
PART_SECONDS = 60.0
# What is read of a body that nobody wants, so that the client reads the answer before its connection ends; and for how long.
_DRAIN, _DRAIN_SECONDS = 1 << 20, 2.0


class Gone(Exception):  # noqa: N818 - nobody is at fault
    """There is nobody to answer, or nothing to say to who is there: the connection ends."""


class TooLargeError(Exception):
    """A body over its bound."""


class Client:
    """The client's end of a connection: `next` waits for a request, whose parts are then here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11

        self._reader, self._writer = reader, writer
        self._state = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        peer = writer.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self.method, self.target = "", ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = False

    async def next(self) -> bool:
        """Wait for a request; say whether there is one."""
        import h11

        if self._state.their_state is h11.DONE and self._state.our_state is h11.DONE:
            self._state.start_next_cycle()
        elif self.begun:
            return False
        self.begun = False
        event = await self._event(IDLE_SECONDS)
        if not isinstance(event, h11.Request):
            return False
        self.method, self.target = event.method.decode("ascii"), event.target.decode("latin-1")
        self.headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        return True

    def header(self, name: str) -> str:
        """Return a header; "" where it is missing, or comes twice, so that nobody reads another of the two."""
        found = [value.decode("latin-1") for key, value in self.headers if key == name.encode()]
        return found[0] if len(found) == 1 else ""

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body. Raises Gone."""
        import h11

        if self._state.they_are_waiting_for_100_continue:
            self._writer.write(self._state.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        while self._state.their_state is h11.SEND_BODY:
            event = await self._event(PART_SECONDS)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif not isinstance(event, h11.EndOfMessage):
                raise Gone

    async def whole(self, limit: int) -> bytes:
        """Return the request's body. Raises TooLargeError."""
        found = bytearray()
        async for part in self.body():
            found += part
            if len(found) > limit:
                raise TooLargeError
        return bytes(found)

    async def say(self, answer: Answer) -> None:
        """Answer whole. Raises Gone."""
        headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers]
        await self.begin(answer.status, headers)
        await self.end(answer.body)

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head of an answer."""
        import h11

        self.begun = True
        self._writer.write(self._state.send(h11.Response(status_code=status, headers=headers)) or b"")

    async def send(self, part: bytes) -> None:
        """Send a part of the answer's body. Raises TimeoutError where the client does not take it."""
        import asyncio

        import h11

        self._writer.write(self._state.send(h11.Data(data=part)) or b"")
        async with asyncio.timeout(PART_SECONDS):
            await self._writer.drain()

    async def end(self, last: bytes = b"") -> None:
        """Send the rest of the answer; what is left of the request's body is read and dropped, as far as that is little."""
        import asyncio

        import h11

        if last and self.method != "HEAD":
            self._writer.write(self._state.send(h11.Data(data=last)) or b"")
        self._writer.write(self._state.send(h11.EndOfMessage()) or b"")
        async with asyncio.timeout(PART_SECONDS):
            await self._writer.drain()
        if self._state.their_state is h11.SEND_BODY and not self._state.they_are_waiting_for_100_continue:
            with contextlib.suppress(TimeoutError, Gone, TooLargeError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self.whole(_DRAIN)

    async def _event(self, seconds: float) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        import asyncio

        import h11

        while True:
            event = self._state.next_event()
            if event is not h11.NEED_DATA:
                return event
            async with asyncio.timeout(seconds):
                self._state.receive_data(await self._reader.read(_CHUNK))
