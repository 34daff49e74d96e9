"""Matches in, findings out: one a (vulnerability, package), aliases merged, severity weighed, and the reasons kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pratique.match.find import Match, range_text
from pratique.match.severity import rated, weigh
from pratique.model.advisory import Advisory, Exploited, ExploitScore
from pratique.model.finding import (
    Because,
    Cvss,
    Epss,
    Finding,
    FindingLocation,
    FindingPackage,
    FindingStatus,
    Severity,
)
from pratique.model.hits import covers
from pratique.model.inventory import Package

MAX_REFERENCES = 10  # enough to read on; some records list hundreds of mail archives
_CVE = re.compile(r"CVE-(\d{4})-(\d{4,})")


class Knowledge(NamedTuple):
    """What is known of the vulnerabilities beside their ranges.

    `advisories` by (feed, id); `vectors` are (CVSS vector, feed) that any feed gives for a CVE, for sources that score nothing;
    `exploited` and `scores` by CVE.
    """

    advisories: Mapping[tuple[str, str], Advisory]
    vectors: Mapping[str, Sequence[tuple[str, str]]]
    exploited: Mapping[str, Exploited]
    scores: Mapping[str, ExploitScore]


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
    """Make findings, sorted by id and package. `instructions` maps a layer's diff_id to what created it."""
    by_package: dict[str, list[tuple[Match, set[str]]]] = {}
    for match in matches:
        for names in names_of(match, known.advisories):
            by_package.setdefault(match.subject.package.purl, []).append((match, names))
    findings = []
    for purl, pairs in by_package.items():
        for names, group in _clusters(pairs):
            if not any((name, purl) in denied for name in names):
                findings.append(_finding(names, group, known, instructions))
    findings.sort(key=lambda finding: (finding.id, finding.package.purl if finding.package else ""))
    return findings


def _clusters(pairs: Sequence[tuple[Match, set[str]]]) -> list[tuple[set[str], list[Match]]]:
    """Put matches of one package that share a name together."""
    clusters: list[tuple[set[str], list[Match]]] = []
    for match, own in pairs:
        names, group = set(own), [match]
        apart = []
        for other in clusters:
            if names.isdisjoint(other[0]):
                apart.append(other)
            else:
                names |= other[0]
                group = other[1] + group
        clusters = [*apart, (names, group)]
    return clusters


def principal(names: Iterable[str]) -> str:
    """Choose the id that a finding goes by: the first CVE, else the GHSA, else whatever the source says."""

    def order(name: str) -> tuple[int, int, int, str]:
        cve = _CVE.fullmatch(name)
        if cve:
            return 0, int(cve[1]), int(cve[2]), name
        return (1 if name.startswith("GHSA-") else 2), 0, 0, name

    return min(names, key=order)


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
    words = [match.hit.severity for match in group] + [record.severity for record in records]
    severity = weigh(words, cvss)
    status: FindingStatus = "affected" if any(match.status == "affected" for match in group) else "under_investigation"
    malicious = any(record.kind == "malware" for record in records)
    return Finding(
        kind="malware" if malicious else "vulnerability",
        id=identifier,
        title=_title(records, package),
        severity=Severity.CRITICAL if malicious else severity,
        fingerprint=fingerprint("vulnerability", identifier, package),
        status=status,
        references=_references(names, records),
        aliases=tuple(sorted(names - {identifier})),
        package=FindingPackage(
            purl=package.purl,
            name=package.name,
            version=package.version,
            ecosystem=package.ecosystem,
            source=package.source.name if package.source is not None else "",
        ),
        fixed_in=tuple(dict.fromkeys(m.within.fixed for m in group if m.within is not None and m.within.fixed)),
        cvss=cvss,
        epss=_epss(cves, known.scores),
        kev=any(cve in known.exploited for cve in cves),
        published=min((record.published for record in records if record.published), default=""),
        location=_location(package, instructions),
        because=_reasons(group),
    )


def _records(group: Iterable[Match], known: Knowledge) -> list[Advisory]:
    keys = dict.fromkeys((match.hit.feed, match.hit.id) for match in group)
    return [known.advisories[key] for key in keys if key in known.advisories]


def _title(records: Sequence[Advisory], package: Package) -> str:
    texts = (" ".join(record.summary.split()) for record in records)
    return next((text for text in texts if text), f"vulnerability in {package.source.name if package.source else package.name}")


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
    )
