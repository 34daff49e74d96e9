"""Fingerprints are a promise to whoever keeps reports: the same in every version of the program, whatever line or layer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from changing import finding, package, report
from pratique.match.merge import fingerprint
from pratique.model.finding import FindingLocation
from pratique.report.sarif import REPORTER

Call = Callable[..., Any]


@pytest.mark.parametrize(
    ("made", "known"),
    [
        (fingerprint("vulnerability", "CVE-2021-23337", package()), "c524df033e4b97cadf5ab0ceebbd746b"),
        (fingerprint("vulnerability", "CVE-2021-23337", package(version="9.9.9", layer="")), "c524df033e4b97cadf5ab0ceebbd746b"),
        (fingerprint("eol", "debian-12"), "62ca0fa4924061880066e593640ae831"),
    ],
)
def test_written_down(made: str, known: str) -> None:
    """They were this in the first version, and are for ever: a change here forgets every waiver and baseline that names one."""
    assert made == known


def test_lines_that_move(call: Call, tmp_path: Path) -> None:
    """Lines before, spaces and comments change no fingerprint of what is wrong with a Dockerfile."""
    file = tmp_path / "Dockerfile"
    kept = []
    for head in ("", "# a comment\n\n# and another\n"):
        file.write_text(f"{head}FROM debian:12\n{'' if not head else chr(10)}RUN sudo apt-get update\n")
        ran = call("lint", file, "-f", "json")
        kept.append({finding["id"]: (finding["fingerprint"], finding["location"]["line"]) for finding in ran.json["findings"]})
    assert {name: prints for name, (prints, _) in kept[0].items()} == {name: prints for name, (prints, _) in kept[1].items()}
    assert kept[0]["df-sudo"] == ("f8f5af103a517350c5d76aec8e1754bf", 2)
    assert kept[1]["df-sudo"][1] == 6


def test_in_sarif() -> None:
    """Code scanning knows a result again by what does not move."""
    prints = set()
    for line, layer in ((1, "sha256:1"), (90, "sha256:2")):
        moved = finding(location=FindingLocation(path="app/x", line=line, layer=layer))
        out = io.BytesIO()
        REPORTER.write(msgspec.structs.replace(report([moved], [package()]), findings=(moved,)), out)
        (result,) = json.loads(out.getvalue())["runs"][0]["results"]
        prints.add(json.dumps(result["partialFingerprints"], sort_keys=True))
    assert len(prints) == 1
