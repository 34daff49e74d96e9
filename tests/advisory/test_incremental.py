"""Updates by single records: what is fetched, what comes of it, and what happens when any of it fails."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedsim import FeedServer, archive, record, serving
from pratique.advisory import fetch, incremental
from pratique.advisory.index import database_folder, read
from pratique.advisory.lookup import open_database
from pratique.advisory.update import Options, Outcome, update

pytestmark = pytest.mark.loopback

_NOW = datetime(2026, 11, 25, tzinfo=UTC)
_LIST = "osv/PyPI/modified_id.csv"
Records = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.01)


def _publish(server: FeedServer, records: Records) -> None:
    """Lay records out as OSV does: archive, list with the newest first, each by itself."""
    lines = sorted(((one["modified"], name) for name, one in records.items()), reverse=True)
    server.files = {
        "osv/PyPI/all.zip": archive(list(records.values())),
        _LIST: "".join(f"{modified},{name}\n" for modified, name in lines).encode(),
        **{f"osv/PyPI/{name}.json": json.dumps(one).encode() for name, one in records.items()},
    }


def _one(number: int, fixed: str = "2.0", day: int = 1, **more: Any) -> dict[str, Any]:
    made = record(f"PYSEC-2026-{number}", f"package-{number % 7}", fixed, aliases=[f"CVE-2026-{number}"], **more)
    return {**made, "modified": f"2026-02-{day:02d}T00:00:00.123456Z"}


def _records(count: int = 20) -> Records:
    return {one["id"]: one for one in map(_one, range(count))}


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving({}) as state:
        _publish(state, _records())
        yield state


def _update(server: FeedServer, cache: Path, days: int = 0) -> Outcome:
    (outcome,) = update(cache, ["osv/PyPI"], Options(mirror=server.url, attempts=2), now=lambda: _NOW + timedelta(days=days))
    return outcome


def _answers(cache: Path) -> Any:
    """Return all that the database says of the packages of these tests."""
    with open_database(cache) as database:
        hits = database.lookup("PyPI", [f"package-{n}" for n in range(7)])
        details = database.details([hit for listed in hits.values() for hit in listed])
        info = database.info(["PyPI"])
    return msgspec.to_builtins(
        (hits, sorted(details.values(), key=lambda one: one.id), info.sources[0].records, info.sources[0].newest)
    )


def _asked(server: FeedServer, since: int) -> list[str]:
    return [path for path, _ in server.asked[since:]]


def test_the_archive_comes_first_and_then_only_headers(server: FeedServer, tmp_path: Path) -> None:
    """The second update asks for the list on condition, and gets no byte of it."""
    assert _update(server, tmp_path).status == "updated"
    asked, sent = len(server.asked), server.bodies()
    assert _update(server, tmp_path, 1).status == "unchanged"
    assert _asked(server, asked) == [_LIST]
    assert server.bodies() == sent


def test_a_changed_record_comes_alone(server: FeedServer, tmp_path: Path) -> None:
    """List and record, not the archive; the answers are those of a database that was made anew."""
    _update(server, tmp_path / "a")
    changed = {**_records(), "PYSEC-2026-3": _one(3, "9.0", day=9), "PYSEC-2026-99": _one(99, day=8)}
    _publish(server, changed)
    asked = len(server.asked)
    assert _update(server, tmp_path / "a", 1).status == "updated"
    assert set(_asked(server, asked)) == {_LIST, "osv/PyPI/PYSEC-2026-3.json", "osv/PyPI/PYSEC-2026-99.json"}
    _update(server, tmp_path / "b", 1)
    assert _answers(tmp_path / "a") == _answers(tmp_path / "b")
    asked = len(server.asked)
    assert _update(server, tmp_path / "a", 2).status == "unchanged"
    assert _asked(server, asked) == [_LIST]


def test_a_record_of_the_future_hides_no_other(server: FeedServer, tmp_path: Path) -> None:
    """What was withdrawn and comes back is fetched, though a record bears a date that has not come yet."""
    ahead = {**_one(19), "modified": "2999-01-01T00:00:00Z"}
    _publish(server, {**_records(), ahead["id"]: ahead, "PYSEC-2026-3": _one(3, withdrawn="2026-02-01T00:00:00Z")})
    assert _update(server, tmp_path).records == 19
    _publish(server, {**_records(), ahead["id"]: ahead, "PYSEC-2026-3": _one(3, "9.0", day=9)})
    assert _update(server, tmp_path, 1).records == 20


def test_a_change_that_the_list_has_missed_comes_with_the_archive(server: FeedServer, tmp_path: Path) -> None:
    """Once a month all is compared, member by member."""
    _update(server, tmp_path)
    listed = server.files[_LIST]
    _publish(server, {**_records(), "PYSEC-2026-3": _one(3, "9.0", day=9)})
    server.files[_LIST] = listed
    for day in (1, 29):
        assert _update(server, tmp_path, day).status == "unchanged"
    asked = len(server.asked)
    assert _update(server, tmp_path, 31).status == "updated"
    assert _asked(server, asked) == [f"HEAD {_LIST}", "osv/PyPI/all.zip"]
    with open_database(tmp_path) as database:
        assert database.lookup("PyPI", ["package-3"])["package-3"][0].ranges[0].fixed == "9.0"
    asked = len(server.asked)
    assert _update(server, tmp_path, 32).status == "unchanged"
    assert _asked(server, asked) == [_LIST]


def test_what_is_withdrawn_or_not_listed_any_more_is_gone(server: FeedServer, tmp_path: Path) -> None:
    """Withdrawn records stay in the list, others leave it; both stop being known."""
    _update(server, tmp_path)
    changed = {**_records(), "PYSEC-2026-3": _one(3, day=9, withdrawn="2026-02-09T00:00:00Z")}
    del changed["PYSEC-2026-4"]
    _publish(server, changed)
    assert _update(server, tmp_path, 1).records == 18
    with open_database(tmp_path) as database:
        known = {hit.id for hits in database.lookup("PyPI", ["package-3", "package-4"]).values() for hit in hits}
        assert "PYSEC-2026-10" in known
        assert not known & {"PYSEC-2026-3", "PYSEC-2026-4"}
        assert database.find("CVE-2026-3") == []
    asked = len(server.asked)
    server.files[_LIST] = b"\n".join(reversed(server.files[_LIST].splitlines()))  # another list that says the same
    assert _update(server, tmp_path, 2).status == "unchanged"
    assert _asked(server, asked) == [_LIST, "osv/PyPI/PYSEC-2026-3.json"]  # no date is kept of what is withdrawn


def test_a_record_that_cannot_be_had_leaves_the_old_data(server: FeedServer, tmp_path: Path) -> None:
    """One of two records fails: nothing of either is taken; the next update takes both."""
    _update(server, tmp_path)
    before = _answers(tmp_path)
    _publish(server, {**_records(), "PYSEC-2026-1": _one(1, "7.0", day=9), "PYSEC-2026-2": _one(2, "7.0", day=9)})
    server.plan["osv/PyPI/PYSEC-2026-2.json"] = [503, 503]
    outcome = _update(server, tmp_path, 1)
    assert (outcome.status, outcome.kept) == ("failed", True)
    assert "PYSEC-2026-2.json" in outcome.why
    assert _answers(tmp_path) == before
    assert read(database_folder(tmp_path)).feeds["osv/PyPI"].failure is not None
    assert _update(server, tmp_path, 2).status == "updated"
    assert _answers(tmp_path) != before
    assert not list((tmp_path / "db/incoming").glob("*.whole"))


def test_a_record_that_is_not_there_means_the_archive(server: FeedServer, tmp_path: Path) -> None:
    """A mirror may have list and archive alone."""
    _update(server, tmp_path)
    _publish(server, {**_records(), "PYSEC-2026-1": _one(1, "7.0", day=9)})
    del server.files["osv/PyPI/PYSEC-2026-1.json"]
    asked = len(server.asked)
    assert _update(server, tmp_path, 1).status == "updated"
    assert "osv/PyPI/all.zip" in _asked(server, asked)
    asked = len(server.asked)
    assert _update(server, tmp_path, 2).status == "unchanged"
    assert _asked(server, asked) == [_LIST]


def test_many_changes_mean_the_archive(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether many are new or many are gone."""
    monkeypatch.setattr(incremental, "MAX_RECORDS", 2)
    _update(server, tmp_path)
    _publish(server, {**_records(), **{f"PYSEC-2026-{n}": _one(n, "7.0", day=9) for n in range(3)}})
    assert _update(server, tmp_path, 1).status == "updated"
    _publish(server, _records(10))
    assert _update(server, tmp_path, 2).records == 10
    assert not [path for path, _ in server.asked if path.endswith(".json")]


