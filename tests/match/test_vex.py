"""What statements do to findings, which of several holds, and what becomes of those that do nothing."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.attest.vexfile import Trust
from pratique.model.finding import Severity
from pratique.model.vex import JUSTIFICATIONS, Component, Document, Product, Statement
from vexing import (
    DIGEST,
    INDEX,
    NOW,
    OTHER,
    attestation,
    encode,
    finding,
    judged,
    openvex,
    package,
    parts,
    said,
    statement,
    target,
)

LODASH = package("pkg:npm/lodash@4.17.20", "app/node_modules/lodash/package.json")
GLIBC = package("pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc", source="glibc@2.36-9")
IMAGE = "pkg:oci/shop?repository_url=ghcr.io/acme/shop"


@pytest.mark.parametrize("status", ["not_affected", "fixed"])
def test_what_settles_a_finding(status: str) -> None:
    """The finding stays, with another status and the statement beside it."""
    applied = judged([LODASH], openvex(statement("pkg:npm/lodash@4.17.20", status=status, status_notes="seen")))
    (found,) = applied.findings
    assert found.status == status
    assert found.vex is not None
    assert (found.vex.document, found.vex.statement, found.vex.status) == ("https://example.org/vex-1", 1, status)
    assert (found.vex.author, found.vex.notes) == ("Acme <vex@acme.example>", "seen")
    assert applied.report.documents[0].applied == 1
    assert applied.report.unapplied == ()


@pytest.mark.parametrize("status", ["affected", "under_investigation"])
def test_what_settles_nothing(status: str) -> None:
    """It is told beside the finding, and no gate gets weaker."""
    applied = judged([LODASH], openvex(statement("pkg:npm/lodash", status=status, action_statement="wait")))
    (found,) = applied.findings
    assert found.status == "affected"
    assert found.vex is not None
    assert (found.vex.status, found.vex.action) == (status, "wait")


def test_an_author_ends_a_doubt_of_ours() -> None:
    """Where we could not tell whether it holds, and the author says that it does."""
    doubt = finding(LODASH, status="under_investigation")
    assert said(judged([LODASH], openvex(statement("pkg:npm/lodash", status="affected")), [doubt]))[0] == ["affected"]
    assert said(judged([LODASH], openvex(statement("pkg:npm/lodash", status="under_investigation")), [doubt]))[0] == [
        "under_investigation"
    ]


def test_all_names_of_a_vulnerability() -> None:
    """By alias of the finding, by alias of the statement, by the end of its link, in any letter case."""
    found = finding(LODASH, aliases=("GHSA-aaaa-bbbb-cccc",))
    named: list[Any] = [
        {"name": "ghsa-AAAA-bbbb-cccc"},
        {"name": "X-1", "aliases": ["CVE-2024-0001"]},
        {"@id": "https://github.com/advisories/GHSA-aaaa-bbbb-cccc"},
        "CVE-2024-0001",
    ]
    for vulnerability in named:
        one = statement("pkg:npm/lodash") | {"vulnerability": vulnerability}
        assert said(judged([LODASH], openvex(one), [found]))[0] == ["not_affected"], vulnerability


def test_aliases_in_a_circle() -> None:
    """Names that name each other lead nowhere further than to the findings that have them."""
    two = [finding(LODASH, "CVE-2024-0001"), finding(LODASH, "CVE-2024-0002")]
    circle = [
        statement("pkg:npm/lodash") | {"vulnerability": {"name": "A", "aliases": ["B", "A"]}},
        statement("pkg:npm/lodash") | {"vulnerability": {"name": "B", "aliases": ["A", "B", "CVE-2024-0001"]}},
    ]
    assert said(judged([LODASH], openvex(*circle), two)) == (["not_affected", "affected"], ["vulnerability-not-found"])


def test_only_vulnerabilities() -> None:
    """Malware and secrets are no business of VEX."""
    bad = finding(LODASH, "MAL-2024-1", kind="malware", severity=Severity.CRITICAL)
    assert said(judged([LODASH], openvex(statement("pkg:npm/lodash", "MAL-2024-1")), [bad]))[0] == ["affected"]


# -- products -------------------------------------------------------------------------------------------------------------------


def test_an_image_with_and_without_parts() -> None:
    """A product without parts is all of it; with parts only these (grype#1589, and what trivy#6728 is about)."""
    both = [LODASH, GLIBC]
    assert said(judged(both, openvex(statement(IMAGE))))[0] == ["not_affected", "not_affected"]
    assert said(judged(both, openvex(statement(parts(IMAGE, "pkg:deb/debian/libc6@2.36-9")))))[0] == ["affected", "not_affected"]
    other = parts("pkg:oci/other?repository_url=ghcr.io/acme/other", "pkg:deb/debian/libc6")
    assert said(judged(both, openvex(statement(other)))) == (["affected", "affected"], ["image-differs"])


def test_parts_of_the_old_format() -> None:
    """OpenVEX 0.0.x: products and subcomponents are texts, and the latter belong to the statement."""
    old = encode(
        {
            "@context": "https://openvex.dev/ns",
            "@id": "x",
            "author": "a",
            "version": "1",
            "timestamp": "2023-06-04T16:03:50.853479631-06:00",
            "statements": [
                {
                    "vulnerability": "CVE-2024-0001",
                    "products": ["pkg:oci/shop"],
                    "subcomponents": ["pkg:npm/lodash"],
                    "status": "not_affected",
                    "justification": "vulnerable_code_not_present",
                }
            ],
        }
    )
    applied = judged([LODASH, GLIBC], old)
    assert said(applied)[0] == ["not_affected", "affected"]
    assert applied.report.documents[0].timestamp == "2023-06-04T22:03:50.853479Z"


MAIN = package("pkg:golang/github.com/acme/gosu@1.19", "usr/bin/gosu", role="main")
LINKED = package("pkg:golang/stdlib@1.22.1", "usr/bin/gosu")
ELSEWHERE = package("pkg:golang/stdlib@1.22.1", "usr/bin/other")


def test_a_part_of_a_program() -> None:
    """stdlib in gosu is not stdlib in another program: what a filter without a view of the whole would silence."""
    said_of_gosu = openvex(statement(parts("pkg:golang/github.com/acme/gosu", "pkg:golang/stdlib")))
    assert said(judged([MAIN, LINKED], said_of_gosu, [finding(LINKED)]))[0] == ["not_affected"]
    applied = judged([MAIN, ELSEWHERE], said_of_gosu, [finding(ELSEWHERE)])
    assert said(applied) == (["affected"], ["elsewhere"])
    assert "usr/bin/other" in applied.report.unapplied[0].message
    both = msgspec.structs.replace(LINKED, locations=(*LINKED.locations, *ELSEWHERE.locations))
    assert said(judged([MAIN, both], said_of_gosu, [finding(both)]))[1] == ["elsewhere"]
    assert said(judged([LINKED], said_of_gosu, [finding(LINKED)]))[1] == ["package-not-found"]
    older = openvex(statement(parts("pkg:golang/github.com/acme/gosu@1.18", "pkg:golang/stdlib")))
    assert said(judged([MAIN, LINKED], older, [finding(LINKED)]))[1] == ["version-differs"]


def test_a_part_of_an_archive_and_of_a_folder() -> None:
    """A library in a web archive; a module below the application that brings it."""
    war, jar = package("pkg:maven/a/shop@1", "srv/shop.war"), package("pkg:maven/a/log@1", "srv/shop.war!/WEB-INF/lib/log.jar")
    assert said(judged([war, jar], openvex(statement(parts("pkg:maven/a/shop", "pkg:maven/a/log"))), [finding(jar)]))[0] == [
        "not_affected"
    ]
    app = package("pkg:npm/shop@1.0.0", "app/package.json")
    below = openvex(statement(parts("pkg:npm/shop", "pkg:npm/lodash")))
    assert said(judged([app, LODASH], below, [finding(LODASH)]))[0] == ["not_affected"]
    apart = package("pkg:npm/lodash@4.17.20", "srv/node_modules/lodash/package.json")
    assert said(judged([app, apart], below, [finding(apart)]))[1] == ["elsewhere"]


def test_packages_of_a_distribution_are_not_in_each_other() -> None:
    """They all have the package database as their place."""
    nginx = package("pkg:deb/debian/nginx@1.22-9?arch=amd64")
    both = openvex(statement(parts("pkg:deb/debian/nginx", "pkg:deb/debian/libc6")))
    assert said(judged([nginx, GLIBC], both, [finding(GLIBC)]))[1] == ["elsewhere"]
    owned = package("pkg:pypi/idna@3.6", "usr/lib/python3/dist-packages/idna", owner=nginx.purl)
    mine = openvex(statement(parts("pkg:deb/debian/nginx", "pkg:pypi/idna")))
    assert said(judged([nginx, owned], mine, [finding(owned)]))[0] == ["not_affected"]


def test_a_source_is_not_its_packages() -> None:
    """A purl without arch=source names a binary package; that is said, not guessed."""
    applied = judged([GLIBC], openvex(statement("pkg:deb/debian/glibc@2.36-9")))
    assert said(applied) == (["affected"], ["package-not-found"])
    assert applied.report.unapplied[0].message == "libc6 is built from glibc, which the purl would mean with arch=source"
    assert said(judged([GLIBC], openvex(statement("pkg:deb/debian/glibc@2.36-9?arch=source"))))[0] == ["not_affected"]


# -- what does not apply --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (statement("pkg:npm/lodash", "CVE-1999-1"), "vulnerability-not-found", "CVE-1999-1 is not reported for this target"),
        (statement("pkg:npm/nope", "CVE-1999-1"), "vulnerability-not-found", "no package pkg:npm/nope is installed either"),
        (statement("pkg:npm/nope"), "package-not-found", "the vulnerability is reported for lodash"),
        (statement("pkg:npm/lodash@4.17.19"), "version-differs", "it is about version 4.17.19; lodash is 4.17.20"),
        (statement("pkg:npm/lodash?arch=arm64"), "qualifier-differs", "arch=arm64"),
        (statement(f"pkg:oci/shop@{OTHER}"), "image-differs", "this one is sha256:aaaa"),
        (statement({"identifiers": {"cpe23": "cpe:2.3:a:lodash:lodash:4"}}), "not-comparable", "CPE"),
        (statement({"@id": "lodash the library"}), "not-comparable", "no name that can be compared"),
        (statement("pkg:npm/lodash") | {"timestamp": "2027-01-01T00:00:00Z"}, "not-yet", "2027-01-01"),
        (statement("pkg:npm/lodash") | {"status": "fine"}, "unreadable", "'fine' is no status"),
        (statement("pkg:npm/lodash") | {"vulnerability": {}}, "unreadable", "no vulnerability"),
        (statement([]), "unreadable", "no product"),
        (statement("pkg:npm/lodash") | {"status": ["affected"]}, "unreadable", "no status"),
        (statement("pkg:npm/lodash@4.17.20", impact_statement="x") | {"products": "pkg:npm/lodash"}, "unreadable", "no product"),
    ],
)
def test_each_unapplied_statement_says_why(given: dict[str, Any], code: str, words: str) -> None:
    """The report lists it with what differs."""
    applied = judged([LODASH], openvex(given))
    (one,) = applied.report.unapplied
    assert (applied.findings[0].status, one.code, one.statement) == ("affected", code, 1)
    assert words in one.message
    assert applied.report.counts == {code: 1}
    assert applied.report.documents[0].statements == 1


