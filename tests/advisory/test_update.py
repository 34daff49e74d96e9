"""Whole updates: what changed is built, what failed is kept, and whoever reads meanwhile sees one state or the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from feedsim import FeedServer, archive, record, serving, small_mirror, tarball
from pratique.advisory import fetch
from pratique.advisory import update as updating
from pratique.advisory.archive import Zip
from pratique.advisory.feeds import sources
from pratique.advisory.index import database_folder, locked, read
from pratique.advisory.lookup import open_database, verify
from pratique.advisory.update import Listener, Options, Outcome, ensure, required_missing, update
from pratique.model.advisory import Advisory, FeedRecord
from pratique.model.errors import DatabaseError

pytestmark = pytest.mark.loopback

_NOW = datetime(2026, 11, 25, tzinfo=UTC)
_NAMES = sorted(name for name, source in sources().items() if source.feed.path in small_mirror())


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with serving(small_mirror()) as state:
        yield state


def _update(server: FeedServer, cache: Path, names: list[str] | None = None, now: datetime = _NOW) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in update(cache, names or _NAMES, Options(mirror=server.url), now=lambda: now)}


def _files(cache: Path) -> dict[str, str]:
    return {name: entry.file for name, entry in read(database_folder(cache)).feeds.items()}


def test_a_full_update_brings_everything(server: FeedServer, tmp_path: Path) -> None:
    """Every feed is built, nothing of the download is left."""
    outcomes = _update(server, tmp_path)
    assert {outcome.status for outcome in outcomes.values()} == {"updated"}
    assert outcomes["osv/PyPI"].records == 2
    assert list((tmp_path / "db/incoming").iterdir()) == []
    assert set(verify(tmp_path).values()) == {""}


def test_an_unchanged_update_transfers_headers_only(server: FeedServer, tmp_path: Path) -> None:
    """Not a byte of a body; the time of the last success moves."""
    _update(server, tmp_path)
    sent, files = server.bodies(), _files(tmp_path)
    outcomes = _update(server, tmp_path, now=_NOW + timedelta(days=1))
    assert {outcome.status for outcome in outcomes.values()} == {"unchanged"}
    assert server.bodies() == sent
    assert _files(tmp_path) == files
    entry = read(database_folder(tmp_path)).feeds["osv/PyPI"]
    assert (entry.fetched_at, entry.changed_at) == ("2026-11-26T00:00:00Z", "2026-11-25T00:00:00Z")


def test_a_changed_record_rebuilds_its_feed_only(server: FeedServer, tmp_path: Path) -> None:
    """The other files are the same files; the replaced one is gone."""
    _update(server, tmp_path)
    before = _files(tmp_path)
    server.files["osv/PyPI/all.zip"] = archive([record("PYSEC-1", "flask", "2.1")])
    outcomes = _update(server, tmp_path)
    assert [name for name, outcome in outcomes.items() if outcome.status == "updated"] == ["osv/PyPI"]
    after = _files(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"osv/PyPI"}
    assert not (tmp_path / "db" / before["osv/PyPI"]).exists()
    with open_database(tmp_path) as database:
        assert database.lookup("PyPI", ["flask"])["flask"][0].ranges[0].fixed == "2.1"


def test_only_the_changed_record_is_read(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive comes whole, as upstream has no other; of it one member is inflated."""
    records = [record(f"PYSEC-{n}", f"p{n}", "1") for n in range(300)]
    server.files["osv/PyPI/all.zip"] = archive(records)
    _update(server, tmp_path)
    records[7]["summary"] = "worse"
    server.files["osv/PyPI/all.zip"] = archive(records)
    inflated: list[str] = []
    read_member = Zip.read

    def counted(self: Zip, info: zipfile.ZipInfo) -> bytes:
        inflated.append(info.filename)
        return read_member(self, info)

    monkeypatch.setattr(Zip, "read", counted)
    assert _update(server, tmp_path)["osv/PyPI"].status == "updated"
    assert inflated == ["PYSEC-7.json"]
    with open_database(tmp_path) as database:
        (hit,) = database.lookup("PyPI", ["p7"])["p7"]
        assert database.details([hit])["osv/PyPI", "PYSEC-7"].summary == "worse"


