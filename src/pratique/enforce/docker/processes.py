"""A process in, all that it began out - and their end.

Killing a command's first process leaves its children alive, and one that its parent abandoned is nobody's child: so who counts is
told by descent, by session, and by what no other process of the container may do.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
# Rounds of looking again: what forks between two looks is stopped in the next.
_ROUNDS = 20


class Process(NamedTuple):
    """What /proc says of one process; `started` counts ticks since the boot, capabilities are a bit set."""

    pid: int
    parent: int
    session: int
    started: int
    uids: frozenset[int]
    capabilities: int
    namespace: str

    def exceeds(self, other: Process) -> bool:
        """Say whether this one may do what the other may not."""
        root = 0 in self.uids and 0 not in other.uids
        return root or bool(self.capabilities & ~other.capabilities)


def look(pid: int) -> Process | None:
    """Return what is known of a process; None where it is gone, or is nobody's business of ours."""
    folder = _PROC / str(pid)
    try:
        stat = (folder / "stat").read_text().rpartition(") ")[2].split()
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        namespace = str((folder / "ns" / "pid").readlink())
        uids = frozenset(map(int, status["Uid"].split()))
        capabilities = int(status["CapPrm"], 16) | int(status["CapEff"], 16)
    except (OSError, KeyError, ValueError, IndexError):
        return None
    if stat[0] == "Z":
        return None
    return Process(pid, int(stat[1]), int(stat[3]), int(stat[19]), uids, capabilities, namespace)


def everybody() -> dict[int, Process]:
    """Return all processes by number."""
    found = (look(int(path.name)) for path in _PROC.iterdir() if path.name.isdigit())
    return {process.pid: process for process in found if process is not None}


def begun_by(leader: Process, first: Process, processes: dict[int, Process]) -> set[int]:
    """Return the processes that `leader` began in the container whose first process is `first`, itself included."""
    found = {leader.pid} if leader.pid in processes else set()
    for process in processes.values():
        if process.namespace != leader.namespace or process.pid == first.pid:
            continue
        same_session = process.session == leader.session and leader.session != first.session
        stray = process.started >= leader.started and process.exceeds(first)
        if same_session or stray or _descends(process, leader.pid, processes):
            found.add(process.pid)
    return found


def _descends(process: Process, ancestor: int, processes: dict[int, Process]) -> bool:
    seen = set()
    while process.parent in processes and process.parent not in seen:
        if process.parent == ancestor:
            return True
        seen.add(process.parent)
        process = processes[process.parent]
    return process.parent == ancestor


def end(leader: Process, first: Process) -> int:
    """Kill all that `leader` began, stopping them first so that nothing forks away; return how many there were."""
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        new = begun_by(leader, first, everybody()) - stopped
        if not new:
            break
        for pid in new:
            _send(pid, signal.SIGSTOP)
        stopped |= new
    for pid in stopped:
        _send(pid, signal.SIGKILL)
    return len(stopped)


def kill(pid: int) -> bool:
    """Kill the first process of a container, and with it all others; say whether there was one."""
    return pid > 0 and _send(pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> bool:
    """Signal by a descriptor, so that a number that was given anew is nobody else's end."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False  # it ended meanwhile
    else:
        return True
    finally:
        os.close(handle)
