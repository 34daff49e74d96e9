"""One engine without a gate and one behind it, for all tests of this folder: starting them takes longer than most tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import engineimages
from attacking import Side
from dockerengine import PEOPLE, Engine, Person
from dockergate import GatedEngine
from podmanengine import GatedPodman, Podman, PodmanSide, can_log_in
from volumeplugin import VolumePlugin

# The profiler answers, and there is a second runtime, which no gate stands in front of.
RUNC = next((path for path in ("/usr/sbin/runc", "/usr/bin/runc") if Path(path).exists()), "runc")
EXTRA = ["--debug", "--add-runtime", f"plain={RUNC}"]


@pytest.fixture(scope="session")
def engines_folder() -> Iterator[Path]:
    """Return a folder whose path is short enough for unix sockets, and that everybody may enter."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it starts engines of its own")
    folder = Path(tempfile.mkdtemp(prefix="pq-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def people() -> Iterator[dict[str, Person]]:
    """Return the users of the machine who act in tests."""
    found = {name: Person(name) for name in PEOPLE}
    yield found
    for person in found.values():
        person.close()


@pytest.fixture(scope="session")
def bare(engines_folder: Path, people: dict[str, Person]) -> Iterator[Side]:
    """Return an engine without a gate: what an attack does there is what it would do."""
    engine = Engine(engines_folder / "bare", extra=EXTRA)
    plugin = VolumePlugin(engine.plugins, engine.folder / "disk")
    try:
        engine.start().load(engineimages.archive())
        yield Side(engine, people)
    finally:
        engine.remove()
        plugin.close()


@pytest.fixture(scope="session")
def gated(engines_folder: Path, people: dict[str, Person]) -> Iterator[Side]:
    """Return an engine behind the gate, filled by an ordinary user through it."""
    engine = GatedEngine(engines_folder / "gated", extra=EXTRA)
    plugin = VolumePlugin(engine.plugins, engine.folder / "disk")
    try:
        engine.start().load(engineimages.archive(), people["alice"].connect(engine.socket, 60))
        yield Side(engine, people)
    finally:
        engine.remove()
        plugin.close()


@pytest.fixture(scope="session")
def bare_podman(engines_folder: Path, people: dict[str, Person]) -> Iterator[PodmanSide]:
    """Return root's Podman with its own runtime."""
    if not can_log_in():
        pytest.skip("needs a kernel that keeps who logged in (loginuid)")
    engine = Podman(engines_folder / "podman")
    try:
        engine.start().load(engineimages.archive())
        yield PodmanSide(engine, people)
    finally:
        engine.remove()


@pytest.fixture(scope="session")
def gated_podman(engines_folder: Path, people: dict[str, Person]) -> Iterator[PodmanSide]:
    """Return root's Podman with the gate in place of its runtime."""
    engine = GatedPodman(engines_folder / "gatedpodman")
    try:
        engine.start().load(engineimages.archive())
        yield PodmanSide(engine, people)
    finally:
        engine.remove()
