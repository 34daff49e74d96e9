"""A file's text and where things begin in it, in; where they end, and lines and columns as editors count them, out."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pratique._kit.yamltree import Node
from pratique.lint.build import Build
from pratique.workload.dockerfile.instructions import Instruction
from pratique.workload.place import Place

_BREAK = re.compile(r"\r\n|\n|\r")  # as SARIF and editors count lines
_UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
_ONE_WORD = frozenset(("RUN", "CMD", "ENTRYPOINT", "SHELL", "USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER", "HEALTHCHECK"))


class Region(NamedTuple):
    """Offsets of the first character and of what stands behind the last."""

    start: int
    end: int


class Point(NamedTuple):
    """1-based line, and column in code units: of UTF-16 unless said otherwise."""

    line: int
    column: int


class Lines:
    """The lines of a text: as editors count them, and as readers of files do, to which only a line feed ends one.

    `units` says what columns count: those of "utf-8", "utf-16" or "utf-32".
    """

    def __init__(self, text: str, units: str = "utf-16") -> None:
        self._text = text
        self._encoding, self._size = _UNITS[units]
        self._plain = text.isascii()
        self._starts = [0, *(found.end() for found in _BREAK.finditer(text))]
        self._fed: list[int] | None = None

    def point(self, offset: int) -> Point:
        """Return where an offset stands for an editor."""
        line = bisect_right(self._starts, offset)
        start = self._starts[line - 1]
        column = offset - start
        if not self._plain:
            column = len(self._text[start:offset].encode(self._encoding, "surrogatepass")) // self._size
        return Point(line, column + 1)

    def offset(self, point: Point) -> int:
        """Return the offset of a place as editors name it; one that is nowhere becomes the nearest that is."""
        if point.line > len(self._starts):
            return len(self._text)
        start = self._starts[max(point.line, 1) - 1]
        end = self._starts[point.line] if point.line < len(self._starts) else len(self._text)
        line = self._text[start:end].rstrip("\r\n")
        if self._plain:
            return start + min(max(point.column - 1, 0), len(line))
        units = line.encode(self._encoding, "surrogatepass")[: max(point.column - 1, 0) * self._size]
        return start + len(units.decode(self._encoding, "ignore"))

    def at(self, place: Place) -> int:
        """Return the offset of a line and column in characters, lines divided at line feeds alone."""
        if self._fed is None:
            self._fed = [0, *(found.end() for found in re.finditer("\n", self._text))]
        if not 0 < place.line <= len(self._fed):
            return len(self._text)
        return min(self._fed[place.line - 1] + place.column - 1, len(self._text))


def of_build(text: str, build: Build, places: Iterable[Place]) -> dict[Place, Region]:
    """Return the regions of an instruction, word, flag or command, by where it begins; a command goes before its first word."""
    wanted, lines = set(places), Lines(text)
    found: dict[Place, Region] = {}
    for run in build.runs:
        if run.instruction.json:
            continue
        for command in run.commands:
            for first in command.program[:1]:
                _put(found, wanted, lines, first.place, lines.at(command.words[-1].end))
        for command in run.commands:
            for part in (*command.words, *command.assignments):
                _put(found, wanted, lines, part.place, lines.at(part.end))
    for outer in build.dockerfile.instructions:
        end = _end(text, lines, outer)
        for instruction in (outer, outer.inner) if outer.inner is not None else (outer,):
            for flag in instruction.flags:
                _put(found, wanted, lines, flag.place, _word_end(text, lines.at(flag.place), end, build.dockerfile.escape))
            for word in instruction.words:
                start = lines.at(word.place)
                whole = instruction.name in _ONE_WORD and not instruction.json
                stop = end if whole else _word_end(text, start, end, "\\" if instruction.json else build.dockerfile.escape)
                _put(found, wanted, lines, word.place, stop)
            _put(found, wanted, lines, instruction.place, end)
    return found


def _put(found: dict[Place, Region], wanted: set[Place], lines: Lines, place: Place, end: int) -> None:
    if place in wanted and place not in found:
        start = lines.at(place)
        found[place] = Region(start, max(end, start))


def _end(text: str, lines: Lines, instruction: Instruction) -> int:
    """Return the end of an instruction's last line, heredocs included."""
    start = lines.at(instruction.place)
    end = text.find("\n", lines.at(Place(max(instruction.end_line, instruction.place.line), 1)))
    return start + len(text[start : end if end >= 0 else len(text)].rstrip())


def _word_end(text: str, start: int, end: int, escape: str) -> int:
    """Return where a word ends: at white space that is neither quoted nor escaped."""
    at, quote = start, ""
    while at < end:
        letter = text[at]
        if letter == escape and quote != "'":
            at += 2
            continue
        if letter == quote:
            quote = ""
            if text[start] == '"' and escape == "\\" and text[at + 1 : at + 2] in (",", "]"):  # in a list as JSON
                return at + 1
        elif not quote and letter in "'\"":
            quote = letter
        elif not quote and letter.isspace():
            break
        at += 1
    return min(at, end)


def of_yaml(text: str, nodes: Iterable[Node], places: Iterable[Place]) -> dict[Place, Region]:
    """Return the regions of keys (with a value on the same line) and values, by where they begin."""
    wanted = set(places)
    found: dict[Place, Region] = {}
    for key, value in _entries(nodes):
        node = key if key is not None else value
        if node.place in wanted and node.place not in found and node.start >= 0:
            together = value.end if key is not None and value.start >= key.end and (value.kind == "text" or value.flow) else 0
            end = together if together and "\n" not in text[node.start : together] else node.end
            found[node.place] = Region(node.start, max(end, node.start))
    return found


def _entries(nodes: Iterable[Node]) -> Iterator[tuple[Node | None, Node]]:
    """Yield every key with its value, and every item, once, whatever refers to it."""
    seen: set[int] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for key, value in node.entries():
            yield key, value
            waiting.append(value)
        waiting.extend(node)
        if node.kind == "text":
            yield None, node
