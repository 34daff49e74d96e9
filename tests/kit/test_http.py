"""The HTTP drawer: pauses, bounds and messages."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import httpx2
import pytest

import imagebuilder as ib
import registrysim as sim
from pratique._kit import http
from pratique.image.blobstore import BlobStore
from pratique.model.errors import IntegrityError, TargetError

pytestmark = pytest.mark.loopback


def test_retry_after_is_seconds_or_a_date() -> None:
    """What is neither falls back to the back-off, which grows."""
    assert http.pause_of(httpx2.Response(429, headers={"Retry-After": "7"})) == 7
    later = http.pause_of(httpx2.Response(429, headers={"Retry-After": formatdate(time.time() + 100, usegmt=True)}))
    assert 10 < later <= 100
    assert http.pause_of(httpx2.Response(429, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"})) == 0
    for nonsense in ("", "soon", "-5", "9" * 400):
        assert http.pause_of(httpx2.Response(429, headers={"Retry-After": nonsense}), 0) >= 0
    assert http.pause_of(httpx2.Response(503), 4) > http.pause_of(httpx2.Response(503), 0)


def test_pauses_are_taken_and_bounded() -> None:
    """Five attempts, four pauses; a server that asks for an hour is not waited for."""
    pauses: list[float] = []
    asked: list[sim.Asked] = []
    answers = [sim.Answer(503)] * 5 + [sim.Answer(429, {"Retry-After": "3600"})]
    with sim.serve(lambda _: answers.pop(0), asked) as address, http.make_client(direct=True) as client:
        request = client.build_request("GET", address)
        assert http.exchange(client, request, sleep=pauses.append).status_code == 503
        assert len(pauses) == 4
        assert pauses == sorted(pauses)
        assert http.exchange(client, request, sleep=pauses.append).status_code == 429
        assert len(pauses) == 4


def test_bodies_are_bounded() -> None:
    """A body beyond the limit is not read to its end."""
    with sim.serve(lambda _: sim.Answer(200, {}, b"x" * 5000), []) as address, http.make_client(direct=True) as client:
        request = client.build_request("GET", address)
        assert len(http.read_body(http.exchange(client, request), 5000, "it")) == 5000
        with pytest.raises(TargetError, match="limit of 4999"):
            http.read_body(http.exchange(client, request), 4999, "it")


def test_messages_name_the_cause() -> None:
    """A port that nobody listens at, TLS against plain HTTP, and an answer that breaks off."""
    with http.make_client(direct=True) as client:
        with pytest.raises(http.Unreachable) as caught:
            http.exchange(client, client.build_request("GET", "http://127.0.0.1:1/"))
        assert caught.value.kind == "refused"
        with sim.serve(lambda _: sim.Answer(200, {}, b"x" * 100, cut=10), []) as address:
            with pytest.raises(http.Unreachable) as caught:
                http.exchange(client, client.build_request("GET", address.replace("http:", "https:")), attempts=1)
            assert caught.value.kind == "tls"
            with pytest.raises(http.Unreachable) as caught:
                http.read_body(http.exchange(client, client.build_request("GET", address)), 1000, "it")
            assert caught.value.kind == "protocol"


def test_the_blob_store_prunes_what_was_not_used(tmp_path: Path) -> None:
    """Least recently used first; damaged small blobs are as good as absent; names that are no digest never become paths."""
    store = BlobStore(tmp_path)
    blobs = [bytes([number]) * 1000 for number in range(4)]
    for data in blobs:
        store.put(ib.digest(data), data)
    used = time.time()
    for number, data in enumerate(blobs):
        os.utime(store.path(ib.digest(data)), (used - 100 + number, used - 100 + number))
    assert store.layer(ib.digest(blobs[0]), 1000) is not None
    assert store.prune(2000, used) == 2000
    assert [store.small(ib.digest(data), 5000) == data for data in blobs] == [True, False, False, True]
    store.path(ib.digest(blobs[0])).write_bytes(b"damaged")
    assert store.small(ib.digest(blobs[0]), 5000) is None
    assert store.layer(ib.digest(blobs[0]), 1000) is None
    with pytest.raises(IntegrityError):
        store.path("sha256:../../x")


def test_an_archive_imports_no_http(tmp_path: Path) -> None:
    """Start-up of a local scan does not pay for a network."""
    (tmp_path / "image.tar").write_bytes(ib.docker_archive([ib.layer({"a": b"1"})]))
    script = (
        "import sys\nfrom pathlib import Path\nfrom pratique.image.open import open_target\n"
        "from pratique.image.options import SourceOptions\nfrom pratique.image.reference import parse_target\n"
        f"options = SourceOptions(cache_dir=Path({str(tmp_path / 'cache')!r}))\n"
        f"with open_target(parse_target({str(tmp_path / 'image.tar')!r}), None, options) as image:\n"
        "    image.fetch(image.layers[0])\n"
        "print(sorted({'httpx2', 'ssl', 'asyncio', 'subprocess', 'socket', 'tarfile'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_server_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small bodies and downloads are bounded in time as a whole, however often they break and go on."""
    monkeypatch.setattr(http, "BODY_SECONDS", -1.0)
    monkeypatch.setattr(http, "GRACE_SECONDS", -1000.0)
    data = b"x" * 5000
    with sim.serve(lambda _: sim.Answer(200, {}, data), []) as address, http.make_client(direct=True) as client:
        request = client.build_request("GET", address)
        with pytest.raises(http.Unreachable, match="took more than"):
            http.read_body(http.exchange(client, request), 5000, "it")
        wanted = http.Wanted(ib.digest(data).removeprefix("sha256:"), len(data), "it")
        with pytest.raises(http.Unreachable, match="slower than"):
            http.download(lambda _: http.exchange(client, request), tmp_path / "file", wanted, lambda _: None)
