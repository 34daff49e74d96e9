"""integrations/github: the action's steps as the service runs them, with its files and variables, and a gh that writes down."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from integrating import INTEGRATIONS, ROOT, Shell, program

FOLDER = INTEGRATIONS / "github"
ACTION: Any = yaml.safe_load((FOLDER / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
# A gh that answers a list of comments with $KNOWN, and writes down what it was called with and the files that it was given.
_GH = """#!/bin/sh
printf '%s\\n' "$*" >>"$HOME/gh.log"
for argument in "$@"; do
  case $argument in
    *=@*) cp "${argument#*=@}" "$HOME/gh-${argument%%=@*}" ;;
    *--paginate*) printf '%s\\n' "${KNOWN:-}" ;;
  esac
done
"""


class Job:
    """One job of the service: the files that steps write to, and the outputs of the steps before."""

    def __init__(self, shell: Shell, home: Path) -> None:
        self.shell, self.home = shell, home
        self.outputs: dict[str, str] = {}
        program(home / "programs", "gh", _GH)

    def step(self, name: str, inputs: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
        """Run a step if its condition holds; expressions of its variables are put in as the service puts them in."""
        step = STEPS[name]
        variables = {key: self._value(str(value), inputs) for key, value in step.get("env", {}).items()}
        files = {name: str(self.home / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
        for path in files.values():
            Path(path).touch()
        given = {
            "GITHUB_ACTION_PATH": str(FOLDER), "RUNNER_TEMP": str(self.home), "GITHUB_REPOSITORY": "team/shop",
            "GITHUB_SHA": "a" * 40, "GITHUB_REF": "refs/pull/7/merge", "GITHUB_WORKFLOW": "image", "GITHUB_JOB": "scan",
        }  # fmt: skip
        ran = self.shell(step["run"], **{**given, **files, **variables, **more})
        lines = Path(files["GITHUB_OUTPUT"]).read_text().splitlines()
        self.outputs = dict(line.split("=", 1) for line in lines)
        return ran

    def _value(self, text: str, inputs: dict[str, str]) -> str:
        known = {f"inputs.{name}": str(about.get("default", "")) for name, about in ACTION["inputs"].items()}
        known |= {f"inputs.{name}": value for name, value in inputs.items()}
        known |= {f"steps.scan.outputs.{name}": value for name, value in self.outputs.items()}
        known |= {"runner.temp": str(self.home)}
        return re.sub(r"\$\{\{ *([a-z.-]+) *\}\}", lambda match: known[match[1]], text)


@pytest.fixture
def job(shell: Shell, tmp_path: Path) -> Job:
    """Return a job that begins."""
    return Job(shell, tmp_path)


def scan(job: Job, **inputs: str) -> dict[str, str]:
    """Run the step that scans; return its outputs."""
    named = {name.replace("_", "-"): value for name, value in inputs.items()}
    ran = job.step("Scan", named)
    assert ran.returncode == 0, ran.stderr
    return job.outputs


@pytest.mark.parametrize(
    ("inputs", "code", "decision"),
    [
        ({"target": "docker-archive:clean.tar", "fail_on": "low"}, 0, "allowed"),
        ({"target": "docker-archive:new.tar", "fail_on": "critical,high"}, 1, "refused"),
        ({"target": "docker-archive:none.tar"}, 3, "unknown"),
        ({"target": "docker-archive:new.tar", "args": "--what"}, 2, "failed"),
        ({"target": "docker-archive:new.tar", "fail_on": "high", "baseline": "docker-archive:new.tar"}, 0, "allowed"),
        ({"target": "docker-archive:new.tar", "args": "--fail-on\nhigh\n--stage\nregistry\n"}, 1, "refused"),
    ],
)
def test_scan_and_decide(job: Job, inputs: dict[str, str], code: int, decision: str) -> None:
    """The scan's step never fails, so that reports are uploaded; the last one ends as pratique did."""
    outputs = scan(job, **inputs)
    assert (outputs["decision"], outputs["exit-code"]) == (decision, str(code))
    assert job.step("Decide", {}).returncode == code
    soft = job.step("Decide", {"warn-only": "true"}).returncode
    assert soft == (0 if code == 1 else code)


