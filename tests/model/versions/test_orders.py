"""Keys against naive comparators that follow each rule's own words, so that keys are an order of the right things."""

from __future__ import annotations

import itertools
import re
from functools import cmp_to_key

from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.model.versions import load


def pieces(*words: str, size: int = 8) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=size).map("".join)


def dpkg_weight(character: str) -> int:
    if character == "~":
        return -1
    if not character or character.isdigit():
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256


def dpkg_part(left: str, right: str) -> int:
    while left or right:
        while (left and not left[0].isdigit()) or (right and not right[0].isdigit()):
            mine, other = dpkg_weight(left[:1]), dpkg_weight(right[:1])
            if mine != other:
                return mine - other
            left, right = left[1:], right[1:]
        mine_digits, other_digits = re.match("[0-9]*", left), re.match("[0-9]*", right)
        assert mine_digits is not None
        assert other_digits is not None
        mine, other = int(mine_digits[0] or "0"), int(other_digits[0] or "0")
        if mine != other:
            return mine - other
        left, right = left[mine_digits.end() :], right[other_digits.end() :]
    return 0


@given(pieces("0", "1", "9", "10", "00", ".", "+", "~", "a", "Z"), pieces("0", "1", "9", "10", "00", ".", "+", "~", "a", "Z"))
@settings(max_examples=300, deadline=None)
def test_dpkg_is_character_by_character(left: str, right: str) -> None:
    """Upstream versions are in the order that the Debian policy manual describes."""
    key = load("dpkg").key
    expected = dpkg_part(left, right)
    assert (key(left) < key(right), key(left) == key(right)) == (expected < 0, expected == 0)
    assert (key("1-" + left) < key("1-" + right)) == (expected < 0)


def semver_compare(left: str, right: str) -> int:
    def parse(version: str) -> tuple[list[int], list[str]]:
        numbers, _hyphen, pre = version.partition("+")[0].partition("-")
        return [int(number) for number in numbers.split(".")], pre.split(".") if pre else []

    (mine, mine_pre), (other, other_pre) = parse(left), parse(right)
    if mine != other:
        return -1 if mine < other else 1
    if not mine_pre or not other_pre:
        return bool(other_pre) - bool(mine_pre)
    for one, two in itertools.zip_longest(mine_pre, other_pre):
        if one is None or two is None:
            return -1 if one is None else 1
        if one.isdigit() and two.isdigit():
            if int(one) != int(two):
                return int(one) - int(two)
        elif one != two:
            if one.isdigit() != two.isdigit():
                return -1 if one.isdigit() else 1
            return -1 if one < two else 1
    return 0


SEMVER = st.from_regex(r"\A(0|1|2|10)\.(0|1)\.(0|3)(-(0|1|10|a|A|-|rc|a-b)(\.(0|1|10|a|A|rc|-1)){0,2})?(\+b1)?\Z")


@given(st.lists(SEMVER, min_size=2, max_size=6))
@settings(max_examples=150, deadline=None)
def test_semver_is_the_specifications_precedence(versions: list[str]) -> None:
    """Sorting by key is sorting by section 11 of SemVer 2.0."""
    key = load("semver").key
    for left, right in itertools.pairwise(versions):
        expected = semver_compare(left, right)
        assert (key(left) < key(right), key(left) == key(right)) == (expected < 0, expected == 0)
    assert [key(version) for version in sorted(versions, key=cmp_to_key(semver_compare))] == sorted(map(key, versions))


GEM = st.from_regex(r"\A(0|1|2|10)(\.(0|0|1|10|a|b|rc)){0,5}\Z")


def gem_compare(left: list[int | str], right: list[int | str]) -> int:
    for one, two in itertools.zip_longest(left, right, fillvalue=0):
        if isinstance(one, str) != isinstance(two, str):
            return -1 if isinstance(one, str) else 1
        if one != two:
            return -1 if one < two else 1  # type: ignore[operator]
    return 0


def gem_segments(version: str) -> list[int | str]:
    """Segments without zeros before the first word, by its own words; texts with zeros before a later word are not drawn."""
    segments: list[int | str] = [int(part) if part.isdigit() else part for part in version.split(".")]
    first = next((place for place, part in enumerate(segments) if isinstance(part, str)), len(segments))
    numbers, rest = segments[:first], segments[first:]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers + rest


@given(GEM, GEM)
@settings(max_examples=300, deadline=None)
def test_gems_fill_up_with_zeros(left: str, right: str) -> None:
    """A missing segment is 0, a word is below every number."""
    key = load("rubygems").key
    expected = gem_compare(gem_segments(left), gem_segments(right))
    assert (key(left) < key(right), key(left) == key(right)) == (expected < 0, expected == 0)
