"""integrations/shell: the plain gate ends as pratique does, and what could not be told never passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integrating import INTEGRATIONS, Shell

GATE = INTEGRATIONS / "shell/pratique-gate.sh"


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (["docker-archive:new.tar"], {}, 0),
        (["docker-archive:new.tar"], {"PRATIQUE_FAIL_ON": "high"}, 1),
        (["docker-archive:new.tar", "--fail-on", "high"], {"GATE_WARN_ONLY": "true"}, 0),
        (["docker-archive:clean.tar", "--fail-on", "low"], {}, 0),
        (["docker-archive:none.tar"], {"GATE_WARN_ONLY": "true"}, 3),
        (["docker-archive:new.tar", "--what"], {"GATE_WARN_ONLY": "true"}, 2),
        ([], {}, 2),
        (["docker-archive:new.tar", "--fail-on", "high"], {"GATE_BASELINE": "docker-archive:new.tar"}, 0),
        (["docker-archive:new.tar", "--fail-on", "high"], {"GATE_BASELINE": "docker-archive:old.tar"}, 1),
        (["docker-archive:new.tar", "--fail-on", "high"], {"GATE_BASELINE": "not-yet.json"}, 1),
        (["docker-archive:new.tar", "--fail-on", "high"], {"GATE_BASELINE": "docker-archive:none.tar"}, 3),
    ],
)
def test_codes(shell: Shell, arguments: list[str], environment: dict[str, str], code: int) -> None:
    """0, 1, 2 and 3 as they are; only a refusal can be made a warning."""
    assert shell(GATE, *arguments, **environment).returncode == code


def test_reports(shell: Shell, workspace: Path) -> None:
    """Reports of all kinds are there, also after a refusal; the JSON one is the baseline of the next run."""
    assert shell(GATE, "docker-archive:new.tar", "--fail-on", "high", GATE_OUTPUT="out put").returncode == 1
    names = {path.name for path in (workspace / "out put").iterdir()}
    assert names == {"report.json", "report.sarif", "report.html", "junit.xml", "summary.md"}
    ran = shell(GATE, "docker-archive:new.tar", "--fail-on", "high", GATE_BASELINE="out put/report.json")
    assert ran.returncode == 0
    assert json.loads((workspace / "pratique-report/report.json").read_text())["baseline"]["new"] == 0
