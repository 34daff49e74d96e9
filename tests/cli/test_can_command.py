"""`pratique can`: what one may do now; and the command that it prints works when it is pasted."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

DIGEST = "sha256:" + "a" * 64
ME = pwd.getpwuid(os.getuid()).pw_name
POLICY = f"""apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: team}}
spec:
  rules:
  - {{id: no-socket, deny: "spec.mounts.exists(m, m.source == '/var/run/docker.sock')", message: the socket is root}}
  entitlements:
  - id: net
    privileges: ["run.cap:NET_ADMIN"]
    approvals: {{count: 0}}
  - id: debug
    privileges: [exec.root]
    maxTTL: 30m
    ticket: {{required: true, pattern: "INC-[0-9]+"}}
    approvals: {{from: ["unix:{ME}"], strength: 1, fourEyes: false}}
"""


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "policy.yaml").write_text(POLICY)
    assert call("grant", "policy", "set", tmp_path / "policy.yaml").code == 0


def pasted(out: str) -> list[str]:
    """Return the words of the command that was printed."""
    (line,) = [line.partition("ask for it: ")[2] for line in out.splitlines() if "ask for it: " in line]
    words = shlex.split(line)
    assert words[0] == "pratique"
    return words[1:]


def test_no_then_pasted_then_yes(call: Any) -> None:
    """Denied with a command; the command given as it is; then yes, with the time that is left."""
    no = call("can", "run.cap:NET_ADMIN")
    assert no.code == 1
    assert call(*pasted(no.out)).code == 0
    yes = call("can", "run.cap:NET_ADMIN")
    assert yes.code == 0
    assert "left), 1 more use" in yes.out
    assert call("can", "docker", "run", "-u", "1000", "--cap-add", "NET_ADMIN", "alpine").code == 0


def test_with_approval(call: Any) -> None:
    """Task, ticket and reason can be put in beforehand; it is yes only after the approval."""
    no = call("can", "exec.root", f"reg.example/app@{DIGEST}", "--task", "T-1", "--ticket", "INC-7", "--reason", "it's down")
    words = pasted(no.out)
    assert words[words.index("--image") + 1] == f"reg.example/app@{DIGEST}"
    asked = call(*words, "--format", "json")
    assert (asked.code, asked.json["state"]) == (0, "requested")
    waits = call("can", "exec.root", f"reg.example/app@{DIGEST}")
    assert (waits.code, f"asked for already: {asked.json['id']}" in waits.out, "ask for it" in waits.out) == (1, True, False)
    assert "ask for it" in call("can", "exec.root", "reg.example/other@sha256:" + "b" * 64).out
    assert call("grant", "approve", asked.json["id"]).code == 0
    yes = call("can", "exec.root", f"reg.example/app@{DIGEST}", "--format", "json")
    assert (yes.code, yes.json["allowed"]) == (0, True)
    (grant,) = yes.json["answers"][0]["grants"]
    assert grant["id"] == asked.json["id"]
    assert 1700 < grant["seconds_left"] <= 1800
    assert call("can", "exec.root", "reg.example/other@sha256:" + "b" * 64).code == 1


def test_files(call: Any, tmp_path: Path) -> None:
    """A file says which line asks for what."""
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: a\n    user: '5'\n    privileged: true\n")
    no = call("can", tmp_path / "compose.yaml")
    assert no.code == 1
    assert "line 5: it runs without confinement" in no.out
    (tmp_path / "Dockerfile").write_text("FROM a\nUSER 1000\n")
    assert call("can", tmp_path / "Dockerfile").code == 0
    found = call("can", tmp_path / "Dockerfile", tmp_path / "compose.yaml", "--format", "json")
    assert [(one["allowed"], [why["line"] for why in one["reasons"]]) for one in found.json["answers"]] == [
        (True, []),
        (False, [5]),
    ]


def test_parts_in_other_files_are_no_yes(call: Any, tmp_path: Path) -> None:
    """What is not read is said, and nobody is told yes about it."""
    (tmp_path / "compose.yaml").write_text("include: [other.yaml]\nservices:\n  web: {image: a, user: '5'}\n")
    ran = call("can", tmp_path / "compose.yaml")
    assert (ran.code, "compose.yaml:1: include is in another file" in ran.err) == (3, True)
    assert call("can", tmp_path / "compose.yaml", "--format", "json").code == 3


def test_lines(call: Any) -> None:
    """A line of docker is decided as the gate would, and a container's name is asked for by the shell, as names move."""
    assert call("can", "docker run -u 1000:1000 alpine id").out.count("\n") == 1
    assert "it has group 0" in call("can", "docker run -u 1000 alpine id").out
    ruled = call("can", "docker", "run", "-u", "1000", "-v", "/var/run/docker.sock:/x", "alpine")
    assert (ruled.code, "the socket is root (no-socket)" in ruled.out) == (1, True)
    ran = call("can", "podman", "exec", "-u", "root", "web", "sh")
    assert """--container "$(podman inspect --format '{{.Id}}' web)\"""" in ran.out
    assert "$(" not in call("can", "docker", "exec", "-u", "root", "a;id", "sh").out


