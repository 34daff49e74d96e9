"""Killed anywhere, or many at once: whoever opens the database finds the old one or the new one, whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pratique.advisory.lookup import verify
from pratique.advisory.repository.pull import How, pull
from pratique.advisory.repository.shelf import Folder
from pratique.advisory.repository.web import Web
from repositorysim import NOW, Publisher, fixed_in, web

DAY = timedelta(days=1)

_PULL = """
import sys
from datetime import datetime
from pathlib import Path
from pratique.advisory.repository.pull import How, pull
from pratique.advisory.repository.shelf import Folder
cache, dest, root, now = sys.argv[1:]
print("begins", flush=True)
pull(Path(cache), Folder(Path(dest)), Path(root).read_bytes(), How(now=datetime.fromisoformat(now)))
"""
_PUBLISH = """
import sys
from datetime import datetime
from pathlib import Path
from pratique.advisory.repository.publish import How, publish
from pratique.advisory.repository.shelf import Folder
cache, dest, keys, now = sys.argv[1:]
print("begins", flush=True)
publish(Path(cache), Folder(Path(dest)), Path(keys), How(now=datetime.fromisoformat(now), rotate=("timestamp",)))
"""


def _killed(program: str, arguments: list[str], pause: float) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_killed_pull_leaves_the_old_database(publisher: Publisher, tmp_path: Path) -> None:
    """At ten random moments; then the pull goes on from there."""
    publisher.publish()
    cache, root = tmp_path / "cache", publisher.keys / "roots/1.root.json"
    pull(cache, Folder(publisher.dest), publisher.root, How(now=NOW))
    publisher.learn("3.0")
    publisher.publish(NOW + DAY)
    chance = random.Random(3)
    arguments = [str(cache), str(publisher.dest), str(root), (NOW + DAY).isoformat()]
    for _ in range(10):
        _killed(_PULL, arguments, chance.uniform(0, 0.25))
        assert fixed_in(cache) in {"2.0", "3.0"}
        assert set(verify(cache).values()) == {""}
    pull(cache, Folder(publisher.dest), publisher.root, How(now=NOW + DAY))
    assert fixed_in(cache) == "3.0"
    assert not list((cache / "db/incoming").iterdir())
    assert not list((cache / "trust").rglob("tmp*"))


def test_a_killed_publisher_leaves_the_old_publication(publisher: Publisher, tmp_path: Path) -> None:
    """At ten random moments, while a key is rotated: clients see whole publications, and the next one is taken by all."""
    publisher.publish()
    cache, early = tmp_path / "cache", tmp_path / "early"
    pull(early, Folder(publisher.dest), publisher.root, How(now=NOW))
    chance = random.Random(4)
    arguments = [str(publisher.cache), str(publisher.dest), str(publisher.keys), (NOW + DAY).isoformat()]
    for number in range(10):
        publisher.learn(f"3.{number}")
        _killed(_PUBLISH, arguments, chance.uniform(0, 0.3))
        shutil.copytree(publisher.dest, tmp_path / "copy")
        try:
            pull(cache, Folder(tmp_path / "copy"), publisher.root, How(now=NOW + DAY))
        except Exception as error:  # noqa: BLE001 - between a new root and the timestamp by its keys there is none that verifies
            assert "signed by 0/1" in str(error), error  # noqa: PT017
        shutil.rmtree(tmp_path / "copy")
    publisher.learn("4.0")
    publisher.publish(NOW + DAY)
    for place in (cache, early):
        pull(place, Folder(publisher.dest), publisher.root, How(now=NOW + DAY))
        assert fixed_in(place) == "4.0"


@pytest.mark.loopback
def test_many_pull_at_once(publisher: Publisher, tmp_path: Path) -> None:
    """They wait for each other; one moves the bytes, and all succeed."""
    publisher.publish()
    cache = tmp_path / "cache"
    pull(cache, Folder(publisher.dest), publisher.root, How(now=NOW))
    publisher.learn("3.0")
    publisher.publish(NOW + DAY)
    failed: list[BaseException] = []
    with web(publisher.dest) as site:

        def one() -> None:
            library = Web(site.url)
            try:
                pull(cache, library, publisher.root, How(now=NOW + DAY))
            except BaseException as error:  # noqa: BLE001 - told to the test
                failed.append(error)
            finally:
                library.close()

        threads = [threading.Thread(target=one) for _ in range(5)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert fixed_in(cache) in {"2.0", "3.0"}
        for thread in threads:
            thread.join()
        assert failed == []
        assert fixed_in(cache) == "3.0"
        assert sum("changes/" in path for path in site.asked) == 1
