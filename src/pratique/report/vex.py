"""What became of VEX statements in, lines for people out: what was applied, and why the rest was not."""

from __future__ import annotations

from pratique.model.report import Report
from pratique.report.document import vex_text

_FINDINGS = 20  # that are told one by one, and documents; the JSON document has them all
_UNAPPLIED = 5  # statements that are told one by one; pratique explain tells those of one vulnerability

_REASONS = {
    "vulnerability-not-found": "about a vulnerability that is not reported here",
    "image-differs": "about another image",
    "package-not-found": "about another package",
    "version-differs": "about another version",
    "qualifier-differs": "about another build (architecture, release)",
    "elsewhere": "about a part of a product that is also there apart from it",
    "not-comparable": "that name no product by a purl or digest",
    "other-bom": "about a BOM that is not this",
    "superseded": "that a later one replaces",
    "not-yet": "dated later than now",
    "unreadable": "that cannot be read",
    "document-not-used": "of documents that are not used",
}
# A person can do something about these: what names another vulnerability or image was not meant for this one.
_NEAR = ("version-differs", "qualifier-differs", "elsewhere", "package-not-found", "unreadable", "not-comparable", "other-bom")


def vex_lines(report: Report) -> list[str]:
    """Return lines about documents, findings and unapplied statements. Not yet safe to print."""
    vex = report.vex
    if vex is None:
        return []
    lines = []
    for document in vex.documents[:_FINDINGS]:
        who = document.author or "no author"
        trust = f", verified by {document.signer}" if document.signer else ", no signature verified"
        fate = document.why_not or f"{document.applied:,} of {document.statements:,} statements apply"
        lines.append(f"{document.id or document.source}, {who}{trust}: {fate}")
    lines += _more(len(vex.documents), _FINDINGS, "documents")
    noted = [finding for finding in report.findings if finding.vex is not None]
    told = sorted(
        f"{finding.id}{f' {finding.package.name}' if finding.package else ''}: {vex_text(finding)}" for finding in noted
    )
    lines += [*told[:_FINDINGS], *_more(len(told), _FINDINGS, "findings that statements speak of")]
    counts = [f"{count:,} {_REASONS[code]}" for code, count in vex.counts.items()]
    if counts:
        lines.append("not applied: " + "; ".join(counts))
    near = [one for one in vex.unapplied if one.code in _NEAR][:_UNAPPLIED]
    lines += [f"statement {one.statement} on {one.vulnerability or '?'} in {one.product or '?'}: {one.message}" for one in near]
    return lines or ["no document was found"]


def _more(count: int, shown: int, what: str) -> list[str]:
    return [f"{count - shown:,} more {what}; --format json lists all"] if count > shown else []
