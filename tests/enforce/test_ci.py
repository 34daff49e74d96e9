"""`pratique gate ci`: one decision on a build, with what refused where the build server shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagebuilder
from pratique.cli.main import run
from pratique.enforce.ci import MAX_NOTICES, Notice, code_quality, decision, github, plain, summary
from pratique.store.place import Place
from pratique.store.verdicts import Verdicts

PRIVILEGES = """
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {name: build}
spec:
  entitlements:
  - {id: p, privileges: [run.privileged], approvals: {count: 1}}
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Ran]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Run it in a repository of its own, outside of any build server."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "GITHUB_STEP_SUMMARY", "GITLAB_CI", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "privileges.yaml").write_text(PRIVILEGES)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "compose.yaml").write_text("services:\n  app:\n    image: a\n    user: '1000'\n    privileged: true\n")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "compose.yaml").write_text("services:\n  app:\n    image: a\n    user: '1000:1000'\n")
    for name, version in (("bad", "2.36-9"), ("good", "99")):
        status = f"Package: glibc\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
        files = {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": status}
        (tmp_path / f"{name}.tar").write_bytes(imagebuilder.docker_archive([imagebuilder.layer(files)]))

    def ran(*arguments: str) -> Ran:
        capfd.readouterr()
        code = run(["gate", "ci", *arguments, "--offline"])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return ran


BAD, GOOD = "docker-archive:bad.tar", "docker-archive:good.tar"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((BAD, "--fail-on", "kev"), 1),
        ((GOOD, "--fail-on", "kev"), 0),
        ((GOOD, BAD, "--fail-on", "kev"), 1),
        (("--files", "bad", "--privileges", "privileges.yaml"), 1),
        (("--files", "good", "--privileges", "privileges.yaml"), 0),
        ((GOOD, "--files", "bad", "--fail-on", "kev", "--privileges", "privileges.yaml"), 1),
        ((BAD, "--files", "good", "--fail-on", "kev", "--privileges", "privileges.yaml"), 1),
        (("--files", "bad/none.yaml", "--privileges", "privileges.yaml"), 3),
        (("docker-archive:none.tar", "--fail-on", "kev"), 3),
        (("--fail-on", "kev"), 2),
        ((BAD,), 2),
        ((BAD, "--fail-on", "dreadful"), 2),
        ((BAD, "--fail-on", "kev", "--code-quality", "/nowhere/report.json"), 2),
        ((BAD, "--fail-on", "kev", "--annotations", "jenkins"), 2),
    ],
)
def test_exit_codes(call: Call, arguments: tuple[str, ...], code: int) -> None:
    """The worst of the parts decides; what cannot be told is not allowed."""
    assert call(*arguments).code == code


