"""A command in, what the operating system accounts to it out: wall time, processor time and peak memory of whole processes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SAMPLE_SECONDS = 0.005
"""Between two looks at the memory of a process tree; only untimed runs are looked at."""

MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Sample:
    """One run. Seconds; bytes. `peak` is the kernel's own figure for the largest process of the tree."""

    wall: float
    cpu: float
    peak: int
    status: int


LAUNCHER = """
import os, sys, time
log, program, *rest = sys.argv[1:]
said = (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
started = time.perf_counter()
pid = os.posix_spawn(program, [program, *rest], os.environ, file_actions=[nothing, said, (os.POSIX_SPAWN_DUP2, 1, 2)])
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - started
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status))
"""
"""Starts and accounts for one command. In an interpreter of its own, because the kernel lets a program inherit the peak memory
of what started it, and this one, with the results of others in its hands, may be larger than what it measures."""


def _launch(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(log), *command]
    return subprocess.Popen(launcher, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _account(launcher: subprocess.Popen[str]) -> Sample:
    said, _ = launcher.communicate()
    wall, cpu, peak, status = said.split()
    return Sample(float(wall), float(cpu), int(peak), int(status))


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Sample:
    """Run a command to its end and account for it; what it says goes to `log`. The program is a path, not a name."""
    return _account(_launch(command, environment, log))


def run_watched(command: Sequence[str], environment: Mapping[str, str], log: Path) -> tuple[Sample, int]:
    """Run a command untimed; return also the peak of what all its processes hold together, in bytes.

    The sum is of proportional shares (PSS): a page that a fork shares with its parent counts once. It is sampled, so it may
    miss a short peak; the kernel's own figure does not, but covers one process.
    """
    launcher = _launch(command, environment, log)
    done = threading.Event()
    peaks = [0]
    watcher = threading.Thread(target=_watch, args=(launcher.pid, done, peaks))
    watcher.start()
    sample = _account(launcher)
    done.set()
    watcher.join()
    return sample, peaks[0]


def _watch(root: int, done: threading.Event, peaks: list[int]) -> None:
    while not done.wait(SAMPLE_SECONDS):
        peaks[0] = max(peaks[0], sum(_share(pid) for pid in _tree(root) if pid != root))


def _tree(root: int) -> Iterator[int]:
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        for thread in _names(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{thread}/children").read_text(encoding="ascii")
                waiting.extend(int(child) for child in children.split())


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (names suffice, and this runs two hundred times a second)
    except OSError:
        return []


def _share(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0  # it ended between two looks
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paired runs of two commands. Memory ratios use the larger of the kernel's figure and the watched sum on our side."""

    ours: list[Sample]
    theirs: list[Sample]
    our_tree: int = 0
    their_tree: int = 0

    def _ratio(self, field: str) -> float:
        pairs = zip(self.ours, self.theirs, strict=True)
        ratios: list[float] = [getattr(a, field) / max(getattr(b, field), 1e-9) for a, b in pairs]
        return statistics.median(ratios)

    @property
    def wall(self) -> float:
        return self._ratio("wall")

    @property
    def cpu(self) -> float:
        return self._ratio("cpu")

    @property
    def memory(self) -> float:
        return self.our_peak / max(self.their_peak, 1)

    @property
    def our_peak(self) -> float:
        return max(self.our_tree, statistics.median(sample.peak for sample in self.ours))

    @property
    def their_peak(self) -> float:
        return statistics.median(sample.peak for sample in self.theirs)

    def medians(self, side: str) -> tuple[float, float]:
        """Return the median wall and processor seconds of "ours" or "theirs"."""
        samples = self.ours if side == "ours" else self.theirs
        return statistics.median(sample.wall for sample in samples), statistics.median(sample.cpu for sample in samples)
