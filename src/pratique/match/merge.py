"""Matches in, findings out: one a (vulnerability, package), aliases merged, severity weighed, and the reasons kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from pratique.match.find import Match, range_text
from pratique.match.severity import rated, weigh
from pratique.model.advisory import Advisory, Exploited, ExploitScore, Ssvc
from pratique.model.finding import (
    Because,
    Cvss,
    Epss,
    Finding,
    FindingKind,
    FindingLocation,
    FindingPackage,
    Severity,
)
from pratique.model.hits import covers, is_notice
from pratique.model.inventory import Package

MAX_REFERENCES = 10  # enough to read on; some records list hundreds of mail archives
# What a publisher adds to a notice that is about care and not about danger: nobody mends the package any more, and the like.
_NO_DANGER = frozenset(("informational: unmaintained", "informational: notice"))
_EXPLOITATION = ("", "none", "poc", "active")
_CVE = re.compile(r"CVE-(\d{4})-(\d+)")


class Knowledge(NamedTuple):
    """What is known of the vulnerabilities beside their ranges.

    `advisories` by (feed, id); `vectors` are (CVSS vector, feed) that any feed gives for a CVE, for sources that score nothing;
    `exploited`, `scores` and `assessed` by CVE.
    """

    advisories: Mapping[tuple[str, str], Advisory]
    vectors: Mapping[str, Sequence[tuple[str, str]]]
    exploited: Mapping[str, Exploited]
    scores: Mapping[str, ExploitScore]
    assessed: Mapping[str, Ssvc] = MappingProxyType({})


def names_of(match: Match, advisories: Mapping[tuple[str, str], Advisory]) -> list[set[str]]:
    """Return the vulnerabilities that a matched advisory speaks of, each as the set of all its names."""
    advisory = advisories.get((match.hit.feed, match.hit.id))
    if advisory is None:
        return [{match.hit.id}]
    fixed = covers(advisory)
    if fixed:
        return [{name} for name in fixed]
    return [{advisory.id, *advisory.aliases}]


def merge(
    matches: Iterable[Match], denied: set[tuple[str, str]], known: Knowledge, instructions: Mapping[str, str]
) -> list[Finding]:
    """Make findings, sorted by id and package; the order of the matches changes nothing.

    `denied` are (vulnerability, purl) that a source says do not hold. `instructions` maps a layer's diff_id to what created it.
    """
    by_package: dict[str, list[tuple[Match, set[str]]]] = {}
    for match in matches:
        for names in names_of(match, known.advisories):
            by_package.setdefault(match.subject.package.purl, []).append((match, names))
    findings = []
    for purl, pairs in by_package.items():
        for names, group in _clusters(pairs):
            left = {name for name in names if (name, purl) not in denied}
            if _stands(names, left):
                findings.append(_finding(left, sorted(group, key=_order), known, instructions))
    findings.sort(key=lambda finding: (finding.id, finding.package.purl if finding.package else ""))
    return findings


def _stands(names: set[str], left: set[str]) -> bool:
    """Say whether something is left of a cluster after denials: where it has CVEs, one of those."""
    if len(left) == len(names):
        return True
    return any(name.startswith("CVE-") for name in left)


def _order(match: Match) -> tuple[object, ...]:
    """Put what surely holds first, then a CVE's own record, then a GHSA; the rest by feed and id."""
    hit, asked = match.hit, (match.subject.ecosystem, match.subject.name)
    return (
        match.status != "affected",
        _kind(hit.id),
        hit.feed,
        hit.id,
        match.comparison,
        *asked,
        hit.state,
        hit.severity,
        hit.note,
    )


def _clusters(pairs: Sequence[tuple[Match, set[str]]]) -> list[tuple[set[str], list[Match]]]:
    """Put matches of one package that share a name, directly or by way of others, together."""
    clusters: dict[str, tuple[set[str], list[Match]]] = {}
    for match, own in pairs:
        names, group = set(own), [match]
        for cluster in {id(found): found for name in own if (found := clusters.get(name)) is not None}.values():
            names |= cluster[0]
            group += cluster[1]
        clusters.update(dict.fromkeys(names, (names, group)))
    return list({id(cluster): cluster for cluster in clusters.values()}.values())


def principal(names: Iterable[str]) -> str:
    """Choose the id that a finding goes by: the first CVE, else the GHSA, else whatever the source says."""

    def order(name: str) -> tuple[int, int, int, str]:
        cve = _CVE.fullmatch(name)
        return (0, int(cve[1]), int(cve[2]), name) if cve else (_kind(name) + 1, 0, 0, name)

    return min(names, key=order)


def _kind(name: str) -> int:
    return 0 if name.startswith("CVE-") else 1 if name.startswith("GHSA-") else 2


