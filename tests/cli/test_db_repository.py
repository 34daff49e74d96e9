"""`db build, publish, pull, export, import` as people run them: what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedsim import small_mirror
from repositorysim import fixed_in, status, web

Call = Callable[..., Any]


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    for name, content in small_mirror().items():
        path = tmp_path / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "mirror"


@pytest.fixture
def built(call: Call, mirror: Path, tmp_path: Path) -> Path:
    ran = call("db", "build", tmp_path / "built", "--only", "PyPI,kev,epss", "--mirror", mirror.as_uri())
    assert (ran.code, ran.err) == (0, "")
    return tmp_path / "built"


@pytest.fixture
def published(call: Call, built: Path, tmp_path: Path) -> Path:
    ran = call("db", "publish", tmp_path / "dest", "--keys", tmp_path / "keys", "--cache-dir", built)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("publication 1: 3 feeds new or changed (0 of them also as changes, 0 bytes), 0 unchanged, ")
    return tmp_path / "dest"


@pytest.mark.loopback
def test_publish_and_pull(call: Call, built: Path, published: Path, tmp_path: Path) -> None:
    """Over HTTP; what is done is one line, and a scan without a connection uses it."""
    root, cache = published / "metadata/1.root.json", tmp_path / "cache"
    with web(published) as site:
        ran = call("db", "pull", site.url, "--trusted-root", root, "--cache-dir", cache)
        assert ran.code == 0, ran.err
        assert ": 3 feeds whole, 0 by their changes, 0 unchanged, " in ran.out
        assert call("db", "publish", published, "--keys", tmp_path / "keys", "--cache-dir", built, "-q").out == ""
        ran = call("db", "pull", site.url, "--trusted-root", root, "--cache-dir", cache)
        assert ran.out.startswith("publication 2 of ")
        assert ": 0 feeds whole, 0 by their changes, 3 unchanged, " in ran.out
    assert fixed_in(cache, "flask") == "2.0"
    assert "full database" in call("db", "status", "--cache-dir", cache).out
    assert call("db", "verify", "--cache-dir", cache).code == 0


@pytest.mark.loopback
def test_how_a_pull_ends(call: Call, published: Path, tmp_path: Path) -> None:
    """1 for what does not verify, 3 for what cannot be had, 2 for what cannot be meant; always one line."""
    root, cache = published / "metadata/1.root.json", tmp_path / "cache"
    timestamp = published / "metadata/timestamp.json"
    with web(published) as site:
        good = timestamp.read_bytes()
        timestamp.write_bytes(good.replace(b'"version":1', b'"version":2'))
        ran = call("db", "pull", site.url, "--trusted-root", root, "--cache-dir", cache)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert "does not verify" in ran.err
        timestamp.write_bytes(good)
        site.faults["timestamp"] = status(404)
        ran = call("db", "pull", site.url, "--trusted-root", root, "--cache-dir", cache)
        assert (ran.code, ran.err.count("\n")) == (3, 1)
        address = site.url
    assert call("db", "pull", address, "--trusted-root", root, "--cache-dir", cache).code == 3
    assert call("db", "pull", address, "--trusted-root", root, "--cache-dir", cache, "--offline").code == 3
    assert call("db", "pull", tmp_path / "nowhere", "--trusted-root", root, "--cache-dir", cache).code == 3
    assert call("db", "pull", published, "--trusted-root", tmp_path / "no", "--cache-dir", cache).code == 2
    assert call("db", "pull", published, "--cache-dir", cache).code == 2
    assert call("db", "pull", "--trusted-root", root, "--cache-dir", cache).code == 2
    assert call("db", "pull", "ftp://x/y", "--trusted-root", root, "--cache-dir", cache).code == 2
    assert call("db", "publish", "https://x/y", "--keys", tmp_path / "keys", "--cache-dir", cache).code == 2
    assert not (cache / "db/index.json").exists()


def test_the_configuration_says_where(call: Call, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`database` and `trusted-root`, in a file or in variables."""
    (tmp_path / "pratique.toml").write_text(
        f'database = "{published}"\ntrusted-root = "{published}/metadata/1.root.json"\ncache-dir = "{tmp_path}/cache"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert call("db", "pull").code == 0
    monkeypatch.setenv("PRATIQUE_DATABASE", str(tmp_path / "elsewhere"))
    assert call("db", "pull").code == 3


def test_export_and_import(call: Call, built: Path, published: Path, tmp_path: Path) -> None:
    """Unsigned and signed; what is not signed is said to be so."""
    root, file = published / "metadata/1.root.json", tmp_path / "out.tar"
    ran = call("db", "export", file, "--cache-dir", built)
    assert (ran.code, ran.out.rpartition(", ")[2]) == (0, "not signed\n")
    ran = call("db", "import", file, "--cache-dir", tmp_path / "cache")
    assert ran.code == 0
    assert "signature" in ran.err
    assert call("db", "import", file, "--cache-dir", tmp_path / "cache", "--trusted-root", root).code == 1
    assert call("db", "export", file, "--cache-dir", built, "--trusted-root", root).code == 2
    assert call("db", "export", file, "--database", published).code == 2
    ran = call("db", "export", file, "--database", published, "--trusted-root", root)
    assert (ran.code, ran.out.rpartition(": ")[2].split(", ")[-2:]) == (0, ["publication 1", "signed\n"])
    assert call("db", "import", file, "--cache-dir", tmp_path / "other", "--trusted-root", root).code == 0
    assert call("db", "pull", file, "--cache-dir", tmp_path / "third", "--trusted-root", root).code == 0
    assert fixed_in(tmp_path / "third", "flask") == "2.0"
    assert call("db", "import", tmp_path / "none", "--cache-dir", tmp_path / "other").code == 2
    assert call("db", "import", root, "--cache-dir", tmp_path / "other").code == 3
    assert call("db", "export", file, "--cache-dir", tmp_path / "empty").code == 3


def test_an_older_file_without_signatures_is_taken_and_said(call: Call, built: Path, tmp_path: Path) -> None:
    """Whoever brings a file decides; that what came later is forgotten is said, even with --quiet."""
    file = tmp_path / "out.tar"
    call("db", "export", file, "--cache-dir", built)
    index = built / "db/index.json"
    index.write_text(index.read_text().replace('"fetched_at": "20', '"fetched_at": "30'))
    ran = call("db", "import", file, "--cache-dir", built, "--quiet")
    assert ran.code == 0
    assert "older than the one that was here, of 30" in ran.err
    ran = call("db", "import", file, "--cache-dir", built, "--quiet")
    assert (ran.code, ran.err) == (0, "")


def test_rotation_and_expiry(call: Call, built: Path, published: Path, tmp_path: Path) -> None:
    """Keys are rotated by a publication; times are durations."""
    arguments = ("db", "publish", published, "--keys", tmp_path / "keys", "--cache-dir", built)
    ran = call(*arguments, "--rotate", "timestamp", "--rotate", "root", "--expires", "3d", "--expires", "root=2w")
    assert (ran.code, ran.out.rpartition(", ")[2]) == (0, "root 2\n")
    assert call(*arguments, "--expires", "0s").code == 2
    assert call(*arguments, "--expires", "boot=1d").code == 2
    assert call(*arguments, "--rotate", "boot").code == 2
    assert call(*arguments, "--threshold", "3").code == 2
    assert (
        call("db", "pull", published, "--trusted-root", published / "metadata/1.root.json", "--cache-dir", tmp_path / "c").code
        == 0
    )


_SBOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "components": [{"type": "library", "name": "flask", "version": "1.0", "purl": "pkg:pypi/flask@1.0"}],
}


