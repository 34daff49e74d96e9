"""Report in, an OpenVEX document out: what is known of each vulnerability in this target. https://github.com/openvex/spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO
from urllib.parse import quote

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
    vex_text,
    waiver_text,
)
from pratique.report.text import safe

CONTEXT = "https://openvex.dev/ns/v0.2.0"


class _OpenVex:
    name = "openvex"
    media_type = "application/vex+json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one statement for each vulnerability and status, with every package that it concerns."""
        groups: dict[tuple[str, ...], list[Finding]] = {}
        for finding in report.findings:
            if finding.kind in VULNERABLE and finding.package is not None:
                said = vex_text(finding), *denied(finding)
                groups.setdefault((finding.id, finding.status, _action(finding), *said), []).append(finding)
        document: dict[str, Any] = {
            "@context": CONTEXT,
            "author": "pratique",
            "version": 1,
            "tooling": f"pratique {report.meta.version}",
            "statements": [_statement(group, report.target) for group in groups.values()],
        }
        document["@id"] = f"https://openvex.dev/docs/public/vex-{identifier(document)}"
        document["timestamp"] = report.meta.scanned_at
        out.write(encode(document))


def _statement(group: Sequence[Finding], target: Target) -> dict[str, Any]:
    first = group[0]
    vulnerability: dict[str, Any] = {"name": first.id, "description": safe(first.title)}
    if first.aliases:
        vulnerability["aliases"] = sorted(set(first.aliases))
    if first.references and is_link(first.references[0]):
        vulnerability["@id"] = first.references[0]
    packages = sorted({finding.package.purl for finding in group if finding.package is not None})
    statement: dict[str, Any] = {
        "vulnerability": vulnerability,
        "products": [{**product(target), "subcomponents": [{"@id": purl, "identifiers": {"purl": purl}} for purl in packages]}],
        "status": first.status,
    }
    justification, words = impact_of(first) if first.status == "not_affected" else denied(first)
    if first.status in ("affected", "under_investigation") and justification:
        statement["status"] = "not_affected"  # the waiver says so, and whoever reads the document is to know by whose word
    notes = [text for text in (vex_text(first), waiver_text(first)) if text]
    if statement["status"] == "affected":
        statement["action_statement"] = _action(first)
        notes = notes[: len(notes) - 1] if waiver_text(first) else notes
    elif statement["status"] == "not_affected":
        if justification in JUSTIFICATIONS:
            statement["justification"] = justification
        statement["impact_statement"] = safe(words or justification) or "Stated by the source of the advisory."
    if notes:
        statement["status_notes"] = safe("; ".join(notes))
    return statement


def _action(finding: Finding) -> str:
    accepted = waiver_text(finding)
    fix = fix_of(finding, named=False)
    return safe(f"{fix} ({accepted})" if accepted else fix)


def product(target: Target) -> dict[str, Any]:
    """Name a target as VEX readers match it: by purl where a registry knows it, else by digest, else by where it lies."""
    image = image_purl(target)
    if image:
        found: dict[str, Any] = {"@id": image, "identifiers": {"purl": image}}
    else:
        found = {"@id": own_name(target)}
    algorithm, value = checksum(target)
    if algorithm:
        found["hashes"] = {f"sha-{algorithm[3:]}": value}
    return found


def own_name(target: Target) -> str:
    """Return what a target is called that no registry knows: by digest, else by where it lies."""
    name = target.digest or quote(target.reference, safe="/-._~")
    return f"urn:pratique:target:{quote(target.scheme, safe='-')}:{name}"


REPORTER = _OpenVex()
