"""The README shows what really comes out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_picture_of_the_output_is_true(tmp_path: Path) -> None:
    """The output between the marks is that of the command above it, run on the example image."""
    shown = re.search(
        r"<!-- demo -->\n```console\n\$ ([^\n]+)\n(.*?)```\n<!-- /demo -->", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    assert shown is not None
    subprocess.run([sys.executable, ROOT / "examples/shop/build.py", tmp_path / "shop.tar"], check=True)
    command = [sys.executable, "-m", "pratique", *shown[1].split()[1:], "--cache-dir", str(tmp_path / "cache")]
    seen = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout == shown[2]


def test_the_example_is_reproducible(tmp_path: Path) -> None:
    """Two builds give the same bytes."""
    for name in ("one.tar", "two.tar"):
        subprocess.run([sys.executable, ROOT / "examples/shop/build.py", tmp_path / name], check=True)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
