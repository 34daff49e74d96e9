"""Looking back and comparing, as people do it: scan, explain and db show --as-of, db diff, db compact."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from advisoryhome import NOON, VECTOR, Home, kev, scored
from feedsim import archive, record
from pratique.cli.main import run

_DAY = timedelta(days=1)
_SBOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "components": [
        {"type": "library", "name": name, "version": "1.5", "purl": f"pkg:pypi/{name}@1.5"} for name in ("flask", "jinja2")
    ],
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Day 0: flask below 1. Day 1: below 2, with a vector. Day 2: jinja2 as well, in KEV, with a score."""
    home = Home(tmp_path)
    home.publish(pypi=archive([record("PYSEC-1", "flask", "1.0")]))
    home.update(NOON, "osv/PyPI")
    severity = [{"type": "CVSS_V3", "score": VECTOR}]
    worse = record("PYSEC-1", "flask", "2.0", aliases=["CVE-2026-1"], severity=severity)
    home.publish(pypi=archive([worse]))
    home.update(NOON + _DAY, "osv/PyPI")
    home.publish(
        pypi=archive([worse, record("PYSEC-2", "jinja2", "3.0"), record("PYSEC-3", "requests", "3.0")]),
        kev=kev("CVE-2026-1"),
        epss=scored({"CVE-2026-1": (0.9, 0.9)}),
    )
    home.update(NOON + 2 * _DAY)
    (tmp_path / "sbom.json").write_text(json.dumps(_SBOM))
    return home


def _run(home: Home, *arguments: str) -> int:
    return run([*arguments, "--cache-dir", str(home.cache)])


