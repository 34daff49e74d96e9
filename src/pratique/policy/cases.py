"""Cases of a policy test and saved reports in, subjects to judge out, and whether a case came out as expected."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from urllib.parse import unquote

import msgspec

from pratique._kit.text import Text
from pratique.model.attestation import Attestation
from pratique.model.finding import Because, Cvss, Epss, Finding, FindingLocation, FindingPackage, Severity
from pratique.model.inventory import Gap, Package
from pratique.model.report import Report, Target
from pratique.policy.compose import PolicySet, SetRule
from pratique.policy.document import CaseFinding, PolicyCase, PolicyTest, Waivers
from pratique.policy.engine import decide
from pratique.policy.facts import Context, Subject
from pratique.policy.language import tokens
from pratique.policy.waiver import COMMENT, check_waivers

DEFAULT_NOW = "2026-01-01T00:00:00Z"  # a case that names no moment must come out alike on every day
_ATTESTED = ("predicate", "signer", "builder", "build_type", "source", "revision")
_ECOSYSTEMS = {
    "npm": "npm", "pypi": "PyPI", "maven": "Maven", "golang": "Go", "cargo": "crates.io", "gem": "RubyGems",
    "composer": "Packagist", "nuget": "NuGet",
}  # fmt: skip


def of_report(report: Report, context: Context, now: str) -> Subject:
    """Return what a saved report says, as it is before any waiver; comments in files are part of what was found."""
    findings = tuple(
        msgspec.structs.replace(f, waiver=None) if f.waiver is not None and f.waiver.get("id") != COMMENT else f
        for f in report.findings
    )
    return Subject(
        findings=findings,
        gaps=report.problems,
        packages=report.packages,
        target=report.target,
        attestations=report.attestations or (),
        examined=report.examined,
        context=context,
        now=now,
    )


def of_case(case: PolicyCase, report: Report | None) -> Subject:
    """Return what a case describes; `report` is the one it names."""
    given = case.context
    context = Context()
    if given is not None:
        context = Context(stage=given.stage or "", team=given.team, environment=given.environment, namespace=given.namespace)
    now = str(case.now or (report.meta.scanned_at if report is not None else DEFAULT_NOW))
    if report is not None:
        return of_report(report, context, now)
    findings = tuple(_finding(finding, number) for number, finding in enumerate(case.findings))
    packages = {package.purl: _package(package.purl, package.licenses) for package in case.packages}
    for finding in case.findings:
        if finding.package and finding.package not in packages:
            packages[finding.package] = _package(finding.package, ())
    return Subject(
        findings=findings,
        gaps=tuple(Gap(code=g.code, message=g.code, path=g.path, package=g.package, source=g.source) for g in case.gaps),
        packages=tuple(packages.values()),
        attestations=tuple(
            Attestation(
                **{name: getattr(a, name) for name in _ATTESTED}, signed_at=str(a.signed_at or ""), verified=bool(a.signer)
            )
            for a in case.attestations
        ),
        examined=case.examined,
        target=Target(reference=case.image, scheme="registry", digest="", platform="", distro=None, layers=()),
        context=context,
        now=now,
        fixed_since={str(number): str(f.fixed_since) for number, f in enumerate(case.findings) if f.fixed_since},
    )


def _finding(case: CaseFinding, number: int) -> Finding:
    package = _package(case.package, ()) if case.package else None
    because = Because(source="", advisory="", ecosystem="", package="", range="", comparison="", state=case.state)
    return Finding(
        kind=case.kind,
        id=case.id,
        title=case.id,
        severity=Severity(case.severity),
        fingerprint=str(number),
        status=case.status,
        aliases=case.aliases,
        package=FindingPackage(purl=package.purl, name=package.name, version=package.version, ecosystem=package.ecosystem)
        if package
        else None,
        fixed_in=case.fixed_in,
        controls=case.controls,
        cvss=(Cvss("3.1", "", case.cvss),) if case.cvss else (),
        epss=Epss(case.epss, 0.0) if case.epss else None,
        kev=case.kev,
        published=str(case.published or ""),
        location=FindingLocation(path=case.path) if case.path else None,
        because=because if case.state else None,
    )


def _package(purl: str, licenses: Sequence[str]) -> Package:
    rest = purl.removeprefix("pkg:").partition("?")[0]
    kind, _, path = rest.partition("/")
    path, at, version = path.rpartition("@")
    if not at or "/" in version:
        path, version = rest.partition("/")[2], ""
    namespace, _, last = unquote(path).rpartition("/")
    name = last if kind in ("deb", "apk", "rpm") or not namespace else f"{namespace}{':' if kind == 'maven' else '/'}{last}"
    ecosystem = _ECOSYSTEMS.get(kind, namespace.capitalize() if kind in ("deb", "apk", "rpm") else "")
    return msgspec.convert(
        {
            "name": name,
            "version": unquote(version),
            "purl": purl,
            "type": kind or "generic",
            "ecosystem": ecosystem,
            "namespace": namespace,
            "licenses": licenses,
        },
        Package,
    )


def check_test(text: Text, test: PolicyTest) -> None:
    """Check what the structs cannot say. Raises PolicyError."""
    if not test.cases:
        text.fail(test.place("cases"), "a test without cases")
    for case in test.cases:
        check_waivers(text, Waivers(apiVersion="pratique/v1", kind="Waivers", waivers=case.waivers))
        if case.report and (case.findings or case.packages or case.gaps):
            text.fail(case.place("report"), "a case has either a report, or findings, packages and gaps")
        for written in (*case.findings, *case.packages):
            name = "package" if isinstance(written, CaseFinding) else "purl"
            purl = getattr(written, name)
            try:
                _package(purl or "pkg:generic/x", ())
            except msgspec.ValidationError:
                text.fail(written.place(name), f"{purl!r} is no purl that is known here")
            if purl and not purl.startswith("pkg:"):
                text.fail(written.place(name), f"{purl!r} is no purl", "such as pkg:npm/lodash@4.17.20")


def failures(case: PolicyCase, policy: PolicySet, report: Report | None) -> list[str]:
    """Judge a case; return what came out otherwise than expected."""
    waivers = tuple(msgspec.structs.replace(w, id=w.id or f"waiver-{number}") for number, w in enumerate(case.waivers, 1))
    judgement = decide(of_case(case, report), (policy,), waivers)
    found = []
    decision = judgement.verdict.decision
    if decision != case.expect.decision:
        found.append(f"expected {case.expect.decision}, got {decision}")
    if case.expect.rules is not None:
        spoke = {firing.rule.rule.id for firing in judgement.firings if firing.effect != "allow"}
        wanted = set(case.expect.rules)
        known = {entry.rule.id for entry in policy.rules}
        found += [_silent(rule, known) for rule in sorted(wanted - spoke)]
        found += [f"rule {rule} fired, and was not expected" for rule in sorted(spoke - wanted)]
    if found:
        found += [f"{reason.rule}: {reason.message}" for reason in judgement.verdict.reasons]
    return found


def _silent(rule: str, known: Collection[str]) -> str:
    if rule in known:
        return f"rule {rule} was expected, and did not fire"
    near = difflib.get_close_matches(rule, known, 1)
    return f"rule {rule} was expected, and the policy has none of that name" + (f" (did you mean {near[0]!r}?)" if near else "")


# What only vulnerabilities have, or have beside others: VEX speaks of those.
_OF_VULNERABILITIES = frozenset(
    f"finding.{name}"
    for name in (
        *("severity", "rank", "cvss", "epss", "percentile", "kev", "exploitation", "automatable", "impact"),
        *("fixable", "fixed_in", "fixed_since", "published", "state"),
    )
)
_SAID = frozenset(("finding.status", "finding.kind", "finding.controls"))  # who asks one of these knows what is asked about
# What advisories of others are called, for which a CVE mostly exists, too.
_OTHER_NAMES = ("GHSA-", "PYSEC-", "RUSTSEC-", "GO-", "DSA-", "DLA-", "RHSA-", "USN-", "ALSA-", "ELSA-", "SUSE-SU-", "MAL-")


def hints(rule_set: PolicySet, name: str) -> list[str]:
    """Return what is not wrong, but could be better: FILE:LINE:COLUMN and a sentence, for the rules of one file."""
    found = []
    for entry in rule_set.rules:
        rule = entry.rule
        if entry.origin != name:
            continue
        where = f"{name}:{rule.place().line}:{rule.place().column}: rule {rule.id!r}"
        if rule.effect == "deny" and not rule.remedy and "{finding.message}" not in rule.message:
            found.append(f"{where} denies without a remedy: say what is to be done")
        if rule.effect != "allow" and not rule.message:
            found.append(f"{where} has no message of its own")
        if not entry.condition.names:
            found.append(f"{where} asks nothing: it always comes out alike")
        if rule.effect == "allow" and rule.grace is not None:
            found.append(f"{where} allows, so its grace means nothing")
        found += [f"{where} {hint}" for hint in _of_findings(entry)]
    return sorted(found)


def _of_findings(entry: SetRule) -> Iterator[str]:
    """Yield what is easily overlooked about findings."""
    condition, names = entry.condition, set(entry.condition.names)
    if condition.each != "finding":
        return
    words = [piece.text.strip("'\"") for piece in tokens(condition.text) if piece.kind == "string"]
    checks = "finding.id" in names and not any(word.startswith(("CVE-", *_OTHER_NAMES)) for word in words)
    if entry.rule.effect != "allow" and not checks and not names & _SAID and names & _OF_VULNERABILITIES:
        yield "looks at findings of any status, also what VEX says is not affected or fixed: add finding.status == 'affected'"
    if "finding.id" in names and "finding.aliases" not in names and any(word.startswith(_OTHER_NAMES) for word in words):
        yield "asks finding.id for a name that is an alias where there is a CVE: ask finding.aliases, too"
    if {"finding.id", "finding.aliases"} & names and any(word.startswith(("cve-", "Cve-")) for word in words):
        yield "asks for a CVE in small letters: ids have capitals"
