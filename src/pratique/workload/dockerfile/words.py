"""The arguments of one instruction in, words and flags with their offsets out, split as the builder splits them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

Piece = tuple[str, int]  # a word and the offset at which it begins

BLANK = "\t\v\f\r "
_WORDS = re.compile(rf"[^{BLANK}]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_DECODER = json.JSONDecoder()


def plain(text: str) -> list[Piece]:
    """Split at white space; quotes mean nothing."""
    return [(found[0], found.start()) for found in _WORDS.finditer(text)]


def first(text: str) -> tuple[str, int]:
    """Return the first word and the offset of what follows it."""
    found = _WORDS.match(text)
    word = found[0] if found else ""
    rest = len(text) - len(text[len(word) :].lstrip())
    return word, rest


def quoted(text: str, escape: str) -> Iterator[Piece]:
    """Split at white space that is neither quoted nor escaped; quotes and escapes stay in the words."""
    at, start, quote = 0, -1, ""
    word: list[str] = []
    while at < len(text):
        letter = text[at]
        if start < 0:
            if letter.isspace():
                at += 1
                continue
            start = at
        if not quote and letter.isspace():
            yield "".join(word), start
            word, start = [], -1
            at += 1
            continue
        if letter == escape and quote != "'":
            if at + 1 == len(text):  # an escape that ends the text is dropped
                break
            word.append(letter)
            at += 1
            letter = text[at]
        elif not quote and letter in "'\"":
            quote = letter
        elif letter == quote:
            quote = ""
        word.append(letter)
        at += 1
    if start >= 0 and word:
        yield "".join(word), start


def flags(text: str) -> tuple[list[Piece], int]:
    """Return the words at the start that begin with --, their quotes undone, and the offset of what follows them."""
    found: list[Piece] = []
    at = 0
    while True:
        at = _after_blank(text, at)
        if not text.startswith("--", at):
            return found, at
        start = at
        word, at = _flag(text, at)
        if word == "--":
            return found, _after_blank(text, at)
        found.append((word, start))


def _after_blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _flag(text: str, at: int) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while at < len(text):
        letter = text[at]
        if not quote and letter.isspace():
            break
        if letter == "\\" and at + 1 < len(text):
            at += 1
            word.append(text[at])
        elif letter == "\\" and at + 1 == len(text):
            pass
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        else:
            word.append(letter)
        at += 1
    return "".join(word), at


def listed(text: str) -> list[Piece] | None:
    """Read the JSON form, a list of strings, with the offset of each string's first quote; None where it is not one.

    The builder takes no notice of what stands behind the list. Raises ValueError for a list of something else than strings,
    which it refuses.
    """
    start = len(text) - len(text.lstrip())
    if not text.startswith("[", start):
        return None
    try:
        values, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise ValueError("only strings may stand in the JSON form")
    starts = [found.start() for found in _STRING.finditer(text, start, end)]
    return list(zip(values, starts, strict=True))
