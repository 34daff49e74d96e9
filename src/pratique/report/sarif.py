"""Report in, SARIF 2.1.0 out, such as code scanning of GitHub and others reads.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/ and what GitHub asks for beyond it:
https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote

from pratique.model.finding import Finding, Severity
from pratique.model.inventory import Gap, Package
from pratique.model.report import Report
from pratique.report.document import encode, fix_of, is_link, name_of, score_of, vex_text, waiver_text, worst_first
from pratique.report.markdown import literal
from pratique.report.text import cut, safe

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MAX_TEXT = 1000  # characters of one message or description; GitHub cuts at 1024
MAX_TAGS = 10  # of a rule; code scanning refuses more than 20 and keeps the first 10
MAX_LOCATIONS = 10  # per result; code scanning refuses more than 1,000, and nobody reads them
MAX_RESULTS = 25_000  # of a run; code scanning refuses a file with more as a whole
_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.NEGLIGIBLE: "note",
    Severity.UNKNOWN: "warning",
}
# GitHub names a severity by its score; where a distributor's word goes before the score, the middle of its band is given.
_BANDS = {
    Severity.CRITICAL: (9.0, 10.0),
    Severity.HIGH: (7.0, 8.9),
    Severity.MEDIUM: (4.0, 6.9),
    Severity.LOW: (0.1, 3.9),
    Severity.NEGLIGIBLE: (0.1, 0.1),
}


class _Sarif:
    name = "sarif"
    media_type = "application/sarif+json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one run, the worst first: readers that show only so many results show those."""
        found = worst_first(report)
        findings = found[:MAX_RESULTS]
        rules: dict[str, list[Finding]] = {}
        for finding in findings:
            rules.setdefault(finding.id, []).append(finding)
        places = {identity: number for number, identity in enumerate(rules)}
        packages = {package.purl: package for package in report.packages}
        run = {
            "tool": {"driver": {**_driver(report), "rules": [_rule(group) for group in rules.values()]}},
            "automationDetails": {"id": f"pratique/{safe(name_of(report.target))}/"},
            "invocations": [_invocation(report, len(found) - len(findings))],
            "columnKind": "utf16CodeUnits",
            "results": [_result(finding, places[finding.id], _paths(report, finding, packages)) for finding in findings],
            "properties": {"target": safe(name_of(report.target)), "digest": report.target.digest, "complete": report.complete},
        }
        out.write(encode({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}))


def _driver(report: Report) -> dict[str, Any]:
    return {"name": "pratique", "version": report.meta.version, "semanticVersion": report.meta.version}


def _invocation(report: Report, left_out: int) -> dict[str, Any]:
    found: dict[str, Any] = {"executionSuccessful": True, "endTimeUtc": report.meta.scanned_at}
    told = [_notification(gap) for gap in report.problems]
    if left_out:
        text = f"{left_out} more findings, the least grave, are left out: a run with more than {MAX_RESULTS} results is refused"
        told.insert(0, {"descriptor": {"id": "sarif.too-many"}, "level": "error", "message": {"text": text}})
    if told:
        found["toolExecutionNotifications"] = told
    return found


def _notification(gap: Gap) -> dict[str, Any]:
    where = gap.path or gap.package or gap.source
    text = f"{gap.message} ({where})" if where and where not in gap.message else gap.message
    return {"descriptor": {"id": gap.code}, "level": "warning", "message": {"text": cut(safe(text), MAX_TEXT)}}


def _rule(group: Sequence[Finding]) -> dict[str, Any]:
    """Describe what all findings of one id share; its level is that of the worst."""
    first = max(group, key=lambda finding: finding.severity.rank)
    title = cut(safe(first.title) or first.id, MAX_TEXT)
    links = [link for link in first.references if is_link(link)]
    aliases = f" Also known as {', '.join(first.aliases)}." if first.aliases else ""
    exploited = " It is known to be exploited." if first.kev else ""
    text = f"{title}.{exploited}{aliases}".replace("..", ".")
    fixes = sorted({fix_of(finding) for finding in group} - {""})
    lines = [literal(text), "", *(f"- {literal(fix)}" for fix in fixes[:20]), "", *(f"- <{link}>" for link in links)]
    rule: dict[str, Any] = {
        "id": safe(first.id),
        "name": "".join(word.capitalize() for word in (first.kind, "finding")),
        "shortDescription": {"text": title},
        "fullDescription": {"text": cut(text, MAX_TEXT)},
        "help": {"text": "\n".join([text, *fixes[:20], *links]), "markdown": "\n".join(lines).rstrip() + "\n"},
        "defaultConfiguration": {"level": _LEVELS[first.severity]},
        "properties": {"tags": ["security", first.kind, first.severity.value], "precision": _precision(group)},
    }
    tags = [*rule["properties"]["tags"], *(["exploited"] if first.kev else []), *map(safe, first.controls)]
    rule["properties"]["tags"] = list(dict.fromkeys(tags))[:MAX_TAGS]
    if score := _security_severity(first):
        rule["properties"]["security-severity"] = score
    if links:
        rule["helpUri"] = links[0]
    return rule


