"""The one server of every gate: whoever crowds it, or says nothing, or little, keeps nobody else from being served."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.enforce import serving
from pratique.enforce.crowd import Connection, Crowd
from pratique.enforce.kubernetes import certificates
from pratique.enforce.serving import Answer, Asked, HttpServer

PATIENCE = 60.0


class Running:
    """A server in a thread of its own. Targets: /late does not end in time, /broken raises, all else is echoed."""

    def __init__(self, start: Callable[[HttpServer], Awaitable[int]], *, seconds: float = 5.0, **more: object) -> None:
        self.told: list[tuple[str, str]] = []
        self.port = 0
        self._start, self._seconds, self._more = start, seconds, more
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = HttpServer(self._handle, _failed, seconds=self._seconds, told=self._tell, **self._more)  # type: ignore[arg-type]
        self.port = await self._start(server)
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _handle(self, asked: Asked) -> Answer:
        if asked.target == "/late":
            await asyncio.sleep(PATIENCE)
        if asked.target == "/broken":
            raise RuntimeError("it is")
        return Answer(200, asked.body or b"hello", "text/plain")

    async def _tell(self, asked: Asked, why: str) -> None:
        self.told.append((asked.target, why))
        if asked.headers.get("x-ledger") == "broken":
            raise OSError("the ledger cannot be written")

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def _failed(_: Asked, why: str) -> Answer:
    return Answer(403, why.encode(), "text/plain")


async def _tcp(server: HttpServer) -> int:
    return await server.listen("127.0.0.1", 0)


@contextlib.contextmanager
def running(**more: object) -> Iterator[Running]:
    start = more.pop("start", _tcp)
    server = Running(start, **more)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.stop()


def ask(server: Running, target: str = "/", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ended(end: socket.socket) -> bool:
    """Wait until the other side has ended a connection."""
    end.settimeout(PATIENCE)
    try:
        return end.recv(100) == b""
    except ConnectionResetError:
        return True


def from_address(address: str, port: int) -> socket.socket:
    end = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(address, 0))
    end.settimeout(PATIENCE)
    return end


@pytest.mark.parametrize("target", ["/late", "/broken"])
def test_what_fails_is_denied_and_told(target: str) -> None:
    """No answer in time, or an error of the handler: it is denied, and then told, whatever becomes of that."""
    with running(seconds=0.2) as server:
        for ledger in ("whole", "broken"):
            status, said = ask(server, target, b"", **{"x-ledger": ledger})
            assert status == 403
            assert said
        assert ask(server)[0] == 200
    assert [one for one, _ in server.told] == [target, target]
    assert all(why for _, why in server.told)


def test_silent_connections_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address opens all that there may be and says nothing: the next, of somebody else, is served in place of one."""
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 20)
    with running() as server:
        crowd = [from_address("127.0.0.2", server.port) for _ in range(30)]
        quiet = from_address("127.0.0.3", server.port)
        for _ in range(10):
            assert ask(server) == (200, b"hello")
        assert any(ended(one) for one in crowd[:10])
        quiet.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in quiet.recv(1000), "who has few connections keeps them"
        for one in (*crowd, quiet):
            one.close()


def test_what_is_being_answered_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come: who waits for a decision gets it."""
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 4)
    with running(seconds=2.0) as server:
        waits = [from_address("127.0.0.2", server.port) for _ in range(3)]
        for one in waits:
            one.sendall(b"POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        for _ in range(8):
            assert ask(server)[0] == 200
        assert all(b" 403 " in one.recv(1000) for one in waits)
        for one in waits:
            one.close()


def test_a_request_in_drops_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is not a request: all of it is due within the time for one."""
    monkeypatch.setattr(serving, "READ_SECONDS", 0.5)
    with running() as server:
        end = from_address("127.0.0.1", server.port)
        dropped = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                end.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
                while not dropped.wait(0.05):
                    end.sendall(b"X: y\r\n")

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert ended(end)
        dropped.set()
        dripping.join(PATIENCE)
        end.close()


