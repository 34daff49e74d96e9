"""What people try at a registry's gate that is no data (`test_attempts.py` has those): mutations, framing, guessing, accounts."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique.enforce.registry import accounts
from pratique.enforce.registry.access import AccessSpec, Readers
from pratique.enforce.registry.accounts import matches
from pratique.enforce.registry.tokens import Tokens, load_signer
from registrygate import NAME, Gated, digest, gated, package

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]
IMAGE = package()
ACCESS = AccessSpec(
    readers=(Readers(repositories=("team/*",), anybody=True), Readers(repositories=("secret/*",), ids=("unix:alice",)))
)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("gate"), access=ACCESS) as found:
        for repository in ("team/app", "secret/app"):
            found.grant(f"push:{repository}")
            token = found.token("alice", f"repository:{repository}:pull,push")
            assert found.push(repository, IMAGE, "1", token).status == 201
        yield found


@pytest.fixture(scope="module")
def token(gate: Gated) -> str:
    """A token of Eve's, who may read team/* and change nothing."""
    return gate.token("eve", "repository:team/app:pull")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.sampled_from(["secret/app", "team/app/../../secret/app", "team/app"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=6),
    st.integers(0, 60),
    st.lists(
        st.tuples(
            st.sampled_from(["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-HTTP-Method-Override", "Host", "Range"]),
            st.sampled_from(["/v2/secret/app/manifests/1", "DELETE", "secret", "bytes=0-"]),
        ),
        max_size=3,
    ),
)
def test_no_mutation_of_a_request_reads_what_is_secret(
    gate: Gated, token: str, repository: str, noise: str, at: int, fields: list[tuple[str, str]]
) -> None:
    """Letters anywhere in the line, and headers that others obey: nothing of the other repository is given out."""
    line = f"GET /v2/{repository}/manifests/1 HTTP/1.1"
    line = line[:at] + noise + line[at:]
    more = "".join(f"{name}: {value}\r\n" for name, value in fields)
    fields_ = f"Host: {gate.host}\r\nAuthorization: Bearer {token}\r\nAccept: {IMAGE.media_type}\r\n{more}"
    request = f"{line}\r\n{fields_}\r\n"
    answer = gate.raw(request.encode("latin-1"))
    if IMAGE.manifest in answer:  # of the one that may be read, asked for by its own name
        assert line.split(" ")[1].partition("?")[0] == "/v2/team/app/manifests/1"


