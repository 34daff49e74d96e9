"""Every cataloger's cases: an input tree and what must be seen in it; and that no other inspector speaks on that tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pratique.examination import inspectors_for
from pratique.image.blob import Deadline
from pratique.image.tree import FolderWalk
from pratique.inventory.examine import Examiner
from pratique.inventory.interest import InterestIndex
from pratique.model.ports import Inspector

CASES = Path(__file__).parent / "cases"
INSPECTORS: dict[str, Inspector] = {inspector.name: inspector for inspector in inspectors_for(declared=True)}
EVERY = sorted(path.parent for path in CASES.glob("*/*/expected.json"))


def seen_in(tree: Path) -> tuple[dict[str, list[Any]], int]:
    """Show a tree to all inspectors as a scan does; return what each saw, and the number of gaps."""
    inspectors = list(INSPECTORS.values())
    index = InterestIndex([inspector.interest for inspector in inspectors])
    examiner = Examiner(inspectors)
    for wanted in FolderWalk(tree, index.select, Deadline(None)):
        examiner.look(wanted.path, wanted.selection, wanted.file, wanted.size)
    inspected = examiner.inspected()
    evidence = {
        name: [msgspec.to_builtins(item) for located in part.located for item in located.evidence]
        for name, part in inspected.items()
    }
    return {name: items for name, items in evidence.items() if items}, sum(len(part.gaps) for part in inspected.values())


@pytest.mark.parametrize("case", EVERY, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_case(case: Path) -> None:
    """The inspector sees what the case says, and what it shares a tree with is named in `others`."""
    seen, _ = seen_in(case / "tree")
    name = case.parent.name
    for item in seen.get("accounts", ()):
        item.pop("mode")  # of whoever checked this repository out; tests/lint/test_accounts.py sets them
    own = sorted(seen.pop(name, []), key=lambda item: json.dumps(item, sort_keys=True))
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    assert json.loads(json.dumps(own)) == sorted(expected, key=lambda item: json.dumps(item, sort_keys=True))
    others = case / "others.json"
    allowed = set(json.loads(others.read_text("utf-8"))) if others.exists() else set()
    assert set(seen) <= allowed, f"other inspectors spoke: {seen}"


@pytest.mark.parametrize("name", sorted(INSPECTORS))
def test_every_inspector_has_cases(name: str) -> None:
    """No inspector without a real, a truncated and an empty case."""
    cases = {case.name for case in EVERY if case.parent.name == name}
    assert {"truncated", "empty"} < cases


@pytest.mark.parametrize("name", sorted(INSPECTORS))
def test_nothing_is_lost_in_silence(name: str) -> None:
    """A truncated case ends in a gap, or still says something: never in silence."""
    seen, gaps = seen_in(CASES / name / "truncated" / "tree")
    assert gaps or seen
