"""Differences in, Markdown for a comment on a pull request out: what the change introduces, why, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pratique.model.change import Diff, FindingChange, PackageChange
from pratique.report.diff import Compared, about, cause_text, causes_text, side_text, what_changed
from pratique.report.document import fix_of, is_link
from pratique.report.markdown import MAX_BYTES, literal
from pratique.report.text import cut, plural, safe

OPEN_ROWS = 15  # rows shown unfolded
MAX_CELL = 120  # characters of one cell
_DECISIONS = {
    "allow": "✅ nothing new is refused",
    "warn": "⚠️ allowed with warnings",
    "deny": "⛔ refused for what is new",
    "unknown": "❔ could not tell",
}
_FINDINGS = ("| Severity | Finding | Where | Layer | Cause | Remedy |", "|---|---|---|---|---|---|")
_PACKAGES = ("| Change | Package | Old | New |", "|---|---|---|---|")
_ROOM = 800  # bytes for folds, headings and the line that says what is left out


class _Markdown:
    name = "markdown"
    media_type = "text/markdown; charset=utf-8"

    def write(self, compared: Compared, out: BinaryIO) -> None:
        """Write as much as fits into a comment, and say how much did not."""
        out.write("".join(_bounded(compared.diff)).encode("utf-8", "backslashreplace"))


def _cell(text: str, width: int = MAX_CELL) -> str:
    return literal(cut(safe(" ".join(text.split())), width))


def _bounded(diff: Diff) -> Iterator[str]:
    head = "\n".join(_top(diff)) + "\n"
    yield head
    left = MAX_BYTES - _size(head) - _ROOM
    hidden = 0
    fresh = [change for change in diff.findings if change.introduced]
    gone = [change for change in diff.findings if change.change == "removed"]
    rest = [change for change in diff.findings if not change.introduced and change.change != "removed"]
    parts: list[tuple[str, Sequence[str], list[str], int]] = [
        ("introduced", _FINDINGS, [_finding(change) for change in fresh], OPEN_ROWS),
        ("gone", _FINDINGS, [_finding(change) for change in gone], 0),
        ("otherwise changed", _FINDINGS, [_finding(change) for change in rest], 0),
        ("packages changed", _PACKAGES, [_package(change) for change in diff.packages], 0),
    ]
    for name, columns, rows, opened in parts:
        shown = _fitting(rows, left)
        left -= sum(_size(row) + 1 for row in shown)
        hidden += len(rows) - len(shown)
        if shown[:opened]:
            yield "\n" + "\n".join([*columns, *shown[:opened]]) + "\n"
        if shown[opened:]:
            more = f"{len(shown) - opened} more" if opened else f"{len(rows)} {name}"
            yield f"\n<details>\n<summary>{more}</summary>\n\n"
            yield "\n".join([*columns, *shown[opened:]]) + "\n\n</details>\n"
    if hidden:
        yield f"\n{hidden} lines are left out here: a comment cannot be longer. The JSON document has them all.\n"
    yield f"\n<sub>pratique {literal(diff.new.version)}, {literal(diff.new.scanned_at)}</sub>\n"


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


def _top(diff: Diff) -> Iterator[str]:
    yield f"### pratique: {_DECISIONS[diff.gate.decision]}"
    yield ""
    yield f"{_cell(side_text(diff.old), 300)}<br>→ **{_cell(side_text(diff.new), 300)}**"
    for reason in diff.gate.reasons[:10]:
        yield f"\n- **{_cell(reason.rule)}**: {_cell(reason.message, 300)}"
    gone = sum(change.change == "removed" for change in diff.findings)
    fresh = sum(change.introduced for change in diff.findings)
    yield ""
    causes = causes_text(diff)
    yield f"**{plural(fresh, 'finding')} introduced**, {gone} gone" + (f" (by cause: {causes})" if causes else "")
    if diff.problems:
        yield f"\n{plural(len(diff.problems), 'change')} in what could not be examined or known"


def _finding(change: FindingChange) -> str:
    finding = about(change)
    link = next((text for text in finding.references if is_link(text)), "")
    name = _cell(finding.id)
    if link and not set("()<>| ").intersection(link):
        name = f"[{name}]({link})"
    package, place = finding.package, finding.location
    where = f"{package.name} {package.version}" if package is not None else place.path if place is not None else ""
    made = " ".join(place.instruction.split()) or place.layer[:19] if place is not None else ""
    cells = [
        finding.severity.value + (" **exploited**" if finding.kev else ""),
        name + (f"<br>{_cell(what_changed(change))}" if change.fields else ""),
        _cell(where),
        _cell(made, 60),
        _cell(cause_text(change.cause), 160),
        _cell(fix_of(finding)) if change.introduced and package is not None else "",
    ]
    return f"| {' | '.join(cells)} |"


def _package(change: PackageChange) -> str:
    versions = [_cell(state.version) if state is not None else "" for state in (change.old, change.new)]
    return f"| {change.change} | {_cell(change.type)} {_cell(change.name)} | {versions[0]} | {versions[1]} |"


REPORTER = _Markdown()
