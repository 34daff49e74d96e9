"""The front socket, before an engine of the tests' own: whose request it is, taken-over connections, what is read in two ways."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique.enforce.docker.front import FrontSocket
from pratique.enforce.docker.identity import HEADER, read_stamp

KEY = b"k" * 32


class Engine:
    """Answers each request with what it came as; takes attach over and echoes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                if b"/attach" in head:
                    if b"pgrade: tcp" in head:
                        writer.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
                    else:
                        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
                    while data := await reader.read(1000):
                        writer.write(b"<" + data + b">")
                    break
                length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
                if b"/early" in head:
                    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
                    break
                body = await reader.readexactly(length)
                if b"transfer-encoding: chunked" in head.lower():
                    body = await reader.readuntil(b"0\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nX-Case: Kept\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Stand:
    """Front and engine on a loop of their own."""

    def __init__(self, folder: Path) -> None:
        self.front = folder / "front.sock"
        self.engine = Engine(folder / "engine.sock")
        self.socket = FrontSocket(KEY, self.engine.path)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self._start())

    async def _start(self) -> None:
        self._server = await asyncio.start_unix_server(self.engine.serve, str(self.engine.path))
        await self.socket.listen(self.front, 0o600)

    def call(self, work: object) -> object:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)  # type: ignore[arg-type]

    def close(self) -> None:
        async def end() -> None:
            await self.socket.close()
            self._server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def connect(self) -> socket.socket:
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(10)
        end.connect(str(self.front))
        return end


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.close()


def said(end: socket.socket, sent: bytes) -> bytes:
    """Send, close the sending side, and return all that comes back."""
    with end:
        end.sendall(sent)
        end.shutdown(socket.SHUT_WR)
        found = b""
        while data := end.recv(65536):
            found += data
    return found


def until(end: socket.socket, words: bytes) -> bytes:
    found = b""
    while words not in found:
        data = end.recv(65536)
        assert data, found
        found += data
    return found


def request(method: str = "GET", target: str = "/x", body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: e", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def stamps(head: bytes) -> list[str]:
    lines = head.decode("latin-1").split("\r\n")
    return [line.partition(": ")[2] for line in lines if line.lower().startswith(HEADER.lower() + ":")]


def test_each_request_says_who(stand: Stand) -> None:
    """Two on one connection, each with a stamp of its own, by what the kernel says."""
    with stand.connect() as end:
        end.sendall(request(target="/a"))
        assert b"X-Case: Kept" in until(end, b"\r\n\r\n")
        end.sendall(request("POST", "/b?x=1", b"hello"))
        assert until(end, b"hello").endswith(b"hello")
    first, second = (stamps(head) for head in stand.engine.heads)
    assert len(first) == len(second) == 1
    import time

    for value, method, target in ((first[0], "GET", "/a"), (second[0], "POST", "/b?x=1")):
        assert read_stamp(KEY, value, method, target, time.time()).uid == os.getuid()


@pytest.mark.parametrize("name", [HEADER, HEADER.lower(), HEADER.upper(), "X-Pratique-Other"])
def test_nobody_else_says_who(stand: Stand, name: str) -> None:
    said(stand.connect(), request("GET", "/a", b"", f"{name}: v1 0 0 1 1.0 x y", f"{name}: again"))
    (head,) = stand.engine.heads
    assert len(stamps(head)) == 1
    assert b"v1 0 0 1" not in head
    assert b"again" not in head


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a HTTP/1.1\r\nHost: e\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET /a HTTP/1.1\r\nHost: e\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: e\r\nContent-Length: -1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost : e\r\n\r\n",
        b"GET /a\x00 HTTP/1.1\r\nHost: e\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: e\r\nX: a\r\n b\x00\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: e\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_can_be_read_in_two_ways_ends_here(stand: Stand, sent: bytes) -> None:
    found = said(stand.connect(), sent)
    assert found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")) or not found
    assert not any(b"/a" in head for head in stand.engine.heads)


def test_a_body_in_pieces(stand: Stand) -> None:
    found = said(stand.connect(), b"POST /b HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert b"hello" in found
    assert len(stamps(stand.engine.heads[0])) == 1


@pytest.mark.parametrize("upgrade", [True, False])
def test_a_connection_that_is_taken_over(stand: Stand, upgrade: bool) -> None:
    """Bytes go both ways; what looks like a request in them is none, and gets no stamp."""
    headers = ("Connection: Upgrade", "Upgrade: tcp") if upgrade else ()
    with stand.connect() as end:
        end.sendall(request("POST", "/containers/x/attach", b"", *headers))
        until(end, b"\r\n\r\n")
        end.sendall(request("POST", "/containers/create", b"{}"))
        assert b"<POST /containers/create" in until(end, b"{}>")
        end.shutdown(socket.SHUT_WR)
        while end.recv(1000):
            pass
    assert len(stand.engine.heads) == 1


def test_a_taken_over_connection_is_cut(stand: Stand) -> None:
    with stand.connect() as end:
        end.sendall(request("POST", "/containers/x/attach", b"", "Connection: Upgrade", "Upgrade: tcp"))
        until(end, b"\r\n\r\n")
        (value,) = stamps(stand.engine.heads[0])
        end.sendall(b"a")
        until(end, b"<a>")

        async def cut() -> None:
            stand.socket.cut("another")
            stand.socket.cut(value)

        stand.call(cut())
        with contextlib.suppress(ConnectionResetError):
            assert end.recv(1000) == b""


def test_a_request_behind_one_that_is_not_read_goes_nowhere(stand: Stand) -> None:
    """The engine answered before it had the body: what follows could be taken for it."""
    with stand.connect() as end:
        end.sendall(b"POST /early HTTP/1.1\r\nHost: e\r\nContent-Length: 100000\r\n\r\n" + request(target="/hidden"))
        found = b""
        while data := end.recv(1000):
            found += data
    assert not any(b"/hidden" in head.split(b"\r\n")[0] for head in stand.engine.heads)


def test_no_engine(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    try:
        stand.engine.path.unlink()
        assert said(stand.connect(), request()).startswith(b"HTTP/1.1 502 ")
    finally:
        stand.close()


def test_what_a_killed_gate_left_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "front.sock"))
    left.close()
    stand = Stand(tmp_path)
    try:
        assert stand.front.stat().st_mode & 0o777 == 0o600
        assert b"200 OK" in said(stand.connect(), request())
    finally:
        stand.close()
