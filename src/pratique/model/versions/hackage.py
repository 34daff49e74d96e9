"""A Haskell version in, its key out: numbers between dots, ordered number by number, fewer before more.

https://pvp.haskell.org/#version-numbers
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_CORRECT = re.compile(r"[0-9]+(?:\.[0-9]+)*").fullmatch
_END = "\x01"


class Hackage:
    """Versions of Hackage and of GHC."""

    name = "hackage"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what is not numbers between dots."""
        if len(version) > _keys.MAX_LENGTH or not _CORRECT(version):
            _keys.unorderable(version, self.name)
        number = _keys.number
        return ("".join([number(part) for part in version.split(".")]) + _END).encode("ascii")


SCHEME = Hackage()
