"""Everyday work goes through the gate as if it were not there: nothing is denied, and the results are right."""

from __future__ import annotations

import re

import pytest

from attacking import Side
from benign import Operation, load

pytestmark = pytest.mark.needs("dockerd", "docker", "docker-compose", "busybox")

OPERATIONS = load("docker")


def test_there_are_enough() -> None:
    """A hundred at least, each once."""
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS) >= 100


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_ordinary(operation: Operation, gated: Side) -> None:
    """It works, and no denial is on record."""
    assert gated.gate is not None
    here = gated.work / operation.name
    line, shows = operation.line(here, gated.gate.shared)
    before = max((line.seq for line in gated.gate.ledger()), default=0)
    env = {
        "DOCKER_HOST": f"unix://{gated.engine.socket}", "DOCKER_CONFIG": str(here / ".docker"), "HOME": str(here),
        "DOCKER_BUILDKIT": "0", "BUILDKIT_PROGRESS": "plain", "COMPOSE_PROJECT_NAME": operation.name,
    }  # fmt: skip
    try:
        code, said = gated.people["alice"].run(["sh", "-c", line + " 2>&1"], env=env, cwd=here)
        denied = [f"{one.point} {one.rule}: {one.reason}" for one in gated.gate.ledger(before) if one.decision == "deny"]
        assert not denied, said
        assert code == 0, said
        assert re.search(shows, said, re.MULTILINE), said
    finally:
        gated.clean()
