"""Fetching against a server that misbehaves in every way."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedsim import FeedServer, serving
from pratique.advisory import fetch
from pratique.advisory.download import retry_after
from pratique.advisory.fetch import Fetcher, Validators, address
from pratique.model.advisory import Feed
from pratique.model.errors import FeedError

pytestmark = pytest.mark.loopback

_BODY = bytes(range(256)) * 4000
_PATH = "feeds/a.zip"
_NOTHING = Validators()
_FEED = Feed(name="a/b", path=_PATH, url="https://example.invalid/a.zip", max_bytes=2_000_000)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving({_PATH: _BODY}) as state:
        yield state


def _fetch(server: FeedServer, folder: Path, known: Validators = _NOTHING, feed: Feed = _FEED) -> tuple[bytes | None, Validators]:
    fetcher = Fetcher(folder, mirror=server.url)
    try:
        fetched = fetcher.fetch(feed, known)
    finally:
        fetcher.close()
    return (fetched.path.read_bytes() if fetched.path else None), fetched.validators


def test_a_feed_comes_once_and_then_only_headers(server: FeedServer, tmp_path: Path) -> None:
    """The second request is conditional and transfers no body."""
    body, validators = _fetch(server, tmp_path)
    assert body == _BODY
    sent = server.bodies()
    assert _fetch(server, tmp_path, validators) == (None, validators)
    assert server.bodies() == sent
    assert server.asked[-1][1]["If-None-Match"] == validators.etag


def test_validators_belong_to_their_address(server: FeedServer, tmp_path: Path) -> None:
    """What another mirror said of its copy is not sent to this one."""
    body, _ = _fetch(server, tmp_path, Validators("https://elsewhere/a.zip", '"x"'))
    assert body == _BODY
    assert "If-None-Match" not in server.asked[-1][1]


def test_an_interrupted_download_is_resumed(server: FeedServer, tmp_path: Path) -> None:
    """Only the rest is asked for, on the condition that it is the same file."""
    server.plan[_PATH] = [0.5]
    assert _fetch(server, tmp_path)[0] == _BODY
    assert server.asked[1][1]["Range"] == f"bytes={len(_BODY) // 2}-"
    assert server.bodies() == len(_BODY)


def test_a_later_run_resumes_too(server: FeedServer, tmp_path: Path) -> None:
    """What a killed process left is gone on with."""
    server.plan[_PATH] = [0.25, 0.25, 0.25, 0.25]
    with pytest.raises(FeedError):
        _fetch(server, tmp_path)
    assert _fetch(server, tmp_path)[0] == _BODY
    assert server.asked[-1][1]["Range"].startswith("bytes=")


def test_a_file_that_changed_meanwhile_starts_over(server: FeedServer, tmp_path: Path) -> None:
    """The rest of another file is never put behind the beginning of this one."""
    server.plan[_PATH] = [0.5, 503, 503, 503]
    with pytest.raises(FeedError):
        _fetch(server, tmp_path)
    server.files[_PATH] = _BODY[::-1]
    assert _fetch(server, tmp_path)[0] == _BODY[::-1]


def test_without_a_strong_validator_nothing_is_resumed(server: FeedServer, tmp_path: Path) -> None:
    """A weak entity tag says nothing about bytes."""
    server.weak = True
    server.plan[_PATH] = [0.5]
    assert _fetch(server, tmp_path)[0] == _BODY
    assert all("Range" not in headers for _, headers in server.asked)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_upstream_is_asked_again(server: FeedServer, tmp_path: Path, status: int) -> None:
    """Up to the number of attempts."""
    server.plan[_PATH] = [status, status]
    assert _fetch(server, tmp_path)[0] == _BODY
    assert len(server.asked) == 3


def test_attempts_end(server: FeedServer, tmp_path: Path) -> None:
    """After the last one the error says what was answered."""
    server.plan[_PATH] = [503] * 9
    with pytest.raises(FeedError, match="answered 503"):
        _fetch(server, tmp_path)
    assert len(server.asked) == fetch.ATTEMPTS


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_final(server: FeedServer, tmp_path: Path, status: int) -> None:
    """What will not change is not asked again."""
    server.plan[_PATH] = [status]
    with pytest.raises(FeedError, match=f"answered {status}"):
        _fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_too_large_a_feed_is_refused_by_its_length(server: FeedServer, tmp_path: Path) -> None:
    """A 10 GB archive is refused before its body is read."""
    with pytest.raises(FeedError, match="more than 1000 bytes"):
        _fetch(server, tmp_path, feed=msgspec.structs.replace(_FEED, max_bytes=1000))


def test_an_endless_feed_is_refused_while_it_comes(server: FeedServer, tmp_path: Path) -> None:
    """Without a length, the bound holds on what has come."""

    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        except OSError:
            handler.close_connection = True

    server.plan[_PATH] = [endless]
    with pytest.raises(FeedError, match="more than 2000000 bytes"):
        _fetch(server, tmp_path)


def test_a_content_coding_is_undone_within_the_bound(server: FeedServer, tmp_path: Path) -> None:
    """Documents come compressed; what they inflate to is bounded like any feed."""
    server.encode = True
    feed = Feed(name="d", path="d.json", url="https://x/", max_bytes=100_000)
    server.files["d.json"] = json.dumps(["word"] * 5000).encode()
    assert _fetch(server, tmp_path, feed=feed)[0] == server.files["d.json"]
    server.files["d.json"] = b" " * 50_000_000
    with pytest.raises(FeedError, match="more than 100000 bytes"):
        _fetch(server, tmp_path, feed=feed)
    assert not list(tmp_path.glob("d.*"))


def test_a_broken_content_coding_is_an_error(server: FeedServer, tmp_path: Path) -> None:
    """Half a gzip stream, and codings that nobody asked for."""

    def answer(body: bytes, coding: str) -> Any:
        def send(handler: Any) -> None:
            handler._answer(200, {"Content-Encoding": coding}, body)

        return send

    feed = Feed(name="d", path=_PATH, url="https://x/", max_bytes=10_000)
    for body, coding in ((gzip.compress(b"x" * 99)[:-9], "gzip"), (b"plain", "gzip"), (b"x", "br")):
        server.plan[_PATH] = [answer(body, coding)]
        with pytest.raises(FeedError):
            _fetch(server, tmp_path, feed=feed)


def test_redirects_stay_on_loopback_or_lead_to_https(server: FeedServer, tmp_path: Path) -> None:
    """Never from one host to another without https, and not for ever."""
    server.files["other.zip"] = b"other"
    server.plan[_PATH] = ["/other.zip"]
    assert _fetch(server, tmp_path)[0] == b"other"
    server.plan[_PATH] = ["http://example.invalid/a.zip"]
    with pytest.raises(FeedError, match="not https"):
        _fetch(server, tmp_path)
    server.plan[_PATH] = [f"/{_PATH}"] * 9
    with pytest.raises(FeedError, match="redirects"):
        _fetch(server, tmp_path)


def test_nobody_listening_is_an_error_in_one_line(tmp_path: Path) -> None:
    """Connection errors are feed errors."""
    fetcher = Fetcher(tmp_path, mirror="http://127.0.0.1:1", attempts=2)
    with pytest.raises(FeedError) as caught:
        fetcher.fetch(_FEED, Validators())
    fetcher.close()
    assert "\n" not in str(caught.value)


def test_stopping_ends_a_download(server: FeedServer, tmp_path: Path) -> None:
    """Stop is heeded between packets and while pausing."""
    fetcher = Fetcher(tmp_path, mirror=server.url)
    fetcher.stop()
    with pytest.raises(FeedError, match="stopped"):
        fetcher.fetch(_FEED, Validators())
    fetcher.close()


def test_a_mirror_may_be_a_folder(tmp_path: Path) -> None:
    """Nothing is copied; a changed file is seen, an equal one is not read again."""
    (tmp_path / "feeds").mkdir()
    (tmp_path / _PATH).write_bytes(b"one")
    fetcher = Fetcher(tmp_path / "in", mirror=tmp_path.as_uri())
    first = fetcher.fetch(_FEED, Validators())
    assert (first.path, first.temporary) == (tmp_path / _PATH, False)
    assert fetcher.fetch(_FEED, first.validators).path is None
    (tmp_path / _PATH).write_bytes(b"other")
    assert fetcher.fetch(_FEED, first.validators).path is not None
    with pytest.raises(FeedError):
        fetcher.fetch(msgspec.structs.replace(_FEED, path="feeds"), Validators())
    with pytest.raises(FeedError, match="more than"):
        fetcher.fetch(msgspec.structs.replace(_FEED, max_bytes=2), Validators())


def test_addresses() -> None:
    """A mirror is laid out like the upstreams; odd schemes are refused."""
    assert address(_FEED, "") == _FEED.url
    spaced = msgspec.structs.replace(_FEED, path="osv/Rocky Linux/all.zip")
    assert address(spaced, "http://h/x/") == "http://h/x/osv/Rocky%20Linux/all.zip"
    with pytest.raises(FeedError):
        address(_FEED, "ftp://h")


def test_retry_after_is_a_number_or_a_date() -> None:
    """What cannot be read is as good as nothing."""
    assert retry_after("7") == 7
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 10 < (retry_after(date) or 0) <= 101
    assert retry_after("soon") is None


def test_nothing_changed_is_no_answer_to_who_has_nothing(server: FeedServer, tmp_path: Path) -> None:
    """304 is for conditional requests only: a server that says it of its own accord has given nothing."""
    server.plan[_PATH] = [304]
    with pytest.raises(FeedError, match="answered 304"):
        _fetch(server, tmp_path)
