"""Report in, one self-contained HTML page out: nothing is loaded, nothing but its own script runs, everything is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import BinaryIO

from pratique.model.finding import Finding
from pratique.model.inventory import Gap, Package
from pratique.model.report import Report
from pratique.report import plots
from pratique.report.document import (
    VULNERABLE,
    accepted,
    attested,
    counts,
    fix_of,
    is_link,
    known,
    name_of,
    rules_of,
    score_of,
    waiver_note,
    waiver_text,
    worst_first,
)
from pratique.report.text import cut, safe

MAX_PACKAGES = 20_000  # rows; more only make a browser slow, and the JSON document has them all
_DECISIONS = {"allow": "Allowed", "warn": "Allowed, with warnings", "deny": "Refused", "unknown": "Could not tell"}
_EFFECTS = {"deny": "refuses", "warn": "warns", "allow": "accepted"}
_COLUMNS = (
    ("Severity", "down"), ("Vulnerability", ""), ("Package", ""), ("Installed", ""), ("Fixed in", ""),
    ("CVSS", "down"), ("EPSS", "down"), ("Layer", "down"),
)  # fmt: skip


class _Html:
    name = "html"
    media_type = "text/html; charset=utf-8"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write the page."""
        out.writelines(part.encode("utf-8", "backslashreplace") for part in _page(report))


