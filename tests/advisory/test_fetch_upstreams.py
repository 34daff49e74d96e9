"""What upstreams say of themselves: when to come back, where to go on, which digest a download must have; and proxies between."""

from __future__ import annotations

import base64
import email.utils
import gzip
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedsim import FeedServer, serving, small_mirror
from pratique.advisory import fetch, proof
from pratique.advisory.feeds import sources
from pratique.advisory.fetch import Fetcher, Validators
from pratique.advisory.update import Options, update
from pratique.model.advisory import Feed
from pratique.model.errors import FeedError

pytestmark = pytest.mark.loopback

_BODY = bytes(range(256)) * 400
_PATH = "feeds/a.zip"
_FEED = Feed(name="a/b", path=_PATH, url="https://example.invalid/a.zip", max_bytes=2_000_000)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving({_PATH: _BODY}) as state:
        yield state


def _fetch(server: FeedServer, folder: Path, feed: Feed = _FEED, mirror: str = "") -> bytes:
    fetcher = Fetcher(folder, mirror=mirror or server.url)
    try:
        fetched = fetcher.fetch(feed, Validators())
    finally:
        fetcher.close()
    assert fetched.path is not None
    return fetched.path.read_bytes()


def _answer(status: int, headers: dict[str, str], body: bytes = b"") -> Callable[[Any], None]:
    return lambda handler: handler._answer(status, headers, body)


# -- when to come back ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_an_upstream_that_says_when_is_asked_then(server: FeedServer, tmp_path: Path, status: int) -> None:
    """A number of seconds, or a date: both are understood, one that has passed means now."""
    past = email.utils.formatdate(time.time() - 100, usegmt=True)
    server.plan[_PATH] = [_answer(status, {"Retry-After": "0"}), _answer(status, {"Retry-After": past})]
    assert _fetch(server, tmp_path) == _BODY
    assert len(server.asked) == 3


@pytest.mark.parametrize("hours", ["7200", "date"])
def test_an_upstream_that_wants_hours_is_left_alone(server: FeedServer, tmp_path: Path, hours: str) -> None:
    """Nobody waits that long, and nobody asks again before: the last good data serves."""
    asked = email.utils.formatdate(time.time() + 7200, usegmt=True) if hours == "date" else hours
    server.plan[_PATH] = [_answer(429, {"Retry-After": asked})]
    with pytest.raises(FeedError, match="left alone for 7"):
        _fetch(server, tmp_path)
    assert len(server.asked) == 1


# -- where to go on ------------------------------------------------------------------------------------------------------------


