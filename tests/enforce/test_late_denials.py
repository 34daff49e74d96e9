"""What a gate's server denies by itself, as nobody decided in time, is in the ledger: who asked, what, and why not."""

from __future__ import annotations

import asyncio
import json
import pwd
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from pratique.enforce.docker.authz import AuthzPlugin, Message
from pratique.enforce.docker.identity import HEADER, stamp
from pratique.enforce.keeper import Keeper
from pratique.enforce.serving import Asked, Peer
from pratique.store.line import Line
from pratique.store.reading import lines
from reviewing import Cluster, creates, pod, sar
from storing import place_in

KEY = b"k" * 32
WHY = "no decision within 1.5 s"
TARGET = "/v1.44/containers/create"


def asked(target: str, body: bytes) -> Asked:
    return Asked("POST", target, {"authorization": "Bearer secret"}, body, Peer())


def question(headers: dict[str, str] | None = None) -> bytes:
    return msgspec.json.encode(Message(request_method="POST", request_uri=TARGET, request_headers=headers or {}))


@pytest.mark.parametrize("observe", [False, True])
def test_the_engines_plugin(tmp_path: Path, *, observe: bool) -> None:
    """The stamp that the front socket gave says who it was, although it was used already; without one nobody is named."""
    place = place_in(tmp_path)
    keeper = Keeper(place, node="n1", observe=observe)
    plugin = AuthzPlugin(keeper, cast("Any", None), KEY)
    stamped = stamp(KEY, Peer(pid=1, uid=1, gid=1), "POST", TARGET, time.time())
    for headers in ({}, {HEADER: stamped}, {HEADER: "forged"}):
        asyncio.run(plugin.told(asked("/AuthZPlugin.AuthZReq", question(headers)), WHY))
    asyncio.run(plugin.told(asked("/AuthZPlugin.AuthZRes", question()), WHY))
    asyncio.run(plugin.told(asked("/Plugin.Activate", b""), WHY))
    keeper.close()
    found = list(lines(place))
    assert [(line.decision, line.reason, line.point, line.node) for line in found] == [("deny", WHY, "docker", "n1")] * 3
    assert [line.subject.id if line.subject else "" for line in found] == ["", pwd.getpwuid(1).pw_name, ""]
    assert all(line.detail == {"request": f"POST {TARGET}"} for line in found), "it was denied: nothing is only observed"


@pytest.mark.parametrize(
    ("path", "body", "who", "what"),
    [
        ("/admit", json.dumps(creates(pod())).encode(), True, "CREATE pods"),
        (
            "/authorize",
            json.dumps(sar(verb="create", resource="pods", subresource="exec", name="good")).encode(),
            True,
            "pods/exec",
        ),
        ("/admit", b"nonsense", False, "/admit"),
    ],
)
def test_a_clusters_webhooks(tmp_path: Path, path: str, body: bytes, what: str, *, who: bool) -> None:
    """A review names who asks and for what; of one that cannot be read there is the path."""
    cluster = Cluster(place_in(tmp_path))
    asyncio.run(cluster.gate.told(asked(f"{path}?timeout=5s", body), WHY))
    asyncio.run(cluster.gate.told(asked("/livez", b""), WHY))
    cluster.close()
    (line,) = (line for line in lines(cluster.place) if line.event == "decision")
    assert _said(line) == ("deny", WHY, "kubernetes")
    assert (line.subject is not None) == who
    assert what in line.detail["request"]


def test_strangers_write_nothing(tmp_path: Path) -> None:
    """Whoever may not ask a gate does not fill its ledger by being late."""
    secret = tmp_path / "token"
    secret.write_text("another")
    cluster = Cluster(place_in(tmp_path), anybody=False, token=secret)
    asyncio.run(cluster.gate.told(asked("/admit", json.dumps(creates(pod())).encode()), WHY))
    cluster.close()
    assert [line for line in lines(cluster.place) if line.event == "decision"] == []


def _said(line: Line) -> tuple[str, str, str]:
    return line.decision, line.reason, line.point
