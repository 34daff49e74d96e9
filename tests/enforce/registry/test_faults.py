"""When something fails behind the registry's gate: nothing is let through that should not be, and what failed is said."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique._kit.written import Duration
from pratique.enforce.admission import AdmissionSpec
from registrygate import Gated, digest, gated, package, users_file
from storing import PATHS

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]
GOOD = package("99", "harmless")
ADMISSION = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(60))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gated]:
    with gated(tmp_path, admission=ADMISSION) as found:
        found.grant("push:team/app")
        assert found.push("team/app", GOOD, "1", found.token("alice", "repository:team/app:pull,push")).status == 201
        yield found


def test_a_registry_that_is_gone_is_said(gate: Gated) -> None:
    """502 with a sentence, for reading and for writing; the next request is served when it is back."""
    token = gate.token("alice", "repository:team/app:pull,push")
    assert gate.registry is not None
    gate.registry.kill()
    gate.registry.wait()
    for method, path in (("GET", "/v2/team/app/manifests/1"), ("POST", "/v2/team/app/blobs/uploads/")):
        reply = gate.ask(method, path, token, b"" if method == "POST" else None)
        assert (reply.status, reply.code) == (502, "UNAVAILABLE")


def test_without_a_ledger_nothing_is_pushed(gate: Gated) -> None:
    """An allow of a privilege is on record before it counts: where it cannot be, it is a denial. Reading goes on."""
    token = gate.token("alice", "repository:team/app:pull,push")
    assert gate.ask("GET", "/v2/team/app/manifests/1", token).status == 200  # its verdict is on record from here on
    gate.place.head.write_bytes(b"damaged")
    refused = gate.push("team/app", package("1", "other"), "2", token)
    assert refused.status == 403
    assert "ledger" in refused.why or "head" in refused.why
    assert gate.ask("GET", "/v2/team/app/manifests/1", token).status == 200


def test_without_verdicts_nothing_is_pulled(gate: Gated) -> None:
    """A file of verdicts that is damaged clears nothing."""
    token = gate.token("bob", "repository:team/app:pull")
    assert gate.ask("GET", "/v2/team/app/manifests/1", token).status == 200
    for path in gate.place.folder.glob("verdicts.sqlite*"):
        path.write_bytes(b"damaged " * 1000)
    assert gate.ask("GET", "/v2/team/app/manifests/1", token).status in (403, 503)


def test_a_store_that_is_gone_gives_nothing(gate: Gated) -> None:
    """Grants are dead when the store has been away for five seconds."""
    token = gate.token("alice", "repository:team/app:pull,push")
    for path in gate.place.folder.glob("grants.sqlite*"):
        path.rename(path.with_suffix(".away"))
    assert gate.ask_until((403, 503), "POST", "/v2/team/app/blobs/uploads/", token, b"") in (403, 503)
    refused = gate.push("team/app", package("1", "other"), "2", token)
    assert refused.status in (403, 503)


def test_an_artifact_that_could_not_be_looked_at_is_looked_at_again(tmp_path: Path) -> None:
    """While its configuration cannot be had it counts as an image; that is not remembered."""
    kind, blob = "application/vnd.oci.image.manifest.v1+json", b'{"a": 1}'
    entry = {"mediaType": "application/vnd.example.thing", "digest": digest(blob), "size": len(blob)}
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": entry, "layers": [entry]}).encode()
    with gated(tmp_path, admission=ADMISSION) as found:
        found.grant("push:team/app")
        token = found.token("alice", "repository:team/app:pull,push")
        at = found.ask("POST", "/v2/team/app/blobs/uploads/", token, b"").headers["location"]
        assert found.ask("PUT", f"{at}&digest={digest(blob)}", token, blob).status == 201
        assert found.ask("PUT", "/v2/team/app/manifests/thing", token, body, Content_Type=kind).status == 201
    (kept,) = [path for path in (tmp_path / "registry").rglob("data") if path.read_bytes() == blob]
    with gated(tmp_path, admission=ADMISSION) as found:
        token = found.token("bob", "repository:team/app:pull")
        kept.rename(kept.with_name("away"))
        assert found.ask("GET", "/v2/team/app/manifests/thing", token).status == 403
        kept.with_name("away").rename(kept)
        assert found.ask("GET", "/v2/team/app/manifests/thing", token).status == 200


def test_a_client_that_goes_away_leaves_nothing_behind(gate: Gated) -> None:
    """Half a layer, and half a request: the gate serves the next one, and the half is not there."""
    token = gate.token("alice", "repository:team/app:pull,push")
    at = gate.ask("POST", "/v2/team/app/blobs/uploads/", token, b"").headers["location"]
    fields = f"Host: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000\r\n\r\n"
    head = f"PUT {at}&digest=sha256:{'a' * 64} HTTP/1.1\r\n{fields}"
    for data in (head.encode() + b"half", head.encode()[:50], b"GET /v2/ HTTP/1.1\r\n"):
        with socket.create_connection(gate.address) as line:
            line.sendall(data)
    assert gate.ask("GET", f"/v2/team/app/blobs/sha256:{'a' * 64}", token).status == 404
    assert gate.ask("GET", "/v2/team/app/manifests/1", token).status == 200


def test_the_command_stands_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """It says when it stands, serves, and ends with 0; a second one on the same port is one line and 3."""
    users = users_file(tmp_path / "users")
    words = [
        sys.executable, "-m", "pratique", "gate", "registry", "--users", str(users), "--store", str(tmp_path / "store"),
        "--upstream", "127.0.0.1:1", "--listen", "127.0.0.1:0",
    ]  # fmt: skip
    process = subprocess.Popen(words, env={"PYTHONPATH": PATHS, "HOME": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "the gate stands (enforcing)" in said
        port = int(re.findall(r"on port (\d+)", said)[0])
        words[-1] = f"127.0.0.1:{port}"
        assert Gated(None, ("127.0.0.1", port), ("127.0.0.1", 1)).ask("GET", "/v2/").status == 401  # type: ignore[arg-type]
        second = subprocess.run(
            words, env={"PYTHONPATH": PATHS, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60
        )
        assert second.returncode == 3
        assert len(second.stderr.strip().splitlines()) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
