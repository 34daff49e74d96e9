"""What the documentation lists is what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPEAKING = (
    "advisory",
    "attest",
    "vexsources",
    "image",
    "inventory",
    "match",
    "lint",
    "workload",
    "examination.py",
    "inspection.py",
    "linting.py",
    "pipeline.py",
)
CODE = re.compile(r"\"((?:image|inventory|advisories|sbom|lint)\.[a-z]+(?:-[a-z]+)*)\"")


def test_every_problem_is_documented() -> None:
    """Each code that a Gap can have stands in docs/reference/problems.md, and none that no Gap has."""
    rooms = [
        path for path in (ROOT / "src/pratique").rglob("*.py") if path.relative_to(ROOT / "src/pratique").parts[0] in SPEAKING
    ]
    used = {code for path in rooms for code in CODE.findall(path.read_text("utf-8"))}
    page = (ROOT / "docs/reference/problems.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `([a-z.-]+)` \|", page, re.MULTILINE))
    assert used - listed == set()
    assert listed - used == set()


def test_every_command_and_option_is_documented() -> None:
    """docs/reference/cli.md is what `tools/cli_reference.py` writes now."""
    done = subprocess.run([sys.executable, ROOT / "tools/cli_reference.py", "--check"], check=False)
    assert done.returncode == 0, "run: python tools/cli_reference.py"


def test_every_check_is_documented() -> None:
    """docs/reference/checks.md is what `tools/checks_reference.py` writes now."""
    done = subprocess.run([sys.executable, ROOT / "tools/checks_reference.py", "--check"], check=False)
    assert done.returncode == 0, "run: python tools/checks_reference.py"
