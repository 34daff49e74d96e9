"""Report in, a CSAF 2.0 document of the profile VEX out: what is known of each vulnerability in this target.

https://docs.oasis-open.org/csaf/csaf/v2.0/csaf-v2.0.html. The target is one product, each package one, and each package in the
target a relationship, which is what statuses are about. Without a vulnerability the profile VEX does not apply: the document is
then of the profile "CSAF Base".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from pratique.model.finding import Finding
from pratique.model.report import Report, Target
from pratique.model.vex import JUSTIFICATIONS
from pratique.report.document import (
    VULNERABLE,
    checksum,
    denied,
    encode,
    fix_of,
    identifier,
    image_purl,
    impact_of,
    is_link,
    name_of,
    vex_text,
    waiver_text,
)
from pratique.report.openvex import own_name
from pratique.report.text import safe

NAMESPACE = "urn:pratique:publisher"
TARGET = "target"  # the product id of what was scanned
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_LISTS = {
    "affected": "known_affected",
    "not_affected": "known_not_affected",
    "fixed": "fixed",
    "under_investigation": "under_investigation",
}
_SYSTEMS = (("GHSA-", "GitHub Advisory Database"), ("PYSEC-", "PyPA"), ("GO-", "Go"), ("RUSTSEC-", "RustSec"))


class _Csaf:
    name = "csaf"
    media_type = "application/csaf+json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one vulnerability for each id, with every package that it concerns."""
        groups: dict[str, list[Finding]] = {}
        for finding in report.findings:
            if finding.kind in VULNERABLE and finding.package is not None:
                groups.setdefault(finding.id, []).append(finding)
        ids = _product_ids(finding for group in groups.values() for finding in group)
        document: dict[str, Any] = {
            "product_tree": _tree(report.target, ids),
            "vulnerabilities": [_vulnerability(group, ids) for _, group in sorted(groups.items())],
        }
        if not groups:
            del document["vulnerabilities"]
        out.write(encode({"document": _head(report, document), **document}))


def _head(report: Report, content: dict[str, Any]) -> dict[str, Any]:
    stamp = report.meta.scanned_at
    name = safe(name_of(report.target))
    return {
        "category": "csaf_vex" if "vulnerabilities" in content else "csaf_base",
        "csaf_version": "2.0",
        "lang": "en",
        "title": f"Vulnerabilities of {name}",
        "publisher": {"category": "user", "name": "pratique", "namespace": NAMESPACE},
        "tracking": {
            "id": f"pratique-{identifier([name, content])}",
            "status": "final",
            "version": "1",
            "initial_release_date": stamp,
            "current_release_date": stamp,
            "revision_history": [{"number": "1", "date": stamp, "summary": "What a scan found."}],
            "generator": {"date": stamp, "engine": {"name": "pratique", "version": report.meta.version}},
        },
    }


def _product_ids(findings: Iterable[Finding]) -> dict[str, str]:
    """Return the product id of each package, by purl."""
    purls = sorted({finding.package.purl for finding in findings if finding.package is not None})
    return {purl: f"package-{number}" for number, purl in enumerate(purls, 1)}


def _tree(target: Target, ids: dict[str, str]) -> dict[str, Any]:
    name = safe(name_of(target))
    products = [{"product_id": TARGET, "name": name, "product_identification_helper": _helper(target)}]
    products += [
        {"product_id": product_id, "name": safe(purl), "product_identification_helper": {"purl": purl}}
        for purl, product_id in ids.items()
    ]
    tree: dict[str, Any] = {"full_product_names": products}
    if ids:
        tree["relationships"] = [
            {
                "category": "default_component_of",
                "product_reference": product_id,
                "relates_to_product_reference": TARGET,
                "full_product_name": {"product_id": f"{TARGET}:{product_id}", "name": f"{safe(purl)} in {name}"},
            }
            for purl, product_id in ids.items()
        ]
    return tree


def _helper(target: Target) -> dict[str, Any]:
    """Name a target as readers match it: by purl where a registry knows it, by digest, and by the name that we give it."""
    found: dict[str, Any] = {"x_generic_uris": [{"namespace": "urn:pratique:target", "uri": own_name(target)}]}
    if image := image_purl(target):
        found["purl"] = image
    algorithm, value = checksum(target)
    if algorithm:
        found["hashes"] = [{"filename": "manifest.json", "file_hashes": [{"algorithm": algorithm, "value": value}]}]
    return found


def _vulnerability(group: Sequence[Finding], ids: dict[str, str]) -> dict[str, Any]:
    first = group[0]
    cve = first.id if _CVE.fullmatch(first.id) else ""
    names = [name for name in dict.fromkeys((first.id, *first.aliases)) if name != cve]
    found: dict[str, Any] = {"cve": cve} if cve else {}
    if names:
        found["ids"] = [{"system_name": _system(name), "text": safe(name)} for name in names]
    found["title"] = safe(first.title) or safe(first.id)
    found["notes"] = [{"category": "description", "text": safe(first.title) or safe(first.id)}]
    found["product_status"], found["flags"], found["threats"], found["remediations"] = _said(group, ids)
    found["references"] = [
        {"category": "external", "summary": "About the vulnerability", "url": link} for link in first.references if is_link(link)
    ]
    return {key: value for key, value in found.items() if value}


def _system(name: str) -> str:
    return next((system for prefix, system in _SYSTEMS if name.startswith(prefix)), "OSV")


def _said(
    group: Sequence[Finding], ids: dict[str, str]
) -> tuple[dict[str, list[str]], list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return product status, flags, threats and remediations: for each product what the profile asks for its status."""
    status: dict[str, list[str]] = {}
    flags: dict[str, list[str]] = {}
    threats: dict[str, list[str]] = {}
    remedies: dict[tuple[str, str], list[str]] = {}
    for finding in sorted(group, key=lambda finding: finding.package.purl if finding.package is not None else ""):
        assert finding.package is not None
        product = f"{TARGET}:{ids[finding.package.purl]}"
        word, justification, words = _status(finding)
        status.setdefault(_LISTS[word], []).append(product)
        if word == "not_affected":
            if justification in JUSTIFICATIONS:
                flags.setdefault(justification, []).append(product)
            threats.setdefault(safe(words or justification) or "Stated by the source of the advisory.", []).append(product)
        elif word == "affected":
            remedies.setdefault(_remedy(finding), []).append(product)
    return (
        status,
        [{"label": label, "product_ids": products} for label, products in flags.items()],
        [{"category": "impact", "details": details, "product_ids": products} for details, products in threats.items()],
        [{"category": kind, "details": details, "product_ids": products} for (kind, details), products in remedies.items()],
    )


def _status(finding: Finding) -> tuple[str, str, str]:
    """Return status, justification and words: those of a VEX statement, or of a waiver with a justification."""
    if finding.status in ("affected", "under_investigation") and denied(finding)[0]:
        justification, words = denied(finding)
        return "not_affected", justification, f"{words} ({waiver_text(finding)})"
    if finding.status == "not_affected":
        justification, words = impact_of(finding)
        return finding.status, justification, vex_text(finding) or words
    return finding.status, "", ""


def _remedy(finding: Finding) -> tuple[str, str]:
    accepted = waiver_text(finding)
    words = safe(f"{fix_of(finding)} ({accepted})" if accepted else fix_of(finding))
    state = finding.because.state if finding.because is not None else ""
    if finding.fixed_in:
        return "vendor_fix", words
    return ("no_fix_planned" if state in ("wont-fix", "end-of-life") else "none_available"), words


REPORTER = _Csaf()
