"""An item in, the named values that conditions may ask for out: one table, which is also what the documentation shows.

A condition looks at one item at a time: a finding (with its package, layer and waiver), a package, a layer, a gap, an
attestation, or the image as a whole. Which one is told by the names that it uses.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple

from pratique._kit.moments import moment
from pratique.model.finding import Finding, Severity
from pratique.model.report import ReportLayer
from pratique.policy.facts import LONG_AGO, STAGES, Each, Item, fixed_since, repository
from pratique.policy.judge import bites, waived

MAX_INSTRUCTION = 80  # characters of an instruction that tell which one it is


class Variable(NamedTuple):
    """A name that conditions may use: CEL type, meaning, and how it is read."""

    type: str
    doc: str
    read: Callable[[Item], Any]


def _since(text: str) -> dt.datetime:
    try:
        return moment(text) if text else LONG_AGO
    except ValueError:
        return LONG_AGO


_NO_FINDING = Finding(kind="vulnerability", id="", title="", severity=Severity.UNKNOWN, fingerprint="")


def _finding(read: Callable[[Finding], Any]) -> Callable[[Item], Any]:
    return lambda item: read(item.finding or _NO_FINDING)


def _ssvc(name: str) -> Callable[[Item], Any]:
    return lambda item: getattr(item.finding.ssvc, name, "") if item.finding is not None else ""


def _place(finding: Finding) -> str:
    seen = finding.location
    if seen is None:
        return "the image"
    path = f"{seen.path}:{seen.line}" if seen.path and seen.line else seen.path
    return path or " ".join(seen.instruction.split())[:MAX_INSTRUCTION] or "the image"


def _fixed_since(item: Item) -> dt.datetime:
    finding = item.finding or _NO_FINDING
    return _since((fixed_since(item.subject, finding) or finding.published) if finding.fixed_in else "")


def _package(name: str) -> Callable[[Item], Any]:
    def read(item: Item) -> str:
        if item.package is not None:
            return str(getattr(item.package, name))
        inner = item.finding.package if item.finding is not None else None
        return str(getattr(inner, name, ""))

    return read


def _source(item: Item) -> str:
    if item.package is not None and item.package.source is not None:
        return item.package.source.name
    inner = item.finding.package if item.finding is not None else None
    return inner.source if inner is not None else ""


def _layer(item: Item) -> ReportLayer | None:
    if item.layer is not None or item.subject.target is None:
        return item.layer
    seen = item.finding.location.layer if item.finding is not None and item.finding.location is not None else ""
    if not seen and item.package is not None and item.package.locations:
        seen = item.package.locations[0].layer
    return next((layer for layer in item.subject.target.layers if layer.diff_id == seen), None) if seen else None


def _index(item: Item) -> int:
    layer = _layer(item)
    return item.subject.target.layers.index(layer) if layer is not None and item.subject.target is not None else -1


def _of_layer(name: str, default: Any) -> Callable[[Item], Any]:
    return lambda item: getattr(_layer(item), name, default)


def _of_gap(name: str) -> Callable[[Item], Any]:
    return lambda item: getattr(item.gap, name, "")


def _attested(name: str) -> Callable[[Item], Any]:
    return lambda item: getattr(item.attestation, name, "")


def _waiver(name: str) -> Callable[[Item], Any]:
    return lambda item: str((item.finding.waiver or {}).get(name, "")) if item.finding is not None else ""


def _days_left(item: Item) -> int:
    expires = _waiver("expires")(item)
    return (_since(expires) - _since(item.subject.now)).days if expires else 0


def _target(name: str) -> Callable[[Item], Any]:
    return lambda item: getattr(item.subject.target, name, "")


def _distro(name: str) -> Callable[[Item], Any]:
    return lambda item: getattr(getattr(item.subject.target, "distro", None), name, "") or ""


def _tag(reference: str) -> str:
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[2]


def _count(level: Severity | None) -> Callable[[Item], int]:
    """Count the findings that bite and are new, of one severity or of all; once a subject, as every item may ask."""
    name = level.value if level is not None else ""

    def known(then: Finding | None) -> bool:
        return then is not None and bites(then) and (level is None or then.severity.rank >= level.rank)

    def read(item: Item) -> int:
        memo = item.memo if item.memo is not None else {}
        if name not in memo:
            findings, before = item.subject.findings, item.subject.before
            earlier = before.findings if before is not None else (None,) * len(findings)
            memo[name] = sum(
                level in (None, finding.severity) and bites(finding) and not known(then)
                for finding, then in zip(findings, earlier, strict=True)
            )
        return memo[name]

    return read


_SEVERITY = {
    f"severity.{level.value}": Variable("int", f"the rank {level.rank}, to compare finding.rank with", lambda _, r=level.rank: r)  # type: ignore[misc]
    for level in Severity
}
_COUNTS = {
    f"image.{level.value}": Variable("int", f"findings of severity {level.value} that count", _count(level)) for level in Severity
}

VARIABLES: dict[str, Variable] = {
    "finding.id": Variable("string", "CVE, GHSA or the source's own id", _finding(lambda f: f.id)),
    "finding.kind": Variable(
        "string", "vulnerability, secret, malware, misconfiguration, license, eol", _finding(lambda f: f.kind)
    ),
    "finding.title": Variable("string", "one line", _finding(lambda f: f.title)),
    "finding.message": Variable("string", "what is wrong and what helps, in a sentence or two", _finding(lambda f: f.message)),
    "finding.status": Variable("string", "affected, fixed, not_affected, under_investigation", _finding(lambda f: f.status)),
    "finding.severity": Variable(
        "string", "unknown, negligible, low, medium, high, critical", _finding(lambda f: f.severity.value)
    ),
    "finding.rank": Variable(
        "int", "the severity as a number, to compare with severity.high", _finding(lambda f: f.severity.rank)
    ),
    "finding.aliases": Variable("list(string)", "other names", _finding(lambda f: list(f.aliases))),
    "finding.fixable": Variable("bool", "a version with a fix is known", _finding(lambda f: bool(f.fixed_in))),
    "finding.fixed_in": Variable("list(string)", "versions with the fix", _finding(lambda f: list(f.fixed_in))),
    "finding.state": Variable(
        "string",
        "the source's word on a fix: wont-fix, unfixed, end-of-life, ...",
        _finding(lambda f: f.because.state if f.because else ""),
    ),
    "finding.source": Variable(
        "string", "the advisory source that says so", _finding(lambda f: f.because.source if f.because else "")
    ),
    "finding.cvss": Variable(
        "double",
        "the highest base score, 0.0 where none is known",
        _finding(lambda f: max((c.score for c in f.cvss), default=0.0)),
    ),
    "finding.epss": Variable(
        "double", "probability of exploitation, 0.0 where none is known", _finding(lambda f: f.epss.score if f.epss else 0.0)
    ),
    "finding.percentile": Variable("double", "percentile of EPSS", _finding(lambda f: f.epss.percentile if f.epss else 0.0)),
    "finding.kev": Variable("bool", "in CISA's catalogue of known exploited vulnerabilities", _finding(lambda f: f.kev)),
    "finding.exploitation": Variable(
        "string", "CISA's SSVC: none, poc or active; nothing where not assessed", _ssvc("exploitation")
    ),
    "finding.automatable": Variable("string", "CISA's SSVC: yes or no; nothing where not assessed", _ssvc("automatable")),
    "finding.impact": Variable(
        "string", "CISA's SSVC, technical impact: partial or total; nothing where not assessed", _ssvc("impact")
    ),
    "finding.published": Variable(
        "timestamp", "disclosure; 1970 where unknown, so that it counts as old", _finding(lambda f: _since(f.published))
    ),
    "finding.fixed_since": Variable(
        "timestamp", "since when there is a fix; disclosure where no source says; 1970 where neither is known", _fixed_since
    ),
    "finding.controls": Variable(
        "list(string)",
        "what it goes against in benchmarks: CIS Docker 4.1, PSS baseline, ...",
        _finding(lambda f: list(f.controls)),
    ),
    "finding.known": Variable(
        "bool", "the baseline of the scan has it, and as grave", _finding(lambda f: f.baseline == "unchanged")
    ),
    "finding.path": Variable("string", "where it was found", _finding(lambda f: f.location.path if f.location else "")),
    "finding.place": Variable("string", "file and line, or the instruction that brought it, or the image", _finding(_place)),
    "finding.fingerprint": Variable("string", "stable across scans", _finding(lambda f: f.fingerprint)),
    "package.purl": Variable("string", "package URL", _package("purl")),
    "package.name": Variable("string", "as its ecosystem writes it", _package("name")),
    "package.version": Variable("string", "installed version", _package("version")),
    "package.ecosystem": Variable("string", "OSV's name: Debian, PyPI, ...", _package("ecosystem")),
    "package.type": Variable("string", "purl type: deb, pypi, ...", lambda item: item.package.type if item.package else ""),
    "package.source": Variable("string", "the source package's name", _source),
    "package.role": Variable("string", "main, dev or nothing", lambda item: item.package.role if item.package else ""),
    "package.declared": Variable(
        "bool", "a lock file's wish, not installed", lambda item: bool(item.package and item.package.declared)
    ),
    "package.licenses": Variable(
        "list(string)", "licences as stated", lambda item: list(item.package.licenses) if item.package else []
    ),
    "package.paths": Variable(
        "list(string)", "where it is", lambda item: [place.path for place in item.package.locations] if item.package else []
    ),
    "layer.digest": Variable("string", "of the blob", _of_layer("digest", "")),
    "layer.diff_id": Variable("string", "of its content", _of_layer("diff_id", "")),
    "layer.created_by": Variable("string", "the instruction that made it", _of_layer("created_by", "")),
    "layer.size": Variable("int", "bytes", _of_layer("size", 0)),
    "layer.index": Variable("int", "0 is the lowest, -1 where no layer is known", _index),
    "gap.code": Variable("string", "see the list of problems", _of_gap("code")),
    "gap.message": Variable("string", "one line", _of_gap("message")),
    "gap.path": Variable("string", "the path concerned", _of_gap("path")),
    "gap.package": Variable("string", "the purl concerned", _of_gap("package")),
    "gap.source": Variable("string", "the advisory source concerned", _of_gap("source")),
    "attestation.predicate": Variable("string", "predicate type", _attested("predicate")),
    "attestation.signer": Variable("string", "the key that verifies it, nothing where none does", _attested("signer")),
    "attestation.verified": Variable(
        "bool", "signature and subject hold", lambda item: getattr(item.attestation, "verified", False)
    ),
    "attestation.signed_at": Variable(
        "timestamp",
        "the end of the build, as provenance says; 1970 where unknown",
        lambda item: _since(item.attestation.signed_at if item.attestation else ""),
    ),
    "attestation.builder": Variable("string", "who built, as provenance says: a URI", _attested("builder")),
    "attestation.build_type": Variable("string", "how it was built, as provenance says: a URI", _attested("build_type")),
    "attestation.source": Variable("string", "what was built, as provenance says: a repository", _attested("source")),
    "attestation.revision": Variable("string", "its revision, as provenance says", _attested("revision")),
    "waiver.active": Variable(
        "bool", "a waiver holds for this finding", lambda item: bool(item.finding and waived(item.finding))
    ),
    "waiver.id": Variable("string", "of the waiver that matches, active or ended", _waiver("id")),
    "waiver.owner": Variable("string", "who answers for it", _waiver("owner")),
    "waiver.approver": Variable("string", "who approved it", _waiver("approver")),
    "waiver.ticket": Variable("string", "where it is tracked", _waiver("ticket")),
    "waiver.ended": Variable("string", "why it no longer holds", _waiver("ended")),
    "waiver.days_left": Variable("int", "whole days until it expires", _days_left),
    "image.reference": Variable("string", "as asked for", _target("reference")),
    "image.repository": Variable("string", "with its registry", lambda item: repository(str(_target("reference")(item)))),
    "image.tag": Variable("string", "nothing where only a digest names it", lambda item: _tag(str(_target("reference")(item)))),
    "image.digest": Variable("string", "of the manifest", _target("digest")),
    "image.scheme": Variable("string", "registry, docker, docker-archive, ...", _target("scheme")),
    "image.platform": Variable("string", "os/arch[/variant]", _target("platform")),
    "image.distro": Variable("string", "id of its distribution", _distro("id")),
    "image.distro_version": Variable("string", "version of its distribution", _distro("version")),
    "image.layers": Variable("int", "how many layers", lambda item: len(_target("layers")(item))),
    "image.packages": Variable("int", "how many packages", lambda item: len(item.subject.packages)),
    "image.findings": Variable("int", "how many findings count", _count(None)),
    **_COUNTS,
    "image.gaps": Variable("int", "how many things could not be examined or known", lambda item: len(item.subject.gaps)),
    "image.attestations": Variable(
        "list(string)",
        "predicate types of what was verified",
        lambda item: [a.predicate for a in item.subject.attestations if a.verified],
    ),
    "image.statements": Variable(
        "list(string)",
        "predicate types of all that is attested of it, verified or not",
        lambda item: [a.predicate for a in item.subject.attestations],
    ),
    "image.examined": Variable(
        "list(string)",
        "what was looked at: packages, configuration, attestations, dockerfile, compose, kubernetes",
        lambda item: list(item.subject.examined),
    ),
    "context.stage": Variable("string", "dev, ci, registry, deploy, runtime or nothing", lambda item: item.subject.context.stage),
    "context.team": Variable("string", "as given", lambda item: item.subject.context.team),
    "context.environment": Variable("string", "as given", lambda item: item.subject.context.environment),
    "context.namespace": Variable("string", "as given", lambda item: item.subject.context.namespace),
    **_SEVERITY,
    "now": Variable("timestamp", "the moment of the decision", lambda item: _since(item.subject.now)),
}

# As the JSON document has them: the same values under the paths that people see in reports.
PATHS = {
    "finding.package.purl": "package.purl",
    "finding.package.name": "package.name",
    "finding.package.version": "package.version",
    "finding.package.ecosystem": "package.ecosystem",
    "finding.package.source": "package.source",
    "finding.location.path": "finding.path",
    "finding.location.layer": "layer.diff_id",
    "finding.epss.score": "finding.epss",
    "finding.epss.percentile": "finding.percentile",
    "image.distro.id": "image.distro",
    "image.distro.version": "image.distro_version",
}
VARIABLES |= {path: VARIABLES[name] for path, name in PATHS.items()}

# What a condition of each kind may speak of, beside image, context, severity and now.
SPEAKS_OF: dict[Each, tuple[str, ...]] = {
    "finding": ("finding", "package", "layer", "waiver"),
    "package": ("package", "layer"),
    "layer": ("layer",),
    "gap": ("gap",),
    "attestation": ("attestation",),
    "image": (),
}
ALWAYS = ("image", "context", "severity", "now")
# Fields that hold one of a few words: comparing them with any other word is a mistake that would never be noticed.
WORDS: dict[str, tuple[str, ...]] = {
    "finding.severity": tuple(level.value for level in Severity),
    "finding.status": ("affected", "fixed", "not_affected", "under_investigation"),
    "finding.kind": ("vulnerability", "secret", "malware", "misconfiguration", "license", "eol"),
    "context.stage": ("", *STAGES),
}

# What people mean who compare a text by < and >.
_VERSIONS = "a condition cannot order versions; finding.fixable and finding.fixed_in say what helps"
ORDERS: dict[str, str] = {
    "finding.severity": "write finding.rank >= severity.high",
    "package.version": _VERSIONS,
    "finding.package.version": _VERSIONS,
    "image.distro_version": "write double(image.distro_version) where it is a number, or == and in",
    "image.distro.version": "write double(image.distro.version) where it is a number, or == and in",
}


def names_for(each: Each) -> dict[str, Variable]:
    """Return what a condition on such items may use."""
    roots = (*SPEAKS_OF[each], *ALWAYS)
    return {name: variable for name, variable in VARIABLES.items() if name.partition(".")[0] in roots}
