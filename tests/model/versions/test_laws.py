"""Laws that hold for every scheme, whatever the text."""

from __future__ import annotations

import pkgutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pratique.model.versions
from pratique.model.errors import UnorderableVersionError
from pratique.model.versions import load
from pratique.model.versions._keys import MAX_LENGTH

SCHEMES = sorted(module.name for module in pkgutil.iter_modules(pratique.model.versions.__path__) if module.name[0] != "_")
WORDS = [
    "0",
    "1",
    "2",
    "9",
    "10",
    "00",
    "01",
    "123456789012345678901234567890",
    ".",
    ".",
    ".",
    "-",
    "-",
    "+",
    "~",
    "^",
    "_",
    ":",
    "!",
]
WORDS += [
    "a",
    "b",
    "rc",
    "RC",
    "alpha",
    "beta",
    "pre",
    "p",
    "dev",
    "post",
    "final",
    "sp",
    "v",
    "go",
    "-r1",
    "_p",
    "_rc",
    "x",
    "@dev",
    " ",
]
PIECES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map("".join)
ANYTHING = st.one_of(PIECES, st.text(max_size=20))


def key(scheme: str, version: str) -> bytes | None:
    try:
        made = load(scheme).key(version)
    except UnorderableVersionError:
        return None
    assert type(made) is bytes
    return made


@pytest.mark.parametrize("scheme", SCHEMES)
@given(versions=st.lists(ANYTHING, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_key_or_refused(scheme: str, versions: list[str]) -> None:
    """Nothing but bytes or UnorderableVersionError comes out, and the same each time."""
    for version in versions:
        assert key(scheme, version) == key(scheme, version)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(
    numbers=st.lists(st.integers(0, 10**12), min_size=1, max_size=3),
    other=st.lists(st.integers(0, 10**12), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_plain_numbers_order_by_value(scheme: str, numbers: list[int], other: list[int]) -> None:
    """Every scheme agrees on dotted numbers of equal count; Alpine reads a zero in front as text, and gets none here."""
    size = min(len(numbers), len(other))
    left, right = numbers[:size], other[:size]
    if scheme == "composer":
        left, right = [number % 99999 for number in left], [number % 99999 for number in right]
    keys = [load(scheme).key(".".join(map(str, part))) for part in (left, right)]
    assert (keys[0] < keys[1], keys[0] == keys[1]) == (left < right, left == right)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "shape", ["1" * MAX_LENGTH, "1." * (MAX_LENGTH // 2 - 1) + "10", "1-a" * (MAX_LENGTH // 3), "1" + "0" * 900]
)
def test_length_is_bounded(scheme: str, shape: str) -> None:
    """The longest allowed text gives a key of bearable size or is refused; one more character is always refused."""
    made = key(scheme, shape)
    assert made is None or len(made) < 8 * MAX_LENGTH
    assert key(scheme, shape.ljust(MAX_LENGTH, "1") + "1") is None


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "composer"])
@given(digits=st.integers(1, 10**200), more=st.integers(1, 10**200))
@settings(max_examples=40, deadline=None)
def test_numbers_have_no_largest(scheme: str, digits: int, more: int) -> None:
    """A number of any length is compared by value (Composer reads five digits and calls the rest dates)."""
    small, large = sorted((digits, digits + more))
    assert load(scheme).key(str(small)) < load(scheme).key(str(large))
