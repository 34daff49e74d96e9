"""Conditions in CEL in, compiled programs and their answers out: typed, bounded, and never silent about an error.

Every name is declared with its type, so a misspelt field is found when a file is loaded. https://cel.dev, evaluated by cel-cpp,
which bounds iterations and nesting; what it does not bound (values that grow within comprehensions) is refused here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MAX_EXPRESSION = 4096  # characters; a condition that is longer is a program
# In one part of a condition, between outermost && and ||: values can grow by the text's length at each. Measured on the worst
# condition that fits: 20 ms with two, 6 s with three.
MAX_COMPREHENSIONS = 2
BATCH = 40  # conditions asked in one evaluation: measured, beyond this nothing is won

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*)
      | (?P<raw>(?:[bB]?[rR]|[rR][bB])(?:\"\"\".*?\"\"\"|'''.*?'''|"[^"\n]*"|'[^'\n]*'))
      | (?P<string>[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<name>(?:\.\s*)?[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)
      | (?P<number>\d[\w.]*)
      | (?P<sign>&&|\|\||[=!<>]=|\S)""",
    re.VERBOSE | re.DOTALL,
)
_MACROS = frozenset(("all", "exists", "exists_one", "existsOne", "filter", "map"))
_MESSAGE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_FUNCTIONS = ("startsWith", "endsWith", "contains", "matches", "size", "exists", "all", "duration", "timestamp", "getFullYear")
_EXPECTING = re.compile(r" expecting .*", re.DOTALL)
_DURATION = re.compile(r"(\d{1,6})([hdw])\b")
_HOURS = {"h": 1, "d": 24, "w": 168}
_WORDS = "write && for and, || for or, ! for not"
_ADVICE = (
    ("double, int", "a number with a point is a double: write 1.0 for 1"),
    ("'contains' applied to '(list", "for a list, write 'x' in LIST"),
    ("'matches' applied to '(list", "for a list, write LIST.exists(x, x.matches('...'))"),
    ("'startsWith' applied to '(list", "for a list, write LIST.exists(x, x.startsWith('...'))"),
    ("'_==_' applied to '(list(string), string)'", "for a list, write 'x' in LIST, or size(LIST) == 0"),
    ("applied to '(bool, string)'", "true and false stand without quotes"),
    ("token recognition error at: '=~'", "write NAME.matches('...')"),
    ("token recognition error at: '=", "write == to compare"),
    ("input 'and'", _WORDS), ("input 'or'", _WORDS), ("input 'not'", _WORDS), ("input 'AND'", _WORDS), ("input 'OR'", _WORDS),
)  # fmt: skip
# "package" is a word that CEL reserves, and the one that everybody would write: inside it has a name of the same length.
_RESERVED, _INSIDE = "package", "PACKAGE"


