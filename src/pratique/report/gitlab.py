"""Report in, GitLab's container scanning report out (schema 15.x).

https://gitlab.com/gitlab-org/security-products/security-report-schemas
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from pratique.model.finding import Finding, Severity
from pratique.model.report import Report, Target
from pratique.report.document import VULNERABLE, encode, fix_of, identifier, is_link, worst_first
from pratique.report.text import cut, safe

VERSION = "15.2.1"
MAX_NAME, MAX_DESCRIPTION, MAX_SOLUTION = 255, 100_000, 7000  # characters; the schema's own, the description's is a tenth of it
_SEVERITIES = {
    Severity.CRITICAL: "Critical",
    Severity.HIGH: "High",
    Severity.MEDIUM: "Medium",
    Severity.LOW: "Low",
    Severity.NEGLIGIBLE: "Info",
    Severity.UNKNOWN: "Unknown",
}
_LINKS = {"cve": "https://nvd.nist.gov/vuln/detail/{}", "ghsa": "https://github.com/advisories/{}"}


class _GitLab:
    name = "gitlab"
    media_type = "application/json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one entry a (vulnerability, package); other kinds of findings have no place in this report."""
        found = [finding for finding in worst_first(report) if finding.kind in VULNERABLE and finding.package is not None]
        document = {
            "version": VERSION,
            "scan": _scan(report),
            "vulnerabilities": [_vulnerability(finding, report) for finding in found],
            "remediations": [],
        }
        out.write(encode(document))


def _scan(report: Report) -> dict[str, Any]:
    tool = {"id": "pratique", "name": "pratique", "version": report.meta.version, "vendor": {"name": "pratique"}}
    stamp = report.meta.scanned_at[:19]  # the schema's times have no zone; ours are UTC
    told = [{"level": "warn", "value": cut(safe(f"{gap.code}: {gap.message} {gap.path}"), 1000)} for gap in report.problems]
    scan: dict[str, Any] = {"analyzer": tool, "scanner": tool, "type": "container_scanning", "status": "success"}
    scan |= {"start_time": stamp, "end_time": stamp}
    if told:
        scan["messages"] = told
    return scan


def _vulnerability(finding: Finding, report: Report) -> dict[str, Any]:
    package = finding.package
    assert package is not None
    title = safe(finding.title) or finding.id
    text = f"{finding.id} in {package.name} {package.version}: {title}"
    found: dict[str, Any] = {
        "id": str(identifier([finding.fingerprint, package.purl])),
        "name": cut(f"{safe(finding.id)}: {title}", MAX_NAME),
        "description": cut(safe(text), MAX_DESCRIPTION),
        "severity": _SEVERITIES[finding.severity],
        "solution": cut(safe(fix_of(finding)), MAX_SOLUTION),
        "identifiers": list(_identifiers(finding)),
        "links": [{"url": link} for link in finding.references if is_link(link)],
        "location": {
            "dependency": {"package": {"name": safe(package.name)}, "version": safe(package.version)},
            "operating_system": _system(report.target),
            "image": image_name(report.target),
        },
    }
    vectors = [{"vendor": item.source or "unknown", "vector": item.vector} for item in finding.cvss if item.version[0] in "34"]
    if vectors:
        found["cvss_vectors"] = vectors[:10]  # as many as the schema allows
    return found


def _identifiers(finding: Finding) -> Iterator[dict[str, str]]:
    for name in (finding.id, *finding.aliases):
        kind = name.partition("-")[0].lower() or "pratique"
        entry = {"type": kind, "name": safe(name), "value": safe(name)}
        link = _LINKS.get(kind, "https://osv.dev/vulnerability/{}").format(name)
        if is_link(link):
            entry["url"] = link
        yield entry


def _system(target: Target) -> str:
    return cut(safe(f"{target.distro.id} {target.distro.version}".strip()), 255) if target.distro is not None else "unknown"


def image_name(target: Target) -> str:
    """Return a reference with a tag, by which GitLab keeps vulnerabilities apart; a file's name stands where there is none."""
    name = re.sub(r"[^A-Za-z0-9._:/@-]", "-", target.reference) or target.scheme
    last = name.rpartition("/")[2]
    return name if ":" in last else f"{name}:latest" if target.scheme in ("registry", "docker", "podman") else f"{name}:archive"


REPORTER = _GitLab()
