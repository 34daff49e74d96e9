"""What is granted works as it would without a gate, and what is denied says how to do without."""

from __future__ import annotations

from pathlib import Path

import pytest

from attacking import Side
from dockerengine import Done
from dockergate import Gate

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


def gate_of(side: Side) -> Gate:
    assert side.gate is not None
    return side.gate


def alice(side: Side, *words: str) -> Done:
    return side.command(side.people["alice"], list(words))


def test_a_number_without_a_name_is_told_to_name_its_group(side: Side) -> None:
    """The engine gives it group 0. With a group, which the denial names, it runs."""
    code, said = alice(side, "run", "--rm", "-u", "4321", "bb:1", "id")
    assert code != 0
    assert "--user 4321:4321" in said
    assert alice(side, "run", "--rm", "-u", "4321:4321", "bb:1", "id", "-g") == (0, "4321\n")


def test_an_image_that_puts_its_user_into_group_0(side: Side) -> None:
    code, said = alice(side, "run", "--rm", "rootgroup:1", "id")
    assert code != 0
    assert "--user app:1000" in said
    assert alice(side, "run", "--rm", "-u", "app:1000", "rootgroup:1", "id", "-G") == (0, "1000\n")


def test_a_command_of_a_number_without_a_name(side: Side) -> None:
    assert alice(side, "run", "-d", "--name", "granted", "-u", "1000:1000", "bb:1", "sleep", "60").code == 0
    code, said = alice(side, "exec", "-u", "4321", "granted", "id")
    assert code != 0
    assert "--user 4321:4321" in said
    assert alice(side, "exec", "-u", "4321:4321", "granted", "id", "-g") == (0, "4321\n")


def test_who_asked_for_group_0_is_told_nothing_of_that(side: Side) -> None:
    code, said = alice(side, "run", "--rm", "-u", "1000:0", "bb:1", "id")
    assert code != 0
    assert "no group was named" not in said


def test_a_build_with_the_machines_network(side: Side) -> None:
    """The engine asks nobody when it runs a step: it is the build's own."""
    folder = side.work / "insecure"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text("FROM bb:1\nRUN readlink /proc/self/ns/net\n")
    line = f"DOCKER_BUILDKIT=0 DOCKER_HOST=unix://{side.engine.socket} docker build --no-cache --network host {folder} 2>&1"
    env = {"DOCKER_CONFIG": "/nonexistent"}
    assert "build.insecure" in side.people["alice"].run(["sh", "-c", line], env=env).text
    gate_of(side).grant(side.people["alice"], ["build.insecure"], uses=0)
    said = side.people["alice"].run(["sh", "-c", line], env=env).text
    assert str(Path("/proc/self/ns/net").readlink()) in said


def test_a_volume_on_another_machine(side: Side) -> None:
    options = ("-o", "type=nfs", "-o", "o=addr=192.0.2.1", "-o", "device=:/export")
    assert alice(side, "volume", "create", *options, "granted").code != 0
    gate_of(side).grant(side.people["alice"], ["volume.hostbind", "run.mount:/net/192.0.2.1/**:rw"], uses=0)
    assert alice(side, "volume", "create", *options, "granted") == (0, "granted\n")


def test_files_leave_an_elevated_container_while_its_grant_lives(side: Side) -> None:
    """What ran by a grant is its owner's to copy out of as long as it may run; reading it takes no further use."""
    gate_of(side).grant(side.people["alice"], ["run.root"], uses=1)
    assert alice(side, "run", "-d", "--name", "granted", "-u", "0", "bb:1", "sh", "-c", "echo x > /made; sleep 60").code == 0
    export = f"DOCKER_HOST=unix://{side.engine.socket} docker cp granted:/made - | tar -xO"
    for _ in range(2):
        assert side.people["alice"].run(["sh", "-c", export], env={"DOCKER_CONFIG": "/nonexistent"}).text == "x\n"
    assert alice(side, "exec", "granted", "true").code != 0


def test_files_leave_after_a_granted_command_while_that_grant_lives(side: Side) -> None:
    gate_of(side).grant(side.people["alice"], ["exec.root"], uses=1)
    assert alice(side, "run", "-d", "--name", "granted", "-u", "1000:1000", "bb:1", "sleep", "60").code == 0
    assert alice(side, "exec", "-u", "0", "granted", "sh", "-c", "echo x > /made").code == 0
    export = f"DOCKER_HOST=unix://{side.engine.socket} docker cp granted:/made - | tar -xO"
    assert side.people["alice"].run(["sh", "-c", export], env={"DOCKER_CONFIG": "/nonexistent"}).text == "x\n"


def test_an_image_beside_a_tainted_one_is_saved(side: Side) -> None:
    """Only what holds the layer needs more."""
    gate_of(side).grant(side.people["alice"], ["run.root"], uses=1)
    assert alice(side, "run", "--name", "granted", "-u", "0", "bb:1", "touch", "/made").code == 0
    assert alice(side, "commit", "granted", "beside:1").code == 0
    try:
        code, said = alice(side, "save", "-o", str(side.work / "beside.tar"), "bb:1", "beside:1")
        assert code != 0
        assert "run.image:" in said
        assert "beyond the baseline" in said
        assert alice(side, "save", "-o", str(side.work / "beside.tar"), "bb:1").code == 0
        assert alice(side, "tag", "beside:1", "bb:beside").code == 0
        code, said = alice(side, "save", "-o", str(side.work / "beside.tar"), "bb")
        assert code != 0, "a name without a tag stands for all of them"
        assert "run.image:" in said
    finally:
        alice(side, "rmi", "-f", "beside:1", "bb:beside")
