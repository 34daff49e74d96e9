"""Conditions in CEL in, rules that can be asked out: typed, bounded, and never silent about an error.

Every name is declared with its type, so a misspelt field is found when the policy is loaded. https://cel.dev, evaluated by
cel-cpp, which bounds iterations and nesting; what it does not bound (values that grow within comprehensions) is refused here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pratique.policy.facts import ALWAYS, SPEAKS_OF, VARIABLES, WORDS, Each, Item, Subject, names_for

MAX_EXPRESSION = 4096  # characters; a condition that is longer is a program
# In one part of a condition, between outermost && and ||: values can grow by the text's length at each. Measured on the worst
# condition that fits: 20 ms with two, 6 s with three.
MAX_COMPREHENSIONS = 2
BATCH = 40  # rules asked in one evaluation: measured, beyond this nothing is won

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
_ROOTS = frozenset(root for roots in SPEAKS_OF.values() for root in roots)


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


class Condition(NamedTuple):
    """A condition that was checked: its text, what it looks at, the variables that it uses, and the compiled program."""

    text: str
    each: Each
    names: tuple[str, ...]
    program: Any


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


def compile_condition(text: str, each: Each | None = None) -> Condition:
    """Check and compile. What it looks at follows from the names it uses, unless `each` says it. Raises ConditionError."""
    if len(text) > MAX_EXPRESSION:
        raise ConditionError(f"longer than {MAX_EXPRESSION} characters")
    pieces = tokens(text)
    _bound(pieces)
    each = each or _looks_at(pieces)
    try:
        program = _environment(each).compile(_translated(text, pieces))
    except (RuntimeError, ValueError) as error:
        raise _explained(str(error).replace(_INSIDE, _RESERVED), text, pieces, each) from None
    if program.return_type().name() != "BOOL":
        raise ConditionError(f"a condition must be true or false, this is {program.return_type().name().lower()}")
    _check_words(pieces)
    return Condition(text, each, _used(pieces, each), program)


def _translated(text: str, pieces: Sequence[Token]) -> str:
    for piece in pieces:
        if piece.kind == "name" and piece.text.partition(".")[0] == _RESERVED:
            text = text[: piece.offset] + _INSIDE + text[piece.offset + len(_INSIDE) :]
    return text


def _inside(name: str) -> str:
    return _INSIDE + name[len(_INSIDE) :] if name.startswith(f"{_RESERVED}.") else name


@cache
def _environment(each: Each) -> Any:
    from cel_expr_python import cel  # type: ignore[import-untyped]

    strings = cel.Type.List(cel.Type.STRING)
    types = {name: variable.type for name, variable in names_for(each).items()}
    return cel.NewEnv(
        variables={_inside(name): strings if kind == "list(string)" else cel.Type(kind) for name, kind in types.items()}
    )


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


def _looks_at(pieces: Sequence[Token]) -> Each:
    roots = {piece.text.partition(".")[0] for piece in pieces if piece.kind == "name"} & _ROOTS
    if not roots:
        return "image"
    order: tuple[Each, ...] = ("layer", "package", "gap", "attestation", "finding")
    for each in order:
        if roots <= set(SPEAKS_OF[each]):
            return each
    odd = min(roots & {"gap", "attestation"})
    at = next(piece.offset for piece in pieces if piece.kind == "name" and piece.text.partition(".")[0] == odd)
    raise ConditionError(f"{odd} and {', '.join(sorted(roots - {odd}))} cannot be asked about together", at)


def _used(pieces: Sequence[Token], each: Each) -> tuple[str, ...]:
    known = names_for(each)
    used: set[str] = set()
    for piece in pieces:
        if piece.kind == "name":
            parts = piece.text.split(".")
            prefixes = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
            used.update(name for name in prefixes if name in known)
    return tuple(sorted(used))


def _explained(error: str, text: str, pieces: Sequence[Token], each: Each) -> ConditionError:
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
        hint = "a number with a point is a double: write 1.0 for 1" if "double, int" in message else ""
        return ConditionError(message, min(offset, len(text)), hint)
    name = undeclared[1]
    piece = next((p for p in pieces if p.kind == "name" and (p.text == name or p.text.startswith(f"{name}."))), None)
    near = difflib.get_close_matches(name, names_for(each), 1) or difflib.get_close_matches(name, VARIABLES, 1)
    at = offset if piece is None else piece.offset + _odd_part(name)
    return ConditionError(f"there is no {name!r}", at, f"did you mean {near[0]!r}?" if near else "")


def _odd_part(name: str) -> int:
    """Return where in a dotted name the part begins with which it is no longer the beginning of a known one."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        start = ".".join(parts[:length])
        if not any(known == start or known.startswith(f"{start}.") for known in VARIABLES):
            return len(start) - len(parts[length - 1])
    return 0


