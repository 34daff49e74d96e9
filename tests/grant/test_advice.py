"""What a policy gives more than may be meant is said with its place; what is narrow is not nagged about."""

from __future__ import annotations

import pytest

from granted import policy
from pratique.grant.advice import advice

GOOD = """
    subjects: {groups: [devs]}
    baseline: {profile: restricted, mounts: ["/srv/app/**:rw"]}
    entitlements:
    - {id: a, privileges: [run.privileged], approvals: {from: [group:oncall]}}
    - {id: b, privileges: [exec.root], maxUses: 0, approvals: {count: 0}}
    breakGlass: {groups: [sre]}
"""


def said(body: str) -> list[str]:
    return [one.text for one in advice(policy(body))]


def test_what_is_narrow_is_fine() -> None:
    """A policy as it should be has nothing doubtful in it."""
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("before", "after", "words", "line"),
    [
        ('["/srv/app/**:rw"]', '["/etc/**:ro"]', "the baseline gives everybody", 6),
        ('["/srv/app/**:rw"]', '["/srv/app/**:rw"], privileges: [engine.admin]', "engine.admin", 6),
        ("{profile: restricted,", "{profile: restricted, anonymous: true,", "nobody knows", 6),
        ("{from: [group:oncall]}", "{count: 0}", "nobody's approval", 8),
        ("{from: [group:oncall]}", "{count: 1}", "anybody at all", 8),
        ("{from: [group:oncall]}", "{from: [group:oncall], fourEyes: false}", "their own requests", 8),
        ("{from: [group:oncall]}", "{from: [group:oncall], strength: 1}", "word of a user name", 8),
        ("[run.privileged],", "[run.privileged], maxUses: 0,", "any number of uses", 8),
        ("subjects: {groups: [devs]}", "subjects: {}", "entitles everybody", 8),
        ("breakGlass: {groups: [sre]}", "", "break the glass", 1),
    ],
)
def test_what_is_doubtful(before: str, after: str, words: str, line: int) -> None:
    """Each doubt is one line, at its place."""
    assert before in GOOD
    (one,) = advice(policy(GOOD.replace(before, after)))
    assert words in one.text
    assert one.place.line == line
