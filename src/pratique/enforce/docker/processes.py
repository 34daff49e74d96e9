"""A process in, all that it began out - and their end.

Killing a command's first process leaves its children alive, and one that its parent abandoned is nobody's child: so who counts is
told by descent, by session, and by what no other process of the container may do.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
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


def everybody(namespace: str) -> dict[int, Process]:
    """Return all processes of one namespace by number: of a machine's many, few are in one container."""
    found = (look(int(path.name)) for path in _PROC.iterdir() if path.name.isdigit() and _is_in(path, namespace))
    return {process.pid: process for process in found if process is not None}


def _is_in(folder: Path, namespace: str) -> bool:
    try:
        return os.readlink(f"{folder}/ns/pid") == namespace  # noqa: PTH115 - asked of every process, while somebody waits
    except OSError:
        return False


def begun_by(leader: Process, first: Process, processes: dict[int, Process]) -> set[int]:
    """Return the processes that `leader` began in the container whose first process is `first`, itself included.

    They are told by descent and by session; who left both is a stray.
    """
    found = {leader.pid} if leader.pid in processes else set()
    for process in _others(first, processes):
        same_session = process.session == leader.session and leader.session != first.session
        if same_session or _descends(process, leader.pid, processes):
            found.add(process.pid)
    return found


def strays(first: Process, since: int, processes: dict[int, Process]) -> set[int]:
    """Return processes of a container that are younger than `since` ticks and may do what its first process may not.

    Nothing in the container can have begun them but a command that was given more: they are what is left of it.
    """
    return {process.pid for process in _others(first, processes) if process.started >= since and process.exceeds(first)}


def _others(first: Process, processes: dict[int, Process]) -> Iterator[Process]:
    return (one for one in processes.values() if one.namespace == first.namespace and one.pid != first.pid)


def ticks(seconds_ago: float) -> int:
    """Return what `started` would be of a process that began so many seconds ago."""
    return int((time.clock_gettime(time.CLOCK_BOOTTIME) - seconds_ago) * os.sysconf("SC_CLK_TCK"))


def _descends(process: Process, ancestor: int, processes: dict[int, Process]) -> bool:
    seen = set()
    while process.parent in processes and process.parent not in seen:
        if process.parent == ancestor:
            return True
        seen.add(process.parent)
        process = processes[process.parent]
    return process.parent == ancestor


def end(leader: Process | None, first: Process, since: int, spared: Sequence[Process] = ()) -> int:
    """Kill all that a command began at `since` ticks, stopping them first so that nothing forks away; return how many there were.

    `leader` is None where the command's own process has ended; what it left behind is looked for all the same. `spared` are the
    first processes of other commands in the container, which live on with all that they began.
    """
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        processes = everybody(first.namespace)
        new = strays(first, since, processes).difference(*(begun_by(other, first, processes) for other in spared))
        if leader is not None:
            new |= begun_by(leader, first, processes)
        new -= stopped
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
