"""The real data, where a mirror of it is at hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from advisorymirror import MIRROR, needs_mirror
from pratique.advisory.feeds import sources
from pratique.advisory.index import read
from pratique.advisory.lookup import open_database
from pratique.advisory.update import Options, Outcome, update

pytestmark = [needs_mirror, pytest.mark.loopback]

_NAMES = sorted(name for name, source in sources().items() if (MIRROR / source.feed.path).is_file())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    outcomes = update(folder, _NAMES, Options(mirror=MIRROR.as_uri()))
    assert {outcome.status for outcome in outcomes} == {"updated"}
    return folder


def test_the_whole_mirror_is_small(cache: Path) -> None:
    """At most 80 MB; no record of the real feeds is unreadable, save fuzzing reports that name no version."""
    assert sum(path.stat().st_size for path in (cache / "db").glob("*.sqlite")) < 80_000_000
    again = update(cache, _NAMES, Options(mirror=MIRROR.as_uri()))
    assert {outcome.status for outcome in again} == {"unchanged"}
    assert {outcome.name for outcome in again if outcome.skipped} <= {"osv/OSS-Fuzz"}


def test_well_known_vulnerabilities_are_found(cache: Path) -> None:
    """One of each kind of feed."""
    with open_database(cache) as database:
        for ecosystem, package, identifier in (
            ("Maven", "org.apache.logging.log4j:log4j-core", "GHSA-jfh8-c2jp-5v3q"),
            ("PyPI", "PyYAML", "PYSEC-2020-96"),
            ("Debian:12", "glibc", "CVE-2023-4911"),
            ("Alpine:v3.20", "busybox", "CVE-2022-28391"),
            ("AlmaLinux:9", "zlib", "ALSA-2022:7314"),
            ("Wolfi", "aactl", "CVE-2025-22869"),
        ):
            assert identifier in {hit.id for hit in database.lookup(ecosystem, [package])[package]}, identifier
        assert "CVE-2021-44228" in database.kev(["CVE-2021-44228"])
        assert database.epss(["CVE-2021-44228"])["CVE-2021-44228"].score > 0.9


@pytest.fixture
def served() -> Iterator[str]:
    command = [sys.executable, str(MIRROR / "serve.py"), "--seconds", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_served_and_read_as_files_are_the_same(cache: Path, served: str, tmp_path: Path) -> None:
    """The same feeds over HTTP say the same, and a second update finds nothing new."""
    names = ["debian/tracker", "osv/Rocky Linux", "osv/PyPI", "cisa/kev", "epss/current", "alpine/v3.20/main"]

    def run() -> list[Outcome]:
        return update(tmp_path, names, Options(mirror=served))

    assert {outcome.status for outcome in run()} == {"updated"}
    assert {outcome.status for outcome in run()} == {"unchanged"}
    here, there = (read(folder / "db").feeds for folder in (tmp_path, cache))
    assert {name: here[name].state for name in names} == {name: there[name].state for name in names}
