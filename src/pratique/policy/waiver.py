"""Waivers and what is judged in, findings that carry their waiver out: active, or ended and why.

A waiver ends by itself, at the second it expires or as soon as one of its conditions holds. It is shown, never hidden.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from pratique._kit.moments import lasting, moment, written
from pratique._kit.patterns import fits
from pratique._kit.text import Text
from pratique.model.finding import Finding, Severity
from pratique.policy.document import Moment, Waiver, Waivers, WaiverTerms
from pratique.policy.facts import Item, Subject, items, repository

COMMENT = "comment"  # the id of what a comment in a file accepts: `# pratique: ignore=ID why until=DATE`
FACTS = ("fix-available", "kev", "severity-raised", "new-image")
SCOPE = ("vulnerability", "package", "image", "layer", "base", "path", "environment", "rule")
NARROW = ("vulnerability", "package", "path", "rule")  # one of these keeps a waiver from covering all that an image has

# https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst: names whose letter case says nothing
_CASELESS = frozenset(f"pkg:{kind}" for kind in ("deb", "apk", "golang", "composer", "nuget", "hex", "github", "bitbucket"))
_SCANNER = "Trivy "  # whose ignore files are read
_PEP_503 = re.compile(r"[-_.]+")
_PATTERN = re.compile(r"[*?]")
_EPSS = re.compile(r"epss\s*>\s*(0(?:\.\d{1,6})?|1(?:\.0+)?)")


class Waived(NamedTuple):
    """A finding's waiver: which, and why it has ended ("" while it holds); `others` hold as well, and end sooner."""

    waiver: Waiver
    ended: str
    others: tuple[Waiver, ...] = ()


def check_waivers(text: Text, document: Waivers) -> tuple[Waiver, ...]:
    """Check what the structs cannot say, and give every waiver an id. Raises PolicyError."""
    found: list[Waiver] = []
    seen: set[str] = set()
    for number, waiver in enumerate(document.waivers, 1):
        for name in SCOPE:
            if name in waiver.places and not all(value.strip() for value in _listed(getattr(waiver, name)) or ("",)):
                text.fail(waiver.place(name), f"{name} is empty", "leave it out where nothing is meant by it")
        if not any(_names_something(value) for name in NARROW for value in _listed(getattr(waiver, name))):
            text.fail(waiver.place(), "a waiver needs a vulnerability, package, path or rule", "else it would cover everything")
        _check_names(text, waiver)
        for name in ("owner", "reason"):
            if not getattr(waiver, name).strip():
                text.fail(waiver.place(name), f"{name} is empty")
        for condition in waiver.until:
            check_condition(text, waiver, condition)
        named = msgspec.structs.replace(waiver, id=waiver.id or f"waiver-{number}")
        if named.id in seen:
            text.fail(waiver.place("id"), f"id {named.id!r} is given twice")
        seen.add(named.id)
        found.append(named)
    return tuple(found)


def _check_names(text: Text, waiver: Waiver) -> None:
    """Refuse what could never be met: who wrote it believes that it holds."""
    for name in ("layer", "base", "digest"):
        value = getattr(waiver, name)
        if value and not value.startswith(("sha256:", "sha512:")):
            text.fail(waiver.place(name), f"{name} is no digest: {value[:80]!r}", "a digest begins with sha256:")
    for value in waiver.vulnerability:
        if _PATTERN.search(value):
            hint = "name each, or give a package: that may be a pattern"
            text.fail(waiver.place("vulnerability"), f"a vulnerability is no pattern: {value[:80]!r}", hint)
    if waiver.package.startswith("pkg:") and not waiver.package[4:].partition("/")[2].strip("/"):
        text.fail(
            waiver.place("package"), f"a purl without a name: {waiver.package[:80]!r}", "write pkg:TYPE/NAME, or pkg:TYPE/*"
        )


def _names_something(value: str) -> bool:
    """Say whether a pattern is more than stars and what stands between them: pkg:*/* is any package."""
    return bool(value.strip().removeprefix("pkg:").strip("*?/@. "))


