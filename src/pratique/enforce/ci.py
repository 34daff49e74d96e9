"""Reports of one build in, one decision with its reasons where a build server shows them out.

    GitHub: workflow commands, https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    GitLab: a code quality report, https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format

What is written is what refused, not all that was found: a person who looks at a red build wants to know what to mend.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from pratique.model.finding import Finding, Severity
from pratique.model.report import Reason, Report
from pratique.report.text import safe

Level = Literal["error", "warning"]
# GitHub shows ten annotations of a level a step, and fifty a job; the first are the worst.
MAX_NOTICES = 50
MAX_TEXT = 1_000  # characters of one: beyond it nobody reads
_MORE = "more"  # marks the one notice that stands for those that were left out
_NAMED = 8  # findings that a reason about a whole image names
_WORST = ["deny", "unknown", "warn", "allow"]
_EXIT = {"deny": 1, "unknown": 3, "warn": 0, "allow": 0}
_CODE_QUALITY = {
    Severity.CRITICAL: "blocker", Severity.HIGH: "critical", Severity.MEDIUM: "major", Severity.LOW: "minor",
    Severity.NEGLIGIBLE: "info", Severity.UNKNOWN: "major",
}  # fmt: skip


class Notice(NamedTuple):
    """One thing that refused, or warns: where (path "" and line 0 where it is an image), what, and how grave."""

    level: Level
    path: str
    line: int
    title: str
    text: str
    severity: Severity = Severity.HIGH
    mark: str = ""


def decision(reports: Sequence[Report]) -> str:
    """Return the one decision on a build: the worst of its parts; a build of no parts is one that nobody can judge."""
    return min((report.verdict.decision for report in reports), key=_WORST.index, default="unknown")


def exit_code(reports: Sequence[Report]) -> int:
    """Return the exit code of that decision, as scan and lint have them."""
    return _EXIT[decision(reports)]


def notices(reports: Sequence[Report]) -> list[Notice]:
    """Return what refused or warns, errors first, and of those the worst. What is about a line of a file is one notice."""
    found = [notice for report in reports for notice in _of(report)]
    worst = list(Severity)
    unique = list(
        dict.fromkeys(
            sorted(found, key=lambda one: (one.level != "error", -worst.index(one.severity), one.path, one.line, one.title))
        )
    )
    if len(unique) > MAX_NOTICES:
        more = len(unique) - MAX_NOTICES + 1
        last = Notice(unique[MAX_NOTICES - 1].level, "", 0, "pratique", f"{more} more: see the job's log", mark=_MORE)
        return [*unique[: MAX_NOTICES - 1], last]
    return unique


def _of(report: Report) -> Iterable[Notice]:
    level: Level = "error" if report.verdict.decision in ("deny", "unknown") else "warning"
    by_mark = {finding.fingerprint: finding for finding in report.findings}
    if report.verdict.decision == "allow":
        return
    rules: dict[Finding, list[str]] = {}  # one finding is mended once, however many rules it breaks
    for reason in report.verdict.reasons:
        concerned = [by_mark[mark] for mark in reason.findings if mark in by_mark]
        placed = [finding for finding in concerned if finding.location is not None and finding.location.line]
        if placed and report.target.scheme == "files":
            for finding in placed:
                rules.setdefault(finding, []).append(reason.rule)
        else:
            yield _whole(level, reason, concerned, report)
    for finding, broken in rules.items():
        yield _placed(level, ", ".join(dict.fromkeys(broken)), finding)


def _placed(level: Level, rules: str, finding: Finding) -> Notice:
    place = finding.location
    assert place is not None  # those without one are told of as a whole
    text = finding.message or finding.title
    return Notice(level, place.path, place.line or 0, f"{finding.id} ({rules})", text, finding.severity, finding.fingerprint)


def _whole(level: Level, reason: Reason, concerned: Sequence[Finding], report: Report) -> Notice:
    names = [f"{one.id} in {one.package.purl}" if one.package is not None else one.id for one in concerned]
    text = reason.message
    if names:
        more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        text += f": {', '.join(names[:_NAMED])}{more}"
    severity = max((one.severity for one in concerned), key=list(Severity).index, default=Severity.HIGH)
    mark = "".join((report.target.reference, reason.rule, *sorted(reason.findings)))
    return Notice(level, "", 0, f"{report.target.reference}: {reason.rule}", text, severity, mark)


def under(found: Sequence[Notice], here: Path, root: Path) -> list[Notice]:
    """Return notices with paths as a build server reads them: from the root of its checkout, wherever the job's step runs."""

    def of(path: str) -> str:
        try:
            return str(Path(os.path.normpath(here / path)).relative_to(root))
        except ValueError:
            return path  # outside of it: nothing is shown at a line there

    return [one._replace(path=of(one.path)) if one.path else one for one in found]


def summary(found: Sequence[Notice], reports: Sequence[Report]) -> str:
    """Write what a person reads on the page of a job, in Markdown: each part with its decision, and what refused it."""
    lines = ["### pratique", "", "| decision | what |", "|---|---|"]
    lines += [f"| {report.verdict.decision} | {_cell(named(report))} |" for report in reports]
    if found:
        lines += ["", "| where | what | why |", "|---|---|---|"]
        lines += [
            f"| {_cell(f'{one.path}:{one.line}' if one.path else '')} | {_cell(one.title)} | {_cell(one.text)} |" for one in found
        ]
    return "\n".join(lines) + "\n"


def named(report: Report) -> str:
    """Return what a report is about, as people say it."""
    return report.target.reference if report.target.scheme != "files" else f"files {report.target.reference}"


def _cell(text: str) -> str:
    """Return a text that stays in its cell, and is text there: neither markup nor a link."""
    return "".join(
        f"\\{letter}" if letter in "\\`*_{}[]<>()#!|~&" else letter for letter in " ".join(safe(text)[:MAX_TEXT].split())
    )


def github(found: Sequence[Notice]) -> str:
    """Write workflow commands, one a line. What an image or a file says cannot begin another command."""
    lines = []
    for one in found:
        said = {"file": one.path, "line": str(one.line) if one.line else "", "title": one.title}
        properties = ",".join(f"{name}={_property(value)}" for name, value in said.items() if value)
        lines.append(f"::{one.level} {properties}::{_data(one.text)}")
    return "".join(line + "\n" for line in lines)


def _data(text: str) -> str:
    return safe(text)[:MAX_TEXT].replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def plain(found: Sequence[Notice]) -> str:
    """Write what a person reads in a log, and what editors and build servers find lines in: PATH:LINE: error: ..."""
    lines = []
    for one in sorted(found, key=lambda one: (one.mark == _MORE, one.level != "error", one.path, one.line)):
        where = f"{one.path}:{one.line}: " if one.path else ""
        lines.append(safe(f"{where}{one.level}: {one.title}: {' '.join(one.text.split())}")[:MAX_TEXT])
    return "".join(line + "\n" for line in lines)


def code_quality(found: Sequence[Notice]) -> bytes:
    """Write GitLab's report; what is about no file is told of at the file that the job is described by."""
    entries: list[dict[str, Any]] = [
        {
            "description": safe(f"{one.title}: {one.text}")[:MAX_TEXT],
            "check_name": safe(one.title)[:200],
            "fingerprint": hashlib.sha256(f"{one.path}\0{one.title}\0{one.mark or one.text}".encode()).hexdigest(),
            "severity": _CODE_QUALITY[one.severity],
            "location": {"path": one.path or ".gitlab-ci.yml", "lines": {"begin": max(one.line, 1)}},
        }
        for one in found
    ]
    return msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n"
