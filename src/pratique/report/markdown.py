"""Report in, Markdown out, made for a comment on a pull request: the worst first, the rest folded, never too long to post.

https://github.github.com/gfm/; text from an image is shown as it is: it makes no link, no mention, no markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pratique.model.finding import Finding, Severity
from pratique.model.report import Report
from pratique.report.document import (
    VULNERABLE,
    counts,
    fix_of,
    is_link,
    known,
    name_of,
    rules_of,
    vex_text,
    waiver_note,
    waiver_text,
    worst_first,
)
from pratique.report.text import cut, safe

MAX_BYTES = 64_000  # GitHub refuses comments of more than 65,536 characters, GitLab of more than 1,000,000
OPEN_ROWS = 10  # shown unfolded
MAX_CELL = 120  # characters of one cell
_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "`*_{}[]()+!|~$"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "\\": "&#92;", "#": "&#35;"}
)
_AUTOLINK = re.compile(r"(?i)(://|www\.|GH-(?=\d))")
_HEAD = ("| Severity | Vulnerability | Package | Installed | Fixed in |", "|---|---|---|---|---|")
_MARKS = {
    Severity.CRITICAL: "🟣",
    Severity.HIGH: "🔴",
    Severity.MEDIUM: "🟠",
    Severity.LOW: "🟡",
    Severity.NEGLIGIBLE: "⚪",
    Severity.UNKNOWN: "⚪",
}
_DECISIONS = {"allow": "✅ allowed", "warn": "⚠️ allowed with warnings", "deny": "⛔ refused", "unknown": "❔ could not tell"}


class _Markdown:
    name = "markdown"
    media_type = "text/markdown; charset=utf-8"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write as much as fits, and say how much did not."""
        out.write("".join(_bounded(report)).encode("utf-8", "backslashreplace"))


def literal(text: str) -> str:
    """Write text so that it shows as it is, whatever stands in it."""
    return _AUTOLINK.sub(lambda match: match[0][:-1] + f"&#{ord(match[0][-1])};", safe(text).translate(_ESCAPES))


def _cell(text: str, width: int = MAX_CELL) -> str:
    return literal(cut(safe(text), width))


def _bounded(report: Report) -> Iterator[str]:
    findings = worst_first(report)
    head = "\n".join(_top(report)) + "\n"
    tail = "\n".join(_bottom(report)) + "\n"
    left = MAX_BYTES - _size(head) - _size(tail) - 500  # for the folds and the line that says what is left out
    yield head
    rows = [_row(group) for group in _grouped(findings)]
    opened = min(OPEN_ROWS, sum(not known(group[0]) for group in _grouped(findings))) if report.baseline else OPEN_ROWS
    rest = [f"- {_other(finding)}" for finding in findings if finding.kind not in VULNERABLE]
    shown = _fitting(rest, left // 4)
    left -= sum(map(_size, shown)) + len(shown)
    if shown:
        yield "\n" + "\n".join(shown) + "\n"
    fitting = _fitting(rows, left)
    if fitting[:opened]:
        yield "\n" + "\n".join([*_HEAD, *fitting[:opened]]) + "\n"
    if len(fitting) > opened:
        yield f"\n<details>\n<summary>{len(fitting) - opened} more</summary>\n\n"
        yield "\n".join([*_HEAD, *fitting[opened:]]) + "\n\n</details>\n"
    hidden = len(rows) - len(fitting) + len(rest) - len(shown)
    if hidden:
        yield f"\n{hidden} lines are left out here: a comment cannot be longer. The JSON and HTML reports have them all.\n"
    yield tail


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


def _fitting(lines: Sequence[str], budget: int) -> list[str]:
    found = []
    for line in lines:
        budget -= _size(line) + 1
        if budget < 0:
            break
        found.append(line)
    return found


def _top(report: Report) -> Iterator[str]:
    target = report.target
    yield f"### pratique: {_DECISIONS[report.verdict.decision]}"
    yield ""
    facts = [literal(fact) for fact in (target.platform, f"{target.distro.id} {target.distro.version}" if target.distro else "")]
    yield ", ".join([f"**{_cell(name_of(target), 200)}**", *filter(None, facts), f"{len(report.packages)} packages"])
    if target.digest:
        yield f"<br>{literal(target.digest)}"
    for rule, _, messages in rules_of(report.verdict)[:OPEN_ROWS]:
        more = f" (and {len(messages) - 1:,} more)" if len(messages) > 1 else ""
        yield f"\n- **{_cell(rule)}**: {_cell(messages[0], 300)}{more}"
    yield ""
    shown = [finding for finding in report.findings if finding.kind in VULNERABLE]
    found = [f"{_MARKS[severity]} {number} {severity.value}" for severity, number in counts(report).items()]
    fixable, exploited = sum(bool(item.fixed_in) for item in shown), sum(item.kev for item in shown)
    if found:
        yield " · ".join([*found, f"{fixable} with a fix", f"{exploited} known to be exploited"])
    else:
        yield "No vulnerabilities found."


def _grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Put binary packages of one source package into one line, as the table does."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        if finding.kind in VULNERABLE:
            of = finding.package
            what = (of.source or of.name, of.version) if of is not None else ()
            key = (
                finding.id,
                what,
                finding.severity,
                finding.status,
                finding.fixed_in,
                waiver_text(finding) or waiver_note(finding),
                known(finding),
            )
            groups.setdefault(key, []).append(finding)
    return list(groups.values())


def _row(group: Sequence[Finding]) -> str:
    finding = group[0]
    package = finding.package
    names = sorted({item.package.name for item in group if item.package is not None})
    link = next((text for text in finding.references if is_link(text)), "")
    name = _cell(finding.id)
    if link and not set("()<>| ").intersection(link):
        name = f"[{name}]({link})"
    settled = finding.status in ("not_affected", "fixed")
    marks = [f" ({_cell(vex_text(finding) or finding.status.replace('_', ' '), 120)})" if settled else ""]
    marks += [
        " **exploited**" if finding.kev else "",
        " (under investigation)" if finding.status == "under_investigation" else "",
    ]
    marks.append(f" ({_cell(waiver_text(finding) or waiver_note(finding), 60)})" if finding.waiver else "")
    marks.append(" (in the baseline)" if known(finding) else "")
    cells = [
        f"{_MARKS[finding.severity]} {finding.severity.value}",
        name + "".join(marks),
        _cell(", ".join(names)),
        _cell(package.version if package else ""),
        _cell(", ".join(finding.fixed_in)) or "none yet",
    ]
    return f"| {' | '.join(cells)} |"


def _other(finding: Finding) -> str:
    where = f" in {_cell(finding.location.path)}" if finding.location is not None and finding.location.path else ""
    said = finding.message or finding.title or fix_of(finding)
    return f"{_MARKS[finding.severity]} {finding.severity.value} {_cell(finding.id)}{where}: {_cell(said, 300)}"


def _bottom(report: Report) -> Iterator[str]:
    if report.problems:
        yield f"\n<details>\n<summary>{len(report.problems)} things could not be examined or known</summary>\n"
        for gap in report.problems[:OPEN_ROWS]:
            yield f"- {literal(gap.code)}: {_cell(gap.message, 200)} {_cell(gap.path)}".rstrip()
        if len(report.problems) > OPEN_ROWS:
            yield f"- and {len(report.problems) - OPEN_ROWS} more"
        yield "\n</details>"
    database = report.meta.database
    of = f", advisories of {database.built_at[:10]}" if database.built_at else ""
    yield f"\n<sub>pratique {literal(report.meta.version)}, {literal(report.meta.scanned_at)}{of}</sub>"


REPORTER = _Markdown()
