"""Digits in, key pieces out: what the version schemes share. A key is ASCII text that is encoded once, at the end.

Codes below 0x08 and from 0x21 up are free for the markers of a scheme; a number begins with a code between them, so that
a marker can stand before or after every number. A longer run of digits (leading zeros removed) has the greater code.
"""

from __future__ import annotations

from typing import Never

from pratique.model.errors import UnorderableVersionError

# Real versions stay below 100 characters; the limit bounds the work and the size of stored keys on hostile input.
MAX_LENGTH = 1024

_FIRST = 0x08
_LAST = 0x20


class Lengths(dict[int, str]):
    """Number of digits -> the code before them; longer numbers than the codes reach get `last` and two more characters.

    Filled on demand; it cannot outgrow MAX_LENGTH entries because no version is longer.
    """

    def __init__(self, first: int = _FIRST, last: int = _LAST) -> None:
        super().__init__((count, chr(first + count)) for count in range(last - first))
        self._last = chr(last)

    def __missing__(self, count: int) -> str:
        self[count] = code = self._last + chr(count >> 7) + chr(count & 0x7F)
        return code


LENGTHS = Lengths()


class Codes(dict[int, bytes]):
    """The same codes as bytes, for schemes that work on bytes."""

    def __missing__(self, count: int) -> bytes:
        self[count] = code = LENGTHS[count].encode("ascii")
        return code


CODES = Codes()


def number(digits: str) -> str:
    """Return the piece that orders ASCII digits by value; leading zeros do not count."""
    digits = digits.lstrip("0")
    return LENGTHS[len(digits)] + digits


def unorderable(version: str, scheme: str) -> Never:
    """Raise UnorderableVersionError; a long version is cut, so that the message stays readable."""
    raise UnorderableVersionError(version if len(version) <= MAX_LENGTH else version[:MAX_LENGTH] + "...", scheme)


def plain(version: str, scheme: str) -> str:
    """Return the version if it is one printable ASCII word of bearable length."""
    if not 0 < len(version) <= MAX_LENGTH or not version.isascii() or not version.isprintable() or " " in version:
        unorderable(version, scheme)
    return version
