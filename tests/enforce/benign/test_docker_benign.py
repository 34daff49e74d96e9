"""Everyday work goes through the gate as if it were not there: nothing is denied, and the results are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from attacking import Side
from benign import Operation, load
from dockergate import Gate

pytestmark = pytest.mark.needs("dockerd", "docker", "docker-compose", "busybox")

OPERATIONS = load("docker")


def test_there_are_enough() -> None:
    """A hundred at least, each once."""
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS) >= 100


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_ordinary(operation: Operation, gated: Side) -> None:
    """It works, and no denial is on record."""
    assert gated.gate is not None
    for attempt in range(3):
        code, said, shows, denied = _done(operation, gated, gated.gate, gated.work / f"{operation.name}-{attempt}")
        if not denied or not all(one.endswith("it took too long") for one in denied):  # a machine that is too busy
            break
    assert not denied, said
    assert code == 0, said
    assert re.search(shows, said, re.MULTILINE), said


def _done(operation: Operation, gated: Side, gate: Gate, here: Path) -> tuple[int, str, str, list[str]]:
    """Do it in a folder; return the code, what was said, what should have been, and the denials on record."""
    line, shows = operation.line(here, gate.shared)
    before = max((line.seq for line in gate.ledger()), default=0)
    env = {
        "DOCKER_HOST": f"unix://{gated.engine.socket}", "DOCKER_CONFIG": str(here / ".docker"), "HOME": str(here),
        "DOCKER_BUILDKIT": "0", "BUILDKIT_PROGRESS": "plain", "COMPOSE_PROJECT_NAME": operation.name,
    }  # fmt: skip
    try:
        code, said = gated.people["alice"].run(["sh", "-c", line + " 2>&1"], env=env, cwd=here)
        denied = [f"{one.point} {one.rule}: {one.reason}" for one in gate.ledger(before) if one.decision == "deny"]
        return code, said, shows, denied
    finally:
        gated.clean()
