"""What was built is what is answered: hits with keys, details, exploits, scores, gaps."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedsim import archive, record, small_mirror, tracker
from pratique.advisory.build import build
from pratique.advisory.feeds import sources
from pratique.advisory.layout import epss_place
from pratique.advisory.lookup import Database, open_database, verify
from pratique.advisory.starter import FEED
from pratique.advisory.store import FeedFile
from pratique.advisory.update import Options, update
from pratique.model.advisory import Advisory, Affected, ExploitScore, VersionRange
from pratique.model.errors import DatabaseError
from pratique.model.hits import covers
from pratique.model.versions import scheme_for

_NOW = datetime(2026, 11, 25, tzinfo=UTC)


def write_mirror(folder: Path, files: dict[str, bytes]) -> str:
    """Write files below a folder; return its address."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder.as_uri()


def filled(tmp_path: Path, files: dict[str, bytes]) -> Database:
    """Build a database out of these feeds."""
    mirror = write_mirror(tmp_path / "mirror", files)
    names = [name for name, source in sources().items() if source.feed.path in files]
    update(tmp_path / "cache", names, Options(mirror=mirror), now=lambda: _NOW)
    return open_database(tmp_path / "cache")


def _key(ecosystem: str, version: str) -> bytes:
    scheme = scheme_for(ecosystem)
    assert scheme is not None
    return scheme.key(version)


def test_hits_have_ranges_with_keys(tmp_path: Path) -> None:
    """Names are normalised, the answer's keys are the names as given."""
    with filled(tmp_path, small_mirror()) as database:
        found = database.lookup("PyPI", ["flask", "FLASK", "nothing"])
    assert set(found) == {"flask", "FLASK"}
    (hit,) = found["flask"]
    (one,) = hit.ranges
    assert (hit.id, hit.source, hit.feed, one.fixed, one.upper_key) == ("PYSEC-1", "osv", "osv/PyPI", "2.0", _key("PyPI", "2.0"))
    assert one.contains(_key("PyPI", "1.9"))
    assert one.contains(_key("PyPI", "2.0")) is False


def test_details_come_by_feed_and_id(tmp_path: Path) -> None:
    """What is known only by its id is still an advisory."""
    with filled(tmp_path, small_mirror()) as database:
        hits = [*database.lookup("PyPI", ["flask"])["flask"], *database.lookup("Alpine:v3.20", ["zlib"])["zlib"]]
        details = database.details(hits)
    assert details["osv/PyPI", "PYSEC-1"].aliases == ("CVE-2020-1",)
    assert details["osv/PyPI", "PYSEC-1"].affected == ()
    assert details["alpine/v3.20/main", "CVE-2020-1"] == Advisory(id="CVE-2020-1", source="alpine")


def test_exploits_and_scores(tmp_path: Path) -> None:
    """KEV and EPSS answer by CVE; five decimals survive."""
    with filled(tmp_path, small_mirror()) as database:
        assert database.kev(["CVE-2020-1", "CVE-2020-2"])["CVE-2020-1"].added == "2020-02-02"
        score = database.epss(["CVE-2020-1", "CVE-2020-2", "not a cve"])
    assert score == {"CVE-2020-1": ExploitScore(cve="CVE-2020-1", score=0.51234, percentile=0.98765, date="2026-01-02")}


def test_vectors_of_other_ecosystems_serve_a_cve(tmp_path: Path) -> None:
    """A distribution that scores nothing is helped by whoever scored the CVE; a notice's own vector is not the CVE's."""
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    scored: dict[str, Any] = {"severity": [{"type": "CVSS_V3", "score": vector}]}
    files = small_mirror()
    files["osv/PyPI/all.zip"] = archive([record("PYSEC-1", "flask", "2", aliases=["CVE-2020-1"], **scored)])
    files["osv/AlmaLinux/all.zip"] = archive([record("ALSA-1", "x", "2", "AlmaLinux:9", related=["CVE-2020-2"], **scored)])
    with filled(tmp_path, files) as database:
        assert database.vectors(["CVE-2020-1", "CVE-2020-2"]) == {"CVE-2020-1": [(vector, "osv/PyPI")]}
        assert database.aliases("CVE-2020-1") == ["DSA-1-1", "PYSEC-1"]


def test_the_tracker_stands_before_debian_notices(tmp_path: Path) -> None:
    """Debian's notices are asked only while the tracker is not there, so nothing is reported twice."""
    with filled(tmp_path, small_mirror()) as database:
        assert [hit.feed for hit in database.lookup("Debian:12", ["openssl"])["openssl"]] == ["debian/tracker"]
    files = small_mirror()
    del files["debian/tracker/data/json"]
    with filled(tmp_path / "other", files) as database:
        hits = database.lookup("Debian:12", ["openssl"])["openssl"]
        assert [hit.feed for hit in hits] == ["osv/Debian"]
        assert covers(database.details(hits)["osv/Debian", "DSA-1-1"]) == ("CVE-2020-1",)


