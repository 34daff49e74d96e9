"""Where findings stand, to the character, and as editors count."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.lint.regions import Lines, Point
from pratique.lint.run import check, lint

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def marked(text: str, name: str, identity: str) -> list[str]:
    """Return the texts that the findings of a check point at."""
    checked = check(name, text, NOW)
    regions = checked.regions()
    return [text[slice(*regions[hit])] for found, hit in checked.hits if found == identity]


@pytest.mark.parametrize(
    ("text", "identity", "expected"),
    [
        ("FROM debian:12\nUSER root\n", "df-user-root", ["USER root"]),
        ("FROM debian:latest\nUSER 1\n", "df-base-tag", ["debian:latest"]),
        ("FROM --platform=linux/amd64 debian  AS x\r\nUSER 1\r\n", "df-base-tag", ["debian"]),
        ("FROM a:1\nRUN apt-get update && \\\n    sudo  apt-get x; true\n", "df-sudo", ["sudo  apt-get x"]),
        ('FROM a:1\nRUN curl -sSL x.y | \\\n  bash -s -- "a b" > z\n', "df-pipe-to-shell", ["curl -sSL x.y"]),
        ("FROM a:1\nRUN a && \\\n# c\n  chmod 777 \\\n  /x\n", "df-world-writable", ["chmod 777 \\\n  /x"]),
        ("FROM a:1\nADD a.txt b.txt \\\n  /x/\nUSER 1", "df-add-local", ["ADD a.txt b.txt \\\n  /x/"]),
        ('FROM a:1\nCOPY ["a.txt", "id_rsa", "/x"]\n', "df-secret-file", ['"id_rsa"']),
        ('FROM a:1\nENV A=1 DB_PASSWORD="a b" C=2\n', "df-secret-variable", ['DB_PASSWORD="a b"']),
        ("FROM a:1\nRUN --security=insecure x\n", "df-insecure-build", ["RUN --security=insecure x"]),
        ("FROM a:1\nRUN <<EOF\nsudo x\ny\nEOF\n", "df-sudo", ["sudo x"]),
        ("FROM a:1\nCOPY --from=b:latest /x /y\n", "df-base-tag", ["--from=b:latest"]),
        ('FROM a:1\nRUN ["sudo", "x y"]\n', "df-sudo", ['"sudo"']),
        ("FROM a:1\nONBUILD RUN sudo x\n", "df-sudo", ["sudo x"]),
        ("# 🐳\nFROM a:1\nRUN echo 🐳 && sudo x\n", "df-sudo", ["sudo x"]),
    ],
)
def test_dockerfile(text: str, identity: str, expected: list[str]) -> None:
    """A finding points at the instruction, the word or the whole command that it is about."""
    assert marked(text, "Dockerfile", identity) == expected


@pytest.mark.parametrize(
    ("text", "identity", "expected"),
    [
        ("services:\n  a:\n    image: x:1\n    privileged: true # why\n", "ct-privileged", ["privileged: true"]),
        ("services: {a: {image: x:1, privileged: yes}}\n", "ct-privileged", ["privileged: yes"]),
        ("services:\n  a:\n    cap_add: [SYS_ADMIN]\n", "ct-capabilities", ["cap_add: [SYS_ADMIN]"]),
        ("services:\n  a:\n    cap_add:\n      - SYS_ADMIN\n", "ct-capabilities", ["cap_add"]),
        ("services:\n  a:\n    volumes:\n      - '/etc:/x'  # y\n", "ct-host-path", ["'/etc:/x'"]),
        ("services:\n  web:\n    image: x:1\n", "ct-memory-limit", ["web"]),
        ("x: &a {privileged: true}\nservices: {b: {<<: *a}, c: {<<: *a}}\n", "ct-privileged", ["privileged: true"] * 2),
    ],
)
def test_compose(text: str, identity: str, expected: list[str]) -> None:
    """A key with its value where that is on the same line, or a value."""
    assert marked(text, "compose.yaml", identity) == expected


def test_pod() -> None:
    """Keys of pods, and containers by their first line."""
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostPID: true\n  containers:\n  - name: c  # the one\n"
        "    image: a\n"
    )
    assert marked(text, "p.yaml", "pss-host-namespaces") == ["hostPID: true"]
    assert marked(text, "p.yaml", "pss-non-root") == ["name: c"]


def test_columns_are_those_of_editors() -> None:
    """UTF-16 code units; a letter beyond the first plane counts twice, and a bare carriage return ends a line."""
    result = lint("Dockerfile", "FROM a:1\nRUN echo 🐳é && sudo x\n".encode(), NOW)
    (place,) = [item.location for item in result.findings if item.id == "df-sudo"]
    assert place is not None
    assert (place.line, place.column, place.end_line, place.end_column) == (2, 17, 2, 23)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="a\n\r🐳é\u2028 ", max_size=40), st.integers(0, 40))
def test_points(text: str, offset: int) -> None:
    """Offset and point are one another's inverse, but within a line break."""
    lines = Lines(text)
    offset = min(offset, len(text))
    if text[offset - 1 : offset + 1] == "\r\n" or text[offset : offset + 1] == "":
        return
    assert lines.offset(lines.point(offset)) == offset
    assert (
        lines.point(offset).column
        == len(text[text.rfind("\n", 0, offset) + 1 : offset].rpartition("\r")[2].encode("utf-16-le")) // 2 + 1
    )
    assert 0 <= lines.offset(Point(99, 99)) <= len(text)


WORDS = [
    "FROM a",
    "RUN sudo x",
    "\\\n",
    " && ",
    "USER root",
    "\n",
    "ADD x y",
    '["',
    '"]',
    "services:",
    " a:",
    "<<EOF",
    "EOF",
    "'",
    "🐳",
    "{",
    "- ",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=20).map("".join), st.sampled_from(["Dockerfile", "compose.yaml"]))
def test_regions_lie_within(text: str, name: str) -> None:
    """Every region begins in the file, ends in it and not before."""
    result = lint(name, text.encode(), NOW)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for finding in result.findings:
        place = finding.location
        assert place is not None
        assert 1 <= place.line <= place.end_line <= len(lines)
        assert (place.line, place.column) <= (place.end_line, place.end_column)