def _listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def check_condition(text: Text, waiver: Waiver, condition: str) -> None:
    """Check one word of `until`. Raises PolicyError."""
    if condition not in FACTS and not _EPSS.fullmatch(condition):
        near = difflib.get_close_matches(condition, FACTS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(FACTS)}, epss>0.5"
        text.fail(waiver.place("until"), f"until: {condition[:60]!r} is not understood", hint)
    if condition == "severity-raised" and not waiver.severity:
        text.fail(waiver.place("until"), "severity-raised needs the severity at the time of the waiver", "add severity: medium")
    if condition == "new-image" and not waiver.digest:
        text.fail(waiver.place("until"), "new-image needs the digest at the time of the waiver", "add digest: sha256:...")


def apply(subject: Subject, waivers: Sequence[Waiver], terms: Sequence[WaiverTerms] = ()) -> tuple[Subject, list[Waived | None]]:
    """Put waivers on the findings that they cover; one that holds and is good enough goes before one that is not, or has ended.

    `terms` are what all policies ask. Waivers of one rule only are left to the judge. Returns the subject and, finding by
    finding, what covers it.
    """
    if not waivers and not terms:
        return subject, [None] * len(subject.findings)
    index, rest = _indexed([waiver for waiver in waivers if not waiver.rule])
    applied: list[Waived | None] = []
    findings: list[Finding] = []
    for item in items(subject, "finding"):
        finding = item.finding
        assert finding is not None
        names = names_of(finding)
        candidates = {id(waiver): waiver for name in names for waiver in index.get(name, ())}
        chosen = choose([*candidates.values(), *rest], item)
        applied.append(chosen)
        findings.append(_marked(finding, chosen, terms, subject.now))
    return msgspec.structs.replace(subject, findings=tuple(findings)), applied


def _marked(finding: Finding, chosen: Waived | None, terms: Sequence[WaiverTerms], now: str) -> Finding:
    """Return a finding as reports show it, with the waiver that counts, or else the one that comes nearest."""
    if chosen is None or (chosen.ended and has_comment(finding)):
        if not has_comment(finding):
            return finding
        short = short_of(of_comment(finding), terms, now)
        marks = {"state": "short", "short": short} if short else {"state": "active"}
        before = {name: value for name, value in (finding.waiver or {}).items() if name != "short"}
        return msgspec.structs.replace(finding, waiver={**before, **marks})
    if chosen.ended:
        return msgspec.structs.replace(finding, waiver=shown(chosen))
    why = {id(waiver): short_of(waiver, terms, now) for waiver in (chosen.waiver, *chosen.others)}
    best = next((waiver for waiver in (chosen.waiver, *chosen.others) if not why[id(waiver)]), chosen.waiver)
    return msgspec.structs.replace(finding, waiver=shown(Waived(best, ""), why[id(best)]))


def choose(waivers: Sequence[Waiver], item: Item) -> Waived | None:
    """Return the waiver that covers an item and lasts longest, or the last that ended; None where none covers it."""
    found = sorted((Waived(waiver, why_ended(waiver, item)) for waiver in waivers if covers(waiver, item)), key=_order)
    if not found:
        return None
    return found[0]._replace(others=tuple(one.waiver for one in found[1:] if not one.ended))


def _order(waived: Waived) -> tuple[bool, tuple[int, ...], str]:
    expires = waived.waiver.expires or "9999-12-31T23:59:59Z"
    return bool(waived.ended), tuple(-ord(letter) for letter in expires), waived.waiver.id


def has_comment(finding: Finding) -> bool:
    """Say whether a comment in its file accepts a finding, and still holds, good enough or not."""
    known = finding.waiver or {}
    return known.get("id") == COMMENT and known.get("state") in ("active", "short")


def of_comment(finding: Finding) -> Waiver:
    """Return the waiver that a finding came with, from a comment in the file that it is in: nobody's, as far as policies ask."""
    known = finding.waiver or {}
    expires = str(known.get("expires", ""))
    return Waiver(
        id=str(known.get("id", COMMENT)),
        owner="",
        reason=str(known.get("reason", "")),
        expires=Moment(written(moment(expires)) if expires else ""),
        legacy=True,
    )


