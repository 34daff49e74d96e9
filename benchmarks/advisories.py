"""The advisory database measured: built from a mirror, updated by changed records, asked and matched.

usage: python benchmarks/advisories.py MIRROR [--updates N] [--runs N]

Builds and updates are whole `pratique db update` processes against an upstream on the loopback interface, accounted for by the
operating system: seconds of processor time are ours alone, as the upstream is another process's. What is printed as missed is
missed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import zstandard

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import MEBIBYTE, Sample, run
from benchmarks.upstream import SEED, Upstream, malicious_record, serving

from pratique.advisory.compact import compact
from pratique.advisory.feeds import sources
from pratique.advisory.index import database_folder, read
from pratique.advisory.lookup import Database, open_database
from pratique.advisory.update import Options, update
from pratique.match.find import find, subjects
from pratique.match.merge import Knowledge, merge, names_of
from pratique.model.inventory import Location, Package, PackageType

NOW = datetime(2026, 11, 25, tzinfo=UTC)
# As osv.dev's own page lists them, of 606,760 records in all; of those ecosystems that there are feeds for. Other feeds are
# nearly whole in the mirror (Alpine, EPSS, KEV), or have no such list (Debian: upstream also has what is still open).
UPSTREAM_RECORDS = {
    "osv/AlmaLinux": 4260,
    "osv/Alpaquita": 8026,
    "osv/BellSoft Hardened Containers": 298,
    "osv/Bitnami": 6332,
    "osv/CRAN": 12,
    "osv/crates.io": 1930,
    "osv/Debian": 51960,
    "osv/Echo": 2611,
    "osv/GHC": 3,
    "osv/GIT": 76393,
    "osv/GitHub Actions": 37,
    "osv/Go": 5276,
    "osv/Hackage": 27,
    "osv/Hex": 45,
    "osv/Julia": 332,
    "osv/Mageia": 5781,
    "osv/Maven": 6115,
    "osv/MinimOS": 9191,
    "osv/npm": 214083 - 209647,
    "osv/NuGet": 1508,
    "osv/openEuler": 5734,
    "osv/openSUSE": 10316,
    "osv/OSS-Fuzz": 3741,
    "osv/Packagist": 5569,
    "osv/Pub": 10,
    "osv/PyPI": 17551,
    "osv/Red Hat": 18022,
    "osv/Rocky Linux": 2578,
    "osv/RubyGems": 1843,
    "osv/SUSE": 17069,
    "osv/SwiftURL": 42,
    "osv/Ubuntu": 49714,
}
# Of npm's records, as counted in google/osv-scanner's pull request 2449: malicious packages; the mirror has none. They are
# alike, so records made in their form tell what one takes.
MALICIOUS_RECORDS = 209647
MALICIOUS_SAMPLE = 20_000
# Fewer records than this say nothing of the others: a file has 40 KB before it has any.
ENOUGH = 500
TYPES: dict[str, PackageType] = {"PyPI": "pypi", "npm": "npm", "Go": "golang", "Maven": "maven", "Debian:12": "deb"}


def say(label: str, value: str, target: str = "", *, met: bool = True) -> None:
    """Print one row of the result."""
    goal = f"  (target {target}{'' if met else ': MISSED'})" if target else ""
    print(f"{label:<58} {value}{goal}", flush=True)


@contextmanager
def served(mirror: Path) -> Iterator[tuple[str, Upstream]]:
    """Serve the mirror; its records can be changed meanwhile."""
    source = Upstream(mirror)
    with serving(source) as address:
        yield address, source


def updated(cache: Path, names: Sequence[str], address: str) -> Sample:
    """Run `pratique db update` of `names` to its end."""
    only = [word for name in names for word in ("--only", name)]
    command = [sys.executable, "-m", "pratique", "db", "update", *only, "--mirror", address, "--cache-dir", str(cache), "--quiet"]
    sample = run(command, {"PATH": "/usr/bin:/bin", "HOME": str(cache)}, cache.parent / "log")
    if sample.status != 0:
        raise SystemExit(f"db update failed: {(cache.parent / 'log').read_text()}")
    return sample


def size(cache: Path) -> int:
    """Bytes of all files of feeds."""
    return sum(path.stat().st_size for path in database_folder(cache).glob("*.sqlite"))


def download(cache: Path) -> int:
    """Bytes of all files of feeds as one zstd stream each."""
    return sum(len(zstandard.compress(path.read_bytes(), 19)) for path in database_folder(cache).glob("*.sqlite"))


def building(folder: Path, names: Sequence[str], address: str, runs: int) -> Path:
    """Measure the first build and the update that finds nothing new; return the cache."""
    samples = []
    for _ in range(runs):
        cache = folder / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        samples.append(updated(cache, names, address))
    cpu, peak = statistics.median(one.cpu for one in samples), max(one.peak for one in samples) / MEBIBYTE
    say("build of the whole mirror: processor time", f"{cpu:.1f} s", "25 s", met=cpu < 25)
    say("build of the whole mirror: peak memory", f"{peak:.0f} MiB", "400 MB", met=peak < 381)
    say("build of the whole mirror: wall time", f"{statistics.median(one.wall for one in samples):.1f} s")
    wall = statistics.median(updated(cache, names, address).wall for _ in range(runs))
    say("update that finds nothing new: wall time", f"{wall:.2f} s", "1 s", met=wall < 1)
    unpacked, packed = size(cache) / 1e6, download(cache) / 1e6
    say("database", f"{unpacked:.1f} MB", "80 MB", met=unpacked < 80)
    say("database as zstd", f"{packed:.1f} MB", "20 MB", met=packed < 20)
    return cache


def malicious(folder: Path) -> float:
    """Return the bytes that a record of a malicious package takes, by `MALICIOUS_SAMPLE` made ones."""
    mirror, chance = folder / "malicious" / "osv" / "npm", random.Random(SEED)
    mirror.mkdir(parents=True)
    with zipfile.ZipFile(mirror / "all.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(MALICIOUS_SAMPLE):
            archive.writestr(f"MAL-2025-{number}.json", json.dumps(malicious_record(number, chance)))
    update(folder / "cache-of-malicious", ["osv/npm"], Options(mirror=(folder / "malicious").as_uri()), now=lambda: NOW)
    return size(folder / "cache-of-malicious") / MALICIOUS_SAMPLE


def ecosystems(cache: Path, each_malicious: float) -> None:
    """Print bytes a record, by feed or family of feeds, and what the whole upstream would take.

    Where the mirror has too few records to tell, and for ecosystems that it does not have, the mean of OSV's others is taken.
    """
    records: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    for name, entry in read(database_folder(cache)).feeds.items():
        if entry.file:
            family = name if name.startswith("osv/") else name.partition("/")[0]
            records[family] += entry.records
            sizes[family] += entry.size
    known = [family for family in records if family.startswith("osv/") and records[family] >= ENOUGH]
    mean = sum(sizes[family] for family in known) / sum(records[family] for family in known)
    print(f"\n{'feeds':<22} {'records':>8} {'bytes':>11} {'a record':>9} {'upstream':>9} {'would take':>11}")
    total, rest = 0.0, dict(UPSTREAM_RECORDS)
    for family in sorted(records):
        own = not family.startswith("osv/") or family in known
        each = sizes[family] / records[family] if own else mean
        count = rest.pop(family, records[family])
        total += count * each
        shown = f"{each:,.0f}" if own else "(mean)"
        print(f"{family:<22} {records[family]:>8,} {sizes[family]:>11,} {shown:>9} {count:>9,} {count * each / 1e6:>8.1f} MB")
    total += MALICIOUS_RECORDS * each_malicious
    cells = (
        f"{'':>8} {'':>11} {each_malicious:>9,.0f} {MALICIOUS_RECORDS:>9,} {MALICIOUS_RECORDS * each_malicious / 1e6:>8.1f} MB"
    )
    print(f"{'osv/npm, malicious':<22} {cells}")
    others = sum(rest.values())
    total += others * mean
    print(f"{'OSV, not in the mirror':<22} {'':>8} {'':>11} {'(mean)':>9} {others:>9,} {others * mean / 1e6:>8.1f} MB")
    print(
        f"{'together':<22} {sum(records.values()):>8,} {sum(sizes.values()):>11,} {mean:>9,.0f} {'':>9} {total / 1e6:>8.1f} MB\n"
    )


def changing(cache: Path, names: Sequence[str], address: str, source: Upstream) -> None:
    """Measure updates by 0, 100 and 10,000 changed records."""
    for number, count in enumerate((0, 100, 10_000)):
        touched = source.change(count, f"2026-11-{25 + number}T12:00:00Z")
        source.pack()
        source.sent = source.requests = 0
        sample = updated(cache, names, address)
        what = f"{sample.cpu:.2f} s CPU, {sample.wall:.2f} s, {sample.peak / MEBIBYTE:.0f} MiB, "
        what += f"{source.sent / 1e6:.2f} MB in {source.requests} requests"
        say(f"update, {count:,} of {sum(map(len, source.records.values())):,} records changed in {len(touched)} feeds", what)


def growing(folder: Path, names: Sequence[str], address: str, source: Upstream, count: int) -> None:
    """Update `count` times by ten records, a day each; print how the database grew."""
    cache = folder / "grown"
    update(cache, names, Options(mirror=address), now=lambda: NOW)
    first, started = size(cache), time.process_time()
    for day in range(1, count + 1):
        moment = NOW + timedelta(days=day)
        source.change(10, moment.isoformat().replace("+00:00", "Z"))
        update(cache, names, Options(mirror=address), now=lambda moment=moment: moment)  # type: ignore[misc]
    spent = (time.process_time() - started) / count
    ratio = size(cache) / first
    say(f"size after {count} updates of 10 records", f"{ratio:.3f} of the first", "1.1", met=ratio < 1.1)
    say("  upstream and update together, in one process", f"{spent:.2f} s CPU each")
    compact(cache, keep=0, now=lambda: NOW + timedelta(days=count))
    say("  and compacted to what is known now", f"{size(cache) / first:.3f} of the first")


def timed(work: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of processor time of a call: nothing here waits, and the machine may have others to serve."""
    found = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return statistics.median(found)


