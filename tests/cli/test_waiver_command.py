"""`pratique waiver` keeps a file that people review: comments stay, nothing unsound is ever written."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique._kit.text import Text
from pratique.policy import edit
from pratique.policy.document import Waivers, read

Call = Callable[..., Any]
ADD = ("waiver", "add", "--owner", "team-a", "--reason", "not: reachable # yet")
WRITTEN = """# Reviewed on Mondays.
apiVersion: pratique/v1
kind: Waivers
waivers:
  # the first
  - id: one   # of two
    vulnerability: [CVE-1, GHSA-1]
    owner: a
    expires: 2026-01-01
    reason: |
      long
      story

  # the second
  - {id: two, path: x, owner: b, reason: r, expires: 2027-01-01}  # flows
# the end
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_add_makes_the_file(call: Call, here: Path) -> None:
    """What is added is read back; relative expiry counts from now."""
    ran = call(*ADD, "--vulnerability", "CVE-1", "--package", "pkg:npm/a", "--expires", "30d", "--now", "2026-01-01")
    assert ran.code == 0
    ran = call(*ADD, "--path", "usr/*", "--expires", "2026-06-01", "--until", "kev", "--until", "epss>0.5", "--now", "2026-01-01")
    assert ran.code == 0
    rows = call("waiver", "list", "-f", "json", "--now", "2026-01-01").json
    assert [(row["id"], row["expires"], row["reason"]) for row in rows] == [
        ("w-1", "2026-01-31T00:00:00Z", "not: reachable # yet"),
        ("w-2", "2026-06-01T00:00:00Z", "not: reachable # yet"),
    ]
    assert rows[1]["until"] == ["kev", "epss>0.5"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--vulnerability", "CVE-1", "--expires", "never"), "'never' is no moment"),
        (("--image", "x", "--expires", "1d"), "needs a vulnerability, package, path or rule"),
        (("--path", "x", "--expires", "1d", "--until", "rain"), "'rain' is not understood"),
        (("--path", "x", "--expires", "1d", "--severity", "hihg"), "did you mean 'high'"),
        (("--path", "x"), "Missing option '--expires'"),
    ],
)
def test_nothing_unsound_is_written(call: Call, here: Path, more: tuple[str, ...], said: str) -> None:
    """Bad usage leaves no file."""
    ran = call(*ADD, *more)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert said in ran.err
    assert list(here.iterdir()) == []


def test_people_s_files_stay_as_they_are(call: Call, here: Path) -> None:
    """Comments, indentation and line breaks survive both ways."""
    path = here / "waivers.yaml"
    path.write_text(WRITTEN)
    ran = call(*ADD, "--id", "three", "--vulnerability", "CVE-3", "--expires", "2028-01-01", "--now", "2026-02-01")
    assert ran.code == 0
    text = path.read_text()
    assert text.startswith(WRITTEN.removesuffix("# the end\n"))
    assert text.endswith("# the end\n")
    assert "  - id: three\n    vulnerability: CVE-3\n" in text
    assert call("waiver", "prune", "--dry-run", "--now", "2026-02-01").out == (
        "one: expired on 2026-01-01T00:00:00Z\n1 waiver would be removed\n"
    )
    assert path.read_text() == text
    assert call("waiver", "prune", "--now", "2026-02-01").code == 0
    left = path.read_text()
    assert "id: one" not in left
    assert "story" not in left
    for comment in ("# Reviewed on Mondays.", "# the second", "# flows", "# the end"):
        assert comment in left
    assert [row["id"] for row in call("waiver", "list", "-f", "json", "--now", "2026-02-01").json] == ["two", "three"]
    assert call("waiver", "prune", "--now", "2030-01-01").code == 0
    assert "waivers: []" in path.read_text()
    assert call("waiver", "list").out == "0 waivers\n"
    assert call(*ADD, "--path", "x", "--expires", "2031-01-01").code == 0
    assert "- id: w-1\n" in path.read_text()


def test_expiring(call: Call, here: Path) -> None:
    """Those that hold now and end within the time, the soonest first."""
    for name, expires in (("late", "2026-03-03"), ("soon", "2026-01-20"), ("gone", "2025-12-31"), ("edge", "2026-01-31")):
        assert call(*ADD, "--id", name, "--path", name, "--expires", expires, "--now", "2025-12-01").code == 0
    rows = call("waiver", "list", "--expiring", "30d", "-f", "json", "--now", "2026-01-01").json
    assert [row["id"] for row in rows] == ["soon", "edge"]
    lines = call("waiver", "list", "--now", "2026-01-01").out.splitlines()
    assert lines[0].startswith("gone")
    assert "ended: expired on 2025-12-31T00:00:00Z" in lines[0]
    assert call("waiver", "list", "--expiring", "soon").code == 2


def test_no_file(call: Call, here: Path) -> None:
    """Nothing to list is said in one line."""
    for command in ("list", "prune"):
        ran = call("waiver", command)
        assert (ran.code, ran.err.count("\n")) == (2, 1)