def _indexed(waivers: Sequence[Waiver]) -> tuple[dict[str, list[Waiver]], list[Waiver]]:
    index: dict[str, list[Waiver]] = {}
    rest = []
    for waiver in waivers:
        for name in waiver.vulnerability:
            index.setdefault(name.upper(), []).append(waiver)
        if not waiver.vulnerability:
            rest.append(waiver)
    return index, rest


def shown(waived: Waived, short: str = "") -> dict[str, Any]:
    """Return what a report says of it (Finding.waiver); `short` is what a policy finds lacking."""
    waiver = waived.waiver
    document: dict[str, Any] = {
        "id": waiver.id,
        "state": "ended" if waived.ended else "short" if short else "active",
        "owner": waiver.owner,
        "reason": waiver.reason,
        "expires": str(waiver.expires),
    }
    for name in ("ticket", "approver", "justification", "impact", "rule", "signed_by"):
        if getattr(waiver, name):
            document[name] = getattr(waiver, name)
    if waiver.until:
        document["until"] = list(waiver.until)
    if waived.ended:
        document["ended"] = waived.ended
    if short:
        document["short"] = short
    return document


def why_ended(waiver: Waiver, item: Item) -> str:
    """Say why a waiver does not hold now; "" where it does. It holds up to, and not at, the second that it expires."""
    now = moment(item.subject.now)
    if waiver.expires and now >= moment(waiver.expires):
        return f"expired on {waiver.expires}"
    for condition in waiver.until:
        why = _holds(condition, waiver, item)
        if why:
            return why
    return ""


def _holds(condition: str, waiver: Waiver, item: Item) -> str:
    finding, target = item.finding, item.subject.target
    if condition == "new-image":
        digest = target.digest if target is not None else ""
        same = target is not None and waiver.digest in (digest, *target.digests)
        return "" if same else f"it was given for {waiver.digest}, this image is {digest or 'without a digest'}"
    if finding is None:
        return ""
    if condition == "fix-available":
        return f"a fix is available: {', '.join(finding.fixed_in)}" if finding.fixed_in else ""
    if condition == "kev":
        return "it is known to be exploited (KEV)" if finding.kev else ""
    if condition == "severity-raised":
        raised = finding.severity.rank > Severity(waiver.severity).rank
        return f"its severity rose from {waiver.severity} to {finding.severity.value}" if raised else ""
    match = _EPSS.fullmatch(condition)
    score = finding.epss.score if finding.epss is not None else 0.0
    return f"its EPSS is {score:.5f}, above {match[1]}" if match is not None and score > float(match[1]) else ""


def covers(waiver: Waiver, item: Item) -> bool:
    """Say whether an item is within a waiver's whole scope, whatever the time."""
    return (
        _names(waiver, item.finding)
        and (not waiver.package or _package(waiver.package, item))
        and (not waiver.image or _image(waiver.image, item.subject))
        and (not waiver.environment or fits(item.subject.context.environment, waiver.environment))
        and (not waiver.path or _all(_paths(item), lambda path: fits(path, waiver.path.lstrip("/"))))
        and (not waiver.layer or _all(_layers(item), lambda layer: layer == waiver.layer))
        and (not waiver.base or _in_base(waiver.base, item))
    )


def _names(waiver: Waiver, finding: Finding | None) -> bool:
    if not waiver.vulnerability:
        return True
    if finding is None:
        return False
    names = names_of(finding)
    return any(name.upper() in names for name in waiver.vulnerability)


def names_of(finding: Finding) -> set[str]:
    """Return all that a finding is called, in capitals: its id, other names, and the controls that it goes against.

    A check that stands for several of another scanner is wider than each of them, and none of their names is its own.
    """
    theirs = [control for control in finding.controls if control.startswith(_SCANNER)]
    controls = finding.controls if len(theirs) < 2 else [one for one in finding.controls if one not in theirs]
    return {name.upper() for name in (finding.id, *finding.aliases, *controls)}


def _all(values: Sequence[str], holds: Any) -> bool:
    """Say whether all values are meant: a package that is also elsewhere is not covered by a waiver for one place."""
    return bool(values) and all(holds(value) for value in values)


