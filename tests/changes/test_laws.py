"""Laws of differences, for any two reports."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from changing import FEEDS, finding, package, report
from pratique.changes.baseline import recognise
from pratique.changes.diff import diff
from pratique.changes.gate import judge_new
from pratique.changes.pair import pair
from pratique.model.change import Cause, Diff
from pratique.model.finding import Finding
from pratique.model.report import Report
from pratique.policy.facts import Subject
from pratique.policy.judge import FAIL_ON, judge

NAMES = ("a", "b")
VERSIONS = ("1.0.0", "2.0.0", "3.0.0")
SEVERITIES = ("unknown", "low", "high", "critical")
BACK = {"added": "removed", "removed": "added", "upgraded": "downgraded", "downgraded": "upgraded", "changed": "changed"}


@st.composite
def reports(draw: Any) -> Report:
    """A small report: few names, so that much of it meets in another."""
    packages = draw(
        st.lists(
            st.builds(package, st.sampled_from(NAMES), st.sampled_from(VERSIONS)), max_size=4, unique_by=lambda one: one.purl
        )
    )
    findings: list[Finding] = []
    for of in packages:
        for name in draw(st.lists(st.sampled_from(("CVE-2024-1", "CVE-2024-2", "GHSA-1")), max_size=2, unique=True)):
            aliases = draw(st.sampled_from(((), ("GHSA-1",), ("CVE-2024-2",))))
            waiver = draw(
                st.sampled_from((None, None, {"id": "w", "state": "active"}, {"id": "w", "state": "ended", "ended": "x"}))
            )
            findings.append(
                finding(
                    name, of, draw(st.sampled_from(SEVERITIES)),
                    aliases=aliases, kev=draw(st.booleans()), waiver=waiver,
                    status=draw(st.sampled_from(("affected", "under_investigation", "not_affected"))),
                )
            )  # fmt: skip
    feeds = {**FEEDS, "osv/npm": draw(st.sampled_from("12"))}
    if draw(st.booleans()):
        del feeds[draw(st.sampled_from(sorted(feeds)))]
    return report(
        findings, packages, digest=draw(st.sampled_from("12")), feeds=feeds, version=draw(st.sampled_from(("1.0", "2.0")))
    )


def kinds(cause: Cause) -> set[str]:
    """The kinds of a cause and of those beside it."""
    return {cause.kind, *(one.kind for one in cause.also)}


def told(found: Diff, *, back: bool = False) -> tuple[Any, ...]:
    """What is different, in a form that can be turned round."""
    findings = {
        (
            BACK[one.change] if back else one.change,
            *((one.new, one.old) if back else (one.old, one.new)),
            frozenset(kinds(one.cause)),
        )
        for one in map(_hashable, found.findings)
    }
    packages = {
        (BACK[one.change] if back else one.change, *((one.new, one.old) if back else (one.old, one.new)), one.cause.kind)
        for one in found.packages
    }
    layers = {(BACK[one.change] if back else one.change, one.layer.diff_id) for one in found.layers}
    return findings, packages, layers


def _hashable(change: Any) -> Any:
    """A change whose findings are bytes: waivers are dictionaries."""
    old, new = (None if one is None else msgspec.json.encode(one) for one in (change.old, change.new))
    return type("Told", (), {"change": change.change, "old": old, "new": new, "cause": change.cause})


@given(reports())
@settings(max_examples=60)
def test_nothing_differs_from_itself(made: Report) -> None:
    """diff(a, a) is empty."""
    found = diff(made, made)
    assert (found.findings, found.packages, found.layers, found.problems, found.verdict) == ((), (), (), (), None)


@given(reports(), reports())
@settings(max_examples=150)
def test_turned_round(old: Report, new: Report) -> None:
    """diff(a, b) is the inverse of diff(b, a), causes included."""
    assert told(diff(old, new)) == told(diff(new, old), back=True)


@given(reports(), reports())
@settings(max_examples=150)
def test_impossible_causes(old: Report, new: Report) -> None:
    """Everything has a cause; of one image none is the image's, of one database none the advisories', of one program none its."""
    found = diff(old, new)
    causes = [one.cause for part in (found.findings, found.packages, found.layers) for one in part]
    causes += [field.cause for one in found.findings for field in one.fields]
    seen = {kind for cause in causes for kind in kinds(cause)}
    assert all(cause.message for cause in causes)
    assert "image" not in seen or not found.same_image
    assert "advisory" not in seen or not found.same_database
    assert "scanner" not in seen or old.meta.version != new.meta.version
    live = diff(old, new, live=True)
    if live.same_database:
        assert not any("advisory" in kinds(one.cause) for one in live.findings)


@given(reports(), reports())
@settings(max_examples=100)
def test_each_finding_is_in_one_pair(old: Report, new: Report) -> None:
    """Pairs take every finding of both sides once."""
    pairs = pair(old.findings, new.findings)
    for side, report_ in ((0, old), (1, new)):
        taken = [id(both[side]) for both in pairs if both[side] is not None]
        assert sorted(taken) == sorted(map(id, report_.findings))


@given(reports(), reports(), st.lists(st.sampled_from(FAIL_ON), max_size=3))
@settings(max_examples=150)
def test_a_baseline_only_lets_pass_what_it_has(old: Report, new: Report, fail_on: list[str]) -> None:
    """What a baseline allows is a subset of findings, each of which it has; against nothing, the verdict is the plain one."""
    subject = Subject(findings=new.findings, packages=new.packages, target=new.target, now="2026-11-25T00:00:00Z")
    plain = judge(new.findings, (), fail_on)
    against = judge_new(subject, old, (), (), fail_on)
    assert not (plain.decision == "allow" and against.verdict.decision == "deny")
    if plain.decision == "deny" and against.verdict.decision == "allow":
        blamed = {name for reason in plain.reasons for name in reason.findings}
        assert all(one.baseline != "new" for one in against.findings if one.fingerprint in blamed and _counts(one, fail_on))
    nothing = judge_new(subject, report(), (), (), fail_on)
    assert nothing.verdict.reasons[:-1] == plain.reasons
    assert judge_new(subject, new, (), (), fail_on).verdict.decision == "allow"


def _counts(one: Finding, fail_on: list[str]) -> bool:
    return judge((one,), (), fail_on).decision == "deny"


@given(reports(), reports())
@settings(max_examples=60)
def test_order_changes_nothing(old: Report, new: Report) -> None:
    """The order of findings in either report changes no state."""
    states = {one.package.purl + one.id: one.baseline for one in recognise(new.findings, old).findings if one.package}
    turned = msgspec.structs.replace(old, findings=old.findings[::-1])
    again = {one.package.purl + one.id: one.baseline for one in recognise(new.findings[::-1], turned).findings if one.package}
    assert states == again
