"""What all tests share: no connection leaves the machine, and optional tools are looked for in one place."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers

from pratique._kit.confined import can_fork

# What a law is tried on depends on nothing but the test itself: a change elsewhere cannot turn it red by chance. Hypothesis would
# also try constants of whatever code of ours is loaded by then, which is another thing in each order and each part of the suite.
# `--hypothesis-profile=search` tries by chance, constants included: what it finds becomes an example of its own.
_SEARCHES = any(word.endswith("search") for word in sys.argv if word.startswith("--hypothesis-profile"))
if not _SEARCHES:
    assert vars(providers).pop("_get_local_constants"), "a later Hypothesis calls it otherwise"
    vars(providers)["_get_local_constants"] = lambda: providers._local_constants
_KEPT: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("search", derandomize=False, print_blob=True, **_KEPT)
hypothesis.settings.register_profile("default", derandomize=True, **_KEPT)
hypothesis.settings.load_profile("default")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a run that was begun in the background; programs that tests begin inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
_connect = socket.socket.connect


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    try:
        return address[0] == "localhost" or ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine."""

    def connect(self: socket.socket, address: Any) -> None:
        if not _is_local(address):
            raise PermissionError(f"a test tried to connect to {address!r}")
        _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep a person's caches, configuration and credentials out of the tests, and the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("PRATIQUE_") and not name.startswith("PRATIQUE_TEST_")]:
        monkeypatch.delenv(name)
    for name in ("DOCKER_CONFIG", "DOCKER_HOST", "CONTAINER_HOST", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def forks() -> None:
    """Wait until this process has one thread: what a test replaces in it reaches an examination by a fork alone."""
    until = time.monotonic() + 30
    while not can_fork():
        assert time.monotonic() < until, f"other threads run, so nothing is forked: {threading.enumerate()}"
        time.sleep(0.01)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, and say so, where a marked test needs a program that is not there: before fixtures start what needs it, too."""
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            if shutil.which(tool) is None:
                pytest.skip(f"needs {tool}, which is not installed")


# Folders of tests that have to run, each test of them: where they are skipped, the run has failed.
_MUST = tuple(os.environ.get("PRATIQUE_TEST_MUST", "").split())
_ran: Counter[str] = Counter()
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what ran of the folders that have to."""
    for folder in _MUST:
        if report.nodeid.startswith(folder):
            if report.skipped:
                _skipped.append(report.nodeid)
            elif report.when == "call":
                _ran[folder] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which they did not. Workers of one run each see a part of it."""
    if hasattr(session.config, "workerinput"):
        return
    missing = [folder for folder in _MUST if not _ran[folder]]
    if missing or _skipped:
        sys.stderr.write(f"\nPRATIQUE_TEST_MUST: nothing ran of {missing or 'none'}, skipped: {_skipped[:20] or 'none'}\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Return the mirror of real advisory feeds, where there is one."""
    path = Path(os.environ.get("PRATIQUE_TEST_MIRROR", Path(__file__).parents[2] / "shared" / "mirror"))
    if not (path / "provenance.json").is_file():
        pytest.skip("needs a mirror of real advisory feeds (PRATIQUE_TEST_MIRROR)")
    return path


@pytest.fixture
def another_thread() -> Iterator[None]:
    """Keep a second thread alive."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    yield
    stop.set()
    thread.join()
