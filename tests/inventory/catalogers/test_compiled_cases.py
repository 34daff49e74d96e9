"""Programs and Java archives: each case yields what was reviewed against the real tool; a damaged one never nothing at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pratique.inventory.catalogers import executables, java
from pratique.inventory.examine import UNREADABLE
from pratique.inventory.interest import InterestIndex
from pratique.model.inventory import Gap
from pratique.model.ports import Inspector

CASES = Path(__file__).with_name("cases")
INSPECTORS: dict[str, Inspector] = {module.INSPECTOR.name: module.INSPECTOR for module in (executables, java)}
BLIND = {"executables/gopath", "executables/truncated", "java/spring-boot", "java/truncated"}


class Bytes:
    """A file in memory."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.mode = 0o755

    def read(self) -> bytes:
        return self.data

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@pytest.mark.parametrize(
    "case",
    [case for name in INSPECTORS for case in sorted((CASES / name).iterdir()) if case.is_dir()],
    ids=lambda case: f"{case.parent.name}/{case.name}",
)
def test_compiled_case(case: Path) -> None:
    """Evidence is as expected; gaps and errors come where something cannot be seen, and nowhere else."""
    inspector = INSPECTORS[case.parent.name]
    index = InterestIndex([inspector.interest])
    evidence: list[Any] = []
    troubles = 0
    for path in sorted((case / "tree").rglob("*")):
        if not path.is_file():
            continue
        file = Bytes(str(path.relative_to(case / "tree")), path.read_bytes())
        if index.select(file.path.encode(), file.data[:512]) is None:
            continue
        try:
            for item in inspector.inspect(file):
                if isinstance(item, Gap):
                    assert item.path.startswith(file.path)
                    troubles += 1
                else:
                    evidence.append(msgspec.to_builtins(item))
        except UNREADABLE:
            troubles += 1
    evidence.sort(key=lambda item: json.dumps(item, sort_keys=True))
    assert json.loads(json.dumps(evidence)) == json.loads((case / "expected.json").read_text("utf-8"))
    assert bool(troubles) == (f"{case.parent.name}/{case.name}" in BLIND)
