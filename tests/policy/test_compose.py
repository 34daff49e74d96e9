"""Imports, bindings and overrides: and that nobody below weakens what is final."""

from __future__ import annotations

import re

import pytest

from policying import decision, finding, policy, rule, subject
from pratique.model.errors import PolicyError

ORG = """
final: true
rules:
- {id: kev, when: finding.kev, effect: deny, grace: 7d, stages: [ci, deploy]}
- {id: high, when: "finding.severity == 'high'", effect: warn, waivable: false}
"""
OPEN = ORG.replace("final: true\n", "")


def _team(body: str, org: str = ORG) -> object:
    return policy(f"import: [org.yaml]\n{body}", {"org.yaml": org})


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ("rule: kev, disabled: true", "disabled"),
        ("rule: kev, effect: warn", "effect"),
        ("rule: high, effect: allow", "effect"),
        ("rule: kev, grace: 8d", "grace"),
        ("rule: kev, grace: {for: 1d, from: fix}", "grace"),
        ("rule: high, grace: 1s", "grace"),
        ("rule: high, waivable: true", "waivable"),
        ("rule: kev, stages: [deploy]", "stages"),
        ("rule: high, environments: [prod]", "environments"),
        ("rule: high, namespaces: [a]", "namespaces"),
        ("rule: high, teams: [a]", "teams"),
    ],
)
def test_final_rules_are_not_weakened(change: str, at: str) -> None:
    """Each way to weaken one is an error at its place; where the rule is not final, it is fine."""
    with pytest.raises(PolicyError, match=rf"^policy.yaml:\d+:\d+: rule '\w+' of org.yaml is final: {at} would weaken it"):
        _team(f"overrides:\n- {{{change}}}\n")
    _team(f"overrides:\n- {{{change}}}\n", OPEN)


@pytest.mark.parametrize(
    "change", ["rule: high, effect: deny", "rule: kev, grace: 6d", "rule: kev, grace: 0s", "rule: kev, waivable: false",
               "rule: high, message: other"]
)  # fmt: skip
def test_final_rules_may_be_strengthened(change: str) -> None:
    """Stricter is allowed."""
    _team(f"overrides:\n- {{{change}}}\n")


def test_final_through_another() -> None:
    """What is final stays so when it is imported by way of a third, and cannot be bound to less."""
    files = {"org.yaml": ORG, "mid.yaml": "import: [org.yaml]\n"}
    with pytest.raises(PolicyError, match="is final"):
        policy("import: [mid.yaml]\noverrides:\n- {rule: kev, disabled: true}\n", files)
    with pytest.raises(PolicyError, match="cannot be bound to less"):
        policy("import:\n- {policy: mid.yaml, stages: [deploy]}\n", files)
    with pytest.raises(PolicyError, match="is final"):
        policy(
            "import: [mid.yaml, org.yaml]\noverrides:\n- {rule: kev, disabled: true}\n",
            {**files, "mid.yaml": "import: [org.yaml]"},
        )


def test_twins_that_differ_both_stay() -> None:
    """A way round by a second import that weakens first does not help: the strictest decides."""
    files = {"org.yaml": OPEN, "soft.yaml": "import: [org.yaml]\noverrides:\n- {rule: high, disabled: true}\n"}
    both = policy("import: [soft.yaml, org.yaml]\n", files)
    assert decision(subject(finding()), both) == "warn"
    assert len(policy("import: [org.yaml, org.yaml]\n", {"org.yaml": OPEN}).rules) == 2


def test_bindings_of_imports() -> None:
    """A policy can be imported for some stages only; inner and outer bindings both count."""
    bound = policy(
        "import:\n- {policy: org.yaml, stages: [deploy, runtime], teams: [web]}\n", {"org.yaml": OPEN.replace(", grace: 7d", "")}
    )
    found = finding(severity="low", kev=True)
    assert [decision(subject(found, stage=stage, team="web"), bound) for stage in ("dev", "ci", "deploy", "runtime")] == [
        "allow", "allow", "deny", "allow"
    ]  # fmt: skip
    assert decision(subject(found, stage="deploy", team="db"), bound) == "allow"


def test_namespaces() -> None:
    """A rule for some namespaces; where nobody says which, it counts, and an `allow` does not."""
    bound = policy("rules:\n- {id: a, when: finding.kev, effect: deny, namespaces: ['pay*', kube-system]}\n")
    found = finding(kev=True)
    for namespace, expected in (("payments", "deny"), ("kube-system", "deny"), ("shop", "allow"), ("", "deny")):
        assert decision(subject(found, namespace=namespace), bound) == expected, namespace
    body = "- {id: b, when: finding.kev, effect: allow, namespaces: [sandbox]}\n- {id: a, when: finding.kev, effect: deny}\n"
    assert [decision(subject(found, namespace=name), policy(f"rules:\n{body}")) for name in ("sandbox", "x", "")] == [
        "allow",
        "deny",
        "deny",
    ]
    assert decision(subject(found, namespace="pay"), policy("import:\n- {policy: o, namespaces: [x]}\n", {"o": OPEN})) == "allow"
    assert decision(subject(found, namespace="pay"), rule("context.namespace == 'pay'")) == "deny"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import: [nowhere.yaml]\n", r"policy.yaml:5:\d+: import 'nowhere.yaml': there is no such policy"),
        ("import: [loop.yaml]\n", r"loop.yaml:5:\d+: import 'loop.yaml': it imports this policy"),
        (
            "overrides:\n- {rule: kve, disabled: true}\nimport: [org.yaml]\n",
            "there is no imported rule 'kve' .did you mean 'kev'",
        ),
        ("import: [org.yaml]\nrules:\n- {id: kev, when: finding.kev, effect: warn}\n", "rule 'kev' is already one of org.yaml"),
        (
            "rules:\n- {id: a, when: finding.kev, effect: warn}\n- {id: a, when: finding.kev, effect: warn}\n",
            "rule 'a' is already",
        ),
        ("import: []\n", "a policy without rules"),
        ("import: [org.yaml]\noverrides:\n- {rule: kev, message: '{gap.code}'}\n", "there is no 'gap.code'"),
    ],
)
def test_what_cannot_be_composed(body: str, said: str) -> None:
    """Missing, circular, ambiguous: an error with its place."""
    with pytest.raises(PolicyError) as caught:
        policy(body, {"org.yaml": OPEN, "loop.yaml": "import: [loop.yaml]\n"})
    assert re.search(said, str(caught.value))


def test_many_imports_end() -> None:
    """A tree of imports that would double at each level is cut."""
    files = {f"p{n}.yaml": f"import: [p{n + 1}.yaml, p{n + 1}.yaml]\n" for n in range(20)}
    files["p20.yaml"] = OPEN
    with pytest.raises(PolicyError, match="more than 50 policies"):
        policy("import: [p0.yaml]\n", files)


def test_terms_of_waivers_add_up() -> None:
    """What an organisation asks of waivers counts also where a team asks less."""
    rules = policy("import: [org.yaml]\nwaivers: {ticket: false}\n", {"org.yaml": "waivers: {ticket: true}\n" + OPEN})
    assert [term.ticket for term in rules.terms] == [True, False]
