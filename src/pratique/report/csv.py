"""Report in, one line a finding out, as spreadsheets read them: RFC 4180, UTF-8, no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from pratique.model.finding import Finding
from pratique.model.report import Report
from pratique.report.document import fix_of, score_of, waiver_note, waiver_text, worst_first
from pratique.report.text import safe

COLUMNS = (
    "kind", "id", "severity", "status", "kev", "epss", "cvss", "package", "version", "fixed_in", "ecosystem", "purl",
    "path", "line", "layer", "instruction", "title", "remedy", "aliases", "reference", "published", "waiver", "fingerprint",
    "baseline",
)  # fmt: skip
# A cell that begins so is a formula to Excel, LibreOffice or Google Sheets: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")


class _Csv:
    name = "csv"
    media_type = "text/csv; charset=utf-8; header=present"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write a head and one line a finding, the worst first."""
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        writer.writerows([guarded(cell) for cell in _cells(finding)] for finding in worst_first(report))
        out.write(lines.getvalue().encode("utf-8", "backslashreplace"))


def guarded(text: str) -> str:
    """Return text that a spreadsheet shows and does not run."""
    shown = safe(text)
    return f"'{shown}" if shown.lstrip(" ").startswith(_FORMULA) else shown


def _cells(finding: Finding) -> Iterator[str]:
    package, place, score = finding.package, finding.location, score_of(finding)
    yield from (finding.kind, finding.id, finding.severity.value, finding.status, "true" if finding.kev else "")
    yield f"{finding.epss.score:.5f}" if finding.epss is not None else ""
    yield f"{score:.1f}" if score is not None else ""
    yield from (package.name, package.version) if package is not None else ("", "")
    yield " ".join(finding.fixed_in)
    yield from (package.ecosystem, package.purl) if package is not None else ("", "")
    yield from (place.path, str(place.line or ""), place.layer, place.instruction) if place is not None else ("", "", "", "")
    yield from (finding.title or finding.message, fix_of(finding), " ".join(finding.aliases), next(iter(finding.references), ""))
    yield from (finding.published, waiver_text(finding) or waiver_note(finding), finding.fingerprint, finding.baseline)


REPORTER = _Csv()
