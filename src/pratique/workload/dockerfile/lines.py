"""The text of a Dockerfile in, logical lines out: directives, comments, continuations as the builder joins them.

Rules: https://docs.docker.com/reference/dockerfile/ and the answers of the builder's own parser (tests).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.workload.dockerfile.instructions import Comment, Problem
from pratique.workload.place import Mapped, Place

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("escape", "syntax", "check")
_BLANK = " \t\v\f\r\n\x85\xa0"  # what the builder takes for white space at the start of a line


class Lines:
    """Reads logical lines one after the other; between them, a heredoc may take physical ones with `take`."""

    def __init__(self, text: str) -> None:
        self._lines = text.removeprefix("\ufeff").split("\n")
        if self._lines[-1] == "":
            self._lines.pop()
        self._next = 0
        self._heading = True
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self.comments: list[Comment] = []
        self.problems: list[Problem] = []

    @property
    def number(self) -> int:
        """The 1-based number of the physical line that was read last."""
        return self._next

    def take(self) -> str | None:
        """Return the next physical line as it stands, None at the end."""
        if self._next == len(self._lines):
            return None
        self._next += 1
        return self._lines[self._next - 1]

    def __iter__(self) -> Iterator[Mapped]:
        while (raw := self.take()) is not None:
            line = raw.rstrip("\r")
            self._directive(line.lstrip(_BLANK))
            body = line.lstrip(_BLANK)
            if self._comment(body):
                continue
            body, more = self._continued(body)
            if body or more:
                yield self._join(body, Place(self.number, len(line) - len(line.lstrip(_BLANK)) + 1), more=more)

    def _join(self, body: str, place: Place, *, more: bool) -> Mapped:
        pieces, starts, places, length = [body], [0], [place], len(body)
        while more and (raw := self.take()) is not None:
            line = raw.rstrip("\r")
            stripped = line.lstrip(_BLANK)
            if self._comment(stripped) or not stripped:
                continue
            body, more = self._continued(line)
            pieces.append(body)
            starts.append(length)
            places.append(Place(self.number, 1))
            length += len(body)
        return Mapped("".join(pieces), tuple(starts), tuple(places))

    def _continued(self, line: str) -> tuple[str, bool]:
        """Take the escape away from the end of a line. An escaped escape continues nothing."""
        bare = line.rstrip(" \t")
        if bare.endswith(self.escape) and not bare.endswith(self.escape * 2):
            return bare[:-1], True
        return line, False

    def _comment(self, line: str) -> bool:
        if line.startswith("#"):
            self.comments.append(Comment(self.number, line[1:].strip()))
            return True
        return False

    def _directive(self, line: str) -> None:
        """Read `# escape=` and the like; they stand before everything else, comments included."""
        if not self._heading:
            return
        found = _DIRECTIVE.match(line)
        if found is None:
            self._heading = False
            return
        name, value = found[1].lower(), found[2]
        if name not in _DIRECTIVES:
            return
        if name in self.directives:
            self.problems.append(Problem(Place(self.number, 1), f"the directive {name} is given twice"))
            return
        self.directives[name] = value
        if name == "escape":
            if value in ("\\", "`"):
                self.escape = value
            else:
                self.problems.append(Problem(Place(self.number, 1), f"{value!r} is no escape character"))
