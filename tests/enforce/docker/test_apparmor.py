"""A profile confines where it is in force: what only complains, or is loaded as unconfined, needs a privilege."""

from __future__ import annotations

from pathlib import Path

import pytest

from pratique.enforce.docker import apparmor
from pratique.workload import docker_create
from pratique.workload.spec import Spec
from pratique_runtime.baseline import beyond

LOADED = """\
docker-default (enforce)
mine (enforce)
mine (complain)
learning (complain)
chrome (unconfined)
a b (kill)
strict (enforce)
"""


def asked(profile: str) -> Spec:
    return docker_create.extract({"Image": "bb", "HostConfig": {"SecurityOpt": [f"apparmor={profile}"]}})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "enabled").write_text("Y\n")
    (tmp_path / "profiles").write_text(LOADED)
    monkeypatch.setattr(apparmor, "ENABLED", tmp_path / "enabled")
    monkeypatch.setattr(apparmor, "PROFILES", tmp_path / "profiles")
    return tmp_path


@pytest.mark.parametrize(
    ("profile", "confines"),
    [
        ("docker-default", True), ("strict", True), ("a b", True), ("containers-default-0.57.4", True),
        ("learning", False), ("chrome", False), ("mine", False), ("not-loaded", False), ("unconfined", False),
        ("strict//&chrome", False), (":ns:strict", False), ("docker-default ", False),
    ],
)  # fmt: skip
def test_a_profile_confines_where_it_is_in_force(machine: Path, profile: str, confines: bool) -> None:
    found = apparmor.as_enforced(asked(profile)).apparmor
    assert found == (profile if confines else "unconfined")


def test_where_the_profiles_cannot_be_read_only_those_of_engines_count(machine: Path) -> None:
    (machine / "profiles").unlink()
    assert apparmor.as_enforced(asked("docker-default")).apparmor == "docker-default"
    assert apparmor.as_enforced(asked("strict")).apparmor == "unconfined"


def test_without_apparmor_nothing_is_changed(machine: Path) -> None:
    (machine / "enabled").write_text("N\n")
    assert apparmor.as_enforced(asked("learning")).apparmor == "learning"
    (machine / "enabled").unlink()
    assert apparmor.as_enforced(asked("learning")).apparmor == "learning"
    assert apparmor.as_enforced(docker_create.extract({"Image": "bb"})).apparmor is None


@pytest.mark.parametrize(("profile", "within"), [("docker-default", True), ("", True), ("chrome", False), ("unconfined", False)])
def test_while_the_agent_is_silent_only_profiles_of_engines_are_within(profile: str, within: bool) -> None:
    """The runtime's gate asks nobody then, and takes no profile by its name."""
    process = {"user": {"uid": 1000, "gid": 1000}, "noNewPrivileges": True, "apparmorProfile": profile}
    assert beyond("exec", process) == ([] if within else [f"its AppArmor profile is {profile}"])
