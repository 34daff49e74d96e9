"""Distributions: rival release files, releases as OSV names them, and the end of support."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.inventory.distro import advisory_ecosystem, advisory_ecosystems, is_eol, settle_distro
from pratique.model.inventory import Distro, DistroEvidence


def settled(*evidence: DistroEvidence) -> Distro:
    distro = settle_distro(evidence)
    assert distro is not None
    return distro


@pytest.mark.parametrize(
    ("evidence", "ecosystem", "eol"),
    [
        (DistroEvidence(id="debian", version="12"), "Debian:12", "2028-06-30"),
        (DistroEvidence(id="debian", version="12.5"), "Debian:12", "2028-06-30"),
        (DistroEvidence(id="debian", codename="forky", name="Debian GNU/Linux forky/sid"), "Debian:14", ""),
        (DistroEvidence(id="debian"), None, ""),
        (DistroEvidence(id="raspbian", version="11", like=("debian",)), "Debian:11", ""),
        (DistroEvidence(id="kali", version="2024.1", like=("debian",)), None, ""),
        (DistroEvidence(id="linuxmint", version="21.3", like=("ubuntu", "debian")), None, ""),
        (DistroEvidence(id="ubuntu", version="24.04"), "Ubuntu:24.04:LTS", "2029-05-31"),
        (DistroEvidence(id="ubuntu", version="25.04"), "Ubuntu:25.04", "2026-01-15"),
        (DistroEvidence(id="ubuntu", version="25.10"), "Ubuntu:25.10", "2026-07-09"),
        (DistroEvidence(id="alpine", version="3.20.3"), "Alpine:v3.20", "2026-04-01"),
        (DistroEvidence(id="alpine", version="3.23.0_alpha20250612", name="Alpine Linux edge"), "Alpine:edge", ""),
        (DistroEvidence(id="wolfi", version="20230201"), "Wolfi", ""),
        (DistroEvidence(id="minimos"), "MinimOS", ""),
        (DistroEvidence(id="echo", version="1"), "Echo", ""),
        (DistroEvidence(id="alpaquita", version="23.1"), "Alpaquita:23", ""),
        (DistroEvidence(id="chainguard", version="20230214"), "Chainguard", ""),
        (DistroEvidence(id="rhel", version="9.4"), "Red Hat:enterprise_linux:9", "2032-05-31"),
        (DistroEvidence(id="rhel", version="7.9"), "Red Hat:enterprise_linux:7", "2024-06-30"),
        (
            DistroEvidence(id="centos", version="7", name="CentOS Linux 7 (Core)"),
            "Red Hat:enterprise_linux:7",
            "2024-06-30",
        ),
        (DistroEvidence(id="centos", version="9", name="CentOS Stream 9"), None, "2027-05-31"),
        (DistroEvidence(id="rocky", version="9.4"), "Rocky Linux:9", "2032-05-31"),
        (DistroEvidence(id="almalinux", version="10.0"), "AlmaLinux:10", "2035-05-31"),
        (DistroEvidence(id="ol", version="8.9"), "Oracle Linux:8", "2029-07-01"),
        (DistroEvidence(id="fedora", version="41"), None, "2025-12-15"),
        (DistroEvidence(id="amzn", version="2023"), "Amazon Linux:2023", "2029-06-30"),
        (DistroEvidence(id="amzn", version="2018.03"), "Amazon Linux:1", "2023-12-31"),
        (DistroEvidence(id="opensuse-leap", version="15.6"), "openSUSE:Leap 15.6", "2026-04-30"),
        (DistroEvidence(id="opensuse-tumbleweed", version="20240801"), "openSUSE:Tumbleweed", ""),
        (DistroEvidence(id="sles", version="15.5"), "SUSE:Linux Enterprise Server 15 SP5", "2024-12-31"),
        (DistroEvidence(id="sles", version="15"), "SUSE:Linux Enterprise Server 15", "2019-12-31"),
        (DistroEvidence(id="sles", version="15.9"), "SUSE:Linux Enterprise Server 15 SP9", ""),
        (DistroEvidence(id="sles", version="16.0"), "SUSE:Linux Enterprise Server 16.0", "2027-11-30"),
        (DistroEvidence(id="photon", version="4.0"), "Photon OS:4.0", "2027-10-11"),
        (DistroEvidence(id="mariner", version="2.0"), "Azure Linux:2", "2025-07-31"),
        (DistroEvidence(id="azurelinux", version="3.0"), "Azure Linux:3", "2027-08-31"),
        (DistroEvidence(id="openeuler", version="22.03", name="openEuler 22.03 (LTS-SP3)"), "openEuler:22.03-LTS-SP3", ""),
        (DistroEvidence(id="nonesuch", version="1"), None, ""),
    ],
    ids=lambda value: f"{value.id}-{value.version}" if isinstance(value, DistroEvidence) else None,
)
def test_release_ecosystem_and_end_of_life(evidence: DistroEvidence, ecosystem: str | None, eol: str) -> None:
    """Each distribution's release is named as OSV names it, and its support ends when its vendor says."""
    distro = settled(evidence)
    assert (advisory_ecosystem(distro), distro.eol) == (ecosystem, eol)


def test_no_evidence_is_no_distribution() -> None:
    """An image without a release file has none."""
    assert settle_distro([]) is None


def test_lowest_rank_wins_and_others_fill_blanks_of_their_own_kind() -> None:
    """debian_version tells testing apart for Debian; on Ubuntu, which carries it too, it is ignored."""
    version = DistroEvidence(id="debian", codename="forky", rank=31)
    assert settled(version, DistroEvidence(id="debian", rank=0)).version == "14"
    ubuntu = settled(version, DistroEvidence(id="ubuntu", version="24.04", rank=0))
    assert (ubuntu.id, ubuntu.version, ubuntu.codename) == ("ubuntu", "24.04", "")


def test_redhat_is_asked_without_repositories() -> None:
    """No package of a release is in two repositories, so that one question suffices."""
    assert advisory_ecosystems(settled(DistroEvidence(id="rhel", version="8.10"))) == ("Red Hat:enterprise_linux:8",)


def test_the_last_day_is_still_supported() -> None:
    """Support ends with the day named; without a date nothing is said."""
    distro = Distro(id="x", eol="2026-01-15")
    assert not is_eol(distro, "2026-01-15T23:59:59Z")
    assert is_eol(distro, "2026-01-16T00:00:00Z")
    assert not is_eol(Distro(id="x"), "2999-01-01")


@given(
    st.sampled_from(["debian", "ubuntu", "alpine", "rhel", "sles", "amzn", "openeuler", "photon", "wolfi"]), st.text(max_size=12)
)
def test_any_version_settles(identity: str, version: str) -> None:
    """Whatever an image says its version is, there is an answer."""
    distro = settled(DistroEvidence(id=identity, version=version))
    assert advisory_ecosystem(distro) is None or advisory_ecosystem(distro)
