"""Differences in, text for people out: what is introduced first, each with its cause and what mends it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pratique.model.change import Diff, FindingChange, PackageChange
from pratique.model.finding import Finding, Severity
from pratique.report.diff import Compared, about, cause_text, causes_text, side_text, what_changed
from pratique.report.document import fix_of
from pratique.report.text import cut, plural, safe

WIDTH, MAX_WIDTH = 100, 400
_COLOURS = {
    Severity.CRITICAL: "1;37;41",
    Severity.HIGH: "1;31",
    Severity.MEDIUM: "33",
    Severity.LOW: "36",
    Severity.NEGLIGIBLE: "2",
    Severity.UNKNOWN: "35",
}
_DECISIONS = {"allow": "1;32", "warn": "1;33", "deny": "1;31", "unknown": "1;35"}
_HANG = " " * 13


class Table:
    """The `table` format. `colour` and `width` are the terminal's, if there is one."""

    name = "table"
    media_type = "text/plain; charset=utf-8"

    def __init__(self, *, colour: bool = False, width: int = WIDTH) -> None:
        self._colour = colour
        self._width = min(max(width, WIDTH), MAX_WIDTH)

    def write(self, compared: Compared, out: BinaryIO) -> None:
        """Write it line by line."""
        lines = self._lines(compared.diff)
        out.writelines(line.rstrip().encode("utf-8", "backslashreplace") + b"\n" for line in lines)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text

    def _wrapped(self, text: str, indent: str, hang: str) -> list[str]:
        return textwrap.wrap(
            safe(text),
            self._width,
            initial_indent=indent,
            subsequent_indent=hang,
            break_on_hyphens=False,
            max_lines=5,
            placeholder=" …",
        )

    def _lines(self, diff: Diff) -> Iterator[str]:
        yield from self._wrapped(f"old  {side_text(diff.old)}", "", "     ")
        yield from self._wrapped(f"new  {side_text(diff.new)}", "", "     ")
        notes = [
            word for word, holds in (("the same image", diff.same_image), ("the same database", diff.same_database)) if holds
        ]
        if notes:
            yield f"     {', '.join(notes)}"
        fresh = [change for change in diff.findings if change.introduced]
        yield from self._findings("Introduced", fresh)
        rest = [change for change in diff.findings if not change.introduced]
        yield from self._findings("Gone", [change for change in rest if change.change == "removed"])
        yield from self._findings("Other changes of findings", [change for change in rest if change.change != "removed"])
        yield from self._packages(diff.packages)
        yield from self._layers(diff)
        yield from self._gaps(diff)
        yield from self._foot(diff, fresh)

    def _findings(self, title: str, changes: Sequence[FindingChange]) -> Iterator[str]:
        if changes:
            yield ""
            yield self._paint(f"{title}: {len(changes):,}", "1")
        for change in changes:
            yield from self._finding(change, remedy=change.introduced)

    def _finding(self, change: FindingChange, *, remedy: bool) -> Iterator[str]:
        finding = about(change)
        word = finding.severity.value.upper()
        kev = " KEV" if finding.kev else ""
        title = f"{finding.id}{kev}  {_where(finding)}  {what_changed(change)}".rstrip()
        first, *others = self._wrapped(title, _HANG, _HANG) or [_HANG]
        yield f"  {self._paint(word, _COLOURS[finding.severity])}{first[2 + len(word) :]}"
        yield from others
        yield from self._wrapped(cause_text(change.cause), _HANG, _HANG + "  ")
        place = finding.location
        if remedy and place is not None and (place.instruction or place.layer):
            made = " ".join(place.instruction.split())
            yield _HANG + cut(safe(f"brought by {made or place.layer}"), self._width - len(_HANG))
        if remedy and finding.package is not None:
            yield from self._wrapped(fix_of(finding), _HANG, _HANG)

    def _packages(self, changes: Sequence[PackageChange]) -> Iterator[str]:
        if not changes:
            return
        yield ""
        yield self._paint(f"Packages: {len(changes):,} changed", "1")
        for change in changes:
            versions = [state.version if state is not None else "" for state in (change.old, change.new)]
            arrow = " -> ".join(filter(None, versions))
            told = "" if change.cause.kind == "image" else f"  ({cause_text(change.cause)})"
            yield from self._wrapped(f"{change.change:<10} {change.type} {change.name} {arrow}{told}", "  ", _HANG)

    def _layers(self, diff: Diff) -> Iterator[str]:
        if not diff.layers:
            return
        yield ""
        yield self._paint(f"Layers: {len(diff.layers):,} changed", "1")
        for change in diff.layers:
            what = safe(" ".join(change.layer.created_by.split())) or "(the image does not say what made it)"
            line = f"  {change.change:<10} {change.index + 1:>3}  {safe(change.layer.diff_id)[:19]}  {what}"
            yield cut(line, self._width)

    def _gaps(self, diff: Diff) -> Iterator[str]:
        if not diff.problems:
            return
        yield ""
        yield self._paint(f"What could not be examined or known: {len(diff.problems):,} changed", "1;33")
        for change in diff.problems:
            where = change.gap.path or change.gap.package or change.gap.source
            said = change.gap.message + (f" ({where})" if where and where not in change.gap.message else "")
            yield from self._wrapped(f"{change.change:<10} {change.gap.code}: {said}; {cause_text(change.cause)}", "  ", _HANG)

    def _foot(self, diff: Diff, fresh: Sequence[FindingChange]) -> Iterator[str]:
        gone = sum(change.change == "removed" for change in diff.findings)
        rest = len(diff.findings) - len(fresh) - gone
        yield ""
        yield f"Total: {plural(len(fresh), 'finding')} introduced, {gone:,} gone, {rest:,} otherwise changed"
        if counted := causes_text(diff):
            yield f"       by cause: {counted}"
        if (verdicts := diff.verdict) is not None:
            rules = [*(f"+{rule}" for rule in verdicts.added), *(f"-{rule}" for rule in verdicts.removed)]
            named = f" ({', '.join(rules)})" if rules else ""
            told = f"Verdicts: {verdicts.old}, then {verdicts.new}{named}; {cause_text(verdicts.cause)}"
            yield from self._wrapped(told, "", "       ")
        yield f"On what is new: {self._paint(diff.gate.decision, _DECISIONS[diff.gate.decision])}"
        for reason in diff.gate.reasons:
            yield from self._wrapped(f"{reason.rule}: {reason.message}", "  ", "      ")


def _where(finding: Finding) -> str:
    package, place = finding.package, finding.location
    if package is not None:
        return f"{package.name} {package.version}"
    return f"{place.path}{f':{place.line}' if place.line else ''}" if place is not None and place.path else finding.title


REPORTER = Table()
