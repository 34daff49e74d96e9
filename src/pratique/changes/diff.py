"""Two reports in, every difference between them with its cause out: findings, packages, layers, gaps, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from pratique.changes import causes
from pratique.changes.facts import Facts, Half
from pratique.changes.packages import packages
from pratique.changes.pair import Pair, introduced, pair
from pratique.model.change import (
    Cause,
    CauseKind,
    Diff,
    FieldChange,
    FindingChange,
    GapChange,
    LayerChange,
    Presence,
    Side,
    VerdictChange,
)
from pratique.model.finding import Finding
from pratique.model.report import Report, Verdict

SCHEMA = "urn:pratique:schema:diff-1"
# EPSS moves a little every day for nearly every CVE; a twentieth is what changes anybody's order of work.
LEAST_EPSS = 0.05
_NOT_JUDGED = Verdict(decision="allow")


def diff(old: Report, new: Report, *, live: bool = False, gate: Verdict = _NOT_JUDGED) -> Diff:
    """Compare. `live` says that both were scanned just now, with one database; `gate` is the verdict on what is introduced."""
    facts = Facts(old, new, live=live)
    found = sorted(filter(None, (_finding(facts, both) for both in pair(old.findings, new.findings))), key=_order)
    gaps = _gaps(facts)
    return Diff(
        schema=SCHEMA,
        old=_side(old),
        new=_side(new),
        same_image=facts.same_image,
        same_database=facts.same_database,
        findings=tuple(found),
        packages=tuple(packages(facts)),
        layers=tuple(_layers(facts)),
        problems=tuple(gaps),
        verdict=_verdict(facts, found, gaps),
        gate=gate,
    )


def _side(report: Report) -> Side:
    target, database = report.target, report.meta.database
    distro = target.distro
    return Side(
        reference=target.reference,
        scheme=target.scheme,
        digest=target.digest,
        platform=target.platform,
        distro=f"{distro.id} {distro.version}".strip() if distro is not None else "",
        scanned_at=report.meta.scanned_at,
        version=report.meta.version,
        built_at=database.built_at,
        database=database.digest,
        kind=database.kind,
        complete=report.complete,
        decision=report.verdict.decision,
        policy=report.verdict.policy,
        packages=len(report.packages),
        findings=len(report.findings),
    )


def _order(change: FindingChange) -> tuple[object, ...]:
    """Put what is introduced first, then the exploited, then by severity; the rest by name."""
    finding = change.new or change.old
    assert finding is not None
    purl = finding.package.purl if finding.package is not None else ""
    where = finding.location
    place = (where.path, where.line) if where is not None else ("", 0)
    words = ("added", "changed", "removed").index(change.change)
    return not change.introduced, words, not finding.kev, -finding.severity.rank, finding.id, purl, place, finding.fingerprint


def _finding(facts: Facts, both: Pair) -> FindingChange | None:
    old, new = both
    if old is not None and new is not None:
        return _changed(facts, old, new)
    if new is not None:
        cause = causes.of_presence(facts, new, facts.new, facts.old)
        return FindingChange(change="added", old=None, new=new, introduced=introduced(new, None), cause=cause)
    assert old is not None
    cause = causes.of_presence(facts, old, facts.old, facts.new)
    return FindingChange(change="removed", old=old, new=None, introduced=False, cause=cause)


def _changed(facts: Facts, old: Finding, new: Finding) -> FindingChange | None:
    fields = tuple(
        FieldChange(name=name, old=then, new=now, cause=causes.of_member(facts, name, old, new))
        for name, then, now in _members(old, new)
        if then != now
    )
    if not fields:
        return None
    return FindingChange(
        change="changed",
        old=old,
        new=new,
        introduced=introduced(new, old),
        cause=_joined([field.cause for field in fields]),
        fields=fields,
    )


def _members(old: Finding, new: Finding) -> list[tuple[str, str, str]]:
    """Return (name, then, now) of what is compared, what matters most first."""
    both = (old, new)
    chances = [finding.epss.score if finding.epss is not None else None for finding in both]
    known = [chance for chance in chances if chance is not None]
    if len(known) == 2 and abs(known[0] - known[1]) < LEAST_EPSS:
        chances = [None, None]
    words = [
        ("severity", *(finding.severity.value for finding in both)),
        ("status", *(finding.status for finding in both)),
        ("kev", *("listed" if finding.kev else "" for finding in both)),
        ("waiver", *(_waiver(finding) for finding in both)),
        ("fixed_in", *(", ".join(finding.fixed_in) for finding in both)),
        ("id", *(finding.id for finding in both)),
        ("version", *(finding.package.version if finding.package is not None else "" for finding in both)),
        ("epss", *("" if chance is None else f"{chance:.5f}" for chance in chances)),
    ]
    return [(name, then, now) for name, then, now in words]


def _waiver(finding: Finding) -> str:
    waiver = finding.waiver or {}
    parts = [str(waiver.get(name, "")) for name in ("id", "state", "rule", "expires", "ended", "short")]
    return " ".join(part for part in parts if part)


def _joined(found: Sequence[Cause]) -> Cause:
    """Make one cause of several: the first, with those of other kinds, or that name other things, beside it."""
    first, *rest = dict.fromkeys(found)
    return msgspec.structs.replace(first, also=tuple(rest)) if rest else first


def _layers(facts: Facts) -> Iterable[LayerChange]:
    """A layer is the same wherever it stands: those of a new base leave the layers above as they are."""
    cause = Cause(kind="image", message="another image") if not facts.same_image else causes.of_inventory(facts)
    for change, has, lacks in _sides(facts):
        others = {layer.diff_id for layer in lacks.report.target.layers}
        for index, layer in enumerate(has.report.target.layers):
            if layer.diff_id not in others:
                made = msgspec.structs.replace(cause, layer=layer.diff_id, instruction=layer.created_by)
                yield LayerChange(change=change, index=index, layer=layer, cause=made)


def _sides(facts: Facts) -> tuple[tuple[Presence, Half, Half], tuple[Presence, Half, Half]]:
    return ("removed", facts.old, facts.new), ("added", facts.new, facts.old)


def _gaps(facts: Facts) -> list[GapChange]:
    return [
        GapChange(change=change, gap=gap, cause=causes.of_gap(facts, gap, has, lacks))
        for change, has, lacks in _sides(facts)
        for gap in sorted(set(has.report.problems) - set(lacks.report.problems))
    ]


def _verdict(facts: Facts, findings: Sequence[FindingChange], gaps: Sequence[GapChange]) -> VerdictChange | None:
    old, new = facts.old.report.verdict, facts.new.report.verdict
    rules = [{reason.rule for reason in verdict.reasons} for verdict in (old, new)]
    if old.decision == new.decision and rules[0] == rules[1]:
        return None
    return VerdictChange(
        old=old.decision,
        new=new.decision,
        added=tuple(sorted(rules[1] - rules[0])),
        removed=tuple(sorted(rules[0] - rules[1])),
        cause=_of_verdict(facts, rules[0] ^ rules[1], findings, gaps),
    )


def _of_verdict(facts: Facts, rules: set[str], findings: Sequence[FindingChange], gaps: Sequence[GapChange]) -> Cause:
    """Say why two verdicts differ: another policy, or else the causes of what the rules that only one of them names are about."""
    old, new = facts.old.report.verdict, facts.new.report.verdict
    if old.policy != new.policy:
        names = [f"{verdict.policy.name} {verdict.policy.digest[:19]}" if verdict.policy else "none" for verdict in (old, new)]
        return Cause(kind="policy", message=f"policy {names[0]}, then {names[1]}")
    reasons = [reason for verdict in (old, new) for reason in verdict.reasons if reason.rule in rules]
    prints = {name for reason in reasons for name in reason.findings}
    found = [change.cause for change in findings if _prints(change) & prints]
    if any(reason.rule == "gaps" for reason in reasons):
        found += [change.cause for change in gaps]
    kinds: dict[CauseKind, Cause] = {}
    for cause in found:
        for one in (cause, *cause.also):
            kinds.setdefault(one.kind, msgspec.structs.replace(one, also=()))
    if kinds:
        return _joined([kinds[kind] for kind in sorted(kinds)])
    named = ", ".join(sorted(rules))
    if prints or facts.same_image:
        return Cause(kind="policy", message=f"the same findings, but other rules were asked for: {named}")
    return Cause(kind="image", message=f"another image: {named}" if named else "another image")


def _prints(change: FindingChange) -> set[str]:
    return {finding.fingerprint for finding in (change.old, change.new) if finding is not None}
