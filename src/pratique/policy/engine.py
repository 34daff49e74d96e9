"""What is known of an image, policies and waivers in, one verdict out. Pure: no clock, no file, no order of its inputs matters.

A condition that errs denies, and says so. An `allow` takes back what other rules of its own policy say of the item, unless they
are final.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from pratique._kit.moments import lasting, moment, written
from pratique.model.finding import Finding
from pratique.model.report import PolicyRef, Reason, Verdict
from pratique.policy.compose import STRENGTH, PolicySet, SetRule, fields_of, render
from pratique.policy.document import Effect, Waiver
from pratique.policy.facts import LONG_AGO, Each, Item, Subject, earlier, fixed_since, items
from pratique.policy.judge import judge, parse_fail_on, waived
from pratique.policy.language import Batch, values
from pratique.policy.waiver import COMMENT, Waived, apply, choose, has_comment, of_comment, short_of, shown

MAX_QUESTIONS = 20_000_000  # rules times items; beyond, about a minute: the verdict is then that nobody can tell
_NO_DAY = ", counted from disclosure: no source says since when there is a fix"
MAX_MESSAGE = 500  # characters of a rendered message: it is one line of a report

Outcome = Literal["fired", "error", "waived", "grace", "allowed", "known"]


class Firing(NamedTuple):
    """A rule that held (or erred) for an item: what came of it, and why it came to less than the rule says, until when."""

    rule: SetRule
    item: Item
    outcome: Outcome
    effect: Effect
    message: str
    note: str = ""
    waiver: Waiver | None = None
    until: str = ""


class Judgement(NamedTuple):
    """The verdict, the findings with their waivers, and every rule that fired, also where a waiver or grace held it back."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    firings: tuple[Firing, ...]


class _Deciding(NamedTuple):
    subject: Subject
    applied: dict[int, Waived]
    of_rules: dict[str, list[Waiver]]
    policy: PolicySet


def decide(
    subject: Subject, policies: Sequence[PolicySet] = (), waivers: Sequence[Waiver] = (), fail_on: Sequence[str] = ()
) -> Judgement:
    """Judge. `fail_on` are the built-in rules of `judge.parse_fail_on`. The strictest of all policies decides."""
    waivers = sorted(waivers, key=lambda w: (w.id, w.expires, w.vulnerability, w.package))
    subject, applied = apply(subject, waivers, [term for policy in policies for term in policy.terms])
    of_rules: dict[str, list[Waiver]] = {}
    for waiver in waivers:
        if waiver.rule:
            of_rules.setdefault(waiver.rule, []).append(waiver)
    known = {id(f): w for f, w in zip(subject.findings, applied, strict=True) if w is not None}
    firings = [f for policy in policies for f in _fire(_Deciding(subject, known, of_rules, policy))]
    basic = judge(subject.findings, subject.gaps, fail_on, subject.before.findings if subject.before is not None else ())
    reasons = [*basic.reasons, *_reasons(firings)]
    decision: Literal["allow", "warn", "deny"] = "deny" if basic.decision == "deny" else "allow"
    for firing in firings:
        if STRENGTH[firing.effect] > STRENGTH[decision]:
            decision = firing.effect
    verdict = Verdict(
        decision=decision,
        policy=reference(policies, fail_on),
        reasons=tuple(dict.fromkeys(reasons)),
        until=_until(subject, firings),
    )
    return Judgement(verdict, _with_rule_waivers(subject.findings, firings), tuple(firings))


def _until(subject: Subject, firings: Iterable[Firing]) -> str:
    """Return when the first thing ends that the verdict may rest on: a waiver that holds, a grace, the distribution's support."""
    ends = {firing.until for firing in firings}
    ends |= {str((finding.waiver or {}).get("expires", "")) for finding in subject.findings if waived(finding)}
    ends.add(getattr(getattr(subject.target, "distro", None), "eol", None) or "")
    now = moment(subject.now)
    left = [end for end in (_moment(text) for text in ends if text) if end > now]
    return written(min(left)) if left else ""


