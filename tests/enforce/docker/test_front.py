"""The front socket passes on what is meant in one way, for many people at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from pratique.enforce.docker.front import MAX_OF_ONE, FrontSocket
from pratique.enforce.docker.identity import HEADER


def _with_front(folder: Path, use: Callable[[Path, list[bytes]], Awaitable[None]]) -> None:
    """Run `use` with a front socket before an engine that answers everything with 200 and keeps what it was sent."""

    async def run() -> None:
        heard: list[bytes] = []

        async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heard.append(head)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()

        server = await asyncio.start_unix_server(engine, folder / "engine")
        front = FrontSocket(b"k" * 32, folder / "engine")
        await front.listen(folder / "front")
        try:
            await use(folder / "front", heard)
        finally:
            await front.close()
            server.close()

    asyncio.run(run())


async def _ask(path: Path, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(sent)
    data = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return data


def test_several_content_types_become_one_that_is_none(tmp_path: Path) -> None:
    """The engine goes by the first and shows its plugin the last; joined, both see the same."""

    async def use(front: Path, heard: list[bytes]) -> None:
        sent = b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\ncontent-TYPE: c/d\r\nContent-Length: 0\r\n\r\n"
        assert b" 200 " in await _ask(front, sent)
        kinds = [line for line in heard[0].split(b"\r\n") if line.lower().startswith(b"content-type")]
        assert kinds == [b"Content-Type: a/b, c/d"]

    _with_front(tmp_path, use)


def test_an_identity_is_the_front_sockets_own(tmp_path: Path) -> None:
    """Whatever a client calls so is taken away."""

    async def use(front: Path, heard: list[bytes]) -> None:
        sent = b"GET /x HTTP/1.1\r\nHost: x\r\nx-PRATIQUE-identity: v1 0 0 1\r\nX-Pratique-Other: y\r\n\r\n"
        assert b" 200 " in await _ask(front, sent)
        ours = [line for line in heard[0].split(b"\r\n") if line.lower().startswith(b"x-pratique-")]
        assert [line.partition(b":")[0] for line in ours] == [HEADER.encode()]

    _with_front(tmp_path, use)


def test_nobody_takes_all_connections(tmp_path: Path) -> None:
    """One user has so many and no more; when some are closed, there is room again."""

    async def use(front: Path, heard: list[bytes]) -> None:
        get = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
        held = [await asyncio.open_unix_connection(front) for _ in range(MAX_OF_ONE)]
        for _, writer in held:
            writer.write(get)
        for reader, _ in held:
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        assert b" 429 " in await _ask(front, get)
        for _, writer in held[:10]:
            writer.close()
        await asyncio.sleep(0.2)
        assert b" 200 " in await _ask(front, get)
        for _, writer in held[10:]:
            writer.close()

    _with_front(tmp_path, use)