def test_who_does_not_take_an_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody reads does not stay for ever."""
    monkeypatch.setattr(serving, "READ_SECONDS", 0.5)
    with running(max_body=64 << 20) as server:
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        end.connect(("127.0.0.1", server.port))
        end.settimeout(PATIENCE)
        size = 16 << 20
        end.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        until = threading.Event()
        for _ in range(3000):
            if until.wait(0.01) or not _counted(server):
                break
        assert not _counted(server)
        end.close()


def _counted(server: Running) -> int:
    """Return how many connections of a port are established on this machine, as their server's end sees it."""
    mine = f":{server.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(mine) and row[3] == "01" for row in rows)


def test_a_handshake_that_does_not_come_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS a connection counts from its first moment: silent ones make room, and end when their time is over."""
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 10)
    certificates.make(tmp_path, ("127.0.0.1",), dt.datetime.now(dt.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))

    async def tls(server: HttpServer) -> int:
        return await server.listen("127.0.0.1", 0, context)

    with running(start=tls) as server:
        crowd = [from_address("127.0.0.2", server.port) for _ in range(20)]
        for _ in range(3):
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE, context=trusting)
            for _ in range(2):  # kept open between requests
                connection.request("POST", "/", b"x" * 300_000)
                assert connection.getresponse().read() == b"x" * 300_000
            connection.close()
        assert ended(crowd[0])
        for one in crowd:
            one.close()


def test_one_user_has_so_many(tmp_path: Path) -> None:
    """On a unix socket the kernel says who it is: one user's connections are counted, root's are not."""
    path = Path("/tmp") / f"pratique-server-{os.getpid()}.sock"

    async def unix(server: HttpServer) -> int:
        await server.listen_unix(path, 0o666)
        return 0

    with running(start=unix, max_of_one=3):
        ends = []
        for _ in range(6):
            end = socket.socket(socket.AF_UNIX)
            end.settimeout(PATIENCE)
            end.connect(str(path))
            ends.append(end)
        if os.geteuid() != 0:
            assert all(ended(end) for end in ends[3:])
        for end in ends if os.geteuid() == 0 else ends[:3]:
            end.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in end.recv(1000)
        for end in ends:
            end.close()
    path.unlink(missing_ok=True)


@given(st.lists(st.tuples(st.sampled_from(["come", "go", "busy", "idle", "hear"]), st.integers(0, 3), st.integers(0, 30))))
def test_a_crowd_is_bounded_and_fair(acts: list[tuple[str, int, int]]) -> None:
    """Never more than there may be; nobody busy is cut; whoever has most is cut; who was let in is in until then."""
    crowd, most = Crowd(5), 5
    inside: list[Connection] = []
    cut: list[Connection] = []

    def made(peer: int) -> Connection:
        one = Connection(peer, lambda: cut.append(one))
        return one

    for act, peer, which in acts:
        one = inside[which % len(inside)] if inside else None
        if act == "come":
            cut.clear()
            new = made(peer)
            full = len(inside) >= most
            counts = {each.peer: sum(other.peer == each.peer for other in inside) for each in inside if not each.busy}
            entered = crowd.enter(new)
            assert entered == (not full or bool(counts))
            assert len(cut) == (full and entered)
            for gone in cut:
                assert not gone.busy
                assert counts[gone.peer] == max(counts.values())
                inside.remove(gone)
            if entered:
                inside.append(new)
        elif one is None:
            continue
        elif act == "go":
            crowd.leave(one)
            crowd.leave(one)
            inside.remove(one)
        elif act == "hear":
            crowd.heard(one)
        else:
            one.busy = act == "busy"
        assert len(inside) <= most
        for each in range(4):
            assert crowd.count(each) == sum(other.peer == each for other in inside)
