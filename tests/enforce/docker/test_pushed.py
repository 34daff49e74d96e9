"""What was written beyond the baseline goes to a registry and comes back under another name: it is known by its layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attacking import Side
from dockerengine import Done
from registrygate import running

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "docker-registry")
_CONFIGURATION = "storage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: 127.0.0.1:0}\n"


@pytest.fixture
def side(gated: Side) -> Iterator[Side]:
    """Return the engine behind the gate; nothing of a test is left."""
    gate = gated.gate
    assert gate is not None
    file = gate.store.parent / "policy.yaml"
    wider = file.with_name("pushing.yaml")
    wider.write_text(file.read_text().replace("[build.run,", '[build.run, "registry.push:127.0.0.1:*/**",'))
    gate.pratique("grant", "policy", "set", str(wider), "--store", str(gate.store))
    yield gated
    gate.pratique("grant", "policy", "set", str(file), "--store", str(gate.store))
    gated.clean()
    gate.revoke_all()


def by(side: Side, name: str, *words: str) -> Done:
    return side.command(side.people[name], list(words))


def test_pushed_and_pulled_under_another_name_it_stays_suspect(side: Side, tmp_path: Path) -> None:
    gate = side.gate
    assert gate is not None
    with running(tmp_path, _CONFIGURATION % (tmp_path / "registry")) as (_, address):
        hidden = f"{address[0]}:{address[1]}/team/clean:1"
        clean = f"{address[0]}:{address[1]}/team/base:1"
        gate.grant(side.people["alice"], ["run.root"], uses=1)
        assert by(side, "alice", "run", "--name", "dirty", "-u", "0", "bb:1", "touch", "/made").code == 0
        assert by(side, "alice", "commit", "dirty", "dirty:1").code == 0
        for name, pushed in (("dirty:1", hidden), ("bb:1", clean)):
            assert by(side, "alice", "tag", name, pushed).code == 0
            done = by(side, "alice", "push", pushed)
            assert done.code == 0, done.text
        gate.revoke_all()
        assert by(side, "alice", "rm", "-f", "dirty").code == 0
        assert by(side, "alice", "rmi", "-f", "dirty:1", hidden, clean).code == 0
        for pulled in (clean, hidden):
            done = by(side, "mallory", "pull", pulled)
            assert done.code == 0, done.text
        ran = by(side, "mallory", "run", "--rm", "-u", "1000:1000", clean, "true")
        assert ran.code == 0, ran.text
        assert by(side, "mallory", "tag", hidden, "harmless:2").code == 0
        for name in (hidden, "harmless:2"):
            code, said = by(side, "mallory", "run", "--rm", "-u", "1000:1000", name, "true")
            assert code != 0
            assert "the image holds what was written in a container that ran beyond the baseline" in said
        assert by(side, "mallory", "rmi", "-f", hidden, "harmless:2", clean).code == 0
