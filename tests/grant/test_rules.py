"""Rules that are filed say the same as rules that are asked one by one, errors and all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grantable import REQUESTS
from granted import ALICE, NOW, policy, wants
from granted import spec as container
from pratique.grant.conditions import Asking, ConditionError, ask, compile_condition
from pratique.grant.request import Request
from pratique.grant.rules import Broken, CompiledRule, RuleIndex

TEXTS = (
    "spec.privileged",
    "spec.privileged && target.namespace == 'team-a'",
    "'team-a' == target.namespace && subject.strength < 3",
    "target.namespace in ['team-a', 'other'] && 'SYS_ADMIN' in spec.capabilities",
    "(spec.mounts.exists(m, m.source == '/srv/data'))",
    "spec.mounts.exists(m, m.source == '/') || spec.privileged",
    "spec.mounts.all(m, m.read_only)",
    "!spec.privileged",
    "target.labels['tier'] == 'web'",
    "spec.privileged && target.labels['none'] == 'x'",
    "target.labels['none'] == 'x' && spec.privileged",
    "spec.devices.exists_one(d, d == '/dev/kvm')",
    "subject.id == 'alice'",
    "request.argv.exists(word, word == 'sh')",
    "request.needed.exists(p, p.startsWith('run.'))",
    "size(spec.namespaces) > 1",
    "context.hour > 30",
    "true",
    "false",
)
RULES = st.lists(
    st.builds(
        lambda number, text, actions: CompiledRule(f"r{number}", "", frozenset(actions), compile_condition(text)),
        st.integers(0, 10**6),
        st.sampled_from(TEXTS),
        st.lists(st.sampled_from(("run", "exec", "pull")), max_size=2),
    ),
    max_size=60,
)


def one_by_one(rules: list[CompiledRule], asking: Asking) -> list[Broken]:
    found = []
    for rule in rules:
        said = ask(rule.condition, asking) if not rule.actions or asking.request.action in rule.actions else False
        if said is not False:
            found.append(Broken(rule, said if isinstance(said, str) else ""))
    return found


@given(RULES, REQUESTS)
@settings(max_examples=150)
def test_filed_and_asked_alike(rules: list[CompiledRule], request: Request) -> None:
    """Whatever is left out of the asking would have been false; what errs is told from what holds."""
    asking = Asking(request, ("run.root",), NOW)
    found = RuleIndex(rules).broken(asking)
    wanted = one_by_one(rules, asking)
    assert [(one.rule.id, one.rule.condition.text, bool(one.error)) for one in found] == [
        (one.rule.id, one.rule.condition.text, bool(one.error)) for one in wanted
    ]


def test_a_rule_that_errs_denies() -> None:
    """Who cannot be asked is not let through, and it is said what went wrong."""
    from pratique.grant.decide import decide
    from pratique.grant.index import GrantIndex

    rules = policy("rules:\n- {id: tier, deny: \"target.labels['tier'] == 'payments'\"}\n")
    denied = decide(wants(container()), rules, GrantIndex(), NOW)
    assert (denied.ruling, denied.reasons[0].rule, denied.reasons[0].path) == ("deny", "tier", "target.labels")
    assert "could not be asked" in denied.reasons[0].text
    assert decide(wants(container(), target={"labels": {"tier": "web"}}), rules, GrantIndex(), NOW).allowed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec.priviliged", "spec.priv"),
        ("spec.mounts.exists(m, m.sauce == '/')", "no 'sauce'"),
        ("request.action == 'rum'", "rum"),
        ("spec.user ==", ""),
        ("spec.user", "true or false"),
        ("a" * 5000, ""),
    ],
)
def test_conditions_are_checked_when_they_are_read(text: str, said: str) -> None:
    """A slip is found when a policy is set, not when it is needed."""
    with pytest.raises(ConditionError) as error:
        compile_condition(text)
    assert said in f"{error.value.message} {error.value.hint}"


def test_no_rule_is_asked_where_none_is() -> None:
    """An empty index answers at once."""
    asking = Asking(Request(subject=ALICE, action="run", point="docker"), (), NOW)
    assert RuleIndex(()).broken(asking) == []
    assert list(RuleIndex(())) == []
