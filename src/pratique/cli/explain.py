"""`pratique explain`: a target and a vulnerability in, why it is or is not reported out."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.progress import Progress
from pratique.cli.target import HELP, TargetOptions, given_as, scan_options, target_settings, vex_settings
from pratique.match.explain import Spared, spared
from pratique.match.find import subjects
from pratique.model.finding import Because, Finding
from pratique.model.inventory import Gap, Inventory
from pratique.model.report import Report
from pratique.model.vex import VexUnapplied
from pratique.pipeline import ScanOptions, inspect, judge_inventory
from pratique.report.document import vex_text
from pratique.report.text import cut, plural, safe

SCHEMA = "urn:pratique:schema:explain-1"
Answer = Literal["reported", "not-reported", "unknown"]
EXIT_CODES: dict[Answer, int] = {"reported": 0, "not-reported": 1, "unknown": 3}
# Gaps that leave open whether the answer would be another one: what was not asked, or not seen.
_OPEN = (
    "advisories.starter-only", "advisories.missing-source", "advisories.unsupported", "advisories.not-known-yet",
    "advisories.history-compacted",
)  # fmt: skip
_INSTRUCTION = 160  # columns of the instruction that made a layer; JSON has all of it


class Explanation(msgspec.Struct, kw_only=True):
    """The JSON document: what was asked, under which names it is known in which feeds, and the answer with its reasons."""

    schema: str = SCHEMA
    id: str
    target: str
    answer: Answer
    message: str
    names: list[str]
    sources: list[str]
    findings: list[Finding]
    packages: list[Spared]
    problems: list[Gap]
    vex: list[VexUnapplied] = []


@click.command(short_help="Say why a vulnerability is, or is not, reported for a target.", context_settings=HELP)
@click.argument("target")
@click.argument("identifier", metavar="ID")
@setting("-f", "--format", type=click.Choice(["table", "json"], case_sensitive=False), default="table", help="table or json.")
@vex_settings
@target_settings
def command(target: str, identifier: str, **given: Any) -> int:
    """Say why the vulnerability ID (a CVE, GHSA or any other name of it) is, or is not, reported for TARGET.

    For what is reported: the packages, which advisory of which source, its range, the comparison that was true, the layer and
    instruction that brought the package, the fixed version, KEV and EPSS. For what is not: the packages that it is about and the
    comparison that clears each, a distributor's word, an owner that answers for it, or what was not known.

    TARGET is as for scan. Exit codes: 0 reported, 1 not reported, 2 bad usage, 3 could not tell.
    """
    options = given_as(_Options, given)
    progress = Progress(quiet=options.quiet)
    with ExitStack() as stack:
        stack.callback(progress.clear)
        how = scan_options(options, progress)
        found = explain(target, identifier.strip(), how)
    if options.format == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    else:
        for line in _lines(found):
            click.echo(line.rstrip())
    return EXIT_CODES[found.answer]


class _Options(TargetOptions, kw_only=True):
    format: str


def explain(target: str, identifier: str, how: ScanOptions) -> Explanation:
    """Inspect, match and look for one vulnerability. Raises what a scan raises."""
    from pratique.image.reference import parse_target  # noqa: PLC0415 - start-up stays lazy

    inventory, facts = inspect(parse_target(target), how)
    report = judge_inventory(inventory, facts, how)
    identifier = identifier.upper() if identifier.upper().startswith("CVE-") else identifier
    names, sources, packages = _knowledge(identifier, inventory, report, how)
    findings = [finding for finding in report.findings if _is_about(finding, identifier, names)]
    if findings:
        reported = {finding.package.purl for finding in findings if finding.package}
        packages = [one for one in packages if one.package not in reported]
    gaps = [gap for gap in report.problems if gap.code.startswith(_OPEN) or identifier in gap.message]
    answer, message = _answer(identifier, findings, packages, sources, gaps, report)
    return Explanation(
        id=identifier,
        target=f"{facts.scheme}:{facts.reference}",
        answer=answer,
        message=message,
        names=sorted(names),
        sources=sources,
        findings=findings,
        packages=packages,
        problems=gaps if answer != "reported" else [],
        vex=_unapplied(report, names),
    )


def _unapplied(report: Report, names: set[str]) -> list[VexUnapplied]:
    """Return the VEX statements about the vulnerability that have no effect."""
    folded = {name.upper() for name in names}
    return [one for one in report.vex.unapplied if one.vulnerability.upper() in folded] if report.vex is not None else []


def _knowledge(
    identifier: str, inventory: Inventory, report: Report, how: ScanOptions
) -> tuple[set[str], list[str], list[Spared]]:
    """Return all names of the vulnerability, the feeds that know it, and the packages it is about that are not affected by it."""
    from pratique.advisory.lookup import open_database  # noqa: PLC0415 - start-up stays lazy

    owned = [package for package in inventory.packages if package.owner]
    free = [msgspec.structs.replace(package, owner="") for package in owned]
    asked, _ = subjects([*(package for package in inventory.packages if not package.owner), *free], inventory.release)
    wanted: dict[str, set[str]] = {}
    for subject in asked:
        wanted.setdefault(subject.ecosystem, set()).add(subject.name)
    as_of = dt.datetime.fromisoformat(how.as_of) if how.as_of else None
    with open_database(how.sources.cache_dir, as_of=as_of) as database:
        known = database.find(identifier)
        hits = {ecosystem: database.lookup(ecosystem, sorted(names)) for ecosystem, names in wanted.items()}
    names = {identifier}
    for _, advisory in known:
        own = {advisory.id, *advisory.aliases}
        if identifier in own:
            names |= own
    affected = {f.package.purl for f in report.findings if f.package is not None and _is_about(f, identifier, names)}
    ids = names | {advisory.id for _, advisory in known}
    feeds = sorted({feed for feed, _ in known})
    return names, feeds, spared(asked, owned, hits, ids, affected)


def _is_about(finding: Finding, identifier: str, names: set[str]) -> bool:
    if not names.isdisjoint((finding.id, *finding.aliases)):
        return True
    because = finding.because  # a notice is asked for: what it fixes goes by the CVEs
    return because is not None and identifier in (because.advisory, *(other.advisory for other in because.also))


def _answer(
    identifier: str, findings: list[Finding], packages: list[Spared], sources: list[str], gaps: list[Gap], report: Report
) -> tuple[Answer, str]:
    if findings:
        return "reported", f"{identifier} is reported for {plural(len(findings), 'package')}"
    if packages:
        return "not-reported", f"{identifier} is about {plural(len(packages), 'installed package')}, and holds for none"
    if not sources:
        return "unknown", f"{identifier} is not known to any advisory source that was asked"
    if gaps or not report.packages:
        return "unknown", f"whether {identifier} holds cannot be told: not every source of this target was there"
    incomplete = "" if report.complete else ", as far as the target could be examined"
    return "not-reported", f"no package that {identifier} is about is installed{incomplete}"


def _lines(found: Explanation) -> Iterator[str]:
    yield safe(f"{found.message} (in {found.target})")
    others = [name for name in found.names if name != found.id]
    if others:
        yield safe(f"  also known as {', '.join(others)}")
    for finding in found.findings:
        yield ""
        yield from _reported(finding)
    for package in found.packages:
        yield ""
        yield from _spared(package)
    if found.vex:
        yield ""
        yield "  VEX statements that do not apply:"
        for one in found.vex:
            what = f"statement {one.statement} of {one.document}, {one.status.replace('_', ' ')}, {one.product or 'no product'}"
            yield safe(f"    {what}: {one.message}")
    if found.problems:
        yield ""
        yield "  What was not known:"
        yield from (safe(f"    {gap.code}: {gap.message}") for gap in found.problems)


def _reported(finding: Finding) -> Iterator[str]:
    package = finding.package
    name = f"{package.name} {package.version}" if package is not None else finding.id
    yield safe(f"  {name}: {finding.severity.value}, {finding.status.replace('_', ' ')}")
    facts = [("title", finding.title), ("package", package.purl if package is not None else "")]
    reasons = (finding.because, *finding.because.also) if finding.because is not None else ()
    for reason in reasons:
        facts += [("advisory", f"{reason.advisory} of {reason.source}{_state(reason)}"), ("  range", reason.range)]
        facts.append(("  because", f"{reason.comparison} ({reason.package} in {reason.ecosystem})"))
    facts.append(("VEX", vex_text(finding)))
    facts.append(("fixed in", ", ".join(finding.fixed_in) or "no fix is known"))
    place = finding.location
    if place is not None:
        facts += [
            ("file", place.path),
            ("layer", place.layer),
            ("made by", cut(" ".join(place.instruction.split()), _INSTRUCTION)),
        ]
    facts += [("CVSS", f"{score.score} {score.vector} ({score.source})") for score in finding.cvss]
    if finding.epss is not None:
        share = f"{finding.epss.score:.1%} within 30 days, more than {min(finding.epss.percentile, 0.9999):.2%} of all"
        facts.append(("EPSS", share))
    facts.append(("KEV", "known to be exploited (CISA)" if finding.kev else "not listed"))
    if finding.ssvc is not None:
        answers = finding.ssvc
        words = (f"exploitation {answers.exploitation}", f"automatable {answers.automatable}", f"impact {answers.impact}")
        facts.append(("SSVC", f"{', '.join(word for word in words if not word.endswith(' '))} (CISA, {answers.date})"))
    yield from (safe(f"    {label:<10} {value}") for label, value in facts if value)


def _state(reason: Because) -> str:
    words = [word for word in (reason.state, reason.urgency, reason.note) if word]
    return f" ({'; '.join(words)})" if words else ""


def _spared(package: Spared) -> Iterator[str]:
    why = {
        "outside": "outside every range",
        "not-affected": "not affected, says its distributor",
        "owned": f"belongs to {package.owner}, whose distributor answers for it",
    }[package.why]
    yield safe(f"  {package.name} {package.version}: {why}")
    for check in package.checks:
        note = f" ({check.note})" if check.note else ""
        yield safe(f"    {check.advisory} of {check.source}: {check.range}: {check.comparison}{note}")
