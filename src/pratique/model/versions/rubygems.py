"""A gem's version in, its key out: numbers and words by turns, ordered as Gem::Version does.

https://docs.ruby-lang.org/en/master/Gem/Version.html

Words make a pre-release, are older than any number, and a missing segment is 0. Zeros at the end of the numbers and at the
end of all count for nothing; zeros between are below or above the end by what follows them, and have a code for either.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_WORD = "\x02"
_ZERO_BEFORE_WORD = "\x03"
_END = "\x04"
_ZERO_BEFORE_NUMBER = "\x05"

_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*").fullmatch
_CORRECT = re.compile(r"[0-9]++(?:\.[0-9A-Za-z]++)*+(?:-[0-9A-Za-z-]++(?:\.[0-9A-Za-z-]++)*+)?").fullmatch
_SEGMENTS = re.compile(r"[0-9]+|[A-Za-z]+").findall


def _encode(segments: list[str]) -> str:
    """Return the key of segments; built from the end, because a zero's code depends on what follows it."""
    pieces = [_END]
    zero = ""
    for segment in reversed(segments):
        if not segment[0].isdigit():
            pieces.append(_WORD + segment)
            zero = _ZERO_BEFORE_WORD
        else:
            digits = segment.lstrip("0")
            if digits:
                pieces.append(_keys.LENGTHS[len(digits)] + digits)
                zero = _ZERO_BEFORE_NUMBER
            elif zero:
                pieces.append(zero)
    pieces.reverse()
    return "".join(pieces)


def _canonical(segments: list[str]) -> list[str]:
    """Drop the zeros before the first word."""
    first_word = next((place for place, segment in enumerate(segments) if segment[0].isalpha()), len(segments))
    end = first_word
    while end and not segments[end - 1].strip("0"):
        end -= 1
    return segments[:end] + segments[first_word:]


class Rubygems:
    """Versions of RubyGems."""

    name = "rubygems"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what Gem::Version calls malformed, and the empty version."""
        text = version.strip()
        if len(text) > _keys.MAX_LENGTH:
            _keys.unorderable(version, self.name)
        if _NUMBERS(text):
            return _encode(text.split(".")).encode("ascii")
        if not _CORRECT(text):
            _keys.unorderable(version, self.name)
        return _encode(_canonical(_SEGMENTS(text.replace("-", ".pre.")))).encode("ascii")


SCHEME = Rubygems()
