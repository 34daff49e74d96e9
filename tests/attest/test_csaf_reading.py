"""CSAF documents: the product tree, statuses, and what stands beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import vexing
from pratique.attest import csaf
from pratique.model.errors import ParseError
from pratique.model.vex import Document
from vexing import DIGEST, encode, finding, judged, package, said

MIRROR = Path(os.environ.get("PRATIQUE_TEST_MIRROR") or Path(__file__).resolve().parents[3] / "shared" / "mirror")


def document(tree: dict[str, Any], *vulnerabilities: dict[str, Any], **tracking: Any) -> bytes:
    """A CSAF document."""
    return encode(
        {
            "document": {
                "category": "csaf_vex",
                "csaf_version": "2.0",
                "publisher": {"category": "vendor", "name": "Acme PSIRT", "namespace": "https://acme.example"},
                "title": "x",
                "tracking": {
                    "id": "ACME-1",
                    "status": "final",
                    "version": "3",
                    "current_release_date": "2026-01-02T00:00:00Z",
                    **tracking,
                },
            },
            "product_tree": tree,
            "vulnerabilities": list(vulnerabilities),
        }
    )


def product(product_id: str, **helper: Any) -> dict[str, Any]:
    """A full product name."""
    return {"product_id": product_id, "name": f"the {product_id}", "product_identification_helper": helper}


def branch(category: str, name: str, *inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A branch."""
    return {"category": category, "name": name, "branches": list(inner), **more}


def vulnerability(cve: str = "CVE-2024-0001", **more: Any) -> dict[str, Any]:
    """A vulnerability."""
    return {"cve": cve, **more}


def related(part: str, whole: str, product_id: str = "", category: str = "default_component_of") -> dict[str, Any]:
    """A relationship."""
    name = {"product_id": product_id or f"{whole}:{part}", "name": "x"}
    return {"category": category, "product_reference": part, "relates_to_product_reference": whole, "full_product_name": name}


LODASH = package("pkg:npm/lodash@4.17.20", "app/node_modules/lodash/package.json")
GLIBC = package("pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12")
IMAGE = product("IMAGE", purl=f"pkg:oci/shop@{DIGEST}?repository_url=ghcr.io/acme/shop")


def read(content: bytes) -> Document:
    """Read a document."""
    return csaf.read(content, "a.json")


def test_statuses_flags_threats_and_remediations() -> None:
    """One statement for each status and what is said beside it; groups of products are taken apart."""
    tree = {
        "branches": [branch("vendor", "Acme", branch("product_name", "a", product=product("A", purl="pkg:npm/a")))],
        "full_product_names": [product(one, purl=f"pkg:npm/{one.lower()}") for one in ("B", "C", "D", "E")],
        "product_groups": [{"group_id": "G", "product_ids": ["A", "B"]}],
    }
    told = vulnerability(
        ids=[{"system_name": "acme", "text": "ACME-BUG-7"}],
        product_status={
            "known_not_affected": ["A", "B"],
            "known_affected": ["C"],
            "first_fixed": ["D"],
            "under_investigation": ["E"],
            "recommended": ["D"],
        },
        flags=[{"label": "vulnerable_code_not_present", "group_ids": ["G"]}],
        threats=[
            {"category": "impact", "details": "not built in", "product_ids": ["A"]},
            {"category": "exploit_status", "details": "none", "product_ids": ["A", "B"]},
        ],
        remediations=[{"category": "workaround", "details": "turn it off", "product_ids": ["C"]}],
    )
    found = read(document(tree, told))
    rows = [
        (
            one.number,
            one.status,
            one.justification,
            one.impact,
            one.action,
            [p.component.label for p in one.products if p.component],
        )
        for one in found.statements
    ]
    assert rows == [
        (1, "not_affected", "vulnerable_code_not_present", "not built in", "", ["pkg:npm/a"]),
        (2, "not_affected", "vulnerable_code_not_present", "", "", ["pkg:npm/b"]),
        (3, "fixed", "", "", "", ["pkg:npm/d"]),
        (4, "affected", "", "", "turn it off", ["pkg:npm/c"]),
        (5, "under_investigation", "", "", "", ["pkg:npm/e"]),
    ]
    assert found.statements[0].names == ("CVE-2024-0001", "ACME-BUG-7")
    assert (found.id, found.author, found.version, found.timestamp) == (
        "ACME-1",
        "Acme PSIRT",
        "3",
        "2026-01-02T00:00:00.000000Z",
    )


def test_a_package_in_an_image() -> None:
    """A relationship is a part of a product."""
    tree = {
        "full_product_names": [IMAGE, product("LIBC", purl="pkg:deb/debian/libc6"), product("L", purl="pkg:npm/lodash")],
        "relationships": [related("LIBC", "IMAGE")],
    }
    content = document(tree, vulnerability(product_status={"known_not_affected": ["IMAGE:LIBC"]}))
    assert said(judged([LODASH, GLIBC], content))[0] == ["affected", "not_affected"]
    whole = document(tree, vulnerability(product_status={"fixed": ["IMAGE"]}))
    assert said(judged([LODASH, GLIBC], whole))[0] == ["fixed", "fixed"]


