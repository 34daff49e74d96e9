"""Real images, scanned as a person would, against what the tools that made them say is in them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.build import IMAGES, push, registry

PROGRAM = Path(sys.executable).parent / "pratique"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return where images are built: PRATIQUE_TEST_IMAGES if set (and then kept), else a folder that all workers share."""
    kept = os.environ.get("PRATIQUE_TEST_IMAGES")
    base = tmp_path_factory.getbasetemp()
    folder = Path(kept) if kept else (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real-images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "real-images.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield folder
        if not kept:
            with contextlib.suppress(BlockingIOError):  # the last to leave tidies up
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def image(name: str, cache: Path) -> Path:
    """Build an image, or skip, saying why, where a tool or the packages are not to be had."""
    missing = [tool for tool in IMAGES[name].tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}, which is not installed")
    try:
        with (cache / "lock").open("w") as lock:  # the images share layers: each is built once, by one worker
            fcntl.flock(lock, fcntl.LOCK_EX)
            return IMAGES[name].build(cache)
    except SystemExit as error:
        pytest.skip(f"the real tools could not build {name}: {str(error)[-300:]}")


def scan(target: str, tmp_path: Path) -> Any:
    """Return the JSON of `pratique scan TARGET --offline`."""
    out = tmp_path / "report.json"
    command = [str(PROGRAM), "scan", target, "--cache-dir", str(tmp_path / "cache"), "-o", f"json={out}", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_bytes())


def found(report: Any, kind: str) -> set[tuple[str, str]]:
    """Return name and version of the report's packages of one package URL type."""
    return {(package["name"], package["version"]) for package in report["packages"] if package["purl"].startswith(f"pkg:{kind}/")}


def dpkg_says(layers: list[Path], tmp_path: Path) -> set[tuple[str, str]]:
    """Return what dpkg-query lists for the topmost package database of these layers."""
    admin = tmp_path / "dpkg"
    admin.mkdir()
    for layer in layers:
        with tarfile.open(layer) as archive:
            for member in archive:
                if member.name == "var/lib/dpkg/status":
                    content = archive.extractfile(member)
                    assert content is not None
                    (admin / "status").write_bytes(content.read())
    query = ["dpkg-query", f"--admindir={admin}", "--show", "--showformat=${Package} ${Version} ${db:Status-Status}\n"]
    said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in said.splitlines()]
    return {(name, version) for name, version, status in rows if status == "installed"}


def layers_of(path: Path, cache: Path) -> list[Path]:
    """Copy the layers of a docker archive out, lowest first."""
    with tarfile.open(path) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        copied = []
        for number, name in enumerate(json.load(manifest)[0]["Layers"]):
            copied.append(cache / f"copied-{number}.tar")
            content = archive.extractfile(name)
            assert content is not None
            with copied[-1].open("wb") as out:
                shutil.copyfileobj(content, out)
    return copied


@pytest.mark.needs("dpkg-query")
@pytest.mark.parametrize(("release", "number"), [("bookworm", "12"), ("trixie", "13")])
def test_a_debootstrapped_release(release: str, number: str, cache: Path, tmp_path: Path) -> None:
    """Every package that dpkg-query lists is found, with its version, and nothing else; the release is known."""
    path = image(f"debian-{release}", cache)
    report = scan(f"docker-archive:{path}", tmp_path)
    assert found(report, "deb") == dpkg_says(layers_of(path, tmp_path), tmp_path)
    assert (report["target"]["distro"]["id"], report["target"]["distro"]["version"]) == ("debian", number)
    assert report["complete"] is True
    assert all(f"distro=debian-{number}" in package["purl"] for package in report["packages"])


@pytest.mark.needs("dpkg-query")
def test_a_python_application(cache: Path, tmp_path: Path) -> None:
    """The application's wheels are found as pip lists them; what Debian packaged is Debian's, and named once."""
    path = image("python-app", cache)
    report = scan(f"docker-archive:{path}", tmp_path)
    layers = layers_of(path, tmp_path)
    assert found(report, "deb") == dpkg_says(layers, tmp_path)
    site = tmp_path / "site"
    prefix = "usr/local/lib/python3.13/site-packages/"
    with tarfile.open(layers[-1]) as archive:
        for member in archive:
            if member.isreg() and ".dist-info/" in member.name and member.name.startswith(prefix):
                content = archive.extractfile(member)
                assert content is not None
                target = site / member.name.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--path", str(site), "--format", "json"]
    listed = {
        (row["name"].lower(), row["version"]) for row in json.loads(subprocess.run(pip, capture_output=True, check=True).stdout)
    }
    own = {
        (package["name"].lower(), package["version"])
        for package in report["packages"]
        if package["purl"].startswith("pkg:pypi/") and any(place["path"].startswith(prefix) for place in package["locations"])
    }
    assert own == listed
    assert {
        place["layer"] for package in report["packages"] for place in package["locations"] if place["path"].startswith(prefix)
    } == {report["target"]["layers"][-1]["diff_id"]}


def test_a_node_application(cache: Path, tmp_path: Path) -> None:
    """The application's modules are those of npm's own lock file inside node_modules."""
    path = image("node-app", cache)
    report = scan(f"docker-archive:{path}", tmp_path)
    with tarfile.open(layers_of(path, tmp_path)[-1]) as archive:
        content = archive.extractfile("srv/app/node_modules/.package-lock.json")
        assert content is not None
        locked = json.load(content)["packages"]
    installed = {(name.rpartition("node_modules/")[2], entry["version"]) for name, entry in locked.items()}
    own = {
        (package["name"], package["version"])
        for package in report["packages"]
        if package["purl"].startswith("pkg:npm/")
        and any(place["path"].startswith("srv/app/node_modules/") for place in package["locations"])
    }
    assert own == installed


@pytest.mark.loopback
@pytest.mark.needs("docker-registry", "skopeo")
def test_an_image_of_umoci_in_a_registry(cache: Path, tmp_path: Path) -> None:
    """An image built by umoci is the same as layout, and from a registry by tag and by digest; what a layer removed is gone."""
    layout = image("umoci", cache)
    local = scan(f"oci-dir:{layout}", tmp_path)
    with registry(tmp_path / "registry") as host:
        digest = push(layout, host, "shop/front")
        by_tag = scan_registry(f"{host}/shop/front:1", tmp_path / "tag")
        by_digest = scan_registry(f"{host}/shop/front@{digest}", tmp_path / "digest")
    assert by_tag["target"]["digest"] == by_digest["target"]["digest"] == digest
    assert local["packages"] == by_tag["packages"] == by_digest["packages"]
    assert [layer["diff_id"] for layer in local["target"]["layers"]] == [layer["diff_id"] for layer in by_tag["target"]["layers"]]
    names = {name for name, _ in found(local, "npm")}
    assert "express" in names
    assert "lodash" not in names
    assert local["complete"] is True


def scan_registry(reference: str, folder: Path) -> Any:
    """Scan from a plain-HTTP registry on the loopback interface; advisories come from an empty mirror folder."""
    folder.mkdir()
    (folder / "mirror").mkdir()
    out = folder / "report.json"
    command = [str(PROGRAM), "scan", f"registry:{reference}", "--cache-dir", str(folder / "cache"), "-o", f"json={out}"]
    flags = ["--insecure-registry", reference.partition("/")[0], "--mirror", (folder / "mirror").as_uri()]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_bytes())
