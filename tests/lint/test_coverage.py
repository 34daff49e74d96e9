"""What is said of other linters' rules fits the checks that there are."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from pratique.lint.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "coverage_reference.py"


def test_the_page_is_what_the_tool_writes() -> None:
    """Each rule is covered by a check or has a reason, no check covers what is not listed, and the page is up to date."""
    done = subprocess.run([sys.executable, TOOL, "--check"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "run: python tools/coverage_reference.py"


def test_the_standards_are_whole() -> None:
    """A check for each control of the Pod Security Standards that a version can ask for."""
    names = {check.id for check in catalogue().values() if check.id.startswith("pss-")}
    of_profile = [benchmark for name in names for benchmark in catalogue()[name].benchmarks if benchmark.startswith("PSS ")]
    assert len(of_profile) == len(names) == 19  # twelve of baseline, seven of restricted


def test_rules_are_listed_once() -> None:
    """A number that stands twice would hide one of the two."""
    for source in tomllib.loads((ROOT / "tools" / "lint_coverage.toml").read_text("utf-8"))["source"]:
        ids = [rule["id"] for rule in source["rules"]]
        assert len(ids) == len(set(ids))
