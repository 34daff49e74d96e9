"""The `db` commands as people run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feedsim import archive, small_mirror
from pratique.cli.main import run


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    for name, content in small_mirror().items():
        path = tmp_path / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "mirror"


def _db(tmp_path: Path, *arguments: str) -> int:
    return run(["db", *arguments, "--cache-dir", str(tmp_path / "cache")])


def test_update_says_what_each_source_did(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a source, twice; the second time nothing changed."""
    arguments = ("update", "--mirror", mirror.as_uri(), "--only", "Debian,PyPI", "--only", "kev")
    assert _db(tmp_path, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["cisa/kev", "updated", "1", "records"],
        ["debian/tracker", "updated", "1", "records"],
        ["osv/PyPI", "updated", "2", "records"],
        ["3", "updated"],
    ]
    assert _db(tmp_path, *arguments) == 0
    assert all("unchanged" in line for line in capsys.readouterr().out.splitlines())


def test_status_says_what_failed_and_what_was_never_had(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Older data with the reason, the others by name; the summary counts all."""
    arguments = ("update", "--mirror", mirror.as_uri(), "--only", "PyPI,photon")
    assert _db(tmp_path, *arguments) == 3
    *_, photon, counts = capsys.readouterr().out.splitlines()
    assert photon.startswith("photon (5 feeds)  failed     file:")
    assert photon.endswith("cve_data_photon1.0.json: not there")
    assert counts == "1 updated, 5 failed"
    (mirror / "osv/PyPI/all.zip").write_bytes(b"no zip")
    assert _db(tmp_path, *arguments) == 3
    assert "5 failed" not in capsys.readouterr().out.splitlines()[-1]
    assert _db(tmp_path, "status") == 0
    *_, failed, never = capsys.readouterr().out.splitlines()
    assert failed.startswith("osv/PyPI: the last attempt (20")
    assert "not a zip archive" in failed
    assert never.endswith(": photon (all 5)")


def test_update_of_all_fails_only_for_what_is_required(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mirror need not have every ecosystem, but it needs those that every image is made of."""
    assert _db(tmp_path, "update", "--mirror", mirror.as_uri()) == 0
    assert "osv/CRAN" in capsys.readouterr().out
    (mirror / "osv/npm/all.zip").unlink()
    assert _db(tmp_path, "update", "--mirror", mirror.as_uri()) == 0
    assert "last good data is kept" in capsys.readouterr().out
    assert _db(tmp_path / "other", "update", "--mirror", mirror.as_uri()) == 3
    assert capsys.readouterr().err == "pratique: not there: osv/npm\n"


def test_update_without_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing could be had: exit 3; usage errors: exit 2."""
    assert _db(tmp_path, "update", "--mirror", (tmp_path / "none").as_uri(), "--only", "kev") == 3
    assert _db(tmp_path, "update", "--only", "nonsense") == 2
    assert _db(tmp_path, "update", "--offline") == 2
    assert "nonsense" in capsys.readouterr().err


def test_status_and_verify(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before: the starter set, nothing to verify. After: every source with its figures. Damaged: exit 1."""
    assert _db(tmp_path, "status") == 0
    assert "starter" in capsys.readouterr().out
    assert _db(tmp_path, "verify") == 3
    _db(tmp_path, "update", "--mirror", mirror.as_uri(), "--only", "PyPI")
    capsys.readouterr()
    assert _db(tmp_path, "status", "--format", "json") == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert (source["name"], source["records"], source["state"], source["licence"]) == ("osv/PyPI", 2, "ok", "CC-BY-4.0")
    assert _db(tmp_path, "status", "--max-age", "0s") == 0
    assert "osv/PyPI" in capsys.readouterr().out
    assert _db(tmp_path, "verify") == 0
    (file,) = (tmp_path / "cache/db").glob("*.sqlite")
    file.write_bytes(file.read_bytes() + b"x")
    assert _db(tmp_path, "verify", "--quiet") == 1
    assert "digest differs" in capsys.readouterr().out


def test_show_a_vulnerability(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By any of its names; text of a feed never reaches the terminal raw."""
    odd = {"id": "GHSA-e", "summary": "\x1b[31mred", "aliases": ["CVE-2020-1"], "affected": []}
    (mirror / "osv/npm/all.zip").write_bytes(archive([odd]))
    _db(tmp_path, "update", "--mirror", mirror.as_uri())
    capsys.readouterr()
    assert _db(tmp_path, "show", "CVE-2020-1") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert all(part in shown for part in ("PYSEC-1", "known to be exploited", "EPSS 0.51234", "Debian:12", "< 2.0"))
    assert _db(tmp_path, "show", "CVE-2020-1", "--format", "json") == 0
    assert {row["package"] for row in json.loads(capsys.readouterr().out)["affected"]} == {"openssl", "flask", "zlib"}
    assert _db(tmp_path, "show", "CVE-1900-1") == 1


def test_search_finds_packages_and_advisories(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a part of a package's name, of a title or of an id, in whatever case; nothing found is exit 1."""
    _db(tmp_path, "update", "--mirror", mirror.as_uri(), "--only", "PyPI")
    capsys.readouterr()
    assert _db(tmp_path, "search", "FLASK") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["FEED", "ECOSYSTEM", "PACKAGE", "ADVISORIES"],
        ["osv/PyPI", "PyPI", "flask", "1"],
        [],
        ["FEED", "ID", "ALIASES", "TITLE"],
        ["osv/PyPI", "PYSEC-1", "CVE-2020-1", "Flask", "is", "bad"],
    ]
    assert _db(tmp_path, "search", "cve-2020-1", "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert ([one["id"] for one in document["advisories"]], document["packages"], document["more"]) == (["PYSEC-1"], [], False)
    assert _db(tmp_path, "search", "is bad", "--limit", "1") == 0
    assert "1 of 2 advisories are shown" in capsys.readouterr().err
    assert _db(tmp_path, "search", "nonesuch") == 1
    assert _db(tmp_path, "search", "%") == 1


def test_status_says_how_old_each_source_is(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a word for people, as seconds for programs."""
    _db(tmp_path, "update", "--mirror", mirror.as_uri(), "--only", "PyPI")
    capsys.readouterr()
    assert _db(tmp_path, "status") == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("osv/PyPI"))
    assert "  0m  " in row
    path = tmp_path / "cache/db/index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["feeds"]["osv/PyPI"]["fetched_at"] = "2020-01-01T00:00:00Z"
    path.write_text(json.dumps(index), encoding="utf-8")
    assert _db(tmp_path, "status", "--format", "json") == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert source["state"] == "stale"
    assert source["age_seconds"] > 86_400 * 365


@pytest.mark.parametrize(
    ("key", "value", "state"),
    [("format", 1, "outdated"), ("fetched_at", "2999-01-01T00:00:00Z", "ahead"), ("fetched_at", "2020-01-01T00:00:00Z", "stale")],
)
def test_status_says_what_is_wrong_with_a_source(
    tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str], key: str, value: object, state: str
) -> None:
    """Of another format, from the future, or from long ago."""
    _db(tmp_path, "update", "--mirror", mirror.as_uri(), "--only", "PyPI")
    path = tmp_path / "cache/db/index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["feeds"]["osv/PyPI"][key] = value
    path.write_text(json.dumps(index), encoding="utf-8")
    capsys.readouterr()
    assert _db(tmp_path, "status") == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("osv/PyPI"))
    assert state in row.split()
    assert _db(tmp_path, "update", "--mirror", mirror.as_uri(), "--only", "PyPI") == 0
    capsys.readouterr()
    assert _db(tmp_path, "status", "--format", "json") == 0
    assert [source["state"] for source in json.loads(capsys.readouterr().out)["sources"]] == ["ok"]


def test_show_takes_ids_as_people_write_them(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In any case of letters; what is only scored or exploited has no advisory, and that is said."""
    _db(tmp_path, "update", "--mirror", mirror.as_uri())
    assert _db(tmp_path, "show", "cve-2020-1") == 0
    assert _db(tmp_path, "show", "ghsa-N") == 0
    (mirror / "osv/PyPI/all.zip").write_bytes(archive({}))
    capsys.readouterr()
    assert _db(tmp_path / "other", "update", "--mirror", mirror.as_uri(), "--only", "kev,epss") == 0
    capsys.readouterr()
    assert _db(tmp_path / "other", "show", "CVE-2020-1") == 1
    shown = capsys.readouterr()
    assert "known to be exploited" in shown.out
    assert shown.err == "pratique: no advisory that is here names CVE-2020-1\n"
