"""Images in, ratios out: the whole scan of pratique against the inventories of Trivy and Syft, in pairs, in one run.

Whole processes are measured by the operating system's own accounting; the order within a pair alternates; the figure is the
median of the pairs' ratios. Every timed run writes its result, which must equal that of an untimed run.
Usage: `python benchmarks/scan.py [--quick] [--only TEXT] [--runs N] [--out FILE] [--gate] [--calibrate]`
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.images import Built, build, default_cache
from benchmarks.measure import MEBIBYTE, Comparison, Sample, run, run_watched
from benchmarks.tools import Job, Tool, count, environment, find_ours, find_rivals

RUNS = 5
QUICK_RUNS = 2
SLOW_RUNS = 3
"""Of Syft, which takes half a minute on the large image."""
VERSION_RUNS = 21


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table of targets: highest ratios that pass. The wall target holds for processor time too."""

    size: str
    kind: str
    rival: str
    state: str
    time: float
    memory: float

    @property
    def name(self) -> str:
        return f"{self.size} {self.kind} {self.rival} {self.state}"


ROWS = (
    Row("small", "docker", "trivy", "cold", 0.6, 0.5),
    Row("medium", "docker", "trivy", "cold", 0.35, 0.35),
    Row("medium", "gzip", "trivy", "cold", 0.45, 0.35),
    Row("medium", "zstd", "trivy", "cold", 0.6, 0.35),
    Row("medium", "docker", "trivy", "warm", 0.6, 0.6),
    Row("medium", "gzip", "trivy", "warm", 0.6, 0.6),
    Row("medium", "docker", "syft", "cold", 0.12, 0.15),
    Row("medium", "gzip", "syft", "cold", 0.12, 0.15),
    Row("large", "docker", "trivy", "cold", 0.35, 0.35),
    Row("large", "gzip", "trivy", "cold", 0.45, 0.35),
    Row("large", "zstd", "trivy", "cold", 0.6, 0.35),
    Row("large", "docker", "trivy", "warm", 0.6, 0.6),
    Row("large", "gzip", "trivy", "warm", 0.6, 0.6),
    Row("large", "docker", "syft", "cold", 0.12, 0.15),
    Row("large", "gzip", "syft", "cold", 0.12, 0.15),
)
QUICK = ("small docker trivy cold", "medium docker trivy cold", "medium gzip trivy cold", "medium docker trivy warm")
VERSION_TARGET = 5.0


class Contender:
    """One side of a pair on one image: runs, keeps the caches apart and checks that every result is the same."""

    def __init__(self, tool: Tool, row: Row, image: Path, scratch: Path) -> None:
        self.tool = tool
        self.row = row
        self.image = image
        self.folder = scratch / tool.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.reference: Any = None
        self.tree = 0
        self.number = 0

    def prepare(self) -> None:
        """Run untimed: the result to compare with, the memory of the whole tree, warm page cache (and layer cache)."""
        job = self._job()
        if self.row.state == "warm":
            self._check(run(self.tool.command(job), environment(self.folder), self.log), job)
        sample, self.tree = run_watched(self.tool.command(job), environment(self.folder), self.log)
        self._check(sample, job)
        self.reference = self.tool.read(job.result)

    def run(self) -> Sample:
        job = self._job()
        sample = run(self.tool.command(job), environment(self.folder), self.log)
        self._check(sample, job)
        result = self.tool.read(job.result)
        if result != self.reference:
            parts = [part for part in result if result[part] != self.reference.get(part)] if isinstance(result, dict) else []
            raise SystemExit(f"{self.row.name}: a timed run of {self.tool.name} gave another result than the untimed one {parts}")
        return sample

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    def _job(self) -> Job:
        if self.row.state == "cold":
            shutil.rmtree(self.folder / f"cache-{self.number}", ignore_errors=True)
            self.number += 1
        self.result.unlink(missing_ok=True)
        cache = self.folder / f"cache-{self.number}"
        self.tool.seed(cache)
        return Job(self.row.kind, self.image, cache, self.result)

    def _check(self, sample: Sample, job: Job) -> None:
        if sample.status or not job.result.exists():
            said = self.log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"{self.row.name}: {self.tool.name} ended with {sample.status}\n{said}")


def compare(row: Row, sides: tuple[Tool, Tool], image: Path, scratch: Path, runs: int) -> tuple[Comparison, list[dict[str, int]]]:
    """Run the pairs of one row; return them and each side's number of packages per type."""
    ours, theirs = Contender(sides[0], row, image, scratch / "ours"), Contender(sides[1], row, image, scratch / "theirs")
    ours.prepare()
    theirs.prepare()
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    for number in range(runs):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            samples[side].append((ours, theirs)[side].run())
    comparison = Comparison(*samples, our_tree=ours.tree, their_tree=theirs.tree)
    return comparison, [count(ours.result), count(theirs.result)]


def verdict(ratio: float, target: float) -> str:
    return f"{ratio:5.2f} {'pass  ' if ratio <= target else 'MISSED'}"


def show(row: Row, comparison: Comparison, names: Sequence[str]) -> None:
    print(
        f"{row.name:27} | wall {verdict(comparison.wall, row.time)} cpu {verdict(comparison.cpu, row.time)} (<= {row.time:.2f})"
        f" | memory {verdict(comparison.memory, row.memory)} (<= {row.memory:.2f})"
    )
    for name, side, peak, tree in (
        (names[0], "ours", comparison.our_peak, comparison.our_tree),
        (names[1], "theirs", comparison.their_peak, comparison.their_tree),
    ):
        wall, cpu = comparison.medians(side)
        print(
            f"    {name:10} wall {wall:7.2f} s   cpu {cpu:7.2f} s   peak {peak / MEBIBYTE:7.1f} MiB"
            f"   (all processes, sampled: {tree / MEBIBYTE:.1f} MiB)"
        )
    sys.stdout.flush()


