"""Names that are moved between a decision and what the engine does: what came of it is found out when it starts.

The moment is too short to be hit by trying, so that the tests tell the plugin what an engine would tell it that was raced.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from attacking import Side
from dockerengine import connect, request
from pratique.enforce.docker.identity import HEADER, stamp
from pratique.enforce.serving import Peer

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


def decided(side: Side, method: str, target: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
    """Have the plugin let a request of mallory's through, and tell it what came of it."""
    assert side.gate is not None
    mallory = side.people["mallory"]
    peer = Peer(uid=mallory.uid, gid=mallory.gid, pid=1)
    key = (side.gate.store / "gate" / "front.key").read_bytes()
    text = json.dumps(body).encode()
    message: dict[str, Any] = {
        "RequestMethod": method,
        "RequestUri": target,
        "RequestBody": base64.b64encode(text).decode(),
        "RequestHeaders": {
            "Content-Type": "application/json",
            "Content-Length": str(len(text)),
            HEADER: stamp(key, peer, method, target, time.time()),
        },
    }
    plugin = side.engine.plugins / "pratique.sock"
    said = request(connect(plugin), "POST", "/AuthZPlugin.AuthZReq", json.dumps(message).encode())
    assert json.loads(said[1]) == {"Allow": True}
    message |= {"ResponseStatusCode": 201, "ResponseBody": base64.b64encode(json.dumps(answer).encode()).decode()}
    request(connect(plugin), "POST", "/AuthZPlugin.AuthZRes", json.dumps(message).encode())


def made(side: Side, who: str, target: str, body: dict[str, Any]) -> str:
    """Have somebody make something; return its id."""
    status, said = request(side.people[who].connect(side.engine.socket), "POST", target, json.dumps(body).encode())
    assert status == 201, said
    return str(json.loads(said)["Id"])


def started(side: Side, path: str) -> tuple[int, str]:
    status, said = request(side.people["mallory"].connect(side.engine.socket), "POST", path, b"{}")
    return status, said.decode("utf-8", "replace")


def test_a_container_of_another_image_than_was_decided_on(side: Side) -> None:
    """A tag is moved after the decision: the container that the engine made is of another image, and never starts."""
    one = {"Image": "bb:1", "User": "1000:1000", "Cmd": ["true"]}
    container = made(side, "mallory", "/containers/create", {**one, "Image": "risen:1"})
    decided(side, "POST", "/v1.45/containers/create", one, {"Id": container})
    status, said = started(side, f"/containers/{container}/start")
    assert status == 403
    assert "another image" in said


def test_a_command_in_another_container_than_was_decided_on(side: Side) -> None:
    """A name is moved after the decision: the command that the engine made is in somebody else's container, and never runs.

    It would run as the container itself does, as an engine's own health checks do, which nobody asked for.
    """
    sleeper = {"Image": "bb:1", "User": "1000:1000", "Cmd": ["sleep", "60"]}
    victim, own = made(side, "alice", "/containers/create", sleeper), made(side, "mallory", "/containers/create", sleeper)
    assert side.command(side.people["alice"], ["start", victim]).code == 0
    assert side.command(side.people["mallory"], ["start", own]).code == 0
    asked = {"Cmd": ["echo", "taken"], "AttachStdout": True}
    command = made(side, "alice", f"/containers/{victim}/exec", asked)
    decided(side, "POST", f"/v1.45/containers/{own}/exec", asked, {"Id": command})
    status, said = started(side, f"/exec/{command}/start")
    assert "taken" not in said, status
    assert side.gate is not None
    assert any(line.point == "runtime" and line.decision == "deny" for line in side.gate.ledger()[-5:])


def test_a_container_is_renamed_while_it_is_used(side: Side) -> None:
    """Each of many requests and renames is served, one after another, and none is denied."""
    own = made(
        side,
        "mallory",
        "/containers/create?name=raced",
        {"Image": "bb:1", "User": "1000:1000", "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": "none"}},
    )
    mallory = side.people["mallory"]
    assert side.command(mallory, ["start", own]).code == 0
    assert side.gate is not None
    before = max(line.seq for line in side.gate.ledger())
    line = (
        "for i in 1 2 3 4 5; do docker exec raced true & docker rename raced raced-$i; docker rename raced-$i raced; done; wait"
    )
    env = {"DOCKER_HOST": f"unix://{side.engine.socket}", "DOCKER_CONFIG": "/nonexistent"}
    said = mallory.run(["sh", "-c", line], env=env).text
    found = [one.reason for one in side.gate.ledger(before) if one.decision == "deny"]
    # Whoever comes while the name is nobody's is told so, by the engine or by the gate.
    assert not [why for why in found if "try again" not in why and "no container" not in why], said
