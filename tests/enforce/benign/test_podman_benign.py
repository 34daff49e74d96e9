"""Root's Podman with the gate in its runtime's place does everyday work as without: nothing is denied, the results are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benign import Operation, load
from podmanengine import PodmanSide

pytestmark = pytest.mark.needs("podman", "runc", "busybox")

# The same lines as for Docker where Podman understands them and says the same: it has no daemon, other formats, and needs
# catatonit for an init and systemd's timers for health checks.
LACKS = frozenset(
    """
    bind-made-by-the-engine container-prune create-log-to-the-system create-with-ports events info network-ls
    network-with-a-subnet ps remove-what-is-not-there rename run-health-command run-health-of-the-image run-host-name
    run-init run-log-driver run-log-options run-what-is-not-there-yet stop update-restart volume-as-mount-without-copy
    volume-by-its-usual-driver volume-in-memory-as-mount volume-in-part volume-prune
    """.split()  # noqa: SIM905 - a list of words is read as one
)
OPERATIONS = [one for one in load("docker") if one.family in ("run", "files", "life") and one.name not in LACKS]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a configuration in which containers have no network where nothing is said."""
    path = tmp_path_factory.mktemp("podman") / "containers.conf"
    path.write_text('[containers]\nnetns = "none"\n')
    return path


def test_the_exceptions_exist() -> None:
    """What is left out is there for Docker; most is not left out."""
    assert {operation.name for operation in load("docker")} >= LACKS
    assert len(OPERATIONS) >= 90


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_ordinary(operation: Operation, gated_podman: PodmanSide, configuration: Path) -> None:
    """It works, and no denial is on record."""
    gate = gated_podman.gate
    assert gate is not None
    here = gated_podman.work / operation.name
    line, shows = operation.line(here, gate.shared)
    before = max((one.seq for one in gate.ledger()), default=0)
    code, said = 0, ""
    for _ in range(2):  # Podman at times loses what a command says that ends at once, with the gate and without it
        try:
            code, said = gated_podman.shell(gated_podman.people["alice"], line, here, configuration)
        finally:
            gated_podman.clean()
        if code or re.search(shows, said, re.MULTILINE):
            break
    denied = [f"{one.point} {one.rule}: {one.reason}" for one in gate.ledger(before) if one.decision == "deny"]
    assert not denied, said
    assert code == 0, said
    assert re.search(shows, said, re.MULTILINE), said