@given(
    st.dictionaries(st.sampled_from(["vulnerability", "package", "ticket"]), st.text(min_size=1, max_size=20)),
    st.text(max_size=20),
)
def test_any_words_come_back(fields: dict[str, str], reason: str) -> None:
    """Whatever words are given: what was written is what is read, or it is refused."""
    from pratique.model.errors import PolicyError

    given_fields = {**fields, "path": "x", "owner": "o", "reason": reason, "expires": "2027-01-01T00:00:00Z"}
    try:
        once = edit.add(Text("f", edit.EMPTY), given_fields)
        twice = edit.add(Text("f", once), given_fields)
        document, _ = read("f", twice.encode("utf-8", "surrogatepass"), Waivers)
    except PolicyError:
        return
    assert len(document.waivers) == 2
    for waiver in document.waivers:
        assert waiver.reason == reason
        for name, value in fields.items():
            assert getattr(waiver, name) == ((value,) if name == "vulnerability" else value)
    only = edit.remove(Text("f", twice), [0])
    assert read("f", only.encode(), Waivers)[0].waivers[0].reason == reason


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--until", "fix-availble"), "until: 'fix-availble' is not understood (did you mean 'fix-available'?)"),
        (("--until", "severity-raised"), "severity-raised needs the severity at the time of the waiver"),
        (("--id", " "), ""),
        (("--package", " "), "package is empty"),
    ],
)
def test_what_cannot_be_added(call: Call, here: Path, more: tuple[str, ...], said: str) -> None:
    """One line about the option, not about a place in a file that was never written."""
    ran = call("waiver", "add", "--vulnerability", "CVE-1", "--owner", "o", "--reason", "r", "--expires", "30d", *more)
    if not said:
        assert ran.code == 0
        return
    assert ran.code == 2
    assert said in ran.err
    assert "waivers.yaml" not in ran.err
    assert not (here / "waivers.yaml").exists()


def test_what_is_over_is_not_added(call: Call, here: Path) -> None:
    """It would never hold."""
    line = ("waiver", "add", "--vulnerability", "CVE-1", "--owner", "o", "--reason", "r", "--now", "2026-03-01")
    for expires in ("2026-02-28", "2026-03-01T00:00:00Z"):
        ran = call(*line, "--expires", expires)
        assert (ran.code, "that is over" in ran.err) == (2, True)
    assert not (here / "waivers.yaml").exists()
    assert call(*line, "--expires", "2026-03-01T00:00:01Z").code == 0


@pytest.mark.needs("git", "ssh-keygen")
def test_waivers_under_a_signature(call: Call, here: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that asks for it: an unsigned commit, a signed one, and a line that was added behind its back."""
    monkeypatch.setenv("HOME", str(here))
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> None:
        subprocess.run(arguments, cwd=here, check=True, capture_output=True)

    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key")
    (here / "allowed").write_text(f"eve@acme.example {(here / 'key.pub').read_text()}")
    body = "waivers: {signed: true}\n  rules:\n  - {id: kev, when: finding.kev, effect: deny}\n"
    (here / "policy.yaml").write_text(f"apiVersion: pratique/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  {body}")
    call("waiver", "add", "--vulnerability", "CVE-2023-4911", "--owner", "o", "--reason", "r", "--expires", "2030-01-01")
    run("git", "init", "-q")
    for name, value in (("user.name", "e"), ("user.email", "e@x"), ("gpg.format", "ssh"), ("user.signingkey", "key.pub")):
        run("git", "config", name, value)
    run("git", "add", "waivers.yaml")
    run("git", "commit", "-q", "--no-gpg-sign", "-m", "m")
    line = (
        "scan",
        image,
        "--offline",
        "--now",
        "2027-01-01",
        "--policy",
        "policy.yaml",
        "--waiver-signers",
        "allowed",
        "-f",
        "json",
    )
    ran = call(*line)
    assert ran.code == 1
    assert "nobody vouches for its file: its last change, commit" in ran.json["verdict"]["reasons"][0]["message"]
    run("git", "commit", "-q", "--amend", "-S", "--no-edit")
    assert call(*line).code == 0
    with (here / "waivers.yaml").open("a") as file:
        file.write("- {vulnerability: CVE-1, owner: m, reason: r, expires: 2030-01-01}\n")
    assert "it is not as it was committed" in call(*line).json["verdict"]["reasons"][0]["message"]
    ran = call(*line[:-3], "nowhere")
    assert (ran.code, "--waiver-signers nowhere: there is no such file" in ran.err) == (2, True)


def test_what_a_report_says_is_taken_from_it(call: Call, here: Path, image: str) -> None:
    """Severity and digest, for the conditions that need them as they were."""
    assert call("scan", image, "--offline", "--now", "2024-06-01", "-o", "json=saved.json").code == 0
    report = json.loads((here / "saved.json").read_text())
    (severity,) = {finding["severity"] for finding in report["findings"] if finding["id"] == "CVE-2023-4911"}
    line = (
        "waiver",
        "add",
        "--owner",
        "o",
        "--reason",
        "r",
        "--expires",
        "30d",
        "--until",
        "severity-raised",
        "--report",
        "saved.json",
    )
    assert call(*line, "--vulnerability", "cve-2023-4911", "--until", "new-image").code == 0
    (row,) = call("waiver", "list", "-f", "json").json
    assert (row["severity"], row["digest"]) == (severity, report["target"]["digest"])
    ran = call(*line, "--vulnerability", "CVE-1")
    assert (ran.code, "it has no finding CVE-1" in ran.err) == (2, True)
    assert call(*line, "--vulnerability", "CVE-1", "--severity", "low").code == 0
