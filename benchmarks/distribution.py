"""Bytes of a published database, whole and by daily update: the mirror's OSV records are replayed by the days they were modified.

usage: python benchmarks/distribution.py MIRROR [--days N]

On each day the database has the records that were modified until then; what is modified on a day is new on that day, which costs
more than the change of a record that is there. Feeds without such dates stay as they are; --epss moves a tenth of EPSS's scores.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import shutil
import statistics
import tempfile
import time
import zipfile
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pratique.advisory.feeds import sources
from pratique.advisory.index import database_folder, read
from pratique.advisory.repository.publish import How as Publishing
from pratique.advisory.repository.publish import publish
from pratique.advisory.repository.pull import How, pull
from pratique.advisory.repository.shelf import Folder
from pratique.advisory.update import Options, update

EPSS = "epss/epss_scores-current.csv.gz"


class Replay:
    """The mirror as it was on a day."""

    def __init__(self, mirror: Path, folder: Path) -> None:
        self.mirror, self.folder = mirror, folder
        self.modified: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # ecosystem -> day -> ids
        with (mirror / "osv/modified_id.csv").open(newline="") as stream:
            for moment, name in csv.reader(stream):
                ecosystem, _, identifier = name.partition("/")
                self.modified[ecosystem][moment[:10]].append(identifier)
        for path in mirror.rglob("*"):
            if path.is_file() and path.name != "modified_id.csv":
                place = folder / path.relative_to(mirror)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(path)

    def days(self, count: int) -> list[str]:
        """The last days on which anything was modified."""
        return sorted({day for days in self.modified.values() for day in days})[-count:]

    def until(self, day: str, *, first: bool) -> int:
        """Let OSV's archives have what was modified until a day; return how many records are of that very day."""
        news = 0
        for ecosystem, days in self.modified.items():
            here = days.get(day, [])
            later = {identifier for other, ids in days.items() if other > day for identifier in ids}
            if not here and not (first and later):
                continue
            news += len(here)
            archive = self.mirror / "osv" / ecosystem / "all.zip"
            place = self.folder / "osv" / ecosystem / "all.zip"
            place.unlink()
            with zipfile.ZipFile(archive) as source, zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
                for member in source.infolist():
                    if member.filename.removesuffix(".json") not in later:
                        target.writestr(member, source.read(member))
        return news

    def epss(self, number: int) -> None:
        """Move one score in ten a little, as a day does, and the percentiles with them."""
        chance = random.Random(number)
        place = self.folder / EPSS
        with gzip.open(place, "rt") as stream:
            head, columns, *rows = stream.read().splitlines()
        scores = []
        for row in rows:
            cve, score, _ = row.split(",")
            value = float(score) * chance.uniform(0.9, 1.1) if chance.random() < 0.1 else float(score)
            scores.append((cve, min(value, 1.0)))
        rank = {cve: at for at, (cve, _) in enumerate(sorted(scores, key=lambda pair: pair[1]), 1)}
        lines = [f"{cve},{score:.5f},{rank[cve] / len(scores):.5f}" for cve, score in scores]
        place.unlink()
        with gzip.open(place, "wt", compresslevel=1) as stream:
            stream.write("\n".join((head, columns, *lines)) + "\n")


def main() -> None:
    """Replay, and print a line a day."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mirror", type=Path)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--epss", action="store_true", help="move the scores of EPSS every day as well")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="distribution-"))
    try:
        rows = _replay(Replay(given.mirror, work / "mirror"), work, given.days, moves=given.epss)
    finally:
        shutil.rmtree(work)
    shares = [row["share"] for row in rows[1:]]
    print(f"share of the full download: median {statistics.median(shares):.2%}, largest {max(shares):.2%}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


def _replay(replay: Replay, work: Path, count: int, *, moves: bool) -> list[dict[str, float]]:
    cache, keys, client, dest = work / "cache", work / "keys", work / "client", Folder(work / "dest")
    names = sorted(name for name, source in sources().items() if (replay.folder / source.feed.path).is_file())
    rows: list[dict[str, float]] = []
    for number, day in enumerate(replay.days(count + 1)):
        now = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=23)
        news = replay.until(day, first=not number)
        if moves and number:
            replay.epss(number)
        began = time.process_time()
        update(cache, names, Options(mirror=(work / "mirror").as_uri()), now=lambda now=now: now)  # type: ignore[misc]
        updated = time.process_time()
        done = publish(cache, dest, keys, Publishing(now=now))
        published = time.process_time()
        root = (keys / "roots/1.root.json").read_bytes()
        pulled = pull(client, dest, root, How(now=now))
        ended = time.process_time()
        fresh = pull(work / "fresh", dest, root, How(now=now))
        shutil.rmtree(work / "fresh")
        here = read(database_folder(client)).feeds
        assert {n: e.state for n, e in here.items()} == {n: e.state for n, e in read(database_folder(cache)).feeds.items()}
        rows.append(
            {
                "records": news,
                "bytes": pulled.bytes,
                "changes": done.change_bytes,
                "full": fresh.bytes,
                "share": pulled.bytes / fresh.bytes,
                "unpacked": sum(entry.size for entry in here.values()),
            }
        )
        print(
            f"{day}: {news} records, pulled {pulled.bytes:,} bytes ({len(pulled.changed)} feeds by {done.change_bytes:,} bytes "
            f"of changes, {len(pulled.whole)} whole) of {fresh.bytes:,}: {rows[-1]['share']:.2%}; CPU: update "
            f"{updated - began:.1f}, publish {published - updated:.1f}, pull {ended - published:.1f}",
            flush=True,
        )
    return rows


if __name__ == "__main__":
    main()
