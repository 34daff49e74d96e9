"""CycloneDX documents with analyses: within a BOM, apart from it, and with BOM-Links to others."""

from __future__ import annotations

from typing import Any

import pytest

from pratique.attest import cyclonedx
from pratique.attest.cyclonedx import bom_of, resolve
from pratique.attest.vexfile import Trust
from pratique.attest.vexfile import read as read_file
from pratique.match.vex import About, apply
from pratique.model.errors import ParseError
from vexing import DEBIAN, DIGEST, NOW, OTHER, encode, finding, judged, package, said, target

SERIAL = "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79"
LODASH = package("pkg:npm/lodash@4.17.20", "app/node_modules/lodash/package.json")
PLUS = package("pkg:deb/debian/binutils@2.44-3%2Bdhi6?arch=amd64&distro=debian-12")


def bom(*vulnerabilities: dict[str, Any], root: dict[str, Any] | None = None, **more: Any) -> bytes:
    """A BOM of an image with lodash in it."""
    return encode(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": SERIAL,
            "version": 2,
            "metadata": {
                "timestamp": "2026-01-01T00:00:00Z",
                "authors": [{"name": "Acme Security"}],
                "component": root or {"type": "container", "bom-ref": "root", "name": "shop", "purl": f"pkg:oci/shop@{DIGEST}"},
            },
            "components": [
                {"type": "library", "bom-ref": "l", "name": "lodash", "version": "4.17.20", "purl": "pkg:npm/lodash@4.17.20"},
                {"type": "library", "bom-ref": "outer", "name": "o", "components": [{"bom-ref": "inner", "purl": PLUS.purl}]},
            ],
            "vulnerabilities": list(vulnerabilities),
            **more,
        }
    )


def analysed(ref: str = "l", state: str = "not_affected", **more: Any) -> dict[str, Any]:
    """A vulnerability that somebody analysed."""
    analysis = {"state": state, "justification": "code_not_reachable", "detail": "never called"}
    return {"id": "CVE-2024-0001", "analysis": analysis, "affects": [{"ref": ref}], **more}


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("resolved", "fixed"),
        ("resolved_with_pedigree", "fixed"),
        ("not_affected", "not_affected"),
        ("false_positive", "not_affected"),
        ("exploitable", "affected"),
        ("in_triage", "affected"),
    ],
)
def test_states(state: str, status: str) -> None:
    """Each state is one of the four statuses."""
    applied = judged([LODASH], bom(analysed(state=state)))
    assert said(applied) == ([status], [])
    note = applied.findings[0].vex
    assert note is not None
    if status == "not_affected":
        assert (note.justification, note.impact) == ("vulnerable_code_not_in_execute_path", "never called")
    assert note.author == "Acme Security"


def test_a_vulnerability_without_an_analysis_is_no_statement() -> None:
    """A scanner's report is no VEX document."""
    found = read_file(bom({"id": "CVE-2024-0001", "affects": [{"ref": "l"}]}), "a", Trust())
    assert (found.documents, found.failures, len(found.boms)) == ((), (), 1)


def test_references() -> None:
    """By the reference of a component, of one within another, of what the BOM describes; by a purl where there is none."""
    both = [LODASH, PLUS]
    assert said(judged(both, bom(analysed("l"))))[0] == ["not_affected", "affected"]
    assert said(judged(both, bom(analysed("inner"))))[0] == ["affected", "not_affected"]
    assert said(judged(both, bom(analysed("root"))))[0] == ["not_affected", "not_affected"]
    assert said(judged(both, bom(analysed("pkg:npm/lodash@4.17.20"))))[0] == ["not_affected", "affected"]
    assert said(judged(both, bom(analysed("nobody")))) == (["affected", "affected"], ["not-comparable"])


def test_the_image_that_a_bom_describes() -> None:
    """What is said of lodash in one image is not said of it in another."""
    other = {"type": "container", "bom-ref": "root", "name": "shop", "version": OTHER}
    assert said(judged([LODASH], bom(analysed(), root=other)))[1] == ["image-differs"]
    same = {"type": "container", "bom-ref": "root", "name": "whatever", "version": DIGEST}  # as Syft writes it
    assert said(judged([LODASH], bom(analysed(), root=same)))[0] == ["not_affected"]
    application = {"type": "application", "bom-ref": "root", "name": "shop"}
    assert said(judged([LODASH], bom(analysed(), root=application)))[0] == ["not_affected"]


