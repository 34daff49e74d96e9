"""A repository in a real registry: pushed, pulled, with a login, and under attack by whoever may push to it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import loopback
from pratique.advisory.repository import client
from pratique.advisory.repository.bundle import export_signed, import_signed
from pratique.advisory.repository.pull import How, Pulled, pull
from pratique.advisory.repository.shelf import Folder
from pratique.distribution import library, shelf
from pratique.image.artifact import Artifacts
from pratique.image.options import SourceOptions
from pratique.model.errors import FeedError, RegistryError, UsageError, VerificationError
from repositorysim import NOW, Publisher, fixed_in

pytestmark = [pytest.mark.loopback, pytest.mark.needs("docker-registry")]
DAY = timedelta(days=1)
# "secret" by bcrypt with four rounds, as `htpasswd -B` writes it.
_PASSWORDS = "pusher:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


class Registry:
    """A registry that runs, and how to speak to it."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self.address = f"oci://{address}/security/advisories"
        self.options = SourceOptions(cache_dir=folder / "unused")

    def publish(self, publisher: Publisher, day: int = 0, **how: Any) -> int:
        """Publish to it; return the number."""
        opened = shelf(self.address, self.options)
        publisher.shelf = opened
        try:
            return publisher.publish(NOW + day * DAY, **how).number
        finally:
            opened.close()

    def pull(self, publisher: Publisher, cache: Path, day: int = 0) -> Pulled:
        """Pull from it."""
        opened = library(self.address.replace("oci://", "registry:"), self.options)
        try:
            return pull(cache, opened, publisher.root, How(now=NOW + day * DAY))
        finally:
            opened.close()


