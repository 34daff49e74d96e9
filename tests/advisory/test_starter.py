"""The starter set: enough, well-formed, licensed, and made of nothing but what a mirror confirms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from advisorymirror import MIRROR, needs_mirror
from pratique.advisory.starter import FEED, Starter
from pratique.model.ecosystems import base, normalize

_ROOT = Path(__file__).parents[2]
_FILE = _ROOT / "src/pratique/advisory/starter/facts.json"


@pytest.fixture(scope="module")
def starter() -> Starter:
    return Starter.load()


def test_it_holds_enough(starter: Starter) -> None:
    """At least 150 vulnerabilities, many of them exploited, and the best known by name."""
    assert len(starter) >= 150
    assert {entry.cve for entry in starter.kev(["CVE-2021-44228", "CVE-2021-4034"])} == {"CVE-2021-44228", "CVE-2021-4034"}
    for cve in ("CVE-2021-44228", "CVE-2022-22965", "CVE-2024-3094", "CVE-2021-3156", "CVE-2023-4911", "CVE-2023-38545"):
        assert list(starter.find(cve)), cve


def test_it_covers_ecosystems_and_distributions(starter: Starter) -> None:
    """What images are made of."""
    families = {base(ecosystem) for ecosystem in starter.ecosystems}
    languages = {"PyPI", "npm", "Go", "Maven", "RubyGems", "Packagist", "NuGet", "crates.io", "Hex", "Hackage", "opam"}
    assert families >= languages | {"Debian", "Alpine", "AlmaLinux", "Rocky Linux", "Wolfi", "Bitnami"}
    assert starter.ecosystems >= {"Debian:11", "Debian:12", "Debian:13", "Alpine:v3.20"}


def test_facts_are_as_lookups_need_them(starter: Starter) -> None:
    """Names are normalised, keys can be computed, and every hit has details with a title of ours."""
    facts = json.loads(_FILE.read_bytes())
    for ecosystem, packages in facts["facts"].items():
        found = starter.lookup(ecosystem, packages)
        assert set(found) == set(packages)
        for name, hits in found.items():
            assert normalize(ecosystem, name) == name
            assert all(hit.feed == FEED and (hit.ranges or hit.versions) for hit in hits)
            known = {advisory.id: advisory for advisory in starter.details([hit.id for hit in hits])}
            assert all(known[hit.id].summary for hit in hits)


def test_versions_in_ranges_can_be_ordered(starter: Starter) -> None:
    """A starter fact never ends in "cannot tell"."""
    facts = json.loads(_FILE.read_bytes())
    for ecosystem, packages in facts["facts"].items():
        for hits in starter.lookup(ecosystem, packages).values():
            assert all(one.lower_key is not None and one.upper_key is not None for hit in hits for one in hit.ranges)


def test_no_share_alike_and_no_long_text() -> None:
    """Facts only: each has a source and a licence that lets it be shipped, titles are short."""
    facts = json.loads(_FILE.read_bytes())
    assert {origin["licence"] for origin in facts["origins"]} <= {
        "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "MIT", "Unlicense", "facts", "public domain",
    }  # fmt: skip
    assert not any("ubuntu" in origin["publisher"].lower() or "victims" in origin["publisher"] for origin in facts["origins"])
    assert all(0 < len(known["title"]) <= 110 for known in facts["known"])


@needs_mirror
def test_it_is_what_the_script_makes_of_the_mirror() -> None:
    """Nobody edits the file by hand."""
    command = [sys.executable, str(_ROOT / "tools/starter.py"), str(MIRROR), "--check"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