def _precision(group: Iterable[Finding]) -> str:
    return "high" if all(finding.status == "affected" for finding in group) else "medium"


def _security_severity(finding: Finding) -> str:
    band = _BANDS.get(finding.severity)
    if band is None:
        return ""
    score = score_of(finding)
    if score is None or not band[0] <= score <= band[1]:
        score = round((band[0] + band[1]) / 2, 1)
    return f"{score:.1f}"


def _paths(report: Report, finding: Finding, packages: Mapping[str, Package]) -> list[tuple[str, str]]:
    """Return (path, layer) of every place, that of the finding first; the target's own name where there is none."""
    found = [(finding.location.path, finding.location.layer)] if finding.location is not None and finding.location.path else []
    known = packages.get(finding.package.purl) if finding.package is not None else None
    if known is not None:
        found += [(place.path, place.layer) for place in known.locations]
    return list(dict.fromkeys(found))[:MAX_LOCATIONS] or [(report.target.reference or report.target.scheme, "")]


def _result(finding: Finding, index: int, places: Sequence[tuple[str, str]]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": safe(finding.id),
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": cut(_message(finding), MAX_TEXT)},
        "locations": [_location(finding, path, layer) for path, layer in places],
        "partialFingerprints": {"primaryLocationLineHash": f"{finding.fingerprint}:1", "pratique/v1": finding.fingerprint},
        "properties": _properties(finding),
    }
    if finding.baseline:
        result["baselineState"] = finding.baseline
    accepted = waiver_text(finding)
    if accepted or finding.status in ("not_affected", "fixed"):
        reason = safe(accepted or vex_text(finding)) or f"stated to be {finding.status.replace('_', ' ')}"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return result


def _message(finding: Finding) -> str:
    package = finding.package
    if package is None:
        return safe(finding.message or finding.title or finding.id)
    unsure = " (under investigation)" if finding.status == "under_investigation" else ""
    return safe(f"{package.name} {package.version}: {finding.id}{unsure}, {finding.severity.value}. {fix_of(finding)}")


def _location(finding: Finding, path: str, layer: str) -> dict[str, Any]:
    line = finding.location.line if finding.location is not None and finding.location.path == path else 0
    logical: list[dict[str, Any]] = []
    if finding.package is not None:
        logical.append({"name": safe(finding.package.name), "fullyQualifiedName": finding.package.purl, "kind": "package"})
    if layer:
        logical.append({"name": layer[:19], "fullyQualifiedName": layer, "kind": "layer"})
    found: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(path.lstrip("/") or "target", safe="/-._~!@+=,", errors="backslashreplace")},
            "region": _region(finding, line),
        }
    }
    if logical:
        found["logicalLocations"] = logical
    if finding.location is not None and finding.location.instruction:
        found["message"] = {"text": cut(safe(finding.location.instruction), MAX_TEXT)}
    return found


def _region(finding: Finding, line: int) -> dict[str, int]:
    place = finding.location
    if not line or place is None or not place.column:
        return {"startLine": max(line, 1)}
    return {
        "startLine": line,
        "startColumn": place.column,
        "endLine": max(place.end_line, line),
        "endColumn": max(place.end_column, 1),
    }


def _properties(finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": finding.kind, "severity": finding.severity.value, "status": finding.status}
    if finding.package is not None:
        found["purl"] = finding.package.purl
    if finding.fixed_in:
        found["fixedIn"] = list(finding.fixed_in)
    if finding.epss is not None:
        found["epss"] = finding.epss.score
    if finding.kev:
        found["kev"] = True
    return found


REPORTER = _Sarif()
