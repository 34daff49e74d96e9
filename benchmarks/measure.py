"""A command in, what the operating system accounts to it out: wall time, processor time and peak memory of whole processes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import subprocess
import threading
import time
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


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Sample:
    """Run a command to its end and account for it; what it says goes to `log`."""
    with log.open("wb") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, process.returncode)


def run_watched(command: Sequence[str], environment: Mapping[str, str], log: Path) -> tuple[Sample, int]:
    """Run a command untimed; return also the peak of what all its processes hold together, in bytes.

    The sum is of proportional shares (PSS): a page that a fork shares with its parent counts once. It is sampled, so it may
    miss a short peak; the kernel's own figure does not, but covers one process.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        done = threading.Event()
        peaks = [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, done, peaks))
        watcher.start()
        started = time.perf_counter()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        done.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, process.returncode), peaks[0]


def _watch(root: int, done: threading.Event, peaks: list[int]) -> None:
    while not done.wait(SAMPLE_SECONDS):
        peaks[0] = max(peaks[0], sum(_share(pid) for pid in _tree(root)))


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
