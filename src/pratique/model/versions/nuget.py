"""A NuGet version in, its key out: up to four numbers and a pre-release of SemVer 2, letters without case.

https://learn.microsoft.com/nuget/concepts/package-versioning

An identifier counts as a number if it fits a signed 32-bit integer, sign included, as NuGet itself parses it.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_END = "\x01"
_NUMBER = "\x20"
_WORD = "\x21"
_RELEASE = "\x22"
_INT32 = 1 << 31
_INT32_DIGITS = 10
_FOUR = 4

_PARTS = re.compile(
    r"([0-9]++(?:\.[0-9]++){0,3})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]*)?",
).fullmatch
_INTEGER = re.compile(r"-?0*([0-9]+)").fullmatch


def _identifier(text: str) -> str:
    match = _INTEGER(text)
    if match is not None and len(match[1]) <= _INT32_DIGITS and -_INT32 <= int(text) < _INT32:
        return f"{_NUMBER}{int(text) + _INT32:08x}"
    return _WORD + text.upper()


class Nuget:
    """Versions of NuGet."""

    name = "nuget"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what begins with no number or has more than four."""
        match = _PARTS(version.strip()) if len(version) <= _keys.MAX_LENGTH else None
        if match is None:
            _keys.unorderable(version, self.name)
        numbers, pre = match.groups()
        parts = numbers.split(".")
        pieces = [_keys.number(part) for part in parts]
        pieces.append(_keys.LENGTHS[0] * (_FOUR - len(parts)))
        if pre:
            pieces += [_identifier(text) for text in pre.split(".")]
            pieces.append(_END)
        else:
            pieces.append(_RELEASE)
        return "".join(pieces).encode("ascii")


SCHEME = Nuget()
