"""A report of `pratique lint` in, a table for people out: file by file, in the order of the lines."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO

from pratique.model.finding import Finding, Severity
from pratique.model.report import Report
from pratique.report._rows import gap_lines
from pratique.report.document import reason_lines, waiver_text
from pratique.report.text import plural, safe

WIDTH = 100
_COLOURS = {"critical": "1;37;41", "high": "1;31", "medium": "33", "low": "36", "negligible": "2", "unknown": "35"}
_DECISIONS = {"allow": "1;32", "warn": "1;33", "deny": "1;31", "unknown": "1;35"}
_HANG = 18  # columns before the text: severity and line


class LintTable:
    """The `table` format of what has files and lines instead of packages."""

    name = "table"
    media_type = "text/plain; charset=utf-8"

    def __init__(self, *, colour: bool = False, width: int = WIDTH) -> None:
        self._colour = colour
        self._width = max(width, 60)

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write it line by line."""
        out.writelines(line.rstrip().encode("utf-8", "backslashreplace") + b"\n" for line in self._lines(report))

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _lines(self, report: Report) -> Iterator[str]:
        for path, findings in groupby(report.findings, lambda finding: finding.location.path if finding.location else ""):
            yield self._paint(safe(path), "1")
            for finding in findings:
                yield from self._finding(finding)
            yield ""
        if report.problems:
            yield self._paint(f"What could not be examined: {len(report.problems):,}", "1;33")
            for line in gap_lines(report.problems):
                yield from textwrap.wrap(safe(line), self._width, initial_indent="  ", subsequent_indent="      ")
            yield ""
        yield from self._foot(report)

    def _finding(self, finding: Finding) -> Iterator[str]:
        word = finding.severity.value
        line = finding.location.line if finding.location else 0
        head = f"  {word.upper():<10} {line:>4} "
        waived = waiver_text(finding)
        text = safe(f"{finding.id}: {finding.message}" + (f" [{waived}]" if waived else ""))
        first, *others = textwrap.wrap(text, self._width - _HANG, break_on_hyphens=False) or [""]
        yield head.replace(word.upper(), self._paint(word.upper(), _COLOURS[word]), 1) + first
        yield from (" " * _HANG + other for other in others)

    def _foot(self, report: Report) -> Iterator[str]:
        counts = Counter(finding.severity for finding in report.findings)
        parts = ", ".join(f"{counts[severity]:,} {severity.value}" for severity in reversed(Severity) if counts[severity])
        yield f"Total: {plural(len(report.findings), 'finding')}" + (f" ({parts})" if parts else "")
        decision = report.verdict.decision
        incomplete = "" if report.complete else ", from an incomplete inspection"
        until = f", until {report.verdict.until}" if report.verdict.until and decision in ("allow", "warn") else ""
        yield f"Verdict: {self._paint(decision, _DECISIONS[decision])}{incomplete}{until}"
        yield from (safe(f"  {line}") for line in reason_lines(report.verdict))
