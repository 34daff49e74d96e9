"""The reference of privileges says what the program does: every privilege and name is in it, and its example is a policy."""

from __future__ import annotations

import re
from pathlib import Path

from pratique.grant.asking import lasts
from pratique.grant.conditions import NAMES
from pratique.grant.policy import load
from pratique.grant.privileges import FORMS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "reference" / "privileges.md").read_text()


def test_every_privilege_with_its_lifetime() -> None:
    """What can be asked for is in the table, with what it means and how long it lasts at most."""
    rows = dict(re.findall(r"^\| `([a-z.-]+)(?::[^`]*)?` \| (.* \| \d+[mhd]) \|$", TEXT, re.MULTILINE))
    assert rows == {name: f"{form.meaning} | {lasts(form.lifetime)}" for name, form in FORMS.items()}


def test_every_name_of_conditions() -> None:
    """What a condition may say is in the table, with its type."""
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| ([a-z()]+) \| .* \|$", TEXT, re.MULTILINE))
    assert {name: kind for name, kind in rows.items() if name in NAMES} == {name: known.type for name, known in NAMES.items()}


def test_the_example_is_a_policy() -> None:
    """It can be set as it stands."""
    (example,) = re.findall(r"```yaml\n(apiVersion.*?)```", TEXT, re.DOTALL)
    (part,) = load("example.yaml", example.encode()).parts
    assert [one.id for one in part.entitlements] == ["debug-root"]
    assert part.break_glass is not None
