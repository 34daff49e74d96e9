"""Images run by their verdicts: on a real engine, known ones at once, strangers by a scan of what the engine has."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import engineimages
from dockerengine import Done, Person
from dockergate import GatedEngine, docker

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")

POLICY = """
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: images}}
spec:
  subjects: {{groups: [{mallory}, {alice}, {root}]}}
  baseline: {{profile: baseline}}
  entitlements:
  - id: image-for-a-task
    privileges: ["run.image:**@sha256:*"]
    maxTTL: 15m
    maxUses: 0
    approvals: {{count: 1, from: ["group:{oncall}"], strength: 1}}
"""
ADMISSION = """
apiVersion: pratique/v1
kind: Admission
metadata: {name: images}
spec:
  policies: [rules.yaml]
  unknown: scan
  unjudged: allow
  deadline: 60s
  offline: true
"""
# By what is in the image, so that a scan decides, and no advisory is needed.
RULES = """
apiVersion: pratique/v1
kind: Policy
metadata: {name: layers}
spec:
  rules:
  - id: one-layer
    when: image.layers > 1
    effect: deny
    message: it has more than one layer
"""


class Stand:
    def __init__(self, folder: Path) -> None:
        files = folder / "files"
        files.mkdir(parents=True)
        (files / "rules.yaml").write_text(RULES)
        (files / "admission.yaml").write_text(ADMISSION)
        self.engine = GatedEngine(folder, policy=POLICY, more=["--admission", str(files / "admission.yaml")])
        self.alice = Person("alice")

    def run(self, *words: str) -> Done:
        return docker(self.engine, self.alice, "run", "--rm", "--network", "none", *words, seconds=90)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it starts an engine of its own")
    folder = Path(tempfile.mkdtemp(prefix="pq-images-"))
    folder.chmod(0o755)
    own = Stand(folder)
    try:
        own.engine.start().load(engineimages.archive(), own.alice.connect(own.engine.socket, 60))
        yield own
    finally:
        own.alice.close()
        own.engine.remove()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_stranger_is_scanned_and_runs(stand: Stand) -> None:
    done = stand.run("numbered:1", "id", "-u")
    assert done.code == 0, done.text
    verdicts = [line for line in stand.engine.ledger() if line.event == "verdict"]
    assert [line.decision for line in verdicts] == ["unknown"], "nothing usable is in it, and this policy lets that pass"
    assert stand.run("numbered:1", "id", "-u").code == 0
    assert len([line for line in stand.engine.ledger() if line.event == "verdict"]) == 1, "known the second time"


def test_a_stranger_that_the_policy_refuses_does_not(stand: Stand) -> None:
    done = stand.run("risen:1", "id", "-u")
    assert done.code == 125
    assert "it has more than one layer" in done.text
    assert "run.image:" in done.text
    assert "pratique grant request --privilege run.image:" in done.text
    (line,) = [line for line in stand.engine.ledger() if line.decision == "deny" and line.point == "docker"][-1:]
    assert "it has more than one layer" in line.reason
    assert stand.engine.look("/containers/json?all=1") == []


def test_by_whatever_name(stand: Stand) -> None:
    """A tag that is moved onto it, its id, its id cut short: it is the same image."""
    identifier = stand.engine.look("/images/risen:1/json")["Id"]
    docker(stand.engine, stand.alice, "tag", "risen:1", "numbered:2")
    for name in ("numbered:2", identifier, identifier[7:19]):
        done = stand.run(name, "id", "-u")
        assert done.code == 125, done.text
        assert "it has more than one layer" in done.text


def test_a_grant_lets_it_run_for_a_task(stand: Stand) -> None:
    identifier = stand.engine.look("/images/risen:1/json")["Id"]
    denied = stand.run("risen:1", "id", "-u").text
    privilege = next(word for word in denied.split() if word.startswith("run.image:")).rstrip(",;:)")
    assert identifier in privilege
    grant = stand.engine.grant(stand.alice, [privilege], seconds=60, uses=0)
    assert stand.run("risen:1", "id", "-u").code == 0
    assert grant.id in {line.grant for line in stand.engine.ledger() if line.event == "use"}
    stand.engine.revoke_all()
    assert stand.run("risen:1", "id", "-u").code == 125


def test_a_verdict_that_changes_stops_what_was_made_before(stand: Stand) -> None:
    """A container that exists is not started once its image is refused."""
    made = docker(stand.engine, stand.alice, "create", "--name", "later", "--network", "none", "numbered:1", "id", "-u")
    assert made.code == 0, made.text
    rules = stand.engine.folder / "files/rules.yaml"
    good = rules.read_text()
    rules.write_text(good.replace("image.layers > 1", "image.layers > 0"))
    try:
        until = time.monotonic() + 15
        while time.monotonic() < until:
            done = docker(stand.engine, stand.alice, "start", "-a", "later", seconds=90)
            if done.code:
                break
        assert done.code != 0
        assert "it has more than one layer" in done.text
    finally:
        rules.write_text(good)
        docker(stand.engine, stand.alice, "rm", "-f", "later")
