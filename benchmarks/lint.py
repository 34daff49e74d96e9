"""Files in, how long `pratique lint` takes for a thousand of them out: `python benchmarks/lint.py [FOLDER...]`.

Takes the files of the folders that lint can check (default: the cases of the tests), repeated under other names until there are
enough, and measures whole processes, interpreter's start included.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from pratique.lint.run import kind_by_name, lint

FILES = 1_000
RUNS = 5
ROOT = Path(__file__).resolve().parents[1]
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def checked(folders: Sequence[Path]) -> list[Path]:
    """Return the files in which lint finds something to check."""
    found = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if kind_by_name(path.name) and lint(path.name, path.read_bytes(), NOW).kind]


def copied(paths: Sequence[Path], folder: Path) -> int:
    """Fill a folder with a thousand files; return their bytes."""
    size = 0
    for number, path in enumerate(islice(cycle(paths), FILES)):
        here = folder / str(number)
        here.mkdir()
        content = path.read_bytes()
        (here / path.name).write_bytes(content)
        size += len(content)
    return size


def measured(folder: Path) -> tuple[float, float, int]:
    """Run lint once; return wall and processor time in seconds, and peak memory in KiB."""
    command = [sys.executable, "-m", "pratique", "lint", str(folder), "-f", "json"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"lint ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def main() -> None:
    """Measure, and print medians."""
    folders = [Path(name) for name in sys.argv[1:]] or [ROOT / "tests" / "lint" / "cases"]
    paths = checked(folders)
    with tempfile.TemporaryDirectory() as name:
        size = copied(paths, Path(name))
        walls, times, peaks = zip(*(measured(Path(name)) for _ in range(RUNS)), strict=True)
    print(f"{FILES} files ({len(paths)} different), {size / 1024:.0f} KiB, {RUNS} runs")
    told = f"wall {statistics.median(walls):.2f} s, processor {statistics.median(times):.2f} s, peak {max(peaks) / 1024:.0f} MiB"
    print(f"{told}; {statistics.median(times) / FILES * 1000:.2f} ms a file")


if __name__ == "__main__":
    main()
