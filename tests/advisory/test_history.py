"""Looking back: between updates, at equal seconds, before the beginning, after deletions and returns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisoryhome import NOON, VECTOR, Home, everything, kev, publish, scored, worlds
from feedsim import archive, record
from pratique.advisory.index import database_folder, read
from pratique.advisory.lookup import Database, open_database, verify


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _fixed(database: Database, package: str = "flask") -> list[str]:
    return [hit.ranges[0].fixed for hit in database.lookup("PyPI", [package]).get(package, [])]


def test_between_updates(home: Home) -> None:
    """Before an update lies what the one before it brought; at its own second it is there."""
    for day, fixed in enumerate(("1.0", "2.0", "3.0")):
        home.publish(pypi=archive([record("PYSEC-1", "flask", fixed)]))
        home.update(NOON + timedelta(days=day), "osv/PyPI")
    for moment, expected in (
        (NOON, "1.0"),
        (NOON + timedelta(days=1, seconds=-1), "1.0"),
        (NOON + timedelta(days=1, microseconds=-1), "1.0"),
        (NOON + timedelta(days=1), "2.0"),
        (NOON + timedelta(days=1, hours=12), "2.0"),
        (NOON + timedelta(days=2), "3.0"),
        (NOON + timedelta(days=9), "3.0"),
    ):
        with home.at(moment) as database:
            assert _fixed(database) == [expected], moment
            assert database.as_of == moment
    with home.at(None) as database:
        assert _fixed(database) == ["3.0"]
        assert database.as_of is None
    assert set(verify(home.cache).values()) == {""}


def test_at_equal_seconds(home: Home) -> None:
    """Of several updates in one second the last counts from that second on, and what was before the first counts until then."""
    for at, fixed in ((0, "1"), (60, "2"), (60, "3"), (60, "2"), (120, "4")):
        home.publish(pypi=archive([record("PYSEC-1", "flask", fixed), record(f"PYSEC-1{fixed}", "jinja2", fixed)]))
        home.update(NOON + timedelta(seconds=at), "osv/PyPI")
    for at, expected in ((0, "1"), (59, "1"), (60, "2"), (119, "2"), (120, "4")):
        with home.at(NOON + timedelta(seconds=at)) as database:
            assert (_fixed(database), _fixed(database, "jinja2")) == ([expected], [expected]), at


def test_a_clock_that_was_ahead(home: Home) -> None:
    """What it dated counts from the next update on; before, what was known before. Nothing waits for the day that it showed."""
    ahead = NOON + timedelta(days=12)
    for moment, fixed in ((NOON, 1), (NOON + timedelta(days=1), 2), (ahead, 3), (ahead + timedelta(days=1), 4)):
        home.publish(pypi=archive([record("PYSEC-1", "flask", f"{fixed}")]), epss=scored({"CVE-2026-1": (fixed / 10, 0.5)}))
        home.update(moment)
    home.publish(pypi=archive([record("PYSEC-1", "flask", "5")]), epss=scored({"CVE-2026-1": (0.5, 0.5)}))
    home.update(NOON + timedelta(days=9))
    home.publish(pypi=archive([record("PYSEC-1", "flask", "6")]), epss=scored({"CVE-2026-1": (0.6, 0.5)}))
    home.update(NOON + timedelta(days=10))
    for day, expected in ((0, 1), (1, 2), (8, 2), (9, 5), (10, 6), (13, 6)):
        with home.at(NOON + timedelta(days=day)) as database:
            assert _fixed(database) == [f"{expected}"], day
            assert database.epss(["CVE-2026-1"])["CVE-2026-1"].score == expected / 10, day
    assert set(verify(home.cache).values()) == {""}


def test_a_database_that_was_born_ahead(home: Home) -> None:
    """It is known since its first update by the right clock."""
    home.publish(pypi=archive([record("PYSEC-1", "flask", "1")]))
    home.update(NOON + timedelta(days=3650), "osv/PyPI")
    home.publish(pypi=archive([record("PYSEC-1", "flask", "2")]))
    home.update(NOON, "osv/PyPI")
    with home.at(NOON) as database:
        assert _fixed(database) == ["2"]
    with home.at(NOON - timedelta(seconds=1)) as database:
        assert _fixed(database) == []


def test_two_updates_in_the_second_of_birth(home: Home) -> None:
    """Before there was anything nothing is known, and at once the later of the two is."""
    for fixed in ("1", "2"):
        home.publish(pypi=archive([record("PYSEC-1", "flask", fixed)]))
        home.update(NOON, "osv/PyPI")
    with home.at(NOON) as database:
        assert _fixed(database) == ["2"]
    with home.at(NOON - timedelta(seconds=1)) as database:
        assert _fixed(database) == []


def test_before_the_beginning(home: Home) -> None:
    """Nothing is known then, not even by the starter set, and that is a gap of each source."""
    home.publish(pypi=archive([record("PYSEC-1", "jinja2", "1")]), kev=kev("CVE-2026-1"))
    home.update(NOON, "osv/PyPI", "cisa/kev")
    with home.at(NOON - timedelta(seconds=1)) as database:
        assert database.lookup("PyPI", ["jinja2"]) == {}
        assert database.kev(["CVE-2026-1", "CVE-2021-44228"]) == {}
        assert database.vectors(["CVE-2021-44228"]) == {}
        assert database.info(["PyPI"]).kind == "none"
        gaps = database.gaps(["PyPI", "Debian:12"], NOON)
    assert {gap.code for gap in gaps} == {"advisories.not-known-yet"}
    assert {gap.source for gap in gaps} == {"osv/PyPI", "debian/tracker", "cisa/kev", "epss/current"}
    assert any("since 2026-03-01T12:00:00Z" in gap.message for gap in gaps)
    with open_database(home.cache / "nothing", as_of=NOON) as database:
        assert {gap.code for gap in database.gaps(["PyPI"], NOON)} == {"advisories.not-known-yet"}


def test_a_feed_that_came_later(home: Home) -> None:
    """Before it came, the others answer, and its absence is a gap."""
    home.publish(pypi=archive([record("PYSEC-1", "flask", "1")]), npm=archive([record("GHSA-1", "lodash", "4", "npm")]))
    home.update(NOON, "osv/PyPI")
    home.update(NOON + timedelta(days=1), "osv/npm")
    with home.at(NOON) as database:
        assert _fixed(database) == ["1"]
        assert database.lookup("npm", ["lodash"]) == {}
        codes = {(gap.code, gap.source) for gap in database.gaps(["npm"], NOON)}
    assert ("advisories.not-known-yet", "osv/npm") in codes
    with home.at(NOON + timedelta(days=1)) as database:
        assert set(database.lookup("npm", ["lodash"])) == {"lodash"}


def test_deletion_and_return(home: Home) -> None:
    """A record that goes and comes back is there, not there, and there again; so are its names, vectors and package."""
    severity = [{"type": "CVSS_V3", "score": VECTOR}]
    one = record("PYSEC-1", "flask", "1", aliases=["CVE-2026-1"], severity=severity)
    other = record("PYSEC-2", "jinja2", "1")
    for day, records in enumerate(([one, other], [other], [one, other], [])):
        home.publish(pypi=archive(records))
        home.update(NOON + timedelta(days=day), "osv/PyPI")
    for day, there in ((0, True), (1, False), (2, True), (3, False)):
        with home.at(NOON + timedelta(days=day, hours=3)) as database:
            assert bool(_fixed(database)) is there
            assert database.vectors(["CVE-2026-1"]) == ({"CVE-2026-1": [(VECTOR, "osv/PyPI")]} if there else {})
            assert database.aliases("CVE-2026-1") == (["PYSEC-1"] if there else [])
            assert ("osv/PyPI", "PyPI", "flask", 1) in list(database.packages("")) or not there
            assert next(iter(database.info(["PyPI"]).sources)).records == (0 if day == 3 else 1 + there)


def test_exploits_and_scores_of_then(home: Home) -> None:
    """KEV by the day of the listing; EPSS with its values and the date of the scores."""
    home.publish(kev=kev("CVE-2026-1"), epss=scored({"CVE-2026-1": (0.1, 0.2)}, "2026-03-01"))
    home.update(NOON, "cisa/kev", "epss/current")
    home.publish(kev=kev("CVE-2026-2"), epss=scored({"CVE-2026-1": (0.9, 0.95), "CVE-2026-2": (0.5, 0.5)}, "2026-03-02"))
    home.update(NOON + timedelta(days=1), "cisa/kev", "epss/current")
    home.publish(kev=kev("CVE-2026-1", "CVE-2026-2"), epss=scored({"CVE-2026-2": (0.6, 0.5)}, "2026-03-03"))
    home.update(NOON + timedelta(days=2), "cisa/kev", "epss/current")
    expected = {
        0: ({"CVE-2026-1"}, {"CVE-2026-1": (0.1, 0.2, "2026-03-01")}),
        1: ({"CVE-2026-2"}, {"CVE-2026-1": (0.9, 0.95, "2026-03-02"), "CVE-2026-2": (0.5, 0.5, "2026-03-02")}),
        2: ({"CVE-2026-1", "CVE-2026-2"}, {"CVE-2026-2": (0.6, 0.5, "2026-03-03")}),
    }
    for day, (listed, scores) in expected.items():
        with home.at(NOON + timedelta(days=day)) as database:
            assert set(database.kev(["CVE-2026-1", "CVE-2026-2"])) == listed
            found = database.epss(["CVE-2026-1", "CVE-2026-2"])
            assert {cve: (one.score, one.percentile, one.date) for cve, one in found.items()} == scores


def test_staleness_of_then(home: Home) -> None:
    """Whether a feed was stale is judged by the fetches of then, not by those since."""
    home.publish(pypi=archive([record("PYSEC-1", "flask", "1")]))
    for day in (0, 1, 2, 20, 21):
        home.update(NOON + timedelta(days=day), "osv/PyPI")
    assert len(read(database_folder(home.cache)).feeds["osv/PyPI"].fetches) == 2

    def stale(day: int) -> bool:
        moment = NOON + timedelta(days=day)
        with home.at(moment) as database:
            return any(gap.code == "advisories.stale" for gap in database.gaps(["PyPI"], moment))

    assert [stale(day) for day in (0, 1, 8, 10, 19, 20, 22)] == [False, False, False, True, True, False, False]


def test_a_clock_that_was_set_back(home: Home) -> None:
    """Knowledge does not become older: what came with the wrong clock counts from the last change on."""
    for at, fixed in ((100, "1"), (50, "2"), (200, "3")):
        home.publish(pypi=archive([record("PYSEC-1", "flask", fixed)]))
        home.update(NOON + timedelta(seconds=at), "osv/PyPI")
    with home.at(NOON + timedelta(seconds=99)) as database:
        assert _fixed(database) == []
    with home.at(NOON + timedelta(seconds=150)) as database:
        assert _fixed(database) == ["2"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Home]:
    return lambda: Home(tmp_path_factory.mktemp("home"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(worlds, st.integers(0, 2)), min_size=1, max_size=5))
def test_the_past_is_what_was_answered_then(fresh: Callable[[], Home], story: list[tuple[dict[str, Any], int]]) -> None:
    """Whatever was answered after an update is answered again, as of then, after all later ones."""
    home, moment = fresh(), NOON
    answers: dict[datetime, dict[str, Any]] = {}
    for world, wait in story:
        moment += timedelta(seconds=wait)
        publish(home, world)
        home.update(moment)
        with home.at(None) as database:
            answers[moment] = everything(database)
    for then, answer in answers.items():
        with home.at(then) as database:
            assert everything(database) == answer
