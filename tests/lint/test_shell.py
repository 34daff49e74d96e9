"""Scripts of RUN instructions, taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.lint.shell import commands
from pratique.workload.place import whole


def words(text: str) -> list[list[str]]:
    """Return the words of each command."""
    return [[word.text for word in command.words] for command in commands(whole(text))]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("a b && c || d; e & f", [["a", "b"], ["c"], ["d"], ["e"], ["f"]]),
        ("if a; then b; else c; fi", [["a"], ["b"], ["c"]]),
        ("for x in 1 $(b); do a $x; done", [["b"], ["a", "$x"]]),
        ("case $(a) in b|c) d;; *) e;; esac; f", [["a"], ["d"], ["e"], ["f"]]),
        ("case x in\n  (a | b)\n    case y in q) r;; esac\n    ;;\n  s) (t);;\nesac\nu", [["r"], ["t"], ["u"]]),
        ("a; case; b) c", [["a"], ["c"]]),
        ("function f { a; }; g() { b; }", [["a"], ["g"], ["b"]]),
        ("(a; { b; }) | c", [["a"], ["b"], ["c"]]),
        ("a 'b; c' \"d && e\" f\\;g", [["a", "b; c", "d && e", "f;g"]]),
        ("a >b 2>&1 <c >>d e", [["a", "e"]]),
        ("a # b; c\nd", [["a"], ["d"]]),
        ("a $(b c) `d`", [["a", "$(b c)", "`d`"], ["b", "c"], ["d"]]),
        ("! time a", [["a"]]),
        ("X=1 Y=2 a", [["a"]]),
        ("a $((1+2)) b", [["a", "$((1+2))", "b"]]),
        ("a 'b", [["a", "b"]]),
    ],
)
def test_commands(script: str, expected: list[list[str]]) -> None:
    """Separators, quotes, redirections, substitutions."""
    assert words(script) == expected


def test_pipes_and_substitutions() -> None:
    """What reads from what, and what stands in whose words."""
    found = commands(whole('a | b | c "$(d)" || e'))
    assert [(c.name, c.piped_from, c.inside) for c in found] == [
        ("a", -1, -1),
        ("b", 0, -1),
        ("c", 1, -1),
        ("d", -1, 2),
        ("e", -1, -1),
    ]


def test_wrappers() -> None:
    """`env`, `exec` and the like are passed over."""
    assert [c.name for c in commands(whole("env A=1 /bin/sh x; exec -a n bash; nohup a"))] == ["sh", "n", "a"]


@settings(max_examples=200)
@given(st.text(alphabet=st.sampled_from("ab $()`'\"\\|&;<>#\n={}é"), max_size=60))
def test_any_text(text: str) -> None:
    """Any text ends in commands whose places are in the text."""
    lines = text.split("\n")
    for command in commands(whole(text)):
        for word in (*command.words, *command.assignments):
            assert 1 <= word.place.line <= len(lines)
            assert 1 <= word.place.column <= len(lines[word.place.line - 1]) + 1
