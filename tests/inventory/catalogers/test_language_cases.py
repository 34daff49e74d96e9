"""Cases of the installed-language catalogers whose answer is a gap: the evidence of every case is compared elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from memoryfile import CASES, survives
from pratique.inventory.catalogers import dotnet, node, php, python, ruby
from pratique.inventory.interest import InterestIndex
from pratique.model.inventory import Gap
from pratique.model.ports import Inspector

INSPECTORS: dict[str, Inspector] = {module.INSPECTOR.name: module.INSPECTOR for module in (dotnet, node, php, python, ruby)}


def gaps(inspector: Inspector, tree: Path) -> dict[str, str]:
    """Return path -> code of each gap that the inspector leaves on a tree."""
    index = InterestIndex([inspector.interest])
    found: dict[str, str] = {}
    for file in sorted(path for path in tree.rglob("*") if path.is_file()):
        path = file.relative_to(tree).as_posix()
        if index.select(path.encode(), b"") is not None:
            for seen in survives(inspector, path, file.read_bytes()):
                if isinstance(seen, Gap):
                    found[path] = seen.code
    return found


@pytest.mark.parametrize(
    ("name", "case", "count"),
    [
        ("dotnet", "empty", 1),
        ("dotnet", "truncated", 1),
        ("node", "empty", 3),
        ("node", "truncated", 3),
        ("php", "empty", 1),
        ("php", "truncated", 1),
        ("python", "empty", 5),
        ("python", "truncated", 3),
        ("ruby", "empty", 1),
        ("ruby", "truncated", 1),
    ],
)
def test_damaged_case_leaves_gaps(name: str, case: str, count: int) -> None:
    """Each truncated or empty file is a gap of its own."""
    assert len(gaps(INSPECTORS[name], CASES / name / case / "tree")) == count


@pytest.mark.parametrize("name", sorted(INSPECTORS))
def test_whole_cases_leave_no_gap(name: str) -> None:
    """What the real tools wrote is read without any gap."""
    whole = [folder for folder in (CASES / name).iterdir() if folder.name not in ("empty", "truncated")]
    assert len(whole) >= 2
    for folder in whole:
        assert gaps(INSPECTORS[name], folder / "tree") == {}
