"""Report in, a table for people out: readable at 100 columns, the worst first, what could not be seen at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from pratique.model.finding import Finding, Severity
from pratique.model.inventory import Gap, Package
from pratique.model.report import Report
from pratique.report.text import cut, safe

WIDTH = 100
MAX_GAPS = 20  # lines; the JSON document has them all
_COLOURS = {
    Severity.CRITICAL: "1;37;41",
    Severity.HIGH: "1;31",
    Severity.MEDIUM: "33",
    Severity.LOW: "36",
    Severity.NEGLIGIBLE: "2",
    Severity.UNKNOWN: "35",
}
_DECISIONS = {"allow": "1;32", "warn": "1;33", "deny": "1;31", "unknown": "1;35"}


class _Row(NamedTuple):
    """One line: the same vulnerability in the binary packages of one source, or in one package."""

    finding: Finding
    packages: tuple[str, ...]


class Table:
    """The `table` format. `colour` and `width` are the terminal's, if there is one."""

    name = "table"
    media_type = "text/plain; charset=utf-8"

    def __init__(self, *, colour: bool = False, width: int = WIDTH) -> None:
        self._colour = colour
        self._width = max(width, WIDTH)

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write it line by line."""
        for line in self._lines(report):
            out.write(line.rstrip().encode("utf-8", "backslashreplace") + b"\n")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _lines(self, report: Report) -> Iterator[str]:
        yield from self._head(report)
        layers = {layer.diff_id: number for number, layer in enumerate(report.target.layers, 1)}
        for title, rows in _sections(report):
            yield ""
            yield self._paint(f"{title}: {_plural(len(rows), 'vulnerability', 'vulnerabilities')}", "1")
            yield from self._rows(rows, layers)
        yield from self._others(report.findings)
        yield from self._layers(report)
        yield from self._gaps(report.problems)
        yield from self._foot(report)

    def _head(self, report: Report) -> Iterator[str]:
        target = report.target
        yield self._paint(safe(f"{target.scheme}:{target.reference}"), "1")
        facts = [safe(text) for text in (target.digest, target.platform) if text]
        if target.distro is not None:
            until = f", supported until {target.distro.eol}" if target.distro.eol else ""
            facts.append(safe(f"{target.distro.id} {target.distro.version}".strip() + until))
        if facts:
            yield "  " + ", ".join(facts)
        kinds = Counter(package.type for package in report.packages)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        layers = f"{_plural(len(target.layers), 'layer')}, " if target.layers else ""
        yield f"  {layers}{_plural(len(report.packages), 'package')}" + (f" ({listed})" if listed else "")

    def _rows(self, rows: Sequence[_Row], layers: dict[str, int]) -> Iterator[str]:
        extra = self._width - WIDTH
        widths = (10, 20, 4, 24 + extra, 17, 17)
        header = ("SEVERITY", "VULNERABILITY", "KEV", "PACKAGE", "INSTALLED", "FIXED IN")
        yield "  " + "".join(text.ljust(width) for text, width in zip(header, widths, strict=True)) + "LAYER"
        for row in rows:
            finding = row.finding
            cells = (
                finding.severity.value.upper() if finding.status == "affected" else "?" + finding.severity.value.upper(),
                finding.id,
                "KEV" if finding.kev else "",
                ", ".join(row.packages),
                finding.package.version if finding.package else "",
                ", ".join(finding.fixed_in) or _unfixed(finding),
            )
            texts = [cut(safe(cell), width - 1).ljust(width) for cell, width in zip(cells, widths, strict=True)]
            texts[0] = self._paint(texts[0].rstrip(), _COLOURS[finding.severity]) + " " * (widths[0] - len(texts[0].rstrip()))
            if finding.kev:
                texts[2] = self._paint("KEV", "1;31") + " "
            place = layers.get(finding.location.layer) if finding.location else None
            yield "  " + "".join(texts) + (f"{place:>3}" if place else "")

    def _others(self, findings: Iterable[Finding]) -> Iterator[str]:
        rest = [finding for finding in findings if finding.kind not in ("vulnerability", "malware")]
        if rest:
            yield ""
            yield self._paint("Other findings", "1")
        for finding in rest:
            label = self._paint(finding.severity.value.upper(), _COLOURS[finding.severity])
            yield f"  {label} {safe(finding.id)}: {safe(finding.message or finding.title)}"

    def _layers(self, report: Report) -> Iterator[str]:
        used = {finding.location.layer for finding in report.findings if finding.location is not None}
        named = [(number, layer) for number, layer in enumerate(report.target.layers, 1) if layer.diff_id in used]
        if named:
            yield ""
            yield self._paint("Layers", "1")
        for number, layer in named:
            what = safe(" ".join(layer.created_by.split())) or "(the image does not say what made it)"
            yield f"  {number:>3}  {layer.diff_id[:19]}  {cut(what, self._width - 28)}"

    def _gaps(self, gaps: Sequence[Gap]) -> Iterator[str]:
        if not gaps:
            return
        yield ""
        yield self._paint(f"What could not be examined or known: {len(gaps)}", "1")
        for gap in gaps[:MAX_GAPS]:
            where = f" ({gap.path})" if gap.path else ""
            yield f"  {gap.code}: {safe(gap.message)}{safe(where)}"
        if len(gaps) > MAX_GAPS:
            yield f"  and {len(gaps) - MAX_GAPS} more; --format json lists all"

    def _foot(self, report: Report) -> Iterator[str]:
        shown = [finding for finding in report.findings if finding.kind in ("vulnerability", "malware")]
        counts = Counter(finding.severity for finding in shown)
        parts = [f"{counts[severity]} {severity.value}" for severity in reversed(Severity) if counts[severity]]
        exploited = sum(finding.kev for finding in shown)
        fixable = sum(bool(finding.fixed_in) for finding in shown)
        yield ""
        total = f"Total: {_plural(len(shown), 'vulnerability', 'vulnerabilities')}"
        yield total + (f" ({', '.join(parts)}); {fixable} with a fix, {exploited} known to be exploited" if shown else "")
        database = report.meta.database
        kind = {"full": "database", "starter": "starter set only", "none": "none"}[database.kind]
        yield f"Advisories: {kind}" + (f", of {database.built_at[:10]}" if database.built_at else "") + _plural_sources(report)
        complete = "" if report.complete else ", incomplete"
        yield f"Verdict: {self._paint(report.verdict.decision, _DECISIONS[report.verdict.decision])}{complete}"
        for reason in report.verdict.reasons:
            yield f"  {reason.rule}: {safe(reason.message)}"


def _plural_sources(report: Report) -> str:
    count = len(report.meta.database.sources)
    return f", {_plural(count, 'source')}" if count else ""


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _unfixed(finding: Finding) -> str:
    state = finding.because.state if finding.because is not None else ""
    return {"wont-fix": "(won't fix)", "end-of-life": "(end of life)"}.get(state, "(none yet)")


def _sections(report: Report) -> list[tuple[str, list[_Row]]]:
    """Group by ecosystem, the distribution's first; in each the exploited first, then by severity."""
    sections: dict[str, dict[tuple[str, ...], list[Finding]]] = {}
    packages: dict[str, Package] = {package.purl: package for package in report.packages}
    for finding in report.findings:
        if finding.kind not in ("vulnerability", "malware") or finding.package is None:
            continue
        of = finding.package
        source = of.source or of.name
        key = (finding.id, source, of.version, ",".join(finding.fixed_in))
        known = packages.get(of.purl)
        same = known is not None and known.type in ("deb", "apk", "rpm")
        sections.setdefault(of.ecosystem or "other", {}).setdefault(key if same else (*key, of.purl), []).append(finding)
    distro = report.target.distro
    named = []
    for ecosystem, grouped in sections.items():
        rows = [_Row(group[0], _names(group)) for group in grouped.values()]
        rows.sort(key=lambda row: (not row.finding.kev, -row.finding.severity.rank, _score(row.finding), row.finding.id))
        is_os = distro is not None and any(len(key) == 4 for key in grouped)
        title = f"{distro.id} {distro.version}".strip() if is_os and distro is not None else ecosystem
        named.append((not is_os, safe(title), rows))
    named.sort(key=lambda item: item[:2])
    return [(title, rows) for _, title, rows in named]


def _names(group: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(sorted({finding.package.name for finding in group if finding.package is not None}))


def _score(finding: Finding) -> float:
    return -(finding.epss.score if finding.epss is not None else 0.0)


REPORTER = Table()
