"""One module a version scheme; each offers SCHEME. Keys are bytes that compare as versions do.

`scheme_for` takes an ecosystem to its scheme; a scheme's module is imported when the first version of its kind is met.
"""

from __future__ import annotations

import functools
import importlib

from pratique.model.ports import VersionScheme

# Names are OSV's (https://ossf.github.io/osv-schema/#defined-ecosystems), and of distributions that OSV does not carry.
_SCHEMES = {
    "apk": ("Alpine", "Alpaquita", "BellSoft Hardened Containers", "Chainguard", "MinimOS", "Wolfi"),
    "bitnami": ("Bitnami",),
    "composer": ("Packagist",),
    "cran": ("Bioconductor", "CRAN"),
    "dpkg": ("Debian", "Echo", "Raspbian", "Ubuntu"),
    "generic": ("Android", "CPE", "ConanCenter", "Homebrew", "Linux"),
    "golang": ("Go",),
    "hackage": ("GHC", "Hackage"),
    "maven": ("Maven",),
    "nuget": ("NuGet",),
    "opam": ("opam",),
    "pep440": ("PyPI",),
    "pub": ("Pub",),
    "rpm": (
        "AlmaLinux",
        "Amazon Linux",
        "Azure Linux",
        "CBL-Mariner",
        "CentOS",
        "Fedora",
        "Mageia",
        "Oracle Linux",
        "Photon OS",
        "Red Hat",
        "Rocky Linux",
        "SUSE",
        "openEuler",
        "openSUSE",
    ),
    "rubygems": ("RubyGems",),
    "semver": ("GitHub Actions", "Hex", "Julia", "Kubernetes", "SwiftURL", "VSCode", "crates.io", "npm"),
}
_SCHEME_OF = {ecosystem: scheme for scheme, ecosystems in _SCHEMES.items() for ecosystem in ecosystems}

# Advisories of one build of it, patched by a vendor: what follows the colon is the ecosystem whose packages are meant.
_REBUILT = "Root"

# Names with releases ("Ubuntu:Pro:22.04:LTS") are many; a scan meets a handful.
_REMEMBERED = 256


@functools.lru_cache(maxsize=_REMEMBERED)
def scheme_for(ecosystem: str) -> VersionScheme | None:
    """Return the scheme of an ecosystem by OSV's name, with or without a release ("Debian:12", "Maven:https://...").

    None for ecosystems that are unknown or whose advisories name commits and not versions ("GIT", "OSS-Fuzz").
    """
    name, _colon, release = ecosystem.partition(":")
    if name == _REBUILT:
        name = release.partition(":")[0]
    scheme = _SCHEME_OF.get(name)
    return None if scheme is None else load(scheme)


def load(scheme: str) -> VersionScheme:
    """Return a scheme by the name of its module ("dpkg", "semver"). Raises ImportError for any other."""
    offered: VersionScheme = importlib.import_module(f"{__name__}.{scheme}").SCHEME
    return offered
