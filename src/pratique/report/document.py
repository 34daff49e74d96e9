"""What documents have in common: JSON whose bytes never change, identifiers made from content, and small facts of findings."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.model.finding import Finding, Severity
from pratique.model.report import Report, Target, Verdict

MAX_REASONS = 5  # of one rule, in text for people
VULNERABLE = ("vulnerability", "malware")  # the kinds that concern a package and have an advisory

# Valid in JSON, but a terminal or an editor obeys them: C1 controls, and marks that hide or reorder text.
_OBEYED = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})")
_LINK = re.compile(r"https?://[A-Za-z0-9.\-_~:/?#\[\]@!$&'()*+,;=%]{1,2000}")


def encode(value: Any) -> bytes:
    """Write JSON, indented, with a newline at its end. Characters that something would obey are written as escapes."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:  # halves of surrogate pairs, which no encoding carries
        data = msgspec.json.encode(_mended(msgspec.to_builtins(value)))
    text = msgspec.json.format(data, indent=2)
    if not text.isascii():
        text = _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text.decode()).encode()
    return text + b"\n"


def _whole(value: Any) -> Any:
    """Replace halves of surrogate pairs, which no encoding carries; nearly always there are none and nothing is copied."""
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return _mended(msgspec.to_builtins(value))
    return value


def compact(value: Any) -> str:
    """Write JSON on one line, for the places of a document that hold text."""
    return msgspec.json.encode(_whole(value)).decode()


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value


def digest(*parts: str) -> str:
    """Return 64 hexadecimal digits that stand for these texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def identifier(value: Any) -> uuid.UUID:
    """Return a UUID that is a function of a document: the same content has the same name, whoever writes it and whenever."""
    return uuid.UUID(bytes=hashlib.sha256(msgspec.json.encode(_whole(value))).digest()[:16], version=5)


def moment(text: str) -> str:
    """Return an RFC 3339 time, or "" where it is none."""
    return text if _STAMP.fullmatch(text) else ""


def is_link(text: str) -> bool:
    """Say whether this is an http(s) address that documents may carry as one."""
    return _LINK.fullmatch(text) is not None


def name_of(target: Target) -> str:
    """Return what was scanned, with its scheme."""
    return f"{target.scheme}:{target.reference}"


def image_purl(target: Target) -> str:
    """Return the purl of an image that a registry knows, else "".

    https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md: the name is the last part of the repository.
    """
    from urllib.parse import quote  # noqa: PLC0415 - only for images of a registry

    if not target.digest.startswith("sha256:") or target.scheme not in ("registry", "docker", "podman", "containerd"):
        return ""
    name, _, _ = target.reference.partition("@")
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    if not last:
        return ""
    where = f"repository_url={quote(head + slash + last, safe='/.:-_~')}" if head else ""
    pairs = "&".join(part for part in (where, f"tag={quote(tag, safe='.-_~')}" if tag else "") if part)
    return f"pkg:oci/{quote(last.lower(), safe='.-_~')}@{target.digest}" + (f"?{pairs}" if pairs else "")


def checksum(target: Target) -> tuple[str, str]:
    """Return ("sha256", hexadecimal digits) of a target's digest; empty where it has none that documents may carry."""
    algorithm, _, value = target.digest.partition(":")
    sound = len(value) == {"sha256": 64, "sha512": 128}.get(algorithm) and not set(value) - set("0123456789abcdef")
    return (algorithm, value) if sound else ("", "")


def fix_of(finding: Finding, *, named: bool = True) -> str:
    """Say in a few words what mends a finding; without the package's name where it is said of several."""
    if finding.kind == "misconfiguration":  # its message says what to do
        return ""
    if finding.fixed_in:
        name = f" {finding.package.name}" if finding.package is not None and named else ""
        return f"Upgrade{name} to {' or '.join(finding.fixed_in)}."
    state = finding.because.state if finding.because is not None else ""
    if state == "wont-fix":
        return "Its distributor will not mend it: remove or replace the package, or accept the risk with a waiver."
    if state == "end-of-life":
        return "It is past the end of its support: move to a supported release."
    return "No fix is known yet."


def score_of(finding: Finding) -> float | None:
    """Return the base score of the newest CVSS version, or None."""
    newest = max((item.version for item in finding.cvss), default="")
    return max((item.score for item in finding.cvss if item.version == newest), default=None)


def accepted(finding: Finding) -> bool:
    """Say whether a waiver holds for a finding: one that has ended, or stands before one rule only, accepts nothing."""
    waiver = finding.waiver
    return bool(waiver) and waiver is not None and waiver.get("state", "active") == "active" and "rule" not in waiver


