"""The tools that people use, where they are installed: what they write and serve opens as what they were given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import imagebuilder as ib
import loopback
import registrysim as sim
from pratique.image.open import list_platforms, open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.model.errors import PratiqueError, RegistryError, TargetNotFoundError
from pratique.model.image import Platform

pytestmark = pytest.mark.loopback

LAYERS = [ib.layer({"etc/os-release": "ID=debian\n"}), ib.layer({"app/main.py": "print()\n" * 500, "etc/.wh.gone": b""})]
START_SECONDS = 60  # a daemon that is not up by then will not come up in this place
HASH = "$2b$04$yD91s6zW/WJ.aVjFP54VBeluwbrsYEqToZU6Fg7p4MpG.UI73.iEK"  # bcrypt of "secret", as `htpasswd -B` makes it


def run(*command: str | Path, **environment: str) -> str:
    """Run a tool; its complaint is the test's."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=120,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextmanager
def serving(command: Sequence[str | Path], address: tuple[str, int] | str, **environment: str) -> Iterator[None]:
    """Run a server until the test is over; skip where it cannot run here (no rights, no kernel support)."""
    words, variables = [str(part) for part in command], {**os.environ, **environment}
    with tempfile.TemporaryFile() as log, subprocess.Popen(words, stdout=log, stderr=log, env=variables) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    pytest.skip(f"{command[0]} does not run here: {log.read()[-300:].decode(errors='replace')}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(START_SECONDS)
            process.kill()


def _answers(address: tuple[str, int] | str) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def check(
    target: str, options: SourceOptions, scheme: str, diffs: Sequence[bytes] = LAYERS, platform: Platform | None = None
) -> str:
    """Open a target, fetch its layers, compare digests and diff_ids; return the digest."""
    with open_target(parse_target(target), platform, options) as image:
        assert image.scheme == scheme
        assert [layer.diff_id for layer in image.layers] == [ib.digest(data) for data in diffs]
        for layer in image.layers:
            extent = image.fetch(layer)
            with Path(extent.path).open("rb") as file:
                data = os.pread(file.fileno(), extent.size, extent.offset)
            assert ib.digest(data) == (layer.digest or layer.diff_id)
        return image.digest


def _registry_config(folder: Path, auth: bool = False) -> tuple[Path, str, int]:
    port = loopback.free_port()
    (folder / "users").write_text(f"ann:{HASH}\n")
    login = f"auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}\n" if auth else ""
    storage = f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
    text = f"version: 0.1\nlog: {{level: error}}\n{storage}http: {{addr: '127.0.0.1:{port}'}}\n"
    (folder / "registry.yml").write_text(text + login)
    return folder / "registry.yml", f"127.0.0.1:{port}", port


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_registry_with_images_that_skopeo_pushed(tmp_path: Path, options: SourceOptions) -> None:
    """By tag, by digest, by platform; missing names; a second scan from the cache alone."""
    one = ib.oci_layout(tmp_path / "one", LAYERS, tag="v1")
    places = [("linux", "amd64", ""), ("linux", "arm64", "")]
    two = [ib.image([ib.layer({"a": place[1]})], platform=place) for place in places]
    ib.oci_layout_of(tmp_path / "two", [(image, "m") for image in two], nested=1)
    config, host, port = _registry_config(tmp_path)
    with serving(["docker-registry", "serve", config], ("127.0.0.1", port)):
        run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{tmp_path}/one:v1", f"docker://{host}/team/app:v1")
        run("skopeo", "copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/two:m", f"docker://{host}/two:1")
        assert check(f"registry:{host}/team/app:v1", options, "registry") == one.digest
        assert check(f"registry:{host}/team/app@{one.digest}", options, "registry") == one.digest
        assert list_platforms(parse_target(f"registry:{host}/two:1"), options) == [
            Platform("linux", "amd64"),
            Platform("linux", "arm64"),
        ]
        assert check(f"registry:{host}/two:1", options, "registry", two[1].diffs, Platform("linux", "arm64")) == two[1].digest
        for absent in (f"{host}/team/app:v2", f"{host}/none:v1"):
            with pytest.raises(TargetNotFoundError):
                check(f"registry:{absent}", options, "registry")
    assert check(f"registry:{host}/team/app@{one.digest}", options, "registry") == one.digest
    with pytest.raises(RegistryError, match="no connection"):
        check(f"registry:{host}/team/app:v1", options, "registry")


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_registry_with_a_password(tmp_path: Path, options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login that Docker's configuration has, and none without it."""
    made = ib.oci_layout(tmp_path / "one", LAYERS, tag="v1")
    config, host, port = _registry_config(tmp_path, auth=True)
    with serving(["docker-registry", "serve", config], ("127.0.0.1", port)):
        run(
            "skopeo",
            "copy",
            "--dest-creds=ann:secret",
            "--dest-tls-verify=false",
            f"oci:{tmp_path}/one:v1",
            f"docker://{host}/app:v1",
        )
        with pytest.raises(RegistryError, match="docker login"):
            check(f"registry:{host}/app:v1", options, "registry")
        (tmp_path / "config.json").write_bytes(sim.docker_config((host, "ann", "secret")))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        assert check(f"registry:{host}/app:v1", options, "registry") == made.digest


@pytest.mark.needs("skopeo")
def test_archives_that_skopeo_wrote(tmp_path: Path, options: SourceOptions) -> None:
    """docker-archive and oci-archive."""
    made = ib.oci_layout(tmp_path / "one", LAYERS, tag="v1")
    run("skopeo", "copy", f"oci:{tmp_path}/one:v1", f"docker-archive:{tmp_path}/a.tar:team/app:v1")
    run("skopeo", "copy", f"oci:{tmp_path}/one:v1", f"oci-archive:{tmp_path}/b.tar:v1")
    assert check(f"{tmp_path}/a.tar", options, "docker-archive") == ib.digest(made.config)
    assert check(f"docker-archive:{tmp_path}/a.tar:team/app:v1", options, "docker-archive") == ib.digest(made.config)
    assert check(f"{tmp_path}/b.tar", options, "oci-archive") == made.digest


@pytest.mark.needs("umoci")
def test_a_layout_that_umoci_changed(tmp_path: Path, options: SourceOptions) -> None:
    """Two tags in one layout, without platforms in the index, and history steps that made no layer."""
    made = ib.oci_layout(tmp_path / "one", LAYERS, tag="v1")
    run("umoci", "config", "--image", f"{tmp_path}/one:v1", "--tag", "v2", "--config.user", "1000")
    assert check(f"oci-dir:{tmp_path}/one:v1", options, "oci-dir") == made.digest
    assert check(f"oci-dir:{tmp_path}/one:v2", options, "oci-dir") != made.digest
    with pytest.raises(PratiqueError, match="v1, v2"):
        check(f"oci-dir:{tmp_path}/one", options, "oci-dir")


def _load(engine: Sequence[str | Path], archive: Path, **environment: str) -> None:
    run(*engine, "load", "-i", archive, **environment)


@pytest.mark.needs("podman")
def test_podman(tmp_path: Path, short: Path, options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its service, its archives of both kinds, and one with several images."""
    made = ib.image(LAYERS)
    (tmp_path / "a.tar").write_bytes(ib.docker_archive_of([(made, ["example.test/app:v1"])]))
    podman: list[str | Path] = ["podman", "--root", short / "root", "--runroot", short / "run", "--storage-driver=vfs"]
    local: Mapping[str, str] = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    with serving([*podman, "system", "service", "--time=0", f"unix://{short}/p.sock"], f"{short}/p.sock", **local):
        _load(podman, tmp_path / "a.tar", **local)
        monkeypatch.setenv("CONTAINER_HOST", f"unix://{short}/p.sock")
        for _ in range(2):
            assert check("podman:example.test/app:v1", options, "podman") == ib.digest(made.config)
        with pytest.raises(TargetNotFoundError):
            check("podman:example.test/app:v2", options, "podman")
        monkeypatch.delenv("CONTAINER_HOST")
        run(*podman, "save", "-o", tmp_path / "b.tar", "example.test/app:v1", **local)
        run(*podman, "save", "--format", "oci-archive", "-o", tmp_path / "c.tar", "example.test/app:v1", **local)
        check(f"{tmp_path}/b.tar", options, "docker-archive")
        check(f"{tmp_path}/c.tar", options, "oci-archive")


@pytest.mark.needs("dockerd", "docker")
@pytest.mark.parametrize("containerd", [False, True], ids=["classic", "containerd"])
def test_docker(tmp_path: Path, short: Path, options: SourceOptions, monkeypatch: pytest.MonkeyPatch, containerd: bool) -> None:
    """Both image stores: the socket twice, `docker save`, plain and compressed."""
    made = ib.image(LAYERS, docker=True)
    (tmp_path / "a.tar").write_bytes(ib.docker_archive_of([(made, ["example.test/app:v1"])], style="oci"))
    driver = "native" if containerd else "vfs"
    features = {"features": {"containerd-snapshotter": containerd}, "storage-driver": driver}
    (short / "d.json").write_text(json.dumps(features))
    daemon: list[str | Path] = [
        "dockerd", "--config-file", short / "d.json", "--iptables=false", "--ip6tables=false", "--bridge=none",
        "--data-root", short / "data", "--exec-root", short / "exec", "--pidfile", short / "pid", "-H", f"unix://{short}/d.sock",
    ]  # fmt: skip
    with serving(daemon, f"{short}/d.sock"):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{short}/d.sock")
        _load(["docker"], tmp_path / "a.tar")
        digests = {check("docker:example.test/app:v1", options, "docker") for _ in range(2)}
        assert digests == {made.digest if containerd else ib.digest(made.config)}
        assert check("example.test/app:v1", options, "docker") in digests
        with pytest.raises(TargetNotFoundError):
            check("docker:example.test/app:v2", options, "docker")
        run("docker", "save", "-o", tmp_path / "b.tar", "example.test/app:v1")
        check(f"{tmp_path}/b.tar", options, "docker-archive")
        (tmp_path / "c.tar").write_bytes(ib.compress((tmp_path / "b.tar").read_bytes(), "zstd"))
        check(f"{tmp_path}/c.tar", options, "docker-archive")