def test_the_summary_and_the_outputs(job: Job, workspace: Path) -> None:
    """The job's page has the report; with a baseline, what changed and why."""
    outputs = scan(job, target="docker-archive:new.tar", fail_on="high")
    assert json.loads((workspace / outputs["json"]).read_text())["verdict"]["decision"] == "deny"
    assert "aiohttp" in (job.home / "GITHUB_STEP_SUMMARY").read_text()
    outputs = scan(job, target="docker-archive:new.tar", fail_on="high", baseline="docker-archive:old.tar")
    assert outputs["markdown"] == "pratique-report/changes.md"
    assert "refused for what is new" in (workspace / outputs["markdown"]).read_text()
    assert "image: aiohttp 3.8.4 is new" in (workspace / outputs["markdown"]).read_text()


def test_no_baseline_yet(job: Job) -> None:
    """A file that is not there yet is no baseline: everything counts, and it is said."""
    ran = job.step("Scan", {"target": "docker-archive:new.tar", "fail-on": "high", "baseline": "main.json"})
    assert "there is no baseline main.json yet" in ran.stderr
    assert job.outputs["decision"] == "refused"


def test_upload(job: Job, workspace: Path) -> None:
    """Code scanning gets the SARIF report, packed as it asks, for this commit."""
    outputs = scan(job, target="docker-archive:new.tar")
    assert job.step("Upload to code scanning", {"token": "t"}).returncode == 0
    log = (job.home / "gh.log").read_text()
    assert f"repos/team/shop/code-scanning/sarifs -f commit_sha={'a' * 40} -f ref=refs/pull/7/merge" in log
    packed = gzip.decompress(base64.b64decode((job.home / "gh-sarif").read_bytes()))
    assert packed == (workspace / outputs["sarif"]).read_bytes()


def test_comment(job: Job) -> None:
    """The first run writes a comment, the next writes the same one again; elsewhere than on a pull request nothing happens."""
    scan(job, target="docker-archive:new.tar")
    assert job.step("Comment on the pull request", {"token": "t"}).returncode == 0
    assert "--method POST repos/team/shop/issues/7/comments" in (job.home / "gh.log").read_text()
    assert (job.home / "gh-body").read_text().startswith("<!-- pratique image-scan -->\n### pratique")
    job.step("Comment on the pull request", {"token": "t"}, KNOWN="4711")
    assert "--method PATCH repos/team/shop/issues/comments/4711" in (job.home / "gh.log").read_text()
    (job.home / "gh.log").unlink()
    assert job.step("Comment on the pull request", {"token": "t"}, GITHUB_REF="refs/heads/main").returncode == 0
    assert not (job.home / "gh.log").exists()


def test_nothing_of_a_name_is_run(job: Job, workspace: Path) -> None:
    """A target, an argument or a baseline that looks like a script is a name."""
    nasty = "docker-archive:$(touch made)`touch made`;touch made"
    assert scan(job, target=nasty, args=f"--team\n{nasty}", baseline=nasty)["decision"] == "unknown"
    assert not (workspace / "made").exists()


def test_inputs_reach_scripts_as_variables_only() -> None:
    """No expression stands in a script, and no step takes anything from the event."""
    text = (FOLDER / "action.yml").read_text()
    assert all("${{" not in step.get("run", "") for step in STEPS.values())
    assert "github.event" not in text
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(ACTION["inputs"])


def test_what_is_used_is_pinned() -> None:
    """Actions by commit, with the version beside; the program by the commit of the action itself, what it needs by hashes."""
    for name in ("action.yml", "example.yml"):
        for used in re.findall(r"uses: (\S+)(.*)", (FOLDER / name).read_text()):
            assert re.search(r"@([0-9a-f]{40}|COMMIT)$", used[0])
            assert "#" in used[1]
    install = (FOLDER / "install.sh").read_text()
    assert "--require-hashes" in install
    assert all((ROOT / f"requirements/{name}.txt").is_file() for name in ("runtime", "build"))


def test_outputs_are_those_of_the_step() -> None:
    """What the action promises is what its step writes."""
    written = set(re.findall(r"([a-z-]+)=%s", (FOLDER / "scan.sh").read_text().replace(r"\n", " ")))
    promised = {match for about in ACTION["outputs"].values() for match in re.findall(r"outputs\.([a-z-]+)", about["value"])}
    assert promised <= written
