"""Stores, grants and entries for tests, and programs that run beside the test as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pratique
from pratique.grant.asking import request_hash
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from pratique.store.ledger import SEGMENT_BYTES, Ledger
from pratique.store.line import Entry, Who
from pratique.store.place import Place, open_place

# Where this module and the program are, for processes of their own.
PATHS = os.pathsep.join(str(path) for path in (Path(__file__).parent, Path(pratique.__file__).parents[1]))
ALICE = Who("alice", "unix", 1)


def entry(number: int = 0, **more: object) -> Entry:
    """Return an entry that can be told from others."""
    values: dict[str, object] = {
        "event": "use",
        "subject": ALICE,
        "decision": "allow_with_grant",
        "needed": ("exec.root",),
        "grant": "g-1",
        "task": f"T-{number}",
    }
    return Entry(**{**values, **more})  # type: ignore[arg-type]


def place_in(folder: Path) -> Place:
    return open_place(folder / "store")


def filled(folder: Path, lines: int = 30, *, segment_bytes: int = 4000, close: bool = True) -> Place:
    """Return a store whose ledger has several segments, the last one closed."""
    place = place_in(folder)
    ledger = Ledger(place, segment_bytes=segment_bytes)
    for number in range(lines):
        ledger.append(entry(number))
    if close:
        ledger.seal()
    ledger.close()
    return place


def asked(who: str = "alice", *privileges: str, **more: object) -> Asked:
    values: dict[str, object] = {
        "subject": Subject(id=who),
        "task": Task(id="T-1", purpose="to see why"),
        "privileges": privileges or ("exec.root",),
        "scope": Scope(),
        "lifetime": 600.0,
    }
    return Asked(**{**values, **more})  # type: ignore[arg-type]


def grant(name: str = "g-0001", who: str = "alice", **more: object) -> Grant:
    """Return an active grant."""
    wanted = asked(who, nonce=name)
    values: dict[str, object] = {
        "id": name, "asked": wanted, "request": request_hash(wanted), "state": "active", "requested_at": 1.0,
    }  # fmt: skip
    return Grant(**{**values, **more})  # type: ignore[arg-type]


def beside(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that runs `code`; its arguments are in sys.argv[1:]."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {"PYTHONPATH": PATHS, "PATH": ""}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


__all__ = ["ALICE", "PATHS", "SEGMENT_BYTES", "asked", "beside", "entry", "filled", "grant", "place_in"]
