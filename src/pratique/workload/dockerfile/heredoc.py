"""An instruction's text in, the heredocs that it announces out."""

from __future__ import annotations

import re
from typing import NamedTuple

_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]+)")
_QUOTES = re.compile(r"\\(.)|['\"]", re.DOTALL)


class Announced(NamedTuple):
    """`<<-"NAME"`: its name without quotes; a quoted name means that nothing in the lines is expanded."""

    name: str
    descriptor: int
    chomp: bool
    expand: bool


def announced(text: str) -> list[Announced]:
    """Return the heredocs of a RUN, COPY or ADD; none at all where a quote does not end."""
    found = []
    for word in _words(text):
        match = _HEREDOC.fullmatch(word)
        if match is None:
            continue
        name = _QUOTES.sub(lambda quote: quote[1] or "", match[3])
        if name:
            found.append(Announced(name, int(match[1] or 0), match[2] == "-", name == match[3]))
    return found


def _words(text: str) -> list[str]:
    """Split as a shell does; quotes and escapes stay. Only a backslash escapes here, whatever the file's directive says."""
    words: list[str] = []
    word: list[str] = []
    quote, at = "", 0
    while at < len(text):
        letter = text[at]
        if not quote and letter.isspace():
            if word:
                words.append("".join(word))
            word = []
        elif letter == "\\" and quote != "'" and at + 1 < len(text):
            word.append(text[at : at + 2])
            at += 1
        else:
            if quote == letter:
                quote = ""
            elif not quote and letter in "'\"":
                quote = letter
            word.append(letter)
        at += 1
    if quote:
        return []
    return [*words, "".join(word)] if word else words