def show_counts(counts: dict[str, dict[str, dict[str, int]]]) -> None:
    print("\nPackages found, by package URL type (distinct name and version):")
    for size, tools in counts.items():
        kinds = sorted({kind for found in tools.values() for kind in found})
        print(f"  {size:8}" + "".join(f"{kind:>10}" for kind in kinds) + f"{'total':>10}")
        for tool, found in tools.items():
            print(f"  {tool:8}" + "".join(f"{found.get(kind, 0):>10}" for kind in kinds) + f"{sum(found.values()):>10}")


def measure_version(ours: Tool, scratch: Path) -> dict[str, Any]:
    """Compare `pratique --version` with an interpreter that does nothing, in pairs."""
    commands = ([str(ours.program), "--version"], [sys.executable, "-c", "pass"])
    home = environment(scratch)
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    for _ in range(VERSION_RUNS):
        for side in (0, 1):
            samples[side].append(run(commands[side], home, scratch / "log"))
    comparison = Comparison(*samples)
    walls = [comparison.medians(side)[0] * 1000 for side in ("ours", "theirs")]
    print(
        f"{'--version':27} | wall {verdict(comparison.wall, VERSION_TARGET)} cpu {verdict(comparison.cpu, VERSION_TARGET)}"
        f" (<= {VERSION_TARGET:.2f}) against `python3 -c pass`: {walls[0]:.0f} ms, {walls[1]:.0f} ms"
    )
    passed = comparison.wall <= VERSION_TARGET
    return {"wall": comparison.wall, "cpu": comparison.cpu, "target": VERSION_TARGET, "passed": passed}


def record(row: Row, comparison: Comparison, counts: list[dict[str, int]]) -> dict[str, Any]:
    ratios = {"wall": comparison.wall, "cpu": comparison.cpu, "memory": comparison.memory}
    passed = max(ratios["wall"], ratios["cpu"]) <= row.time and ratios["memory"] <= row.memory
    return {"name": row.name, "target": {"time": row.time, "memory": row.memory}, "ratios": ratios, "passed": passed,
            "packages": {"ours": counts[0], "theirs": counts[1]}, **dataclasses.asdict(comparison)}  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare pratique with Trivy and Syft, in pairs, on the same images.")
    parser.add_argument("--quick", action="store_true", help=f"four rows, {QUICK_RUNS} pairs each")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="rows whose name has all these words; repeatable"
    )
    parser.add_argument("--runs", type=int, help=f"pairs per row ({RUNS}; Syft {SLOW_RUNS})")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where images and rivals are kept (%(default)s)")
    parser.add_argument("--out", type=Path, help="write every sample as JSON")
    parser.add_argument("--gate", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--calibrate", action="store_true", help="put Trivy in our place: what this machine's noise does to 1.00")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Row]:
    rows = [row for row in ROWS if not options.quick or row.name in QUICK]
    if options.only:
        rows = [row for row in rows if any(set(text.split()) <= set(row.name.split()) for text in options.only)]
    return rows


def main() -> int:
    options = parse_arguments()
    rivals, missing = find_rivals(options.cache)
    ours = rivals.get("trivy") if options.calibrate else find_ours()
    if ours is None:
        raise SystemExit("there is no pratique beside this interpreter: install the project first")
    for reason in missing:
        print(f"SKIPPED: {reason}")
    print(", ".join(f"{tool.name} {tool.version}" for tool in (ours, *rivals.values())), f"on {platform.machine()}")
    images: dict[str, Built] = {}
    counts: dict[str, dict[str, dict[str, int]]] = {}
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=options.cache, prefix="run-") as folder:
        scratch = Path(folder)
        for side in ("ours", "theirs"):
            (scratch / side).mkdir()
        version = measure_version(ours, scratch)
        for row in chosen(options):
            if row.rival not in rivals:
                print(f"{row.name:27} | SKIPPED: no {row.rival} here")
                continue
            image = images.get(row.size) or images.setdefault(row.size, build(row.size, options.cache))
            runs = options.runs or (QUICK_RUNS if options.quick else SLOW_RUNS if row.rival == "syft" else RUNS)
            comparison, found = compare(row, (ours, rivals[row.rival]), image.path(row.kind), scratch, runs)
            show(row, comparison, (ours.name, row.rival))
            results.append(record(row, comparison, found))
            counts.setdefault(row.size, {}).update({ours.name: found[0], row.rival: found[1]})
    show_counts(counts)
    return conclude(options, version, results, images)


def conclude(
    options: argparse.Namespace, version: dict[str, Any], results: list[dict[str, Any]], images: dict[str, Built]
) -> int:
    """Write the file, say what was missed; return the exit code."""
    missed = [result["name"] for result in results if not result["passed"]] + ([] if version["passed"] else ["--version"])
    if options.out:
        facts = {size: {**built.facts, "size": size} for size, built in images.items()}
        document = {"machine": platform.platform(), "version": version, "rows": results, "images": facts, "missed": missed}
        options.out.write_text(json.dumps(document, indent=1))
    if results:
        held, rows = len(results) + 1 - len(missed), len(results) + 1
        overall = statistics.geometric_mean(result["ratios"]["wall"] for result in results)
        print(f"\n{held} of {rows} rows within their targets; wall ratio over all {overall:.2f}")
    for name in missed:
        print(f"MISSED: {name}")
    return 1 if missed and options.gate else 0


if __name__ == "__main__":
    sys.exit(main())
