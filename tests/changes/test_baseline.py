"""What counts as new, and that rules count nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import policying
from changing import finding, package, report
from pratique.changes.baseline import doubts, recognise
from pratique.changes.gate import Judged, judge_new
from pratique.model.finding import Finding
from pratique.model.inventory import Gap, Package
from pratique.model.report import Report
from pratique.policy.facts import Subject

NOW = "2026-11-25T00:00:00Z"
TWO = package(version="3.0.0")


def judged(
    now: Sequence[Finding], then: Sequence[Finding], *policies: Any, fail_on: Sequence[str] = (), under: Any = (), **more: Any
) -> Judged:
    """Judge findings against a baseline."""
    packages: Sequence[Package] = more.pop("packages", (package(),))
    before = more.pop("before", None) or report(then, more.pop("earlier", packages))
    subject = Subject(findings=tuple(now), packages=tuple(packages), target=report().target, now=NOW, **more)
    return judge_new(subject, before, policies, under, fail_on)


@pytest.mark.parametrize(
    ("now", "then", "state"),
    [
        (finding(), finding(), "unchanged"),
        (finding(), finding("CVE-2024-0002"), "new"),
        (finding(of=package(version="4.17.19")), finding(), "unchanged"),
        (finding(severity="critical"), finding(), "updated"),
        (finding(severity="low"), finding(), "unchanged"),
        (finding(kev=True), finding(), "updated"),
        (finding(), finding(kev=True), "unchanged"),
        (finding(), finding(status="not_affected"), "updated"),
        (finding(), finding(status="under_investigation"), "unchanged"),
        (finding(), finding(waiver={"id": "w", "state": "active"}), "updated"),
        (finding("CVE-2024-0009", aliases=("GHSA-1",)), finding("GHSA-1"), "unchanged"),
        (finding("CVE-2024-0009", aliases=("GHSA-1",)), finding("GHSA-1", package("other")), "new"),
    ],
)
def test_states(now: Finding, then: Finding, state: str) -> None:
    """In the baseline, whatever version, or under another name: known; graver, newly exploited or newly counting: updated."""
    assert recognise([now], report([then])).findings[0].baseline == state


def test_a_second_copy_is_new() -> None:
    """Of one package that is there twice, the copy that the baseline has not is new."""
    found = recognise([finding(), finding(of=TWO)], report([finding()])).findings
    assert [one.baseline for one in found] == ["unchanged", "new"]


@pytest.mark.parametrize(
    ("now", "then", "rules", "decision"),
    [
        (finding(), finding(), ["high"], "allow"),
        (finding(), finding("CVE-2024-0002"), ["high"], "deny"),
        (finding(severity="high"), finding(severity="medium"), ["high"], "deny"),  # it crossed the line
        (finding(severity="critical"), finding(severity="high"), ["high"], "allow"),  # it was beyond it before
        (finding(severity="critical"), finding(severity="high"), ["critical"], "deny"),
        (finding(kev=True), finding(), ["kev"], "deny"),
        (finding(kev=True), finding(kev=True), ["kev"], "allow"),
        (finding(), finding(status="not_affected"), ["high"], "deny"),
        (finding(), finding(waiver={"id": "w", "state": "active"}), ["high"], "deny"),
    ],
)
def test_fail_on(now: Finding, then: Finding, rules: list[str], decision: str) -> None:
    """A rule refuses what it would not have refused in the baseline."""
    found = judged([now], [then], fail_on=rules)
    assert found.verdict.decision == decision
    assert found.verdict.reasons[-1].rule == "baseline"


@pytest.mark.parametrize(
    ("now", "then", "when", "decision"),
    [
        (finding(), finding(), "finding.rank >= severity.high", "allow"),
        (finding(), finding(severity="low"), "finding.rank >= severity.high", "deny"),
        (finding(severity="critical"), finding(), "finding.rank >= severity.high", "allow"),
        (finding(), finding(fixed_in=()), "finding.fixable", "deny"),
        (finding(), finding(waiver={"id": "w", "state": "active"}), "finding.rank >= severity.high", "deny"),
        (finding(), finding(), "image.high > 0", "allow"),
        (finding(severity="critical"), finding(), "image.critical > 0", "deny"),
        (finding(), finding(), "finding.known && finding.rank >= severity.high", "deny"),
    ],
)
def test_policies(now: Finding, then: Finding, when: str, decision: str) -> None:
    """The same with the conditions of a policy; whoever wants to refuse what is known can say so."""
    assert judged([now], [then], policying.rule(when)).verdict.decision == decision


def test_policies_about_packages_and_gaps() -> None:
    """A package that the baseline has is no news; a gap is asked about always, as it may hide something new."""
    rule = policying.rule("package.name == 'lodash'", each="package")
    assert judged([], [], rule).verdict.decision == "allow"
    assert judged([], [], rule, earlier=()).verdict.decision == "deny"
    unread = Gap(code="inventory.unreadable", message="x", path="a")
    before = report([], [package()], problems=(unread,))
    found = judged([], [], policying.rule("gap.code != ''", each="gap"), before=before, gaps=(unread,))
    assert found.verdict.decision == "deny"
    assert judged([], [], before=before, gaps=(unread,), fail_on=["gaps"]).verdict.decision == "deny"


def test_a_rule_that_errs_denies() -> None:
    """Also where it erred in the baseline."""
    rule = policying.rule("finding.fixed_in[7] == 'x'")
    assert judged([finding()], [finding()], rule).verdict.decision == "deny"


def test_an_ended_waiver() -> None:
    """A waiver that held for the baseline and has ended lets its finding count again, and it is called updated."""
    then = finding(waiver={"id": "waiver-1", "state": "active"})
    ended = policying.waivers("vulnerability: CVE-2024-0001, expires: 2026-01-01")
    found = judged([finding()], [then], fail_on=["high"], under=ended)
    assert (found.verdict.decision, found.findings[0].baseline) == ("deny", "updated")
    holds = policying.waivers("vulnerability: CVE-2024-0001, expires: 2027-01-01")
    found = judged([finding()], [then], fail_on=["high"], under=holds)
    assert (found.verdict.decision, found.findings[0].baseline) == ("allow", "unchanged")


def test_summary() -> None:
    """The report says what it was compared with, and how much is new, worse, known and gone."""
    about = judged([finding(), finding(severity="low", name="CVE-2")], [finding(), finding("CVE-3")]).baseline
    assert (about.new, about.updated, about.unchanged, about.gone) == (1, 0, 1, 1)
    assert (about.reference, about.digest) == ("reg.example/shop:1", "sha256:1")


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (report([], [package()], reference="reg.example/other:1"), "reg.example/other, not of reg.example/shop"),
        (report([], [package()], reference="reg.example/shop:2"), ""),
        (report([], [package()], platform="linux/arm64"), "linux/arm64"),
        (report(), "nothing usable"),
        (
            report([], [package()], complete=False, problems=(Gap(code="inventory.unreadable", message="x"),)),
            "in part (inventory.unreadable)",
        ),
    ],
)
def test_doubts(baseline: Report, words: str) -> None:
    """A baseline of something else, or of which not all was seen, is told of."""
    assert words in " ".join(doubts(baseline, report().target))
    assert bool(words) == bool(doubts(baseline, report().target))


def test_a_baseline_that_looked_at_less() -> None:
    """What image checks find is new to a baseline without them, and that is said."""
    asked = ("configuration", "packages")
    assert doubts(report([], [package()], examined=("packages",)), report().target, asked) == [
        "the baseline did not look at the configuration of the image: what is wrong there counts as new"
    ]
    assert doubts(report([], [package()], examined=asked), report().target, asked) == []
    assert doubts(report([], [package()], examined=("packages",)), report().target, ("packages",)) == []
