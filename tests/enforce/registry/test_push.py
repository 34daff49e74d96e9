"""Pushes and deletes through the gate, before a real registry: only while a grant lives, and only what it is for."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique.granting.desk import Desk
from pratique.granting.remote import RemoteDesk
from pratique.granting.who import this_user
from pratique.model.privilege import Asked, Scope, Subject, Task
from registrygate import NAME, ROBOT_SECRET, Gated, digest, gated, package

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]
IMAGE = package()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("gate")) as found:
        yield found


def test_a_push_needs_a_grant_and_takes_one_use(gate: Gated) -> None:
    """Without a grant it is refused with the command that asks for one; with one, a push is one use, and the next another."""
    token = gate.token("alice", "repository:team/one:pull,push")
    refused = gate.push("team/one", IMAGE, "1", token)
    assert (refused.status, refused.code) == (403, "DENIED")
    assert f"pratique grant request --privilege registry.push:{NAME}/team/one" in refused.why
    grant = gate.grant("push:team/one", uses=1)
    token = gate.token("alice", "repository:team/one:pull,push")
    assert gate.push("team/one", IMAGE, "1", token).status == 201
    assert gate.push("team/one", IMAGE, "2", token).status == 403
    uses = [line for line in gate.ledger("use") if line.grant == grant.id]
    assert len(uses) == 1
    assert [line.effective for line in gate.ledger("use-again") if line.grant == grant.id] == [IMAGE.digest]


def test_a_token_without_the_right_asks_for_a_new_one_when_there_is_a_grant_since(gate: Gated) -> None:
    """What was granted after the token was made is had with a new token: the client is told to fetch one."""
    token = gate.token("alice", "repository:team/two:pull,push")
    gate.grant("push:team/two")
    again = gate.push("team/two", IMAGE, "1", token)
    assert again.status == 401
    assert 'scope="repository:team/two:pull,push"' in again.headers["www-authenticate"]
    assert gate.push("team/two", IMAGE, "1", gate.token("alice", "repository:team/two:pull,push")).status == 201


def test_tokens_live_as_long_as_the_grant_at_most(gate: Gated) -> None:
    """A minute, or what is left of the grant."""
    gate.grant("push:team/short", seconds=20)
    assert gate.login("alice", "repository:team/short:push").json["expires_in"] <= 20
    assert gate.login("alice", "repository:team/short:pull").json["expires_in"] == 60


@pytest.mark.parametrize("scope", ["repository:team/other:pull,push", "repository:team/one-b:push", "repository:team/one:delete"])
def test_a_grant_is_for_its_repository_and_its_act(gate: Gated, scope: str) -> None:
    """Neither another repository, nor one that begins alike, nor another act."""
    gate.grant("push:team/one")
    reply = gate.login("alice", scope)
    assert reply.status == 200
    assert not {"push", "delete"} & set(reply.json["scope"].rpartition(":")[2].split(","))


def test_a_grant_is_its_holders(gate: Gated) -> None:
    """Bob does not push by Alice's grant, whatever scope he asks for; nor does his robot."""
    gate.grant("push:team/hers")
    for who in ("bob", "ci-1"):
        token = gate.token(who, "repository:team/hers:pull,push,delete,*")
        assert gate.push("team/hers", IMAGE, "1", token).status == 403


def test_a_robot_pushes_by_its_own_grant(gate: Gated) -> None:
    """A robot signs in with its secret, and is known with strength 2."""
    gate.grant("push:team/robot", "ci-1")
    token = gate.token("ci-1", "repository:team/robot:pull,push", secret=ROBOT_SECRET)
    assert gate.push("team/robot", IMAGE, "1", token).status == 201
    line = next(line for line in gate.ledger("use") if line.subject is not None and line.subject.id == "ci-1")
    assert line.subject is not None
    assert (line.subject.kind, line.subject.owner) == ("robot", "bob")


def test_a_robot_may_have_a_repository_of_its_own(tmp_path: Path) -> None:
    """What a baseline gives needs no grant, for those whom it is for, and not longer than it gives it."""
    with gated(tmp_path) as gate:
        body = f"""
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: registry}}
spec:
  subjects: {{ids: ["unix:ci-1"]}}
  baseline: {{privileges: ["registry.push:{NAME}/builds/**"]}}
"""
        with Desk(gate.place) as desk:
            desk.set_policy("policy.yaml", body.encode(), Subject(id="root", provider="unix", strength=1))
        scope = "repository:builds/app:pull,push"
        token = gate.token("ci-1", scope, secret=ROBOT_SECRET)
        assert gate.push("builds/app", IMAGE, "1", token).status == 201
        assert gate.push("builds/app", IMAGE, "2", token).status == 201
        assert gate.push("builds/app", IMAGE, "1", gate.token("alice", scope)).status == 403
        assert (
            gate.push("team/app", IMAGE, "1", gate.token("ci-1", "repository:team/app:push", secret=ROBOT_SECRET)).status == 403
        )
        with Desk(gate.place) as desk:
            closed = body.replace("builds", "elsewhere")
            desk.set_policy("policy.yaml", closed.encode(), Subject(id="root", provider="unix", strength=1))
        assert gate.push("builds/app", IMAGE, "3", token).status == 403


def test_a_gate_may_open_a_desk(tmp_path: Path) -> None:
    """Where grants for the registry are asked for: users of the machine reach the gate's store by it."""
    desk = tmp_path / "desk.sock"
    with gated(tmp_path, desk=desk) as gate:
        me = this_user()
        asked = Asked(
            subject=me, task=Task(id="T-1", purpose="ship it"), privileges=(f"registry.push:{NAME}/team/app",), scope=Scope(),
            lifetime=60.0,
        )  # fmt: skip
        grant = RemoteDesk(desk).request(asked)
        assert (grant.state, grant.asked.subject.id) == ("active", me.id)
        assert [line.grant for line in gate.ledger("activate")] == [grant.id]


