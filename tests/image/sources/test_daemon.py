"""Docker, Podman, containerd and standard input: what is asked, what is exported and when, and what a bare name means."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import imagebuilder as ib
import registrysim as sim
from pratique.image.open import list_platforms, open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.model.errors import IntegrityError, PratiqueError, TargetError, TargetNotFoundError, UsageError
from pratique.model.image import Platform

pytestmark = pytest.mark.loopback

LAYERS = [ib.layer({"etc/os-release": "ID=debian\n"}), ib.layer({"app/main.py": "print()\n"})]


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine, login or proxy of the machine's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/no-podman.sock")
    for name in ("DOCKER_CONFIG", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def engine(identity: str, name: str, archive: bytes) -> Iterator[tuple[str, list[str]]]:
    """An engine with one image, on a unix socket (whose path must be short); yield its address and what it was asked."""
    asked: list[sim.Asked] = []

    def answer(request: sim.Asked) -> sim.Answer:
        match = re.fullmatch(r"/images/(.+)/(json|get)(\?.*)?", request.path)
        if match is None or match[1] not in (identity, name):
            return sim.Answer(404, {}, b'{"message":"No such image"}')
        if match[2] == "get":
            return sim.Answer(200, {"Content-Type": "application/x-tar"}, archive)
        document = {"Id": identity, "Os": "linux", "Architecture": "amd64"}
        return sim.Answer(200, {"Api-Version": "1.48"}, ib.encode(document))

    with tempfile.TemporaryDirectory(dir="/tmp") as folder, sim.serve(answer, asked, Path(folder) / "e.sock") as address:
        paths: list[str] = []
        yield address, paths
        paths += [request.path for request in asked]


def opened(target: str, options: SourceOptions, platform: Platform | None = None, fetch: bool = True) -> tuple[Any, list[bytes]]:
    """Open a target and read its layers."""
    with open_target(parse_target(target), platform, options) as image:
        found = []
        for layer in image.layers if fetch else ():
            extent = image.fetch(layer)
            with Path(extent.path).open("rb") as file:
                found.append(os.pread(file.fileno(), extent.size, extent.offset))
        return image, found


@pytest.mark.parametrize("scheme", ["docker", "podman"])
@pytest.mark.parametrize("style", ["classic", "oci"])
def test_an_engine_exports_once(options: SourceOptions, monkeypatch: pytest.MonkeyPatch, scheme: str, style: ib.Style) -> None:
    """The second scan takes the configuration from the cache by the image's id; nothing is exported before a layer is wanted."""
    made = ib.image(LAYERS, compression="none")
    identity = ib.digest(made.config)
    with engine(identity, "app:1", ib.docker_archive_of([(made, [])], style=style)) as (address, paths):
        monkeypatch.setenv("DOCKER_HOST" if scheme == "docker" else "CONTAINER_HOST", address)
        first, found = opened(f"{scheme}:app:1", options)
        second, nothing = opened(f"{scheme}:app:1", options, fetch=False)
        assert (found, nothing) == (LAYERS, [])
        assert (first.scheme, first.digest, first.layers) == (scheme, identity, second.layers)
        assert [layer.digest for layer in first.layers] == [ib.digest(data) for data in LAYERS]
        assert list_platforms(parse_target(f"{scheme}:app:1"), options) == [Platform("linux", "amd64")]
        with pytest.raises(TargetNotFoundError, match="linux/amd64, not for linux/arm64"):
            opened(f"{scheme}:app:1", options, Platform("linux", "arm64"))
    assert paths == ["/images/app:1/json", f"/images/{identity}/get", *["/images/app:1/json"] * 3]
    assert not list((options.cache_dir / "spool").iterdir())


