"""A Maven version in, its key out: ordered as ComparableVersion of Maven 3.9 does, wherever that is an order.

https://maven.apache.org/pom.html#version-order-specification

A version is a list of numbers and qualifiers; a hyphen, or a change between letters and digits, opens a list within the list,
which is always its last element. Shorter lists are filled up with nothing, so what an element is worth against nothing
matters: 0 and "final" are worth nothing, "rc" is less, "sp" and any number are more, and a list is worth what its first
element of any worth is. For a key that must be known beforehand: each element begins with a code that says its kind and on
which side of the end it lies, and an element worth nothing takes the side of what follows it.

ComparableVersion contradicts itself in one corner, where no key can follow it: it puts every qualifier below every list, and
every zero above both, even where the one is above the end and the other below it. So 1 < 1.sp.1 < 1-rc < 1, to it. Here what
is above the end stays above what is below it: 1-rc < 1 < 1.sp.1.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

# By code: qualifier, list and zero below the end; the end; qualifier, list and zero above it; then numbers, by their length.
_WORDS = {-1: "\x01", 1: "\x05"}
_LISTS = {-1: "\x02", 1: "\x06"}
_ZEROS = {-1: "\x03", 1: "\x07"}
_END = "\x04"

# Elements are digits without leading zeros, or a qualifier: a mark and its rank, one digit, the unknown ones by name.
_MARK = "="
_ZERO = ""
_RELEASE = "=5"
_UNKNOWN = "=7"
_QUALIFIERS = {
    "alpha": "=0",
    "beta": "=1",
    "milestone": "=2",
    "cr": "=3",
    "rc": "=3",
    "snapshot": "=4",
    "final": _RELEASE,
    "ga": _RELEASE,
    "release": _RELEASE,
    "sp": "=6",
}
# Only where a digit follows at once.
_SHORT = {"a": "=0", "b": "=1", "m": "=2"}

_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*").fullmatch
# Digits with the separator after them, or a word with what follows it; an empty element is a separator alone.
_TURNS = re.compile(r"([0-9]+)([.-]?)|([^0-9.-]*)([.-]|(?=[0-9])|$)").findall


def _lists(version: str) -> list[list[str]]:
    """Split into nested lists, outermost first; each is the last element of the one before it."""
    current: list[str] = []
    lists = [current]
    place, size = 0, len(version)
    for digits, after_digits, word, after_word in _TURNS(version):
        place += len(digits) + len(after_digits) + len(word) + len(after_word)
        if digits:
            current.append(digits.lstrip("0"))
            if after_digits != "." and place < size:
                lists.append(current := [])
            continue
        if word:
            numbered = not after_word and place < size
            if current and (numbered or not after_word):
                lists.append(current := [])
            current.append((numbered and _SHORT.get(word)) or _QUALIFIERS.get(word) or _UNKNOWN + word)
            if numbered:
                lists.append(current := [])
        elif after_word:
            current.append(_ZERO)
        if after_word == "-":
            lists.append(current := [])
    return lists


def _encode(lists: list[list[str]]) -> str:
    """Return the key, built from the end: what an element worth nothing is depends on what follows it."""
    rest, side = _END, 0
    lengths = _keys.LENGTHS
    for elements in reversed(lists):
        if side:
            rest = _LISTS[side] + rest
        last = True
        for element in reversed(elements):
            if element in {_ZERO, _RELEASE}:
                if not last:
                    rest = (_WORDS[side] + _RELEASE if element else _ZEROS[side]) + rest
                continue
            last = False
            if element[0] == _MARK:
                side = 1 if element > _RELEASE else -1
                rest = _WORDS[side] + element + rest
            else:
                side = 1
                rest = lengths[len(element)] + element + rest
    return rest


class Maven:
    """Versions of Maven artifacts."""

    name = "maven"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what is empty or not one printable word of ASCII."""
        text = version.strip()
        if _NUMBERS(text) and len(text) <= _keys.MAX_LENGTH:
            return _encode([[part.lstrip("0") for part in text.split(".")]]).encode("ascii")
        return _encode(_lists(_keys.plain(text, self.name).lower())).encode("ascii")


SCHEME = Maven()