def named(cache: Path, ecosystem: str, limit: int) -> list[str]:
    """Return names of packages of an ecosystem, evenly over the alphabet."""
    with open_database(cache) as database:
        every = sorted({name for _, place, name, _ in database.packages("") if place == ecosystem})
    return every[:: max(1, len(every) // limit)][:limit]


def looking_up(cache: Path) -> None:
    """Measure prepared look-ups of single packages, known and unknown, and in batches as scans ask."""
    for ecosystem in ("Debian:12", "PyPI", "npm"):
        names = named(cache, ecosystem, 500)
        absent = [f"{name}-absent" for name in names]
        with open_database(cache) as database:
            look = partial(database.lookup, ecosystem)
            look(names)  # opens and reads what a scan has read by then
            one, none, batch = (
                timed(work, 5) / len(names)
                for work in (partial(each, look, names), partial(each, look, absent), partial(look, names))
            )
        rate = f"{batch * 1e6:.1f} us a package, {1 / batch:,.0f}/s"
        say(f"look-up in {ecosystem}, in batches of 500", rate, "20 us", met=batch < 2e-5)
        say(f"look-up in {ecosystem}, one by one", f"{one * 1e6:.1f} us known, {none * 1e6:.1f} us unknown")


def each(look: Callable[[list[str]], object], names: Sequence[str]) -> None:
    """Look up one after the other."""
    for name in names:
        look([name])


def installed(cache: Path) -> list[Package]:
    """Return 500 packages of a usual image: most of Debian, some of applications; one in five is as old as its oldest fix.

    The others have the newest version that has a fix of anything.
    """
    found = []
    for ecosystem, share in (("Debian:12", 300), ("PyPI", 80), ("npm", 80), ("Go", 20), ("Maven", 20)):
        kind, names = TYPES[ecosystem], named(cache, ecosystem, share)
        with open_database(cache) as database:
            hits = database.lookup(ecosystem, names)
        for number, name in enumerate(names):
            fixes = sorted((item.upper_key or b"", item.fixed) for hit in hits[name] for item in hit.ranges if item.fixed)
            version = (fixes[0] if number % 5 == 0 else fixes[-1])[1] if fixes else "0.1"
            found.append(
                Package(
                    name=name,
                    version=version,
                    purl=f"pkg:{kind}/{name}@{version}",
                    type=kind,
                    ecosystem=ecosystem.partition(":")[0],
                    locations=(Location("x", "sha256:1"),),
                    namespace=name.partition(":")[0] if kind == "maven" else "",
                )
            )
    return found


def ask(database: Database, packages: Sequence[Package]) -> tuple[int, int]:
    """Look up and match; return how many packages were asked about, and matches."""
    asked, _ = subjects(packages, "Debian:12")
    names: dict[str, set[str]] = defaultdict(set)
    for subject in asked:
        names[subject.ecosystem].add(subject.name)
    hits = {ecosystem: database.lookup(ecosystem, sorted(wanted)) for ecosystem, wanted in names.items()}
    return len(asked), len(find(asked, hits).found)


def whole(database: Database, packages: Sequence[Package]) -> int:
    """Do all that a scan does with its packages: match, look up details, scores and exploits, and make findings."""
    asked, _ = subjects(packages, "Debian:12")
    names: dict[str, set[str]] = defaultdict(set)
    for subject in asked:
        names[subject.ecosystem].add(subject.name)
    matches = find(asked, {ecosystem: database.lookup(ecosystem, sorted(wanted)) for ecosystem, wanted in names.items()})
    advisories = database.details([match.hit for match in matches.found])
    cves = sorted({n for match in matches.found for group in names_of(match, advisories) for n in group if n.startswith("CVE-")})
    known = Knowledge(advisories, database.vectors(cves), database.kev(cves), database.epss(cves), database.ssvc(cves))
    return len(merge(matches.found, matches.denied, known, {}))


def matching(cache: Path) -> None:
    """Measure 500 packages with the database warm."""
    packages = installed(cache)
    with open_database(cache) as database:
        asked, found = ask(database, packages)
        seconds = timed(lambda: ask(database, packages), 9)
        findings = whole(database, packages)
        all_of_it = timed(lambda: whole(database, packages), 5)
    say(f"{asked} packages looked up and matched ({found} matches)", f"{seconds * 1e3:.1f} ms", "15 ms", met=seconds < 0.015)
    say(f"  and {findings} findings made, with severities and scores", f"{all_of_it * 1e3:.0f} ms")


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mirror", type=Path)
    parser.add_argument("--updates", type=int, default=100, help="updates of ten records each (default 100)")
    parser.add_argument("--runs", type=int, default=3, help="builds, and updates without news (default 3)")
    given = parser.parse_args()
    mirror = given.mirror.resolve()
    names = sorted(name for name, one in sources().items() if (mirror / one.feed.path).is_file())
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    with tempfile.TemporaryDirectory() as place, served(mirror) as (address, source):
        folder = Path(place)
        print(f"{len(names)} feeds, {sum(map(len, source.records.values())):,} records of OSV among them; revision {revision}\n")
        cache = building(folder, names, address, given.runs)
        ecosystems(cache, malicious(folder))
        looking_up(cache)
        matching(cache)
        print()
        changing(cache, names, address, source)
        growing(folder, [name for name in names if name.startswith("osv/")], address, source, given.updates)
    return 0


if __name__ == "__main__":
    sys.exit(main())
