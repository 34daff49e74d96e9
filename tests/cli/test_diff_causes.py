"""Causes of real differences: an image and a database that change, one at a time and together."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imagebuilder
from feedsim import archive, record, small_mirror

Call = Callable[..., Any]
_FOLDER = "usr/local/lib/python3.12/site-packages"
_EPSS = "#model_version:v1,score_date:2026-01-03T00:00:00+0000\ncve,epss,percentile\nCVE-2020-1,0.91234,0.99765\n"


class Site:
    """A mirror of feeds, a cache and images; every scan writes its report."""

    def __init__(self, call: Call, folder: Path) -> None:
        self.call, self.folder = call, folder
        self.now = "2026-01-05"
        for name, content in small_mirror().items():
            self.serve(name, content)

    def serve(self, name: str, content: bytes) -> None:
        """Put a feed into the mirror."""
        path = self.folder / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def image(self, name: str, **packages: str) -> str:
        """Write an image of packages of pip."""
        files = {
            f"{_FOLDER}/{package}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
            for package, version in packages.items()
        }
        path = self.folder / f"{name}.tar"
        path.write_bytes(imagebuilder.docker_archive([imagebuilder.layer(files)]))
        return f"docker-archive:{path}"

    def update(self) -> None:
        """Take what the mirror has."""
        source = (self.folder / "mirror").as_uri()
        ran = self.call("db", "update", "--mirror", source, "--cache-dir", self.folder / "cache", "--only", "PyPI,kev,epss")
        assert ran.code == 0, ran.err

    def scan(self, target: str, name: str, *more: str) -> Path:
        """Scan, offline."""
        path = self.folder / f"{name}.json"
        ran = self.call("scan", target, *self._where(), "-q", "-o", f"json={path}", *more)
        assert ran.code in (0, 1), ran.err
        return path

    def causes(self, old: object, new: object, *more: str) -> Any:
        """Compare; return the document."""
        return self.call("diff", old, new, *self._where(), "-q", "-f", "json", *more).json

    def _where(self) -> tuple[str, ...]:
        return "--offline", "--now", self.now, "--cache-dir", str(self.folder / "cache")


@pytest.fixture
def site(call: Call, tmp_path: Path) -> Site:
    """Return a site whose database has one vulnerability of flask below 2.0 and one of jinja2 below 3.0."""
    made = Site(call, tmp_path)
    made.update()
    return made


def told(document: Any) -> set[tuple[str, str, str]]:
    """Return (change, id, cause) of every finding."""
    return {(one["change"], (one["new"] or one["old"])["id"], one["cause"]["kind"]) for one in document["findings"]}


def test_a_new_record_and_a_withdrawn_one(site: Site) -> None:
    """The same image, another database: advisories, with feed and record, in both directions."""
    image = site.image("a", Flask="1.0", jinja2="2.0")
    old = site.scan(image, "old")
    site.serve(
        "osv/PyPI/all.zip",
        archive([record("PYSEC-1", "Flask", "2.0", aliases=["CVE-2020-1"]), record("PYSEC-3", "jinja2", "2.5")]),
    )
    site.update()
    found = site.causes(old, site.scan(image, "new"))
    assert told(found) == {("added", "PYSEC-3", "advisory"), ("removed", "PYSEC-2", "advisory")}
    assert {(tuple(one["cause"]["feeds"]), tuple(one["cause"]["records"])) for one in found["findings"]} == {
        (("osv/PyPI",), ("PYSEC-3",)), (("osv/PyPI",), ("PYSEC-2",)),
    }  # fmt: skip
    assert (found["same_image"], found["same_database"]) == (True, False)
    said = {one["change"]: one["cause"]["message"] for one in found["findings"]}
    assert said["added"].startswith("PYSEC-3 of osv/PyPI is new, or holds now (advisories of ")
    assert said["removed"].startswith("PYSEC-2 of osv/PyPI was withdrawn, or holds no longer (advisories of ")


def test_an_unchanged_update_is_no_difference(site: Site) -> None:
    """Fetched again, with nothing new: the same database, and no difference."""
    image = site.image("a", Flask="1.0")
    old = site.scan(image, "old")
    site.update()
    found = site.causes(old, site.scan(image, "new"))
    assert (found["findings"], found["same_database"]) == ([], True)


def test_kev_and_epss(site: Site) -> None:
    """Listed no longer, and likelier: each member with its own feed."""
    image = site.image("a", Flask="1.0")
    old = site.scan(image, "old")
    site.serve("cisa/known_exploited_vulnerabilities.json", json.dumps({"vulnerabilities": []}).encode())
    site.serve("epss/epss_scores-current.csv.gz", gzip.compress(_EPSS.encode(), mtime=0))
    site.update()
    (change,) = site.causes(old, site.scan(image, "new"))["findings"]
    assert {(field["name"], *field["cause"]["feeds"]) for field in change["fields"]} == {
        ("kev", "cisa/kev"),
        ("epss", "epss/current"),
    }
    assert not change["introduced"]
    (back,) = site.causes(site.folder / "new.json", old)["findings"]
    assert back["introduced"]


def test_both_changed(site: Site) -> None:
    """Another image and another database: what was always in range is the database's, what came is the image's."""
    old = site.scan(site.image("a", Flask="1.0", jinja2="2.0"), "old")
    more = [
        record("PYSEC-4", "Flask", "1.5"),
        record("PYSEC-1", "Flask", "2.0", aliases=["CVE-2020-1"]),
        record("PYSEC-2", "jinja2", "3.0"),
    ]
    site.serve("osv/PyPI/all.zip", archive([*more, record("PYSEC-5", "idna", "3.7")]))
    site.update()
    new = site.scan(site.image("b", Flask="1.1", jinja2="3.0", idna="3.6"), "new")
    found = site.causes(old, new)
    assert told(found) == {
        ("added", "PYSEC-4", "advisory"),
        ("added", "PYSEC-5", "image"),
        ("removed", "PYSEC-2", "image"),
        ("changed", "CVE-2020-1", "image"),
    }


def test_two_targets_of_one_moment(site: Site) -> None:
    """Both scanned now: no cause is the database's."""
    old, new = site.image("a", Flask="1.0"), site.image("b", Flask="1.0", jinja2="2.0")
    found = site.causes(old, new)
    assert told(found) == {("added", "PYSEC-2", "image")}
    assert found["same_database"]


