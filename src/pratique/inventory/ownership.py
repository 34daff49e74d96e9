"""OS packages' file lists in, the few paths that matter out: those where another cataloger could find a package."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pratique.model.errors import BudgetExceededError

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


# The same rule, taken apart for lists of tens of thousands of paths: C-level tests settle nearly all, the expressions the rest.
_NOISE_ENDS = tuple(
    f".{end}"
    for end in "py pyc pyo so h pm pl mo gz htm html png svg txt xml rb js ts map md conf service".split()  # noqa: SIM905
)
_DOCUMENTS = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/")
_PROGRAM_STARTS = ("bin/", "sbin/", "libexec/", "games/", "lib/", "lib32/", "lib64/", "local/", "opt/")
_PROGRAMS = re.compile("/(?:s?bin|libexec|games|lib(?:32|64)?|local|opt)/")
_EVIDENCE_ENDS = (
    *("METADATA", "PKG-INFO", "package.json", "installed.json", ".deps.json"),
    *(".egg-info", ".jar", ".war", ".ear", ".par", ".gemspec", ".dll", ".exe"),
)

# Names that a database lists once under a folder cost the folder's length each: no real image owns a tenth of this, and a
# database written to exhaust memory ends here.
MAX_KEPT_BYTES = 64 << 20


class Keeper:
    """`worth_keeping` for whole lists of one database, within one budget of bytes."""

    def __init__(self) -> None:
        self._left = MAX_KEPT_BYTES

    def keep(self, paths: Sequence[str]) -> list[str]:
        """Return those of `paths` (no leading slash) that are worth keeping. Raises BudgetExceededError."""
        return self._spend([path for path in paths if not path.endswith(_NOISE_ENDS) and _wanted(path)], 0)

    def keep_in(self, folder: str, names: Sequence[str]) -> list[str]:
        """Return `folder` (which ends in a slash, or is empty) joined with those of `names` that are worth keeping there."""
        if folder.startswith(_DOCUMENTS):
            return []
        if folder.startswith(_PROGRAM_STARTS) or _PROGRAMS.search(folder):
            kept = [name for name in names if not name.endswith(_NOISE_ENDS) and not (".so." in name and _NOISE.search(name))]
        else:
            kept = [name for name in names if name.endswith(_EVIDENCE_ENDS) and _EVIDENCE.search("/" + name)]
        self._spend(kept, len(folder))
        return [folder + name for name in kept]

    def _spend(self, kept: list[str], more: int) -> list[str]:
        self._left -= sum(map(len, kept)) + more * len(kept)
        if self._left < 0:
            raise BudgetExceededError(f"owned paths longer than {MAX_KEPT_BYTES} bytes in all")
        return kept


def _wanted(path: str) -> bool:
    if path.startswith(_DOCUMENTS) or (".so." in path and _NOISE.search(path)):
        return False
    if "/lib/" in path or path.startswith(_PROGRAM_STARTS) or _PROGRAMS.search(path):
        return True
    return path.endswith(_EVIDENCE_ENDS) and _EVIDENCE.search(path) is not None
