"""`--privileges`: lint and scan say what a gate would, and refuse what it would refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import imagebuilder

POLICY = """apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {name: team}
spec:
  entitlements:
  - {id: net, privileges: ["run.cap:NET_ADMIN", run.root], approvals: {count: 0}, maxUses: 0}
"""
COMPOSE = "services:\n  web:\n    image: a:1\n    user: '5'\n    cap_add: [NET_ADMIN]\n"


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "compose.yaml").write_text(COMPOSE)


def of_privileges(document: Any) -> list[dict[str, Any]]:
    return [one for one in document["findings"] if one["id"] == "privilege"]


def test_lint_refuses_what_a_gate_would(call: Any, tmp_path: Path) -> None:
    """At the line of the key, with the command; without the option nothing of it is said."""
    ran = call("lint", "--privileges", tmp_path / "policy.yaml", tmp_path / "compose.yaml", "--format", "json")
    (found,) = of_privileges(ran.json)
    assert (ran.code, ran.json["verdict"]["decision"]) == (1, "deny")
    assert (found["location"]["line"], found["severity"]) == (5, "high")
    assert "pratique grant request --privilege run.cap:NET_ADMIN" in found["message"]
    lines = [one["location"]["line"] for one in ran.json["findings"]]
    assert lines == sorted(lines)
    plain = call("lint", tmp_path / "compose.yaml", "--format", "json")
    assert (plain.code, of_privileges(plain.json)) == (0, [])


def test_what_is_granted_is_no_finding(call: Any, tmp_path: Path) -> None:
    """The grants of the store count."""
    assert call("grant", "policy", "set", tmp_path / "policy.yaml").code == 0
    asked = ("--task", "T-1", "--reason", "x", "--for", "30m", "--uses", "0")
    assert call("grant", "request", "-p", "run.cap:NET_ADMIN", *asked).code == 0
    ran = call("lint", "--privileges", tmp_path / "policy.yaml", tmp_path / "compose.yaml", "--format", "json")
    assert (ran.code, of_privileges(ran.json)) == (0, [])


def test_waivers_do_not_count(call: Any, tmp_path: Path) -> None:
    """A comment that accepts a finding changes nothing about what a gate will say."""
    (tmp_path / "compose.yaml").write_text(
        COMPOSE.replace("    cap_add", "    # pratique: ignore=privilege it is needed\n    cap_add")
    )
    assert call("lint", "--privileges", tmp_path / "policy.yaml", tmp_path / "compose.yaml").code == 1


def test_scan_and_lint_of_an_image(call: Any, tmp_path: Path) -> None:
    """An image that runs as root is refused where root is not granted, by lint and by scan alike."""
    for user, code in (("", 1), ("1000", 0)):
        layers = [imagebuilder.layer({"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": ""})]
        image = tmp_path / f"image{code}.tar"
        image.write_bytes(imagebuilder.docker_archive(layers, config={"User": user}))
        for command in (("lint",), ("scan", "--offline")):
            ran = call(*command, "--privileges", tmp_path / "policy.yaml", image, "--format", "json")
            assert ["run.root" in one["title"] for one in of_privileges(ran.json)] == [True] * code, command
            assert (ran.json["verdict"]["decision"] == "deny") is bool(code), command


def test_mistakes(call: Any, tmp_path: Path) -> None:
    """A policy that is wrong, or missing, is said before anything is looked at."""
    (tmp_path / "bad.yaml").write_text("a: b\n")
    assert call("lint", "--privileges", tmp_path / "bad.yaml", tmp_path / "compose.yaml").code == 2
    assert call("scan", "--offline", "--privileges", tmp_path / "none.yaml", tmp_path).code == 2
