"""CSAF documents against the specification's own mandatory tests, and read back."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
from packageurl import PackageURL

import hostilereport
import reporting
from pratique.attest.vexfile import Trust, read
from pratique.match.vex import About, apply
from pratique.model.finding import Finding, VexNote
from pratique.model.report import Report
from pratique.model.vex import JUSTIFICATIONS
from pratique.report import csaf, cyclonedx, openvex

STATUSES = ("fixed", "first_fixed", "known_affected", "known_not_affected", "under_investigation", "recommended")
_TEXT = {"type": "string", "minLength": 1}
_IDS = {"type": "array", "minItems": 1, "uniqueItems": True, "items": _TEXT}
# The required members and lists of the official schema (3.2), as far as we write them.
SCHEMA = {
    "type": "object",
    "required": ["document"],
    "properties": {
        "document": {
            "required": ["category", "csaf_version", "publisher", "title", "tracking"],
            "properties": {
                "category": {"enum": ["csaf_vex", "csaf_base"]},
                "csaf_version": {"const": "2.0"},
                "title": _TEXT,
                "lang": {"const": "en"},
                "publisher": {
                    "required": ["category", "name", "namespace"],
                    "properties": {
                        "category": {"enum": ["coordinator", "discoverer", "other", "translator", "user", "vendor"]},
                        "name": _TEXT,
                        "namespace": {"format": "uri"},
                    },
                },
                "tracking": {
                    "required": ["current_release_date", "id", "initial_release_date", "revision_history", "status", "version"],
                    "properties": {
                        "id": {"pattern": r"^[\S](.*[\S])?$"},
                        "current_release_date": {"format": "date-time"},
                        "initial_release_date": {"format": "date-time"},
                        "status": {"enum": ["draft", "final", "interim"]},
                        "version": {"pattern": "^(0|[1-9][0-9]*)$"},
                        "revision_history": {
                            "minItems": 1,
                            "items": {"required": ["date", "number", "summary"], "properties": {"date": {"format": "date-time"}}},
                        },
                    },
                },
            },
        },
        "product_tree": {
            "minProperties": 1,
            "properties": {
                "full_product_names": {"type": "array", "minItems": 1, "items": {"required": ["name", "product_id"]}},
                "relationships": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"required": ["category", "full_product_name", "product_reference", "relates_to_product_reference"]},
                },
            },
        },
        "vulnerabilities": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "minProperties": 1,
                "properties": {
                    "cve": {"pattern": "^CVE-[0-9]{4}-[0-9]{4,}$"},
                    "title": _TEXT,
                    "ids": {"minItems": 1, "uniqueItems": True, "items": {"required": ["system_name", "text"]}},
                    "notes": {
                        "minItems": 1,
                        "items": {
                            "required": ["category", "text"],
                            "properties": {"category": {"const": "description"}, "text": _TEXT},
                        },
                    },
                    "product_status": {
                        "minProperties": 1,
                        "additionalProperties": False,
                        "properties": dict.fromkeys(STATUSES, _IDS),
                    },
                    "flags": {
                        "minItems": 1,
                        "items": {
                            "required": ["label"],
                            "properties": {"label": {"enum": list(JUSTIFICATIONS)}, "product_ids": _IDS},
                        },
                    },
                    "threats": {"minItems": 1, "items": {"required": ["category", "details"], "properties": {"details": _TEXT}}},
                    "remediations": {
                        "minItems": 1,
                        "items": {
                            "required": ["category", "details"],
                            "properties": {
                                "category": {
                                    "enum": ["mitigation", "no_fix_planned", "none_available", "vendor_fix", "workaround"]
                                },
                                "details": _TEXT,
                            },
                        },
                    },
                    "references": {"minItems": 1, "items": {"required": ["summary", "url"]}},
                },
            },
        },
    },
}


def written(report: Report, reporter: Any = csaf.REPORTER) -> bytes:
    """Write a report."""
    out = io.BytesIO()
    reporter.write(report, out)
    return out.getvalue()


def named(document: dict[str, Any]) -> list[str]:
    """All product ids that the tree defines."""
    tree = document.get("product_tree", {})
    found = [product["product_id"] for product in tree.get("full_product_names", [])]
    return found + [one["full_product_name"]["product_id"] for one in tree.get("relationships", [])]


def used(document: dict[str, Any]) -> Iterator[str]:
    """All product ids that something refers to."""
    for one in document.get("product_tree", {}).get("relationships", []):
        yield from (one["product_reference"], one["relates_to_product_reference"])
    for vulnerability in document.get("vulnerabilities", []):
        for products in vulnerability["product_status"].values():
            yield from products
        for key in ("flags", "threats", "remediations"):
            for entry in vulnerability.get(key, []):
                yield from entry["product_ids"]


def mandatory(document: dict[str, Any]) -> Iterator[str]:
    """Yield which of the mandatory tests (6.1) fail, of those that concern what we write."""
    ids, head = named(document), document["document"]
    tracking, vulnerabilities = head["tracking"], document.get("vulnerabilities", [])
    if set(used(document)) - set(ids):
        yield "6.1.1 missing definition of a product id"
    if len(ids) != len(set(ids)):
        yield "6.1.2 multiple definition of a product id"
    for one in document.get("product_tree", {}).get("relationships", []):
        if one["full_product_name"]["product_id"] in (one["product_reference"], one["relates_to_product_reference"]):
            yield "6.1.3 circular definition of a product id"
    for product in document.get("product_tree", {}).get("full_product_names", []):
        purl = product.get("product_identification_helper", {}).get("purl")
        if purl:
            PackageURL.from_string(purl)  # 6.1.13
        for file in product.get("product_identification_helper", {}).get("hashes", []):
            algorithms = [one["algorithm"] for one in file["file_hashes"]]
            if len(algorithms) != len(set(algorithms)):
                yield "6.1.25 multiple use of the same hash algorithm"
    history = tracking["revision_history"]
    if [one["date"] for one in history] != sorted(one["date"] for one in history) or history[-1]["number"] != tracking["version"]:
        yield "6.1.14, 6.1.16, 6.1.21 revision history"
    if tracking["status"] == "draft" or tracking["version"] == "0":
        yield "6.1.17, 6.1.20 draft"
    cves = [one["cve"] for one in vulnerabilities if "cve" in one]
    if len(cves) != len(set(cves)):
        yield "6.1.23 multiple use of the same CVE"
    if head["category"] == "csaf_vex":
        yield from profile(document)
    elif vulnerabilities:
        yield "6.1.26 a document of the base profile that looks like another"
    for vulnerability in vulnerabilities:
        yield from contradictions(vulnerability)


def profile(document: dict[str, Any]) -> Iterator[str]:
    """6.1.27: what the profile VEX asks for."""
    if not document.get("product_tree"):
        yield "6.1.27.4 product tree"
    if not document.get("vulnerabilities"):
        yield "6.1.27.11 vulnerabilities"
    for one in document.get("vulnerabilities", []):
        status = one["product_status"]
        if not one.get("notes"):
            yield "6.1.27.5 vulnerability notes"
        if not set(status) & {"fixed", "known_affected", "known_not_affected", "under_investigation"}:
            yield "6.1.27.7 VEX product status"
        if not (one.get("cve") or one.get("ids")):
            yield "6.1.27.8 vulnerability id"
        impact = {product for entry in one.get("flags", []) for product in entry["product_ids"]}
        impact |= {
            product for entry in one.get("threats", []) if entry["category"] == "impact" for product in entry["product_ids"]
        }
        if set(status.get("known_not_affected", [])) - impact:
            yield "6.1.27.9 impact statement"
        action = {product for entry in one.get("remediations", []) for product in entry["product_ids"]}
        if set(status.get("known_affected", [])) - action:
            yield "6.1.27.10 action statement"


def contradictions(vulnerability: dict[str, Any]) -> Iterator[str]:
    """6.1.6, 6.1.29, 6.1.32, 6.1.33."""
    products = [product for one in vulnerability["product_status"].values() for product in one]
    if len(products) != len(set(products)):
        yield "6.1.6 contradicting product status"
    if not all(entry["product_ids"] for key in ("flags", "remediations") for entry in vulnerability.get(key, [])):
        yield "6.1.29, 6.1.32 without a product reference"
    flagged = [product for entry in vulnerability.get("flags", []) for product in entry["product_ids"]]
    if len(flagged) != len(set(flagged)):
        yield "6.1.33 multiple justifications for one product"


@pytest.mark.parametrize("kind", hostilereport.REPORTS)
def test_mandatory_tests(kind: str) -> None:
    """Required members and lists, and every mandatory test that applies; for hostile reports, too."""
    content = written(hostilereport.REPORTS[kind]())
    document = json.loads(content)
    validator = jsonschema_rs.validator_for(SCHEMA, validate_formats=True)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert list(mandatory(document)) == []


def test_the_tests_find_something() -> None:
    """What the checks above are good for: each finds what it looks for."""
    lodash = reporting.pypi("lodash")
    good = json.loads(written(reporting.report(reporting.finding("CVE-2024-0001", lodash), packages=(lodash,))))
    spoilers: list[Callable[[dict[str, Any]], Any]] = [
        lambda doc: doc["product_tree"]["full_product_names"].pop(),
        lambda doc: doc["product_tree"]["full_product_names"].append(doc["product_tree"]["full_product_names"][0]),
        lambda doc: doc["vulnerabilities"][0].pop("remediations"),
        lambda doc: doc["vulnerabilities"][0].pop("notes"),
        lambda doc: doc["vulnerabilities"][0].pop("cve"),
        lambda doc: doc["vulnerabilities"][0]["product_status"].update(fixed=["target:package-1"]),
        lambda doc: doc["vulnerabilities"].append(doc["vulnerabilities"][0]),
        lambda doc: doc["document"]["tracking"].update(version="2"),
    ]
    for spoil in spoilers:
        spoiled = json.loads(json.dumps(good))
        spoil(spoiled)
        assert list(mandatory(spoiled)), spoil


def test_statuses_and_words() -> None:
    """Flags and threats for what is not affected, remediations for what is, by their kind."""
    one, two, three, four = (reporting.pypi(name) for name in ("one", "two", "three", "four"))
    note = VexNote(document="d", statement=1, author="Acme", status="not_affected", justification="component_not_present")
    waiver = {"id": "w", "state": "active", "owner": "me", "reason": "not reachable", "expires": "2027-01-01T00:00:00Z"}
    reported = reporting.report(
        reporting.finding("CVE-2024-0001", one, status="not_affected", vex=note),
        reporting.finding("CVE-2024-0001", two, fixed_in=("2.0",)),
        reporting.finding("CVE-2024-0001", three, waiver=waiver | {"justification": "vulnerable_code_not_in_execute_path"}),
        reporting.finding("CVE-2024-0001", four, waiver=waiver),
        reporting.finding("GHSA-1", one, status="fixed", aliases=("X-1",)),
        packages=(one, two, three, four),
    )
    document = json.loads(written(reported))
    names = {one["product_id"]: one["name"] for one in document["product_tree"]["full_product_names"]}
    first, second = document["vulnerabilities"]

    def packages(products: list[str]) -> list[str]:
        return [re.sub(r"pkg:pypi/(\w+)@.*", r"\1", names[product.removeprefix("target:")]) for product in products]

    assert {key: packages(value) for key, value in first["product_status"].items()} == {
        "known_not_affected": ["one", "three"],
        "known_affected": ["four", "two"],
    }
    assert {one["label"]: packages(one["product_ids"]) for one in first["flags"]} == {
        "component_not_present": ["one"],
        "vulnerable_code_not_in_execute_path": ["three"],
    }
    assert {one["category"]: packages(one["product_ids"]) for one in first["remediations"]} == {
        "vendor_fix": ["two"],
        "none_available": ["four"],
    }
    assert [one["text"] for one in second["ids"]] == ["GHSA-1", "X-1"]
    assert {key: packages(value) for key, value in second["product_status"].items()} == {"fixed": ["one"]}


def test_nothing_found_is_no_vex() -> None:
    """The profile needs a vulnerability; without one it is a plain document."""
    document = json.loads(written(reporting.report()))
    assert document["document"]["category"] == "csaf_base"
    assert "vulnerabilities" not in document
    assert list(mandatory(document)) == []


@pytest.mark.parametrize("reporter", [csaf.REPORTER, openvex.REPORTER, cyclonedx.REPORTER], ids=lambda one: str(one.name))
@pytest.mark.parametrize("scheme", ["registry", "docker-archive", "dir"])
def test_what_we_write_means_the_same_when_it_is_read(reporter: Any, scheme: str) -> None:
    """A document of ours, applied to the findings as they were before, marks the same ones alike."""
    import msgspec

    packages = tuple(sorted((reporting.pypi("one"), reporting.pypi("two"), reporting.deb("libssl3")), key=lambda one: one.purl))
    waiver = {
        "id": "w",
        "state": "active",
        "owner": "me",
        "reason": "x",
        "expires": "2027-01-01T00:00:00Z",
        "impact": "never run",
    }
    waiver["justification"] = "vulnerable_code_not_in_execute_path"
    note = VexNote(document="d", statement=1, author="Acme", status="not_affected", justification="component_not_present")
    marked: list[Finding] = [
        reporting.finding("CVE-2024-0001", packages[0], status="not_affected", vex=note),
        reporting.finding("CVE-2024-0001", packages[1]),
        reporting.finding("CVE-2024-0002", packages[1], waiver=waiver),
        reporting.finding("CVE-2024-0003", packages[2], status="fixed"),
    ]
    report = reporting.report(*marked, packages=packages)
    digest = "" if scheme == "dir" else "sha256:" + "a" * 64
    target = msgspec.structs.replace(report.target, scheme=scheme, digest=digest, reference="ghcr.io/acme/shop:1")
    report = msgspec.structs.replace(report, target=target)
    found = read(written(report, reporter), "own.json", Trust())
    assert found.failures == ()
    plain = [msgspec.structs.replace(one, status="affected", vex=None, waiver=None) for one in marked]
    applied = apply(plain, About(target, packages, None), packages, found.documents, "2027-01-01T00:00:00Z")
    assert [one.status for one in applied.findings] == ["not_affected", "affected", "not_affected", "fixed"]
    assert applied.report.unapplied == ()
    words = [one.vex.justification if one.vex is not None else "" for one in applied.findings]
    expected = "vulnerable_code_not_present" if reporter.name == "cyclonedx" else "component_not_present"
    assert (words[0], words[2]) == (expected, "vulnerable_code_not_in_execute_path")
    other = msgspec.structs.replace(target, digest="sha256:" + "b" * 64, reference="ghcr.io/acme/other:1")
    elsewhere = apply(plain, About(other, packages, None), packages, found.documents, "2027-01-01T00:00:00Z")
    if reporter.name != "cyclonedx" or scheme == "registry":
        assert {one.status for one in elsewhere.findings} == {"affected"}
