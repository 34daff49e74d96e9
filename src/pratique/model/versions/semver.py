"""A semantic version in, its key out: precedence exactly as SemVer 2.0 says, build metadata without weight.

https://semver.org/#spec-item-11

Read more widely than the specification writes, as the registries' own loose readers do: "v" or "=" before it, missing minor
or patch numbers as zero ("1.2"), leading zeros, and a pre-release glued to three numbers ("1.9.0b1").
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

# After the three numbers: the identifiers of a pre-release and their end, or the mark of a release, which is above them.
END = "\x01"
_WORD = "\x21"
_RELEASE = "\x22"

_PLAIN = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)").fullmatch
_PARTS = re.compile(
    r"[v=]*+([0-9]++)(?:\.([0-9]++)(?:\.([0-9]++))?)?"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)|([A-Za-z][0-9A-Za-z-]*(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+([0-9A-Za-z.-]*))?",
).fullmatch


def identifiers(text: str) -> str:
    """Return the key of dot-separated identifiers: numbers before words, by value; words as ASCII; fewer before more."""
    return "".join([_keys.number(part) if part.isdigit() else _WORD + part for part in text.split(".")]) + END


def split(version: str, scheme: str) -> tuple[str, str, str]:
    """Return the key of the three numbers, the pre-release and the build metadata ("" if absent)."""
    match = _PARTS(version.strip()) if len(version) <= _keys.MAX_LENGTH else None
    if match is None:
        _keys.unorderable(version, scheme)
    major, minor, patch, pre, glued, build = match.groups()
    if glued and patch is None:
        _keys.unorderable(version, scheme)
    number = _keys.number
    return number(major) + number(minor or "") + number(patch or ""), pre or glued or "", build or ""


def precedence(numbers: str, pre: str) -> str:
    """Return the key of a version: its three numbers as `split` gives them, and its pre-release or ""."""
    return numbers + (identifiers(pre) if pre else _RELEASE)


class Semver:
    """Versions of npm, crates.io, Hex, Swift packages and all others that follow SemVer."""

    name = "semver"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what begins with no number, or has more than three."""
        match = _PLAIN(version)
        if match is not None and len(version) <= _keys.MAX_LENGTH:
            lengths = _keys.LENGTHS
            major, minor, patch = [part.lstrip("0") for part in match.groups()]
            text = f"{lengths[len(major)]}{major}{lengths[len(minor)]}{minor}{lengths[len(patch)]}{patch}{_RELEASE}"
            return text.encode("ascii")
        numbers, pre, _build = split(version, self.name)
        return precedence(numbers, pre).encode("ascii")


SCHEME = Semver()
