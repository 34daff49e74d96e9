"""A word with variables in, its value out, as far as the file shows it.

Rules: https://docs.docker.com/reference/dockerfile/#environment-replacement
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

MAX_DEPTH = 16  # variables inside the defaults of variables; people write one level
MAX_VALUE = 1 << 16  # characters; values that double at every ENV must not fill memory

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")
_MODIFIED = re.compile(r"(:?[-+?]|##?|%%?|//?)")


class Value(NamedTuple):
    """`known` is false where a part of it is decided elsewhere (build arguments, the environment of the base image)."""

    text: str
    known: bool = True


def expand(word: str, variables: Mapping[str, Value], escape: str = "\\") -> Value:
    """Undo quotes and escapes and put variables in. What nobody gave a value stays as it is written, and is not known."""
    return _Expansion(word, variables, escape, 0).value()


class _Expansion:
    def __init__(self, word: str, variables: Mapping[str, Value], escape: str, depth: int) -> None:
        self._word = word
        self._variables = variables
        self._escape = escape
        self._depth = depth
        self._at = 0
        self._known = depth < MAX_DEPTH
        self._closings: dict[int, int] | None = None

    def value(self) -> Value:
        parts: list[str] = []
        quote = ""
        while self._at < len(self._word):
            letter = self._word[self._at]
            self._at += 1
            if letter == self._escape and quote != "'":
                parts.append(self._escaped(quote))
            elif letter == quote:
                quote = ""
            elif not quote and letter in "'\"":
                quote = letter
            elif letter == "$" and quote != "'":
                parts.append(self._variable())
            else:
                parts.append(letter)
        text = "".join(parts)
        return Value(text, self._known) if len(text) <= MAX_VALUE else Value(text[:MAX_VALUE], known=False)

    def _escaped(self, quote: str) -> str:
        letter = self._word[self._at : self._at + 1]
        self._at += 1
        return letter if not quote or letter in ('"', "$", self._escape, "") else self._escape + letter

    def _variable(self) -> str:
        braced = self._word.startswith("{", self._at)
        found = _NAME.match(self._word, self._at + braced)
        if found is None:
            return "$"
        if not braced:
            self._at = found.end()
            return self._named(found[0], "$" + found[0])
        if self._closings is None:
            self._closings = _closings(self._word)
        end = self._closings.get(self._at, -1)
        if end < 0:
            self._known = False
            return "$"
        written, inside = self._word[self._at - 1 : end + 1], self._word[found.end() : end]
        self._at = end + 1
        return self._modified(found[0], inside, written) if inside else self._named(found[0], written)

    def _named(self, name: str, written: str) -> str:
        value = self._variables.get(name)
        if value is None:
            self._known = False
            return written
        self._known = self._known and value.known
        return value.text

    def _modified(self, name: str, inside: str, written: str) -> str:
        found = _MODIFIED.match(inside)
        value = self._variables.get(name)
        if found is None or found[0][0] in "#%/" or found[0].endswith("?"):
            self._known = False  # what patterns would leave is not worked out
            return value.text if value is not None else written
        is_set = value is not None and (bool(value.text) or not found[0].startswith(":"))
        if value is not None and not value.known:
            self._known = False
        if found[0].endswith("-") == is_set:
            return value.text if value is not None and found[0].endswith("-") else ""
        return self._nested(inside[found.end() :])

    def _nested(self, word: str) -> str:
        if self._depth >= MAX_DEPTH:
            self._known = False
            return word
        value = _Expansion(word, self._variables, self._escape, self._depth + 1).value()
        self._known = self._known and value.known
        return value.text


def _closings(word: str) -> dict[int, int]:
    """Return where each `${` ends, by the offset of its brace; read once, however many of them never end."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for at, letter in enumerate(word):
        if letter == "{" and word[at - 1 : at] == "$":
            opened.append(at)
        elif letter == "}" and opened:
            found[opened.pop()] = at
    return found
