"""Findings and gaps in, the verdict of --fail-on out. Pure: the same inputs give the same verdict wherever it is asked for.

Policies are judged by `engine.decide`, which begins with this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pratique.model.errors import UsageError
from pratique.model.finding import Finding, Severity
from pratique.model.inventory import Gap
from pratique.model.report import Reason, Verdict

FAIL_ON = (*(severity.value for severity in Severity), "kev", "gaps", "eol")


def parse_fail_on(values: Sequence[str]) -> tuple[str, ...]:
    """Check and order the words of --fail-on, any letter case. Raises UsageError naming the wrong one."""
    chosen = {value.strip().lower() for value in values}
    for value in sorted(chosen):
        if value not in FAIL_ON:
            raise UsageError(f"--fail-on {value}: not one of {', '.join(FAIL_ON)}")
    return tuple(word for word in FAIL_ON if word in chosen)


def waived(finding: Finding) -> bool:
    """Say whether a waiver holds for a finding as a whole, not only for one rule."""
    return finding.waiver is not None and finding.waiver.get("state") == "active" and "rule" not in finding.waiver


def bites(finding: Finding) -> bool:
    """Say whether a finding counts: neither settled (not affected, or fixed) nor under a waiver that holds."""
    return finding.status not in ("not_affected", "fixed") and not waived(finding)


def judge(
    findings: Sequence[Finding], gaps: Sequence[Gap], fail_on: Sequence[str], before: Sequence[Finding | None] = ()
) -> Verdict:
    """Deny where a rule of `fail_on` (as `parse_fail_on` returns it) holds; without rules everything is allowed and shown.

    `before` has, finding by finding, what a baseline knows of it: a rule does not count what it would have found then as well.
    """

    def hits(holds: Callable[[Finding], bool]) -> list[Finding]:
        held = [finding for finding in findings if holds(finding)]
        if not before:
            return held
        known = {id(now) for now, then in zip(findings, before, strict=True) if then is not None and holds(then)}
        return [finding for finding in held if id(finding) not in known]

    reasons: list[Reason] = []
    levels = [Severity(word) for word in fail_on if word not in ("kev", "gaps", "eol")]
    if levels:
        least = min(levels)
        hit = hits(lambda finding: bites(finding) and finding.kind != "eol" and not finding.severity < least)
        _add(reasons, f"severity-{least.value}", f"{_count(hit, 'finding')} of severity {least.value} or above", hit)
    if "kev" in fail_on:
        hit = hits(lambda finding: finding.kev and bites(finding))
        _add(reasons, "kev", f"{_count(hit, 'finding')} known to be exploited", hit)
    if "eol" in fail_on:
        hit = hits(lambda finding: finding.kind == "eol" and not waived(finding))
        _add(reasons, "eol", "past the end of its security support", hit)
    if "gaps" in fail_on and gaps:
        codes = ", ".join(sorted({gap.code for gap in gaps}))
        reasons.append(Reason("gaps", f"{len(gaps)} things could not be examined or known: {codes}", effect="deny"))
    return Verdict(decision="deny" if reasons else "allow", reasons=tuple(reasons))


def _count(findings: Sequence[Finding], noun: str) -> str:
    return f"{len(findings)} {noun}{'' if len(findings) == 1 else 's'}"


def _add(reasons: list[Reason], rule: str, message: str, findings: Sequence[Finding]) -> None:
    if findings:
        reasons.append(Reason(rule, message, tuple(sorted({finding.fingerprint for finding in findings})), "deny"))