def text(value: str) -> str:
    """Return text for a page: controls and marks that reorder shown as escapes, markup as characters."""
    return escape(safe(value))


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _page(report: Report) -> Iterator[str]:
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(style)}'; script-src 'sha256-{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
    yield '<meta name="color-scheme" content="light dark">\n'
    yield f"<title>{text(cut(name_of(report.target), 120))}: {_DECISIONS[report.verdict.decision].lower()}</title>\n"
    yield f"<style>{style}</style>\n</head>\n<body>\n<main>\n"
    yield from _head(report)
    yield from _summary(report)
    yield from _findings(report)
    yield from _others(report)
    yield from _gaps(report.problems)
    yield from _packages(report.packages)
    yield from _foot(report)
    yield f"</main>\n<script>{script}</script>\n</body>\n</html>\n"


def _head(report: Report) -> Iterator[str]:
    target, decision = report.target, report.verdict.decision
    tone = "unknown-verdict" if decision == "unknown" else decision
    yield f'<header>\n<div class="top"><div class="what"><h1>{text(name_of(target))}</h1>'
    facts = {
        "Digest": f'<span class="mono">{text(target.digest)}</span>' if target.digest else "",
        "Platform": text(target.platform),
        "System": text(f"{target.distro.id} {target.distro.version}".strip()) if target.distro is not None else "",
        "Supported until": text(target.distro.eol or "") if target.distro is not None else "",
        "Content": text(_content(report)),
        "Scanned": text(report.meta.scanned_at),
        "Attested": text(attested(report)),
        "Baseline": text(_baseline(report)),
        "Until": text(report.verdict.until) if decision in ("allow", "warn") else "",
        "Policy": text(report.verdict.policy.name) if report.verdict.policy is not None else "",
    }
    yield '<dl class="facts">'
    yield from (f"<dt>{key}</dt><dd>{value}</dd>" for key, value in facts.items() if value)
    yield f'</dl></div>\n<div class="verdict {tone}">{_DECISIONS[decision]}'
    yield "" if report.complete else "<small>from an incomplete inspection</small>"
    yield "</div></div>\n"
    if report.verdict.reasons:
        yield '<ul class="reasons">'
        yield from (_reason(*spoke) for spoke in rules_of(report.verdict))
        yield "</ul>"
    yield "</header>\n"


def _reason(rule: str, effect: str, messages: list[str]) -> str:
    """Return what one rule says: a line, or a count that opens."""
    mark = f'<span class="tag {effect}">{_EFFECTS[effect]}</span> ' if effect else ""
    if len(messages) == 1:
        return f"<li>{mark}<b>{text(rule)}</b>: {text(messages[0].removeprefix('warning: '))}</li>"
    told = "".join(f"<li>{text(message.removeprefix('warning: '))}</li>" for message in messages)
    such = text(cut(messages[0].removeprefix("warning: "), 160))
    head = f'{mark}<b>{text(rule)}</b>: {len(messages):,} times, <span class="soft">such as {such}</span>'
    return f"<li><details><summary>{head}</summary><ul>{told}</ul></details></li>"


def _baseline(report: Report) -> str:
    about = report.baseline
    if about is None:
        return ""
    return f"{about.scheme}:{about.reference} of {about.scanned_at}: {about.new + about.updated} new, {about.gone} gone"


def _content(report: Report) -> str:
    packages, layers = len(report.packages), len(report.target.layers)
    held = f"{packages} package{'' if packages == 1 else 's'}"
    return f"{held} in {layers} layer{'' if layers == 1 else 's'}" if layers else held


def _summary(report: Report) -> Iterator[str]:
    found = [finding for finding in report.findings if finding.kind in VULNERABLE]
    yield '<section aria-label="Summary">\n<div class="tiles">'
    for severity, number in counts(report).items():
        yield _tile(number, severity.value, severity.value)
    yield _tile(sum(bool(item.fixed_in) for item in found), "with a fix")
    yield _tile(sum(item.kev for item in found), "known to be exploited")
    if report.baseline is not None:
        yield _tile(sum(not known(item) for item in found), "new")
    yield "</div></section>\n"
    charts = [
        ("Where they came in: severity over layers", plots.layers(report)),
        ("How long they have been known", plots.ages(report)),
    ]
    drawn = [(title, chart) for title, chart in charts if chart]
    if drawn:
        yield '<section>\n<div class="charts">'
        yield from (f"<div><h2>{title}</h2>{chart}</div>" for title, chart in drawn)
        yield '</div>\n<div class="legend">'
        yield from (f'<span class="{severity.value}"><i></i>{severity.value}</span>' for severity in counts(report))
        yield "</div></section>\n"


def _tile(number: int, label: str, tone: str = "") -> str:
    return f'<div class="{f"tile {tone}".strip()}"><b>{number:,}</b><span>{label}</span></div>'


def _findings(report: Report) -> Iterator[str]:
    found = [finding for finding in worst_first(report) if finding.kind in VULNERABLE]
    if not found:
        yield "<section><h2>Vulnerabilities</h2><p>None found.</p></section>\n"
        return
    yield f'<section>\n<h2>Vulnerabilities: <span id="shown">{len(found):,}</span></h2>\n<div class="controls">'
    yield '<input type="search" id="search" placeholder="Search in everything" aria-label="Search">'
    for severity in counts(report):
        yield f'<label><input type="checkbox" data-severity="{severity.value}" checked>{severity.value}</label>'
    yield '<label><input type="checkbox" id="fixed">with a fix</label>'
    yield '<label><input type="checkbox" id="exploited">exploited</label>'
    fresh = "" if report.baseline is not None else " hidden"
    yield f'<label{fresh}><input type="checkbox" id="fresh">new</label></div>\n'
    yield '<div class="wide"><table id="findings">\n<thead><tr>'
    for name, first in _COLUMNS:
        numeric = ' class="num"' if name in ("CVSS", "EPSS", "Layer") else ""
        yield f'<th scope="col"{numeric} data-first="{first}"><button type="button">{name}</button></th>'
    yield "</tr></thead>\n<tbody>\n"
    numbers = {layer.diff_id: number for number, layer in enumerate(report.target.layers, 1)}
    for finding in found:
        yield _row(finding, numbers)
    yield '</tbody></table><div class="none" id="none" hidden>Nothing matches.</div></div></section>\n'


def _row(finding: Finding, numbers: dict[str, int]) -> str:
    package, score = finding.package, score_of(finding)
    layer = numbers.get(finding.location.layer, 0) if finding.location is not None else 0
    severity = finding.severity.value
    rank = finding.severity.rank * 2 + finding.kev
    cells = [
        f'<td data-sort="{rank}"><span class="badge {severity}">{severity}</span></td>',
        f'<td class="id">{_named(finding)}{_details(finding)}</td>',
        f'<td class="name">{text(package.name if package else "")}</td>',
        f'<td class="mono">{text(package.version if package else "")}</td>',
        f'<td class="mono">{text(", ".join(finding.fixed_in)) or _unfixed(finding)}</td>',
        f'<td class="num" data-sort="{score if score is not None else -1}">{f"{score:.1f}" if score is not None else ""}</td>',
        _chance(finding),
        f'<td class="num" data-sort="{layer}">{layer or ""}</td>',
    ]
    facts = {
        "severity": severity,
        "fixed": int(bool(finding.fixed_in)),
        "kev": int(finding.kev),
        "fresh": int(not known(finding)),
    }
    data = " ".join(f'data-{name}="{value}"' for name, value in facts.items())
    return f"<tr {data}>{''.join(cells)}</tr>\n"


def _unfixed(finding: Finding) -> str:
    state = finding.because.state if finding.because is not None else ""
    return f'<span class="soft">{ {"wont-fix": "won’t fix", "end-of-life": "end of life"}.get(state, "none yet") }</span>'


def _chance(finding: Finding) -> str:
    if finding.epss is None:
        return '<td class="num" data-sort="-1"></td>'
    score = finding.epss.score
    shown = f"{score:.1%}" if score >= 0.001 else "&lt;0.1%"
    return f'<td class="num" data-sort="{score:.5f}">{shown}</td>'


def _link(address: str, shown: str) -> str:
    return f'<a href="{escape(address)}" rel="noreferrer noopener">{shown}</a>'


def _named(finding: Finding) -> str:
    link = next((item for item in finding.references if is_link(item)), "")
    name = text(finding.id)
    shown = _link(link, name) if link else name
    tags = ['<span class="tag kev">exploited</span>'] if finding.kev else []
    tags += [f'<span class="tag">{text(finding.status.replace("_", " "))}</span>'] if finding.status != "affected" else []
    tags += ['<span class="tag">accepted</span>'] if accepted(finding) else []
    tags += ['<span class="tag fresh">new</span>'] if finding.baseline in ("new", "updated") else []
    return " ".join([shown, *tags])


def _details(finding: Finding) -> str:
    because, place, package = finding.because, finding.location, finding.package
    facts = [
        ("Remedy", text(fix_of(finding))),
        ("Also", text(", ".join(finding.aliases))),
        ("Package", f"<code>{text(package.purl)}</code>" if package is not None else ""),
        ("Path", f"<code>{text(place.path)}</code>" if place is not None and place.path else ""),
        ("Layer", f"<code>{text(place.instruction or place.layer)}</code>" if place is not None and place.layer else ""),
        ("Because", text(f"{because.advisory} ({because.source}): {because.comparison}") if because is not None else ""),
        ("Published", text(finding.published[:10])),
        ("Accepted", text(waiver_text(finding))),
        ("Waiver", text(waiver_note(finding))),
    ]
    links = [f"<li>{_link(link, text(link))}</li>" for link in finding.references if is_link(link)]
    told = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in facts if value)
    more = f"<ul>{''.join(links)}</ul>" if links else ""
    title = text(cut(finding.title or finding.message, 160))
    return f'<details><summary>{title}</summary><dl class="facts">{told}</dl>{more}</details>'


