"""Real engines, each option for itself: what was asked for, what the engine says of it and what the runtime starts need the same.

`same/` holds what engines of one day wrote; this asks those of this machine. It needs root, and takes some seconds.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dockerengine
from pratique.grant import privileges
from pratique.grant.document import Baseline, Uid
from pratique.grant.needed import needed
from pratique.grant.policy import compile_baseline
from pratique.workload import docker_create, docker_inspect, oci_runtime
from pratique.workload.spec import Spec

pytestmark = [
    pytest.mark.needs("runc", "busybox"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as engines do"),
]
BASELINE = compile_baseline(Baseline(uid=Uid(min=1000)))
CASES: dict[str, dict[str, Any]] = {
    name: body
    for name, body in json.loads((Path(__file__).parent / "same" / "cases.json").read_text()).items()
    if name not in ("joined", "volumes", "seccomp-file", "named", "named-root", "devices")
} | {
    "devices": {"HostConfig": {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]}}
}
# What an engine does not say, or says otherwise: every capability is a list to a runtime, and /dev/null is everybody's.
UNSAID = {"caps-all": {"run.cap:ALL"}, "devices": {"run.device:/dev/null"}}
# Podman's inspect has no sysctls, and its Docker API does not obey a list of paths to mask.
PODMAN_UNSAID = UNSAID | {"sysctls": {"run.sysctl:net.ipv4.ip_forward"}, "unconfined": {"run.unconfined:proc"}}
NO_MODULES = {"run.unconfined:apparmor", "run.unconfined:selinux"}  # on a machine without them nothing is left to say


def image() -> bytes:
    """Return a static BusyBox with an /etc/passwd, as `docker load` and `podman load` take it."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, content, mode in (
            ("bin/busybox", Path(busybox).read_bytes(), 0o755),
            ("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n", 0o644),
            ("etc/group", b"root:x:0:\napp:x:1000:\n", 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    import imagebuilder

    return imagebuilder.docker_archive([layer.getvalue()], tags=("same:latest",))


def needs(spec: Spec) -> set[str]:
    return {str(need.privilege) for need in needed(spec, BASELINE)}


def asked(body: dict[str, Any]) -> dict[str, Any]:
    host = {"NetworkMode": "none", **body.get("HostConfig", {})}
    return {"Image": "same", "Cmd": ["/bin/busybox", "sleep", "60"], "StopTimeout": 1, **body, "HostConfig": host}


class Api:
    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, target: str, body: object = None) -> Any:
        sent = b"" if body is None else json.dumps(body).encode()
        status, answer = dockerengine.request(dockerengine.connect(self._path, 60), method, target, sent)
        assert status < 400, (method, target, status, answer[:500])
        return json.loads(answer) if answer else None

    def seen(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create and start a container, and return what is said of it."""
        name = self.ask("POST", "/v1.41/containers/create", asked(body))["Id"]
        self.ask("POST", f"/v1.41/containers/{name}/start")
        found: dict[str, Any] = self.ask("GET", f"/v1.41/containers/{name}/json")
        return found

    def remove(self, name: str) -> None:
        self.ask("DELETE", f"/v1.41/containers/{name}?force=true")


@pytest.fixture(scope="module")
def docker() -> Iterator[tuple[Api, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="live", dir="/var/tmp"))
    engine = dockerengine.Engine(folder)
    try:
        engine.start()
        engine.load(image())
        yield Api(engine.own), folder / "exec"
    finally:
        engine.remove()


@pytest.fixture(scope="module")
def podman() -> Iterator[tuple[Api, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="live", dir="/var/tmp"))
    words = [
        "podman", "--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs",
        "--cgroup-manager", "cgroupfs", "--runtime", str(shutil.which("runc")), "--events-backend", "none",
    ]  # fmt: skip
    (folder / "image.tar").write_bytes(image())
    subprocess.run([*words, "load", "-q", "-i", str(folder / "image.tar")], check=True, capture_output=True, timeout=60)
    server = subprocess.Popen([*words, "system", "service", "-t", "0", f"unix://{folder}/api.sock"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if (folder / "api.sock").exists():
                break
            time.sleep(0.05)
        yield Api(folder / "api.sock"), folder / "root"
    finally:
        server.terminate()
        server.wait(20)
        subprocess.run([*words, "rm", "-f", "-a", "-t", "0"], check=False, capture_output=True, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def agree(api: Api, root: Path, case: str, unsaid: dict[str, set[str]]) -> None:
    """Nothing is found that was not asked for; all that was asked for is found, but what this engine does not say."""
    body = CASES[case]
    wanted = needs(docker_create.extract(asked(body)))
    inspected = api.seen(body)
    name = inspected["Id"]
    try:
        (config,) = [path for path in root.rglob("config.json") if name in str(path)]
        started = json.loads(config.read_text())
        if "CgroupnsMode" not in body.get("HostConfig", {}):
            inspected["HostConfig"]["CgroupnsMode"] = ""  # on machines with version 1 control groups the engine's default is host
        engine = oci_runtime.Engine(container=name, roots=tuple(roots(started, name)), shared_cgroups=True)
        for found in (needs(docker_inspect.extract(inspected)), needs(oci_runtime.extract(started, engine))):
            assert all(privileges.covered(map(privileges.parse, wanted), privileges.parse(one)) for one in found), found
            assert wanted - unsaid.get(case, set()) <= found | (NO_MODULES if case == "unconfined" else set())
        stranger = oci_runtime.Engine(container="0" * 64, shared_cgroups=True)
        assert any(mount.kind == "bind" for mount in oci_runtime.extract(started, stranger).mounts)
    finally:
        api.remove(name)


def roots(config: dict[str, Any], name: str) -> Iterator[str]:
    """Yield where this engine keeps the folders of containers, which here is no usual place."""
    for mount in config["mounts"]:
        source = str(mount.get("source") or "")
        if name in source and source.startswith("/"):
            yield source.partition(name)[0] + "{id}/" + ("userdata/" if "/userdata/" in source else "")


@pytest.mark.needs("dockerd", "docker")
@pytest.mark.parametrize("case", sorted(CASES))
def test_docker(docker: tuple[Api, Path], case: str) -> None:
    """The Docker engine of this machine."""
    agree(*docker, case, UNSAID)


@pytest.mark.needs("podman")
@pytest.mark.parametrize("case", sorted(CASES))
def test_podman(podman: tuple[Api, Path], case: str) -> None:
    """The Podman of this machine, over its Docker API."""
    agree(*podman, case, PODMAN_UNSAID)
