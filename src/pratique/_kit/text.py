"""The bytes of a file that a person wrote in, its text and one strict tree out; every mistake is a PolicyError with its place."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from pratique._kit.place import Place
from pratique._kit.yamltree import Node, YamlError, document, place_of
from pratique.model.errors import PolicyError

# What people write into a condition, and YAML reads as something else.
_QUOTE = "a value that begins with a quote, ! or & is YAML's own: put it into double quotes, or on a line of its own behind >"
_HINTS = (
    ("did not find expected key", _QUOTE), ("expected <block end>", _QUOTE), ("tag !", _QUOTE), ("alias", _QUOTE),
    ("anchor", _QUOTE),
    ("mapping values are not allowed", "a text with a colon and a space in it has to stand in quotes"),
    ("found character '\\t'", "YAML is indented with spaces"),
)  # fmt: skip
MAX_BYTES = 1 << 20  # a policy is pages of text; the largest rule set shipped is 6 KB


class Text(NamedTuple):
    """A file that a person wrote: its name in messages, and its content."""

    name: str
    content: str

    def fail(self, place: Place, message: str, hint: str = "") -> NoReturn:
        """Raise PolicyError that begins with FILE:LINE:COLUMN."""
        raise PolicyError(f"{self.name}:{place.line}:{place.column}: {_printable(message)}", hint=_printable(hint))


def _printable(text: str) -> str:
    """Show what a terminal would obey as escapes."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def decode(name: str, content: bytes) -> Text:
    """Check size and encoding. Raises PolicyError."""
    if len(content) > MAX_BYTES:
        raise PolicyError(f"{name}:1:1: larger than {MAX_BYTES} bytes")
    try:
        return Text(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise PolicyError(f"{name}:{line}:{column}: not UTF-8") from None


def parse(text: Text) -> Node:
    """Read the one document of a file. Raises PolicyError: no YAML, aliases, tags, a second document, too deep or too large."""
    try:
        return document(text.content)
    except YamlError as error:
        text.fail(error.place, error.reason, error.hint or next((hint for sign, hint in _HINTS if sign in error.reason), ""))


def within(text: Text, scalar: Node, offset: int) -> Place:
    """Return where the character at `offset` of a scalar's value stands in the file, whatever its quotes and folds.

    Letters other than white space stand in the file in the same order; only quotes, escapes and block signs come between.
    """
    content, at = text.content, scalar.start
    seen = -1
    for letter in scalar.text[: offset + 1]:
        if letter.isspace():
            continue
        found = content.find(letter, at, scalar.end)
        if found < 0:
            break
        seen, at = found, found + 1
    if offset < len(scalar.text) and not scalar.text[offset].isspace():
        return place_of(content, max(seen, scalar.start))
    return place_of(content, seen + 1 if seen >= 0 else scalar.start)
