"""From watching to enforcing, on a real engine: what was seen while nothing was denied is what is allowed afterwards."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

import engineimages
from dockerengine import Person, connect, request
from dockergate import GatedEngine, docker

pytestmark = [
    pytest.mark.needs("dockerd", "docker", "busybox"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it starts an engine of its own"),
]
USUAL = ("run", "--rm", "--network", "none", "--cap-add", "SYS_NICE", "numbered:1")
SELDOM = ("run", "--rm", "--network", "none", "-u", "0", "bb:1", "id")
NEVER = ("run", "--rm", "--network", "none", "--privileged", "numbered:1")


def test_watching_serves_those_whom_nobody_knows() -> None:
    """Who still uses the engine's own socket while it is only watched gets what they ask for, and no other answer."""
    folder = Path(tempfile.mkdtemp(prefix="pq-"))
    folder.chmod(0o755)
    engine = GatedEngine(folder / "watched", observe=True)
    try:
        engine.start().load(engineimages.archive())
        made = request(connect(engine.own), "POST", "/containers/create?name=root", b'{"Image":"bb:1","Cmd":["sleep","60"]}')
        assert made[0] == 201, made
        assert request(connect(engine.own), "POST", "/containers/root/start", kind="")[0] == 204
        asked = request(connect(engine.own), "POST", "/containers/root/exec", b'{"Cmd":["true"]}')
        assert asked[0] == 201, asked
        begun = request(connect(engine.own), "POST", f"/exec/{json.loads(asked[1])['Id']}/start", b'{"Detach":true}')
        assert begun[0] == 200, begun
    finally:
        engine.remove()
        shutil.rmtree(folder, ignore_errors=True)


def test_observe_learn_enforce(people: dict[str, Person]) -> None:
    """The usual goes on without asking, the seldom is denied with the command to ask for it, and neither is decided by chance."""
    folder = Path(tempfile.mkdtemp(prefix="pq-"))
    folder.chmod(0o755)
    engine = GatedEngine(folder / "watched", observe=True)
    try:
        engine.start().load(engineimages.archive(), people["alice"].connect(engine.socket, 60))
        for name in ("alice", "mallory", "alice", "mallory"):
            done = docker(engine, people[name], *USUAL)
            assert done.code == 0, done.text
        for words in (SELDOM, NEVER):
            done = docker(engine, people["alice"], *words)
            assert done.code == 0, done.text
        proposed = engine.pratique("learn", "--often", "4", "--store", str(engine.store))
        assert '- "SYS_NICE"  # ' in proposed
        baseline, _, entitlements = proposed.partition("  entitlements:")
        assert "run.root" not in baseline
        assert "run.privileged" not in baseline
        assert "run.privileged" in entitlements
        learnt = folder / "learnt.yaml"
        learnt.write_text(proposed)
        engine.pratique("grant", "policy", "set", str(learnt), "--store", str(engine.store))
        engine.stop_gate()
        engine._words = [word for word in engine._words if word != "--observe"]
        engine.start_gate()
        assert docker(engine, people["mallory"], *USUAL).code == 0
        denied = docker(engine, people["alice"], *SELDOM)
        assert denied.code != 0
        assert "pratique grant request --privilege run.root" in denied.text
        denied = docker(engine, people["mallory"], *NEVER)
        assert denied.code != 0
        assert "run.privileged" in denied.text
        can = engine.pratique(
            "can", "--store", str(engine.store), "--as", f"unix:{people['alice'].user}", "docker", *SELDOM, check=False
        )
        assert can.startswith("no: run bb:1")
        assert "pratique grant request --privilege run.root" in can
    finally:
        engine.remove()
        shutil.rmtree(folder, ignore_errors=True)
