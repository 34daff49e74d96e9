"""OpenVEX documents, as the specification writes them and as hostile ones are."""

from __future__ import annotations

import contextlib

import pytest

from pratique.attest import openvex
from pratique.attest.limits import MAX_PRODUCTS, moment
from pratique.model.errors import ParseError
from vexing import encode, statement
from vexing import openvex as document


def test_every_member_of_a_statement() -> None:
    """What the specification's tables list."""
    given = {
        "vulnerability": {
            "@id": "https://nvd.nist.gov/vuln/detail/CVE-2019-17571",
            "name": "CVE-2019-17571",
            "aliases": ["GHSA-1"],
        },
        "products": [
            {
                "@id": "pkg:apk/wolfi/product@1.23.0-r1?arch=armv7",
                "identifiers": {"purl": "pkg:maven/a/b@2.4", "cpe23": "cpe:2.3:a:apache:log4j:2.4", "cpe22": "cpe:/a:x"},
                "hashes": {"sha-256": "AB" * 32, "sha-512": "cd" * 64},
                "subcomponents": [{"@id": "pkg:npm/x"}, "pkg:npm/y"],
            },
            "ghcr.io/acme/shop@sha256:1",
        ],
        "status": "not_affected",
        "justification": "component_not_present",
        "impact_statement": "gone",
        "action_statement": "none",
        "status_notes": "seen",
        "last_updated": "2023-01-09T00:00:00+02:00",
        "timestamp": "2023-01-08T00:00:00Z",
    }
    read = openvex.read(document(given), "a.json")
    (one,) = read.statements
    assert (one.vulnerability, one.names) == ("CVE-2019-17571", ("CVE-2019-17571", "GHSA-1"))
    assert (one.justification, one.impact, one.action, one.notes) == ("component_not_present", "gone", "none", "seen")
    assert one.timestamp == "2023-01-08T22:00:00.000000Z"
    component = one.products[0].component
    assert component is not None
    assert component.purls == ("pkg:maven/a/b@2.4", "pkg:apk/wolfi/product@1.23.0-r1?arch=armv7")
    assert component.hashes == ("sha256:" + "ab" * 32, "sha512:" + "cd" * 64)
    assert component.cpes == ("cpe:2.3:a:apache:log4j:2.4", "cpe:/a:x")
    assert [part.purls for part in one.products[0].parts] == [("pkg:npm/x",), ("pkg:npm/y",)]
    assert one.products[1].component is not None
    assert one.products[1].component.others == ("ghcr.io/acme/shop@sha256:1",)
    assert (read.id, read.author, read.version) == ("https://example.org/vex-1", "Acme <vex@acme.example>", "1")


def test_what_a_statement_has_from_its_document() -> None:
    """The moment, where it has none of its own."""
    assert openvex.read(document(statement("pkg:npm/x")), "a").statements[0].timestamp == "2026-01-01T00:00:00.000000Z"
    assert openvex.read(document(statement("pkg:npm/x"), timestamp="soon"), "a").statements[0].timestamp == ""


def test_one_bad_statement_does_not_hide_the_others() -> None:
    """It is kept, with its number and what is wrong."""
    read = openvex.read(document(statement("pkg:npm/x"), {"status": "fixed"}, statement("pkg:npm/y")), "a")
    assert [one.number for one in read.statements] == [1, 3]
    assert [(one.number, one.why) for one in read.unread] == [(2, "it names no vulnerability")]


def test_statements_of_wrong_types() -> None:
    """Each is unread, and none raises."""
    wrong: list[object] = [
        None,
        1,
        "x",
        [],
        {},
        {"vulnerability": [], "products": 1},
        {"vulnerability": {"name": 7}, "status": {}, "products": [1]},
    ]
    read = openvex.read(encode({"@context": "https://openvex.dev/ns", "statements": wrong}), "a")
    assert (len(read.statements), len(read.unread)) == (0, len(wrong))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"statements": {}}', b'{"statements": 1}', b"\xff\xfe", b'"' + b"a" * 100]
)
def test_no_document(content: bytes) -> None:
    """It says so."""
    with pytest.raises(ParseError):
        openvex.read(content, "a")


def test_a_deep_document() -> None:
    """Depth ends in an error of ours."""
    deep = b'{"statements": [' + b'{"vulnerability": ' * 100_000
    with pytest.raises(ParseError):
        openvex.read(deep, "a")
    closed = b'{"statements": [{"vulnerability": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
    with contextlib.suppress(ParseError):
        assert len(openvex.read(closed, "a").unread) == 1


def test_more_products_than_any() -> None:
    """A document of nothing but products ends."""
    many = b'{"@id":""}'
    body = b'{"vulnerability": "CVE-1", "status": "fixed", "products": [' + b",".join([many] * 200_000) + b"]}"
    with pytest.raises(ParseError, match=f"{MAX_PRODUCTS:,}"):
        openvex.read(b'{"statements": [' + b",".join([body] * 3) + b"]}", "a")


def test_long_texts_are_cut_and_long_names_dropped() -> None:
    """A name that is cut would be another name."""
    read = openvex.read(document(statement("pkg:npm/" + "x" * 5000, impact_statement="y" * 9000)), "a").statements[0]
    assert len(read.impact) == 4000
    assert read.products[0].component is not None
    assert read.products[0].component.purls == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-06-04T16:03:50.853479631-06:00", "2023-06-04T22:03:50.853479Z"),
        ("2023-06-04", "2023-06-04T00:00:00.000000Z"),
        ("2023-06-04T16:03:50", "2023-06-04T16:03:50.000000Z"),
        ("0001-01-01T00:00:00+23:59", ""),
        ("yesterday", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_moments(text: object, expected: str) -> None:
    """RFC 3339, to the microsecond, so that texts sort as moments do."""
    assert moment(text) == expected


@pytest.mark.parametrize(
    ("more", "read_"), [({}, False), ({"justification": " "}, False), ({"impact_statement": "not built in"}, True)]
)
def test_not_affected_needs_a_reason(more: dict[str, str], read_: bool) -> None:
    """A bare denial silences nothing, and the report says what it lacks; the statement beside it is read."""
    bare = {"vulnerability": {"name": "CVE-2024-0002"}, "products": [{"@id": "pkg:npm/x"}], "status": "not_affected", **more}
    found = openvex.read(document(bare, statement("pkg:npm/x")), "a")
    assert len(found.statements) == 1 + read_
    assert [one.why for one in found.unread] == (
        [] if read_ else ["it says not_affected without a justification or an impact statement, and OpenVEX asks for one"]
    )


def test_a_justification_is_one_of_five() -> None:
    """Another word gives no reason; an impact statement beside it does."""
    one = {"vulnerability": {"name": "CVE-2024-0002"}, "products": [{"@id": "pkg:npm/x"}], "status": "not_affected"}
    found = openvex.read(document({**one, "justification": "because"}), "a")
    assert [unread.why for unread in found.unread] == [
        "'because' is no justification that OpenVEX knows, and there is no impact statement"
    ]
    assert openvex.read(document({**one, "justification": "because", "impact_statement": "not built in"}), "a").unread == ()
