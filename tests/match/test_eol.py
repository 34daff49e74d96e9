"""Runtimes past the end of their support: which are seen, of which release a version is, and what is left to distributors."""

from __future__ import annotations

import re

import pytest

from matching import package
from pratique.advisory.starter import Starter
from pratique.match.eol import _PRODUCTS, eol_findings, runtimes
from pratique.model.ecosystems import LIFE_CYCLES
from pratique.model.finding import Severity
from pratique.model.hits import Hit
from pratique.model.inventory import Package, PackageType

_NOW = "2026-11-25T00:00:00Z"
_SITE = "usr/local/lib/python3.8/site-packages/pip-23.0.dist-info/METADATA"
_GEMS = "usr/local/lib/ruby/gems/3.1.0/specifications/default/json-2.6.1.gemspec"


def _hit(product: str, release: str, note: str) -> Hit:
    return Hit(f"EOL-{product}-{release}", versions=(release,), state="end-of-life", note=note, feed="endoflife/products")


_TABLE = {
    "nodejs": [_hit("nodejs", "18", "2025-04-30"), _hit("nodejs", "24", "2028-04-30"), _hit("nodejs", "3", "ended")],
    "python": [_hit("python", "3", "2000-01-01"), _hit("python", "3.8", "2024-10-07"), _hit("python", "3.14", "2030-10-31")],
    "go": [_hit("go", "1.24", "2026-02-10")],
    "ruby": [_hit("ruby", "3.1", "2025-03-31")],
    "dotnet": [_hit("dotnet", "6", "2024-11-12")],
}


def _ids(*packages: Package, now: str = _NOW) -> list[str]:
    return [finding.id for finding in eol_findings(runtimes(packages), _TABLE, now)]


@pytest.mark.parametrize(
    ("kind", "name", "version", "identifier"),
    [
        ("generic", "node", "18.20.4", "EOL-nodejs-18"),
        ("generic", "node", "v18", "EOL-nodejs-18"),
        ("generic", "node", "3.3.1", "EOL-nodejs-3"),
        ("generic", "node", "24.1.0", ""),
        ("generic", "node", "99.0.0", ""),
        ("generic", "python", "3.8.20", "EOL-python-3.8"),
        ("generic", "python", "3.80.0", "EOL-python-3"),
        ("golang", "stdlib", "1.24.13", "EOL-go-1.24"),
        ("golang", "toolchain", "1.24.0-rc.1", "EOL-go-1.24"),
        ("golang", "stdlib", "", ""),
        ("golang", "example.org/stdlib", "1.24.1", ""),
        ("generic", "unheard-of", "1.0", ""),
    ],
)
def test_a_version_belongs_to_the_longest_release_that_it_begins_with(
    kind: PackageType, name: str, version: str, identifier: str
) -> None:
    """By whole numbers: 3.80 is not of 3.8; what is still mended, or unknown, is no finding."""
    assert _ids(package(kind, name, version)) == ([identifier] if identifier else [])


def test_the_runtime_pack_of_a_program_is_dotnet() -> None:
    """Self-contained programs carry it, and so do shared frameworks."""
    packs = [
        Package(name=name, version="6.0.36", purl=f"pkg:nuget/{name}@6.0.36", type="nuget", ecosystem="NuGet")
        for name in ("Microsoft.NETCore.App.Runtime.linux-x64", "Microsoft.NETCore.App", "Newtonsoft.Json")
    ]
    assert {seen.package.name for seen in runtimes(packs)} == {packs[0].name, packs[1].name}
    assert _ids(*packs) == ["EOL-dotnet-6"]


def test_a_day_that_has_not_passed_is_no_end() -> None:
    """The last day itself is still supported; the clock is what is passed in."""
    node = package("generic", "node", "18.20.4")
    assert _ids(node, now="2025-04-30T23:59:59Z") == []
    assert _ids(node, now="2025-05-01T00:00:00Z") == ["EOL-nodejs-18"]


def test_what_the_distribution_packages_is_its_own() -> None:
    """Neither an OS package nor what one installed, nor a wish in a lock file, is asked about."""
    assert _ids(package("deb", "node", "18.20.4"), package("generic", "node", "18.20.4", owner="pkg:deb/debian/nodejs@18")) == []


def test_a_folder_shows_an_interpreter_that_nothing_else_names() -> None:
    """The official images have Python and Ruby below /usr/local."""
    assert _ids(package("pypi", "pip", "23.0", path=_SITE), package("gem", "json", "2.6.1", path=_GEMS)) == [
        "EOL-python-3.8",
        "EOL-ruby-3.1",
    ]


@pytest.mark.parametrize(
    ("name", "version"), [("python3.8-minimal", "3.8.10-0ubuntu1"), ("python38", "3.8.17-1.el8"), ("python3", "3.8.10-r0")]
)
def test_a_folder_of_the_distributions_interpreter_is_its_own(name: str, version: str) -> None:
    """pip may install beside it, the interpreter stays the distributor's to mend."""
    pip = package("pypi", "pip", "23.0", path=_SITE)
    assert _ids(pip, package("deb", name, version)) == []
    assert _ids(pip, package("deb", "python3", "3.11.2-1")) == ["EOL-python-3.8"]


def test_one_finding_a_release_wherever_it_is() -> None:
    """Two programs, one finding with the first place; its fingerprint is not of the point release."""
    one = package("golang", "stdlib", "1.24.1", path="usr/bin/b")
    other = package("golang", "stdlib", "1.24.13", path="usr/bin/a")
    (found,) = eol_findings(runtimes([one, other]), _TABLE, _NOW, {"sha256:1": "COPY a"})
    assert (found.kind, found.severity, found.title) == ("eol", Severity.HIGH, "Go 1.24 is past the end of its support")
    assert (
        found.message == "security support of Go 1.24 ended on 2026-02-10; new vulnerabilities are not mended; it is in 2 places"
    )
    assert found.location is not None
    assert (found.location.path, found.location.instruction) == ("usr/bin/b", "COPY a")
    assert found.because is not None
    assert (found.because.source, found.because.comparison) == (
        "endoflife/products",
        "1.24.1 is of 1.24, which ended on 2026-02-10, before 2026-11-25",
    )
    (alone,) = eol_findings(runtimes([other]), _TABLE, _NOW)
    assert alone.fingerprint == found.fingerprint


def test_the_shipped_table_answers_in_the_same_form() -> None:
    """Every product of it is one that can be seen, with releases by number and days as dates."""
    products = sorted({product for product, _ in _PRODUCTS.values()})
    table = Starter.load().lookup(LIFE_CYCLES, [*products, "unheard-of"])
    assert {"python", "nodejs", "go", "php", "ruby", "dotnet", "perl", "nginx", "postgresql"} <= set(table)
    for product, hits in table.items():
        for hit in hits:
            assert hit.id == f"EOL-{product}-{hit.versions[0]}"
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", hit.note)
            assert re.fullmatch(r"\d+(\.\d+)?", hit.versions[0])
    seen = runtimes([package("generic", "node", "16.20.2"), package("golang", "stdlib", "1.20.1")])
    assert [finding.id for finding in eol_findings(seen, table, _NOW)] == ["EOL-go-1.20", "EOL-nodejs-16"]
