"""Findings in, rows and sections of the table out: what belongs together is one row, the worst stands first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pratique.model.finding import Finding
from pratique.model.inventory import Gap, Package
from pratique.model.report import Report

KINDS = ("vulnerability", "malware")
_NAMES = 3  # binary packages of one source that a row names; the rest is counted
_A_CODE = 3  # lines for one code of gaps, before the rest is counted: the JSON document has them all

_MARKS = {"under_investigation": "?", "not_affected": "-", "fixed": "-"}


class Row(NamedTuple):
    """One line: the same vulnerability in the binary packages of one source, or in one package of a language."""

    finding: Finding
    packages: tuple[str, ...]

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Return severity, id, KEV mark, packages, installed version and fixed versions as text."""
        finding = self.finding
        names = ", ".join(self.packages[:_NAMES])
        more = len(self.packages) - _NAMES
        return (
            finding.severity.value.upper() + _MARKS.get(finding.status, ""),
            finding.id,
            "KEV" if finding.kev else "",
            f"{names} +{more}" if more > 0 else names,
            finding.package.version if finding.package else "",
            ", ".join(finding.fixed_in) or _unfixed(finding),
        )


def _unfixed(finding: Finding) -> str:
    if finding.kind == "malware":
        return "(remove it)"
    state = finding.because.state if finding.because is not None else ""
    return {"wont-fix": "(won't fix)", "end-of-life": "(end of life)"}.get(state, "(none yet)")


def sections(report: Report) -> list[tuple[str, list[Row]]]:
    """Group by ecosystem, the distribution's first; in each the exploited first, then by severity and by EPSS."""
    grouped: dict[str, dict[tuple[str, ...], list[Finding]]] = {}
    packages: dict[str, Package] = {package.purl: package for package in report.packages}
    systems: set[str] = set()
    for finding in report.findings:
        if finding.kind not in KINDS or finding.package is None:
            continue
        of = finding.package
        ecosystem = of.ecosystem or "other"
        key = (finding.id, finding.status, of.source or of.name, of.version, *finding.fixed_in)
        known = packages.get(of.purl)
        if known is not None and known.type in ("deb", "apk", "rpm"):
            systems.add(ecosystem)
        else:
            key = (of.purl, *key)
        grouped.setdefault(ecosystem, {}).setdefault(key, []).append(finding)
    distro = report.target.distro
    named = []
    for ecosystem, groups in grouped.items():
        rows = sorted((Row(group[0], _names(group)) for group in groups.values()), key=_worst_first)
        title = f"{distro.id} {distro.version}".strip() if ecosystem in systems and distro is not None else ecosystem
        named.append((ecosystem not in systems, title, rows))
    named.sort(key=lambda item: item[:2])
    return [(title, rows) for _, title, rows in named]


def _worst_first(row: Row) -> tuple[object, ...]:
    finding = row.finding
    likely = finding.epss.score if finding.epss is not None else 0.0
    return finding.kind != "malware", not finding.kev, -finding.severity.rank, -likely, finding.id, row.packages


def _names(group: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(sorted({finding.package.name for finding in group if finding.package is not None}))


def gap_lines(gaps: Sequence[Gap]) -> list[str]:
    """Fold gaps that say the same of many places, and many of one code, into a line with a count. Not yet safe to print."""
    same: dict[tuple[str, str], list[str]] = {}
    for gap in gaps:
        same.setdefault((gap.code, gap.message), []).append(gap.path)
    by_code: dict[str, list[str]] = {}
    for (code, message), paths in sorted(same.items()):
        places = sorted({path for path in paths if path})
        where = f" ({places[0]})" if len(places) == 1 else f" ({len(places):,} places, {places[0]} the first)" if places else ""
        where = "" if places and len(places) == 1 and places[0] in message else where
        by_code.setdefault(code, []).append(f"{code}: {message}{where}")
    lines = []
    for code, all_lines in by_code.items():
        lines += all_lines[:_A_CODE]
        if len(all_lines) > _A_CODE:
            lines.append(f"{code}: {len(all_lines) - _A_CODE:,} more; --format json lists all")
    return lines
