"""Deny rules and a request in, those that hold or err out; rules that cannot hold for the request are not asked.

A condition `a && b` is false wherever `a` is false, whether `b` errs or not. So a rule is filed under a part of it that compares
a name with a word, or asks about the items of a list, and only taken out where that part can be true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pratique._kit.cel import BATCH, Token, answer, conjuncts, tokens
from pratique.grant.conditions import NAMES, Asking, Condition, together


class CompiledRule(NamedTuple):
    """A rule, and its condition ready to be asked."""

    id: str
    message: str
    actions: frozenset[str]
    condition: Condition


class Broken(NamedTuple):
    """A rule that denies: it holds, or it errs (`error` says how)."""

    rule: CompiledRule
    error: str = ""


class _Values(dict[str, Any]):
    """What names mean for a request, read once when first asked for."""

    def __init__(self, asking: Asking) -> None:
        super().__init__()
        self._asking = asking

    def __missing__(self, name: str) -> Any:
        value = self[name] = NAMES[name].read(self._asking)
        return value


class RuleIndex:
    """The rules of a policy, filed by the part that is cheapest to tell."""

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self._rules = tuple(rules)
        self.reads = any("read" in rule.actions for rule in self._rules)
        self._by_word: dict[str, dict[str, list[int]]] = {}
        self._by_truth: dict[str, list[int]] = {}
        always: list[int] = []
        for number, rule in enumerate(self._rules):
            if not self._file(number, rule):
                always.append(number)
        self._groups = self._batches(always)
        self._by_name = {name: self._batches(numbers) for name, numbers in self._by_truth.items()}

    def _batches(self, numbers: Sequence[int]) -> list[_Group]:
        return [_Group(self._rules, numbers[start : start + BATCH]) for start in range(0, len(numbers), BATCH)]

    def __iter__(self) -> Iterator[CompiledRule]:
        """Yield the rules in the order of the policy."""
        return iter(self._rules)

    def broken(self, asking: Asking) -> list[Broken]:
        """Return the rules that deny, in the order of the policy."""
        if not self._rules:
            return []
        values = _Values(asking)
        action = asking.request.action
        found: dict[int, Broken] = {}
        for number in self._filed(values):
            rule = self._rules[number]
            if not rule.actions or action in rule.actions:
                said = answer(rule.condition.program, {name: values[name] for name in rule.condition.names})
                if said is not False:
                    found[number] = Broken(rule, said if isinstance(said, str) else "")
        for group in [*self._groups, *(one for name, groups in self._by_name.items() if values[name] for one in groups)]:
            group.ask(values, action, found)
        return [found[number] for number in sorted(found)]

    def _filed(self, values: _Values) -> list[int]:
        found: list[int] = []
        for name, words in self._by_word.items():
            found += words.get(values[name], ())
        return found

    def _file(self, number: int, rule: CompiledRule) -> bool:
        parts = [tokens(part) for part in conjuncts(rule.condition.text)]
        for part in parts:
            compared = _compared(part)
            if compared is not None:
                name, words = compared
                for word in words:
                    self._by_word.setdefault(name, {}).setdefault(word, []).append(number)
                return True
        for part in parts:
            name = _truth(part)
            if name:
                self._by_truth.setdefault(name, []).append(number)
                return True
        return False


class _Group:
    """Rules that are asked in one evaluation: all of them, or all of those that are about mounts, ..."""

    def __init__(self, rules: Sequence[CompiledRule], numbers: Sequence[int]) -> None:
        self._rules = [(number, rules[number]) for number in numbers]
        self._names = sorted({name for _, rule in self._rules for name in rule.condition.names})
        self._program = together([rule.condition.text for _, rule in self._rules])

    def ask(self, values: _Values, action: str, found: dict[int, Broken]) -> None:
        """Add the rules that deny."""
        given = {name: values[name] for name in self._names}
        said: Any = None
        if self._program is not None:
            try:
                said = self._program.eval(data=given).plain_value()
            except (RuntimeError, ValueError, TypeError):
                said = None  # one of them errs: each is asked alone, which tells which
        if isinstance(said, list) and True not in said and all(one is False for one in said):
            return
        for number, rule in self._rules:
            if not rule.actions or action in rule.actions:
                one = answer(rule.condition.program, given)
                if one is not False:
                    found[number] = Broken(rule, one if isinstance(one, str) else "")


def _compared(part: Sequence[Token]) -> tuple[str, list[str]] | None:
    """Read `name == 'word'`, `'word' == name` or `name in ['word', ...]` where that is the whole part."""
    part = _bare(part)
    if len(part) == 3 and part[1].text == "==":
        name, word = (part[0], part[2]) if part[0].kind == "name" else (part[2], part[0])
        plain = _plain(word)
        return (name.text, [plain]) if _is_text(name) and plain is not None else None
    if len(part) > 4 and part[1].text == "in" and part[2].text == "[" and part[-1].text == "]" and _is_text(part[0]):
        inner = part[3:-1]
        words = [_plain(word) for word in inner[::2]]
        if all(sign.text == "," for sign in inner[1::2]) and len(inner) % 2 == 1 and None not in words:
            return part[0].text, sorted({str(word) for word in words})
    return None


def _truth(part: Sequence[Token]) -> str:
    """Return the name that must be true, or not empty, for the part to be true: `spec.privileged`, `spec.mounts.exists(...)`."""
    part = _bare(part)
    first = part[0] if part else None
    if first is None or first.kind != "name":
        return ""
    if len(part) == 1:
        return first.text if first.text in NAMES and NAMES[first.text].type == "bool" else ""
    over, _, macro = first.text.rpartition(".")
    whole = part[1].text == "(" and _closes(part, 1) == len(part) - 1
    listed = over in NAMES and NAMES[over].type.startswith("list")
    return over if macro in ("exists", "exists_one", "existsOne") and listed and whole else ""


def _bare(part: Sequence[Token]) -> Sequence[Token]:
    while len(part) > 2 and part[0].text == "(" and _closes(part, 0) == len(part) - 1:
        part = part[1:-1]
    return part


def _closes(part: Sequence[Token], at: int) -> int:
    depth = 0
    for number in range(at, len(part)):
        depth += (part[number].text in ("(", "[", "{")) - (part[number].text in (")", "]", "}"))
        if depth == 0:
            return number
    return -1


def _is_text(token: Token) -> bool:
    return token.kind == "name" and token.text in NAMES and NAMES[token.text].type == "string"


def _plain(token: Token) -> str | None:
    """Return a word without escapes or prefixes; None for anything else, which is then asked the long way."""
    text = token.text
    simple = token.kind == "string" and text[0] in "'\"" and text[:3] not in ("'''", '"""') and "\\" not in text
    return text[1:-1] if simple else None
