"""What is asked about a package, and when an advisory holds."""

from __future__ import annotations

import pytest

from matching import answers, between, hit, package
from pratique.match import find as finding
from pratique.match.find import Subject, subjects, unanswered, unnamed
from pratique.model.errors import BudgetExceededError
from pratique.model.inventory import Package, PackageType


def _asked(release: str, installed: Package) -> tuple[str, str, str] | None:
    asked, _ = subjects([installed], release)
    return (asked[0].ecosystem, asked[0].name, asked[0].version) if asked else None


DEBIAN, ALPINE, ALMA, UBUNTU = "Debian:12", "Alpine:v3.20", "AlmaLinux:9", "Ubuntu:22.04:LTS"


@pytest.mark.parametrize(
    ("kind", "name", "version", "source", "release", "expected"),
    [
        # Advisories of Debian and Alpine speak of source packages, with the source's version.
        ("deb", "libssl3", "3.0.11-1+b2", ("openssl", "3.0.11-1"), DEBIAN, ("openssl", "3.0.11-1")),
        ("deb", "curl", "7.88.1-10", ("curl", ""), DEBIAN, ("curl", "7.88.1-10")),
        ("deb", "bash", "5.2-1", None, UBUNTU, ("bash", "5.2-1")),
        ("apk", "libcrypto3", "3.1.4-r0", ("openssl", "3.1.4-r0"), ALPINE, ("openssl", "3.1.4-r0")),
        # Those of RPM distributions of binary packages.
        ("rpm", "openssl-libs", "1:3.0.7-2.el9", ("openssl", "3.0.7-2.el9"), ALMA, ("openssl-libs", "1:3.0.7-2.el9")),
        # Signed kernels: the kernel's name, and the version that the binary package has.
        ("deb", "linux-image-6.1.0-21", "6.1.90-1", ("linux-signed-amd64", "6.1.90+1"), DEBIAN, ("linux", "6.1.90-1")),
        (
            "deb",
            "linux-image-6.5",
            "6.5.0-9.9",
            ("linux-signed-hwe-6.5", "6.5.0-9.9"),
            UBUNTU,
            ("linux-hwe-6.5", "6.5.0-9.9"),
        ),
        ("deb", "linux-image-5.15.0-1", "5.15.0-1.1", ("linux-signed", "5.15.0-1.1"), UBUNTU, ("linux", "5.15.0-1.1")),
    ],
)
def test_distribution_packages(
    kind: PackageType, name: str, version: str, source: tuple[str, str] | None, release: str, expected: tuple[str, str]
) -> None:
    """A distribution's packages are asked about in its release, by the name and version that its advisories use."""
    assert _asked(release, package(kind, name, version, source=source)) == (release, *expected)


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (package("pypi", "ruamel.yaml", "1.0"), ("PyPI", "ruamel-yaml", "1.0")),
        (package("npm", "core", "7.0.0", namespace="@babel"), ("npm", "@babel/core", "7.0.0")),
        (package("maven", "core", "2.14.1", namespace="org.apache.log4j"), ("Maven", "org.apache.log4j:core", "2.14.1")),
        (package("golang", "net", "v0.1.0", namespace="golang.org/x"), ("Go", "golang.org/x/net", "v0.1.0")),
        (package("golang", "tool", "(devel)", namespace="example.com", role="main"), ("Go", "example.com/tool", "(devel)")),
        # Its owner is asked: Debian may have mended it without a new upstream version.
        (package("pypi", "requests", "2.28.1", owner="pkg:deb/debian/python3-requests@2.28.1-1"), None),
        # Without a release there is nobody to ask; the corridor says so once for all.
        (package("deb", "bash", "5.2-1"), None),
    ],
)  # fmt: skip
def test_language_packages(installed: Package, expected: tuple[str, str, str] | None) -> None:
    """A language's packages are asked about in its registry's ecosystem, unless an OS package owns them."""
    assert _asked("", installed) == expected


@pytest.mark.parametrize(
    ("installed", "code", "control"),
    [
        (
            package("maven", "log4j", "2.1"),
            "advisories.unmatchable",
            package("maven", "log4j", "2.1", namespace="g"),
        ),
        (package("golang", "dep", ""), "advisories.unmatchable", package("golang", "dep", "(devel)")),
        (package("golang", "main", "", role="main"), "advisories.unmatchable", package("golang", "main", "(devel)", role="main")),
        (package("generic", "home-made", "1.36"), "advisories.no-source", package("pypi", "home-made", "1.36")),
    ],
)
def test_what_cannot_be_asked(installed: Package, code: str, control: Package) -> None:
    """What nobody can be asked about is a gap that names the package; its neighbour that can be asked about has none."""
    asked, gaps = subjects([installed, control], "")
    assert [subject.package for subject in asked] == [control]
    assert [(gap.code, gap.package, gap.path) for gap in gaps] == [(code, installed.purl, "some/place")]


