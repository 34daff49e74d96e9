"""The list of attempts in the documentation is what is tried; each is there once, and they are enough."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from attacking import Attack as Attempted
from attacking import Step, load

TOOL = Path(__file__).parents[3] / "tools" / "attacks_reference.py"
KINDS = ("docker", "podman")


def test_the_page_is_up_to_date() -> None:
    """`python tools/attacks_reference.py` writes it."""
    spec = importlib.util.spec_from_file_location("attacks_reference", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.main(["--check"]) == 0, "python tools/attacks_reference.py"


@pytest.mark.parametrize(("kind", "least"), [("docker", 130), ("podman", 45)])
def test_there_are_enough(kind: str, least: int) -> None:
    """Nobody takes attempts away unnoticed; names are unique."""
    names = [attack.name for attack in load(kind)]
    assert len(set(names)) == len(names) >= least


@pytest.mark.parametrize("attack", [attack for kind in KINDS for attack in load(kind)], ids=lambda attack: attack.name)
def test_it_says_how_it_is_seen(attack: Attempted) -> None:
    """One effect, one kind of deed a step, and a rule or event by which the ledger tells it."""
    effect = attack.effect
    assert sum(map(bool, (effect.output, effect.file, effect.get))) == 1
    assert bool(effect.get) == bool(effect.shows)
    for step in attack.step:
        deeds = (
            step.docker,
            step.http and not step.create,
            step.raw,
            step.create,
            step.shell,
            step.grant,
            step.revoke,
            step.wait,
            step.gate,
            step.serve,
        )
        assert sum(map(bool, deeds)) == 1, step
    assert attack.stopped.at not in ("edge", "runtime") or attack.stopped.rule
    assert any(not step.setup for step in attack.step if isinstance(step, Step))
