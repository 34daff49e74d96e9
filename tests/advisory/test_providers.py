"""Each provider on cut-down real records, on broken ones, and on anything at all."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedcases import FOLDERS, case, parse
from feedsim import archive, record
from pratique.advisory import archive as limits
from pratique.advisory.feeds import ENRICHMENT, FALLBACKS, names_for, providers, select, sources
from pratique.model.advisory import Advisory
from pratique.model.errors import ParseError
from pratique.model.inventory import Gap


def _answer(feed: str, body: bytes) -> str:
    listed = [{"type": type(one).__name__, **msgspec.to_builtins(one)} for one in parse(feed, body)]
    return msgspec.json.format(msgspec.json.encode(listed), indent=1).decode() + "\n"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_case_gives_what_is_expected(folder: Path) -> None:
    """The records of each case folder are read as its expected.json says."""
    assert _answer(*case(folder)) == (folder / "expected.json").read_text(encoding="utf-8")


def test_every_provider_has_acase() -> None:
    """No provider without real records."""
    assert set(providers()) == {folder.parent.name for folder in FOLDERS}


@pytest.mark.parametrize("name", sorted(sources()))
@settings(max_examples=15)
@given(
    body=st.binary(max_size=300) | st.sampled_from([b"{}", b"[]", b"null", b'{"packages":[1]}', b'{"a":{"b":1}}', archive({})])
)
def test_any_bytes_end_in_records_or_a_parse_error(name: str, body: bytes) -> None:
    """Whatever comes, a provider yields records and gaps, or says that it is not its feed."""
    try:
        parse(name, body)
    except ParseError as error:
        if name not in str(error):
            pytest.fail(f"{error} does not name the feed")


def test_a_truncated_archive_is_refused() -> None:
    """Half a zip is no feed."""
    body = archive([record(f"PYSEC-{n}", "a", "1") for n in range(50)])
    with pytest.raises(ParseError):
        parse("osv/PyPI", body[: len(body) // 2])


def test_an_entry_beyond_the_bound_is_left_out_with_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """One record that is too large costs itself only."""
    monkeypatch.setattr(limits, "MAX_ENTRY_BYTES", 1000)
    found = parse("osv/PyPI", archive([record("PYSEC-1", "a", "1"), record("PYSEC-2", "b" * 2000, "1")]))
    assert [type(one) for one in found] == [Advisory, Gap]
    assert "PYSEC-2" in found[1].message


def test_a_size_that_lies_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that inflates to more than its directory says is not believed."""
    body = bytearray(archive([record("PYSEC-1", "a" * 5000, "1")]))
    at = body.rfind(b"PK\x01\x02") + 24
    body[at : at + 4] = (10).to_bytes(4, "little")
    found = parse("osv/PyPI", bytes(body))
    assert [one.code for one in found] == ["advisories.unreadable-record"]


def test_an_archive_that_inflates_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb of many entries stops at the bound on all of them."""
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 2000)
    with pytest.raises(ParseError, match="inflates"):
        parse("osv/PyPI", archive([record(f"PYSEC-{n}", "a", "1") for n in range(50)]))


def test_an_archive_that_grows_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand letters in a few bytes: the measure is what archives of records come to."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("PYSEC-1.json", json.dumps(record("PYSEC-1", "a" * 100_000, "1")))
    monkeypatch.setattr(limits, "_RATIO_FROM", 1000)
    monkeypatch.setattr(limits, "MAX_RATIO", 10)
    with pytest.raises(ParseError, match="inflates"):
        parse("osv/PyPI", out.getvalue())


def test_a_crowd_of_entries_is_refused_before_it_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of entries is read from the end record."""
    monkeypatch.setattr(limits, "MAX_ENTRIES", 10)
    with pytest.raises(ParseError, match="lists 50 entries"):
        parse("osv/PyPI", archive([record(f"PYSEC-{n}", "a", "1") for n in range(50)]))


def test_an_encrypted_entry_is_a_gap() -> None:
    """What cannot be inflated is named."""
    body = bytearray(archive([record("PYSEC-1", "a", "1")]))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.find(magic) + offset] |= 1
    assert [one.code for one in parse("osv/PyPI", bytes(body))] == ["advisories.unreadable-record"]


def test_a_gzip_bomb_of_scores_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores inflate to a bounded size."""
    from pratique.advisory.providers import epss

    monkeypatch.setattr(epss, "_MAX_INFLATED", 1000)
    with pytest.raises(ParseError, match="inflates"):
        parse("epss/current", gzip.compress(b"0" * 100_000))


def test_other_files_in_an_archive_are_no_records() -> None:
    """Only JSON files count."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("README.md", "hello")
        target.writestr("a.json", json.dumps(record("PYSEC-1", "a", "1")))
    assert [one.id for one in parse("osv/PyPI", out.getvalue())] == ["PYSEC-1"]


def test_feeds_have_unique_names_and_paths_and_bounds() -> None:
    """Feeds are data that a mirror can be made from."""
    feeds = [source.feed for source in sources().values()]
    assert len({feed.path for feed in feeds}) == len(feeds)
    assert all(feed.url.startswith("https://") and feed.max_bytes <= 1 << 30 for feed in feeds)
    assert set(FALLBACKS) <= set(sources())
    assert set(ENRICHMENT) <= set(sources())


def test_an_ecosystem_names_its_feeds() -> None:
    """A release needs its own feeds only, an ecosystem without one all of its."""
    assert names_for(["Alpine:v3.20"]) == ["alpine/v3.20/community", "alpine/v3.20/main"]
    assert len(names_for(["Alpine"])) > 20
    assert names_for(["Debian:12", "PyPI"]) == ["debian/tracker", "osv/PyPI"]
    assert names_for(["Ubuntu:24.04:LTS"]) == ["osv/Ubuntu"]
    assert names_for(["Nonsense"]) == []


def test_people_may_write_ecosystems_feeds_and_providers() -> None:
    """--only takes what people would write."""
    assert select(["debian", "osv/npm", "kev"]) == ["cisa/kev", "debian/tracker", "osv/npm"]
    assert {"osv/npm", "osv/PyPI", "osv/GitHub Actions"} < set(select(["GHSA"])) < set(sources())
    with pytest.raises(KeyError):
        select(["nonsense"])
