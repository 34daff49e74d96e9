"""Each attempt works on an engine without a gate; behind the gate it does not, and the ledger says so."""

from __future__ import annotations

import json

import pytest

from attacking import Attack, Side, denials, load, try_both
from dockerengine import request

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")

ATTACKS = load("docker")
# Number in the ledger by which an attack was stopped; the last test looks each of them up as an auditor does.
_STOPPED: dict[str, int] = {}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_stopped(attack: Attack, bare: Side, gated: Side) -> None:
    """It is first shown to succeed; then it is denied where it should be, on record, and nothing of it happened."""
    assert gated.gate is not None
    before = max((line.seq for line in gated.gate.ledger()), default=0)
    free, held = try_both(attack, bare, gated)
    assert not free.problems
    assert free.worked, f"without a gate it has no effect, so it proves nothing: {free.said}"
    assert not held.problems
    assert not held.worked, f"the gate does not stop it: {held.said}"
    if attack.stopped.at == "closed":
        return
    found = next(denials(gated.gate, before, attack.stopped), None)
    said = [f"{line.event} {line.decision} {line.point} {line.rule!r} {line.reason}" for line in gated.gate.ledger(before)]
    assert found is not None, f"the ledger does not say so: {said}; {held.said}"
    _STOPPED[attack.name] = found.seq


def test_a_saved_process_is_nobodys_to_restore(gated: Side) -> None:
    """A checkpoint holds a process as it was, whoever it was: engines that can restore one need their administrator for it."""
    mallory, name = gated.people["mallory"], "checkpointed"
    body = b'{"Image":"bb:1","User":"1000:1000"}'
    try:
        assert request(mallory.connect(gated.engine.socket), "POST", f"/containers/create?name={name}", body)[0] == 201
        for query in ("checkpoint=one", "checkpoint-dir=/tmp"):
            status, said = request(mallory.connect(gated.engine.socket), "POST", f"/containers/{name}/start?{query}", kind="")
            assert status == 403
            assert b"engine.admin" in said
    finally:
        gated.clean()


def test_an_auditor_finds_every_denial(gated: Side) -> None:
    """`pratique audit show` has them all, and the ledger is whole."""
    assert gated.gate is not None
    store = str(gated.gate.store)
    shown = {
        json.loads(line)["seq"]
        for line in gated.gate.pratique("audit", "show", "--format", "json", "--store", store).splitlines()
    }
    assert set(_STOPPED.values()) <= shown
    assert json.loads(gated.gate.pratique("audit", "verify", "--format", "json", "--store", store))["verified"] is True