def test_a_server_that_ignores_ranges_sends_all_again(server: FeedServer, tmp_path: Path) -> None:
    """The whole file replaces the half, and is not put behind it."""
    server.plan[_PATH] = [0.5, lambda handler: handler._answer(200, {"ETag": server.tag(_PATH)}, _BODY)]
    assert _fetch(server, tmp_path) == _BODY
    assert "Range" in server.asked[1][1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 7-{len(_BODY) - 1}/{len(_BODY)}"},
        {"Content-Range": "nonsense"},
        {},
        {"Content-Range": f"bytes {len(_BODY) // 2}-{len(_BODY) - 1}/{len(_BODY)}", "Content-Encoding": "gzip"},
    ],
)
def test_another_part_than_was_asked_for_starts_over(server: FeedServer, tmp_path: Path, headers: dict[str, str]) -> None:
    """A part that begins elsewhere, says nothing or is coded otherwise is not joined."""
    server.plan[_PATH] = [0.5, _answer(206, headers, _BODY[len(_BODY) // 2 :])]
    assert _fetch(server, tmp_path) == _BODY


def test_a_range_that_cannot_be_had_starts_over(server: FeedServer, tmp_path: Path) -> None:
    """416: the file has become shorter, or is complete already."""
    server.plan[_PATH] = [0.5, _answer(416, {"Content-Range": f"bytes */{len(_BODY)}"})]
    assert _fetch(server, tmp_path) == _BODY
    assert not list(tmp_path.glob("*.part"))


# -- digests -------------------------------------------------------------------------------------------------------------------


def _coded(name: str, body: bytes) -> str:
    return base64.b64encode(hashlib.new(name, body).digest()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": f"sha-256=:{_coded('sha256', _BODY)}:"},
        {"Repr-Digest": f"unixsum=:AAAA:, sha-512=:{_coded('sha512', _BODY)}:"},
        {"x-goog-hash": f"crc32c=AAAAAA==,md5={_coded('md5', _BODY)}"},
        {"x-goog-hash": f"md5={_coded('md5', b'as stored, compressed')}", "x-goog-stored-content-encoding": "gzip"},
        {"Repr-Digest": "sha-256=:***:", "x-goog-hash": "md5"},
    ],
)
def test_a_digest_that_agrees_or_says_nothing_is_fine(server: FeedServer, tmp_path: Path, headers: dict[str, str]) -> None:
    """What is announced is checked; what is no digest, or is of another form of the file, proves nothing."""
    server.plan[_PATH] = [_answer(200, headers, _BODY)]
    assert _fetch(server, tmp_path) == _BODY


@pytest.mark.parametrize("name", ["Repr-Digest", "x-goog-hash"])
def test_a_download_that_is_not_what_was_announced_is_fetched_again(server: FeedServer, tmp_path: Path, name: str) -> None:
    """Damage on the way is mended by another try, and in the end refused: nothing of it is left."""
    value = f"sha-256=:{_coded('sha256', b'other')}:" if name == "Repr-Digest" else f"md5={_coded('md5', b'other')}"
    server.plan[_PATH] = [_answer(200, {name: value}, _BODY)]
    assert _fetch(server, tmp_path) == _BODY
    server.plan[_PATH] = [_answer(200, {name: value}, _BODY)] * fetch.ATTEMPTS
    with pytest.raises(FeedError, match="not what was announced"):
        _fetch(server, tmp_path)
    assert not list(tmp_path.glob("*.part"))


def test_a_resumed_download_is_checked_as_a_whole(server: FeedServer, tmp_path: Path) -> None:
    """The digest is of the file, whichever part the answer brings."""
    half = len(_BODY) // 2
    span = f"bytes {half}-{len(_BODY) - 1}/{len(_BODY)}"
    good = {"Content-Range": span, "Repr-Digest": f"sha-256=:{_coded('sha256', _BODY)}:"}
    server.plan[_PATH] = [0.5, _answer(206, good, b"x" * half), 0.5, _answer(206, good, _BODY[half:])]
    assert _fetch(server, tmp_path) == _BODY
    assert len(server.asked) == 4


def _routed(folder: Path, name: str, url: str) -> bytes:
    source = sources()[name]
    fetcher = Fetcher(folder, attempts=1)
    try:
        path = fetcher.fetch(msgspec.structs.replace(source.feed, url=url), Validators(), source.route()).path
    finally:
        fetcher.close()
    assert path is not None
    return path.read_bytes()


def test_the_file_beside_an_archive_is_its_digest(server: FeedServer, tmp_path: Path) -> None:
    """Red Hat: where a .sha256 lies beside the archive it must agree, and be one; without it the archive is taken as it is."""
    server.files = {"v/archive_latest.txt": b"a.tar.zst", "v/a.tar.zst": b"archive"}
    address = f"{server.url}/v/archive_latest.txt"
    assert _routed(tmp_path, "redhat/vex", address) == b"archive"
    server.files["v/a.tar.zst.sha256"] = hashlib.sha256(b"archive").hexdigest().encode() + b"  a.tar.zst\n"
    assert _routed(tmp_path, "redhat/vex", address) == b"archive"
    for wrong in (b"0" * 64, b"<html>"):
        server.files["v/a.tar.zst.sha256"] = wrong
        with pytest.raises(FeedError, match="digest"):
            _routed(tmp_path, "redhat/vex", address)


def test_the_description_of_a_year_has_its_digest(server: FeedServer, tmp_path: Path) -> None:
    """NVD: the .meta file says what the feed inflates to."""
    feed = gzip.compress(b'{"vulnerabilities": []}')
    digest = hashlib.sha256(gzip.decompress(feed)).hexdigest().upper()
    meta = f"lastModifiedDate:2026-11-25T00:00:00\r\nsize:23\r\nsha256:{digest}\r\n"
    server.files = {"n/nvdcve-2.0-2024.meta": meta.encode(), "n/nvdcve-2.0-2024.json.gz": feed}
    address = f"{server.url}/n/nvdcve-2.0-2024.meta"
    assert _routed(tmp_path, "nvd/2024", address) == feed
    for wrong in (gzip.compress(b"other"), b"no gzip"):
        server.files["n/nvdcve-2.0-2024.json.gz"] = wrong
        with pytest.raises(FeedError, match="digest differs"):
            _routed(tmp_path, "nvd/2024", address)
    server.files["n/nvdcve-2.0-2024.meta"] = b"size:1"
    with pytest.raises(FeedError, match="does not describe"):
        _routed(tmp_path, "nvd/2024", address)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_header_is_a_digest_or_nothing(one: str, other: str) -> None:
    """Headers are not trusted to be well-formed."""
    for name, value in proof.stated({"Repr-Digest": one, "x-goog-hash": other}):
        assert name in {"sha256", "sha512", "md5"}
        bytes.fromhex(value)


# -- between us and them -------------------------------------------------------------------------------------------------------


def test_a_proxy_of_the_environment_is_used(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is given the whole address; NO_PROXY goes around it."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.files[f"http://feeds.example.test/{_PATH}"] = b"by way of the proxy"
    assert _fetch(server, tmp_path, mirror="http://feeds.example.test") == b"by way of the proxy"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert _fetch(server, tmp_path) == _BODY


def test_upstreams_are_asked_for_few_things_at_a_time(server: FeedServer, tmp_path: Path) -> None:
    """Never more than four requests are under way."""
    names = sorted(name for name, source in sources().items() if source.feed.path in small_mirror())
    server.files = small_mirror()
    turn, now, most = threading.Condition(), 0, 0

    def counted(path: str) -> Callable[[Any], None]:
        def send(handler: Any) -> None:
            nonlocal now, most
            with turn:
                now += 1
                most = max(most, now)
                turn.notify_all()
                turn.wait_for(lambda: most > 1, 60)
            time.sleep(0.02)
            with turn:
                now -= 1
            handler._answer(200, {}, server.files[path])

        return send

    server.plan = {path: [counted(path)] for path in server.files}
    outcomes = update(tmp_path, names, Options(mirror=server.url), now=lambda: datetime(2026, 11, 25, tzinfo=UTC))
    assert {outcome.status for outcome in outcomes} == {"updated"}
    assert 1 < most <= 4