def test_a_refusal_is_said_at_its_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain for people, commands for GitHub, with the way out."""
    arguments = (BAD, "--files", "bad", "--fail-on", "kev", "--privileges", "privileges.yaml")
    out = call(*arguments).out
    assert "bad/compose.yaml:5: error: privilege" in out
    assert "pratique grant request --privilege run.privileged" in out
    assert "CVE-2023-4911" in out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = call(*arguments).out.splitlines()
    assert any(line.startswith("::error file=bad/compose.yaml,line=5,title=") for line in lines)
    assert all(line.startswith("::error ") for line in lines)


def test_what_is_allowed_says_nothing(call: Call) -> None:
    """A green build has no annotations."""
    ran = call(GOOD, "--files", "good", "--fail-on", "kev", "--privileges", "privileges.yaml")
    assert (ran.code, ran.out) == (0, "")


def test_gitlabs_report(call: Call, tmp_path: Path) -> None:
    """The fields that GitLab asks for, at the line; fingerprints stay the same and differ."""
    call(BAD, "--files", "bad", "--fail-on", "kev", "--privileges", "privileges.yaml", "--annotations", "gitlab")
    path = tmp_path / "gl-code-quality-report.json"
    first = json.loads(path.read_bytes())
    assert {frozenset(entry) for entry in first} == {
        frozenset(("description", "check_name", "fingerprint", "severity", "location"))
    }
    assert {"path": "bad/compose.yaml", "lines": {"begin": 5}} in [entry["location"] for entry in first]
    assert len({entry["fingerprint"] for entry in first}) == len(first)
    call(BAD, "--files", "bad", "--fail-on", "kev", "--privileges", "privileges.yaml", "--annotations", "gitlab")
    assert json.loads(path.read_bytes()) == first


def test_verdicts_are_recorded_for_the_gates(call: Call, tmp_path: Path) -> None:
    """What a build decided, a gate with the same rules finds."""
    assert call(BAD, GOOD, "--fail-on", "kev", "--record", "--store", str(tmp_path / "store")).code == 1
    verdicts = Verdicts(Place(tmp_path / "store"))
    with verdicts._lock:
        rows = verdicts._connection.execute("SELECT digest FROM verdicts").fetchall()
    assert sorted(one.decision for (name,) in rows for one in verdicts.find([name])) == ["allow", "deny"]
    verdicts.close()


@given(st.lists(st.builds(Notice, st.sampled_from(["error", "warning"]), st.text(), st.integers(0, 9), st.text(), st.text())))
def test_no_text_begins_a_command_of_its_own(found: list[Notice]) -> None:
    """Whatever an image or a file says, GitHub reads one command a notice, and a log one line."""
    commands = github(found)
    assert commands.count("\n") == len(found)
    assert "\r" not in commands
    assert all(line.startswith(("::error ", "::warning ")) for line in commands.splitlines())
    assert plain(found).count("\n") == len(found)
    assert len(json.loads(code_quality(found))) == len(found)


def test_many_refusals_are_bounded(call: Call, tmp_path: Path) -> None:
    """Build servers show some; the last says how many more there are."""
    service = "  app{}:\n    image: a\n    user: '1000'\n    privileged: true\n"
    (tmp_path / "bad" / "compose.yaml").write_text("services:\n" + "".join(service.format(number) for number in range(80)))
    lines = call("--files", "bad", "--privileges", "privileges.yaml").out.splitlines()
    assert len(lines) == MAX_NOTICES
    assert "31 more" in lines[-1]


def test_a_build_of_nothing_is_unknown() -> None:
    """No part, no decision."""
    assert decision([]) == "unknown"


def test_a_line_that_breaks_two_rules_is_told_once(call: Call) -> None:
    """One finding is one notice, which names both rules."""
    lines = call("--files", "bad", "--privileges", "privileges.yaml", "--fail-on", "high").out.splitlines()
    both = [line for line in lines if "(privileges, severity-high)" in line]
    assert both
    assert len({line.partition(": error: ")[0] + line.partition("service ")[2] for line in lines}) == len(lines)


def test_paths_are_those_of_the_checkout(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that runs in a folder shows its lines where the build server finds them; what is outside stays as it is."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.chdir(tmp_path / "bad")
    ran = call("--files", ".", "--privileges", "../privileges.yaml")
    assert ran.code == 1
    assert all(line.startswith("::error file=bad/") for line in ran.out.splitlines())
    page = (tmp_path / "summary.md").read_text()
    assert "| deny | files . |" in page
    assert "bad/compose.yaml:" in page
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "elsewhere"))
    assert "file=compose.yaml" in call("--files", ".", "--privileges", "../privileges.yaml").out


def test_gitlab_is_known_by_its_variables(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its report is written without being asked for, with paths from the root of the checkout."""
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_PROJECT_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path / "bad")
    ran = call("--files", ".", "--privileges", "../privileges.yaml")
    assert ran.code == 1
    assert "bad/compose.yaml:" in ran.out
    found = json.loads(Path("gl-code-quality-report.json").read_bytes())
    assert {entry["location"]["path"] for entry in found} == {"bad/compose.yaml"}


@given(st.text(max_size=60))
def test_a_summary_is_a_table_whatever_is_said(text: str) -> None:
    """No text of a file or an image begins a row, a link or markup of its own."""
    page = summary([Notice("error", text, 1, text, text)], [])
    rows = page.splitlines()
    assert len(rows) == 8
    bare = re.sub(r"\\.", "", rows[-1])  # without what is escaped
    assert bare.count("|") == 4
    assert not set("`*_[]<>") & set(bare)