def test_the_nearest_product_is_told() -> None:
    """Of many products, that which only differs by its version."""
    several = statement(["pkg:npm/nope", "pkg:npm/lodash@4.17.19", "pkg:oci/other"])
    assert said(judged([LODASH], openvex(several)))[1] == ["version-differs"]


def test_one_product_that_fits_is_enough() -> None:
    """As vendors list each of their builds (docker-hardened-images#1827)."""
    several = statement(["pkg:npm/lodash@4.17.19", "pkg:npm/lodash@4.17.20"])
    assert said(judged([LODASH], openvex(several))) == (["not_affected"], [])


def test_an_attestation_of_another_image() -> None:
    """A signed word about one image says nothing of another, whatever products it names."""
    inner = openvex(statement("pkg:npm/lodash"))
    assert said(judged([LODASH], attestation(inner, DIGEST)))[0] == ["not_affected"]
    assert said(judged([LODASH], attestation(inner, OTHER, INDEX)))[0] == ["not_affected"]
    applied = judged([LODASH], attestation(inner, OTHER))
    assert said(applied) == (["affected"], ["image-differs"])
    assert applied.report.unapplied[0].message.startswith("the attestation is about sha256:dddd")


def test_products_that_an_attestation_stands_for() -> None:
    """Without products, the subject is the product; parts narrow it."""
    whole = {"vulnerability": {"name": "CVE-2024-0001"}, "status": "fixed"}
    assert said(judged([LODASH, GLIBC], attestation(openvex(whole), DIGEST)))[0] == ["fixed", "fixed"]
    narrow = whole | {"subcomponents": ["pkg:npm/lodash"]}
    assert said(judged([LODASH, GLIBC], attestation(openvex(narrow), DIGEST)))[0] == ["fixed", "affected"]


