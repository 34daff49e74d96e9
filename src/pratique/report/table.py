"""Report in, a table for people out: readable at 100 columns, the worst first, what could not be seen at the end."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import msgspec

from pratique.model.finding import Finding, Severity
from pratique.model.report import Report
from pratique.report._rows import KINDS, Row, gap_lines, sections
from pratique.report.document import attested, reason_lines
from pratique.report.text import columns, cut, pad, plural, safe

WIDTH = 100
MAX_WIDTH = 400  # columns; no wider line is read by anyone
_HEADER = ("SEVERITY", "VULNERABILITY", "KEV", "PACKAGE", "INSTALLED", "FIXED IN")
# Where columns are too wide for the line, these give way, the first the most; each keeps its least width.
_GIVE_WAY = ((3, 18), (5, 12), (4, 12), (1, 19))
_LEAST_TITLE = 40  # columns; below that, a title says nothing
_COLOURS = {
    Severity.CRITICAL: "1;37;41",
    Severity.HIGH: "1;31",
    Severity.MEDIUM: "33",
    Severity.LOW: "36",
    Severity.NEGLIGIBLE: "2",
    Severity.UNKNOWN: "35",
}
_SETTLED = ("not_affected", "fixed")
_DECISIONS = {"allow": "1;32", "warn": "1;33", "deny": "1;31", "unknown": "1;35"}


class Table:
    """The `table` format. `colour` and `width` are the terminal's, if there is one."""

    name = "table"
    media_type = "text/plain; charset=utf-8"

    def __init__(self, *, colour: bool = False, width: int = WIDTH) -> None:
        self._colour = colour
        self._width = min(max(width, WIDTH), MAX_WIDTH)

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write it line by line."""
        out.writelines(line.rstrip().encode("utf-8", "backslashreplace") + b"\n" for line in self._lines(report))

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text

    def _lines(self, report: Report) -> Iterator[str]:
        yield from self._head(report)
        layers = {layer.diff_id: number for number, layer in enumerate(report.target.layers, 1)}
        parts = _parts(report)
        cells = [row.cells() for _, rows in parts for row in rows]
        room = self._width - 2 - (7 if layers else 0)
        widths, room_for_title = _widths([_HEADER, *([safe(cell) for cell in line] for line in cells)], room)
        for title, rows in parts:
            yield ""
            yield self._paint(f"{safe(title)}: {plural(len(rows), 'vulnerability', 'vulnerabilities')}", "1")
            yield from self._rows(rows, layers, widths, room_for_title)
        if any(row.finding.status == "under_investigation" for _, rows in parts for row in rows):
            yield ""
            yield "  ? under investigation: whether it holds is not known"
        if any(row.finding.status in _SETTLED for _, rows in parts for row in rows):
            yield ""
            yield "  - not affected or fixed, says a VEX statement"
        yield from self._others(report.findings)
        yield from self._waivers(report.findings)
        yield from self._vex(report)
        yield from self._layers(report)
        yield from self._gaps(report)
        yield from self._foot(report)

    def _head(self, report: Report) -> Iterator[str]:
        target = report.target
        yield self._paint(cut(safe(f"{target.scheme}:{target.reference}"), self._width), "1")
        facts = [safe(text) for text in (target.digest, target.platform) if text]
        if target.distro is not None:
            eol = target.distro.eol or ""
            ended = bool(eol) and eol < report.meta.scanned_at[:10]
            until = f", {'support ended' if ended else 'supported until'} {eol}" if eol else ""
            facts.append(safe(f"{target.distro.id} {target.distro.version}".strip() + until))
        if facts:
            yield from self._wrapped(", ".join(facts))
        kinds = Counter(package.type for package in report.packages)
        listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        layers = f"{plural(len(target.layers), 'layer')}, " if target.layers else ""
        yield f"  {layers}{plural(len(report.packages), 'package')}" + (f" ({listed})" if listed else "")

    def _wrapped(self, text: str, indent: str = "  ", hang: str = "  ") -> list[str]:
        return textwrap.wrap(
            text,
            self._width,
            initial_indent=indent,
            subsequent_indent=hang,
            break_on_hyphens=False,
            max_lines=4,
            placeholder=" …",
        )

    def _rows(self, rows: Sequence[Row], layers: dict[str, int], widths: Sequence[int], room: int) -> Iterator[str]:
        header = "".join(text.ljust(width) for text, width in zip(_HEADER, widths, strict=True))
        yield "  " + self._paint((header + ("LAYER  " if layers else "") + ("TITLE" if room else "")).rstrip(), "2")
        for row in rows:
            parts = [pad(safe(text), width - 2) + "  " for text, width in zip(row.cells(), widths, strict=True)]
            parts[0] = self._painted(parts[0], _COLOURS[row.finding.severity])
            parts[2] = self._painted(parts[2], "1;31")
            if layers:
                parts.append(_layer(row.finding, layers).rjust(5) + "  ")
            if room:
                parts.append(cut(safe(row.finding.title), room))
            yield "  " + "".join(parts)

    def _painted(self, cell: str, code: str) -> str:
        text = cell.rstrip()
        return self._paint(text, code) + " " * (len(cell) - len(text))

    def _others(self, findings: Iterable[Finding]) -> Iterator[str]:
        rest = [finding for finding in findings if finding.kind not in KINDS]
        if rest:
            yield ""
            yield self._paint("Other findings", "1")
        for finding in sorted(rest, key=lambda finding: (-finding.severity.rank, finding.kind, finding.id, finding.fingerprint)):
            word = finding.severity.value.upper()
            place = finding.location
            where = f" ({place.path}{f':{place.line}' if place.line else ''})" if place is not None and place.path else ""
            mark = " (in the baseline)" if finding.baseline == "unchanged" else ""
            text = safe(f"{finding.id}: {finding.message or finding.title}{where}{mark}")
            first, *others = self._wrapped(text, " " * 13, " " * 13)
            yield f"  {self._paint(word, _COLOURS[finding.severity])}{first[2 + len(word) :]}"
            yield from others

    def _waivers(self, findings: Iterable[Finding]) -> Iterator[str]:
        with_one = [finding for finding in findings if finding.waiver]
        if not with_one:
            return
        from pratique.report.document import waiver_note, waiver_text  # noqa: PLC0415 - most reports have none

        lines = {
            f"{finding.id}{f' {finding.package.name}' if finding.package else ''}: {waiver_text(finding) or waiver_note(finding)}"
            for finding in with_one
        }
        yield ""
        yield self._paint("Waivers", "1")
        for line in sorted(lines):
            yield from self._wrapped(safe(line), "  ", "      ")

    def _vex(self, report: Report) -> Iterator[str]:
        if report.vex is None:
            return
        from pratique.report.vex import vex_lines  # noqa: PLC0415 - most reports have none

        yield ""
        yield self._paint("VEX statements", "1")
        for line in vex_lines(report):
            yield from self._wrapped(safe(line), "  ", "      ")

    def _layers(self, report: Report) -> Iterator[str]:
        used = {finding.location.layer for finding in report.findings if finding.location is not None}
        named = [(number, layer) for number, layer in enumerate(report.target.layers, 1) if layer.diff_id in used]
        if named:
            yield ""
            yield self._paint("Layers", "1")
        for number, layer in named:
            what = safe(" ".join(layer.created_by.split())) or "(the image does not say what made it)"
            yield f"  {number:>3}  {safe(layer.diff_id)[:19]}  {cut(what, self._width - 28)}"

    def _gaps(self, report: Report) -> Iterator[str]:
        if report.problems:
            yield ""
            yield self._paint(f"What could not be examined or known: {len(report.problems):,}", "1;33")
        for line in gap_lines(report.problems):
            yield from self._wrapped(safe(line), "  ", "      ")

    def _foot(self, report: Report) -> Iterator[str]:
        shown = [finding for finding in report.findings if finding.kind in KINDS]
        counts = Counter(finding.severity for finding in shown)
        parts = [self._paint(f"{counts[s]:,} {s.value}", _COLOURS[s]) for s in reversed(Severity) if counts[s]]
        yield ""
        if shown:
            exploited = sum(finding.kev for finding in shown)
            fixable = sum(bool(finding.fixed_in) for finding in shown)
            total = plural(len(shown), "vulnerability", "vulnerabilities")
            yield f"Total: {total} ({', '.join(parts)})"
            settled = sum(finding.status in _SETTLED for finding in shown)
            more = f", {settled:,} not affected or fixed" if settled else ""
            yield f"       {fixable:,} with a fix, {exploited:,} known to be exploited{more}"
        else:
            yield "Total: no vulnerabilities"
        if report.attestations is not None:
            yield from self._wrapped(safe(f"Attestations: {attested(report)}"), "", "  ")
        yield _database(report)
        decision = report.verdict.decision
        incomplete = "" if report.complete else ", from an incomplete inspection"
        until = f", until {report.verdict.until}" if report.verdict.until and decision in ("allow", "warn") else ""
        yield f"Verdict: {self._paint(decision, _DECISIONS[decision])}{incomplete}{until}"
        for line in reason_lines(report.verdict):
            yield from self._wrapped(safe(line), "  ", "      ")


def _parts(report: Report) -> list[tuple[str, list[Row]]]:
    """Return the sections; with a baseline, what is new first, and then what it has as well."""
    if report.baseline is None:
        return sections(report)
    found = []
    for word, wanted in (("new", False), ("in the baseline", True)):
        findings = tuple(finding for finding in report.findings if (finding.baseline == "unchanged") is wanted)
        part = msgspec.structs.replace(report, findings=findings)
        found += [(f"{title}, {word}", rows) for title, rows in sections(part)]
    return found


def _widths(lines: Sequence[Sequence[str]], room: int) -> tuple[list[int], int]:
    """Return the width of each column, two spaces included, and what is left for a title (0 where that is too little)."""
    widths = [max(map(columns, column)) + 2 for column in zip(*lines, strict=True)]
    for place, least in _GIVE_WAY:
        excess = sum(widths) - room
        if excess > 0:
            widths[place] = max(min(widths[place], least + 2), widths[place] - excess)
    left = room - sum(widths)
    return widths, left if left >= _LEAST_TITLE else 0


def _layer(finding: Finding, layers: dict[str, int]) -> str:
    number = layers.get(finding.location.layer) if finding.location else None
    return str(number) if number else ""


def _database(report: Report) -> str:
    database = report.meta.database
    if database.kind == "none":
        return "Advisories: none"
    what = "the shipped starter set only" if database.kind == "starter" else plural(len(database.sources), "source")
    since = min((source.fetched_at for source in database.sources if source.fetched_at), default=database.built_at)
    age = _age(since, report.meta.scanned_at)
    return f"Advisories: {what}" + (f", {age}" if age else "")


def _age(since: str, now: str) -> str:
    import datetime as dt  # noqa: PLC0415 - only where there is a database

    try:
        age = dt.datetime.fromisoformat(now) - dt.datetime.fromisoformat(since)
    except (ValueError, TypeError):
        return ""
    hours = age.total_seconds() / 3600
    if hours < 1:
        return "less than an hour old"
    return f"{plural(int(hours), 'hour')} old" if hours < 48 else f"{plural(age.days, 'day')} old"


REPORTER = Table()
