"""Report in, GitLab's container scanning report out, or its dependency scanning report (schema 15.x).

https://gitlab.com/gitlab-org/security-products/security-report-schemas. What the schema lets pass and the database behind it does
not (gitlab-org/gitlab, db/structure.sql) has the whole report refused after it was taken, so those limits hold here, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from pratique.model.errors import UsageError
from pratique.model.finding import Finding, Severity
from pratique.model.report import Report, Target
from pratique.report.document import VULNERABLE, encode, fix_of, identifier, is_link, vex_text, worst_first
from pratique.report.text import cut, safe

# The lowest version that has all that is written here. GitLab refuses a minor version that it does not know, and takes 15.0 of
# any patch wherever it takes 15 at all; the documents are valid by 15.2.1, too.
VERSION = "15.0.7"
KINDS = ("container-scanning", "dependency-scanning")
MAX_NAME, MAX_DESCRIPTION, MAX_SOLUTION = 255, 15_000, 7000  # characters, as `vulnerability_occurrences` takes them
MAX_FLAG = 1024  # of `vulnerability_flags.description`
MAX_IMAGE = 2048  # of `vulnerability_reads.location_image`; the schema allows 255 for that of the default branch
MAX_IDENTIFIERS = 20  # GitLab passes over the others
MAX_LINKS = 100  # of one finding; records have some dozens
_SEVERITIES = {
    Severity.CRITICAL: "Critical",
    Severity.HIGH: "High",
    Severity.MEDIUM: "Medium",
    Severity.LOW: "Low",
    Severity.NEGLIGIBLE: "Info",
    Severity.UNKNOWN: "Unknown",
}
_REFERENCE = r"[A-Za-z0-9._:/@-]+"
_LINKS = {"cve": "https://nvd.nist.gov/vuln/detail/{}", "ghsa": "https://github.com/advisories/{}"}


# A report with a vector that the schema does not know is refused as a whole. It knows no CVSS 4; version 2 is not kept here.
_METRIC = (
    "AV:[NALP]|AC:[LH]|PR:[NLH]|UI:[NR]|S:[UC]|[CIA]:[NLH]|E:[XUPFH]|RL:[XOTWU]|RC:[XURC]|[CIA]R:[XLMH]"
    "|MAV:[XNALP]|MAC:[XLH]|MPR:[XNLH]|MUI:[XNR]|MS:[XUC]|M[CIA]:[XNLH]"
)
_VECTOR = re.compile(rf"CVSS:3\.[01](?:/(?:{_METRIC}))+")
_VECTOR_LENGTH = range(32, 129)
# What GitLab calls the managers of packages; a distribution's packages are the business of container scanning.
_MANAGERS = {
    "pypi": "pip", "npm": "npm", "maven": "maven", "golang": "go", "cargo": "cargo", "gem": "bundler", "composer": "composer",
    "nuget": "nuget",
}  # fmt: skip


class _GitLab:
    name = "gitlab"
    media_type = "application/json"

    def __init__(self, kind: str = "container-scanning") -> None:
        self._kind = kind

    def at(self, version: str) -> _GitLab:
        """Return the writer of one of the two reports. Raises UsageError."""
        if version not in KINDS:
            raise UsageError(f"gitlab@{version}: there is no such report", hint=f"one of {', '.join(KINDS)}")
        return _GitLab(version)

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one entry a (vulnerability, package); other kinds of findings have no place in these reports."""
        found = [finding for finding in worst_first(report) if finding.kind in VULNERABLE and finding.package is not None]
        document: dict[str, Any] = {"version": VERSION, "scan": _scan(report, self._kind)}
        if self._kind == "dependency-scanning":
            types = {package.purl: package.type for package in report.packages}
            found = [item for item in found if item.package is not None and types.get(item.package.purl) in _MANAGERS]
            document["dependency_files"] = _files(report)
        document["vulnerabilities"] = [_vulnerability(finding, report, self._kind) for finding in found]
        document["remediations"] = []
        out.write(encode(document))


def _files(report: Report) -> list[dict[str, Any]]:
    """List the files that packages of a language were found in, with what each of them names."""
    files: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for package in report.packages:
        if package.type in _MANAGERS:
            entry = {"package": {"name": safe(package.name)}, "version": safe(package.version)}
            path = safe(package.locations[0].path) if package.locations else ""
            files.setdefault((path or "packages", _MANAGERS[package.type]), []).append(entry)
    return [{"path": path, "package_manager": manager, "dependencies": named} for (path, manager), named in sorted(files.items())]


def _scan(report: Report, kind: str) -> dict[str, Any]:
    tool = {"id": "pratique", "name": "pratique", "version": report.meta.version, "vendor": {"name": "pratique"}}
    stamp = report.meta.scanned_at[:19]  # the schema's times have no zone; ours are UTC
    told = [{"level": "warn", "value": cut(safe(f"{gap.code}: {gap.message} {gap.path}"), 1000)} for gap in report.problems]
    scan: dict[str, Any] = {"analyzer": tool, "scanner": tool, "type": kind.replace("-", "_"), "status": "success"}
    scan |= {"start_time": stamp, "end_time": stamp}
    if told:
        scan["messages"] = told
    return scan


def _vulnerability(finding: Finding, report: Report, kind: str) -> dict[str, Any]:
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
        "links": [{"url": link} for link in dict.fromkeys(finding.references) if is_link(link)][:MAX_LINKS],
        "location": _location(finding, report, kind),
    }
    if finding.status in ("not_affected", "fixed"):  # the format has no status, but a mark that its readers show
        reason = vex_text(finding) or f"stated to be {finding.status.replace('_', ' ')}"
        origin = finding.vex.author if finding.vex is not None and finding.vex.author else "VEX"
        found["flags"] = [
            {
                "type": "flagged-as-likely-false-positive",
                "origin": cut(safe(origin), MAX_NAME),
                "description": cut(safe(reason), MAX_FLAG),
            }
        ]
    vectors = [
        {"vendor": safe(item.source) or "unknown", "vector": item.vector} for item in finding.cvss if _allowed(item.vector)
    ]
    if vectors:
        found["cvss_vectors"] = vectors[:10]  # as many as the schema allows
    return found


def _allowed(vector: str) -> bool:
    return len(vector) in _VECTOR_LENGTH and _VECTOR.fullmatch(vector) is not None


def _location(finding: Finding, report: Report, kind: str) -> dict[str, Any]:
    package = finding.package
    assert package is not None
    dependency = {"package": {"name": safe(package.name)}, "version": safe(package.version)}
    if kind == "dependency-scanning":
        path = safe(finding.location.path) if finding.location is not None else ""
        return {"file": path or "packages", "dependency": dependency}
    place = {
        "dependency": dependency,
        "operating_system": _system(report.target),
        "image": cut(image_name(report.target), MAX_IMAGE),
    }
    return {**place, **_default_branch(os.environ)}


def _default_branch(environment: Mapping[str, str]) -> dict[str, str]:
    """Name the image of the default branch, as GitLab's own scanner is told it: by that a branch's findings are known again."""
    name = environment.get("CS_DEFAULT_BRANCH_IMAGE", "")
    return {"default_branch_image": name} if re.fullmatch(_REFERENCE, name) and len(name) <= MAX_NAME else {}


def _identifiers(finding: Finding) -> Iterator[dict[str, str]]:
    """Yield each name once, that of the finding first: by it, the image and the package GitLab knows a finding again."""
    names = dict.fromkeys(name for name in (finding.id, *finding.aliases) if name)
    for name in list(names)[:MAX_IDENTIFIERS]:
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
