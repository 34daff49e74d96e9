"""Whoever answers for a robot is one pair of eyes with it."""

from __future__ import annotations

import pytest

from granted import NOW, asked, policy, wants
from pratique.grant.asking import request
from pratique.grant.decide import decide
from pratique.grant.index import GrantIndex
from pratique.grant.lifecycle import Approve, transition
from pratique.model.errors import GrantError
from pratique.model.privilege import Subject
from pratique.workload.docker_create import extract_exec

ENTITLED = "entitlements:\n- {id: all, privileges: [exec.root], maxUses: 0, approvals: {strength: 1}}\n"
RULES = policy("robots:\n- {id: 'unix:ci', owner: carol}\n- {id: 'k8s:system:serviceaccount:a:b', owner: carol}\n" + ENTITLED)
CI = Subject(id="ci", provider="unix", strength=1)
OTHER = Subject(id="system:serviceaccount:a:b", provider="k8s", strength=2, kind="robot")
CAROL = Subject(id="Carol", provider="oidc", strength=2)
DAVE = Subject(id="dave", provider="oidc", strength=2)
EXEC = extract_exec({"User": "0"})


def test_what_a_robot_asks_names_its_owner() -> None:
    """The request that approvers sign says who answers for it."""
    grant = request(asked("exec.root", subject=CI), RULES, NOW)
    assert (grant.asked.subject.owner, grant.asked.subject.kind) == ("carol", "robot")
    assert request(asked("exec.root", subject=DAVE), RULES, NOW).asked.subject.owner == ""


@pytest.mark.parametrize(
    ("by", "asks", "may"),
    [(CAROL, CI, False), (CI, CAROL, False), (OTHER, CI, False), (DAVE, CI, True), (CI, DAVE, True), (CAROL, DAVE, True)],
)
def test_owner_and_robot_are_one_pair_of_eyes(by: Subject, asks: Subject, may: bool) -> None:
    """Neither approves for the other, nor one robot of theirs for another."""
    grant = request(asked("exec.root", subject=asks), RULES, NOW)
    if may:
        assert transition(grant, Approve(by, grant.request), RULES, NOW).state == "active"
    else:
        with pytest.raises(GrantError, match="answers for who asks"):
            transition(grant, Approve(by, grant.request), RULES, NOW)


def test_an_owner_who_is_named_later_counts_at_once() -> None:
    """What was approved by who now turns out to be the owner helps no more."""
    before = policy(ENTITLED)
    grant = request(asked("exec.root", subject=CI), before, NOW)
    grant = transition(grant, Approve(CAROL, grant.request), before, NOW)
    question = wants(EXEC, "exec", subject=CI)
    assert decide(question, before, GrantIndex([grant]), NOW).allowed
    assert not decide(question, RULES, GrantIndex([grant]), NOW).allowed
