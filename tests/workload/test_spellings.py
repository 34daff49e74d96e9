"""YAML's other spellings: merged maps, tags, and numbers that are written as others."""

from __future__ import annotations

import pytest

from pratique._kit.yamltree import documents

OBJECT = "apiVersion: v1\nkind: Pod\n"


@pytest.mark.parametrize(
    ("text", "own", "merged"),
    [
        ("a: {<<: {b: 2}}", 2, 2),
        ("a: {<<: [{b: 2}, {b: 3}]}", 2, 2),
        ("a: {<<: {<<: {b: 2}}}", 2, 2),
        ("x: &x {b: 2}\na: {<<: *x}", 2, 2),
        ("x: &x {c: 3, b: 2}\na: {<<: [{c: 4}, *x]}", 2, 2),
        ("a: {<<: {b: 2}, b: 1}", 1, 1),
        ("a: {b: 1, <<: {b: 2}}", 1, 2),
        ("a: {b: 1, <<: [{b: 2}, {b: 3}]}", 1, 2),
        ("a: {<<: {b: 1, <<: {b: 2}}}", 1, 2),
        ("x: &x {b: 1, <<: {b: 2}}\na: {<<: *x}", 1, 2),
        ('a: {b: 1, "<<": {b: 2}}', 1, 1),
    ],
)
def test_what_is_merged(text: str, own: int, merged: int) -> None:
    """What a map says itself holds for Compose; kubectl's reader takes what comes later, wherever the object says what it is."""
    assert documents(text)[0].get("a", "b").integer == own
    for whole in (OBJECT + text, f"{text}\n{OBJECT}"):
        assert documents(whole)[0].get("a", "b").integer == merged


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0X1f", 31), ("0.0", 0), ("8e1", 80), (".5", None), ("1e400", None), ("08", 8), ("0o17", 15), ("017", 15), ("-0", 0),
        ("1.", 1), ("1e18", 10**18), ("1e19", None),
        ("9223372036854775808", None), ("0b1010", 10), ("0x", None), ("", None), ("x", None), (".inf", None), ("1_000", 1000),
    ],
)  # fmt: skip
def test_numbers(text: str, number: int | None) -> None:
    """Whole numbers in every spelling, as a cluster has them in the end."""
    assert documents(f"a: {text}")[0].get("a").integer == number


@pytest.mark.parametrize(
    ("text", "truth", "string"),
    [
        ('!!bool "yes"', True, "yes"), ("!!str yes", None, "yes"), ("! yes", None, "yes"), ("yes", True, "yes"),
        ('"yes"', None, "yes"), ("!!null ''", None, ""), ("!!str ~", None, "~"), ("!!binary eWVz", None, "yes"),
        ("!!binary //8=", None, "//8="),
        ("!other yes", True, "yes"),
    ],
)  # fmt: skip
def test_tags(text: str, truth: bool | None, string: str) -> None:
    """A tag says more than quotes do; of what is no text in any encoding its letters are kept."""
    found = documents(f"a: {text}")[0].get("a")
    assert (found.truth, found.string) == (truth, string)
