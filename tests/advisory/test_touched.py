"""What a fleet has to match again: never too little, and not everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisoryhome import NOON, VECTOR, Home, kev, publish, scored, worlds
from feedsim import archive, record, tracker
from pratique.advisory.lookup import Database, open_database
from pratique.advisory.touched import touched
from pratique.match.find import find, subjects
from pratique.match.merge import Knowledge, merge, names_of
from pratique.model.finding import Finding
from pratique.model.inventory import Location, Package

_DAY = timedelta(days=1)
_PACKAGES = ("flask", "jinja2", "requests")


def _answers(database: Database, pair: tuple[str, str]) -> Any:
    """All that matching asks of one package."""
    ecosystem, package = pair
    hits = database.lookup(ecosystem, [package])
    details = database.details([hit for found in hits.values() for hit in found])
    names = {name for one in details.values() for name in (one.id, *one.aliases, *one.related)}
    return hits, details, database.vectors(names), database.kev(names), database.epss(names)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Home]:
    return lambda: Home(tmp_path_factory.mktemp("home"))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(worlds, min_size=2, max_size=3), worlds)
def test_what_is_not_touched_answers_as_before(
    fresh: Callable[[], Home], story: list[dict[str, Any]], elsewhere: dict[str, Any]
) -> None:
    """For every two states of one database, either way round, and for a database of another lineage."""
    home = fresh()
    moments: list[datetime | None] = []
    for turn, world in enumerate(story):
        publish(home, world)
        home.update(NOON + turn * _DAY)
        moments.append(NOON + turn * _DAY)
    other = fresh()
    publish(other, elsewhere)
    other.update(NOON)
    states: list[Callable[[], Database]] = [partial(home.at, moment) for moment in (*moments, None)]
    states.append(partial(other.at, None))
    for first in states:
        for second in states:
            with first() as before, second() as after:
                pairs = touched(before, after)
                for package in _PACKAGES:
                    differs = _answers(before, ("PyPI", package)) != _answers(after, ("PyPI", package))
                    assert differs == (("PyPI", package) in pairs), package


_VERSIONS = ("0.5", "1", "1.5", "2", "3")
_FLEET = [
    Package(
        name=name,
        version=version,
        purl=f"pkg:pypi/{name}@{version}",
        type="pypi",
        ecosystem="PyPI",
        locations=(Location("app/METADATA", "sha256:1"),),
    )
    for name in _PACKAGES
    for version in _VERSIONS
]


def _findings(database: Database, package: Package) -> list[Finding]:
    """All that a scan finds in an image of one package."""
    asked, _ = subjects([package], "")
    hits = {subject.ecosystem: database.lookup(subject.ecosystem, [subject.name]) for subject in asked}
    matches = find(asked, hits)
    advisories = database.details([match.hit for match in matches.found])
    cves = {name for match in matches.found for names in names_of(match, advisories) for name in names if name.startswith("CVE-")}
    known = Knowledge(advisories, database.vectors(cves), database.kev(cves), database.epss(cves), database.ssvc(cves))
    return merge(matches.found, matches.denied, known, {})


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(worlds, worlds)
def test_a_fleet_matched_in_both_states(fresh: Callable[[], Home], then: dict[str, Any], now: dict[str, Any]) -> None:
    """Everything matched twice, by brute force: whatever is found otherwise is of a package that is named."""
    home = fresh()
    publish(home, then)
    home.update(NOON)
    publish(home, now)
    home.update(NOON + _DAY)
    with home.at(NOON) as before, home.at(None) as after:
        pairs = touched(before, after)
        for package in _FLEET:
            if _findings(before, package) != _findings(after, package):
                assert ("PyPI", package.name) in pairs


def _touched(home: Home, *, scores: bool = True) -> set[tuple[str, str]]:
    with home.at(NOON) as before, home.at(None) as after:
        return touched(before, after, scores=scores)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three packages: two share a CVE, one has none; all CVEs have scores."""
    home = Home(tmp_path)
    home.publish(pypi=archive(_records()), kev=kev(), epss=_scores())
    home.update(NOON)
    return home


def _records(**more: Any) -> list[dict[str, Any]]:
    return [
        record("PYSEC-1", "flask", "1", aliases=["CVE-2026-1"]),
        record("PYSEC-2", "jinja2", "1", aliases=["CVE-2026-1"], **more),
        record("PYSEC-3", "requests", "1"),
    ]