def test_an_engine_that_keeps_compressed_layers(options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """With containerd's image store the id is the manifest's digest, and layers come as they are in the registry."""
    made = ib.image(LAYERS, compression="gzip")
    with engine(made.digest, "app:latest", ib.docker_archive_of([(made, ["app:latest"])], style="oci")) as (address, _):
        monkeypatch.setenv("DOCKER_HOST", address)
        image, found = opened("docker:app", options)
        assert (image.digest, found) == (made.digest, made.layers)
        assert [layer.digest for layer in image.layers] == [ib.digest(data) for data in made.layers]


def test_an_export_that_is_another_image_is_refused(options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that the cached configuration names must be in the export."""
    made, other = ib.image(LAYERS, compression="none"), ib.image(LAYERS[:1], compression="none")
    identity = ib.digest(made.config)
    with engine(identity, "app:1", ib.docker_archive_of([(made, [])])) as (address, _):
        monkeypatch.setenv("DOCKER_HOST", address)
        opened("docker:app:1", options)
    with engine(identity, "app:1", ib.docker_archive_of([(other, [])])) as (address, _):
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(IntegrityError, match="lacks the layer"):
            opened("docker:app:1", options)


def test_a_bare_name_is_asked_for_in_turn(options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker, Podman, the registry: the first that has it, and the image says which it was."""
    made = ib.image(LAYERS, compression="none")
    archive, identity = ib.docker_archive_of([(made, [])]), ib.digest(made.config)
    with sim.running() as registry:
        name = f"{sim.host(registry)}/app:1"
        registry.add("app", made, "1")
        with engine(identity, "other:1", archive) as (docker, asked), engine(identity, name, archive) as (podman, _):
            monkeypatch.setenv("DOCKER_HOST", docker)
            assert opened(name, options)[0].scheme == "registry"
            monkeypatch.setenv("CONTAINER_HOST", podman)
            assert opened(name, options)[0].scheme == "podman"
            monkeypatch.setenv("DOCKER_HOST", podman)
            assert opened(name, options)[0].scheme == "docker"
        assert asked == [f"/images/{name}/json"] * 2
        registry.asked.clear()
        offline = msgspec.structs.replace(options, offline=True)
        with pytest.raises(PratiqueError, match="--offline"):
            opened(name, offline)
        assert registry.asked == []


def test_why_an_engine_was_passed_over_is_told_if_all_fail(
    options: SourceOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A socket file that nobody listens at does not hide the registry's answer, nor is it hidden."""
    (tmp_path / "dead.sock").touch()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    with pytest.raises(PratiqueError, match=r"127\.0\.0\.1:1: no connection.*docker at .*dead\.sock"):
        opened("127.0.0.1:1/app", options)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("unix:///nowhere/e.sock", TargetError, "does not run here.*/nowhere/e.sock"),
        ("ssh://host", UsageError, "not supported"),
        ("tcp://127.0.0.1:1", TargetError, "no connection"),
    ],
)
def test_engines_that_are_not_there(
    options: SourceOptions, monkeypatch: pytest.MonkeyPatch, address: str, error: type[PratiqueError], message: str
) -> None:
    """Which address was tried, and what to do."""
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(error, match=message):
        opened("docker:app", options)


def test_names_that_an_engine_does_not_have(options: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown image, and a name that is none and must not become a path of the API."""
    with engine("sha256:" + "0" * 64, "app:1", b"") as (address, asked):
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(TargetNotFoundError, match="docker has no image other:latest"):
            opened("docker:other", options)
        with pytest.raises(UsageError):
            opened("docker:../../containers/x", options)
        with pytest.raises(TargetError, match="no image archive"):
            opened("docker:app:1", options)
    assert asked[0] == "/images/other:latest/json"


def test_the_current_context_is_honoured(options: SourceOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`docker context use` chooses the engine where DOCKER_HOST does not."""
    made = ib.image(LAYERS, compression="none")
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with engine(ib.digest(made.config), "app:1", ib.docker_archive_of([(made, [])])) as (address, _):
        folder = tmp_path / "contexts/meta" / ib.digest(b"mine").removeprefix("sha256:")
        folder.mkdir(parents=True)
        (folder / "meta.json").write_bytes(ib.encode({"Name": "mine", "Endpoints": {"docker": {"Host": address}}}))
        (tmp_path / "config.json").write_bytes(ib.encode({"currentContext": "mine"}))
        assert opened("docker:app:1", options)[1] == LAYERS


def test_containerd_is_asked_by_ctr(options: SourceOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ctr's archive is an OCI one; its failures are told in one line; without ctr there is a hint."""
    made = ib.oci_layout(tmp_path / "layout", LAYERS)
    (tmp_path / "image.oci").write_bytes(ib.oci_archive(tmp_path / "layout"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="ctr, which is not here"):
        opened("containerd:app:1", options)
    program = tmp_path / "ctr"
    program.write_text('#!/bin/sh\n[ "$4" = docker.io/library/app:1 ] || { echo "ctr: image $4: not found" >&2; exit 1; }\n'
                       f'exec /bin/cat "{tmp_path}/image.oci"\n')  # fmt: skip
    program.chmod(0o755)
    image, found = opened("containerd:app:1", options)
    assert (image.scheme, image.digest, found) == ("containerd", made.digest, made.layers)
    with pytest.raises(TargetNotFoundError, match=r"no image docker\.io/library/other:latest"):
        opened("containerd:other", options)
    program.write_text("#!/bin/sh\necho 'ctr: failed to dial' >&2\nexit 1\n")
    with pytest.raises(TargetError, match="failed to dial"):
        opened("containerd:app:1", options)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_standard_input(
    options: SourceOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compression: ib.Compression
) -> None:
    """Any archive, stamped by its content; an empty stream is an error."""
    path = tmp_path / "image"
    path.write_bytes(ib.compress(ib.docker_archive(LAYERS), compression))
    stamps = set()
    for _ in range(2):
        with path.open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            with open_target(parse_target("-"), None, options) as image:
                assert image.scheme == "docker-archive"
                stamps.add(image.fetch(image.layers[0]).stamp)
    assert len(stamps) == 1
    path.write_bytes(b"")
    with path.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(TargetError, match="empty"):
            opened("-", options)
    with pytest.raises(UsageError):
        list_platforms(parse_target("-"), options)


def test_spools_of_killed_processes_are_removed(options: SourceOptions, tmp_path: Path) -> None:
    """A spool without a living owner goes when the next one is made."""
    folder = options.cache_dir / "spool"
    folder.mkdir(parents=True)
    (folder / "left.tar").write_bytes(b"x")
    path = tmp_path / "image.gz"
    path.write_bytes(ib.compress(ib.docker_archive(LAYERS), "gzip"))
    with open_target(parse_target(str(path)), None, options) as outer, open_target(parse_target(str(path)), None, options):
        assert len(list(folder.iterdir())) == 2
        assert Path(outer.fetch(outer.layers[0]).path).exists()
    assert not list(folder.iterdir())