def _others(report: Report) -> Iterator[str]:
    rest = [finding for finding in worst_first(report) if finding.kind not in VULNERABLE]
    if not rest:
        return
    yield '<section>\n<h2>Other findings</h2><div class="wide"><table>\n'
    yield "<thead><tr><th>Severity</th><th>Finding</th><th>Where</th></tr></thead><tbody>\n"
    for finding in rest:
        where = finding.location.path + (f":{finding.location.line}" if finding.location.line else "") if finding.location else ""
        said = text(finding.message or finding.title)
        severity = finding.severity.value
        against = f'<br><span class="soft">{text(", ".join(finding.controls))}</span>' if finding.controls else ""
        yield f'<tr><td><span class="badge {severity}">{severity}</span></td><td><b>{_named(finding)}</b><br>{said}{against}</td>'
        yield f'<td class="mono">{text(where)}</td></tr>\n'
    yield "</tbody></table></div></section>\n"


def _gaps(gaps: Iterable[Gap]) -> Iterator[str]:
    found = list(gaps)
    if not found:
        return
    yield f'<section>\n<details class="print"><summary><b>What could not be examined or known: {len(found):,}</b></summary>'
    yield '<div class="wide"><table>'
    yield "<thead><tr><th>Code</th><th>What</th><th>Where</th></tr></thead><tbody>\n"
    for gap in found:
        where = gap.path or gap.package or gap.source
        yield f'<tr><td class="mono">{text(gap.code)}</td><td>{text(gap.message)}</td><td class="mono">{text(where)}</td></tr>\n'
    yield "</tbody></table></div></details></section>\n"


def _packages(packages: tuple[Package, ...]) -> Iterator[str]:
    if not packages:
        return
    yield f'<section>\n<details><summary><b>Packages: {len(packages):,}</b></summary><div class="wide"><table>'
    yield "<thead><tr><th>Package</th><th>Version</th><th>Kind</th><th>Licences</th><th>Where</th></tr></thead><tbody>\n"
    for package in packages[:MAX_PACKAGES]:
        where = package.locations[0].path if package.locations else ""
        licences = ", ".join(package.licenses)
        yield f'<tr><td>{text(package.name)}</td><td class="mono">{text(package.version)}</td><td>{text(package.type)}</td>'
        yield f'<td>{text(cut(licences, 200))}</td><td class="mono">{text(where)}</td></tr>\n'
    yield "</tbody></table></div>"
    if len(packages) > MAX_PACKAGES:
        yield f"<p>{len(packages) - MAX_PACKAGES:,} more are in the JSON report.</p>"
    yield "</details></section>\n"


def _foot(report: Report) -> Iterator[str]:
    database = report.meta.database
    kind = {"full": "full database", "starter": "starter set only", "none": "none asked"}[database.kind]
    of = f", built {database.built_at[:10]}" if database.built_at else ""
    yield f"<footer>pratique {text(report.meta.version)}. Advisories: {kind}{text(of)}."
    yield "".join(f" {text(source.name)} ({source.records});" for source in database.sources).rstrip(";")
    yield "</footer>\n"


REPORTER = _Html()