def test_exact_versions_within_ranges_are_dropped(tmp_path: Path) -> None:
    """Only what ranges do not say already is kept; what cannot be ordered always is."""
    affected = Affected(
        ecosystem="PyPI", name="a", ranges=(VersionRange("1.0", "2.0"),), versions=("1.5", "0.5", "2.0", "odd version")
    )
    build([Advisory(id="X", source="osv", affected=(affected,))], tmp_path / "file.sqlite")
    with closing(FeedFile(tmp_path / "file.sqlite", "osv/PyPI")) as file:
        ((_, (hit,)),) = file.hits("PyPI", ["a"])
    assert set(hit.versions) >= {"0.5", "2.0"}
    assert "1.5" not in hit.versions


def test_a_large_row_survives(tmp_path: Path) -> None:
    """A package with thousands of advisories is kept compressed."""
    advisories = [
        Advisory(
            id=f"CVE-2024-{n}",
            source="debian",
            affected=(Affected(ecosystem="Debian:12", name="linux", ranges=(VersionRange(),)),),
        )
        for n in range(70_000)
    ]
    build(advisories, tmp_path / "file.sqlite")
    with closing(FeedFile(tmp_path / "file.sqlite", "debian/tracker")) as file:
        ((_, hits),) = file.hits("Debian:12", ["linux"])
    assert len(hits) == 70_000


_text = st.text(st.characters(codec="utf-8"), max_size=12)
_range = st.builds(VersionRange, _text, _text, _text, _text)
_affected = st.builds(
    Affected,
    ecosystem=st.sampled_from(["PyPI", "Debian:12", "Nonsense", "npm"]),
    name=_text,
    ranges=st.lists(_range, max_size=3).map(tuple),
    versions=st.lists(_text, max_size=3).map(tuple),
    state=st.sampled_from(["", "unfixed", "not-affected"]),
    note=_text,
)
_advisory = st.builds(
    Advisory,
    id=_text,
    source=st.just("osv"),
    aliases=st.lists(_text, max_size=3).map(tuple),
    summary=_text,
    affected=st.lists(_affected, max_size=3).map(tuple),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(_advisory, max_size=6, unique_by=lambda one: one.id))
def test_whatever_is_built_is_found_again(tmp_path: Path, advisories: list[Advisory]) -> None:
    """Every (ecosystem, package) answers with the ids, states, notes and bounds that were put in."""
    path = tmp_path / "round.sqlite"
    path.unlink(missing_ok=True)
    build(advisories, path)
    file = FeedFile(path, "x")
    expected: dict[tuple[str, str], list[Any]] = {}
    for advisory in advisories:
        for affected in advisory.affected:
            bounds = [(r.introduced, r.fixed or r.last_affected or r.limit) for r in affected.ranges]
            row = (advisory.id, affected.state, affected.note, [b[0] for b in bounds])
            expected.setdefault((affected.ecosystem, affected.name), []).append(row)
    for (ecosystem, name), rows in expected.items():
        ((found, hits),) = file.hits(ecosystem, [name])
        assert found == name
        assert sorted((hit.id, hit.state, hit.note, [r.introduced for r in hit.ranges]) for hit in hits) == sorted(rows)
    listed = {advisory.id: advisory for advisory in file.details([advisory.id for advisory in advisories])}
    for advisory in advisories:
        if advisory.summary or advisory.aliases:
            assert listed[advisory.id].summary == advisory.summary
    file.close()


@given(st.integers(1999, 2100), st.integers(0, 9_999_999))
def test_a_cve_has_its_own_place(year: int, number: int) -> None:
    """Block and offset together are the year and the number."""
    place = epss_place(f"CVE-{year}-{number}")
    assert place is not None
    block, offset = place
    assert (block >> 24, ((block & 0xFFFFFF) << 10) | offset) == (year, number)