def reference(policies: Sequence[PolicySet], fail_on: Sequence[str]) -> PolicyRef | None:
    """Name what decided: one policy as it is, several by all their names and one digest; None where only --fail-on did."""
    if not policies:
        return None
    if len(policies) == 1 and not fail_on:
        return PolicyRef(policies[0].name, policies[0].digest)
    names = [*sorted(policy.name for policy in policies), *(f"fail-on-{word}" for word in parse_fail_on(fail_on))]
    parts = [*sorted(policy.digest for policy in policies), *parse_fail_on(fail_on)]
    return PolicyRef("+".join(names), "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest())


def verdict_digest(verdict: Verdict) -> str:
    """Return the digest of a verdict's canonical JSON: what two places compare that must have decided alike."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(verdict, order="deterministic")).hexdigest()


def _fire(deciding: _Deciding) -> list[Firing]:
    groups: dict[Each, list[SetRule]] = {}
    for rule in deciding.policy.rules:
        if rule.applies(deciding.subject.context):
            groups.setdefault(rule.condition.each, []).append(rule)
    everything = False
    firings: list[Firing] = []
    for each in sorted(groups, key=lambda name: name != "image"):  # an allow for the whole image goes before
        looked_at = items(deciding.subject, each)
        rules = groups[each]
        if len(rules) * len(looked_at) > MAX_QUESTIONS:
            firings.append(Firing(rules[0], Item(deciding.subject), "error", "deny", f"more than {MAX_QUESTIONS} questions"))
            continue
        batch = Batch([rule.condition for rule in rules])
        for place, item in enumerate(looked_at):
            answers = batch.ask(item)
            if answers.count(False) < len(answers):  # most hold for nothing
                held = [(rule, answer) for rule, answer in zip(rules, answers, strict=True) if answer is not False]
                known = _known(rules, batch, earlier(item, place))
                fresh = [(rule, answer) for rule, answer in held if id(rule) not in known or answer is not True]
                found = _settle(deciding, item, fresh, everything=everything)
                found += [_as_known(rule, item) for rule, answer in held if id(rule) in known and answer is True]
                everything = everything or (each == "image" and any(f.outcome == "fired" and f.effect == "allow" for f in found))
                firings += found
    return firings


def _settle(deciding: _Deciding, item: Item, held: Sequence[tuple[SetRule, bool | str]], *, everything: bool) -> list[Firing]:
    """Say what comes of the rules that held for one item."""
    allows = [rule.rule.id for rule, answer in held if rule.rule.effect == "allow" and answer is True]
    found = []
    for rule, answer in held:
        if isinstance(answer, str):
            message = f"{rule.rule.id} could not be evaluated on {item.label()}: {answer}"[:MAX_MESSAGE]
            found.append(Firing(rule, item, "error", "deny", message))
            continue
        message = _message(rule, item)
        if rule.rule.effect == "allow":
            found.append(Firing(rule, item, "fired", "allow", message))
        elif (allows or everything) and not rule.locked:
            by = f"allowed by {allows[0]}" if allows else "the whole image is allowed"
            found.append(Firing(rule, item, "allowed", "allow", message, by))
        else:
            found.append(_held_back(deciding, rule, item, message))
    return found


def _known(rules: Sequence[SetRule], batch: Batch, then: Item | None) -> set[int]:
    """Return the rules that held, and were not waived, for an item as the baseline has it: they are no news now."""
    if then is None or (then.finding is not None and waived(then.finding)):
        return set()
    excepted = str((then.finding.waiver or {}).get("rule", "")) if then.finding is not None else ""
    return {
        id(rule)
        for rule, answer in zip(rules, batch.ask(then), strict=True)
        if answer is True and rule.rule.effect != "allow" and rule.rule.id != excepted
    }


def _as_known(rule: SetRule, item: Item) -> Firing:
    return Firing(rule, item, "known", "allow", _message(rule, item), "it held for the baseline as well")


def _held_back(deciding: _Deciding, rule: SetRule, item: Item, message: str) -> Firing:
    """Look whether a waiver or a grace stands before the rule."""
    note = ""
    for waiver in _waivers_for(deciding, rule, item):
        short = short_of(waiver, deciding.policy.terms, deciding.subject.now)
        name = "the comment there" if waiver.id == COMMENT else f"waiver {waiver.id}"
        if not rule.rule.waivable:
            note = f"{name} does not count: the rule cannot be waived"
        elif short:
            note = f"{name} does not count: {short}"
        else:
            until = f", until {waiver.expires}" if waiver.expires else ""
            by = name + until if waiver.id == COMMENT else f"{name} of {waiver.owner or 'nobody'}{until}"
            return Firing(rule, item, "waived", "allow", message, by, waiver, str(waiver.expires))
    for ended in (deciding.applied.get(id(item.finding)), choose(deciding.of_rules.get(rule.rule.id, ()), item)):
        if ended is not None and ended.ended:
            note = f"waiver {ended.waiver.id} ended: {ended.ended}"
    waits, grace, ends = _grace(rule, item)
    note = "; ".join(filter(None, (note, grace)))
    if waits:
        effect: Effect = "warn" if rule.rule.effect == "deny" else "allow"
        return Firing(rule, item, "grace", effect, message, note, until=ends)
    return Firing(rule, item, "fired", rule.rule.effect, message, note)


def _waivers_for(deciding: _Deciding, rule: SetRule, item: Item) -> list[Waiver]:
    """Return the waivers that hold for this rule on this item."""
    found = []
    general = deciding.applied.get(id(item.finding)) if item.finding is not None else None
    if general is not None and not general.ended:
        found += [general.waiver, *general.others]
    elif item.finding is not None and has_comment(item.finding):
        found.append(of_comment(item.finding))
    special = choose(deciding.of_rules.get(rule.rule.id, ()), item)
    if special is not None and not special.ended:
        found += [special.waiver, *special.others]
    return found


def _grace(rule: SetRule, item: Item) -> tuple[bool, str, str]:
    """Say whether a rule waits for a finding, in words until when or why not (any more), and when that ends.

    An unknown disclosure was long ago.
    """
    grace, finding = rule.grace(), item.finding
    if grace is None or finding is None:
        return False, "", ""
    begins, instead = _moment(finding.published), ""
    if grace.since == "fix":
        if not finding.fixed_in:
            return True, f"its grace of {lasting(grace.lasts)} begins when there is a fix", ""
        known = fixed_since(item.subject, finding)
        begins = _moment(known or finding.published)
        instead = "" if known else _NO_DAY
    if begins == LONG_AGO:
        missing = (
            "neither the day of the fix nor that of disclosure is known" if instead else "the day of disclosure is not known"
        )
        return False, f"no grace: {missing}", ""
    try:
        ends = begins + dt.timedelta(seconds=grace.lasts)
    except OverflowError:
        return True, "grace without end", ""
    waits = moment(item.subject.now) < ends
    return waits, f"its grace {'ends' if waits else 'ended'} {written(ends)}{instead}", written(ends)


def _moment(text: str) -> dt.datetime:
    try:
        return moment(text) if text else LONG_AGO
    except ValueError:
        return LONG_AGO


def _message(rule: SetRule, item: Item) -> str:
    template = rule.message
    text = render(template, values(fields_of(template), item))
    return " ".join(text.split())[:MAX_MESSAGE]


class _Said(NamedTuple):
    """What firings are joined by, in the order in which reasons stand."""

    weight: int
    rule: str
    message: str
    effect: Effect
    remedy: str


def _reasons(firings: Iterable[Firing]) -> list[Reason]:
    """Join what says the same; in the order of decision, rule and message."""
    joined: dict[_Said, set[str]] = {}
    for firing in firings:
        if firing.effect == "allow" and not (firing.outcome == "waived" and firing.item.finding is None):
            continue  # a finding shows its waiver itself
        message, remedy = firing.message, ""
        if firing.outcome == "waived":
            message = f"waived: {message} ({firing.note})"
        else:
            remedy = firing.rule.rule.remedy
            message = f"warning: {message}" if firing.effect == "warn" else message
            message += f" ({firing.note})" if firing.note else ""
            message += f"; {remedy}" if remedy else ""
        said = _Said(-STRENGTH[firing.effect], firing.rule.rule.id, message, firing.effect, remedy)
        joined.setdefault(said, set()).update([firing.item.finding.fingerprint] if firing.item.finding else [])
    return [
        Reason(said.rule, said.message, tuple(sorted(prints)), said.effect, said.remedy)
        for said, prints in sorted(joined.items())
    ]


def _with_rule_waivers(findings: Sequence[Finding], firings: Iterable[Firing]) -> tuple[Finding, ...]:
    """Show on a finding also the waiver that holds for one rule only."""
    special: dict[int, Waiver] = {}
    for firing in firings:
        finding = firing.item.finding
        if firing.waiver is not None and finding is not None and finding.waiver is None:
            special.setdefault(id(finding), firing.waiver)
    if not special:
        return tuple(findings)
    return tuple(
        msgspec.structs.replace(finding, waiver=shown(Waived(special[id(finding)], ""))) if id(finding) in special else finding
        for finding in findings
    )