@pytest.fixture(params=["open", "login"])
def registry(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Run a registry, one that asks for a login among them; the login is where Docker keeps it."""
    address = f"127.0.0.1:{loopback.free_port()}"
    folder = tmp_path / "registry"
    folder.mkdir()
    configuration = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": request.param != "undeletable"}},
        "http": {"addr": address},
    }
    if request.param == "login":
        (folder / "passwords").write_text(_PASSWORDS)
        configuration["auth"] = {"htpasswd": {"realm": "here", "path": str(folder / "passwords")}}
        login = base64.b64encode(b"pusher:secret").decode()
        (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": login}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    (folder / "config.yml").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        _await(address)
        yield Registry(address, folder)
    finally:
        process.terminate()
        process.wait()


def _await(address: str) -> None:
    host, _, port = address.partition(":")
    for _ in range(1200):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the registry does not start")


def test_publish_and_pull(registry: Registry, publisher: Publisher, tmp_path: Path) -> None:
    """Whole files first, then changes; nothing is pushed twice, and one file for elsewhere is made from it."""
    assert registry.publish(publisher) == 1
    assert len(registry.pull(publisher, tmp_path / "cache").whole) == 4
    publisher.learn("3.0")
    assert registry.publish(publisher, 1) == 2
    done = registry.pull(publisher, tmp_path / "cache", 1)
    assert (done.whole, done.changed) == ((), ("osv/PyPI",))
    assert fixed_in(tmp_path / "cache") == "3.0"
    opened = library(registry.address, registry.options)
    export_signed(opened, publisher.root, tmp_path / "one.tar", NOW + DAY)
    opened.close()
    assert import_signed(tmp_path / "other", tmp_path / "one.tar", publisher.root, How(now=NOW + DAY)).number == 2


def test_old_publications_are_taken_away(registry: Registry, publisher: Publisher, tmp_path: Path) -> None:
    """As many stay as are kept, all roots among them; a client of the oldest that is kept follows."""
    for day in range(6):
        publisher.learn(f"{day}.0")
        registry.publish(publisher, day, keep=3)
        if day == 3:
            registry.pull(publisher, tmp_path / "cache", day)
    tags = set(_tags(registry))
    assert {tag for tag in tags if tag.startswith("targets-")} == {f"targets-{number}" for number in (3, 4, 5, 6)}
    assert {"1.root.json", "timestamp.json", "3.snapshot.json", "6.targets.json"} <= tags
    assert not {"2.snapshot.json", "2.targets.json", "1.targets.json"} & tags
    assert registry.pull(publisher, tmp_path / "cache", 5).whole == ()
    assert fixed_in(tmp_path / "cache") == "5.0"


@pytest.mark.parametrize("registry", ["undeletable"], indirect=True)
def test_a_registry_that_lets_nobody_delete(registry: Registry, publisher: Publisher, tmp_path: Path) -> None:
    """Publishing goes on, and old publications stay."""
    for day in range(3):
        publisher.learn(f"{day}.0")
        assert registry.publish(publisher, day, keep=1) == day + 1
    assert "targets-1" in _tags(registry)
    assert registry.pull(publisher, tmp_path / "cache", 2).number == 3


def _tags(registry: Registry) -> list[str]:
    found = (registry.folder / "data").rglob("_manifests/tags/*/current/link")
    return [path.parent.parent.name for path in found]


def test_who_may_push_cannot_forge(registry: Registry, publisher: Publisher, tmp_path: Path) -> None:
    """Rollback, another's repository and a tampered timestamp, pushed by whoever has the login."""
    registry.publish(publisher)
    first = _file(registry, "metadata/timestamp.json")
    publisher.learn("3.0")
    registry.publish(publisher, 1)
    second = _file(registry, "metadata/timestamp.json")
    registry.pull(publisher, tmp_path / "cache", 1)
    document = json.loads(second)
    document["signed"]["version"] = 77
    for content in (first, json.dumps(document).encode(), b"", b"[" * 10_000):
        _write(registry, "metadata/timestamp.json", content)
        with pytest.raises(VerificationError):
            registry.pull(publisher, tmp_path / "cache", 1)
    _write(registry, "metadata/timestamp.json", second)
    assert registry.pull(publisher, tmp_path / "cache", 1).number == 2
    other = Publisher(tmp_path / "other")
    with pytest.raises(UsageError, match="other keys"):
        registry.publish(other)
    with pytest.raises(VerificationError, match="expired"):
        registry.pull(publisher, tmp_path / "cache", 30)
    assert fixed_in(tmp_path / "cache") == "3.0"


@pytest.mark.parametrize("registry", ["open"], indirect=True)
@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_metadata_exchanged_in_the_registry(registry: Registry, publisher: Publisher, tmp_path: Path, role: str) -> None:
    """Another publication's file under this one's tag, a part of it, more than it, or more than anybody takes."""
    registry.publish(publisher)
    registry.pull(publisher, tmp_path / "cache")
    older = _file(registry, f"metadata/1.{role}.json")
    publisher.learn("3.0")
    registry.publish(publisher, 1)
    right = _file(registry, f"metadata/2.{role}.json")
    for wrong in (older, right[:-20], right + b" ", right + b" " * 6_000_000):
        _write(registry, f"metadata/2.{role}.json", wrong)
        with pytest.raises(VerificationError):
            registry.pull(publisher, tmp_path / "cache", 1)
        assert fixed_in(tmp_path / "cache") == "2.0"
    _write(registry, f"metadata/2.{role}.json", right)
    assert registry.pull(publisher, tmp_path / "cache", 1).number == 2


def _file(registry: Registry, path: str) -> bytes:
    opened = Artifacts(registry.address.removeprefix("oci://"), registry.options)
    try:
        return b"".join(opened.open(path))
    finally:
        opened.close()


def _write(registry: Registry, path: str, content: bytes) -> None:
    opened = Artifacts(registry.address.removeprefix("oci://"), registry.options)
    opened.write(path, content)
    opened.close()


def test_blobs_changed_in_the_storage(
    registry: Registry, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry whose disk says other things is refused; one that lost a blob is no forgery."""
    monkeypatch.setattr(client, "PAUSE", 0.01)
    registry.publish(publisher)
    registry.pull(publisher, tmp_path / "cache")
    publisher.learn("3.0")
    registry.publish(publisher, 1)
    large = max((registry.folder / "data").rglob("data"), key=lambda path: path.stat().st_size)
    content = large.read_bytes()
    large.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)))
    with pytest.raises(VerificationError):
        registry.pull(publisher, tmp_path / "fresh", 1)
    shutil.rmtree(large.parent)
    with pytest.raises(FeedError):
        registry.pull(publisher, tmp_path / "fresh", 1)
    assert fixed_in(tmp_path / "cache") == "2.0"


def test_a_repository_that_is_none(registry: Registry, publisher: Publisher, tmp_path: Path) -> None:
    """An empty repository, odd names, and --offline."""
    publisher.publish()
    with pytest.raises(FeedError, match=r"no metadata/timestamp\.json"):
        registry.pull(publisher, tmp_path / "cache")
    for name in ("127.0.0.1:5000/team/advisories:latest", f"host/x@sha256:{'0' * 64}", "host/UPPER"):
        with pytest.raises(UsageError):
            Artifacts(name, registry.options)
    offline = SourceOptions(cache_dir=tmp_path, offline=True)
    with pytest.raises(FeedError, match="--offline"):
        library(registry.address, offline)
    with pytest.raises(RegistryError, match="--offline"):
        Artifacts("127.0.0.1:1/team/advisories", offline).write("metadata/timestamp.json", b"{}")


def test_the_same_clients_read_a_copy_in_a_folder(registry: Registry, publisher: Publisher, tmp_path: Path) -> None:
    """One publication after the other to the registry and to a folder, with the same keys: clients do not mind."""
    registry.publish(publisher)
    registry.pull(publisher, tmp_path / "cache")
    publisher.shelf = Folder(publisher.dest)
    publisher.learn("3.0")
    publisher.publish(NOW + DAY)
    assert pull(tmp_path / "cache", Folder(publisher.dest), publisher.root, How(now=NOW + DAY)).number == 2
    assert fixed_in(tmp_path / "cache") == "3.0"
