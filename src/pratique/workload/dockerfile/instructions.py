"""What a Dockerfile consists of: instructions, their flags, words and heredocs, each with the place where it stands."""

from __future__ import annotations

import msgspec

from pratique.workload.place import Mapped, Place

MAX_TEXT = 8_192  # characters that tell one instruction from another; the longest that people write have some 5,000
MAX_HEREDOCS = 8  # as above


class Word(msgspec.Struct, frozen=True):
    """One argument as the builder splits it: quotes and escapes are kept in it, except in the JSON form."""

    text: str
    place: Place


class Flag(msgspec.Struct, frozen=True):
    """`--name=value` before the arguments; a flag without = has the value None."""

    name: str
    value: str | None
    place: Place


class Heredoc(msgspec.Struct, frozen=True, kw_only=True):
    """The lines after an instruction that belong to it. `expand` is false where its name was quoted; `line` is its first line."""

    name: str
    descriptor: int
    chomp: bool
    expand: bool
    content: str
    line: int


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction. `name` is in capitals; `rest` is what follows it and its flags, continued lines joined.

    ENV, LABEL and ARG have name and value in turn in `words`; CMD, ENTRYPOINT, RUN and SHELL in shell form have one word.
    `inner` is what an ONBUILD holds; its words are then empty.
    """

    name: str
    place: Place
    end_line: int
    rest: Mapped
    flags: tuple[Flag, ...] = ()
    words: tuple[Word, ...] = ()
    json: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    inner: Instruction | None = None

    @property
    def text(self) -> str:
        """The instruction on one line, white space folded: the same however it is laid out and wherever it stands."""
        flags = " ".join(f"--{flag.name}" if flag.value is None else f"--{flag.name}={flag.value}" for flag in self.flags)
        body = " ".join(self.rest.text[:MAX_TEXT].split())
        own = " ".join(part for part in (self.name, flags[:MAX_TEXT], body) if part)
        return "\n".join([own, *(heredoc.content[:MAX_TEXT] for heredoc in self.heredocs[:MAX_HEREDOCS])])

    @property
    def pairs(self) -> tuple[tuple[Word, Word | None], ...]:
        """Names and values of ENV, LABEL and ARG; the value of an ARG without = is None."""
        if self.name == "ARG":
            return tuple(_split(word) for word in self.words)
        return tuple(zip(self.words[::2], self.words[1::2], strict=False))

    def flag(self, name: str) -> str | None:
        """Return the value of the last flag of that name."""
        return next((flag.value for flag in reversed(self.flags) if flag.name == name), None)


def _split(word: Word) -> tuple[Word, Word | None]:
    name, equals, value = word.text.partition("=")
    at = Place(word.place.line, word.place.column + len(name) + 1)
    return Word(name, word.place), Word(value, at) if equals else None


class Problem(msgspec.Struct, frozen=True):
    """What the builder would refuse, and where."""

    place: Place
    message: str


class Comment(msgspec.Struct, frozen=True):
    """A comment without its mark; `line` is 1-based."""

    line: int
    text: str


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file. `problems` name what could not be read; what stands around it was."""

    instructions: tuple[Instruction, ...]
    comments: tuple[Comment, ...] = ()
    problems: tuple[Problem, ...] = ()
    escape: str = "\\"
    directives: tuple[tuple[str, str], ...] = ()
