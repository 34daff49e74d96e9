"""What people try at a registry's gate, as data: each is refused by the gate, whatever the registry behind it would say."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique.enforce.registry.access import AccessSpec, Readers
from pratique.enforce.registry.gate import UPSTREAM
from pratique.enforce.registry.tokens import Access, Tokens, load_signer
from registrygate import NAME, Gated, digest, gated, package

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]
IMAGE = package()
ACCESS = AccessSpec(
    readers=(Readers(repositories=("team/*",), anybody=True), Readers(repositories=("secret/*",), ids=("unix:alice",)))
)
LAYER = next(name for name in IMAGE.blobs if name != IMAGE.digest)


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


LINES = [
    "GET /v2/team/app/../../secret/app/manifests/1", "GET /v2/team/app/%2e%2e/%2e%2e/secret/app/manifests/1",
    "GET /v2/secret%2fapp/manifests/1", "GET /v2/secret%2Fapp/manifests/1", "GET /v2//secret/app/manifests/1",
    "GET /v2/team/..//secret/app/manifests/1", "GET /v2/./secret/app/manifests/1", "GET //v2/secret/app/manifests/1",
    "GET /V2/secret/app/manifests/1", "GET /v2/SECRET/app/manifests/1", "GET /v2/secret/app/manifests/1/",
    "GET /v2/secret/app/manifests/1%00", "GET /v2/secret/app/manifests/1;x", "GET /v2/secret/app/manifests/1#x",
    "GET /v2/secret/app/manifests/%31", "GET /v2/secret\\app/manifests/1", "GET /v2/secret/app/manifests/1?ns=a&ns=b",
    "GET http://127.0.0.1/v2/secret/app/manifests/1", "GET /v2/team/app/manifests/1/../../../../secret/app/manifests/1",
    "GET /v2/_catalog", "GET /v2/_catalog?n=1000&last=", "GET /v2/_catalog/", "GET /v1/repositories/secret/app/tags",
    "GET /debug/vars", "GET /metrics", "GET /debug/pprof/", "POST /v2/_catalog", "PUT /v2/", "PATCH /v2/team/app/manifests/1",
    "POST /v2/team/app/manifests/1", "DELETE /v2/team/app/manifests/1", "DELETE /v2/team/app/blobs/" + LAYER,
    "PUT /v2/team/app/manifests/2", "POST /v2/team/app/blobs/uploads/", "POST /v2/team/app/blobs/uploads",
    "POST /v2/team/app/blobs/uploads/?mount=" + LAYER + "&from=secret/app",
    "POST /v2/team/app/blobs/uploads/?digest=" + LAYER, "GET /v2/team/app/blobs/uploads/00000000-0000-0000-0000-000000000000",
    "PUT /v2/team/app/blobs/uploads/x?digest=" + LAYER, "PATCH /v2/team/app/blobs/uploads/x?_state=e30=",
    "GET /v2/secret/app/tags/list", "HEAD /v2/secret/app/manifests/1", "GET /v2/secret/app/blobs/" + LAYER,
    "GET /v2/secret/app/referrers/" + LAYER, "GET /v2/team/app/blobs/uploads/manifests/1",
    "GET /v2/team/manifests/app/manifests/1",
    "GET /v2/team/app/blobs/sha256:" + "A" * 64, "GET /v2/team/app/blobs/md5:" + "a" * 32, "OPTIONS /v2/secret/app/manifests/1",
    "TRACE /v2/", "CONNECT 127.0.0.1:5000", "GET /v2/" + "a/" * 200 + "manifests/1", "GET /v2/team/app/tags/list?n=1&n=2",
    "GET *", "BREW /v2/", "GET /v2/@scanner/manifests/1",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_no_request_line_reaches_what_is_not_granted(gate: Gated, token: str, line: str) -> None:
    """Path tricks, unknown routes, other repositories and every change: refused, and nothing of it is given out."""
    method, _, target = line.partition(" ")
    request = f"{method} {target} HTTP/1.1\r\nHost: {gate.host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
    answer = gate.raw(request.encode("latin-1"))
    assert answer[9:12] in (b"400", b"401", b"403", b"404"), answer[:300]
    assert IMAGE.manifest not in answer
    assert b'"tags"' not in answer


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
    request = f"{line}\r\nHost: {gate.host}\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    answer = gate.raw(request.encode("latin-1"))
    if IMAGE.manifest in answer:  # of the one that may be read, asked for by its own name
        assert line.split(" ")[1].partition("?")[0] == "/v2/team/app/manifests/1"


def _part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _claims(**more: object) -> dict[str, object]:
    now = int(time.time())
    access = [{"type": "repository", "name": "secret/app", "actions": ["pull", "push", "delete"]}]
    return {
        "iss": "pratique", "sub": "alice", "aud": NAME, "exp": now + 60, "nbf": now, "iat": now, "jti": "x", "access": access,
        **more,
    }  # fmt: skip


def _unsigned(_: Gated) -> str:
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(_claims())}."


def _unsigned_in_capitals(_: Gated) -> str:
    return f"{_part({'alg': 'NoNe'})}.{_part(_claims())}.{_part(b'x')}"


def _by_the_public_key_as_a_secret(gate: Gated) -> str:
    secret = (gate.place.folder / "gate/registry/token.crt").read_bytes()
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(_claims())}"
    return f"{signed}.{_part(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _by_a_key_that_it_brings_along(gate: Gated) -> str:
    other = load_signer(gate.place.folder / "other")
    return Tokens(other, NAME).issue("alice", (Access("repository", "secret/app", ("pull",)),), 60)[0]


def _for_the_registry(gate: Gated) -> str:
    own = load_signer(gate.place.folder / "gate/registry")
    return Tokens(own, UPSTREAM).issue("alice", (Access("repository", "secret/app", ("pull",)),), 60)[0]


def _a_refresh_token(gate: Gated) -> str:
    return str(gate.login("eve", offline_token="true").json["refresh_token"])


def _expired(gate: Gated) -> str:
    own = load_signer(gate.place.folder / "gate/registry")
    return Tokens(own, NAME).issue("alice", (Access("repository", "secret/app", ("pull",)),), 60, time.time() - 61)[0]


def _of_tomorrow(gate: Gated) -> str:
    own = load_signer(gate.place.folder / "gate/registry")
    return Tokens(own, NAME).issue("alice", (Access("repository", "secret/app", ("pull",)),), 60, time.time() + 86_400)[0]


def _of_an_account_that_is_gone(gate: Gated) -> str:
    own = load_signer(gate.place.folder / "gate/registry")
    return Tokens(own, NAME).issue("mallory", (Access("repository", "secret/app", ("pull",)),), 60)[0]


def _of_the_gates_own_reader(gate: Gated) -> str:
    own = load_signer(gate.place.folder / "gate/registry")
    return Tokens(own, NAME).issue("@scanner", (Access("repository", "secret/app", ("pull",)),), 60)[0]


def _with_another_payload(gate: Gated) -> str:
    head, _, signature = gate.token("eve", "repository:team/app:pull").split(".")
    return f"{head}.{_part(_claims())}.{signature}"


def _with_a_signature_of_zeros(gate: Gated) -> str:
    head = gate.token("eve", "repository:team/app:pull").split(".")[0]
    return f"{head}.{_part(_claims())}.{_part(bytes(64))}"


def _without_its_right(gate: Gated) -> str:
    return gate.token("eve", "repository:secret/app:pull,push,delete,*")


def _basic(_: Gated) -> str:
    return "Basic " + base64.b64encode(b"alice:secret-a").decode()


def _twice(gate: Gated) -> str:
    """Two schemes in one header."""
    return f"Bearer x, Bearer {gate.token('alice', 'repository:secret/app:pull')}"


TOKENS: list[Callable[[Gated], str]] = [
    _unsigned, _unsigned_in_capitals, _by_the_public_key_as_a_secret, _by_a_key_that_it_brings_along, _for_the_registry,
    _a_refresh_token, _expired, _of_tomorrow, _of_an_account_that_is_gone, _of_the_gates_own_reader, _with_another_payload,
    _with_a_signature_of_zeros, _without_its_right, _basic, _twice,
]  # fmt: skip


@pytest.mark.parametrize("make", TOKENS, ids=lambda make: make.__name__)
def test_no_token_but_the_gates_own_opens_anything(gate: Gated, make: Callable[[Gated], str]) -> None:
    """Forged, confused, borrowed, expired and premature tokens read nothing and change nothing."""
    shown = make(gate)
    for method, path in (
        ("GET", "/v2/secret/app/manifests/1"), ("GET", f"/v2/secret/app/blobs/{LAYER}"), ("DELETE", "/v2/secret/app/manifests/1"),
        ("POST", "/v2/secret/app/blobs/uploads/"), ("GET", "/v2/secret/app/tags/list"),
    ):  # fmt: skip
        reply = gate.ask(method, path, shown if " " in shown else f"Bearer {shown}", b"" if method == "POST" else None)
        assert reply.status in (401, 403)
        assert IMAGE.manifest not in reply.body


@pytest.mark.parametrize(
    "scope",
    [
        "repository:../secret/app:pull", "repository:secret/app:pull:pull", "repository:team/app,secret/app:pull",
        "repository(plugin):secret/app:pull", "repository:*:*", "repository:**:pull", "registry:catalog:*", "registry:secrets:*",
        "repository:secret%2Fapp:pull", "repository:SECRET/app:pull", "repository:team/app:pull,push,delete,*", "x", ":::",
        "repository:@scanner:pull", "repository::pull", "repository:team/app:", "repository:team/app:PULL",
    ],
)  # fmt: skip
def test_scopes_give_no_more_than_there_is(gate: Gated, scope: str) -> None:
    """What is no scope is refused; what is too much is left out."""
    reply = gate.ask("GET", f"/token?service={NAME}&scope={scope}", _eve())
    assert reply.status in (200, 400)
    if reply.status == 200:
        said = [one for one in reply.json["scope"].split(" ") if one]
        assert said in ([], ["repository:team/app:pull"])


def _eve() -> str:
    return "Basic " + base64.b64encode(b"eve:secret-e").decode()


def test_guessing_passwords_is_slow_and_then_ends(gate: Gated) -> None:
    """After ten wrong passwords a name waits; names that nobody has cost as much time as those that somebody has."""
    times: dict[str, list[float]] = {"bob": [], "nobody-here": []}
    for who in ("bob", "nobody-here") * 3:
        began = time.monotonic()
        assert gate.login(who, secret="wrong").status == 401
        times[who].append(time.monotonic() - began)
    assert 0.2 < min(times["nobody-here"]) / min(times["bob"]) < 5
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


def test_an_account_that_is_taken_away_is_gone_within_seconds(tmp_path: Path) -> None:
    """A token of an account that is no more opens nothing, though it has not expired."""
    with gated(tmp_path, access=ACCESS) as gate:
        token = gate.token("bob", "repository:team/app:pull")
        refresh = gate.login("bob", offline_token="true").json["refresh_token"]
        assert gate.ask("GET", "/v2/", token).status == 200
        users = tmp_path / "users"
        users.write_text("\n".join(line for line in users.read_text().splitlines() if not line.startswith("bob:")) + "\n")
        time.sleep(1.2)
        assert gate.ask("GET", "/v2/", token).status == 401
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
        time.sleep(1.2)
        assert gate.ask("POST", "/token", "", again.encode()).status == 401


def test_rsa_is_there_for_those_who_need_it(tmp_path: Path) -> None:
    """RS256 before the same registry; a token by ES256 is then none."""
    with gated(tmp_path, rsa=True) as gate:
        gate.grant("push:team/app")
        token = gate.token("alice", "repository:team/app:pull,push")
        assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == "RS256"
        assert gate.push("team/app", IMAGE, "1", token).status == 201
        assert gate.ask("GET", "/v2/", _by_a_key_that_it_brings_along(gate)).status == 401
