"""--fail-on: which findings and gaps refuse."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.model.errors import UsageError
from pratique.model.finding import Finding, Severity
from pratique.model.inventory import Gap
from pratique.policy.judge import FAIL_ON, judge, parse_fail_on
from reporting import finding, pypi

WORDS = [severity.value for severity in Severity]
GAP = Gap(code="advisories.stale", message="x")


@pytest.mark.parametrize(("least", "found"), list(itertools.product(WORDS, WORDS)))
def test_at_or_above(least: str, found: str) -> None:
    """A severity means itself and what is worse."""
    verdict = judge([finding("CVE-1", pypi("a"), found)], [], parse_fail_on([least]))
    assert verdict.decision == ("deny" if WORDS.index(found) >= WORDS.index(least) else "allow")


def test_reasons_name_findings() -> None:
    """A reason has the rule and the fingerprints of what it fired on; several rules give several reasons."""
    findings = [finding("CVE-1", pypi("a"), "high", kev=True), finding("CVE-2", pypi("a"), "low")]
    verdict = judge(findings, [GAP], parse_fail_on(["gaps", "KEV", " High "]))
    assert [(reason.rule, reason.findings) for reason in verdict.reasons] == [
        ("severity-high", ("print-of-CVE-1",)),
        ("kev", ("print-of-CVE-1",)),
        ("gaps", ()),
    ]


def test_lowest_of_several() -> None:
    """Of several severities the lowest counts."""
    verdict = judge([finding("CVE-1", pypi("a"), "medium")], [], parse_fail_on(["critical", "low"]))
    assert [reason.rule for reason in verdict.reasons] == ["severity-low"]


def test_what_is_no_vulnerability() -> None:
    """An end of life is refused by its own rule only; what does not hold is refused by none."""
    eol = finding("EOL-1", None, "high", kind="eol")
    assert judge([eol], [], parse_fail_on(["low", "kev", "gaps"])).decision == "allow"
    assert judge([eol], [], parse_fail_on(["eol"])).decision == "deny"
    cleared = finding("CVE-1", pypi("a"), "critical", kev=True, status="not_affected")
    assert judge([cleared], [], parse_fail_on(["unknown", "kev"])).decision == "allow"


def test_no_rule() -> None:
    """Without a rule everything is shown and allowed."""
    assert judge([finding("CVE-1", pypi("a"), "critical", kev=True)], [GAP], ()).decision == "allow"


@pytest.mark.parametrize("word", ["", "dreadful", "high,low"])
def test_wrong_words(word: str) -> None:
    """The wrong word and the right ones are named."""
    with pytest.raises(UsageError, match="not one of unknown"):
        parse_fail_on([word])


_findings = st.lists(
    st.builds(
        lambda number, severity, kev, kind: finding(f"CVE-{number}", pypi("a"), severity, kev=kev, kind=kind),
        st.integers(0, 9),
        st.sampled_from(WORDS),
        st.booleans(),
        st.sampled_from(["vulnerability", "eol", "malware"]),
    ),
    max_size=5,
)


@given(_findings, _findings, st.lists(st.sampled_from(FAIL_ON), max_size=4))
def test_more_findings_never_allow_more(some: list[Finding], more: list[Finding], rules: list[str]) -> None:
    """A verdict is monotone: what is refused stays refused when more is found, or when rules are added."""
    chosen = parse_fail_on(rules)
    if judge(some, [], chosen).decision == "deny":
        assert judge([*some, *more], [], chosen).decision == "deny"
        assert judge(some, [], parse_fail_on([*rules, "kev"])).decision == "deny"
