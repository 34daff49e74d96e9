"""From an ecosystem's name to its scheme, and what that costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pratique.model.errors import UnorderableVersionError
from pratique.model.versions import scheme_for
from pratique.versions import compare

NAMES = {
    "Alpine:v3.20": "apk",
    "Wolfi": "apk",
    "Chainguard": "apk",
    "MinimOS": "apk",
    "Debian:12": "dpkg",
    "Ubuntu:24.04:LTS": "dpkg",
    "Ubuntu:Pro:16.04:LTS": "dpkg",
    "Echo": "dpkg",
    "Root:Debian:12": "dpkg",
    "Rocky Linux:9": "rpm",
    "AlmaLinux:9": "rpm",
    "Red Hat:enterprise_linux:9::baseos": "rpm",
    "SUSE:Linux Enterprise Server 15 SP5": "rpm",
    "openSUSE:Leap 15.6": "rpm",
    "Photon OS:4.0": "rpm",
    "Mageia:9": "rpm",
    "openEuler:24.03-LTS": "rpm",
    "Azure Linux:3": "rpm",
    "Amazon Linux:2023": "rpm",
    "Oracle Linux:9": "rpm",
    "PyPI": "pep440",
    "npm": "semver",
    "Go": "golang",
    "Maven": "maven",
    "Maven:https://maven.google.com": "maven",
    "NuGet": "nuget",
    "RubyGems": "rubygems",
    "Packagist": "composer",
    "Packagist:https://packages.drupal.org/8": "composer",
    "crates.io": "semver",
    "Hex": "semver",
    "Pub": "pub",
    "CRAN": "cran",
    "Bioconductor:3.19": "cran",
    "Hackage": "hackage",
    "GHC": "hackage",
    "SwiftURL": "semver",
    "GitHub Actions": "semver",
    "ConanCenter": "generic",
    "Bitnami": "bitnami",
    "opam": "opam",
    "Julia": "semver",
    "VSCode": "semver",
}


@pytest.mark.parametrize("ecosystem", NAMES)
def test_an_ecosystem_has_its_scheme(ecosystem: str) -> None:
    """With its release or without."""
    scheme = scheme_for(ecosystem)
    assert scheme is not None
    assert scheme.name == NAMES[ecosystem]


@pytest.mark.parametrize("ecosystem", ["GIT", "OSS-Fuzz", "npmm", "", "debian:12", ":"])
def test_no_scheme_is_no_guess(ecosystem: str) -> None:
    """Commits and unknown names have no order, and comparing says so."""
    assert scheme_for(ecosystem) is None
    with pytest.raises(UnorderableVersionError):
        compare(ecosystem, "1", "2")


def test_compare_says_older_equal_newer() -> None:
    """-1, 0 and 1."""
    assert compare("Debian:12", "1.0~rc1-1", "1.0-1") == -1
    assert compare("Alpine:v3.20", "1.2.3-r0", "1.2.3-r0") == 0
    assert compare("npm", "1.10.0", "1.9.0") == 1


def test_only_the_scheme_that_is_needed_is_imported() -> None:
    """Comparing two Debian versions reads no other scheme."""
    code = (
        "import sys; from pratique.versions import compare; compare('Debian:12', '1', '2');"
        "print(*sorted(name for name in sys.modules if name.startswith('pratique.model.versions.')))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed == ["pratique.model.versions._keys", "pratique.model.versions.dpkg"]
