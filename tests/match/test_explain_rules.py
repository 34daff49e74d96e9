"""Why a vulnerability is not reported for a package that it is about."""

from __future__ import annotations

from matching import between, hit, package
from pratique.match.explain import spared
from pratique.match.find import subjects

ALMA = "AlmaLinux:9"


def test_every_comparison_is_shown() -> None:
    """Below, above, at the last affected version, exact versions: each with the comparison that clears the package."""
    asked, _ = subjects([package("pypi", "a", "2.0")], "")
    spoken = hit(
        "CVE-1",
        between("PyPI", "3.0", fixed="3.1"),
        between("PyPI", "1.0", fixed="1.9"),
        between("PyPI", "1.0", last="1.9.9"),
        between("PyPI", "1.0", fixed="2.0"),
        versions=["2.5"],
    )
    (found,) = spared(asked, [], {"PyPI": {"a": [spoken, hit("CVE-2", between("PyPI"))]}}, {"CVE-1"}, set())
    assert (found.why, [check.comparison for check in found.checks]) == (
        "outside",
        ["2.0 < 3.0", "2.0 >= 1.9", "2.0 > 1.9.9", "2.0 >= 2.0", "2.0 is not listed"],
    )


def test_who_says_so() -> None:
    """A distributor's denial and an owner are named; what is reported, and other vulnerabilities, are left out."""
    denied, owned, other = package("deb", "a", "1-1"), package("pypi", "b", "1.0", owner="pkg:deb/b"), package("pypi", "c", "1.0")
    asked, _ = subjects([denied, package("pypi", "b", "1.0"), other], "Debian:12")
    hits = {
        "Debian:12": {"a": [hit("CVE-1", state="not-affected", note="code not built")]},
        "PyPI": {"b": [hit("CVE-1", between("PyPI"))], "c": [hit("CVE-1", between("PyPI"))]},
    }
    found = spared(asked, [owned], hits, {"CVE-1"}, {other.purl})
    assert [(one.name, one.why, one.owner) for one in found] == [("a", "not-affected", ""), ("b", "owned", "pkg:deb/b")]
    assert found[0].checks[0].note == "code not built"


def test_other_builds() -> None:
    """A notice on a module stream is named as such."""
    asked, _ = subjects([package("rpm", "ruby", "3.0.7-162.el9_4")], ALMA)
    notice = hit("ALSA-1", between(ALMA, "", fixed="3.1.4-143.module_el9.3.0+60+5ebc989a"))
    (found,) = spared(asked, [], {ALMA: {"ruby": [notice]}}, {"ALSA-1"}, set())
    assert [check.comparison for check in found.checks] == ["is about the packages of a module stream"]


def test_no_order() -> None:
    """What cannot be compared is said, too."""
    asked, _ = subjects([package("npm", "a", "odd")], "")
    (found,) = spared(asked, [], {"npm": {"a": [hit("CVE-1", between("npm", "1.0.0", fixed="2.0.0"))]}}, {"CVE-1"}, set())
    assert [check.comparison for check in found.checks] == ["odd cannot be compared"]
