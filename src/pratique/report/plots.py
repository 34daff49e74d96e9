"""Findings in, inline SVG out: severity over layers, and how long vulnerabilities have been known."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from html import escape

from pratique.model.finding import Finding, Severity
from pratique.model.report import Report
from pratique.report.document import VULNERABLE
from pratique.report.text import cut, safe

MAX_LAYERS = 40  # bars; an image has at most 127 layers, and few of them bring vulnerabilities
_WIDTH, _ROW, _LABEL, _COUNT = 560, 34, 0, 46
_UNDATED = "no source says since when"
_AGES = ((30, "under 30 days"), (90, "under 90 days"), (365, "under a year"), (730, "under two years"), (10**6, "older"))


def layers(report: Report) -> str:
    """Return bars, one a layer that brought vulnerabilities, the lowest layer first; "" where no finding has a layer."""
    found: dict[str, list[Severity]] = {}
    for finding in report.findings:
        if finding.kind in VULNERABLE and finding.location is not None and finding.location.layer:
            found.setdefault(finding.location.layer, []).append(finding.severity)
    rows = []
    for number, layer in enumerate(report.target.layers, 1):
        if layer.diff_id in found:
            made = safe(" ".join(layer.created_by.split())) or layer.diff_id[:19]
            rows.append((f"{number}  {cut(made, 78)}", found[layer.diff_id]))
    return _bars(rows[:MAX_LAYERS], "Severity of vulnerabilities over layers") if rows else ""


def ages(report: Report) -> str:
    """Return bars by the time since publication; "" where no source says when. Those of which none says it are counted, too."""
    groups: dict[str, list[Severity]] = {name: [] for _, name in _AGES}
    undated: list[Severity] = []
    for finding in report.findings:
        if finding.kind not in VULNERABLE:
            continue
        days = _age(finding, report.meta.scanned_at)
        (undated if days is None else groups[next(name for most, name in _AGES if days < most)]).append(finding.severity)
    if not any(groups.values()):
        return ""
    rows = [*groups.items(), *([(_UNDATED, undated)] if undated else [])]
    return _bars(rows, "How long the vulnerabilities have been known")


def _age(finding: Finding, now: str) -> int | None:
    try:
        published = dt.date.fromisoformat(finding.published[:10])
        return max((dt.date.fromisoformat(now[:10]) - published).days, 0)
    except ValueError:
        return None


def _bars(rows: Sequence[tuple[str, list[Severity]]], title: str) -> str:
    longest = max(len(severities) for _, severities in rows) or 1
    height = _ROW * len(rows) + 4
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for place, (label, severities) in enumerate(rows):
        top = place * _ROW
        parts.append(f'<text x="{_LABEL}" y="{top + 12}">{escape(label)}</text>')
        parts.append(f'<rect class="track" x="0" y="{top + 17}" width="{_WIDTH - _COUNT}" height="11" rx="2"></rect>')
        left = 0.0
        counted = Counter(severities)
        for severity in reversed(Severity):
            if counted[severity]:
                width = counted[severity] / longest * (_WIDTH - _COUNT)
                tip = f"{counted[severity]:,} {severity.value}"
                parts.append(
                    f'<rect class="bar {severity.value}" x="{left:.1f}" y="{top + 17}" width="{width:.1f}" height="11">'
                    f"<title>{escape(tip)}</title></rect>"
                )
                left += width
        parts.append(f'<text class="soft" x="{_WIDTH - _COUNT + 8}" y="{top + 27}">{len(severities):,}</text>')
    return "".join([*parts, "</svg>"])