def test_records_beyond_the_bound_mean_the_archive(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is in memory at once is bounded."""
    monkeypatch.setattr(incremental, "MAX_BYTES", 100)
    _update(server, tmp_path)
    _publish(server, {**_records(), "PYSEC-2026-1": _one(1, "7.0", day=9)})
    asked = len(server.asked)
    assert _update(server, tmp_path, 1).status == "updated"
    assert _asked(server, asked)[-1] == "osv/PyPI/all.zip"


def test_an_odd_id_is_never_part_of_an_address(server: FeedServer, tmp_path: Path) -> None:
    """A list that names a path is answered with the archive."""
    _update(server, tmp_path)
    server.files[_LIST] = b"2026-03-01T00:00:00Z,../../secret\n" + server.files[_LIST]
    asked = len(server.asked)
    assert _update(server, tmp_path, 1).status == "unchanged"
    assert _asked(server, asked) == [_LIST, "osv/PyPI/all.zip"]


@pytest.mark.parametrize("content", [b"<html>not here</html>", b"", b"2026-03-01T00:00:00Z;PYSEC-1\n", b"yesterday,PYSEC-1\n"])
def test_a_list_that_is_none_leaves_the_old_data(server: FeedServer, tmp_path: Path, content: bytes) -> None:
    """Nothing vanishes because a list is damaged."""
    _update(server, tmp_path)
    before = _answers(tmp_path)
    server.files[_LIST] = content
    outcome = _update(server, tmp_path, 1)
    assert (outcome.status, outcome.kept) == ("failed", True)
    assert "list of changes" in outcome.why
    assert _answers(tmp_path) == before


def test_a_mirror_without_a_list_gives_archives(server: FeedServer, tmp_path: Path) -> None:
    """As before there were lists."""
    del server.files[_LIST]
    assert _update(server, tmp_path).status == "updated"
    sent = server.bodies()
    assert _update(server, tmp_path, 1).status == "unchanged"
    assert server.bodies() == sent
    _publish(server, {**_records(), "PYSEC-2026-1": _one(1, "7.0", day=9)})
    asked = len(server.asked)
    assert _update(server, tmp_path, 2).status == "updated"  # the list has come: from now on by single records
    assert _asked(server, asked) == [_LIST, "osv/PyPI/PYSEC-2026-1.json"]


@pytest.mark.parametrize("seed", range(3))
def test_any_history_ends_where_the_archive_does(tmp_path: Path, seed: int) -> None:
    """Records come, change, are withdrawn and go: after each update the database is as one made of the archive alone."""
    chance = random.Random(seed)
    records = _records()
    with serving({}) as server:
        _publish(server, records)
        _update(server, tmp_path / "a")
        for step in range(1, 6):
            for _ in range(4):
                number = chance.randrange(30)
                name = f"PYSEC-2026-{number}"
                if chance.random() < 0.25:
                    records.pop(name, None)
                else:
                    more = {"withdrawn": "2026-02-02T00:00:00Z"} if chance.random() < 0.2 else {}
                    records[name] = _one(number, f"{chance.randrange(9)}.0", day=step + 1, **more)
            _publish(server, records)
            _update(server, tmp_path / "a", step)
            _update(server, tmp_path / f"b{step}", step)
            assert _answers(tmp_path / "a") == _answers(tmp_path / f"b{step}")
        assert len([path for path, _ in server.asked if path == "osv/PyPI/all.zip"]) == 6


def test_dates_are_compared_to_the_fraction_where_both_have_one() -> None:
    """A list may round to seconds; a record of which no date is kept is new if it is as new as the newest."""
    assert incremental._same("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "")
    assert incremental._same("2026-01-01T00:00:00.500Z", "2026-01-01T00:00:00.5Z", "")
    assert not incremental._same("2026-01-01T00:00:00.6Z", "2026-01-01T00:00:00.5Z", "")
    assert not incremental._same("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", "")
    assert incremental._same("2026-01-01T00:00:00Z", "", "2026-01-02T00:00:00Z")
    assert not incremental._same("2026-01-03T00:00:00Z", "", "2026-01-02T00:00:00Z")