def test_aliases_and_versions() -> None:
    """References are other names; versions that are told apart have statuses of their own."""
    named = analysed() | {"id": "ACME-1", "references": [{"id": "CVE-2024-0001"}]}
    assert said(judged([LODASH], bom(named)))[0] == ["not_affected"]
    purl = "pkg:npm/lodash"
    versions = [{"version": "4.17.19", "status": "affected"}, {"range": "vers:npm/>=4.17.20", "status": "unaffected"}]
    apart = analysed(purl, "exploitable") | {"affects": [{"ref": purl, "versions": versions}]}
    applied = judged([LODASH], bom(apart))
    assert applied.findings[0].status == "not_affected"
    only = analysed(purl) | {"affects": [{"ref": purl, "versions": [{"version": "4.17.19"}]}]}
    assert said(judged([LODASH], bom(only)))[1] == ["version-differs"]


def linked(reference: str) -> bytes:
    """A document that only speaks of another BOM."""
    return encode(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"timestamp": "2026-01-01T00:00:00Z"},
            "vulnerabilities": [analysed(reference)],
        }
    )


@pytest.mark.parametrize("reference", ["l", "inner", "pkg:npm/lodash@4.17.20", "pkg%3Anpm%2Flodash%404.17.20"])
def test_bom_links(reference: str) -> None:
    """urn:cdx:SERIAL/VERSION#REFERENCE, however the reference is escaped (trivy#6023), where the BOM is at hand."""
    link = f"urn:cdx:{SERIAL.removeprefix('urn:uuid:')}/2#{reference}"
    document, _ = cyclonedx.read(linked(link), "a")
    held = bom_of(bom())
    assert held is not None
    about = About(target(), [LODASH, PLUS], DEBIAN)
    findings = [finding(LODASH), finding(PLUS)]
    alone = apply(findings, about, [LODASH, PLUS], [document], NOW)
    assert said(alone) == (["affected", "affected"], ["other-bom"])
    together = apply(findings, about, [LODASH, PLUS], [resolve(document, {held.serial: held})], NOW)
    assert "not_affected" in said(together)[0]
    assert said(together)[1] == []


def test_a_link_to_a_whole_bom() -> None:
    """Without a reference the product is what the BOM describes."""
    document, _ = cyclonedx.read(linked(f"urn:cdx:{SERIAL.removeprefix('urn:uuid:')}/2"), "a")
    held = bom_of(bom())
    assert held is not None
    resolved = resolve(document, {held.serial: held})
    about = About(target(), [LODASH], DEBIAN)
    assert said(apply([finding(LODASH)], about, [LODASH], [resolved], NOW))[0] == ["not_affected"]


def test_boms_that_link_in_circles() -> None:
    """A link is followed once, to a component; whatever that is called is not followed again."""
    other = "urn:cdx:11111111-1111-4111-8111-111111111111/1#l"
    document, held = cyclonedx.read(bom(analysed(other), serialNumber=SERIAL), "a")
    circle = bom_of(
        encode(
            {
                "bomFormat": "CycloneDX",
                "serialNumber": "urn:uuid:11111111-1111-4111-8111-111111111111",
                "components": [{"bom-ref": "l", "name": f"urn:cdx:{SERIAL}", "purl": f"urn:cdx:{SERIAL}/1#l"}],
            }
        )
    )
    assert circle is not None
    resolved = resolve(document, {held.serial: held, circle.serial: circle})
    about = About(target(), [LODASH], DEBIAN)
    assert said(apply([finding(LODASH)], about, [LODASH], [resolved], NOW))[1] == ["not-comparable"]


@pytest.mark.parametrize(
    "content",
    [
        {"bomFormat": "CycloneDX", "vulnerabilities": [None, 1, [], {"analysis": []}, {"analysis": {"state": []}}]},
        {
            "bomFormat": "CycloneDX",
            "vulnerabilities": [{"id": "C", "analysis": {"state": "resolved", "response": [1]}, "affects": 7}],
        },
        {"bomFormat": "CycloneDX", "metadata": [], "components": {"a": 1}, "serialNumber": 7},
        {"bomFormat": "CycloneDX", "metadata": {"component": [], "authors": [1]}, "components": [1, [], {"components": 7}]},
        {
            "bomFormat": "CycloneDX",
            "vulnerabilities": [
                {
                    "id": "C",
                    "analysis": {"state": "resolved"},
                    "affects": [1, {"ref": "x", "versions": [1, {"version": 1, "status": []}]}],
                }
            ],
        },
    ],
)
def test_wrong_types_of_cyclonedx(content: dict[str, Any]) -> None:
    """Nothing raises but ParseError."""
    cyclonedx.read(encode(content), "a")


def test_a_bom_that_is_too_deep() -> None:
    """It ends in an error of ours, or is read without recursion."""
    with pytest.raises(ParseError):
        cyclonedx.read(b'{"bomFormat": "CycloneDX", "components": [' + b'{"components": [' * 100_000, "a")
    assert bom_of(b"[]") is None
