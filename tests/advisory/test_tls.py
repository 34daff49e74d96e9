"""Feeds and published databases over TLS, from servers of a private authority, and by way of a proxy that tunnels."""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

import loopback
from authority import Authority
from feedsim import FeedServer, serving, small_mirror
from pratique.advisory import fetch
from pratique.advisory.fetch import Fetcher, Validators
from pratique.advisory.update import Options, update
from pratique.cli.main import run
from pratique.model.advisory import Feed
from pratique.model.errors import FeedError

pytestmark = pytest.mark.loopback

_PATH = "cisa/known_exploited_vulnerabilities.json"
_FEED = Feed(name="cisa/kev", path=_PATH, url="https://example.invalid/kev.json", max_bytes=2_000_000)
_NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.01)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def _secured(certificate: Path) -> Iterator[FeedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(small_mirror(), context) as state:
        yield state


def _fetch(mirror: str, folder: Path) -> bytes:
    fetcher = Fetcher(folder, mirror=mirror)
    try:
        path = fetcher.fetch(_FEED, Validators()).path
        assert path is not None
        return path.read_bytes()
    finally:
        fetcher.close()


def test_a_private_authority_that_is_trusted(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names it; a whole update goes through."""
    with _secured(authority.server("127.0.0.1")) as server:
        assert server.url.startswith("https://")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        outcomes = update(tmp_path / "cache", ["cisa/kev", "osv/PyPI"], Options(mirror=server.url), now=lambda: _NOW)
        assert [outcome.status for outcome in outcomes] == ["updated", "updated"]


def test_an_authority_that_nobody_trusts(authority: Authority, tmp_path: Path) -> None:
    """Refused at once, without another try, and with a word of what to do; nothing is asked of the server."""
    with _secured(authority.server("127.0.0.1")) as server:
        (tmp_path / "x").mkdir()
        with pytest.raises(FeedError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
            _fetch(server.url, tmp_path / "x")
        assert server.asked == []
        assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.parametrize(("hosts", "days"), [(("elsewhere.example",), 1), (("127.0.0.1",), -1)])
def test_a_certificate_of_another_or_of_yesterday(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...], days: int
) -> None:
    """Trusting the authority is not trusting whatever it signed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with _secured(authority.server(*hosts, days=days)) as server, pytest.raises(FeedError, match="certificate is not trusted"):
        _fetch(server.url, tmp_path)


def test_an_http_server_where_tls_was_asked_for(tmp_path: Path) -> None:
    """Nothing is read in plain instead."""
    with serving(small_mirror()) as server:
        with pytest.raises(FeedError, match="TLS"):
            _fetch(server.url.replace("http:", "https:"), tmp_path)
        assert server.asked == []


def test_a_proxy_that_tunnels(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY gets a CONNECT and sees no more than the name; TLS ends at the server, by its certificate."""
    with _secured(authority.server("feeds.example.test")) as server, _tunnel(server.url) as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(FeedError, match="certificate is not trusted"):
            _fetch("https://feeds.example.test", tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert _fetch("https://feeds.example.test", tmp_path) == server.files[_PATH]
        assert set(asked) == {"CONNECT feeds.example.test:443 HTTP/1.1"}
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with pytest.raises(FeedError, match=r"no connection|proxy"):
            _fetch("https://feeds.example.test", tmp_path)


def test_the_command_by_way_of_both(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As people run it: exit 3 and the reason, then exit 0."""
    with _secured(authority.server("feeds.example.test")) as server, _tunnel(server.url) as (proxy, _):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        arguments = ["db", "update", "--only", "kev", "--mirror", "https://feeds.example.test", "--cache-dir", str(tmp_path)]
        assert run(arguments) == 3
        assert "SSL_CERT_FILE" in capsys.readouterr().out
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert run(arguments) == 0


def test_a_published_database_over_tls(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is believed is signed; who is spoken to is checked all the same."""
    with serving(small_mirror()) as feeds:
        assert run(["db", "build", str(tmp_path / "work"), "--only", "PyPI,kev", "--mirror", feeds.url]) == 0
    site = tmp_path / "site"
    publish = ["db", "publish", str(site), "--keys", str(tmp_path / "keys"), "--cache-dir", str(tmp_path / "work")]
    assert run(publish) == 0
    with _secured(authority.server("127.0.0.1")) as server:
        server.files = {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}
        root = site / "metadata/1.root.json"
        pull = ["db", "pull", server.url, "--trusted-root", str(root), "--cache-dir", str(tmp_path / "cache")]
        assert run(pull) == 3
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert run(pull) == 0


class _Tunnels(loopback.Threads, socketserver.TCPServer):
    pass


@contextmanager
def _tunnel(target: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a proxy that leads every tunnel to `target`, whatever name is asked for; yield its address and what it was asked."""
    asked: list[str] = []
    place = ("127.0.0.1", int(target.rpartition(":")[2]))

    class Proxy(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode().strip())
            while self.rfile.readline().strip():
                pass
            with socket.create_connection(place) as far:
                self.wfile.write(b"HTTP/1.1 200 established\r\n\r\n")
                _join(self.connection, far)

    server = _Tunnels(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _join(near: socket.socket, far: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([near, far], [], [], 5)
        for one in ready:
            data = one.recv(65536)
            if not data:
                return
            (far if one is near else near).sendall(data)
        if not ready:
            return
