"""Everyday work goes through the gate as if it were not there: nothing is denied, and the results are right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from attacking import Side

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")

COMPOSE = """
services:
  web:
    image: app:1
    command: sh -c "echo web is up; exec sleep 60"
    network_mode: none
    init: true
    read_only: true
    tmpfs: [/tmp]
    environment: {MODE: test}
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    volumes: ["keep:/keep", "{shared}:/shared:ro"]
    healthcheck: {{test: ["CMD", "true"], interval: 1s}}
    deploy: {{resources: {{limits: {{memory: 64M}}}}}}
  job:
    image: app:1
    command: sleep 20
    network_mode: none
    depends_on: [web]
volumes: {{keep: {{}}}}
"""
BUILD = """
services:
  built:
    image: by-compose:1
    network_mode: none
    build: {context: ., dockerfile: Other}
"""
PAIR = """
services:
  says:
    image: app:1
    command: sh -c "while true; do echo hello | nc -l -p 7000; done"
    network_mode: none
  hears:
    image: app:1
    command: ["sh", "-c", "sleep 0.7; nc 127.0.0.1 7000 | sed 's/^/heard: /'"]
    network_mode: "service:says"
    depends_on: [says]
"""


class Operation(msgspec.Struct, forbid_unknown_fields=True):
    """One thing that people do, as a shell's line; `shows` is in what it prints."""

    name: str
    do: str
    shows: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    family: str
    operation: list[Operation]


def _load() -> list[Operation]:
    files = [
        msgspec.convert(tomllib.loads(path.read_text()), _File)
        for path in sorted((Path(__file__).parent / "docker").glob("*.toml"))
    ]
    return [operation for file in files for operation in file.operation]


OPERATIONS = _load()


def test_there_are_enough() -> None:
    """A hundred at least, each once."""
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS) >= 100


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_ordinary(operation: Operation, gated: Side) -> None:
    """It works, and no denial is on record."""
    assert gated.gate is not None
    here = gated.work / operation.name
    here.mkdir(exist_ok=True)
    here.chmod(0o777)
    for name, text in (
        ("compose.yaml", COMPOSE.replace("{shared}", str(gated.gate.shared))),
        ("build.yaml", BUILD),
        ("pair.yaml", PAIR),
    ):
        (here / name).write_text(text.replace("{{", "{").replace("}}", "}"))
    (here / "Other").write_text("FROM bb:1\nUSER 1000:1000\nCMD echo by-compose\n")
    names = {"name": f"b-{operation.name}", "here": str(here), "shared": str(gated.gate.shared)}
    line = re.sub(r"@([a-z]+)@", lambda found: names[found[1]], operation.do)
    before = max((line.seq for line in gated.gate.ledger()), default=0)
    env = {
        "DOCKER_HOST": f"unix://{gated.engine.socket}", "DOCKER_CONFIG": str(here / ".docker"), "HOME": str(here),
        "DOCKER_BUILDKIT": "0", "BUILDKIT_PROGRESS": "plain", "COMPOSE_PROJECT_NAME": operation.name,
    }  # fmt: skip
    try:
        code, said = gated.people["alice"].run(["sh", "-c", line + " 2>&1"], env=env, cwd=here)
        denied = [f"{one.point} {one.rule}: {one.reason}" for one in gated.gate.ledger(before) if one.decision == "deny"]
        assert not denied, said
        assert code == 0, said
        assert re.search(re.sub(r"@([a-z]+)@", lambda found: names[found[1]], operation.shows), said, re.MULTILINE), said
    finally:
        gated.clean()