def test_nothing_there_is_the_starter_set_and_gaps(tmp_path: Path) -> None:
    """An empty folder answers with the shipped facts, and says so; the control with a database has none of these gaps."""
    with open_database(tmp_path / "empty") as database:
        assert database.info().kind == "starter"
        assert not database.has("PyPI")
        (hit, *_) = database.lookup("PyPI", ["jinja2"])["jinja2"]
        assert hit.feed == FEED
        assert database.details([hit])[FEED, hit.id].summary.startswith("jinja2")
        gaps = database.gaps(["PyPI", "Debian:12", "CRAN", "Nonsense"], _NOW)
    codes = [(gap.code, gap.source) for gap in gaps]
    assert codes == [
        ("advisories.missing-source", "cisa/kev"),
        ("advisories.missing-source", "epss/current"),
        ("advisories.missing-source", "osv/CRAN"),
        ("advisories.starter-only", "Debian:12"),
        ("advisories.starter-only", "PyPI"),
        ("advisories.unsupported-ecosystem", "Nonsense"),
    ]
    with filled(tmp_path, small_mirror()) as database:
        assert database.has("PyPI")
        assert database.info().kind == "full"
        assert database.gaps(["PyPI", "Debian:12"], _NOW) == []


def test_what_is_old_missing_or_unreadable_is_a_gap(tmp_path: Path) -> None:
    """Each gap names its source; age counts from the last successful fetch."""
    files = small_mirror() | {"debian/tracker/data/json": tracker({"a": {"CVE-1": "1"}})}
    del files["alpine/v3.20/community.json"]
    files["osv/npm/all.zip"] = archive({"a.json": b"{", "b.json": record("GHSA-1", "x", "1", "npm")})
    with filled(tmp_path, files) as database:
        assert [(g.code, g.source) for g in database.gaps(["Debian:7"], _NOW)] == [("advisories.unsupported-release", "Debian:7")]
        assert [(g.code, g.source) for g in database.gaps(["Alpine:v3.99"], _NOW)] == [
            ("advisories.unsupported-release", "Alpine:v3.99")
        ]
        assert [(g.code, g.source) for g in database.gaps(["Alpine:v3.20"], _NOW)] == [
            ("advisories.missing-source", "alpine/v3.20/community")
        ]
        assert [(g.code, g.source) for g in database.gaps(["npm"], _NOW)] == [("advisories.unreadable-record", "osv/npm")]
        late = _NOW + timedelta(days=8)
        stale = {gap.source for gap in database.gaps(["PyPI"], late) if gap.code == "advisories.stale"}
        assert stale == {"osv/PyPI", "cisa/kev", "epss/current"}
        assert not database.gaps(["PyPI"], late, timedelta(days=9))


def test_info_of_a_scan_names_its_sources_only(tmp_path: Path) -> None:
    """A change in an ecosystem that was not asked does not change the digest."""
    with filled(tmp_path, small_mirror()) as database:
        before = database.info(["PyPI"])
    files = small_mirror() | {"osv/npm/all.zip": archive([record("GHSA-other", "x", "2", "npm")])}
    with filled(tmp_path, files) as database:
        assert database.info(["PyPI"]).digest == before.digest
        assert [source.name for source in database.info(["PyPI"]).sources] == ["cisa/kev", "epss/current", "osv/PyPI"]


def test_building_twice_gives_the_same_file(tmp_path: Path) -> None:
    """Names of files are digests of content, so equal feeds must give equal files."""
    for name in ("one", "two"):
        filled(tmp_path / name, small_mirror()).close()
    one, two = (sorted(path.name for path in (tmp_path / name / "cache/db").glob("*.sqlite")) for name in ("one", "two"))
    assert one == two


def test_verify_finds_every_damage(tmp_path: Path) -> None:
    """A changed byte, a missing file."""
    filled(tmp_path, small_mirror()).close()
    assert set(verify(tmp_path / "cache").values()) == {""}
    (pypi,) = (tmp_path / "cache/db").glob("osv-PyPI.*")
    content = bytearray(pypi.read_bytes())
    content[-100] ^= 1
    pypi.write_bytes(content)
    (npm,) = (tmp_path / "cache/db").glob("osv-npm.*")
    npm.unlink()
    problems = {name: problem for name, problem in verify(tmp_path / "cache").items() if problem}
    assert set(problems) == {"osv/PyPI", "osv/npm"}
    with pytest.raises(DatabaseError, match="missing"):
        open_database(tmp_path / "cache")


def test_a_damaged_file_or_index_is_said(tmp_path: Path) -> None:
    """Never an empty answer out of a broken database."""
    filled(tmp_path, small_mirror()).close()
    (pypi,) = (tmp_path / "cache/db").glob("osv-PyPI.*")
    pypi.write_bytes(b"SQLite format 3\0" + b"\xff" * 9000)
    with open_database(tmp_path / "cache") as database, pytest.raises(DatabaseError, match="damaged"):
        database.lookup("PyPI", ["flask"])
    (tmp_path / "cache/db/index.json").write_bytes(b"{")
    with pytest.raises(DatabaseError, match="damaged"):
        open_database(tmp_path / "cache")