def _scan(home: Home, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    target = f"sbom:{home.cache.parent / 'sbom.json'}"
    # A mirror that is there to be asked, and is not: --as-of never fetches.
    assert _run(home, "scan", target, "--format", "json", "--mirror", (home.mirror / "none").as_uri(), *more) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize(
    ("moment", "found", "exploited"),
    [
        ("2026-03-01T12:00:00Z", [], False),
        ("2026-03-02", [], False),
        ("2026-03-02T12:00:00Z", ["CVE-2026-1"], False),
        ("2026-03-02T14:00:00+02:00", ["CVE-2026-1"], False),
        ("2026-03-03T12:00:00Z", ["CVE-2026-1", "PYSEC-2"], True),
    ],
)
def test_scan_goes_by_what_was_known_then(
    home: Home, capsys: pytest.CaptureFixture[str], moment: str, found: list[str], exploited: bool
) -> None:
    """The findings of that moment, with the KEV of that moment; a date alone is its first second."""
    document = _scan(home, capsys, "--as-of", moment)
    assert [finding["id"] for finding in document["findings"]] == found
    assert [finding["id"] for finding in document["findings"] if finding["kev"]] == (["CVE-2026-1"] if exploited else [])
    asked = {source["name"]: source for source in document["meta"]["database"]["sources"]}
    assert asked["osv/PyPI"]["records"] == (3 if exploited else 1)
    codes = {(gap["code"], gap["source"]) for gap in document["problems"]}
    assert (("advisories.not-known-yet", "cisa/kev") in codes) is not exploited


def test_scan_before_the_beginning(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is known, and that is said of each source; two scans say the same."""
    one, other = (_scan(home, capsys, "--as-of", "2026-02-28", "--now", "2026-03-09") for _ in range(2))
    assert one == other
    assert one["findings"] == []
    assert {gap["code"] for gap in one["problems"]} == {"advisories.not-known-yet"}
    assert {gap["source"] for gap in one["problems"]} == {"osv/PyPI", "cisa/kev", "epss/current"}
    assert one["meta"]["database"]["kind"] == "none"


def test_explain_as_of(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Reported since day 1; on day 0 its range ended lower; before that nobody knows."""
    target = f"sbom:{home.cache.parent / 'sbom.json'}"
    for moment, code, text in (
        ("2026-03-03", 0, "is reported"),
        ("2026-03-02", 1, "1.5 >= 1.0"),
        ("2026-02-28", 3, "not known"),
    ):
        assert _run(home, "explain", target, "PYSEC-1", "--as-of", moment) == code
        assert text in capsys.readouterr().out


def test_show_as_of(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """What was known of it then; exit 3 where nothing can be told."""
    assert _run(home, "db", "show", "PYSEC-1", "--as-of", "2026-03-02") == 0
    assert "< 1.0" in capsys.readouterr().out
    assert _run(home, "db", "show", "CVE-2026-1", "--as-of", "2026-03-02") == 1
    capsys.readouterr()
    assert _run(home, "db", "show", "CVE-2026-1", "--as-of", "2026-02-01") == 3
    assert "the database begins later" in capsys.readouterr().err
    assert _run(home, "db", "show", "CVE-2026-1", "--as-of", "yesterday") == 2


def test_diff_between_two_moments(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """What was added, and what of a record is another."""
    assert _run(home, "db", "diff", "2026-03-02", "2026-03-03") == 0
    assert capsys.readouterr().out.splitlines() == [
        "~ osv/PyPI PYSEC-1 (CVE-2026-1) changed: aliases, fixed version, range, severity",
        "    PyPI flask: < 1.0 -> < 2.0",
        "1 record: 0 added, 0 removed, 1 changed; KEV: 0, EPSS: 0",
    ]
    assert _run(home, "db", "diff", "2026-03-03") == 0
    assert capsys.readouterr().out.splitlines() == [
        "+ cisa/kev: the whole feed",
        "+ epss/current: the whole feed",
        "+ osv/PyPI PYSEC-2 added",
        "    PyPI jinja2: < 3.0",
        "+ osv/PyPI PYSEC-3 added",
        "    PyPI requests: < 3.0",
        "~ CVE-2026-1 KEV",
        "2 records: 2 added, 0 removed, 0 changed; KEV: 1, EPSS: 1",
    ]
    assert _run(home, "db", "diff", "now", "2026-03-03") == 0
    assert "- osv/PyPI PYSEC-2 removed\n    PyPI jinja2: no longer < 3.0" in capsys.readouterr().out


def test_diff_for_an_inventory(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Only records of its packages, and the packages: of an SBOM and of a saved report alike."""
    report = home.cache.parent / "report.json"
    report.write_text(json.dumps(_scan(home, capsys, "--as-of", "2026-03-03")))
    for file in (home.cache.parent / "sbom.json", report):
        assert _run(home, "db", "diff", "2026-03-03", "now", "--inventory", str(file), "--format", "json") == 0
        document = json.loads(capsys.readouterr().out)
        assert [one["id"] for one in document["records"]] == ["PYSEC-2"]
        # flask by its CVE, which came to be known as exploited
        assert [one["purl"] for one in document["inventory"]] == ["pkg:pypi/flask@1.5", "pkg:pypi/jinja2@1.5"]
        assert document["kev"] == ["CVE-2026-1"]
    assert _run(home, "db", "diff", "2026-03-02", "2026-03-03", "--inventory", str(file)) == 0
    assert "1 package touched:\n  pkg:pypi/flask@1.5" in capsys.readouterr().out


def test_diff_of_other_databases(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cache folder, a database folder, an exported file: all the same state; what is none is a usage error."""
    assert _run(home, "db", "export", str(tmp_path / "exported.tar"), "--quiet") == 0
    for place in (home.cache, home.cache / "db", tmp_path / "exported.tar"):
        assert _run(home, "db", "diff", str(place), "now") == 0
        assert capsys.readouterr().out == "0 records: 0 added, 0 removed, 0 changed; KEV: 0, EPSS: 0\n"
        assert _run(home, "db", "diff", "2026-03-02T12:00:00Z", str(place)) == 0
        assert "+ osv/PyPI PYSEC-2 added" in capsys.readouterr().out
    assert _run(home, "db", "diff", "nonsense") == 2
    assert "no moment, folder or file" in capsys.readouterr().err
    assert _run(home, "db", "diff", "2026-01-01") == 3
    (tmp_path / "empty").mkdir()
    assert _run(home, "db", "diff", str(tmp_path / "empty")) == 3


def test_compact(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """What is forgotten is a gap of a scan, never another answer."""
    assert _run(home, "db", "compact", "--keep", "nonsense") == 2
    capsys.readouterr()
    assert _run(home, "db", "compact", "--keep", "0s") == 0
    assert capsys.readouterr().out.startswith("osv/PyPI ")
    assert _run(home, "db", "compact") == 0
    assert capsys.readouterr().out == "nothing to forget\n"
    document = _scan(home, capsys, "--as-of", "2026-03-02T12:00:00Z")
    assert document["findings"] == []
    assert ("advisories.history-compacted", "osv/PyPI") in {(gap["code"], gap["source"]) for gap in document["problems"]}
    assert _run(home, "db", "verify", "--quiet") == 0
