"""OS packages' file lists in, the few paths that matter out: those where another cataloger could find a package."""

from __future__ import annotations

import re

_EVIDENCE = re.compile(
    r"(?:^|/)(?:METADATA|PKG-INFO|package\.json|installed\.json|[^/]+\.(?:egg-info|jar|war|ear|par|gemspec|dll|exe|deps\.json))$"
    r"|(?:^|/)(?:s?bin|libexec|games|lib(?:32|64)?|local|opt)/"
)
_NOISE = re.compile(
    r"\.(?:py[co]?|so(?:\.[0-9.]+)?|h|pm|pl|mo|gz|html?|png|svg|txt|xml|rb|js|ts|map|md|conf|service)$|^usr/share/(?:doc|man|locale)/"
)


def worth_keeping(path: str) -> bool:
    """Say whether `path` (no leading slash) could be evidence of a package or a program that a package installed."""
    return _EVIDENCE.search(path) is not None and _NOISE.search(path) is None
