"""A mirror as a folder and a cache that is updated from it at moments of a test's choice; random states of the world for it."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from feedsim import archive, record
from pratique.advisory.lookup import Database, open_database
from pratique.advisory.update import Options, Outcome, update

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
_NAMES = ["osv/PyPI", "cisa/kev", "epss/current"]
_PLACES = {
    "pypi": "osv/PyPI/all.zip",
    "npm": "osv/npm/all.zip",
    "kev": "cisa/known_exploited_vulnerabilities.json",
    "epss": "epss/epss_scores-current.csv.gz",
}


class Home:
    """A mirror as a folder, and a cache that is updated from it at moments of our choice."""

    def __init__(self, folder: Path) -> None:
        self.mirror, self.cache = folder / "mirror", folder / "cache"

    def publish(self, **files: bytes) -> None:
        """Write feeds: pypi=, npm=, kev=, epss=."""
        for name, content in files.items():
            path = self.mirror / _PLACES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(content)

    def update(self, at: datetime, *names: str) -> dict[str, Outcome]:
        """Fetch, at a moment."""
        options = Options(mirror=self.mirror.as_uri())
        return {one.name: one for one in update(self.cache, names or _NAMES, options, now=lambda: at)}

    def at(self, moment: datetime | None) -> Database:
        """Open the database as of a moment."""
        return open_database(self.cache, as_of=moment)


def scored(scores: dict[str, tuple[float, float]], date: str = "2026-01-01") -> bytes:
    """Write EPSS scores as FIRST publishes them."""
    lines = [f"#model_version:v1,score_date:{date}T00:00:00+0000", "cve,epss,percentile"]
    return gzip.compress("\n".join([*lines, *(f"{cve},{a},{b}" for cve, (a, b) in scores.items())]).encode(), mtime=0)


def kev(*cves: str) -> bytes:
    """Write CISA's catalogue."""
    entries = ",".join(f'{{"cveID": "{cve}", "dateAdded": "2026-01-01"}}' for cve in cves)
    return f'{{"vulnerabilities": [{entries}]}}'.encode()


def everything(database: Database, packages: tuple[str, ...] = ("flask", "jinja2", "requests")) -> dict[str, Any]:
    """Ask about everything."""
    cves = [f"CVE-2026-{n}" for n in range(1, 5)]
    hits = database.lookup("PyPI", packages)
    return {
        "hits": hits,
        "details": database.details([hit for found in hits.values() for hit in found]),
        "kev": database.kev(cves),
        "epss": database.epss(cves),
        "vectors": database.vectors(cves),
        "aliases": {cve: database.aliases(cve) for cve in cves},
        "found": {cve: sorted(database.find(cve), key=repr) for cve in cves},
        "affected": sorted(database.affected("CVE-2026-1"), key=repr),
        "packages": sorted(database.packages("")),
        "search": sorted((feed, one.id) for feed, one in database.search("")),
        "info": database.info(["PyPI"]).digest,
    }


_packages = st.sampled_from(["flask", "jinja2", "requests"])
_record = st.builds(
    lambda package, fixed, aliases, vector: (
        package,
        {"fixed": fixed, "aliases": aliases, "severity": [{"type": "CVSS_V3", "score": VECTOR}] if vector else []},
    ),
    _packages,
    st.sampled_from(["1", "2"]),
    st.lists(st.sampled_from(["CVE-2026-1", "CVE-2026-2"]), max_size=2, unique=True),
    st.booleans(),
)
worlds = st.fixed_dictionaries(
    {
        "records": st.dictionaries(st.sampled_from(["PYSEC-1", "PYSEC-2", "PYSEC-3"]), _record, max_size=3),
        "kev": st.sets(st.sampled_from(["CVE-2026-1", "CVE-2026-2"])),
        "epss": st.dictionaries(
            st.sampled_from(["CVE-2026-1", "CVE-2026-2", "CVE-2026-3"]), st.tuples(st.sampled_from([0.1, 0.2]), st.just(0.5))
        ),
    }
)


def publish(home: Home, world: dict[str, Any]) -> None:
    """Write one state of the world."""
    records = [record(name, package, **more) for name, (package, more) in world["records"].items()]
    home.publish(pypi=archive(records), kev=kev(*sorted(world["kev"])), epss=scored(world["epss"]))
