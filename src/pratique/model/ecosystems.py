"""Ecosystem and package names in, the one spelling that look-ups use out.

Ecosystem names are OSV's: `PyPI`, `Debian:12`, `Ubuntu:22.04:LTS`. What follows the first colon is a release of a distribution,
or, for the few in `_REPOSITORIES`, a package repository, which names the same packages.
https://ossf.github.io/osv-schema/#defined-ecosystems
"""

from __future__ import annotations

import re

_PEP_503 = re.compile(r"[-_.]+")
# Their registries ignore case, or allow lower case only: https://getcomposer.org/doc/04-schema.md#name,
# https://learn.microsoft.com/nuget/reference/nuspec#id, https://hex.pm/docs/publish, owner/repository of GitHub.
_CASELESS = frozenset({"Packagist", "NuGet", "Hex", "GitHub Actions", "SwiftURL", "Bitnami"})
# Not OSV's: until when releases of products are mended. Names are those of https://endoflife.date.
LIFE_CYCLES = "End of life"
_REPOSITORIES = frozenset({"Packagist", "Maven"})


def base(ecosystem: str) -> str:
    """Return the ecosystem without its release: "Debian:12" -> "Debian"."""
    return ecosystem.partition(":")[0]


def canonical(ecosystem: str) -> str:
    """Return the spelling under which advisories are kept: with its release, without a package repository's address."""
    name = base(ecosystem)
    return name if name in _REPOSITORIES else ecosystem


def normalize(ecosystem: str, name: str) -> str:
    """Return the one spelling of a package name in its ecosystem. A Maven name is "group:artifact", an npm scope is kept.

    PyPI follows PEP 503; Packagist, NuGet and Hex ignore case; everywhere else letters count.
    """
    kind = base(ecosystem)
    if kind == "PyPI":
        return _PEP_503.sub("-", name).lower()
    if kind in _CASELESS:
        return name.lower()
    return name
