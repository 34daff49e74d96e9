"""An R version in, its key out: numbers between "." or "-", ordered number by number; zeros at the end do not count.

https://cran.r-project.org/doc/manuals/r-release/R-exts.html#The-DESCRIPTION-file
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_CORRECT = re.compile(r"[0-9]+(?:[.-][0-9]+)*").fullmatch
_END = "\x01"


class Cran:
    """Versions of CRAN and Bioconductor."""

    name = "cran"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what R's package_version refuses."""
        text = version.strip()
        if len(text) > _keys.MAX_LENGTH or not _CORRECT(text):
            _keys.unorderable(version, self.name)
        pieces = [_keys.number(part) for part in text.replace("-", ".").split(".")]
        while pieces and len(pieces[-1]) == 1:
            pieces.pop()
        return ("".join(pieces) + _END).encode("ascii")


SCHEME = Cran()