# -- which holds ----------------------------------------------------------------------------------------------------------------


def at(day: int, status: str, product: str = "pkg:npm/lodash", **more: Any) -> dict[str, Any]:
    """A statement of a day."""
    return statement(product, status=status, timestamp=f"2026-02-{day:02}T00:00:00Z", **more)


def test_the_later_statement_holds() -> None:
    """Whatever their order in the file, with parts or without (scout-cli#199), and the other is told."""
    for order in itertools.permutations([at(1, "under_investigation"), at(3, "fixed"), at(2, "affected")]):
        applied = judged([LODASH], openvex(*order))
        assert said(applied) == (["fixed"], ["superseded", "superseded"])
        assert "a later statement holds" in applied.report.unapplied[0].message
    with_parts = [at(1, "under_investigation"), at(2, "not_affected")]
    with_parts = [one | {"products": [parts(IMAGE, "pkg:npm/lodash")]} for one in with_parts]
    assert said(judged([LODASH], openvex(*reversed(with_parts))))[0] == ["not_affected"]


def test_a_later_doubt_takes_a_word_back() -> None:
    """What was said not to be affected and is now investigated counts again."""
    assert said(judged([LODASH], openvex(at(1, "not_affected"), at(2, "under_investigation"))))[0] == ["affected"]


