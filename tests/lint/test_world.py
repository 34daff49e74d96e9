"""Files as they exist in the world, each with all that is found in it: what a change of the checks does to them is seen here.

`expected.json` is written anew by `python tests/lint/test_world.py`; look at what changed before it is kept.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pratique.lint.check import Checked
from pratique.lint.run import UnreadError, check, lint

WORLD = Path(__file__).parent / "world"
EXPECTED = WORLD / "expected.json"
FILES = sorted(path.name for path in WORLD.iterdir() if path != EXPECTED)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def told(name: str, content: bytes) -> dict[str, Any]:
    """Return what is found: the kind of the file, the lines of each check, the codes of what could not be read."""
    result = lint(name, content, NOW)
    lines: dict[str, list[int]] = {}
    for item in result.findings:
        lines.setdefault(item.id, []).append(item.location.line if item.location is not None else 0)
    findings = {name: sorted(found) for name, found in sorted(lines.items())}
    return {"kind": result.kind, "findings": findings, "gaps": sorted(gap.code for gap in result.gaps)}


@pytest.mark.parametrize("name", FILES)
def test_file(name: str) -> None:
    """All that is found, at the lines where it stands, and nothing else."""
    expected = json.loads(EXPECTED.read_text("utf-8"))
    assert sorted(expected) == FILES
    assert told(name, (WORLD / name).read_bytes()) == expected[name]


@pytest.mark.parametrize("name", FILES)
def test_line_ends_and_byte_order(name: str) -> None:
    """An editor of Windows changes nothing of what is found, nor where."""
    content = (WORLD / name).read_bytes().replace(b"\r\n", b"\n")
    assert told(name, b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")) == told(name, content)


@pytest.mark.parametrize("name", FILES)
def test_regions(name: str) -> None:
    """What is marked in an editor is a piece of the text, and no more than what a person would mark."""
    text = (WORLD / name).read_text("utf-8")
    try:
        checked: Checked = check(name, text, NOW)
    except UnreadError:
        return
    for hit, region in checked.regions().items():
        assert 0 <= region.start <= region.end <= len(text), hit
        marked = text[region.start : region.end]
        assert marked == marked.strip(), hit


def test_long() -> None:
    """A step of 20,000 commands, and a build of 2,000 steps, are read to the end."""
    long = "FROM alpine:3.19\nRUN " + " && \\\n    ".join(f"echo {number}" for number in range(20_000)) + "\nRUN sudo x\nUSER 1\n"
    assert told("Dockerfile", long.encode())["findings"]["df-sudo"] == [20_002]
    steps = "FROM alpine:3.19\n" + "RUN echo x\n" * 2_000 + "USER root\n"
    assert told("Dockerfile", steps.encode())["findings"]["df-user-root"] == [2_002]


if __name__ == "__main__":
    found = {name: told(name, (WORLD / name).read_bytes()) for name in FILES}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(all_of_it)}" for name, all_of_it in found.items())
    EXPECTED.write_text("{\n" + lines + "\n}\n", "utf-8")
    sys.stdout.write(f"{len(found)} files\n")