@pytest.mark.parametrize(
    ("version", "status", "comparison"),
    [
        ("0.9", None, ""),
        ("1.0", "affected", "1.0 <= 1.0 < 1.5"),
        ("1.4.9", "affected", "1.0 <= 1.4.9 < 1.5"),
        ("1.5", None, ""),
        ("2.0", "affected", "2.0 <= 2.0 <= 2.2"),
        ("2.2", "affected", "2.0 <= 2.2 <= 2.2"),
        ("2.2.post1", None, ""),
        ("2.9", "affected", "2.9 is listed"),
        ("2.9.0", "affected", "2.9.0 is listed"),
        ("3.1", "affected", "3.0 <= 3.1 < 3.2"),
        ("3.2", None, ""),
        ("4.7", "affected", "4.0 <= 4.7"),
    ],
)
def test_ranges(version: str, status: str | None, comparison: str) -> None:
    """introduced <= v < fixed, v <= last_affected, v < limit, no upper bound, and exact versions however they are written."""
    spoken = hit(
        "CVE-1",
        between("PyPI", "1.0", fixed="1.5"),
        between("PyPI", "2.0", last="2.2"),
        between("PyPI", "3.0", limit="3.2"),
        between("PyPI", "4.0"),
        versions=["2.9"],
    )
    matches, _ = answers("", [package("pypi", "a", version)], {"a": [spoken]})
    assert [(match.status, match.comparison) for match in matches.found] == ([(status, comparison)] if status else [])
    assert matches.gaps == []


def test_unorderable_version() -> None:
    """A version without an order: never a silent "not vulnerable", and the gap names the package; exact matches are sure."""
    odd, even = package("npm", "a", "not-a-version"), package("npm", "a", "1.0.0")
    hits = [
        hit("CVE-1", between("npm", "1.0.0", fixed="2.0.0")),
        hit("CVE-2", between("npm")),
        hit("CVE-3", versions=["not-a-version"]),
        hit("CVE-4", versions=["9.9.9"]),
    ]
    matches, _ = answers("", [odd, even], {"a": hits})
    assert [(m.hit.id, m.status, m.comparison) for m in matches.found if m.subject.package is odd] == [
        ("CVE-1", "under_investigation", "not-a-version cannot be compared"),
        ("CVE-2", "affected", "not-a-version, all versions"),
        ("CVE-3", "affected", "not-a-version is listed"),
    ]
    assert [(m.hit.id, m.status) for m in matches.found if m.subject.package is even] == [
        ("CVE-1", "affected"),
        ("CVE-2", "affected"),
    ]
    assert [(gap.code, gap.package) for gap in matches.gaps] == [("advisories.unorderable-version", odd.purl)]
    assert "CVE-1" in matches.gaps[0].message


def test_unorderable_bound() -> None:
    """A bound without an order leaves open whether the advisory holds, unless the other bound decides."""
    hits = [hit("CVE-1", between("npm", "1.0.0", fixed="next")), hit("CVE-2", between("npm", "8.0.0", fixed="next"))]
    matches, _ = answers("", [package("npm", "a", "2.0.0")], {"a": hits})
    assert [(match.hit.id, match.status) for match in matches.found] == [("CVE-1", "under_investigation")]
    assert [gap.code for gap in matches.gaps] == ["advisories.unorderable-version"]


def test_ecosystem_without_order() -> None:
    """Where an ecosystem has no order at all, only exact versions are sure."""
    subject = Subject(package("generic", "a", "1"), "OSS-Fuzz", "a", "1")
    from pratique.match.find import find

    hits = [hit("OSV-1", between("OSS-Fuzz", "", fixed="2")), hit("OSV-2", versions=["1"])]
    matches = find([subject], {"OSS-Fuzz": {"a": hits}})
    assert [(match.hit.id, match.status) for match in matches.found] == [("OSV-1", "under_investigation"), ("OSV-2", "affected")]
    assert len(matches.gaps) == 1


def test_legacy_python_versions() -> None:
    """What PEP 440 does not know is ordered below the rest by convention: under investigation, with a gap, on both sides."""
    hits = [hit("CVE-1", between("PyPI", "", fixed="2.0")), hit("CVE-2", between("PyPI", "1.0", fixed="2.0"))]
    matches, _ = answers("", [package("pypi", "a", "2004d-beta!")], {"a": hits})
    assert [(match.hit.id, match.status) for match in matches.found] == [
        ("CVE-1", "under_investigation"),
        ("CVE-2", "under_investigation"),
    ]
    assert [gap.code for gap in matches.gaps] == ["advisories.unorderable-version"]


