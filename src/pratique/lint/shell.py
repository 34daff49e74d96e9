"""A shell script in, its simple commands out, each word with its place.

No full grammar: it splits at what separates commands and looks into substitutions, groups and the branches of `if`, `for` and
`case`, which is enough to see what is run. Words that a shell would compute keep their `$`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pratique.workload.place import Mapped, Place

MAX_COMMANDS = 5_000  # in one script; generated ones have some hundreds
MAX_DEPTH = 12  # substitutions in substitutions

_KEYWORDS = frozenset(("if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!", "time", "esac", "in"))
_HEADS = frozenset(("for", "select"))  # followed by words, not by a command
_WRAPPERS = frozenset(("env", "exec", "nohup", "nice", "time", "command", "eatmydata", "builtin", "xargs"))
# Programs that run another one as somebody else, with their options that have a value.
_ELEVATING = {
    "sudo": frozenset(("-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-D", "-R", "-U")),
    "doas": frozenset(("-u", "-C")),
}
_SEPARATORS = frozenset(";|&\n()")


class ShellWord(NamedTuple):
    """A word without its quotes; `raw` is false where a part of it was quoted, `end` stands behind its last character."""

    text: str
    place: Place
    raw: bool
    end: Place


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One simple command: its words, the assignments before it, and whether a pipe leads in or out of it."""

    words: tuple[ShellWord, ...]
    assignments: tuple[ShellWord, ...] = ()
    piped_from: int = -1  # the number of the command whose output it reads, -1 without
    inside: int = -1  # the number of the command in whose words it is substituted, -1 without

    @property
    def name(self) -> str:
        """The program without its folder, wrappers such as `env` and `exec` passed over."""
        return self.program[0].text.rsplit("/", 1)[-1] if self.program else ""

    @property
    def program(self) -> tuple[ShellWord, ...]:
        """The words from the program on."""
        words = self.words
        while words and words[0].text.rsplit("/", 1)[-1] in _WRAPPERS:
            words = words[1:]
            while words and (words[0].text.startswith("-") or "=" in words[0].text):
                words = words[1:]
        return words

    @property
    def arguments(self) -> tuple[str, ...]:
        """The texts behind the program's name."""
        return tuple(word.text for word in self.program[1:])

    @property
    def elevated(self) -> Command | None:
        """The command that sudo is told to run, in the place of this one; None for any other program."""
        valued = _ELEVATING.get(self.name)
        if valued is None:
            return None
        words = self.program[1:]
        while words and (words[0].text.startswith("-") or _is_assignment(words[0].text)):
            words = words[2 if words[0].text in valued else 1 :]
        return msgspec.structs.replace(self, words=words, assignments=()) if words else None

    def has(self, *options: str) -> bool:
        """Say whether one of these options is given; a short one may stand among others (`-qk`) or have a value."""
        for word in self.arguments:
            for option in options:
                if word == option or (option.startswith("--") and word.startswith(option + "=")):
                    return True
                together = len(option) == 2 and len(word) > 1 and word[0] == "-" and word[1] != "-"
                if together and word[1:].isalpha() and option[1] in word[1:]:
                    return True
        return False


def commands(script: Mapped) -> list[Command]:
    """Read a script. Unfinished quotes end with the text; what is behind MAX_COMMANDS is not read."""
    reader = _Reader(script)
    reader.read(0, len(script.text), 0, -1)
    return reader.found