def _check_words(pieces: Sequence[Token]) -> None:
    """Refuse a comparison of a field of few words with another word: it could never be true, and nobody would notice."""
    for at, piece in enumerate(pieces):
        allowed = WORDS.get(piece.text) if piece.kind == "name" else None
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


def _check_word(name: str, word: Token, allowed: Sequence[str]) -> None:
    value = word.text[1:-1]
    if word.kind != "string" or word.text[0] not in "'\"" or value in allowed or (not value and name == "context.stage"):
        return
    near = difflib.get_close_matches(value, allowed, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(allowed)}"
    raise ConditionError(f"{name} is never {value!r}", word.offset, hint)


def values(names: Sequence[str], item: Item) -> dict[str, Any]:
    """Return what the named variables are for an item."""
    return {name: VARIABLES[name].read(item) for name in names}


def ask(condition: Condition, item: Item) -> bool | str:
    """Evaluate one condition: true, false, or the error as a sentence."""
    return _ask(condition, _given(condition.names, item))


def _given(names: Sequence[str], item: Item) -> dict[str, Any]:
    return {_inside(name): VARIABLES[name].read(item) for name in names}


def _ask(condition: Condition, given: Mapping[str, Any]) -> bool | str:
    try:
        result = condition.program.eval(data=given)
        value = result.value()
    except (RuntimeError, ValueError, TypeError) as error:
        return _plain(str(error))
    if isinstance(value, bool):
        return value
    return _plain(str(value))


def _plain(error: str) -> str:
    head, colon, tail = error.partition(": ")
    return (tail if colon and head.isupper() else error).rpartition(" [")[0] or (tail if colon and head.isupper() else error)


class Batch:
    """Conditions on one kind of item, asked together: one evaluation an item where none of them errs."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._conditions = list(conditions)
        self.names = tuple(sorted({name for condition in conditions for name in condition.names}))
        self._fixed_names = tuple(name for name in self.names if name.partition(".")[0] in ALWAYS)
        self._item_names = tuple(name for name in self.names if name not in self._fixed_names)
        self._fixed: tuple[Subject, dict[str, Any]] | None = None
        self._groups: list[tuple[list[Condition], Any]] = []
        for start in range(0, len(self._conditions), BATCH):
            group = self._conditions[start : start + BATCH]
            self._groups.append((group, _together(group)))

    def ask(self, item: Item) -> list[bool | str]:
        """Return the answer of each condition, in their order."""
        if self._fixed is None or self._fixed[0] is not item.subject:
            self._fixed = item.subject, _given(self._fixed_names, item)  # what is alike for every item of a subject
        given = self._fixed[1] | _given(self._item_names, item)
        answers: list[bool | str] = []
        for group, program in self._groups:
            answer: Any = None
            if program is not None:
                try:
                    answer = program.eval(data=given).plain_value()
                except (RuntimeError, ValueError, TypeError):
                    answer = None  # one of them errs: each is asked alone, which tells which
            sound = isinstance(answer, list) and all(isinstance(one, bool) for one in answer)
            answers += answer if sound else [_ask(condition, given) for condition in group]
        return answers


def _together(group: Sequence[Condition]) -> Any:
    if len(group) < 2:
        return None
    text = "[" + ",".join(f"({_translated(condition.text, tokens(condition.text))}\n)" for condition in group) + "]"
    try:
        return _environment(group[0].each).compile(text)
    except (RuntimeError, ValueError):
        return None  # too deep when put together: each is asked alone


def conjuncts(text: str) -> list[str]:
    """Split a condition at its outermost &&, to say which part did not hold."""
    depth, start, parts = 0, 0, []
    for piece in tokens(text):
        depth += (piece.text in ("(", "[", "{")) - (piece.text in (")", "]", "}"))
        if depth == 0 and piece.text == "||":
            return [text.strip()]
        if depth == 0 and piece.text == "&&":
            parts.append(text[start : piece.offset].strip())
            start = piece.offset + 2
    return [*parts, text[start:].strip()]
