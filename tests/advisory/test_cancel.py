"""Ctrl-C while feeds come: at once, however dead the other side is. And servers that would hold everybody up for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feedsim import FeedServer, archive, record, serving, small_mirror
from pratique.advisory import fetch, line
from pratique.advisory.fetch import Fetcher, Validators
from pratique.advisory.lookup import open_database, verify
from pratique.cli.main import run
from pratique.model.advisory import Feed
from pratique.model.errors import FeedError

pytestmark = pytest.mark.loopback

_ARCHIVE = "osv/PyPI/all.zip"
_FEED = Feed(name="osv/PyPI", path=_ARCHIVE, url="https://example.invalid/x", max_bytes=2_000_000)
# A dead connection is given up after thirty seconds: who interrupts does not wait for that.
_AT_ONCE = 25.0


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving(small_mirror()) as state:
        yield state


def _stalls(server: FeedServer, at: threading.Event, end: threading.Event, *, after: int | None) -> Callable[[Any], None]:
    """Answer with `after` bytes of the archive, or not even with headers (None), and then say nothing any more."""

    def stall(handler: Any) -> None:
        body = server.files[_ARCHIVE]
        if after is not None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.send_header("ETag", server.tag(_ARCHIVE))
            handler.end_headers()
            handler.wfile.write(body[:after])
        at.set()
        end.wait(200)
        handler.close_connection = True

    return stall


@pytest.mark.parametrize("after", [None, 0, 20_000])
def test_an_update_that_is_interrupted(server: FeedServer, tmp_path: Path, after: int | None) -> None:
    """Exit 130 and one line, with the server silent before its headers or in the middle; the next update goes on from there."""
    cache = ["--cache-dir", str(tmp_path / "cache"), "--mirror", server.url, "--only", "PyPI,npm,Go"]
    assert run(["db", "update", *cache, "--quiet"]) == 0
    server.files[_ARCHIVE] = archive([record(f"PYSEC-{n}", f"p{n}", "1") for n in range(400)])
    assert len(server.files[_ARCHIVE]) > 30_000
    at, end = threading.Event(), threading.Event()
    server.plan[_ARCHIVE] = [_stalls(server, at, end, after=after)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pratique", "db", "update", *cache], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert at.wait(60)
        incoming = tmp_path / "cache/db/incoming"
        until = time.monotonic() + 60
        while after and not any(path.stat().st_size for path in incoming.iterdir()):  # until some of it has been read
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.2)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - started < _AT_ONCE
    finally:
        end.set()
        process.kill()
    assert (process.returncode, out, err) == (130, "", "pratique: interrupted\n")
    with open_database(tmp_path / "cache") as database:
        assert database.lookup("PyPI", ["flask"])["flask"]  # the last good data
    assert set(verify(tmp_path / "cache").values()) == {""}
    server.asked.clear()
    assert run(["db", "update", *cache]) == 0
    ranges = [headers.get("Range") for path, headers in server.asked if path == _ARCHIVE]
    assert len(ranges) == 1
    assert (ranges[0] is None) == (not after)
    assert not after or 0 < int(str(ranges[0]).removeprefix("bytes=").rstrip("-")) <= after
    with open_database(tmp_path / "cache") as database:
        assert database.lookup("PyPI", ["p89"])["p89"]
    assert list(incoming.iterdir()) == []


def _dripping(*, head: bool) -> Callable[[Any], None]:
    """Answer for ten seconds, a byte at a time: the headers, or the size of a chunk."""

    def drip(handler: Any) -> None:
        start = b"HTTP/1.1 200 OK\r\n" if head else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000;"
        handler.wfile.write(start)
        for _ in range(200):
            try:
                handler.wfile.write(b"x")
            except OSError:
                break
            time.sleep(0.05)
        handler.close_connection = True

    return drip


@pytest.mark.parametrize("head", [True, False])
def test_a_server_that_drips_is_left(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, head: bool) -> None:
    """Each byte comes in time for the bound on silence; there is one for the whole as well."""
    monkeypatch.setattr(line, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(fetch, "_TOTAL_SECONDS", 0.5)
    server.plan[_ARCHIVE] = [_dripping(head=head)] * 9
    fetcher, started = Fetcher(tmp_path, mirror=server.url), time.monotonic()
    with pytest.raises(FeedError):
        fetcher.fetch(_FEED, Validators())
    fetcher.close()
    assert time.monotonic() - started < _AT_ONCE


def test_a_server_that_is_slower_than_a_modem_is_left(
    server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next update goes on from there, and may find it quicker."""
    server.files[_ARCHIVE] = bytes(40_000)
    monkeypatch.setattr(fetch, "_SETTLING_SECONDS", 0.3)

    def crawl(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("ETag", server.tag(_ARCHIVE))
        handler.send_header("Content-Length", "40000")
        handler.end_headers()
        for _ in range(100):
            try:
                handler.wfile.write(bytes(100))
            except OSError:
                break
            time.sleep(0.05)
        handler.close_connection = True

    server.plan[_ARCHIVE] = [crawl]
    fetcher = Fetcher(tmp_path, mirror=server.url)
    with pytest.raises(FeedError, match="slower than 4096 bytes a second"):
        fetcher.fetch(_FEED, Validators())
    path = fetcher.fetch(_FEED, Validators()).path
    fetcher.close()
    assert path is not None
    assert path.read_bytes() == server.files[_ARCHIVE]
    assert server.asked[-1][1]["Range"].startswith("bytes=")