def test_hashes_and_purls_of_version_2_1() -> None:
    """A product by the digest of its image; several purls as 2.1 has them."""
    hashed = product("I", hashes=[{"filename": "m", "file_hashes": [{"algorithm": "sha256", "value": DIGEST[7:].upper()}]}])
    content = document({"full_product_names": [hashed]}, vulnerability(product_status={"fixed": ["I"]}))
    assert said(judged([LODASH], content))[0] == ["fixed"]
    several = product("P", purls=["pkg:npm/other", "pkg:npm/lodash@4.17.20"])
    content = document({"full_product_names": [several]}, vulnerability(product_status={"fixed": ["P"]}))
    assert said(judged([LODASH], content))[0] == ["fixed"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vers:npm/<4.17.21", ("fixed", [])),
        ("vers:npm/<4.17.20", ("affected", ["version-differs"])),
        ("all before 5", ("affected", ["version-differs"])),
        ("<= 4.17.20", ("affected", ["not-comparable"])),
    ],
)
def test_version_ranges_of_branches(text: str, expected: tuple[str, list[str]]) -> None:
    """A purl without a version in a branch of a range means that range; what is no range that is understood means nothing."""
    tree = {
        "branches": [branch("vendor", "A", branch("product_version_range", text, product=product("L", purl="pkg:npm/lodash")))]
    }
    statuses, codes = said(judged([LODASH], document(tree, vulnerability(product_status={"fixed": ["L"]}))))
    assert (statuses[0], codes) == expected


def test_products_that_only_a_cpe_names() -> None:
    """As most vendors name their products: nothing of this is applied, and it is told."""
    tree = {
        "full_product_names": [product("RHEL9", cpe="cpe:/o:redhat:enterprise_linux:9"), product("L", purl="pkg:npm/lodash")],
        "relationships": [related("L", "RHEL9")],
    }
    content = document(tree, vulnerability(product_status={"known_not_affected": ["RHEL9:L"]}))
    applied = judged([LODASH], content)
    assert said(applied) == (["affected"], ["not-comparable"])
    assert "CPE" in applied.report.unapplied[0].message


def test_relationships_of_relationships_and_in_circles() -> None:
    """A package in a module in a product cannot be seen from an image; a circle ends."""
    tree = {
        "full_product_names": [IMAGE, product("M", purl="pkg:rpm/m"), product("L", purl="pkg:npm/lodash")],
        "relationships": [related("M", "IMAGE"), related("L", "IMAGE:M", "X"), related("L", "Y", "Z"), related("L", "Z", "Y")],
    }
    for product_id in ("X", "Y", "Z", "NOWHERE"):
        content = document(tree, vulnerability(product_status={"known_not_affected": [product_id]}))
        assert said(judged([LODASH], content)) == (["affected"], ["not-comparable"]), product_id


def test_a_draft_is_not_used() -> None:
    """It is meant for nobody yet."""
    tree = {"full_product_names": [product("L", purl="pkg:npm/lodash")]}
    applied = judged([LODASH], document(tree, vulnerability(product_status={"fixed": ["L"]}), status="draft"))
    assert said(applied) == (["affected"], ["document-not-used"])


def test_contradicting_statuses() -> None:
    """One product in two lists (which the specification forbids): the word that silences least holds."""
    tree = {"full_product_names": [product("L", purl="pkg:npm/lodash")]}
    both = vulnerability(product_status={"known_affected": ["L"], "known_not_affected": ["L"]})
    assert said(judged([LODASH], document(tree, both)))[0] == ["affected"]


@pytest.mark.parametrize(
    "content",
    [
        {"document": [], "product_tree": 7, "vulnerabilities": [None, 1, [], {}, {"cve": []}, {"cve": "CVE-1", "flags": 7}]},
        {
            "document": {"tracking": 3, "publisher": "x"},
            "vulnerabilities": [{"cve": "CVE-1", "product_status": {"fixed": [[], {}, 1]}}],
        },
        {
            "product_tree": {"branches": [[], 1, {"branches": {}}], "relationships": [1, {}], "product_groups": [{}, 2]},
            "vulnerabilities": [{"cve": "C", "threats": [{"category": [], "product_ids": {}}], "product_status": []}],
        },
    ],
)
def test_wrong_types(content: dict[str, Any]) -> None:
    """Nothing raises but ParseError."""
    csaf.read(encode(content), "a")


def test_deep_and_broken_documents() -> None:
    """Branches in branches end in an error of ours."""
    deep: dict[str, Any] = branch("vendor", "x", product=product("L", purl="pkg:npm/lodash"))
    for _ in range(100):
        deep = branch("vendor", "x", deep)
    with pytest.raises(ParseError, match="deeper"):
        read(document({"branches": [deep]}))
    with pytest.raises(ParseError):
        read(b'{"product_tree": {"branches": [' + b'{"branches": [' * 50_000)
    with pytest.raises(ParseError):
        read(b'{"vulnerabilities": 1}')


@pytest.mark.skipif(not (MIRROR / "rhel/csaf/v2/vex").is_dir(), reason="needs the mirror of advisories (PRATIQUE_TEST_MIRROR)")
def test_documents_of_a_large_vendor() -> None:
    """Red Hat's: products are CPEs, so nothing of them silences anything; all statements are accounted for."""
    rpm = package("pkg:rpm/redhat/samba@4.18.6-1.el9?arch=x86_64&distro=rhel-9.3", source="samba")
    for path in sorted((MIRROR / "rhel/csaf/v2/vex").glob("*.json"))[:6]:
        content = path.read_bytes()
        found = csaf.read(content, path.name)
        assert found.statements
        assert found.unread == ()
        applied = judged([rpm], content, [finding(rpm, found.statements[0].vulnerability)], distro=vexing.DEBIAN)
        assert applied.findings[0].status == "affected"
        assert len(applied.report.unapplied) == len(found.statements)