def fingerprint(kind: str, identifier: str, package: Package | None = None, detail: str = "") -> str:
    """Return what stays the same across scans: kind, id, and the package without version, path or layer."""
    what = f"{package.type}/{package.name}" if package is not None else detail
    return hashlib.sha256(f"{kind}\0{identifier}\0{what}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _finding(names: set[str], group: list[Match], known: Knowledge, instructions: Mapping[str, str]) -> Finding:
    package = group[0].subject.package
    identifier = principal(names)
    cves = sorted(name for name in names if name.startswith("CVE-"))
    records = _records(group, known)
    own = [(vector, record.source) for record in records for vector in record.cvss]
    cvss = _cvss(own or [pair for cve in cves for pair in known.vectors.get(cve, ())])
    fixed_in = _fixed_in(group)
    kind: FindingKind = "malware" if any(record.kind == "malware" for record in records) else "vulnerability"
    return Finding(
        kind=kind,
        id=identifier,
        title=_title(identifier, records, package),
        severity=Severity.CRITICAL if kind == "malware" else _severity(group, records, cvss),
        fingerprint=fingerprint(kind, identifier, package),
        status="affected" if any(match.status == "affected" for match in group) else "under_investigation",
        message=_message(group, fixed_in),
        references=_references(names, records),
        aliases=tuple(sorted(names - {identifier})),
        package=FindingPackage(
            purl=package.purl,
            name=package.name,
            version=package.version,
            ecosystem=package.ecosystem,
            source=package.source.name if package.source is not None else "",
        ),
        fixed_in=fixed_in,
        cvss=cvss,
        epss=_epss(cves, known.scores),
        kev=any(cve in known.exploited for cve in cves),
        ssvc=_assessed(cves, known.assessed),
        published=min((record.published for record in records if record.published), default=""),
        fixed_since=_fixed_since(group, known),
        location=_location(package, instructions),
        because=_reasons(group),
    )


def _records(group: Iterable[Match], known: Knowledge) -> list[Advisory]:
    keys = dict.fromkeys((match.hit.feed, match.hit.id) for match in group)
    return [known.advisories[key] for key in keys if key in known.advisories]


def _severity(group: Sequence[Match], records: Sequence[Advisory], cvss: Sequence[Cvss]) -> Severity:
    """What is said of this package in this release goes before what is said of the vulnerability."""
    found = weigh([match.hit.severity for match in group], [record.severity for record in records], vectors=cvss)
    if found is Severity.UNKNOWN and all(match.hit.note in _NO_DANGER for match in group):
        return Severity.NEGLIGIBLE
    return found


def _fixed_in(group: Sequence[Match]) -> tuple[str, ...]:
    """List the versions that have a fix, oldest first; those that cannot be ordered last."""
    found = {match.within.fixed: match.within.upper_key for match in group if match.within is not None and match.within.fixed}
    return tuple(sorted(found, key=lambda version: (found[version] is None, found[version] or b"", version)))


def _fixed_since(group: Sequence[Match], known: Knowledge) -> str:
    """Return the day of the first notice that brought a fix. A record of the vulnerability itself may be older than its fix."""
    keys = [(match.hit.feed, match.hit.id) for match in group if match.within is not None and match.within.fixed]
    notices = [known.advisories[key] for key in keys if key in known.advisories and is_notice(known.advisories[key])]
    return min((notice.published for notice in notices if notice.published), default="")


def _title(identifier: str, records: Sequence[Advisory], package: Package) -> str:
    """Take the first summary; a notice's is about the update and not about the vulnerability."""
    texts = (" ".join(record.summary.split()) for record in records if not covers(record))
    return next((text for text in texts if text), f"{package.source.name if package.source else package.name}: {identifier}")


def _message(group: Sequence[Match], fixed_in: Sequence[str]) -> str:
    """Say in one sentence what is installed, why that counts and what would help."""
    first = group[0]
    package, state = first.subject.package, first.hit.state
    verb = "is affected" if first.status == "affected" else "may be affected"
    where = range_text(first.hit, first.within)
    if fixed_in:
        help_ = f"fixed in {', '.join(fixed_in)}"
    else:
        help_ = {"wont-fix": "it will not be fixed", "end-of-life": "this release gets no more fixes"}.get(
            state, "no fix is known"
        )
    note = f" ({first.hit.note})" if first.hit.note else ""
    return f"{package.name} {package.version} {verb} ({where}); {help_}{note}"


def _cvss(vectors: Iterable[tuple[str, str]]) -> tuple[Cvss, ...]:
    found: dict[str, Cvss] = {}
    for vector, source in vectors:
        score = rated(vector)
        if score is not None and vector not in found:
            found[vector] = Cvss(score[0], vector, score[1], source)
    return tuple(sorted(found.values(), key=lambda item: (item.version, item.vector), reverse=True))


def _epss(cves: Sequence[str], scores: Mapping[str, ExploitScore]) -> Epss | None:
    best = max((scores[cve] for cve in cves if cve in scores), key=lambda score: score.score, default=None)
    return Epss(best.score, best.percentile, best.date) if best is not None else None


def _assessed(cves: Sequence[str], assessed: Mapping[str, Ssvc]) -> Ssvc | None:
    """Choose the answers of the CVE that is exploited most, of several."""
    return max(
        (assessed[cve] for cve in cves if cve in assessed),
        key=lambda answers: (_EXPLOITATION.index(answers.exploitation), answers.automatable, answers.impact, answers.date),
        default=None,
    )


def _references(names: set[str], records: Iterable[Advisory]) -> tuple[str, ...]:
    links = [f"https://nvd.nist.gov/vuln/detail/{name}" for name in sorted(names) if name.startswith("CVE-")]
    links += [f"https://github.com/advisories/{name}" for name in sorted(names) if name.startswith("GHSA-")]
    links += [link for record in records for link in record.references]
    return tuple(dict.fromkeys(links))[:MAX_REFERENCES]


def _location(package: Package, instructions: Mapping[str, str]) -> FindingLocation | None:
    if not package.locations:
        return None
    first = package.locations[0]
    return FindingLocation(path=first.path, layer=first.layer, instruction=instructions.get(first.layer, ""))


def _reasons(group: Sequence[Match]) -> Because:
    first, *others = (_because(match) for match in group)
    return msgspec.structs.replace(first, also=tuple(others))


def _because(match: Match) -> Because:
    return Because(
        source=match.hit.feed or match.hit.source,
        advisory=match.hit.id,
        ecosystem=match.subject.ecosystem,
        package=match.subject.name,
        range=range_text(match.hit, match.within),
        comparison=match.comparison,
        state=match.hit.state,
        note=match.hit.note,
        urgency=match.hit.severity,
    )
