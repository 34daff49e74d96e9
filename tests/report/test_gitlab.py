"""What GitLab takes: its schemas, and the limits of the database behind them, which refuses what the schemas let pass."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hostilereport
import reporting
import schemas
from pratique.model.finding import Cvss, FindingLocation, VexNote
from pratique.model.report import Report
from pratique.report import gitlab

KINDS = gitlab.KINDS
# GitLab's own files, where somebody put them beside the other schemas: gitlab-container-scanning-15.2.1.schema.json and so on.
OFFICIAL = sorted(path.name for path in schemas.SCHEMAS.glob("gitlab-*-scanning-*.schema.json")) or [""]
GOOD = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
texts = st.text(max_size=12) | st.sampled_from(
    (
        "", "\0", "\ud800", "a" * 300, "é" * 300, "https://x", "https://" + "x" * 3000, "javascript:1", "CVE-1", "\n", GOOD,
        "AV:N/AC:L/Au:N/C:P/I:P/A:P",
    )
)  # fmt: skip


def written(report: Report, kind: str = "container-scanning") -> Any:
    """Write and read a report."""
    out = io.BytesIO()
    gitlab.REPORTER.at(kind).write(report, out)
    return json.loads(out.getvalue())


def errors(document: Any, kind: str) -> list[str]:
    """Return what the schema says against it."""
    return schemas.errors(json.dumps(document).encode(), f"gitlab-{kind}.own.json")


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_can_say_no(kind: str) -> None:
    """A schema in our own words is worth what it refuses: each damage to a sound report is seen."""
    document = written(hostilereport.rich(), kind)
    assert errors(document, kind) == []

    def damaged(*path: Any, value: Any = None) -> Any:
        copy = json.loads(json.dumps(document))
        place = copy
        for step in path[:-1]:
            place = place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return copy

    first = ("vulnerabilities", 0)
    for damage in (
        damaged("version"), damaged("scan"), damaged("version", value="15"), damaged("scan", "type", value="sast"),
        damaged("scan", "start_time", value="2026-01-01T00:00:00Z"), damaged("scan", "scanner", "vendor"),
        damaged(*first, "identifiers", value=[]), damaged(*first, "id", value=""), damaged(*first, "severity", value="high"),
        damaged(*first, "name", value="x" * 256), damaged(*first, "location", "dependency"), damaged(*first, "links", value=[{}]),
        damaged(*first, "cvss_vectors", value=[{"vendor": "x", "vector": "CVSS:4.0/AV:N"}]), damaged("remediations", value=[{}]),
        damaged(*first, "flags", value=[{"type": "false-positive", "origin": "x", "description": "y"}]),
    ):  # fmt: skip
        assert errors(damage, kind)


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("of", hostilereport.REPORTS)
def test_the_official_schemas(name: str, of: str) -> None:
    """They have nothing against our reports, either, and agree with ours."""
    if not name:
        pytest.skip(f"GitLab's own schemas (gitlab-KIND-VERSION.schema.json) are not in {schemas.SCHEMAS}")
    kind = next(kind for kind in KINDS if kind in name)
    assert schemas.errors(json.dumps(written(hostilereport.REPORTS[of](), kind)).encode(), name) == []


@pytest.mark.parametrize("kind", KINDS)
def test_thousands(kind: str) -> None:
    """A report of thousands is written and valid as one of none is."""
    packages = [reporting.pypi(f"p{number}") for number in range(2_000)]
    found = [reporting.full(f"CVE-2024-{number:04}", package) for number, package in enumerate(packages)]
    document = written(reporting.report(*found, packages=tuple(packages)), kind)
    assert len(document["vulnerabilities"]) == len(found)
    assert errors(document, kind) == []
    assert len({item["id"] for item in document["vulnerabilities"]}) == len(found)


def test_what_the_database_takes() -> None:
    """Longer texts, more identifiers and repeated links pass the schema, and then the whole report is lost."""
    package = reporting.pypi("urllib3")
    found = msgspec.structs.replace(
        reporting.finding("CVE-2024-1", package, status="not_affected"),
        title="t" * 40_000,
        aliases=("CVE-2024-1", *(f"GHSA-{number}" for number in range(40)), "GHSA-1"),
        references=("https://a/b", "https://a/b", "https://" + "x" * 4000, *(f"https://a/{number}" for number in range(200))),
        vex=VexNote(document="d" * 3000, statement=1, author="o" * 400, status="not_affected"),
    )
    document = written(reporting.report(found, packages=(package,), reference="r" * 4000))
    (item,) = document["vulnerabilities"]
    assert len(item["description"]) <= 15_000
    assert len(item["name"]) <= 255
    names = [one["value"] for one in item["identifiers"]]
    assert names[0] == "CVE-2024-1"
    assert len(names) == len(set(names)) == 20
    links = [one["url"] for one in item["links"]]
    assert len(links) == len(set(links)) <= 100
    assert all(len(link) <= 2048 for link in links)
    assert all(len(flag["description"]) <= 1024 and len(flag["origin"]) <= 255 for flag in item["flags"])
    assert len(item["location"]["image"]) <= 2048


def test_the_image_of_the_default_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As GitLab's own scanner is told it: findings of a branch are then those that the default branch knows."""
    report = hostilereport.rich()
    for value, expected in (("registry.example.com/group/app:latest", True), ("", False), ("x" * 300, False), ("a b", False)):
        monkeypatch.setenv("CS_DEFAULT_BRANCH_IMAGE", value)
        places = [item["location"].get("default_branch_image") for item in written(report)["vulnerabilities"]]
        assert set(places) == ({value} if expected else {None})


@given(st.lists(texts, min_size=12, max_size=12), st.sampled_from(("affected", "fixed", "not_affected")))
@settings(max_examples=80)
def test_any_texts(some: list[str], status: str) -> None:
    """Whatever an advisory or an image says, the report is valid: one bad finding would lose all others."""
    name, version, title, identifier, alias, link, vector, source, path, reference, fix, message = some
    package = msgspec.structs.replace(reporting.pypi("x"), name=name, version=version)
    found = msgspec.structs.replace(
        reporting.finding(f"A{identifier}", package, status=status),
        title=title, aliases=(alias, alias), references=(link,), fixed_in=(fix,), message=message,
        cvss=(Cvss("3.1", vector, 5.0, source), Cvss("3.1", GOOD, 5.0, source)),
        location=FindingLocation(path=path),
    )  # fmt: skip
    report = reporting.report(found, packages=(package,), reference=reference)
    for kind in KINDS:
        document = written(report, kind)
        assert errors(document, kind) == []
        assert len(document["vulnerabilities"]) == 1