class _Reader:
    def __init__(self, script: Mapped) -> None:
        self._script = script
        self._text = script.text
        self.found: list[Command] = []

    def read(self, at: int, end: int, depth: int, inside: int) -> None:
        """Read commands in text[at:end]; `inside` is the command in whose words they stand."""
        words: list[ShellWord] = []
        pipe, cases = -1, _Cases()
        substitutions: list[tuple[int, int]] = []
        while at < end and len(self.found) < MAX_COMMANDS:
            letter = self._text[at]
            if letter in _SEPARATORS:
                number = -1 if cases.passes(words, self._text[at : at + 2]) else self._close(words, pipe, inside)
                self._substituted(substitutions, depth, number if number >= 0 else inside)
                single = letter == "|" and self._text[at + 1 : at + 2] != "|"
                pipe = (number if number >= 0 else pipe) if single else -1
                words, substitutions = [], []
                at += 2 if self._text[at : at + 2] in ("||", "&&", ";;", "|&") else 1
            elif letter.isspace():
                at += 1
            elif letter == "\\" and self._text[at + 1 : at + 2] == "\n":
                at += 2
            elif letter == "#":
                stop = self._text.find("\n", at, end)
                at = stop if stop >= 0 else end
            elif letter in "<>":
                at = self._redirection(at, end, substitutions)
            else:
                word, at = self._word(at, end, substitutions)
                if not (word.raw and word.text.isdecimal() and self._text[at : at + 1] in ("<", ">")):  # else 2 of `2>file`
                    words.append(word)
        number = self._close(words, pipe, inside)
        self._substituted(substitutions, depth, number if number >= 0 else inside)

    def _close(self, words: list[ShellWord], pipe: int, inside: int) -> int:
        rest = list(words)
        if len(rest) > 2 and rest[0].raw and rest[0].text == "function":  # bash's: a name and what is in it
            rest = rest[2:]
        while rest and rest[0].raw and rest[0].text in _KEYWORDS:
            rest = rest[1:]
        if rest and rest[0].raw and rest[0].text in _HEADS:
            return -1
        assignments = []
        while rest and _is_assignment(rest[0].text):
            assignments.append(rest.pop(0))
        if not rest and not assignments:
            return -1
        self.found.append(Command(words=tuple(rest), assignments=tuple(assignments), piped_from=pipe, inside=inside))
        return len(self.found) - 1

    def _substituted(self, parts: list[tuple[int, int]], depth: int, number: int) -> None:
        for start, stop in parts:
            if depth < MAX_DEPTH:
                self.read(start, stop, depth + 1, number)

    def _redirection(self, at: int, end: int, parts: list[tuple[int, int]]) -> int:
        """Pass over `>file`, `2>&1`, `<<EOF`; a process substitution `<(...)` is read."""
        if self._text[at + 1 : at + 2] == "(":
            stop = self._closing(at + 2, end)
            parts.append((at + 2, stop))
            return stop + 1
        while at < end and self._text[at] in "<>&-|":
            at += 1
        while at < end and self._text[at] in " \t":
            at += 1
        if at < end and self._text[at] not in _SEPARATORS and self._text[at] not in "<>":
            at = self._word(at, end, parts)[1]
        return at

    def _word(self, at: int, end: int, parts: list[tuple[int, int]]) -> tuple[ShellWord, int]:
        start, quote = at, ""
        letters: list[str] = []
        raw = True
        while at < end:
            letter = self._text[at]
            if not quote and (letter.isspace() or letter in _SEPARATORS or letter in "<>"):
                break
            if letter == "\\" and quote != "'":
                following = self._text[at + 1 : min(at + 2, end)]
                letters.append("" if following == "\n" else following)
                at += 2
                continue
            if self._text.startswith("$(", at) and quote != "'":
                stop = self._closing(at + 2, end)
                if not self._text.startswith("$((", at):
                    parts.append((at + 2, stop))
                letters.append(self._text[at : stop + 1])
                at = stop + 1
                continue
            if letter == "`" and quote != "'":
                stop = self._text.find("`", at + 1, end)
                stop = stop if stop >= 0 else end
                parts.append((at + 1, stop))
                letters.append(self._text[at : stop + 1])
                at = stop + 1
                continue
            at += 1
            if letter == quote:
                quote = ""
            elif not quote and letter in "'\"":
                quote, raw = letter, False
            else:
                letters.append(letter)
        at = min(max(at, start + 1), end)
        last = self._script.at(at - 1)
        return ShellWord("".join(letters), self._script.at(start), raw, Place(last.line, last.column + 1)), at

    def _closing(self, at: int, end: int) -> int:
        """Return the offset of the parenthesis that closes one opened before `at`, `end` without."""
        depth, quote = 1, ""
        while at < end:
            letter = self._text[at]
            if letter == "\\" and quote != "'":
                at += 1
            elif letter == quote:
                quote = ""
            elif not quote and letter in "'\"":
                quote = letter
            elif not quote and letter in "()":
                depth += 1 if letter == "(" else -1
                if not depth:
                    return at
            at += 1
        return end


class _Cases:
    """Where a script is in `case WORD in PATTERN) ... ;; esac`: heads and patterns are no commands."""

    def __init__(self) -> None:
        self._open = 0
        self._pattern = False

    def passes(self, words: list[ShellWord], separator: str) -> bool:
        """Say whether words are a head or a pattern, and note what the separator behind them begins."""
        first = words[0].text if words and words[0].raw else ""
        if first == "esac" and self._open:
            self._open, self._pattern = self._open - 1, False
            return False
        if first == "case" or self._pattern:
            self._open += first == "case"
            self._pattern = separator[:1] != ")"
            return True
        self._pattern = self._open > 0 and separator in (";;", ";&")
        return False


def _is_assignment(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()