def test_for_somebody_else(call: Any) -> None:
    """As a gate would see them, or as a claim; the claim is carried into the command."""
    assert "for oidc:eve" in call("can", "exec.root", "--as", "oidc:eve").out
    ran = call("can", "run.cap:NET_ADMIN", "--as", "eve")
    assert pasted(ran.out)[-2:] == ["--as", "eve"]
    assert call(*pasted(ran.out)).code == 0
    assert call("can", "run.cap:NET_ADMIN", "--as", "eve").code == 1  # no gate honours what a claimed name has


def test_overview(call: Any) -> None:
    """Without a question: what is free, what is held, what may be asked for."""
    call(*pasted(call("can", "run.cap:NET_ADMIN").out))
    out = call("can").out
    assert "granted: run.cap:NET_ADMIN until" in out
    assert "exec.root (debug: at most 30m, with a ticket, approved by unix:" in out
    assert {one["id"] for one in call("can", "--format", "json").json["entitlements"]} == {"net", "debug"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("exec.rot",), 2, "did you mean 'exec.root'"),
        (("exec",), 2, "docker exec"),
        (("docker", "ps"), 2, "not a line"),
        (("docker", "run", "--no-such", "x"), 2, "--no-such"),
        (("/no/such/file",), 2, "No such file"),
        (("compose.yml",), 2, "compose.yml: there is no such file"),
        (("Dockerfile.dev",), 2, "there is no such file"),
        ((".",), 2, "pratique lint --privileges POLICY ."),
        (("/tmp",), 2, "is a folder"),
        (("docker", "run", "--store", "x", "image"), 2, "come before docker"),
        (("exec.root", "a", "b"), 2, "one image"),
        (("exec.root", "--group", "x"), 2, "--as"),
        (("exec.root", "--store", "/no/store"), 3, "no store"),
        (("exec.root", "--policy", "/no/policy"), 2, "/no/policy"),
    ],
)
def test_mistakes(call: Any, arguments: tuple[str, ...], code: int, words: str) -> None:
    """One line, and the right code."""
    ran = call("can", *arguments)
    assert ran.code == code
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_a_policy_file_and_no_store(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer has the policy in the repository, and no store."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "none"))
    ran = call("can", "exec.root", "--policy", tmp_path / "policy.yaml")
    assert (ran.code, "--ticket TICKET" in ran.out) == (1, True)
    assert not (tmp_path / "none").exists()


def test_nothing_in_a_file(call: Any, tmp_path: Path) -> None:
    """A file that asks for nothing is no yes."""
    (tmp_path / "a.yaml").write_text("a: b\n")
    assert call("can", tmp_path / "a.yaml").code == 3


def test_policy_check(call: Any, tmp_path: Path) -> None:
    """A policy is checked before it is set: what is doubtful with its place, what is wrong as an error."""
    good = call("grant", "policy", "check", tmp_path / "policy.yaml")
    assert (good.code, "1 policy can be set" in good.out) == (0, True)
    assert re.search(r"policy\.yaml:\d+:\d+: debug lets people approve their own requests", good.out)
    assert call("grant", "policy", "check", tmp_path / "policy.yaml", "--strict").code == 1
    assert call("grant", "policy", "check", tmp_path / "policy.yaml", "--format", "json").json["valid"] is True
    assert call("grant", "policy", "check", tmp_path / "policy.yaml", tmp_path / "policy.yaml").code == 2
    (tmp_path / "bad.yaml").write_text(POLICY.replace("exec.root", "exec.rot"))
    bad = call("grant", "policy", "check", tmp_path / "bad.yaml")
    assert (bad.code, "bad.yaml:" in bad.err, "did you mean 'exec.root'" in bad.err) == (2, True, True)


def test_a_grant_for_one_container_is_told_of(call: Any) -> None:
    """No without the container, with the place where it is yes and the question that says so; the exit code stays no."""
    container, image = "c" * 64, f"reg.example/app@{DIGEST}"
    asked = ("grant", "request", "--privilege", "run.cap:NET_ADMIN", "--task", "T-1", "--reason", "x", "--for", "10m")
    for scope in (("--container", container), ("--image", image), ("--namespace", "team-a", "--host", "build-*")):
        assert call(*asked, *scope).code == 0
    no = call("can", "run.cap:NET_ADMIN")
    assert no.code == 1
    assert f"but you may for the container {container}: g-" in no.out
    assert f"but you may for the image {image}: g-" in no.out
    assert "but you may for the host build-*, the namespace team-a: g-" in no.out
    sees = [line.partition("see: ")[2] for line in no.out.splitlines() if "see: " in line]
    assert len(sees) == 3
    for line in sees:
        assert call(*shlex.split(line)[1:]).code == 0, line
    document = call("can", "run.cap:NET_ADMIN", "--format", "json")
    assert document.code == 1
    there = document.json["answers"][0]["elsewhere"]
    assert sorted(one["container"] for one in there) == ["", "", container]
    assert all(one["seconds_left"] > 500 and one["uses_left"] == 1 for one in there)
    overview = call("can")
    assert f"for the container {container}, 1 more use (g-" in overview.out


def test_a_grant_elsewhere_that_a_rule_denies_is_not_offered(call: Any) -> None:
    """Nothing is promised that a gate would deny there; and nobody is told of the grants of others."""
    asked = ("grant", "request", "--privilege", "run.cap:NET_ADMIN", "--task", "T-1", "--reason", "x", "--for", "10m")
    assert call(*asked, "--container", "d" * 64).code == 0
    line = ("can", "docker", "run", "-u", "1000", "--cap-add", "NET_ADMIN", "-v", "/var/run/docker.sock:/s", "alpine")
    denied = call(*line)
    assert denied.code == 1
    assert "but you may" not in denied.out
    assert "but you may" not in call("can", "run.cap:NET_ADMIN", "--as", "unix:nobody").out


def test_nobody_is_told_to_ask_for_what_is_for_others(call: Any, tmp_path: Path) -> None:
    """The command that is printed works: an entitlement that names other people is neither offered nor listed."""
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: pratique/v1\nkind: PrivilegePolicy\nmetadata: {name: team}\nspec:\n  entitlements:\n"
        "  - {id: theirs, privileges: [run.privileged], when: \"subject.key in ['unix:olga']\", approvals: {count: 0}}\n"
        "  - {id: oncall, privileges: [exec.root], when: \"'oncall' in subject.groups && context.ticket != ''\"}\n"
    )
    own = ("--policy", tmp_path / "policy.yaml")
    denied = call("can", "run.privileged", *own, "--as", "unix:nobody")
    assert denied.code == 1
    assert "ask for it" not in denied.out
    assert "nothing entitles to it" in denied.out
    assert "theirs" not in call("can", *own, "--as", "unix:nobody").out
    assert "ask for it" in call("can", "run.privileged", *own, "--as", "unix:olga").out
    assert "theirs" in call("can", *own, "--as", "unix:olga").out
    assert "ask for it" in call("can", "exec.root", *own, "--as", "unix:nobody", "--group", "oncall").out
    assert "ask for it" not in call("can", "exec.root", *own, "--as", "unix:nobody").out