def attested(report: Report) -> str:
    """Return one line about attestations of the image; "" where nobody asked for them."""
    if report.attestations is None:
        return ""
    verified = [f"{one.predicate} by {one.signer}" for one in report.attestations if one.verified]
    others = len(report.attestations) - len(verified)
    names = list(dict.fromkeys(verified))
    shown = ", ".join(names[:MAX_REASONS]) + (f" and {len(names) - MAX_REASONS} more" if len(names) > MAX_REASONS else "")
    told = f"verified: {shown}" if verified else "none is verified"
    return f"{told}; {others} that no key given verifies" if others else told if verified else "none"


def rules_of(verdict: Verdict) -> list[tuple[str, str, list[str]]]:
    """Return the rules that spoke, in the order of the verdict: name, what each came to, and its messages."""
    found: dict[tuple[str, str], list[str]] = {}
    for reason in verdict.reasons:
        found.setdefault((reason.rule, reason.effect), []).append(reason.message)
    return [(rule, effect, messages) for (rule, effect), messages in found.items()]


def reason_lines(verdict: Verdict) -> Iterator[str]:
    """Yield the reasons as lines of text; of a rule that fired often, the first few."""
    for rule, _, messages in rules_of(verdict):
        shown = messages if len(messages) <= MAX_REASONS + 1 else messages[:MAX_REASONS]
        yield from (f"{rule}: {message}" for message in shown)
        if len(shown) < len(messages):
            yield f"{rule}: and {len(messages) - len(shown):,} more, which --format json lists"


def waiver_note(finding: Finding) -> str:
    """Return one line about a waiver that does not, or not wholly, hold; "" where none is there or it does."""
    waiver = finding.waiver
    if not waiver or accepted(finding):
        return ""
    if waiver.get("ended"):
        return f"waiver {waiver.get('id', '')} ended: {waiver['ended']}"
    if waiver.get("short"):
        return f"waiver {waiver.get('id', '')} does not count: {waiver['short']}"
    return f"waiver {waiver.get('id', '')} stands before rule {waiver.get('rule', '')} only: {waiver.get('reason', '')}"


def waiver_text(finding: Finding) -> str:
    """Return one line about the waiver that holds for a finding, "" without one."""
    waiver = finding.waiver
    if not waiver or not accepted(finding):
        return ""
    told = [f"{key} {waiver[key]}" for key in ("id", "owner", "reason", "expires") if waiver.get(key)]
    return "accepted: " + ", ".join(told) if told else "accepted"


def known(finding: Finding) -> bool:
    """Say whether the baseline of the scan has a finding, so that the verdict does not rest on it."""
    return finding.baseline == "unchanged"


def vex_text(finding: Finding) -> str:
    """Return one line about the VEX statement that holds for a finding, "" without one."""
    note = finding.vex
    if note is None:
        return ""
    who = note.author or "an author without a name"
    why = ": ".join(part for part in (note.justification.replace("_", " "), note.impact or note.notes or note.action) if part)
    vouched = f", verified by {note.signer}" if note.signer else ""
    said = f"{note.status.replace('_', ' ')}, says {who} (statement {note.statement} of {note.document}{vouched})"
    return f"{said}: {why}" if why else said


def impact_of(finding: Finding) -> tuple[str, str]:
    """Return (justification, words) for why a finding that is not affected is not, as VEX documents say it."""
    if finding.vex is not None and finding.vex.status == "not_affected":
        return finding.vex.justification, finding.vex.impact or finding.vex.notes
    return "", finding.message


def denied(finding: Finding) -> tuple[str, str]:
    """Return (justification, words) of the waiver that says a finding's product is not affected; two "" without one."""
    waiver = finding.waiver
    if not waiver or not accepted(finding) or not waiver.get("justification"):
        return "", ""
    return str(waiver["justification"]), str(waiver.get("impact") or waiver.get("reason") or "")


def worst_first(report: Report) -> list[Finding]:
    """Return findings as people read them: what a baseline lacks, the exploited, then by severity, then by chance."""

    def order(finding: Finding) -> tuple[Any, ...]:
        chance = finding.epss.score if finding.epss is not None else 0.0
        return (
            known(finding),
            not finding.kev,
            -finding.severity.rank,
            -chance,
            finding.id,
            finding.package.purl if finding.package else "",
        )

    return sorted(report.findings, key=order)


def counts(report: Report) -> dict[Severity, int]:
    """Return how many vulnerabilities there are of each severity, the worst first, zeroes left out."""
    found = [finding.severity for finding in report.findings if finding.kind in VULNERABLE]
    return {severity: found.count(severity) for severity in reversed(Severity) if severity in found}
