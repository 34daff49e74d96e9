"""A Maven version in, its key out: ordered as ComparableVersion of Maven 3.9 does, wherever that is an order.

https://maven.apache.org/pom.html#version-order-specification

A version is a list of numbers, qualifiers ("rc") and numbered qualifiers ("rc1"); a hyphen, or a change between letters and
digits, opens a list within the list, which is always its last element. Shorter lists are filled up with nothing, so what an
element is worth against nothing matters: 0 and "final" are worth nothing, "rc" is less, "sp" and any number are more, and a
list is worth what its first element of any worth is. In a key that is known beforehand: each element begins with a code that
says its kind and on which side of the end it lies, and an element worth nothing takes the side of what follows it.

ComparableVersion contradicts itself in two corners, where no key can follow it: it holds 4.1 equal to 4.1.Final, and
4.1.Final-redhat-1 above 4.1 but below 4.1.Final; here 4.1.Final is 4.1. And it puts a qualifier that more text follows
("1.sp.1") between 1 and 1.1 but below 1-rc, which is below 1; here what is above the end stays above. Numbered release words
("ga1") are equal to nothing and yet differ; here they are above it.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

# By code: qualifier, list and zero below the end; the end; qualifier, list and zero above it; numbers, by their length.
_WORDS = {-1: "\x01", 1: "\x05"}
_LISTS = {-1: "\x02", 1: "\x06"}
_ZEROS = {-1: "\x03", 1: "\x07"}
_END = "\x04"
_BARE = "\x01"
_NUMBERED = "\x02"

_RELEASE = "5"
_UNKNOWN = "7"
_QUALIFIERS = {
    "alpha": "0",
    "beta": "1",
    "milestone": "2",
    "cr": "3",
    "rc": "3",
    "snapshot": "4",
    "ga": _RELEASE,
    "final": _RELEASE,
    "release": _RELEASE,
    "sp": "6",
}
# Only where a number follows at once.
_SHORT = {"a": "0", "b": "1", "m": "2"}

_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*").fullmatch
_RUNS = re.compile(r"[0-9]+|[.-]|[^0-9.-]+").findall

# An element: the rank of its qualifier ("" for none) and its digits ("" for none; leading zeros removed, so a zero is "0").
_Element = tuple[str, str]
_ZERO = ("", "0")


def _rank(word: str, *, numbered: bool) -> str:
    if numbered and word in _SHORT:
        return _SHORT[word]
    return _QUALIFIERS.get(word) or _UNKNOWN + word


def _lists(version: str) -> list[list[_Element]]:
    """Split into nested lists, outermost first; each is the last element of the one before it."""
    current: list[_Element] = []
    lists = [current]
    word = digits = ""
    runs = _RUNS(version)
    for place, run in enumerate(runs):
        if run[0].isdigit():
            if word and current:
                lists.append(current := [])
            digits = run.lstrip("0") or "0"
        elif run == "-" and word and not digits and place + 1 < len(runs) and runs[place + 1][0].isdigit():
            continue  # rc-1 is rc1
        elif run in "-.":
            current.append((_rank(word, numbered=bool(digits)) if word else "", digits) if word or digits else _ZERO)
            word = digits = ""
            if run == "-":
                lists.append(current := [])
        else:
            if digits:
                current.append((_rank(word, numbered=True) if word else "", digits))
                lists.append(current := [])
                digits = ""
            word = run
    if word and not digits and current:
        lists.append(current := [])
    if word or digits:
        current.append((_rank(word, numbered=bool(digits)) if word else "", digits))
    return lists


def _side(rank: str, digits: str, follows: int) -> int:
    """Tell on which side of the end (-1, 0, 1) an element and all that follows it lie."""
    if not rank:
        return 1 if digits != "0" else follows
    if rank == _RELEASE:
        return follows or (1 if digits else 0)
    return 1 if rank > _RELEASE else -1


def _element(rank: str, digits: str, side: int) -> str:
    if rank:
        return _WORDS[side] + rank + (_NUMBERED + _keys.number(digits) if digits else _BARE)
    return _keys.number(digits) if digits != "0" else _ZEROS[side]


def _encode(lists: list[list[_Element]]) -> str:
    """Return the key, built from the end: a zero is dropped or not, and has its code, by what follows it."""
    rest, side = _END, 0
    inner_word = inner = False
    for elements in reversed(lists):
        # `word`: a bare qualifier is next; `nothing`: the end is; `droppable`: zeros here count for nothing.
        droppable = not inner or inner_word
        if side:
            rest = _LISTS[side] + rest
        first_word, first = False, inner
        for rank, digits in reversed(elements):
            if not rank and digits == "0" and droppable:
                continue
            side = _side(rank, digits, side)
            rest = _element(rank, digits, side) + rest if side else _END
            first_word, first = bool(rank), True
            droppable = first_word and not digits
        inner_word, inner = first_word, first
    return rest


class Maven:
    """Versions of Maven artifacts."""

    name = "maven"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what is empty or not one printable word of ASCII."""
        text = version.strip()
        if _NUMBERS(text) and len(text) <= _keys.MAX_LENGTH:
            return _encode([[("", part.lstrip("0") or "0") for part in text.split(".")]]).encode("ascii")
        return _encode(_lists(_keys.plain(text, self.name).lower())).encode("ascii")


SCHEME = Maven()
