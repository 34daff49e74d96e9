"""A program with threads can scan, too: the examination then runs in a new interpreter instead of a fork."""

from __future__ import annotations

from pathlib import Path

import pytest

import pratique
from imagebuilder import docker_archive, layer
from pratique._kit.confined import WorkerFailedError, can_fork
from pratique._kit.sandbox import Limits
from pratique._kit.spawned import spawned
from pratique.model.errors import IntegrityError

PACKAGE = {"app/node_modules/lodash/package.json": b'{"name": "lodash", "version": "4.17.15"}'}


@pytest.mark.usefixtures("another_thread")
def test_scan_from_a_program_with_threads(tmp_path: Path) -> None:
    """The same packages come out, and no descriptor or process stays."""
    assert not can_fork()
    (tmp_path / "image.tar").write_bytes(docker_archive([layer(PACKAGE)]))
    before = len(list(Path("/proc/self/fd").iterdir()))
    report = pratique.scan(str(tmp_path / "image.tar"), offline=True, cache_dir=tmp_path / "cache")
    assert [package.name for package in report.packages] == ["lodash"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.usefixtures("another_thread")
def test_a_tampered_layer_is_refused_there_too(tmp_path: Path) -> None:
    """What the new process finds reaches the caller as the same error."""
    data = docker_archive([layer(PACKAGE)])
    (tmp_path / "image.tar").write_bytes(data.replace(b"4.17.15", b"4.17.99"))
    with pytest.raises(IntegrityError):
        pratique.scan(str(tmp_path / "image.tar"), offline=True, cache_dir=tmp_path / "cache")


def test_a_module_that_is_not_there_is_said() -> None:
    """A new process that ends at once is an error that names it, not a hang."""
    with spawned("no.such.module", b"", read_paths=[], limits=Limits()) as channel, pytest.raises(WorkerFailedError):
        channel.receive()
