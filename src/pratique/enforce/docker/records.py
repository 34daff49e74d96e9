"""What the gate let through in, what it knows about a container, a running command or an image out.

The engine's requests come in pieces: a container is created by one and started by another, a command's start carries neither its
user nor its words. So what was decided is kept by the id that the engine gave, one small file a container; one that is lost costs
an answer ("deny beyond the baseline"), never a privilege.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import msgspec

from pratique.enforce.docker.taint import Taints
from pratique.grant.request import Request
from pratique.model.privilege import Subject

# Commands started in containers; nobody has more open at once.
_MAX_EXECS = 50_000
# Containers on one engine; what is older than all these is not needed any more.
_MAX_CONTAINERS = 100_000
_ID = re.compile(r"[0-9a-f]{64}")


class Approved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One container or command that was let through. `session` names its one use of each of `grants`.

    `elevated` is said of what ran beyond the baseline at any time: what is made from it stays suspect. `pid_file` is where
    Podman's runtime writes the number of its first process, `image` the id of the image that was decided on.
    """

    id: str
    subject: Subject
    session: str
    needed: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    digest: str = ""
    reference: str = ""
    elevated: bool = False
    at: float = 0.0
    container: str = ""
    request: Request | None = None
    pid_file: str = ""
    image: str = ""


class Records:
    """Kept in `folder`, which is the gate's own. Raises OSError only when it is opened."""

    def __init__(self, folder: Path) -> None:
        self._containers = folder / "containers"
        self._commands = folder / "commands"
        self.taints = Taints(folder / "tainted-images")
        for path in (self._containers, self._commands):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._known = _read_all(self._containers, _MAX_CONTAINERS)
        self._execs = _read_all(self._commands, _MAX_EXECS)

    def container(self, identifier: str) -> Approved | None:
        """Return what was let through under the full id of a container."""
        return self._known.get(identifier)

    def containers(self) -> list[Approved]:
        """Return all that is known."""
        return list(self._known.values())

    def remember(self, record: Approved) -> None:
        """Keep a container's record, in place of an earlier one. Raises ValueError for what is no id.

        On a full disk it is kept in memory: the baseline goes on, and what is lost with this process is only answers.
        """
        if not _ID.fullmatch(record.id):
            raise ValueError("a container's id has 64 digits")
        self._known[record.id] = record
        _write(self._containers / record.id, record)

    def ended(self, identifier: str) -> None:
        """Note that a container's grants are no more; that it was elevated stays known."""
        record = self._known.get(identifier)
        if record is not None:
            self.remember(msgspec.structs.replace(record, grants=()))

    def forget(self, identifier: str) -> None:
        """Forget a container that is gone."""
        self._known.pop(identifier, None)
        if _ID.fullmatch(identifier):
            (self._containers / identifier).unlink(missing_ok=True)

    def command(self, identifier: str) -> Approved | None:
        """Return what was let through under the id of an exec."""
        return self._execs.get(identifier)

    def remember_command(self, record: Approved) -> None:
        """Keep an exec's record; one that lives by a grant on disk, too: it ends with it, whatever becomes of this process.

        Of too many those go first that live by none.
        """
        while len(self._execs) >= _MAX_EXECS:
            self.forget_command(next((name for name, old in self._execs.items() if not old.grants), next(iter(self._execs))))
        self._execs[record.id] = record
        if record.grants and _ID.fullmatch(record.id):
            _write(self._commands / record.id, record)

    def commands(self) -> list[Approved]:
        """Return the execs that are known."""
        return list(self._execs.values())

    def forget_command(self, identifier: str) -> None:
        """Forget an exec that ended."""
        self._execs.pop(identifier, None)
        if _ID.fullmatch(identifier):
            (self._commands / identifier).unlink(missing_ok=True)


def _write(path: Path, record: Approved) -> None:
    beside = path.with_name(f".{record.id}.{os.getpid()}")
    try:
        beside.write_bytes(msgspec.json.encode(record))
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()


def _read_all(folder: Path, most: int) -> dict[str, Approved]:
    paths = sorted(folder.iterdir(), key=lambda item: item.name)[:most]
    found = {path.name: _read(path) for path in paths if _ID.fullmatch(path.name)}
    return {name: record for name, record in found.items() if record is not None}


def _read(path: Path) -> Approved | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Approved)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None  # as if it had never been: what it would have allowed is denied