def test_a_database_of_the_past(site: Site) -> None:
    """The same image as it was seen before a record was known."""
    image = site.image("a", Flask="1.0", jinja2="2.0")
    before = site.scan(image, "old")
    baseline = site.call("scan", image, *site._where(), "-q", "--baseline", before, "--fail-on", "unknown")
    assert baseline.code == 0
    site.serve(
        "osv/PyPI/all.zip",
        archive(
            [
                record("PYSEC-1", "Flask", "2.0", aliases=["CVE-2020-1"]),
                record("PYSEC-2", "jinja2", "3.0"),
                record("PYSEC-9", "jinja2", "2.9"),
            ]
        ),
    )
    site.update()
    ran = site.call("scan", image, *site._where(), "-q", "--baseline", before, "--fail-on", "unknown", "-f", "json")
    assert (ran.code, ran.json["baseline"]["new"]) == (1, 1)


def test_waivers_and_policies(site: Site) -> None:
    """The same image and database: a waiver ended between two scans, and a rule was asked that was not before."""
    image = site.image("a", Flask="1.0")
    waivers = site.folder / "w.yaml"
    entry = "- {id: w-1, vulnerability: CVE-2020-1, owner: a, reason: b, expires: 2026-01-10}\n"
    waivers.write_text(f"apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n{entry}")
    old = site.scan(image, "old", "--waivers", str(waivers), "--fail-on", "kev")
    site.now = "2026-01-11"
    new = site.scan(image, "new", "--waivers", str(waivers), "--fail-on", "kev")
    found = site.causes(old, new)
    assert told(found) == {("changed", "CVE-2020-1", "waiver")}
    assert "expired on 2026-01-10" in found["findings"][0]["cause"]["message"]
    assert (found["verdict"]["old"], found["verdict"]["new"], found["verdict"]["cause"]["kind"]) == ("allow", "deny", "waiver")
    other = site.scan(image, "other", "--waivers", str(waivers), "--fail-on", "unknown")
    assert site.causes(new, other)["verdict"]["cause"]["kind"] == "policy"
