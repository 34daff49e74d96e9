"""The rules of `docs/examples/owned-containers.yaml` on a real engine: containers are their makers', operators look after all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import engineimages
from attacking import Side
from dockerengine import PEOPLE, Person, request
from dockergate import GatedEngine

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")

EXAMPLE = Path(__file__).parents[3] / "docs/examples/owned-containers.yaml"
# What each is, on somebody else's container and on one's own.
ORDINARY = [
    "docker logs @name@",
    "docker inspect -f '{{.Config.Env}}' @name@",
    "docker top @name@",
    "docker diff @name@",
    "docker stats --no-stream @name@",
    "docker pause @name@ && docker unpause @name@",
    "docker rename @name@ @name@-new && docker rename @name@-new @name@",
    "docker update -m 64m --memory-swap 64m @name@",
    "docker restart -t 0 @name@",
    "docker kill @name@",
    "docker start @name@ && docker stop -t 0 @name@",
    "docker rm -f @name@",
]


@pytest.fixture(scope="module")
def owned(engines_folder: Path, people: dict[str, Person]) -> Iterator[Side]:
    """Return an engine behind the gate with the example's policy; its operators are the tests' `oncall`."""
    policy = EXAMPLE.read_text().replace("operators", PEOPLE["oncall"]).replace("{", "{{").replace("}", "}}")
    engine = GatedEngine(engines_folder / "owned", policy=policy)
    try:
        engine.start().load(engineimages.archive(), people["alice"].connect(engine.socket, 60))
        yield Side(engine, people)
    finally:
        engine.remove()


def say(side: Side, who: str, line: str, name: str) -> tuple[int, str]:
    env = {"DOCKER_HOST": f"unix://{side.engine.socket}", "DOCKER_CONFIG": "/nonexistent"}
    return side.people[who].run(["sh", "-c", line.replace("@name@", name)], env=env)


def make(side: Side, name: str) -> None:
    words = ["run", "-d", "--name", name, "--network", "none", "-e", "SECRET=x", "app:1", "sleep", "60"]
    assert side.command(side.people["alice"], words).code == 0


def test_ones_own_are_ones_own(owned: Side) -> None:
    make(owned, "own")
    for line in ORDINARY:
        code, said = say(owned, "alice", line, "own")
        assert code == 0, f"{line}: {said}"


def test_nobody_elses_are(owned: Side) -> None:
    make(owned, "others")
    try:
        for line in ORDINARY:
            code, said = say(owned, "mallory", line, "others")
            assert code != 0, line
            assert "somebody else's" in said, f"{line}: {said}"
        status, said_ = request(owned.people["mallory"].connect(owned.engine.socket), "GET", "/containers/others/json")
        assert (status, b"SECRET" in said_) == (403, False)
        assert say(owned, "mallory", "docker container prune -f", "others")[0] != 0
    finally:
        owned.clean()


def test_operators_look_after_all(owned: Side) -> None:
    make(owned, "looked-after")
    for line in ("docker logs @name@", "docker inspect @name@", "docker stop -t 0 @name@", "docker rm -f @name@"):
        code, said = say(owned, "oncall", line, "looked-after")
        assert code == 0, f"{line}: {said}"
    assert say(owned, "oncall", "docker container prune -f", "")[0] == 0


def test_looking_around_stays_open(owned: Side) -> None:
    """Who is told to ask sees whom."""
    make(owned, "seen")
    try:
        code, said = say(owned, "mallory", "docker ps --format '{{.Names}}' && docker images -q && docker version", "")
        assert code == 0, said
        assert "seen" in said
    finally:
        owned.clean()
