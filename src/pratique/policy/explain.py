"""What was judged in, the story of each rule out: on what it fired, what held it back, or why it did not fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pratique.policy.compose import PolicySet, SetRule
from pratique.policy.document import Binding, Waiver
from pratique.policy.engine import Firing, Judgement, decide
from pratique.policy.facts import Context, Item, Subject, items
from pratique.policy.language import ConditionError, ask, compile_condition, conjuncts
from pratique.policy.waiver import apply

MAX_SHOWN = 20  # things that one rule fired on, in text; the JSON document has them all


class Part(NamedTuple):
    """A part of a condition that had to hold, and for how many items it did."""

    text: str
    held: int


class Story(NamedTuple):
    """What came of one rule. `why` says why it did not fire; `parts` which part of its condition failed."""

    rule: SetRule
    policy: str
    asked: int
    firings: tuple[Firing, ...]
    why: str = ""
    parts: tuple[Part, ...] = ()


def explain(
    subject: Subject, policies: Sequence[PolicySet], waivers: Sequence[Waiver] = (), fail_on: Sequence[str] = ()
) -> tuple[Judgement, list[Story]]:
    """Judge, and tell the story of every rule, in the order of policies and rules."""
    judgement = decide(subject, policies, waivers, fail_on)
    seen, _ = apply(subject, waivers, [term for policy in policies for term in policy.terms])
    by_rule: dict[int, list[Firing]] = {}
    for firing in judgement.firings:
        by_rule.setdefault(id(firing.rule), []).append(firing)
    stories = [_story(rule, policy, seen, by_rule.get(id(rule), [])) for policy in policies for rule in policy.rules]
    return judgement, stories


def _story(rule: SetRule, policy: PolicySet, subject: Subject, firings: Sequence[Firing]) -> Story:
    if not rule.applies(subject.context):
        return Story(rule, policy.name, 0, (), _elsewhere(rule, subject.context))
    looked_at = items(subject, rule.condition.each)
    if firings:
        return Story(rule, policy.name, len(looked_at), tuple(firings))
    if not looked_at:
        return Story(rule, policy.name, 0, (), f"there is no {rule.condition.each} to look at")
    parts = tuple(_parts(rule, looked_at))
    each = rule.condition.each
    what = f"the {each}" if each == "image" else f"any of {len(looked_at)} {each}s"
    return Story(rule, policy.name, len(looked_at), (), f"its condition did not hold for {what}", parts)


def _elsewhere(rule: SetRule, context: Context) -> str:
    said = f"stage {context.stage or '-'}, team {context.team or '-'}, environment {context.environment or '-'}"
    said += f", namespace {context.namespace or '-'}"
    bound = "; ".join(filter(None, (_binding(binding) for binding in (rule.rule, *rule.bindings))))
    return f"it is bound to {bound}; this is {said}"


def _binding(binding: Binding) -> str:
    names = (
        ("stages", binding.stages),
        ("environments", binding.environments),
        ("namespaces", binding.namespaces),
        ("teams", binding.teams),
    )
    return ", ".join(f"{name} {' '.join(values)}" for name, values in names if values)


def _parts(rule: SetRule, looked_at: Sequence[Item]) -> list[Part]:
    texts = conjuncts(" ".join(rule.condition.text.split()) if "'''" not in rule.condition.text else rule.condition.text)
    if len(texts) < 2:
        return []
    found = []
    for text in texts:
        try:
            condition = compile_condition(text, rule.condition.each)
        except ConditionError:
            continue
        found.append(Part(text, sum(ask(condition, item) is True for item in looked_at)))
    return found


def document(judgement: Judgement, stories: Sequence[Story]) -> dict[str, Any]:
    """Return the JSON document of an explanation."""
    return {
        "verdict": judgement.verdict,
        "rules": [
            {
                "rule": story.rule.rule.id,
                "policy": story.policy,
                "origin": story.rule.origin,
                "effect": story.rule.rule.effect,
                "when": " ".join(story.rule.condition.text.split()),
                "each": story.rule.condition.each,
                "asked": story.asked,
                "fired": [
                    {"on": f.item.label(), "outcome": f.outcome, "effect": f.effect, "message": f.message, "note": f.note}
                    for f in story.firings
                ],
                "why_not": story.why,
                "parts": [{"when": part.text, "held": part.held} for part in story.parts],
            }
            for story in stories
        ],
    }


def lines(stories: Sequence[Story]) -> list[str]:
    """Return the stories as lines of text."""
    found: list[str] = []
    for story in stories:
        rule = story.rule.rule
        found.append(f"{rule.id} ({rule.effect}, {story.rule.origin})")
        for firing in story.firings[:MAX_SHOWN]:
            note = f" ({firing.note})" if firing.note else ""
            found.append(f"  {firing.outcome}, {firing.effect}: {firing.message}{note}")
        if len(story.firings) > MAX_SHOWN:
            found.append(f"  and {len(story.firings) - MAX_SHOWN} more")
        if story.why:
            found.append(f"  did not fire: {story.why}")
        found += [f"    {part.text}: held for {part.held} of {story.asked}" for part in story.parts]
    return found
