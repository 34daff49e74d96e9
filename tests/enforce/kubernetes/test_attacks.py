"""Each attempt works on an API server without a gate; behind the gate it does not, and the ledger says so."""

from __future__ import annotations

from typing import Any

import pytest

from kubeattacks import Attack, Attempt, load

ATTACKS = load()


def test_there_are_many() -> None:
    """All families are there, and no two attacks are one."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 60


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_stopped(attack: Attack, real: Any) -> None:
    """It is first shown to succeed; then it is denied by the rule that it breaks, on record."""
    if not attack.only_gated:
        free = Attempt(attack, real.bare, None)
        said = free.run()
        assert free.got_through(said), f"without a gate it has no effect, so it proves nothing: {said}"
    with real.gate.desk() as desk:
        before = desk.ledger.head().lines if hasattr(desk.ledger.head(), "lines") else 0
    held = Attempt(attack, real.api, real.gate)
    said = held.run()
    assert not held.got_through(said), f"the gate does not stop it: {said}"
    assert said.status == 403, said
    assert "pratique: " in said.message, said
    assert attack.rule.removeprefix("privilege ") in said.message or attack.rule in ("unreadable", "no-runtime-socket"), said
    assert before >= 0