def test_revocation_ends_a_push_at_its_next_request(gate: Gated) -> None:
    """The token would hold for a minute; the gate asks the live grants, so that what follows is refused at once."""
    grant = gate.grant("push:team/revoked")
    token = gate.token("alice", "repository:team/revoked:pull,push")
    begun = gate.ask("POST", "/v2/team/revoked/blobs/uploads/", token, b"")
    assert begun.status == 202
    gate.revoke(grant)
    blob = b"some layer"
    location = begun.headers["location"]
    assert gate.ask("PUT", f"{location}&digest={digest(blob)}", token, blob).status == 403
    assert gate.ask("POST", "/v2/team/revoked/blobs/uploads/", token, b"").status == 403


def test_revocation_ends_a_push_while_its_bytes_flow(gate: Gated) -> None:
    """A layer that is being sent when the grant ends is not taken: the connection is cut."""
    grant = gate.grant("push:team/flowing")
    token = gate.token("alice", "repository:team/flowing:pull,push")
    begun = gate.ask("POST", "/v2/team/flowing/blobs/uploads/", token, b"")

    def slowly() -> Iterator[bytes]:
        for number in range(200):  # it ends when the connection does
            if number == 3:
                gate.revoke(grant)
            time.sleep(0.3)
            yield b"x" * 1000

    connection = http.client.HTTPConnection(*gate.address, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Transfer-Encoding": "chunked"}

    def sent() -> int:
        connection.request("PATCH", begun.headers["location"], slowly(), headers, encode_chunked=True)
        return connection.getresponse().status

    try:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            sent()
    finally:
        connection.close()


def test_deleting_is_a_privilege_of_its_own(gate: Gated) -> None:
    """Who may push may not delete; each deletion is a use, and what is deleted is in the ledger."""
    gate.grant("push:team/gone")
    token = gate.token("alice", "repository:team/gone:pull,push,delete")
    assert gate.push("team/gone", IMAGE, "1", token).status == 201
    path = f"/v2/team/gone/manifests/{IMAGE.digest}"
    assert gate.ask("DELETE", path, token).status == 403
    grant = gate.grant("delete:team/gone", uses=1)
    token = gate.token("alice", "repository:team/gone:pull,delete")
    assert gate.ask("DELETE", path, token).status == 202
    assert gate.ask("DELETE", path, token).status == 403
    assert [line.effective for line in gate.ledger("use") if line.grant == grant.id] == [IMAGE.digest]


def test_the_registry_takes_nobodys_token_but_the_gates(gate: Gated) -> None:
    """A client's token is for the gate: shown to the registry itself, on its own port, it opens nothing."""
    gate.grant("push:team/around")
    token = gate.token("alice", "repository:team/around:pull,push")
    assert gate.ask_at(gate.upstream, "POST", "/v2/team/around/blobs/uploads/", token, b"").status == 401
    assert gate.ask_at(gate.upstream, "GET", "/v2/", token).status == 401


def test_uploads_are_of_who_began_them(gate: Gated) -> None:
    """Another who may push there, too, neither continues nor cancels an upload, nor does its owner in another repository."""
    for who in ("alice", "bob"):
        gate.grant("push:team/shared", who)
        gate.grant("push:team/else", who)
    alice, bob = (gate.token(who, "repository:team/shared:push", "repository:team/else:push") for who in ("alice", "bob"))
    location = gate.ask("POST", "/v2/team/shared/blobs/uploads/", alice, b"").headers["location"]
    for method in ("PATCH", "DELETE", "GET"):
        assert gate.ask(method, location, bob, b"").code == "BLOB_UPLOAD_UNKNOWN"
    assert gate.ask("PATCH", location.replace("team/shared", "team/else"), alice, b"x").code == "BLOB_UPLOAD_UNKNOWN"
    assert gate.ask("PATCH", location, alice, b"x").status == 202


def test_mounts_are_reads_of_where_they_come_from(gate: Gated) -> None:
    """A layer is taken over from a repository that the token lets one read; else the client is to send it."""
    gate.grant("push:team/source")
    gate.grant("push:team/target")
    token = gate.token("alice", "repository:team/source:pull,push", "repository:team/target:pull,push")
    assert gate.push("team/source", IMAGE, "1", token).status == 201
    layer = next(name for name in IMAGE.blobs if name != IMAGE.digest)
    path = f"/v2/team/target/blobs/uploads/?mount={layer}&from=team/source"
    assert gate.ask("POST", path, token, b"").status == 201
    only = gate.token("alice", "repository:team/target:pull,push")
    assert gate.ask("POST", path, only, b"").status == 202


def test_what_is_observed_is_let_through_and_recorded(tmp_path: Path) -> None:
    """With --observe nothing is refused; the ledger says what would have been."""
    with gated(tmp_path, observe=True) as gate:
        token = gate.token("alice", "repository:team/seen:pull,push,delete")
        assert gate.push("team/seen", IMAGE, "1", token).status == 201
        assert gate.ask("DELETE", f"/v2/team/seen/manifests/{IMAGE.digest}", token).status == 202
        assert gate.ask("POST", "/v2/team/seen/blobs/uploads/", gate.token("", "repository:team/seen:push"), b"").status == 401
        denied = [line for line in gate.ledger("decision") if line.decision == "deny"]
    assert {line.needed[0].partition(":")[0] for line in denied} == {"registry.push", "registry.delete"}
    assert all(line.detail["observed"] == "true" for line in denied)