def test_last_updated_counts() -> None:
    """Of a statement, else of its document."""
    updated = at(1, "fixed", last_updated="2026-03-01T00:00:00Z")
    assert said(judged([LODASH], openvex(updated, at(9, "affected"))))[0] == ["fixed"]
    old = openvex(statement("pkg:npm/lodash", status="affected"), last_updated="2026-03-01T00:00:00Z")
    assert said(judged([LODASH], [openvex(at(9, "fixed"), **{"@id": "b"}), old]))[0] == ["affected"]


def test_equal_moments() -> None:
    """Within a document the last word; of several documents the higher version, else that which silences least."""
    both = [at(1, "not_affected"), at(1, "affected")]
    assert said(judged([LODASH], openvex(*both)))[0] == ["affected"]
    assert said(judged([LODASH], openvex(*reversed(both))))[0] == ["not_affected"]
    versions = [openvex(both[0], version=10, **{"@id": "a"}), openvex(both[1], version=9, **{"@id": "b"})]
    assert said(judged([LODASH], versions))[0] == ["not_affected"]
    equal = [openvex(both[0], **{"@id": "a"}), openvex(both[1], **{"@id": "b"})]
    for order in (equal, equal[::-1]):
        assert said(judged([LODASH], order))[0] == ["affected"]


def test_the_order_of_authors() -> None:
    """Who is named first among those allowed is believed first."""
    one = openvex(at(1, "not_affected"), author="Acme", **{"@id": "a"})
    other = openvex(at(1, "affected"), author="Vendor", **{"@id": "b"})
    assert said(judged([LODASH], [one, other], trust=Trust((), ("acme", "vendor"))))[0] == ["not_affected"]
    assert said(judged([LODASH], [one, other], trust=Trust((), ("vendor", "acme"))))[0] == ["affected"]


def test_an_older_version_of_a_document() -> None:
    """It is not heard at all, also where the newer one is silent; copies of a template are both heard."""
    old, new = openvex(at(1, "not_affected"), version=1), openvex(at(1, "fixed", "pkg:npm/other"), version=2)
    applied = judged([LODASH], [old, new])
    assert said(applied)[0] == ["affected"]
    assert sorted(said(applied)[1]) == ["document-not-used", "package-not-found"]
    assert applied.report.documents[0].why_not == "there is a later version of this document"
    copies = [openvex(at(1, "not_affected")), openvex(at(2, "fixed", "pkg:npm/other"))]
    assert said(judged([LODASH], copies))[0] == ["not_affected"]


def test_the_future_says_nothing_yet() -> None:
    """A statement holds from its moment on; clocks may differ by some minutes."""
    later = openvex(statement("pkg:npm/lodash", timestamp="2026-06-01T00:04:00Z"))
    assert said(judged([LODASH], later))[0] == ["not_affected"]
    assert said(judged([LODASH], later, now="2026-05-31T00:00:00Z"))[1] == ["not-yet"]


def test_two_findings_two_statements() -> None:
    """A newer word about one package does not touch what was said of another."""
    two = openvex(at(1, "not_affected", "pkg:deb/debian/libc6"), at(2, "affected", "pkg:npm/lodash"))
    assert said(judged([LODASH, GLIBC], two)) == (["affected", "not_affected"], [])