class ConditionError(Exception):
    """A condition that is wrong, at a 0-based offset in its text."""

    def __init__(self, message: str, offset: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.offset, self.hint = message, offset, hint


class Token(NamedTuple):
    """A piece of a condition: kind, text without inner white space of names, offset."""

    kind: str
    text: str
    offset: int


def tokens(text: str) -> list[Token]:
    """Cut a condition into pieces; comments are left out."""
    found = []
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "comment":
            raw = match.group()
            word = "".join(raw.split()) if kind == "name" else raw
            found.append(Token(kind, word, match.start()))
    return found


class Language:
    """The names that conditions of one sort may use, by type, and the environment that compiles them.

    Types are those of CEL, and `list(string)`, `map(string)` (of strings) and `list(map)`, whose items are maps of anything.
    `words` are the values that a name can have, where these are few; `known` further names, to tell the nearest right one from;
    `orders` says what to write where somebody asks whether a text is above another.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        words: Mapping[str, Sequence[str]] | None = None,
        known: Iterable[str] = (),
        orders: Mapping[str, str] | None = None,
    ) -> None:
        self.types = dict(types)
        self._words = words or {}
        self._orders = orders or {}
        self._known = [*self.types, *known]
        self._env: Any = None

    def compile(self, text: str) -> Any:
        """Check and compile a condition. Raises ConditionError."""
        if len(text) > MAX_EXPRESSION:
            raise ConditionError(f"longer than {MAX_EXPRESSION} characters")
        pieces = tokens(text)
        _bound(pieces)
        self._check_order(pieces)
        try:
            program = self._environment().compile(_translated(text, pieces))
        except (RuntimeError, ValueError) as error:
            raise self._explained(str(error).replace(_INSIDE, _RESERVED), text, pieces) from None
        if program.return_type().name() != "BOOL":
            raise ConditionError(f"a condition must be true or false, this is {program.return_type().name().lower()}")
        self._check_words(pieces)
        self._check_patterns(pieces)
        return program

    def together(self, texts: Sequence[str]) -> Any:
        """Compile several checked conditions into one program that answers a list; None where they are too deep together."""
        if len(texts) < 2:
            return None
        text = "[" + ",".join(f"({_translated(one, tokens(one))}\n)" for one in texts) + "]"
        try:
            return self._environment().compile(text)
        except (RuntimeError, ValueError):
            return None  # each is asked alone

    def used(self, text: str) -> tuple[str, ...]:
        """Return the names that a condition uses, sorted."""
        used: set[str] = set()
        for piece in tokens(text):
            if piece.kind == "name":
                parts = piece.text.split(".")
                prefixes = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
                used.update(name for name in prefixes if name in self.types)
        return tuple(sorted(used))

    def _environment(self) -> Any:
        if self._env is None:
            from cel_expr_python import cel  # type: ignore[import-untyped]

            kinds = {
                "list(string)": lambda: cel.Type.List(cel.Type.STRING),
                "map(string)": lambda: cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
                "list(map)": lambda: cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.DYN)),
            }
            self._env = cel.NewEnv(
                variables={inside(name): kinds[kind]() if kind in kinds else cel.Type(kind) for name, kind in self.types.items()}
            )
        return self._env

    def _explained(self, error: str, text: str, pieces: Sequence[Token]) -> ConditionError:
        match = _MESSAGE.search(error)
        if match is None:
            return ConditionError(error.partition(": ")[2].rpartition(" [")[0] or error)
        lines = text.split("\n")
        line, column = min(max(int(match[1]), 1), len(lines)), int(match[2])
        offset = sum(len(row) + 1 for row in lines[: line - 1]) + max(column - 1, 0)
        message = match[3].replace(" (in container '')", "").replace(" [INVALID_ARGUMENT]", "")
        undeclared = _UNDECLARED.search(message)
        if undeclared is None and "operand of a select" in message:
            word = next((p for p in pieces if p.kind == "name" and p.offset <= offset < p.offset + len(p.text)), None)
            if word is not None:
                undeclared = re.fullmatch("(.*)", word.text)  # a path that goes on behind a plain value
        if undeclared is None:
            return ConditionError(*_advised(message, text, min(offset, len(text))))
        name = undeclared[1]
        piece = next((p for p in pieces if p.kind == "name" and (p.text == name or p.text.startswith(f"{name}."))), None)
        near = difflib.get_close_matches(name, self.types, 1) or difflib.get_close_matches(name, self._known, 1)
        near = near or difflib.get_close_matches(name, _FUNCTIONS, 1)
        at = offset if piece is None else piece.offset + _odd_part(name, self._known)
        return ConditionError(f"there is no {name!r}", at, f"did you mean {near[0]!r}?" if near else "")

    def _check_order(self, pieces: Sequence[Token]) -> None:
        """Refuse < and > of texts: letter by letter, critical is below high, and version 10 below 9."""
        for before, sign, after in zip(pieces, pieces[1:], pieces[2:], strict=False):
            if sign.text not in ("<", "<=", ">", ">="):
                continue
            for piece in (before, after):
                if piece.kind == "name" and self.types.get(piece.text) == "string":
                    message = f"{piece.text} is a text: {sign.text} would compare it letter by letter"
                    raise ConditionError(message, sign.offset, self._orders.get(piece.text, ""))

    def _check_patterns(self, pieces: Sequence[Token]) -> None:
        """Refuse a regular expression that is none: it would err on every item."""
        for at, piece in enumerate(pieces):
            if piece.kind != "name" or piece.text.rpartition(".")[2] != "matches":
                continue
            given = next((place for place in (at + 2, at + 4) if _is_whole(pieces, place)), None)
            if given is None:
                continue
            said = answer(self._environment().compile(f"''.matches({pieces[given].text})"), {})
            if isinstance(said, str):
                raise ConditionError(said.rstrip(": "), pieces[given].offset)

    def _check_words(self, pieces: Sequence[Token]) -> None:
        """Refuse a comparison of a field of few words with another word: it could never be true, and nobody would notice."""
        for at, piece in enumerate(pieces):
            allowed = self._words.get(piece.text) if piece.kind == "name" else None
            if allowed is None:
                continue
            if at > 1 and pieces[at - 1].text in ("==", "!="):
                _check_word(piece.text, pieces[at - 2], allowed)
            following = pieces[at + 1 : at + 2]
            if following and following[0].text in ("==", "!="):
                compared = list(pieces[at + 2 : at + 3])
            elif following and following[0].text == "in" and pieces[at + 2 : at + 3] and pieces[at + 2].text == "[":
                end = next((i for i in range(at + 3, len(pieces)) if pieces[i].text == "]"), len(pieces))
                compared = list(pieces[at + 3 : end])
            else:
                compared = []
            for word in compared:
                _check_word(piece.text, word, allowed)


def _advised(message: str, text: str, offset: int) -> tuple[str, int, str]:
    """Say what is wrong in fewer words than a parser does, and what people mean who write it."""
    message = _EXPECTING.sub("", message)
    written = _DURATION.search(text[:offset].rpartition(" ")[2] + text[offset:].partition(" ")[0])
    hint = next((advice for sign, advice in _ADVICE if sign in message), "")
    if "'<EOF>'" in message and "mismatched" in message:
        return "the condition ends too early", offset, hint
    if "extraneous input" in message and written is not None:
        return message, offset, f"a duration is written duration('{int(written[1]) * _HOURS[written[2]]}h')"
    return message, offset, hint


def inside(name: str) -> str:
    """Return a name as programs know it: what is given to them is keyed by that."""
    return _INSIDE + name[len(_INSIDE) :] if name.startswith(f"{_RESERVED}.") else name


def _translated(text: str, pieces: Sequence[Token]) -> str:
    for piece in pieces:
        if piece.kind == "name" and piece.text.partition(".")[0] == _RESERVED:
            text = text[: piece.offset] + _INSIDE + text[piece.offset + len(_INSIDE) :]
    return text


def _bound(pieces: Sequence[Token]) -> None:
    """Refuse what could grow without end, and `has`, which would ask for the value of a name that is always there."""
    count = 0
    open_signs: list[bool] = []  # whether each parenthesis holds the arguments of a comprehension
    for before, piece in zip((Token("", "", 0), *pieces), pieces, strict=False):
        if piece.text == "(" and before.text == "has":
            raise ConditionError("every name is always there: has() asks nothing", before.offset, "compare it with '' or 0.0")
        if piece.text in ("(", "[", "{"):
            macro = piece.text == "(" and before.kind == "name" and before.text.rpartition(".")[2] in _MACROS
            count += macro
            if count > MAX_COMPREHENSIONS:
                raise ConditionError(f"more than {MAX_COMPREHENSIONS} comprehensions in one part", before.offset)
            open_signs.append(macro)
        elif piece.text in (")", "]", "}") and open_signs:
            open_signs.pop()
        elif piece.text in ("&&", "||") and not open_signs:
            count = 0  # what stands before is true or false, and cannot grow
        elif piece.text == "+" and any(open_signs):
            raise ConditionError("+ is not allowed within a comprehension", piece.offset)


def _is_whole(pieces: Sequence[Token], at: int) -> bool:
    """Say whether a text stands there as a whole argument, the last of its call."""
    return (
        len(pieces) > at + 1
        and pieces[at].kind in ("string", "raw")
        and pieces[at + 1].text == ")"
        and pieces[at - 1].text in "(,"
    )


def _odd_part(name: str, known: Sequence[str]) -> int:
    """Return where in a dotted name the part begins with which it is no longer the beginning of a known one."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        start = ".".join(parts[:length])
        if not any(one == start or one.startswith(f"{start}.") for one in known):
            return len(start) - len(parts[length - 1])
    return 0


def _check_word(name: str, word: Token, allowed: Sequence[str]) -> None:
    value = word.text[1:-1]
    if word.kind != "string" or word.text[0] not in "'\"" or value in allowed:
        return
    near = difflib.get_close_matches(value, allowed, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(one for one in allowed if one)}"
    raise ConditionError(f"{name} is never {value!r}", word.offset, hint)


def answer(program: Any, given: Mapping[str, Any]) -> bool | str:
    """Evaluate a condition: true, false, or the error as a sentence."""
    try:
        result = program.eval(data=given)
        value = result.value()
    except (RuntimeError, ValueError, TypeError) as error:
        return _plain(str(error))
    if isinstance(value, bool):
        return value
    return _plain(str(value))


def _plain(error: str) -> str:
    head, colon, tail = error.partition(": ")
    return (tail if colon and head.isupper() else error).rpartition(" [")[0] or (tail if colon and head.isupper() else error)


def conjuncts(text: str) -> list[str]:
    """Split a condition at its outermost &&, to say which part did not hold."""
    depth, start, parts = 0, 0, []
    for piece in tokens(text):
        depth += (piece.text in ("(", "[", "{")) - (piece.text in (")", "]", "}"))
        if depth == 0 and piece.text in ("||", "?"):
            return [text.strip()]
        if depth == 0 and piece.text == "&&":
            parts.append(text[start : piece.offset].strip())
            start = piece.offset + 2
    return [*parts, text[start:].strip()]
