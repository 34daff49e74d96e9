"""Docker itself, with an engine of its own, against the registry's gate: log in, push, pull, and what is said when it may not."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagebuilder
from dockerengine import Engine
from pratique._kit.written import Duration
from pratique.enforce.admission import AdmissionSpec
from registrygate import NAME, Gated, gated, package

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.needs("docker-registry", "dockerd", "docker"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it starts an engine of its own"),
]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    spec = AdmissionSpec(fail_on=("kev",), offline=True, deadline=Duration(60))
    with gated(tmp_path_factory.mktemp("gate"), admission=spec) as found:
        found.grant("push:team/app")
        token = found.token("alice", "repository:team/app:pull,push")
        assert found.push("team/app", package(), "bad", token).status == 201
        yield found


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="pr-"))  # paths of sockets are short
    folder.chmod(0o755)
    found = Engine(folder / "engine")
    try:
        found.start()
        yield found
    finally:
        found.remove()
        shutil.rmtree(folder, ignore_errors=True)


def test_docker(gate: Gated, engine: Engine, tmp_path: Path) -> None:
    """What a developer does in a day: the words that refuse are those of the gate."""

    def docker(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker"),
            "DOCKER_HOST": f"unix://{engine.own}",
        }  # fmt: skip
        return subprocess.run(
            ["docker", *words], input=text, capture_output=True, text=True, check=False, timeout=120, env=environment
        )

    wrong = docker("login", gate.host, "-u", "alice", "--password-stdin", text="wrong")
    assert wrong.returncode != 0
    assert docker("login", gate.host, "-u", "alice", "--password-stdin", text="secret-a").returncode == 0
    refused = docker("pull", f"{gate.host}/team/app:bad")
    assert refused.returncode != 0
    assert "known to be exploited" in refused.stderr
    harmless = imagebuilder.layer(
        {"var/lib/dpkg/status": "Package: harmless\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"}
    )
    named = f"{gate.host}/team/docker:1"
    engine.load(imagebuilder.docker_archive([harmless], tags=[named]))
    refused = docker("push", named)
    assert refused.returncode != 0
    assert f"pratique grant request --privilege registry.push:{NAME}/team/docker" in refused.stderr
    gate.grant("push:team/docker", uses=1)
    pushed = docker("push", named)
    assert pushed.returncode == 0, pushed.stderr
    assert docker("rmi", named).returncode == 0
    pulled = docker("pull", named)
    assert pulled.returncode == 0, pulled.stderr
    assert "denied" in docker("push", named).stderr  # its one use is spent
