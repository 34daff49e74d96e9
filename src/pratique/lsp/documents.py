"""What an editor says of its open documents in, their texts out. Nothing is read from disk.

The library's own store divides lines where the protocol does not (form feeds, Unicode separators), so texts are kept here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pratique.lint.regions import Lines, Point

MAX_OPEN = 500  # documents; an editor that opens more is out of order
MAX_CHARACTERS = 4 << 20  # of one document; a longer text is not kept, and not checked


class Document(NamedTuple):
    """One open document; `text` is None where it is too long, `name` what its kind is told by."""

    name: str
    version: int
    text: str | None


class Change(NamedTuple):
    """New text for what stands between two points, or for all where there are none."""

    start: Point | None
    end: Point | None
    text: str


class Documents:
    """The open documents by address. `units` is what was agreed on for columns."""

    def __init__(self) -> None:
        self.units = "utf-16"
        self._open: dict[str, Document] = {}

    def get(self, uri: str) -> Document | None:
        """Return an open document."""
        return self._open.get(uri)

    def open(self, uri: str, version: int, text: str, language: str = "") -> None:
        """Take a document; one too many is not taken."""
        if uri in self._open or len(self._open) < MAX_OPEN:
            self._open[uri] = Document(_name(uri, language), version, _bounded(text))

    def change(self, uri: str, version: int, changes: Iterable[Change]) -> None:
        """Apply changes in their order. A document that became too long stays unread until its whole text is sent."""
        document = self._open.get(uri)
        if document is None:
            return
        text = document.text
        for change in changes:
            if change.start is None or change.end is None:
                text = _bounded(change.text)
            elif text is not None:
                lines = Lines(text, self.units)
                start, end = lines.offset(change.start), lines.offset(change.end)
                text = _bounded(text[:start] + change.text + text[max(end, start) :])
        self._open[uri] = Document(document.name, version, text)

    def close(self, uri: str) -> None:
        """Forget a document."""
        self._open.pop(uri, None)


def _bounded(text: str) -> str | None:
    return text if len(text) <= MAX_CHARACTERS else None


def _name(uri: str, language: str) -> str:
    """Return the name that tells a document's kind; an editor that was told the language goes before it."""
    name = unquote(urlsplit(uri).path).rsplit("/", 1)[-1]
    return "Dockerfile" if language.lower() in ("dockerfile", "containerfile") else name
