"""Lock files that somebody made to hurt: any bytes end in packages or gaps, in bounded time and depth."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.catalogers.lockcases import INSPECTORS, look, said
from pratique.inventory.lockfiles import documents
from pratique.inventory.lockfiles.entries import MAX_GAPS, MAX_PACKAGES
from pratique.model.errors import ParseError

CASES = Path(__file__).parent / "cases"
CUT = ("inventory.truncated", "inventory.unreadable")
REAL = {
    name: [
        (path.relative_to(tree).as_posix(), path.read_bytes())
        for tree in sorted((CASES / name).glob("*/tree"))
        for path in sorted(tree.rglob("*"))
        if path.is_file() and path.stat().st_size
    ]
    for name in INSPECTORS
}
WHOLE = {name: [file for file in files if not any(g.code in CUT for g in look(name, *file)[1])] for name, files in REAL.items()}
# Pieces that the formats are made of, so that chance gets past the first byte.
PIECES = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"=",
        b"==",
        b"\n",
        b"  ",
        b"(",
        b")",
        b"<",
        b">",
        b"/",
        b"@",
        b"- ",
        b"&a ",
        b"*a",
    ),
    *(
        b"[[package]]\n",
        b'name = "a"\n',
        b'version = "1"\n',
        b"lockfileVersion: '9.0'\n",
        b"packages:\n",
        b'"packages"',
        b'"version"',
    ),
    *(b"module m\n", b"require (\n", b"GEM\n  specs:\n    a (1)\n", b"<project>", b"</project>", b"<dependencies>", b"a:b:1=c\n"),
    *(b"a@1:\n", b'  version "1"\n', b"-r ", b"--hash=sha256:", b"\\\n", b"\xff", b"\0", b"null", b"1", b"a"),
]


@pytest.mark.parametrize("name", INSPECTORS)
@settings(max_examples=150, deadline=None)
@given(data=st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)))
def test_any_bytes_end_in_packages_or_gaps(name: str, data: bytes) -> None:
    """Nothing but the errors that the examiner expects leaves an inspector, whatever the file's name."""
    for path, _ in REAL[name]:
        packages, _ = look(name, path, data)
        assert all(p.name and p.version and p.declared for p in packages)


@pytest.mark.parametrize("name", INSPECTORS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_real_files_end_in_packages_or_gaps(name: str, data: st.DataObject) -> None:
    """A real file with a piece taken out or put in does no more harm, and twice gives the same."""
    path, whole = data.draw(st.sampled_from(REAL[name]))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 50)))
    damaged = whole[:start] + data.draw(st.sampled_from([b"", *PIECES])) + whole[end:]
    assert look(name, path, damaged) == look(name, path, damaged)


@pytest.mark.parametrize("name", INSPECTORS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_cut_file_invents_no_package(name: str, data: st.DataObject) -> None:
    """What a file says after it was cut anywhere is said by the whole file too, or a gap stands beside it."""
    path, whole = data.draw(st.sampled_from(WHOLE[name]))
    packages, gaps = look(name, path, whole[: data.draw(st.integers(0, len(whole)))])
    known = {(p.namespace, p.name, p.version) for p in look(name, path, whole)[0]}
    if not gaps and not path.endswith((".txt", ".mod")):  # people end these without a newline
        assert {(p.namespace, p.name, p.version) for p in packages} <= known


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x\n",
        "a: 1\na: 2\n",
        "? [a]\n: b\n",
        "- a\n",
        "",
        "a: " + "[" * 100_000,
        "- " * 100_000,
        "a:\n" + "".join(" " * n + "a:\n" for n in range(1, 200)),
        "{" * 100_000,
    ],
)
def test_yaml_that_no_lock_file_needs(text: str) -> None:
    """Aliases, keys that stand twice or are no text, and depth are refused before they cost anything."""
    with pytest.raises(ParseError):
        documents.yaml_mappings(text.encode())


def test_yaml_scalars_stay_texts() -> None:
    """A version like 1.10 is no number."""
    assert documents.yaml_mappings(b"a: 1.10\nb: true\nc: [~]\n---\n{d: 2020-01-01}\n") == [
        {"a": "1.10", "b": "true", "c": ["~"]},
        {"d": "2020-01-01"},
    ]


@pytest.mark.parametrize("text", ["a." * 50_000 + "a = 1", "[" + "a." * 50_000 + "a]", "x = {" + "a." * 50_000 + "a = 1}"])
def test_toml_keys_of_many_parts(text: str) -> None:
    """The parser's time grows with the square of a key's parts, so they are counted before."""
    with pytest.raises(ParseError, match="parts"):
        documents.toml(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><project/>',
        b'<?xml version="1.0"?><!DOCTYPE project SYSTEM "http://example.invalid/x.dtd"><project/>',
        "<project/>".encode("utf-16"),
        b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE project +AFsAPAAh-ENTITY a +ACI-b+ACIAPgBdAD4-<project/>',
        b"<a>" * 5_000,
        b"plain",
        b"",
    ],
)
def test_xml_that_is_refused(data: bytes) -> None:
    """Document types, encodings that hide them, and depth."""
    with pytest.raises(ParseError):
        documents.xml(data)


@pytest.mark.parametrize("reader", [documents.toml, documents.yaml_mappings, documents.xml])
def test_documents_have_a_size(reader: object) -> None:
    """Larger documents than any known are not begun."""
    assert callable(reader)
    with pytest.raises(ParseError, match="at most"):
        reader(b" " * (17 * 1024 * 1024))


def test_deep_json_is_refused() -> None:
    """Depth ends in an error that the examiner knows, in each reader of JSON."""
    deep = b'{"packages":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001
    for name, path in (("lock_node", "package-lock.json"), ("lock_node", "bun.lock"), ("lock_python", "Pipfile.lock")):
        assert [line.split()[0] for line in said(name, path, deep)] == ["unreadable"]


def test_texts_that_never_end() -> None:
    """The removal of trailing commas stays linear: no place is tried twice."""
    assert said("lock_node", "bun.lock", b'"' + b'\\"' * 500_000)[0].startswith("unreadable")
    assert said("lock_node", "bun.lock", b'"' * 500_001)[0].startswith("unreadable")
    assert said("lock_node", "bun.lock", b", " * 500_000)[0].startswith("unreadable")


def test_packages_and_gaps_are_bounded() -> None:
    """Neither can flood a report; the rest of the gaps is counted."""
    many = b"".join(b"p%d==1\n" % number for number in range(MAX_PACKAGES + 5))
    packages, gaps = look("lock_python", "requirements.txt", many)
    assert (len(packages), [gap.code for gap in gaps]) == (MAX_PACKAGES + 1, ["inventory.unreadable"])
    packages, gaps = look("lock_python", "requirements.txt", b"".join(b"p%d\n" % number for number in range(1_000)))
    assert (packages, len(gaps)) == ([], MAX_GAPS + 1)
    assert gaps[-1].message.startswith(str(1_000 - MAX_GAPS))


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "a\x1b[31m", "x" * 400])
def test_strange_names_are_gaps(name: str) -> None:
    """Control characters, blanks and lengths that no registry has never become packages."""
    import json

    packages, gaps = look("lock_php", "composer.lock", json.dumps({"packages": [{"name": f"v/{name}", "version": "1"}]}).encode())
    assert packages == []
    assert [gap.code for gap in gaps] == ["inventory.invalid"]
    assert "\x1b" not in gaps[0].message