@pytest.mark.loopback
def test_a_scan_takes_the_published_database(call: Call, published: Path, tmp_path: Path) -> None:
    """Once a day and no feed beside it; what cannot be had, or does not verify, is a gap, and the last good database answers."""
    (tmp_path / "sbom.json").write_text(json.dumps(_SBOM))
    cache, timestamp = tmp_path / "cache", published / "metadata/timestamp.json"

    def scan(address: str, *more: str) -> Any:
        root = published / "metadata/1.root.json"
        options = ("--database", address, "--trusted-root", root, "--cache-dir", cache, "--format", "json", *more)
        ran = call("scan", f"sbom:{tmp_path}/sbom.json", *options)
        assert [finding["id"] for finding in ran.json["findings"]] == ["CVE-2020-1"], ran.err
        problems = [problem for problem in ran.json["problems"] if problem["code"] == "advisories.publication"]
        return ran.code, ran.json["meta"]["database"]["kind"], [problem["message"] for problem in problems]

    with web(published) as site:
        assert scan(site.url) == (0, "full", [])
        asked = len(site.asked)
        assert scan(site.url) == (0, "full", [])
        assert len(site.asked) == asked
        (cache / "db/publication.json").unlink()
        good = timestamp.read_bytes()
        timestamp.write_bytes(good.replace(b'"version":1', b'"version":2'))
        code, kind, (message,) = scan(site.url, "--fail-on", "gaps")
        assert (code, kind) == (1, "full")
        assert "does not verify" in message
        timestamp.write_bytes(good)
        assert "does not verify" in scan(site.url)[2][0]  # it is not asked again at once
        (cache / "db/publication.json").write_text('{"asked_at": "nonsense"}')
        assert scan(site.url) == (0, "full", [])
        address = site.url
    (cache / "db/publication.json").unlink()
    assert "no connection" in scan(address)[2][0]
    assert scan(address, "--offline") == (0, "full", [])
    assert call("scan", f"sbom:{tmp_path}/sbom.json", "--database", address).code == 2