def test_guessing_passwords_is_slow_and_then_ends(gate: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten wrong passwords a name waits; names that nobody has cost the same hash as those that somebody has."""
    hashed: list[str] = []

    def counted(kept: str, secret: str) -> bool:
        hashed.append(kept.split("$")[1] + kept.split("$")[2])  # the way and its cost
        return matches(kept, secret)

    monkeypatch.setattr(accounts, "matches", counted)
    for who in ("bob", "nobody-here") * 3:
        assert gate.login(who, secret="wrong").status == 401
    assert len(hashed) == 6
    assert len(set(hashed)) == 1
    statuses = [gate.login("bob", secret=f"wrong-{number}").status for number in range(12)]
    assert statuses[-1] == 429
    assert statuses.count(401) <= 10


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\nX: y\n\n\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
    ],
)
def test_framing_that_has_two_readings_ends_here(gate: Gated, request_: bytes) -> None:
    """What could smuggle a second request is answered with an error or nothing, never with what the registry says."""
    answer = gate.raw(request_)
    assert answer == b"" or answer[9:12] in (b"400", b"401", b"431", b"501")
    assert gate.ask("GET", "/v2/").status == 401


def test_two_authorizations_are_none(gate: Gated) -> None:
    """The second of two headers is not believed either."""
    good = gate.token("alice", "repository:secret/app:pull")
    head = (
        f"GET /v2/secret/app/manifests/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer {good}\r\n\r\n"
    )
    assert gate.raw(head.encode())[9:12] == b"401"


def test_a_host_header_is_not_written_into_the_answer(gate: Gated) -> None:
    """Where tokens are had is where the client came to, as long as that is a name."""
    for host, there in (("reg.internal:5000", True), ('x",service="y', False), ("a b", False), ("evil.example/path", False)):
        head = gate.raw(f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert (f'realm="http://{host}/token"'.encode() in head) == there


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b'{"schemaVersion": 1}', b'{"schemaVersion": 2}', b"[" * 100_000, b'{"a":' * 50_000,
        b'{"schemaVersion": 2, "manifests": [], "layers": []}', b"x" * (5 << 20),
        b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [], "config": {}}',
    ],
)  # fmt: skip
def test_manifests_that_are_none_are_not_taken(gate: Gated, body: bytes) -> None:
    """Neither nonsense, nor what is two things at once, nor what is too large."""
    gate.grant("push:team/app")
    token = gate.token("alice", "repository:team/app:pull,push")
    reply = gate.ask("PUT", "/v2/team/app/manifests/x", token, body, Content_Type="application/vnd.oci.image.manifest.v1+json")
    assert reply.status in (400, 413)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"schemaVersion"', b'"schemaVersion":2,"schemaVersion"'),
        (b'"layers"', b'"Layers"'),
        (b'"layers":', b'"layers":[],"layers":'),
        (b'"config"', b'"Config":{},"config"'),
        (b'"layers"', b'"layer\xc5\xbf"'),
    ],
)
def test_keys_that_readers_take_differently_are_not_taken(gate: Gated, old: bytes, new: bytes) -> None:
    """A key twice, or in another spelling, is one image to a scanner and another to an engine."""
    gate.grant("push:team/app")
    token = gate.token("alice", "repository:team/app:pull,push")
    body = IMAGE.manifest.replace(old, new, 1)
    assert body != IMAGE.manifest
    reply = gate.ask("PUT", "/v2/team/app/manifests/x", token, body, Content_Type=IMAGE.media_type)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


def test_a_digest_that_is_not_the_bodys_is_not_taken(gate: Gated) -> None:
    """Neither for a manifest nor for a layer."""
    gate.grant("push:team/app")
    token = gate.token("alice", "repository:team/app:pull,push")
    other = digest(b"other")
    reply = gate.ask("PUT", f"/v2/team/app/manifests/{other}", token, IMAGE.manifest, Content_Type=IMAGE.media_type)
    assert reply.status == 400
    at = gate.ask("POST", "/v2/team/app/blobs/uploads/", token, b"").headers["location"]
    assert gate.ask("PUT", f"{at}&digest={other}", token, b"not other").status == 400


def test_upload_states_of_another_repository_are_not_taken(gate: Gated) -> None:
    """The registry signs its states; the gate knows whose upload it is, whatever a state says."""
    for repository in ("team/app", "secret/app"):
        gate.grant(f"push:{repository}")
    token = gate.token("alice", "repository:team/app:push", "repository:secret/app:push")
    first = gate.ask("POST", "/v2/team/app/blobs/uploads/", token, b"").headers["location"]
    second = gate.ask("POST", "/v2/secret/app/blobs/uploads/", token, b"").headers["location"]
    assert not second.startswith("http")
    mixed = second.partition("?")[0] + "?" + first.partition("?")[2]
    assert gate.ask("PATCH", mixed, token, b"x").status in (400, 404)


def _until(holds: Callable[[], bool]) -> None:
    """Wait for what comes true within a second or two, on a busy machine later."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_account_that_is_taken_away_is_gone_within_seconds(tmp_path: Path) -> None:
    """A token of an account that is no more opens nothing, though it has not expired."""
    with gated(tmp_path, access=ACCESS) as gate:
        token = gate.token("bob", "repository:team/app:pull")
        refresh = gate.login("bob", offline_token="true").json["refresh_token"]
        assert gate.ask("GET", "/v2/", token).status == 200
        users = tmp_path / "users"
        users.write_text("\n".join(line for line in users.read_text().splitlines() if not line.startswith("bob:")) + "\n")
        assert gate.ask_until((401,), "GET", "/v2/", token) == 401
        form = f"grant_type=refresh_token&service={NAME}&refresh_token={refresh}"
        assert gate.ask("POST", "/token", "", form.encode()).status == 401


def test_refresh_tokens_give_access_and_end_with_the_password(tmp_path: Path) -> None:
    """The OAuth way: a refresh token is good until the account's line changes."""
    with gated(tmp_path, access=ACCESS) as gate:
        form = f"grant_type=password&service={NAME}&username=eve&password=secret-e&access_type=offline&client_id=t"
        first = gate.ask("POST", "/token", "", form.encode())
        assert first.status == 200
        again = f"grant_type=refresh_token&service={NAME}&scope=repository:team/app:pull&refresh_token="
        again += first.json["refresh_token"]
        assert gate.ask("POST", "/token", "", again.encode()).json["scope"] == "repository:team/app:pull"
        users = tmp_path / "users"
        users.write_text(users.read_text().replace("eve:", "eve:", 1).rstrip() + "\n")
        rows = [line + ":groups=other" if line.startswith("eve:") else line for line in users.read_text().splitlines()]
        users.write_text("\n".join(rows) + "\n")
        assert gate.ask_until((401,), "POST", "/token", "", again.encode()) == 401


def test_rsa_is_there_for_those_who_need_it(tmp_path: Path) -> None:
    """RS256 before the same registry; a token by ES256 is then none."""
    with gated(tmp_path, rsa=True) as gate:
        gate.grant("push:team/app")
        token = gate.token("alice", "repository:team/app:pull,push")
        assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == "RS256"
        assert gate.push("team/app", IMAGE, "1", token).status == 201
        other = load_signer(gate.place.folder / "other")
        assert gate.ask("GET", "/v2/", Tokens(other, NAME).issue("alice", (), 60)[0]).status == 401