def test_go_without_a_version() -> None:
    """A Go program built from its working tree has no version to compare: under investigation, with a gap."""
    main = package("golang", "tool", "(devel)", namespace="example.com", role="main")
    matches, _ = answers("", [main], {"example.com/tool": [hit("GO-1", between("Go", "", fixed="1.0.0"))]})
    assert [match.status for match in matches.found] == ["under_investigation"]
    assert [gap.package for gap in matches.gaps] == [main.purl]


def test_undetermined() -> None:
    """What the source itself has not decided is under investigation; no gap, as everything could be compared."""
    matches, _ = answers(
        "Debian:12", [package("deb", "a", "1-1")], {"a": [hit("CVE-1", between("Debian:12"), state="undetermined")]}
    )
    assert [match.status for match in matches.found] == ["under_investigation"]
    assert matches.gaps == []


@pytest.mark.parametrize(
    ("version", "fixed", "met"),
    [
        ("3.0.7-162.el9_4", "3.1.4-143.module_el9.3.0+60+5ebc989a", False),
        ("3.1.2-141.module_el9.2.0+33+a1b2c3d4", "3.1.4-143.module_el9.3.0+60+5ebc989a", True),
        ("3.1.2-141.module+el9.1.0+15+a1b2c3d4", "3.2.0-1.el9", False),
        ("3.0.4-160.el9_0", "3.0.7-162.el9_4", True),
    ],
)
def test_module_streams(version: str, fixed: str, met: bool) -> None:
    """A notice on a module stream is not about the distribution's own package of that name, nor the other way round."""
    notice = hit("ALSA-1", between(ALMA, "", fixed=fixed))
    matches, _ = answers(ALMA, [package("rpm", "ruby", version)], {"ruby": [notice]})
    assert bool(matches.found) is met


def test_denial() -> None:
    """A source's "not affected" is kept for merging, where it answers other sources."""
    installed = package("deb", "a", "1-1")
    matches, _ = answers("Debian:12", [installed], {"a": [hit("CVE-1", state="not-affected")]})
    assert matches.found == []
    assert matches.denied == {("CVE-1", installed.purl)}


def test_other_names_are_not_met() -> None:
    """Hits of another package or another release are no matches."""
    matches, _ = answers("Debian:12", [package("deb", "a", "1-1")], {"b": [hit("CVE-1", between("Debian:12"))]})
    assert matches.found == []


def test_more_matches_than_any_image_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package database made to match without end ends the scan, whether sources affirm or deny."""
    monkeypatch.setattr(finding, "MAX_MATCHES", 3)
    installed = [package("pypi", "a", f"1.{number}") for number in range(4)]
    affirmed, denied = hit("CVE-1", between("PyPI", "1.0")), hit("CVE-1", state="not-affected")
    assert len(answers("", installed[:3], {"a": [affirmed]})[0].found) == 3
    for spoken in (affirmed, denied):
        with pytest.raises(BudgetExceededError):
            answers("", installed, {"a": [spoken]})


def test_an_owner_that_the_distributor_never_names_answers_for_nothing() -> None:
    """A vendor's own package is not the distribution's: what it brought is matched by itself, unlike the control."""
    ours = package("deb", "python3-requests", "2.28.1-1", source=("requests", ""))
    theirs = package("deb", "vendor-agent", "7.1")
    owned = package("pypi", "requests", "2.28.1", owner=ours.purl)
    brought = package("pypi", "urllib3", "1.26.4", owner=theirs.purl)
    known = {"Debian:12": {"requests": [hit("CVE-2024-1")]}}
    asked, gaps = unanswered([ours, theirs, owned, brought], "Debian:12", known)
    assert [(subject.ecosystem, subject.name) for subject in asked] == [("PyPI", "urllib3")]
    assert gaps == []


def test_a_program_that_only_cpes_name_is_a_gap_without_them() -> None:
    """One that Bitnami names as well is asked there."""
    asked, gaps = subjects([package("generic", "openssl", "3.0.1"), package("generic", "node", "18.0.0")], "")
    assert [(subject.ecosystem, subject.name) for subject in asked] == [
        ("CPE", "openssl:openssl"),
        ("Bitnami", "node"),
        ("CPE", "nodejs:node.js"),
    ]
    assert gaps == []
    assert [(gap.code, gap.package) for gap in unnamed(asked)] == [("advisories.no-source", "pkg:generic/openssl@3.0.1")]
