"""OS packages' file lists in, the few paths that matter out: those where another cataloger could find a package."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pratique.model.errors import BudgetExceededError

_EVIDENCE = re.compile(
    r"(?:^|/)(?:METADATA|PKG-INFO|package\.json|installed\.json|[^/]+\.(?:egg-info|egg|whl|jar|war|ear|par|gemspec|dll|exe|deps\.json|pem|key|ppk))$"
    r"|(?:^|/)(?:s?bin|libexec|games|lib(?:32|64)?|local|opt)/"
)
_NOISE = re.compile(
    r"\.(?:py[co]?|so(?:\.[0-9.]+)?|h|pm|pl|mo|gz|html?|png|svg|txt|xml|rb|js|ts|map|md|conf|service)$|^usr/share/(?:doc|man|locale)/"
)


def worth_keeping(path: str) -> bool:
    """Say whether `path` (no leading slash) could be evidence of a package, or a program or key that a package installed."""
    return _EVIDENCE.search(path) is not None and _NOISE.search(path) is None


# The same rule, taken apart for lists of tens of thousands of paths: C-level tests settle nearly all, the expressions the rest.
_NOISE_NAMES = frozenset("py pyc pyo so h pm pl mo gz htm html png svg txt xml rb js ts map md conf service".split())  # noqa: SIM905
_NOISE_ENDS = tuple(f".{name}" for name in _NOISE_NAMES)
_DOCUMENTS = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/")
_PROGRAMS = re.compile("(?:^|/)(?:s?bin|libexec|games|lib(?:32|64)?|local|opt)(?:/|$)")
_EVIDENCE_ENDS = (
    *("METADATA", "PKG-INFO", "package.json", "installed.json", ".deps.json"),
    *(".egg-info", ".egg", ".whl", ".jar", ".war", ".ear", ".par", ".gemspec", ".dll", ".exe"),
    *(".pem", ".key", ".ppk"),  # what the distribution ships is nobody's secret
)

# Names that a database lists once under a folder cost the folder's length each: no real image owns a tenth of this, and a
# database written to exhaust memory ends here.
MAX_KEPT_BYTES = 64 << 20


class _Folders(dict[str, bool]):
    """Whether all but noise counts in a folder. Folders repeat from path to path, and from list to list."""

    _MOST = 20_000  # a large image has as many; what is forgotten is found again

    def __missing__(self, folder: str) -> bool:
        if len(self) > self._MOST:
            self.clear()
        answer = self[folder] = _PROGRAMS.search(folder) is not None
        return answer


_FOLDERS = _Folders()


class Keeper:
    """`worth_keeping` for whole lists of one database, within one budget of bytes."""

    def __init__(self) -> None:
        self._left = MAX_KEPT_BYTES

    def keep(self, paths: Sequence[str]) -> list[str]:
        """Return those of `paths` (no leading slash) that are worth keeping. Raises BudgetExceededError."""
        kept = [
            path
            for path in paths
            if path.rpartition(".")[2] not in _NOISE_NAMES
            and (_FOLDERS[path.rpartition("/")[0]] or (path.endswith(_EVIDENCE_ENDS) and _EVIDENCE.search(path)))
            and not path.startswith(_DOCUMENTS)
            and not (".so." in path and _NOISE.search(path))
        ]
        self._spend(kept, 0)
        return kept

    def keep_in(self, folder: str, names: Sequence[str]) -> list[str]:
        """Return `folder` (which ends in a slash, or is empty) joined with those of `names` that are worth keeping there."""
        if folder.startswith(_DOCUMENTS):
            return []
        if _FOLDERS[folder[:-1]]:
            kept = [name for name in names if not name.endswith(_NOISE_ENDS) and not (".so." in name and _NOISE.search(name))]
        else:
            kept = [name for name in names if name.endswith(_EVIDENCE_ENDS) and _EVIDENCE.search(f"/{name}")]
        self._spend(kept, len(folder))
        return [folder + name for name in kept]

    def _spend(self, kept: Sequence[str], folder: int) -> None:
        self._left -= sum(map(len, kept)) + folder * len(kept)
        if self._left < 0:
            raise BudgetExceededError(f"owned paths longer than {MAX_KEPT_BYTES} bytes in all")
