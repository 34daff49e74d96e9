"""Maven's order against a naive comparator of nested lists, and the corner where Maven contradicts itself."""

from __future__ import annotations

import itertools
import re
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.model.versions import load

RANKS = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"]
ALIASES = {"cr": "rc", "ga": "", "final": "", "release": ""}
SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}

Ordered = TypeVar("Ordered", int, str, bytes)

# int, qualifier or list
Item = int | str | list["Item"]


def parse(version: str) -> list[Item]:
    """Nested lists, trimmed, as the specification describes them."""
    current: list[Item] = []
    stack = [current]

    def deeper() -> None:
        nonlocal current
        inner: list[Item] = []
        current.append(inner)
        stack.append(inner)
        current = inner

    runs = re.findall(r"[0-9]+|[.-]|[^0-9.-]+", version.lower())
    filled = False
    for run, following in itertools.zip_longest(runs, runs[1:]):
        if run in {".", "-"}:
            if not filled:
                current.append(0)
            if run == "-":
                deeper()
            filled = False
        elif run.isdigit():
            current.append(int(run))
            filled = True
            if following and following not in {".", "-"}:
                deeper()
        else:
            numbered = bool(following) and following.isdigit()
            if current and (numbered or following is None):
                deeper()
            word = SHORT.get(run, run) if numbered else run
            current.append(ALIASES.get(word, word))
            filled = True
            if numbered:
                deeper()
                filled = False
    for items in reversed(stack):
        trim(items)
    return stack[0]


def trim(items: list[Item]) -> None:
    for place in range(len(items) - 1, -1, -1):
        if items[place] in (0, "", []):
            del items[place]
        elif not isinstance(items[place], list):
            break


def rank(word: str) -> str:
    return str(RANKS.index(word)) if word in RANKS else "7-" + word


def sign(left: Ordered, right: Ordered) -> int:
    return (left > right) - (left < right)


def worth(items: list[Item]) -> int:
    """Compare a list to nothing."""
    for item in items:
        found = worth(item) if isinstance(item, list) else sign(item, 0) if isinstance(item, int) else sign(rank(item), "5")
        if found:
            return found
    return 0


class ContradictionError(Exception):
    """The kinds decide against the sides of the end."""


def compare(left: list[Item], right: list[Item]) -> int:
    """Compare as ComparableVersion does; raises where kinds and sides of the end disagree."""
    kinds = {int: 3, list: 2, str: 1}
    for place, (one, two) in enumerate(itertools.zip_longest(left, right)):
        if one is None or two is None:
            found = worth(left[place : place + 1]) - worth(right[place : place + 1])
        elif type(one) is not type(two):
            found = kinds[type(one)] - kinds[type(two)]
        elif isinstance(one, list):
            assert isinstance(two, list)
            found = compare(one, two)
        elif isinstance(one, str):
            assert isinstance(two, str)
            found = sign(rank(one), rank(two))
        else:
            assert isinstance(one, int)
            assert isinstance(two, int)
            found = sign(one, two)
        if found:
            sides = sign(worth(left[place:]), worth(right[place:]))
            if sides and sides != sign(found, 0):
                raise ContradictionError
            return sign(found, 0)
    return 0


WORDS = [
    "0",
    "1",
    "2",
    "10",
    ".",
    ".",
    "-",
    "-",
    "a",
    "alpha",
    "rc",
    "cr",
    "sp",
    "final",
    "ga",
    "snapshot",
    "x",
    "m",
    "foo",
    "00",
]
VERSION = st.tuples(
    st.sampled_from(["", "1", "1.0", "1.0.0", "2.1", "1.0-rc", "1.0."]), st.lists(st.sampled_from(WORDS), min_size=1, max_size=5)
).map(lambda drawn: drawn[0] + "".join(drawn[1]))


@given(VERSION, VERSION)
@settings(max_examples=500, deadline=None)
def test_keys_are_the_nested_comparison(left: str, right: str) -> None:
    """Outside the corner every pair is ordered as nested lists are."""
    key = load("maven").key
    try:
        expected = compare(parse(left), parse(right))
    except ContradictionError:
        return
    assert sign(key(left), key(right)) == expected


def test_the_corner_where_maven_contradicts_itself() -> None:
    """Maven holds 1 < 1.sp.1 < 1-rc < 1; the key keeps what is above the end above what is below it."""
    assert compare(parse("1"), parse("1.sp.1")) < 0
    assert compare(parse("1-rc"), parse("1")) < 0
    key = load("maven").key
    assert key("1-rc") < key("1") < key("1.sp.1")
