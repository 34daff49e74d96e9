"""Report in, JUnit XML out, as the test views of Jenkins, GitLab and others read it: each finding is a case that failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from pratique.model.finding import Finding
from pratique.model.report import Report
from pratique.report.document import accepted, fix_of, known, name_of, vex_text, waiver_text, worst_first
from pratique.report.text import cut, safe

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_TEXT = 4000  # characters of one text
# What XML 1.0 cannot carry beyond what `safe` already shows as escapes.
_FORBIDDEN = re.compile("[\ufffe\uffff]")


class _JUnit:
    name = "junit"
    media_type = "application/xml"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one suite an ecosystem or kind; what was not examined or known stands in the last one's error output."""
        from lxml import etree

        suites: dict[str, list[Finding]] = {}
        for finding in worst_first(report):
            suites.setdefault(_suite_name(finding), []).append(finding)
        root = etree.Element("testsuites")
        for number, (name, findings) in enumerate(sorted(suites.items()) or [("vulnerabilities", [])]):
            _suite(root, number, name, findings, report)
        _gaps(root[-1], report)
        etree.indent(root)
        out.write(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))
        out.write(b"\n")


def shown(text: str, limit: int = MAX_TEXT) -> str:
    """Return text that XML 1.0 can carry and that nothing obeys."""
    return cut(_FORBIDDEN.sub("\ufffd", safe(text)), limit)


def _token(text: str) -> str:
    return " ".join(shown(text).split()) or "-"


def _suite_name(finding: Finding) -> str:
    if finding.package is None:
        return finding.kind
    return finding.package.ecosystem or finding.kind


def _suite(root: _Element, number: int, name: str, findings: Sequence[Finding], report: Report) -> None:
    from lxml import etree

    skipped = sum(_settled(finding) for finding in findings)
    suite = etree.SubElement(root, "testsuite")
    suite.attrib.update(
        {
            "name": _token(name),
            "package": _token(name_of(report.target)),
            "id": str(number),
            "hostname": "localhost",
            "timestamp": report.meta.scanned_at[:19],
            "tests": str(max(len(findings), 1)),
            "failures": str(len(findings) - skipped),
            "errors": "0",
            "skipped": str(skipped),
            "time": "0",
        }
    )
    _described(suite, report)
    cases: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        case = _case(suite, finding)
        called = (str(case.get("classname")), str(case.get("name")))
        cases[called] += 1
        if cases[called] > 1:  # GitLab shows the first of those that are called alike, and no other
            case.set("name", f"{called[1]} ({cases[called]})")
    if not findings:
        etree.SubElement(suite, "testcase", {"name": "no findings", "classname": _token(report.target.scheme), "time": "0"})
    etree.SubElement(suite, "system-out")
    etree.SubElement(suite, "system-err")


def _described(suite: _Element, report: Report) -> None:
    from lxml import etree

    properties = etree.SubElement(suite, "properties")
    facts = {
        "target": name_of(report.target),
        "digest": report.target.digest,
        "platform": report.target.platform,
        "complete": str(report.complete).lower(),
        "verdict": report.verdict.decision,
        "database": report.meta.database.built_at,
    }
    for key, value in facts.items():
        if value:
            etree.SubElement(properties, "property", {"name": key, "value": shown(value)})


def _settled(finding: Finding) -> bool:
    return accepted(finding) or known(finding) or finding.status in ("not_affected", "fixed")


def _case(suite: _Element, finding: Finding) -> _Element:
    from lxml import etree

    package, place = finding.package, finding.location
    of = f"{package.name} {package.version}" if package is not None else (place.path if place is not None else finding.kind)
    title = f"[{finding.severity.value}] {finding.id} {finding.title}"
    case = etree.SubElement(suite, "testcase", {"name": _token(cut(title, 250)), "classname": _token(of), "time": "0"})
    if _settled(finding):
        settled = vex_text(finding) or finding.status.replace("_", " ")
        reason = waiver_text(finding) or ("in the baseline" if known(finding) else settled)
        etree.SubElement(case, "skipped", {"message": shown(reason)})
        return case
    told = etree.SubElement(case, "failure", {"type": finding.kind, "message": shown(finding.message or fix_of(finding))})
    lines = [finding.title, fix_of(finding), f"status: {finding.status}"]
    lines += ["known to be exploited"] if finding.kev else []
    lines += [f"package: {package.purl}"] if package is not None else []
    lines += [f"path: {place.path}", f"layer: {place.layer} {place.instruction}"] if place is not None else []
    lines += [f"fingerprint: {finding.fingerprint}", *finding.references]
    told.text = "\n".join(shown(line) for line in lines if line)
    return case


def _gaps(suite: _Element, report: Report) -> None:
    lines = [f"{gap.code}: {gap.message} {gap.path or gap.package or gap.source}".rstrip() for gap in report.problems]
    errors = suite.find("system-err")
    if lines and errors is not None:
        errors.text = "\n".join(shown(line) for line in lines)


REPORTER = _JUnit()