def _scores(score: float = 0.1, date: str = "2026-03-01") -> bytes:
    return scored({"CVE-2026-1": (score, 0.5), "CVE-2026-2": (0.3, 0.5)}, date)


def test_nothing_changed(home: Home) -> None:
    """Nothing to do."""
    home.update(NOON + _DAY)
    assert _touched(home) == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"summary": "very bad"}, {"jinja2"}),
        ({"modified": "2026-02-02T00:00:00Z"}, {"jinja2"}),
        ({"severity": [{"type": "CVSS_V3", "score": VECTOR}]}, {"flask", "jinja2"}),
    ],
)
def test_a_changed_record_touches_its_package_and_whom_it_serves(home: Home, change: dict[str, Any], expected: set[str]) -> None:
    """A vector that one source gives a CVE serves all that share the CVE; a title does not."""
    home.publish(pypi=archive(_records(**change)))
    home.update(NOON + _DAY)
    assert {package for _, package in _touched(home)} == expected


def test_a_new_record_touches_its_package(home: Home) -> None:
    """And no other, if it shares no name."""
    home.publish(pypi=archive([*_records(), record("PYSEC-9", "requests", "2")]))
    home.update(NOON + _DAY)
    assert _touched(home) == {("PyPI", "requests")}


def test_exploits_and_scores_touch_who_has_the_vulnerability(home: Home) -> None:
    """A CVE that nobody has touches nobody; who does not judge by scores can leave them out."""
    home.publish(kev=kev("CVE-2026-2"), epss=_scores(0.1))
    home.update(NOON + _DAY)
    assert _touched(home) == set()
    home.publish(epss=_scores(0.2))
    home.update(NOON + 2 * _DAY)
    assert _touched(home) == {("PyPI", "flask"), ("PyPI", "jinja2")}
    assert _touched(home, scores=False) == set()
    home.publish(kev=kev("CVE-2026-1"))
    home.update(NOON + 3 * _DAY)
    assert _touched(home, scores=False) == {("PyPI", "flask"), ("PyPI", "jinja2")}


def test_what_changed_back_touches_nobody(home: Home) -> None:
    """The history names it, the answers are the same."""
    home.publish(pypi=archive(_records(summary="x")))
    home.update(NOON + _DAY)
    home.publish(pypi=archive(_records()))
    home.update(NOON + 2 * _DAY)
    assert _touched(home) == set()


def test_a_feed_that_appears_touches_its_packages_and_those_it_answers_for_now(tmp_path: Path) -> None:
    """The tracker takes the place of Debian's notices; the starter set ceases to answer."""
    home = Home(tmp_path)
    home.publish(pypi=archive(_records()))
    for path, content in (
        ("osv/Debian/all.zip", archive([record("DSA-1-1", "openssl", "3", "Debian:12")])),
        ("debian/tracker/data/json", tracker({"zlib": {"CVE-2020-1": "3"}})),
    ):
        (home.mirror / path).parent.mkdir(parents=True, exist_ok=True)
        (home.mirror / path).write_bytes(content)
    home.update(NOON, "osv/PyPI", "osv/Debian")
    copytree(home.cache, tmp_path / "old")
    home.update(NOON + _DAY, "debian/tracker")
    with open_database(tmp_path / "old") as before, home.at(None) as after:
        assert touched(before, after) == {("Debian:12", "openssl"), ("Debian:12", "zlib")}
    with open_database(tmp_path / "none") as before, home.at(None) as after:
        pairs = touched(before, after)
        assert ("PyPI", "jinja2") in pairs
        assert {("PyPI", name) for name in before.starter.packages("PyPI")} <= pairs
        assert not {pair for pair in pairs if pair[0] == "npm"}


def test_two_folders_of_one_lineage(home: Home, tmp_path: Path) -> None:
    """A copy of an earlier state is compared by the history of the later one."""
    copytree(home.cache, tmp_path / "old")
    home.publish(pypi=archive([*_records(), record("PYSEC-9", "requests", "2")]))
    home.update(NOON + _DAY)
    with open_database(tmp_path / "old") as before, home.at(None) as after:
        assert touched(before, after) == touched(after, before) == {("PyPI", "requests")}
