"""Dockerfiles are read as the builder reads them, and every word knows where it stands."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.model.errors import BudgetExceededError, ParseError, PratiqueError
from pratique.workload.dockerfile.instructions import Dockerfile, Instruction
from pratique.workload.dockerfile.parse import KNOWN, MAX_CHARACTERS, MAX_INSTRUCTIONS, parse
from pratique.workload.dockerfile.spec import extract
from pratique.workload.dockerfile.stages import stages

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("dockerfile_make", HERE / "make.py")
assert _spec is not None
assert _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


def read(text: str) -> list[list[Any]] | str:
    """Answer in the form of oracle.json."""
    try:
        found = parse(text)
    except PratiqueError as error:
        return str(error)
    return str(found.problems) if found.problems else [_row(item) for item in found.instructions]


def _row(item: Instruction) -> list[Any]:
    of = item.inner or item
    flags = [f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}") for flag in of.flags]
    heredocs = [[heredoc.name, heredoc.descriptor, heredoc.content] for heredoc in item.heredocs]
    words = [word.text for word in of.words]
    return [item.name, item.inner.name if item.inner else None, of.json, item.place.line, item.end_line, flags, words, heredocs]


def test_as_the_builder_reads() -> None:
    """On 500 texts and every form by itself, the answers are those of the builder's own parser."""
    oracle = json.loads((HERE / "oracle.json").read_text("utf-8"))
    compared = 0
    for text, answer in zip(make.texts(), oracle, strict=True):
        ours = read(text)
        assert isinstance(ours, str) == isinstance(answer, str), (text, answer, ours)
        if isinstance(ours, str):
            continue
        assert len(ours) == len(answer), text
        for mine, row in zip(ours, answer, strict=True):
            theirs = [(row[0] or "").upper(), row[1].upper() if row[1] else None, *row[2:]]
            if theirs[1]:  # the oracle keeps neither flags nor heredocs of what stands in ONBUILD
                theirs[5], theirs[7] = mine[5], mine[7]
            if theirs[0] not in KNOWN:  # an unknown instruction: only its name is compared
                theirs[6] = mine[6]
            # ours is the line of the name itself, which lone escapes may put below the first line
            assert theirs[3] <= mine[3] <= theirs[4]
            theirs[3] = mine[3]
            assert theirs == mine, text
            compared += 1
    assert compared > 700


_PIECES = st.sampled_from([*make.LINES, "\n", "\n", "\r\n", "\\\n", " ", "é", "<<", "${A:-b}", "'", '"', "\x00", "\u2028"])
_TEXTS = st.lists(st.one_of(_PIECES, st.text(max_size=6)), max_size=25).map("\n".join) | st.text(max_size=200)


@settings(max_examples=200)
@given(_TEXTS)
def test_any_text(text: str) -> None:
    """Any text ends in instructions, problems or an error of ours; places point at the text."""
    try:
        found = parse(text)
        stages(found)
        extract(found)
    except (ParseError, BudgetExceededError):
        return
    lines = text.removeprefix("\ufeff").split("\n")
    for item in found.instructions:
        at = item.inner or item
        assert lines[at.place.line - 1][at.place.column - 1 :].upper().startswith(at.name[:1])
        assert item.place.line <= item.end_line <= len(lines)
        if at.json:
            continue
        for word in at.words:
            assert lines[word.place.line - 1][word.place.column - 1 :].startswith(word.text[:1]), (word, item)


def one(text: str) -> Dockerfile:
    """Read a text that has no problem."""
    found = parse(text)
    assert not found.problems
    return found


