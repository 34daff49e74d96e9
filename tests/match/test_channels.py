"""Which names and channels are asked for a package of a distribution."""

from __future__ import annotations

import msgspec
import pytest

from matching import package
from pratique.match.find import channels, subjects


@pytest.mark.parametrize(
    ("release", "version", "places"),
    [
        ("Debian:12", "1.2-3", ("Debian:12",)),
        ("Ubuntu:22.04:LTS", "1.2-3", ("Ubuntu:22.04:LTS", "Ubuntu:Pro:22.04:LTS")),
        ("Ubuntu:25.04", "1.2-3", ("Ubuntu:25.04",)),
        ("Ubuntu:22.04:LTS", "1.2-3+Fips1", ("Ubuntu:Pro:FIPS-updates:22.04:LTS", "Ubuntu:Pro:FIPS:22.04:LTS")),
        ("Oracle Linux:8", "1.1.1g-12.el8_3", ("Oracle Linux:8",)),
        ("Oracle Linux:8", "2:1.1.1g-15.ksplice1.el8_3", ("Oracle Linux:8:ksplice",)),
        ("Oracle Linux:8", "10:1.1.1k-12.el8_9_fips", ("Oracle Linux:8:fips",)),
        ("SUSE:Linux Enterprise Server 12 SP5", "1-1", ("SUSE:Linux Enterprise Server 12 SP5",)),
    ],
)
def test_channels_beside_a_release(release: str, version: str, places: tuple[str, ...]) -> None:
    """Subscribers' builds are listed beside the release; builds with numbers of their own apart from it."""
    assert channels(release, version) == places


def test_packages_of_suse_15_are_filed_under_modules() -> None:
    """The product first, then what is mended for long-term customers, then the modules."""
    places = channels("SUSE:Linux Enterprise Server 15 SP7", "1-1")
    assert places[:3] == (
        "SUSE:Linux Enterprise Server 15 SP7",
        "SUSE:Linux Enterprise Server 15 SP7-LTSS",
        "SUSE:Linux Enterprise Module for Basesystem 15 SP7",
    )


def _asked(release: str, name: str, version: str, source: tuple[str, str] | None, purl: str = "") -> list[tuple[str, str]]:
    installed = package("rpm", name, version, source=source)
    if purl:
        installed = msgspec.structs.replace(installed, purl=purl)
    found, gaps = subjects([installed], release)
    assert not gaps
    return [(one.name, one.version) for one in found]


def test_red_hat_names_what_is_installed_or_the_source() -> None:
    """Both names are asked, each with its own version; without a source the package is its own."""
    release = "Red Hat:enterprise_linux:9"
    assert _asked(release, "perl-Errno", "1.30-481.el9", ("perl", "4:5.32.1-481.el9")) == [
        ("perl-Errno", "1.30-481.el9"),
        ("perl.src", "4:5.32.1-481.el9"),
    ]
    assert _asked(release, "zlib", "1.2.11-40.el9", None) == [("zlib", "1.2.11-40.el9"), ("zlib.src", "1.2.11-40.el9")]


def test_a_package_of_a_module_is_asked_by_its_stream() -> None:
    """Streams number their versions apart; Oracle says the stream in some records only."""
    purl = "pkg:rpm/redhat/npm@10.2.4-1.18.19.0.1?arch=x86_64&rpmmod=nodejs%3A18%3A8090020231206%3Aa75119d5&upstream=nodejs"
    assert _asked("Red Hat:enterprise_linux:8", "npm", "1:10.2.4-1", ("nodejs", "1:18.19.0-1"), purl) == [
        ("nodejs:18/npm", "1:10.2.4-1"),
        ("nodejs:18/nodejs.src", "1:18.19.0-1"),
    ]
    assert _asked("Oracle Linux:8", "npm", "1:10.2.4-1", ("nodejs", "1:18.19.0-1"), purl) == [
        ("npm", "1:10.2.4-1"),
        ("nodejs:18/npm", "1:10.2.4-1"),
    ]


def test_a_module_without_its_stream_is_a_gap() -> None:
    """A package list without labels does not say the stream."""
    installed = package("rpm", "npm", "1:10.2.4-1.module+el8.9.0+1+a")
    found, gaps = subjects([installed], "AlmaLinux:8")
    assert [one.name for one in found] == ["npm"]
    assert [(gap.code, gap.package) for gap in gaps] == [("advisories.unmatchable", installed.purl)]


def test_some_distributions_name_source_packages() -> None:
    """Azure Linux and Photon: both; AlmaLinux: what is installed."""
    both = [("openssl-libs", "3.3.0-1.azl3"), ("openssl", "3.3.0-1.azl3")]
    assert _asked("Azure Linux:3", "openssl-libs", "3.3.0-1.azl3", ("openssl", "3.3.0-1.azl3")) == both
    assert _asked("AlmaLinux:9", "openssl-libs", "1:3.0.7-1.el9", ("openssl", "1:3.0.7-1.el9")) == [
        ("openssl-libs", "1:3.0.7-1.el9")
    ]
