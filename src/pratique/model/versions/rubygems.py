"""A gem's version in, its key out: numbers and words by turns, ordered as Gem::Version does.

https://docs.ruby-lang.org/en/master/Gem/Version.html

Words make a pre-release, are older than any number, and a missing segment is 0. Zeros at the end and before the first word
count for nothing; zeros between are below or above the end by what follows them, and have a code for either.
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
_ZEROS_AT_END = re.compile(r"(?<=[a-zA-Z.])[.0]+\Z").sub
_ZEROS_BEFORE_LETTER = re.compile(r"(?:(?<=\.)|\A)[0.]++(?=[a-zA-Z])").sub
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


def _canonical(text: str) -> str:
    """Drop the zeros at the end and the first run of zeros before a letter, as Gem::Version does since RubyGems 3.5."""
    text = _ZEROS_AT_END("", text)
    return _ZEROS_BEFORE_LETTER("", text, count=1)


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
        return _encode(_SEGMENTS(_canonical(text.replace("-", ".pre.")))).encode("ascii")


SCHEME = Rubygems()