def test_places() -> None:
    """Lines and columns of words in continued lines, with comments between."""
    text = (
        "FROM a:1 AS b\n\n  RUN --network=none \\\n# why\n    apt-get install \\\n  x y\n"
        'COPY ["a b", "c"]\nENV a=1 \\\n  b="2 3"\n'
    )
    start, run, copy, env = one(text).instructions
    assert [word.place for word in start.words] == [(1, 6), (1, 10), (1, 13)]
    assert (run.place, run.flags[0].place, run.end_line) == ((3, 3), (3, 7), 6)
    script = run.rest
    assert script.at(script.text.index("install")) == (5, 13)
    assert script.at(script.text.index("y", script.text.index("x"))) == (6, 5)
    assert [word.place for word in copy.words] == [(7, 7), (7, 14)]
    assert [(name.text, name.place, value.place) for name, value in env.pairs if value] == [
        ("a", (8, 5), (8, 7)),
        ("b", (9, 3), (9, 5)),
    ]


def test_escape_directive() -> None:
    """With `# escape=` a backslash is a letter."""
    found = one("# escape=`\nFROM a\nRUN dir c:\\ `\n  /b\n")
    assert (found.escape, found.instructions[1].rest.text) == ("`", "dir c:\\   /b")
    assert parse("# escape=x\nFROM a").problems[0].message == "'x' is no escape character"


def test_heredocs() -> None:
    """Content, whether it is expanded, and the line of its first line."""
    (copy,) = one("COPY <<A <<-'B' /x/\n1 $X\nA\n\t2\n\tB\n").instructions
    first, second = copy.heredocs
    assert (first.content, first.expand, first.line) == ("1 $X\n", True, 2)
    assert (second.content, second.expand, second.chomp, second.line) == ("\t2\n", False, True, 4)
    assert "does not end" in parse("RUN <<A\nx").problems[0].message


@pytest.mark.parametrize(
    ("word", "value", "known"),
    [
        ("$A", "1", True), ("${A}x", "1x", True), ("$A$B", "12", True), ("'$A'", "$A", True), ('"$A"', "1", True),
        ("\\$A", "$A", True),
        ("${N:-d}", "d", True), ("${N:-$A}", "1", True), ("${A:+y}", "y", True), ("${N:+y}", "", True), ("${E:-d}", "d", True),
        ("${E-d}", "", True), ("$N", "$N", False), ("${N}", "${N}", False), ("${A#x}", "1", False), ("$U", "u", False),
        ("a$", "a$", True),
        ("${A", "$A", True),
    ],
)  # fmt: skip
def test_expansion(word: str, value: str, *, known: bool) -> None:
    """Variables, defaults and alternatives; what only patterns or a builder know is not known."""
    from pratique.workload.dockerfile.expand import Value, expand

    variables = {"A": Value("1"), "B": Value("2"), "E": Value(""), "U": Value("u", known=False)}
    if word == "${A":
        assert not expand(word, variables).known
        return
    assert expand(word, variables) == (value, known)


def test_stages() -> None:
    """Bases by arguments, stages from stages, and whose USER holds in the end."""
    text = (
        "ARG V=12\nFROM debian:${V} AS Base\nENV U=app\nUSER $U\nFROM base\nRUN x\n"
        "FROM scratch\nARG V\nUSER ${V}:0\nONBUILD USER x\n"
    )
    base, second, third = stages(one(text))
    assert (base.base.text, base.name, base.parent) == ("debian:12", "base", -1)
    assert (second.parent, second.user, second.said) == (0, ("app", True), base.said)
    assert third.user == ("12:0", True)
    spec = extract(one(text))
    assert spec is not None
    assert (spec.user, spec.group) == ("12", "0")


def test_limits() -> None:
    """What is larger than any real file is refused, not read for hours."""
    with pytest.raises(BudgetExceededError):
        parse("#" * (MAX_CHARACTERS + 1))
    with pytest.raises(BudgetExceededError):
        parse("RUN x\n" * (MAX_INSTRUCTIONS + 1))
    with pytest.raises(BudgetExceededError):
        stages(parse("FROM a\n" + "".join(f"ENV a{number}=1\n" for number in range(600))))
    doubling = "FROM a\nENV a=xxxxxxxx\n" + "ENV a=$a$a\n" * 60
    assert len(stages(parse(doubling))[0].variables["a"].text) <= 1 << 16
    with pytest.raises(ParseError):
        parse("# nothing\n")