def test_comparisons_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of many products for an image with many packages of one name ends, and what was not compared is told."""
    from pratique.match import vex

    monkeypatch.setattr(vex, "MAX_COMPARISONS", 100)
    many = [package(f"pkg:npm/x@1.0.{number}", f"a{number}/package.json") for number in range(40)]
    for product in ("pkg:npm/x@9.{}", parts("pkg:npm/x@9.{}", "pkg:npm/x")):
        text = [json.loads(json.dumps(product).replace("{}", str(number))) for number in range(40)]
        applied = judged(many, openvex(statement(text), statement("pkg:npm/x@1.0.7")))
        assert set(said(applied)[0]) == {"affected"}
        assert said(applied)[1] == ["not-comparable"] * 2
        assert "more comparisons" in applied.report.unapplied[0].message


# -- laws -----------------------------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["CVE-2024-0001", "CVE-2024-0002", "GHSA-1"])
_COMPONENTS = st.sampled_from(
    [
        Component(label="a", purls=("pkg:npm/lodash",)),
        Component(label="b", purls=("pkg:npm/lodash@4.17.20",)),
        Component(label="c", purls=("pkg:npm/lodash@1",)),
        Component(label="d", purls=("pkg:deb/debian/libc6?arch=amd64",)),
        Component(label="e", purls=(IMAGE,)),
        Component(label="f", hashes=(OTHER,)),
        Component(label="g", cpes=("cpe:/a",)),
        Component(label="h", bom="urn:uuid:1"),
    ]
)
_PRODUCTS = st.builds(Product, _COMPONENTS | st.none(), st.lists(_COMPONENTS, max_size=2).map(tuple))
_STATEMENTS = st.builds(
    lambda number, name, status, products, day: Statement(
        number=number,
        vulnerability=name,
        names=(name,),
        status=status,
        products=tuple(products),
        timestamp=f"2026-02-{day:02}T00:00:00.000000Z",
    ),
    st.integers(1, 9),
    _NAMES,
    st.sampled_from(["not_affected", "affected", "fixed", "under_investigation"]),
    st.lists(_PRODUCTS, min_size=1, max_size=3),
    st.integers(1, 4),
)


@given(st.lists(_STATEMENTS, max_size=8, unique_by=lambda one: one.number))
def test_every_statement_has_one_fate(statements: list[Statement]) -> None:
    """It holds for a finding, or is listed with a reason; never both, never neither."""
    from pratique.match.vex import About, apply

    both = [LODASH, GLIBC]
    document = Document(source="x", format="openvex", statements=tuple(statements))
    findings = [finding(LODASH), finding(GLIBC), finding(LODASH, "CVE-2024-0002", aliases=("GHSA-1",))]
    applied = apply(findings, About(target(), both, None), both, [document], NOW)
    holding = {found.vex.statement for found in applied.findings if found.vex is not None}
    listed = [one.statement for one in applied.report.unapplied]
    assert len(listed) == len(set(listed))
    assert holding.isdisjoint(listed)
    assert holding.union(listed) == {one.number for one in statements}
    assert applied.report.documents[0].applied == len(holding)
    assert sum(applied.report.counts.values()) == len(listed)
    assert [found.id for found in applied.findings] == [found.id for found in findings]


@given(st.lists(_STATEMENTS, max_size=6, unique_by=lambda one: (one.timestamp, one.number)), st.randoms())
def test_documents_in_any_order(statements: list[Statement], random: Any) -> None:
    """What holds does not depend on the order in which documents are read, but for what says the same."""
    from pratique.match.vex import About, apply

    both = [LODASH, GLIBC]
    documents = [Document(source=f"{number}", format="openvex", statements=(one,)) for number, one in enumerate(statements)]
    shuffled = list(documents)
    random.shuffle(shuffled)
    results = [
        apply([finding(LODASH), finding(GLIBC)], About(target(), both, None), both, order, NOW).findings
        for order in (documents, shuffled)
    ]
    assert [found.status for found in results[0]] == [found.status for found in results[1]]


def test_justifications_are_those_of_the_specification() -> None:
    """The five words of the minimum requirements for VEX, as the official schema lists them."""
    import re

    import schemas

    text = schemas.schema("openvex-0.2.0.schema.json").read_text()
    lists = [set(re.findall(r'"(\w+)"', one)) for one in re.findall(r'"enum":\s*\[([^]]*)\]', text)]
    assert set(JUSTIFICATIONS) in lists