def test_a_damaged_file_is_built_anew(server: FeedServer, tmp_path: Path) -> None:
    """A file that cannot be gone on from is as none."""
    _update(server, tmp_path)
    (tmp_path / "db" / _files(tmp_path)["osv/PyPI"]).write_bytes(b"SQLite format 3\0" + b"\xff" * 9000)
    server.files["osv/PyPI/all.zip"] = archive([record("PYSEC-1", "flask", "2.1")])
    assert _update(server, tmp_path)["osv/PyPI"].status == "updated"
    assert set(verify(tmp_path).values()) == {""}


def test_the_same_content_from_elsewhere_is_unchanged(server: FeedServer, tmp_path: Path) -> None:
    """A new address with the same records changes nothing but the address."""
    _update(server, tmp_path)
    with serving(small_mirror()) as other:
        outcomes = {o.name: o for o in update(tmp_path, _NAMES, Options(mirror=other.url), now=lambda: _NOW)}
        assert {outcome.status for outcome in outcomes.values()} == {"unchanged"}
        assert read(database_folder(tmp_path)).feeds["osv/PyPI"].url.startswith(other.url)


@pytest.mark.parametrize("fault", ["404", "500", "not a zip", "half a zip", "empty"])
def test_a_failing_feed_keeps_its_last_good_data(server: FeedServer, tmp_path: Path, fault: str) -> None:
    """Whatever is wrong with it: the old answers stay, and their age becomes a gap that says why."""
    _update(server, tmp_path)
    good = server.files["osv/PyPI/all.zip"]
    server.files["osv/PyPI/all.zip"] = {"not a zip": b"hello" * 99, "half a zip": good[: len(good) // 2], "empty": b""}.get(
        fault, good
    )
    if fault.isdecimal():
        server.plan["osv/PyPI/all.zip"] = [int(fault)] * 9
    late = _NOW + timedelta(days=8)
    outcomes = _update(server, tmp_path, now=late)
    assert outcomes["osv/PyPI"].status == "failed"
    assert outcomes["osv/PyPI"].kept
    assert required_missing(outcomes.values(), chosen=False) == []
    with open_database(tmp_path) as database:
        assert [hit.id for hit in database.lookup("PyPI", ["flask"])["flask"]] == ["PYSEC-1"]
        (gap,) = database.gaps(["PyPI"], late)
        assert (gap.code, gap.source) == ("advisories.stale", "osv/PyPI")
        assert outcomes["osv/PyPI"].why in gap.message
        assert database.gaps(["npm"], late) == []


def test_a_feed_that_was_never_had(server: FeedServer, tmp_path: Path) -> None:
    """It is missing, and required if it is among those that every database needs, or was asked for."""
    del server.files["osv/npm/all.zip"]
    del server.files["alpine/v3.20/main.json"]
    outcomes = _update(server, tmp_path).values()
    assert required_missing(outcomes, chosen=False) == ["osv/npm"]
    assert required_missing(outcomes, chosen=True) == ["alpine/v3.20/main", "osv/npm"]


def test_a_feed_that_recovers_is_read_again(server: FeedServer, tmp_path: Path) -> None:
    """A broken body leaves no validator behind that would hide the repaired one."""
    _update(server, tmp_path)
    good = server.files["osv/PyPI/all.zip"]
    server.files["osv/PyPI/all.zip"] = good[:100]
    assert _update(server, tmp_path)["osv/PyPI"].status == "failed"
    server.files["osv/PyPI/all.zip"] = good
    assert _update(server, tmp_path)["osv/PyPI"].status == "unchanged"
    assert read(database_folder(tmp_path)).feeds["osv/PyPI"].failure is None


def test_a_damaged_index_is_built_anew(server: FeedServer, tmp_path: Path) -> None:
    """An update heals."""
    _update(server, tmp_path)
    (tmp_path / "db/index.json").write_text("{")
    assert {outcome.status for outcome in _update(server, tmp_path).values()} == {"updated"}
    open_database(tmp_path).close()


def test_a_lost_file_is_fetched_again(server: FeedServer, tmp_path: Path) -> None:
    """Validators count only while the data is there."""
    _update(server, tmp_path)
    (tmp_path / "db" / _files(tmp_path)["osv/PyPI"]).unlink()
    assert _update(server, tmp_path)["osv/PyPI"].records == 2
    assert set(verify(tmp_path).values()) == {""}


def test_a_scan_fetches_what_it_needs_and_nothing_twice(server: FeedServer, tmp_path: Path) -> None:
    """Feeds of its ecosystems and those about CVEs; a day later again, a moment later not."""
    options = Options(mirror=server.url)
    assert [o.name for o in ensure(tmp_path, ["PyPI", "Alpine:v3.20"], options, now=lambda: _NOW)] == [
        "alpine/v3.20/community",
        "alpine/v3.20/main",
        "osv/PyPI",
        "cisa/kev",
        "epss/current",
    ]
    asked = len(server.asked)
    assert ensure(tmp_path, ["PyPI"], options, now=lambda: _NOW + timedelta(hours=1)) == []
    assert len(server.asked) == asked
    assert len(ensure(tmp_path, ["PyPI"], options, now=lambda: _NOW + timedelta(days=2))) == 3


def test_a_large_feed_is_refreshed_seldom(server: FeedServer, tmp_path: Path) -> None:
    """Red Hat's archive comes whole each time: a scan two days later takes what is there, one a week later does not."""
    server.files["rhel/csaf/v2/vex-feed/archive_latest.tar.zst"] = tarball({"a.json": b"{}"})
    options = Options(mirror=server.url)
    place = "Red Hat:enterprise_linux:9"
    assert "redhat/vex" in {outcome.name for outcome in ensure(tmp_path, [place], options, now=lambda: _NOW)}
    for days, wanted in ((2, False), (7, True)):
        later = _NOW + timedelta(days=days)
        outcomes = ensure(tmp_path, [place], options, now=lambda later=later: later)  # type: ignore[misc]
        assert ("redhat/vex" in {outcome.name for outcome in outcomes}) is wanted


def test_a_scan_does_not_insist(server: FeedServer, tmp_path: Path) -> None:
    """What failed a moment ago is left alone for a while."""
    del server.files["osv/npm/all.zip"]
    options = Options(mirror=server.url)
    assert {o.name for o in ensure(tmp_path, ["npm"], options, now=lambda: _NOW) if o.status == "failed"} == {"osv/npm"}
    assert ensure(tmp_path, ["npm"], options, now=lambda: _NOW + timedelta(minutes=1)) == []
    assert [o.name for o in ensure(tmp_path, ["npm"], options, now=lambda: _NOW + timedelta(minutes=11))] == ["osv/npm"]


def test_offline_makes_no_connection(server: FeedServer, tmp_path: Path) -> None:
    """Neither a scan nor an update; a folder as a mirror is no connection."""
    options = Options(mirror=server.url, offline=True)
    assert ensure(tmp_path, ["PyPI"], options) == []
    (outcome,) = update(tmp_path, ["osv/PyPI"], options)
    assert outcome.status == "failed"
    assert server.asked == []
    (tmp_path / "m/osv/PyPI").mkdir(parents=True)
    (tmp_path / "m/osv/PyPI/all.zip").write_bytes(server.files["osv/PyPI/all.zip"])
    (outcome,) = update(tmp_path, ["osv/PyPI"], Options(mirror=(tmp_path / "m").as_uri(), offline=True))
    assert outcome.status == "updated"


def test_one_writer_at_a_time(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second update waits, says so, and finds everything done."""
    told: list[str] = []

    class Watcher(Listener):
        def waiting(self) -> None:
            told.append("waiting")

    threads = []
    with locked(tmp_path / "db"):
        threads.append(
            threading.Thread(target=ensure, args=(tmp_path, ["PyPI"], Options(mirror=server.url), Watcher()), daemon=True)
        )
        threads[0].start()
        while not told:
            time.sleep(0.01)
        _update_unlocked(tmp_path, server)
        asked = len(server.asked)
    threads[0].join(30)
    assert told == ["waiting"]
    assert len(server.asked) == asked
    with pytest.raises(DatabaseError, match="too long"), locked(tmp_path / "db"), locked(tmp_path / "db", seconds=0):
        pass


def test_a_scan_does_not_wait_for_what_it_has(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process updates, yesterday's data serves; where something is missing, its end is awaited."""
    monkeypatch.setattr(updating, "PATIENCE", 0.1)
    monkeypatch.setattr(updating, "LOCK_SECONDS", 0.1)
    _update(server, tmp_path)
    late = _NOW + timedelta(days=2)
    asked = len(server.asked)
    with locked(tmp_path / "db"):
        assert ensure(tmp_path, ["PyPI"], Options(mirror=server.url), now=lambda: late) == []
        assert len(server.asked) == asked
        with pytest.raises(DatabaseError, match="too long"):
            ensure(tmp_path, ["RubyGems"], Options(mirror=server.url), now=lambda: late)
    assert ensure(tmp_path, ["PyPI"], Options(mirror=server.url), now=lambda: late)


def _update_unlocked(cache: Path, server: FeedServer) -> None:
    names = ["osv/PyPI", "cisa/kev", "epss/current"]
    updating._update(database_folder(cache), names, Options(mirror=server.url), Listener(), updating.utc_now)


def test_readers_see_one_state_or_the_other(server: FeedServer, tmp_path: Path) -> None:
    """While updates replace files, every opening answers, and what is open keeps its answer."""
    versions = ["1.0", "2.0", "3.0"]
    server.files["osv/PyPI/all.zip"] = archive([record("PYSEC-1", "flask", versions[0])])
    _update(server, tmp_path)
    done = threading.Event()

    def write() -> None:
        for turn in range(12):
            server.files["osv/PyPI/all.zip"] = archive([record("PYSEC-1", "flask", versions[turn % 3])])
            _update(server, tmp_path, ["osv/PyPI"])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set() or not seen:
        with open_database(tmp_path) as database:
            first = database.lookup("PyPI", ["flask"])["flask"][0].ranges[0].fixed
            time.sleep(0.002)
            assert database.lookup("PyPI", ["flask"])["flask"][0].ranges[0].fixed == first
            assert first in versions
        seen += 1
    writer.join()


_CHILD = """
import sys
from pathlib import Path
from pratique.advisory.update import Options, update
print("ready", flush=True)
update(Path(sys.argv[1]), sys.argv[3:], Options(mirror=sys.argv[2]))
"""


def test_killed_at_any_moment_the_old_database_answers(server: FeedServer, tmp_path: Path) -> None:
    """SIGKILL at twenty random moments of an update; what is there is whole, and the next update finishes the job.

    Some of the twenty build a file anew, others change one; history stays, whatever was cut short.
    """
    begun = datetime(2020, 1, 1, tzinfo=UTC)
    _update(server, tmp_path, now=begun)
    server.delay = 0.01
    moments = Random(20).sample(range(0, 600, 3), 20)  # milliseconds; an update takes some 300
    for turn, milliseconds in enumerate(moments):
        if turn == 10:
            (tmp_path / "db/index.json").unlink()
            _update(server, tmp_path, ["osv/PyPI", "osv/npm"], now=begun)
        many = [record(f"PYSEC-{n}", f"p{n}", f"{turn}.{n}", aliases=[f"CVE-2020-{n}"]) for n in range(1500)]
        server.files["osv/PyPI/all.zip"] = archive([*many, record("PYSEC-F", "flask", f"9.{turn}")])
        command = [sys.executable, "-c", _CHILD, str(tmp_path), server.url, *_NAMES]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(milliseconds / 1000)
            os.kill(child.pid, signal.SIGKILL)
        assert set(verify(tmp_path).values()) == {""}
        with open_database(tmp_path) as database:
            assert database.lookup("PyPI", ["flask"])["flask"]
            assert database.lookup("npm", ["lodash"])["lodash"]
        with open_database(tmp_path, as_of=begun) as database:
            assert database.lookup("PyPI", ["flask"])["flask"][0].ranges[0].fixed == ("2.0" if turn < 10 else "9.9")
    _update(server, tmp_path)
    with open_database(tmp_path) as database:
        assert database.lookup("PyPI", ["flask"])["flask"][0].ranges[0].fixed == "9.19"
    kept = {entry.file for entry in read(database_folder(tmp_path)).feeds.values()} | {"index.json", "lock", "incoming"}
    assert {path.name for path in (tmp_path / "db").iterdir()} == kept


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """One line, with what to do."""
    (tmp_path / "db").write_text("a file")
    with pytest.raises(DatabaseError, match="cannot be written"):
        update(tmp_path, ["osv/PyPI"], Options())


def test_a_database_that_others_keep_is_used_as_it_is(
    server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared cache mounted read-only: a scan neither refreshes nor refuses, however old; without any database it refuses."""
    _update(server, tmp_path)
    late = _NOW + timedelta(days=30)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a read-only mount, which takes root to make
    assert ensure(tmp_path, ["PyPI"], Options(mirror=server.url), now=lambda: late) == []
    with open_database(tmp_path) as database:
        assert "advisories.stale" in {gap.code for gap in database.gaps(["PyPI"], late, timedelta(days=7))}


def test_a_full_disk_is_the_feeds_failure(server: FeedServer, tmp_path: Path) -> None:
    """What could not be stored is said, and an update of all ends as one that failed, not in a crash."""
    limited = (
        "import resource, sys; from pratique.cli.main import run; resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384)); "
        f"sys.exit(run(['db', 'update', '--only', 'PyPI', '--mirror', {server.url!r}, '--cache-dir', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (3, "pratique: not there: osv/PyPI\n")
    assert "cannot be stored" in done.stdout


def test_nothing_changed_is_no_answer_to_who_has_nothing(server: FeedServer, tmp_path: Path) -> None:
    """Whatever is answered 304, archive, list or document: that feed has failed, the others are there."""
    server.plan = {"osv/PyPI/all.zip": [304], "cisa/known_exploited_vulnerabilities.json": [304]}
    outcomes = _update(server, tmp_path)
    assert sorted(name for name, outcome in outcomes.items() if outcome.status == "failed") == ["cisa/kev", "osv/PyPI"]
    assert "304" in outcomes["osv/PyPI"].why


def test_a_clock_that_was_ahead_keeps_nothing_fresh(server: FeedServer, tmp_path: Path) -> None:
    """What is said to have been fetched in the future is asked for anew, and the time that never was is forgotten."""
    _update(server, tmp_path, now=_NOW + timedelta(days=3650))
    outcomes = ensure(tmp_path, ["PyPI"], Options(mirror=server.url), now=lambda: _NOW)
    assert {outcome.status for outcome in outcomes} == {"unchanged"}
    entry = read(database_folder(tmp_path)).feeds["osv/PyPI"]
    assert (entry.fetched_at, entry.fetches) == ("2026-11-25T00:00:00Z", (("2026-11-25T00:00:00Z",) * 2,))


def test_a_provider_that_trips_costs_its_feed_only(server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in reading one feed neither loses its last good data nor the other feeds' news."""
    _update(server, tmp_path)

    def trip(*_: object) -> None:
        raise KeyError("affected")

    monkeypatch.setattr(type(sources()["debian/tracker"].provider), "parse", trip)
    server.files["debian/tracker/data/json"] = b"{}"
    server.files["osv/npm/all.zip"] = archive([record("GHSA-n", "lodash", "4.0.1", "npm")])
    outcomes = _update(server, tmp_path)
    assert outcomes["osv/npm"].status == "updated"
    assert (outcomes["debian/tracker"].status, outcomes["debian/tracker"].kept) == ("failed", True)
    assert "KeyError" in outcomes["debian/tracker"].why
    with open_database(tmp_path) as database:
        assert database.lookup("Debian:12", ["openssl"])["openssl"]


@pytest.mark.parametrize(
    ("news", "why"),
    [
        ([record(f"PYSEC-{n}", f"p{n}", "1") for n in range(40)], "names 40 records where 200 are known"),
        ([], "names 0 records where 200 are known"),
        (
            [record(f"PYSEC-{n}", f"p{n}", "1") | {"modified": "2025-06-01T00:00:00Z"} for n in range(200)],
            "is older than what is here",
        ),
    ],
)
def test_news_that_takes_most_of_it_away_is_doubted(
    server: FeedServer, tmp_path: Path, news: list[dict[str, Any]], why: str
) -> None:
    """Half an archive, none, or last year's: readable, and not believed. Who knows better says so."""
    server.files["osv/PyPI/all.zip"] = archive([record(f"PYSEC-{n}", f"p{n}", "1") for n in range(200)])
    _update(server, tmp_path)
    before = _files(tmp_path)
    server.files["osv/PyPI/all.zip"] = archive(news)
    for _ in range(2):  # and not the second time either
        outcome = _update(server, tmp_path)["osv/PyPI"]
        assert (outcome.status, outcome.kept, outcome.records) == ("failed", True, 200)
        assert why in outcome.why
        assert _files(tmp_path) == before
    (outcome,) = update(tmp_path, ["osv/PyPI"], Options(mirror=server.url, accept_loss=True), now=lambda: _NOW)
    assert (outcome.status, outcome.records) == ("updated", len(news))


def test_a_record_of_the_future_makes_nothing_doubtful(server: FeedServer, tmp_path: Path) -> None:
    """A date that has not come yet is a slip, or somebody's attempt to have all that follows refused."""
    records = [record(f"PYSEC-{n}", f"p{n}", "1") | {"modified": "2026-11-20T00:00:00Z"} for n in range(200)]
    records[0]["modified"] = "2999-01-01T00:00:00Z"
    server.files["osv/PyPI/all.zip"] = archive(records)
    _update(server, tmp_path)
    records[0]["modified"] = "2026-11-21T00:00:00Z"
    server.files["osv/PyPI/all.zip"] = archive(records)
    assert _update(server, tmp_path)["osv/PyPI"].status == "updated"


def test_a_small_feed_may_lose_records(server: FeedServer, tmp_path: Path) -> None:
    """Of a few records half may be withdrawn."""
    _update(server, tmp_path)
    server.files["osv/PyPI/all.zip"] = archive({})
    assert _update(server, tmp_path)["osv/PyPI"].status == "updated"


@pytest.mark.parametrize("feed", ["osv/PyPI", "debian/tracker"])
def test_a_provider_that_reads_otherwise_reads_anew(
    server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, feed: str
) -> None:
    """Upstream has not changed; the new reading comes all the same, once, and what was known before can be told."""
    _update(server, tmp_path)
    assert _update(server, tmp_path)[feed].status == "unchanged"
    source = sources()[feed]
    parse, reader = type(source.provider).parse, getattr(type(source.provider), "reader", None)
    monkeypatch.setattr(type(source.provider), "version", 2, raising=False)
    monkeypatch.setattr(type(source.provider), "parse", lambda *of: map(_louder, parse(*of)))
    if reader is not None:
        monkeypatch.setattr(type(source.provider), "reader", lambda *of: lambda *one: map(_louder, reader(*of)(*one)))
    later = _NOW + timedelta(hours=1)
    assert _update(server, tmp_path, now=later)[feed].status == "updated"
    assert _update(server, tmp_path, now=later)[feed].status == "unchanged"
    pair = ("PyPI", "flask") if feed == "osv/PyPI" else ("Debian:12", "openssl")
    for as_of, note in ((None, "louder"), (_NOW, "")):
        with open_database(tmp_path, as_of=as_of) as database:
            assert [hit.note for hit in database.lookup(pair[0], [pair[1]])[pair[1]]] == [note]


def _louder(one: FeedRecord) -> FeedRecord:
    assert isinstance(one, Advisory)
    return msgspec.structs.replace(one, affected=tuple(msgspec.structs.replace(a, note="louder") for a in one.affected))
