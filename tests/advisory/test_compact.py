"""How far back the database reaches, and that it never answers wrongly beyond that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisoryhome import NOON, Home, everything, kev, publish, scored, worlds
from feedsim import archive, record
from pratique.advisory.compact import compact
from pratique.advisory.index import database_folder, read
from pratique.advisory.layout import KEEP_SCORES_SECONDS, KEEP_SECONDS
from pratique.advisory.lookup import verify

_DAY = 86_400


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Home]:
    return lambda: Home(tmp_path_factory.mktemp("home"))


def _fixed(home: Home, moment: datetime) -> str:
    """Return the fix known then; "?" where the database says that it does not know any more."""
    with home.at(moment) as database:
        codes = {(gap.code, gap.source) for gap in database.gaps(["PyPI"], moment)}
        hits = database.lookup("PyPI", ["flask"]).get("flask", [])
        if ("advisories.history-compacted", "osv/PyPI") in codes:
            assert not hits
            return "?"
        return hits[0].ranges[0].fixed


def test_what_was_dropped_is_a_gap(home: Home) -> None:
    """From the last dropped update on all is as it was; before it nothing is said but that."""
    for day in range(5):
        home.publish(pypi=archive([record("PYSEC-1", "flask", f"{day}")]))
        home.update(NOON + timedelta(days=day), "osv/PyPI")
    now = NOON + timedelta(days=5)
    assert compact(home.cache, 10 * _DAY, now=lambda: now) == []
    (done,) = compact(home.cache, 3 * _DAY, now=lambda: now)
    assert (done.name, done.rows) == ("osv/PyPI", 2)  # of the updates of days 1 and 2
    assert [_fixed(home, NOON + timedelta(days=day)) for day in range(5)] == ["?", "?", "2", "3", "4"]
    assert _fixed(home, NOON + timedelta(days=2, seconds=-1)) == "?"
    assert set(verify(home.cache).values()) == {""}
    with home.at(NOON + timedelta(days=1)) as database:
        (gap,) = (gap for gap in database.gaps(["PyPI"], NOON) if gap.code == "advisories.history-compacted")
        assert "2026-03-03T12:00:00Z" in gap.message
    assert len(compact(home.cache, 0, now=lambda: now)) == 1
    assert [_fixed(home, NOON + timedelta(days=day)) for day in range(3, 5)] == ["?", "4"]


def test_an_update_forgets_by_itself(home: Home) -> None:
    """More than 400 days of advisories and a month of scores are not kept."""
    for moment in (NOON, NOON + timedelta(days=1), NOON + timedelta(seconds=KEEP_SECONDS + _DAY)):
        home.publish(pypi=archive([record("PYSEC-1", "flask", f"{moment:%d}")]))
        home.update(moment, "osv/PyPI")
    assert _fixed(home, NOON) == "?"
    assert _fixed(home, NOON + timedelta(days=1)) == "02"
    for day, score in ((0, 0.1), (1, 0.2), (2 + KEEP_SCORES_SECONDS // _DAY, 0.3)):
        home.publish(epss=scored({"CVE-2026-1": (score, 0.5)}))
        home.update(NOON + timedelta(days=day), "epss/current")
    with home.at(NOON) as database:
        assert database.epss(["CVE-2026-1"]) == {}
        assert ("advisories.history-compacted", "epss/current") in {(g.code, g.source) for g in database.gaps([], NOON)}
    with home.at(NOON + timedelta(days=1)) as database:
        assert database.epss(["CVE-2026-1"])["CVE-2026-1"].score == 0.2


def test_nothing_to_compact(tmp_path: Path) -> None:
    """No database, and one without a past."""
    assert compact(tmp_path / "none") == []
    home = Home(tmp_path)
    home.publish(kev=kev("CVE-2026-1"))
    home.update(NOON, "cisa/kev")
    assert compact(home.cache, 0) == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(worlds, min_size=2, max_size=5), st.integers(0, 5))
def test_compaction_never_gives_a_wrong_answer(fresh: Callable[[], Home], story: list[dict[str, Any]], keep: int) -> None:
    """Each moment answers as it did, or a source of it says that its history is not kept."""
    home = fresh()
    answers: dict[datetime, dict[str, Any]] = {}
    for day, world in enumerate(story):
        publish(home, world)
        home.update(NOON + timedelta(days=day))
        with home.at(None) as database:
            answers[NOON + timedelta(days=day)] = everything(database)
    states = {name: entry.state for name, entry in read(database_folder(home.cache)).feeds.items()}
    compact(home.cache, keep * _DAY, now=lambda: NOON + timedelta(days=len(story)))
    assert {name: entry.state for name, entry in read(database_folder(home.cache)).feeds.items()} == states
    for moment, answer in answers.items():
        with home.at(moment) as database:
            known = {gap.source for gap in database.gaps(["PyPI"], moment) if gap.code == "advisories.history-compacted"}
            now = everything(database)
        if not known:
            assert now == answer
        for source, parts in (("osv/PyPI", ("hits", "vectors", "aliases")), ("cisa/kev", ("kev",)), ("epss/current", ("epss",))):
            for part in parts:
                assert now[part] == answer[part] or (source in known and not any(now[part].values()))
    assert set(verify(home.cache).values()) == {""}
