"""What is judged and a baseline in, the verdict on what is new out: what the baseline has, too, is shown and does not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pratique.changes.baseline import Recognised, recognise, settle, summary
from pratique.model.finding import Finding
from pratique.model.inventory import Package
from pratique.model.report import Baseline, Reason, Report, Verdict
from pratique.policy.compose import PolicySet
from pratique.policy.document import Waiver
from pratique.policy.facts import Before, Subject
from pratique.policy.judge import judge


class Judged(NamedTuple):
    """The verdict, the findings with waivers and states, and what the report says of the baseline."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    baseline: Baseline


def judge_new(
    subject: Subject,
    baseline: Report,
    policies: Sequence[PolicySet] = (),
    waivers: Sequence[Waiver] = (),
    fail_on: Sequence[str] = (),
) -> Judged:
    """Decide on what the baseline does not have, or has less grave. Raises nothing.

    A rule counts a finding, a package or a layer unless it would have held for it as the baseline has it. Gaps and rules about
    the image as a whole count always.
    """
    recognised = recognise(subject.findings, baseline)
    subject = msgspec.structs.replace(subject, findings=tuple(recognised.findings), before=_before(subject, baseline, recognised))
    findings = subject.findings
    if policies or waivers:
        from pratique.policy.engine import decide  # noqa: PLC0415 - the language of conditions is loaded where there are some

        judgement = decide(subject, policies, waivers, fail_on)
        verdict, findings = judgement.verdict, judgement.findings
    else:
        verdict = judge(findings, subject.gaps, fail_on, recognised.earlier)
    findings = settle(findings, recognised.earlier)
    about = summary(findings, baseline)
    verdict = msgspec.structs.replace(verdict, reasons=(*verdict.reasons, _reason(about)))
    return Judged(verdict, findings, about)


def _before(subject: Subject, baseline: Report, recognised: Recognised) -> Before:
    then = Subject(
        findings=baseline.findings,
        gaps=baseline.problems,
        packages=baseline.packages,
        target=baseline.target,
        attestations=baseline.attestations or (),
        examined=baseline.examined,
        context=subject.context,
        now=subject.now,
    )
    packages: dict[str, Package] = {f"{package.type}/{package.name}": package for package in baseline.packages}
    packages |= {package.purl: package for package in baseline.packages}
    return Before(then, tuple(recognised.earlier), packages, {})


def _reason(about: Baseline) -> Reason:
    worse = f", {about.updated} worse than before" if about.updated else ""
    message = (
        f"compared with {about.scheme}:{about.reference} of {about.scanned_at}: {about.new} new{worse}; "
        f"{about.unchanged} are in the baseline and do not count, {about.gone} are gone"
    )
    return Reason("baseline", message)
