"""What the gate asks an API server back: bounded in time and size, and never more than a pod's name."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loopback
from pratique.enforce.kubernetes import certificates
from pratique.enforce.kubernetes.api import ApiClient
from pratique.model.errors import ConfigurationError, CouldNotError
from reviewing import GOOD, Cluster, creates, enters, pod, recorded
from storing import place_in

pytestmark = pytest.mark.loopback


class Server(loopback.Server):
    """Answers what the test says; `seen` are the requests with their token."""

    def __init__(self, folder: Path) -> None:
        certificates.make(folder / "keys", ("127.0.0.1",), dt.datetime.now(dt.UTC))
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "keys" / "tls.crt", folder / "keys" / "tls.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.seen: list[tuple[str, str, str | None]] = []
        self.status, self.body, self.pause = 200, json.dumps(GOOD).encode(), 0.0
        self.address = f"https://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization")))
        time.sleep(self.server.pause)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_DELETE = answer  # noqa: N815 - as the library names them

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(5)


def ask(server: Server, tmp_path: Path, *names: str) -> list[Any]:
    """Look pods up, one after the other, with one client."""
    (tmp_path / "token").write_text("secret\n")

    async def run() -> list[Any]:
        client = ApiClient(server.address, tmp_path / "token", tmp_path / "keys" / "ca.crt")
        try:
            return [await client.pod("team-a", name) for name in names]
        finally:
            await client.close()

    return asyncio.run(run())


def test_a_pod_is_looked_up_with_the_accounts_token_and_kept_for_a_moment(server: Server, tmp_path: Path) -> None:
    """Two reviews of one exec are one question."""
    assert ask(server, tmp_path, "good", "good")[0] == GOOD
    assert server.seen == [("GET", "/api/v1/namespaces/team-a/pods/good", "Bearer secret")]


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"{}"), (403, b"{}"), (500, b""), (200, b"nonsense"), (200, b"[]"), (200, b'{"kind":"List"}'), (200, b"[" * 9999)],
)
def test_what_is_no_pod_is_not_believed(server: Server, tmp_path: Path, status: int, body: bytes) -> None:
    """Any other answer is none."""
    server.status, server.body = status, body
    with pytest.raises(CouldNotError):
        ask(server, tmp_path, "good")


def test_names_that_are_none_are_not_sent(server: Server, tmp_path: Path) -> None:
    """Nothing of a review becomes another path."""
    for name in ("../secrets/s", "a/b", "", "A", "a?b", "a%2e", "-a", "a" * 254):
        with pytest.raises(CouldNotError, match="no name"):
            ask(server, tmp_path, name)
    assert server.seen == []


def test_a_server_that_hangs_costs_a_third_of_a_second(server: Server, tmp_path: Path) -> None:
    """Within the half second that a review may take; the pod is then taken for the worst."""
    server.pause = 2.0
    begun = time.monotonic()
    with pytest.raises(CouldNotError, match="does not answer"):
        ask(server, tmp_path, "good")
    assert time.monotonic() - begun < 1.0


def test_another_server_is_not_believed(server: Server, tmp_path: Path) -> None:
    """One that another authority signed gets no token."""
    other = tmp_path / "other"
    certificates.make(other, ("127.0.0.1",), dt.datetime.now(dt.UTC))

    async def run() -> None:
        client = ApiClient(server.address, tmp_path / "token", other / "ca.crt")
        try:
            await client.pod("team-a", "good")
        finally:
            await client.close()

    (tmp_path / "token").write_text("secret")
    with pytest.raises(CouldNotError):
        asyncio.run(run())
    assert server.seen == []


def test_addresses_and_files_are_checked(tmp_path: Path) -> None:
    """Before anything is served."""
    with pytest.raises(ConfigurationError, match="https://"):
        ApiClient("http://127.0.0.1", None, None)
    with pytest.raises(ConfigurationError, match="no certificates"):
        ApiClient("https://127.0.0.1", None, tmp_path / "none")


def test_an_exec_while_pods_cannot_be_looked_up(tmp_path: Path) -> None:
    """Only a grant for a privileged container does: nobody knows what it is."""
    cluster = Cluster(place_in(tmp_path))
    cluster.api.down = True
    cluster.grant("exec.any", uses=0)
    answer = cluster.admit(enters())
    assert "exec.privileged" in answer["status"]["message"]
    cluster.grant("exec.privileged")
    assert cluster.admit(enters())["allowed"]
    cluster.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(place_in(tmp_path_factory.mktemp("laws")))
    yield made
    made.close()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(body=st.binary(max_size=60))
def test_any_bytes_end_in_a_denial(cluster: Cluster, body: bytes) -> None:
    """No bytes are an allow, or an error."""
    assert cluster.post("/admit", body)["response"]["allowed"] is False
    assert cluster.post("/authorize", body)["status"]["allowed"] is False


@settings(max_examples=120)
@given(data=st.data())
def test_a_review_with_anything_in_it_ends_in_an_answer(cluster: Cluster, data: st.DataObject) -> None:
    """Whatever stands in whichever field of a review, there is an answer with its uid; and never a grant where nobody has one."""
    review = data.draw(st.sampled_from([recorded("CREATE-pods-"), enters(), creates(pod())]))
    request = review["request"]
    at: Any = request
    for _ in range(data.draw(st.integers(0, 4))):
        keys = [key for key, value in at.items() if isinstance(value, dict) and value]
        if not keys:
            break
        at = at[data.draw(st.sampled_from(keys))]
    at[data.draw(st.sampled_from(sorted(at)))] = data.draw(_JSON)
    response = cluster.post("/admit", json.dumps(review).encode())["response"]
    assert isinstance(response["allowed"], bool)
    assert not response.get("auditAnnotations", {}).get("grants")
