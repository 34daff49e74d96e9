"""Lock files that the real tools wrote: each case gives the packages and gaps that stand beside it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from inventory.catalogers.lockcases import INSPECTORS, look

CASES = Path(__file__).parent / "cases"
FOUND = sorted(
    path.parent.relative_to(CASES).as_posix() for name in INSPECTORS for path in (CASES / name).glob("*/expected.json")
)


@pytest.mark.parametrize("case", FOUND)
def test_lock_file_case(case: str) -> None:
    """Packages are those of expected.json, gaps those of gaps.json; all packages are declared ones."""
    name, folder = case.partition("/")[0], CASES / case
    packages = []
    gaps = []
    for path in sorted(path for path in (folder / "tree").rglob("*") if path.is_file()):
        found, problems = look(name, path.relative_to(folder / "tree").as_posix(), path.read_bytes())
        assert all(package.declared for package in found)
        packages += [json.loads(msgspec.json.encode(package)) for package in found]
        gaps += [[gap.code, gap.path, gap.message] for gap in problems]
    assert sorted(packages, key=_order) == json.loads((folder / "expected.json").read_bytes())
    wanted = json.loads((folder / "gaps.json").read_bytes())
    assert [gap[: len(want)] for gap, want in zip(gaps, wanted, strict=True)] == wanted


@pytest.mark.parametrize("name", INSPECTORS)
def test_lock_inspector_has_its_cases(name: str) -> None:
    """Each inspector has a real case, a truncated one with a gap and an empty one, and speaks of declared packages only."""
    mine = [case.partition("/")[2] for case in FOUND if case.startswith(f"{name}/")]
    assert {"truncated", "empty"} < set(mine)
    assert json.loads((CASES / name / "truncated" / "gaps.json").read_bytes())
    assert INSPECTORS[name].name == name
    assert INSPECTORS[name].interest.scope == "declared"


def _order(package: dict[str, object]) -> str:
    return json.dumps(package, sort_keys=True)