def _paths(item: Item) -> list[str]:
    if item.gap is not None:
        return [item.gap.path] if item.gap.path else []
    if item.package is not None and item.package.locations:
        return [place.path for place in item.package.locations]
    location = item.finding.location if item.finding is not None else None
    return [location.path] if location is not None and location.path else []


def _layers(item: Item) -> list[str]:
    if item.layer is not None:
        return [item.layer.diff_id]
    if item.gap is not None:
        return [item.gap.layer] if item.gap.layer else []
    if item.package is not None and item.package.locations:
        return [place.layer for place in item.package.locations]
    seen = item.finding.location.layer if item.finding is not None and item.finding.location is not None else ""
    return [seen] if seen else []


def _in_base(last: str, item: Item) -> bool:
    """Say whether a base image that ends with this layer brought all of an item."""
    target = item.subject.target
    layers = [layer.diff_id for layer in target.layers] if target is not None else []
    if last not in layers:
        return False
    return _all(_layers(item), layers[: layers.index(last) + 1].__contains__)


def _package(pattern: str, item: Item) -> bool:
    inner = item.finding.package if item.finding is not None else None
    purl = item.package.purl if item.package else inner.purl if inner else item.gap.package if item.gap else ""
    if pattern.startswith("pkg:"):
        return bool(purl) and purl_matches(pattern, purl)
    names = {inner.name, inner.source} if inner else set()
    if item.package is not None:
        names |= {item.package.name, item.package.source.name if item.package.source else ""}
    return any(fits(name, pattern) for name in names if name)


def purl_matches(pattern: str, purl: str) -> bool:
    """Compare a purl with a pattern: * and ? stand for anything; without a version any version is meant, qualifiers likewise."""
    wanted, given = _split(pattern), _split(purl)
    return (
        fits(given[0], wanted[0])
        and (not wanted[1] or fits(given[1], wanted[1]))
        and all(given[2].get(key) == value for key, value in wanted[2].items())
    )


def _split(purl: str) -> tuple[str, str, dict[str, str]]:
    rest, _, query = purl.partition("#")[0].partition("?")
    name, at, version = rest.rpartition("@")
    if not at or "/" in version or name.endswith("/"):
        name, version = rest, ""  # the @ of an npm scope
    qualifiers = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    kind, slash, tail = name.partition("/")
    kind, tail = kind.lower(), unquote(tail)
    tail = _PEP_503.sub("-", tail).lower() if kind == "pkg:pypi" else tail.lower() if kind in _CASELESS else tail
    return f"{kind}{slash}{tail}", unquote(version), {key: unquote(value) for key, value in qualifiers.items()}


def _image(pattern: str, subject: Subject) -> bool:
    target = subject.target
    if target is None:
        return False
    digests = (target.digest, *target.digests)
    if pattern.startswith("sha256:"):
        return pattern in digests
    name, at, digest = pattern.partition("@")
    if at and digest not in digests:
        return False
    tag = name.rpartition("/")[2].partition(":")[2]
    given_tag = target.reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if tag and not fits(given_tag, tag):
        return False
    repo = name.removesuffix(f":{tag}") if tag else name
    given = repository(target.reference)
    return fits(given, repo if repo.startswith("*") else repository(repo))


def _same(name: str) -> str:
    """Return a name as people read it: Team-A is team-a, and so is one with a space behind it."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def short_of(waiver: Waiver, terms: Sequence[WaiverTerms], now: str) -> str:
    """Say what a waiver lacks of a policy's terms; "" where it is good enough."""
    for term in terms:
        if term.longest is not None:
            if not waiver.expires:
                return "it has no end"
            begins = min(moment(waiver.created or now), moment(now))  # a day of the future would shorten it on paper only
            lasts = (moment(waiver.expires) - begins).total_seconds()
            if lasts > term.longest:
                return f"it lasts longer than {lasting(term.longest)}"
        if term.ticket and not waiver.ticket:
            return "it has no ticket"
        if term.approver and not waiver.approver:
            return "nobody approved it"
        if term.approver and _same(waiver.approver) in (_same(waiver.owner), _same(waiver.author)):
            return "its approver is its owner or author"
        if term.signed and not waiver.signed_by:
            return f"nobody vouches for its file: {waiver.unsigned or 'it is not in a file under version control'}"
    return ""
