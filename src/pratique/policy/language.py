"""Conditions of policies in, rules that can be asked out: which names they may use, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from pratique._kit.cel import BATCH, ConditionError, Language, Token, answer, conjuncts, inside, tokens
from pratique.policy.facts import Each, Item, Subject
from pratique.policy.variables import ALWAYS, ORDERS, SPEAKS_OF, VARIABLES, WORDS, names_for

_ROOTS = frozenset(root for roots in SPEAKS_OF.values() for root in roots)


class Condition(NamedTuple):
    """A condition that was checked: its text, what it looks at, the variables that it uses, and the compiled program."""

    text: str
    each: Each
    names: tuple[str, ...]
    program: Any


def compile_condition(text: str, each: Each | None = None) -> Condition:
    """Check and compile. What it looks at follows from the names it uses, unless `each` says it. Raises ConditionError."""
    each = each or _looks_at(tokens(text))
    language = _language(each)
    return Condition(text, each, language.used(text), language.compile(text))


@cache
def _language(each: Each) -> Language:
    return Language({name: variable.type for name, variable in names_for(each).items()}, WORDS, VARIABLES, ORDERS)


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


def values(names: Sequence[str], item: Item) -> dict[str, Any]:
    """Return what the named variables are for an item."""
    return {name: VARIABLES[name].read(item) for name in names}


def ask(condition: Condition, item: Item) -> bool | str:
    """Evaluate one condition: true, false, or the error as a sentence."""
    return answer(condition.program, _given(condition.names, item))


def _given(names: Sequence[str], item: Item) -> dict[str, Any]:
    return {inside(name): VARIABLES[name].read(item) for name in names}


class Batch:
    """Conditions on one kind of item, asked together: one evaluation an item where none of them errs."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._conditions = list(conditions)
        self.names = tuple(sorted({name for condition in conditions for name in condition.names}))
        self._fixed_names = tuple(name for name in self.names if name.partition(".")[0] in ALWAYS)
        changing = (name for name in self.names if name not in self._fixed_names)
        self._readers = [(inside(name), VARIABLES[name].read) for name in changing]
        self._fixed: tuple[Subject, dict[str, Any]] | None = None
        self._groups: list[tuple[list[Condition], Any]] = []
        for start in range(0, len(self._conditions), BATCH):
            group = self._conditions[start : start + BATCH]
            together = _language(group[0].each).together([condition.text for condition in group])
            self._groups.append((group, together))

    def ask(self, item: Item) -> list[bool | str]:
        """Return the answer of each condition, in their order."""
        if self._fixed is None or self._fixed[0] is not item.subject:
            self._fixed = item.subject, _given(self._fixed_names, item)  # what is alike for every item of a subject
        given = self._fixed[1] | {name: read(item) for name, read in self._readers}
        answers: list[bool | str] = []
        for group, program in self._groups:
            together: Any = None
            if program is not None:
                try:
                    together = program.eval(data=given).plain_value()
                except (RuntimeError, ValueError, TypeError):
                    together = None  # one of them errs: each is asked alone, which tells which
            sound = isinstance(together, list) and set(map(type, together)) == {bool}
            answers += together if sound else [answer(condition.program, given) for condition in group]
        return answers


__all__ = ["Batch", "Condition", "ConditionError", "ask", "compile_condition", "conjuncts", "tokens", "values"]
