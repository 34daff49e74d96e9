"""The text of a Dockerfile in, its instructions out. What the builder would refuse becomes a problem with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from pratique.model.errors import BudgetExceededError, ParseError
from pratique.workload.dockerfile import words as split
from pratique.workload.dockerfile.heredoc import announced
from pratique.workload.dockerfile.instructions import Dockerfile, Flag, Heredoc, Instruction, Problem, Word
from pratique.workload.dockerfile.lines import Lines
from pratique.workload.place import Mapped, Place

MAX_CHARACTERS = 1 << 20  # the longest Dockerfiles that people generate have some 100 kB
MAX_INSTRUCTIONS = 5_000  # no image can have more than 127 layers; the rest is for labels and many stages

_HEREDOCS = ("RUN", "COPY", "ADD")
_NO_TRIGGER = ("ONBUILD", "FROM", "MAINTAINER")
_COMMAND = re.compile(rf"[^{split.BLANK}]+")

Parsed = tuple[list[split.Piece], bool]  # words with offsets, and whether it was the JSON form


def parse(text: str) -> Dockerfile:
    """Read a whole file. Raises BudgetExceededError for one that is larger than any, ParseError for one without instructions."""
    if len(text) > MAX_CHARACTERS:
        raise BudgetExceededError(f"a Dockerfile of more than {MAX_CHARACTERS} characters")
    lines = Lines(text)
    found: list[Instruction] = []
    for logical in lines:
        if len(found) == MAX_INSTRUCTIONS:
            raise BudgetExceededError(f"a Dockerfile of more than {MAX_INSTRUCTIONS} instructions")
        try:
            instruction = read_instruction(logical, lines.escape)
            heredocs = _heredocs(instruction, lines)
        except ParseError as error:
            lines.problems.append(Problem(logical.at(0), error.message))
            continue
        found.append(msgspec.structs.replace(instruction, end_line=lines.number, heredocs=heredocs))
    if not found and not lines.problems:
        raise ParseError("a Dockerfile without an instruction")
    return Dockerfile(
        instructions=tuple(found),
        comments=tuple(lines.comments),
        problems=tuple(lines.problems),
        escape=lines.escape,
        directives=tuple(lines.directives.items()),
    )


def read_instruction(logical: Mapped, escape: str = "\\") -> Instruction:
    """Read one instruction whose lines are joined. Raises ParseError for what the builder would refuse."""
    text = logical.text.rstrip()
    found = _COMMAND.search(text)
    if found is None:  # white space alone, continued
        return Instruction(name="", place=logical.at(0), end_line=0, rest=logical.part(len(text)))
    name = found[0].upper()
    given, offset = split.flags(text[found.end() :])
    rest = logical.part(found.end() + offset, len(text))
    flags = tuple(_flag(word, logical.at(found.end() + start)) for word, start in given)
    place = logical.at(found.start())
    if name == "ONBUILD":
        inner = read_instruction(rest, escape) if rest.text else None
        if inner is not None and inner.name in _NO_TRIGGER:
            raise ParseError(f"{inner.name} cannot stand in ONBUILD")
        return Instruction(name=name, place=place, end_line=0, rest=rest, flags=flags, inner=inner)
    pieces, as_json = _FORMS.get(name, _ignored)(rest.text, escape, name)
    words = tuple(Word(word, rest.at(start)) for word, start in pieces)
    return Instruction(name=name, place=place, end_line=0, rest=rest, flags=flags, words=words, json=as_json)


def _flag(word: str, place: Place) -> Flag:
    name, equals, value = word[2:].partition("=")
    return Flag(name, value if equals else None, place)


def _heredocs(instruction: Instruction, lines: Lines) -> tuple[Heredoc, ...]:
    of = instruction.inner or instruction
    if of.name not in _HEREDOCS or of.json or "<<" not in of.rest.text:
        return ()
    found = []
    for name, descriptor, chomp, expand in announced(of.rest.text):
        line = lines.number + 1
        content = _content(lines, name, chomp=chomp)
        heredoc = Heredoc(name=name, descriptor=descriptor, chomp=chomp, expand=expand, content=content, line=line)
        found.append(heredoc)
    return tuple(found)


def _content(lines: Lines, name: str, *, chomp: bool) -> str:
    content: list[str] = []
    while (line := lines.take()) is not None:
        bare = line.rstrip("\r")
        if (bare.lstrip("\t") if chomp else bare) == name:
            return "".join(content)
        content.append(line + "\n")
    raise ParseError(f"the heredoc {name} does not end")


def _ignored(text: str, escape: str, name: str) -> Parsed:  # noqa: ARG001 - the signature that all forms have
    return [], False


def _text(text: str, escape: str, name: str) -> Parsed:  # noqa: ARG001 - as above
    return ([(text, 0)] if text else []), False


def _plain(text: str, escape: str, name: str) -> Parsed:  # noqa: ARG001 - as above
    return split.plain(text), False


def _json_or(other: Callable[[str, str, str], Parsed]) -> Callable[[str, str, str], Parsed]:
    def form(text: str, escape: str, name: str) -> Parsed:
        try:
            found = split.listed(text)
        except ValueError as error:
            raise ParseError(f"{name}: {error}") from None
        return (found, True) if found is not None else other(text, escape, name)

    return form


def _names(text: str, escape: str, name: str) -> Parsed:  # noqa: ARG001 - as above
    return list(split.quoted(text, escape)), False


def _pairs(text: str, escape: str, name: str) -> Parsed:
    """ENV and LABEL: `a=b c=d`, or the old form `a the rest`."""
    words = list(split.quoted(text, escape))
    if not words:
        return [], False
    if "=" not in words[0][0]:
        key, offset = split.first(text)
        if offset >= len(text):
            raise ParseError(f"{name} needs a name and a value")
        return [(key, 0), (text[offset:], offset)], False
    return list(_split_pairs(words, name)), False


def _split_pairs(words: Iterable[split.Piece], name: str) -> Iterable[split.Piece]:
    for word, start in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ParseError(f"{name}: {word!r} is not of the form name=value")
        yield key, start
        yield value, start + len(key) + 1


def _health(text: str, escape: str, name: str) -> Parsed:
    kind, offset = split.first(text)
    if not kind:
        return [], False
    pieces, as_json = _json_or(_text)(text[offset:], escape, name)
    return [(kind, 0), *((word, offset + start) for word, start in pieces)], as_json


_FORMS: dict[str, Callable[[str, str, str], Parsed]] = {
    "ADD": _json_or(_plain),
    "ARG": _names,
    "CMD": _json_or(_text),
    "COPY": _json_or(_plain),
    "ENTRYPOINT": _json_or(_text),
    "ENV": _pairs,
    "EXPOSE": _plain,
    "FROM": _plain,
    "HEALTHCHECK": _health,
    "LABEL": _pairs,
    "MAINTAINER": _text,
    "RUN": _json_or(_text),
    "SHELL": _json_or(_text),
    "STOPSIGNAL": _text,
    "USER": _text,
    "VOLUME": _json_or(_plain),
    "WORKDIR": _text,
}
KNOWN = frozenset((*_FORMS, "ONBUILD"))
