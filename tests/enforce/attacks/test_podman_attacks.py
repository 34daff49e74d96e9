"""Each attempt works with Podman's own runtime; with the gate in its place it does not, and the ledger says so."""

from __future__ import annotations

import pytest

from attacking import Attack, denials, load, try_both
from podmanengine import PodmanSide

pytestmark = pytest.mark.needs("podman", "runc", "busybox")

ATTACKS = load("podman")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_stopped(attack: Attack, bare_podman: PodmanSide, gated_podman: PodmanSide) -> None:
    """It is first shown to succeed; then it is denied, on record, and nothing of it happened."""
    gate = gated_podman.gate
    assert gate is not None
    before = max((line.seq for line in gate.ledger()), default=0)
    free, held = try_both(attack, bare_podman, gated_podman)
    assert not free.problems
    assert free.worked, f"without a gate it has no effect, so it proves nothing: {free.said}"
    assert not held.problems
    assert not held.worked, f"the gate does not stop it: {held.said}"
    if attack.stopped.at != "closed":
        said = [f"{line.event} {line.decision} {line.point} {line.rule!r} {line.reason}" for line in gate.ledger(before)]
        assert any(denials(gate, before, attack.stopped)), f"the ledger does not say so: {said}; {held.said}"
