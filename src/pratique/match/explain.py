"""A vulnerability's names, packages and hits in, why it is not reported for them out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from pratique.match.find import Subject, range_text, same_build, version_key
from pratique.model.hits import LAST_AFFECTED, Hit, HitRange
from pratique.model.inventory import Package
from pratique.model.versions import scheme_for

Why = Literal["outside", "not-affected", "owned"]


class Check(msgspec.Struct, frozen=True):
    """One range (or list of versions) of one advisory, and the comparison that shows the version outside."""

    source: str
    advisory: str
    range: str
    comparison: str
    note: str = ""


class Spared(msgspec.Struct, frozen=True, kw_only=True):
    """A package that a vulnerability is about and is not reported for; `owner` is the purl of its OS package if "owned"."""

    package: str
    name: str
    version: str
    why: Why
    owner: str = ""
    checks: tuple[Check, ...] = ()


def spared(
    asked: Iterable[Subject],
    owned: Iterable[Package],
    hits: Mapping[str, Mapping[str, Sequence[Hit]]],
    names: Collection[str],
    reported: Collection[str],
) -> list[Spared]:
    """Say why packages that an advisory called one of `names` is about are not among the purls `reported`, sorted by purl.

    `asked` are the subjects that were matched, with those of `owned` packages as if they were nobody's; `hits` by ecosystem and
    name, as for `find`.
    """
    owners = {package.purl: package.owner for package in owned}
    found: dict[str, Spared] = {}
    for subject in asked:
        package = subject.package
        spoken = [hit for hit in hits.get(subject.ecosystem, {}).get(subject.name, ()) if hit.id in names]
        if not spoken or package.purl in reported:
            continue
        owner = owners.get(package.purl, "")
        earlier = found.get(package.purl)  # a package may be asked about under several names
        denied = any(hit.state == "not-affected" for hit in spoken) or (earlier is not None and earlier.why == "not-affected")
        why: Why = "owned" if owner else "not-affected" if denied else "outside"
        checks = (*(earlier.checks if earlier else ()), *(check for hit in spoken for check in _checks(subject, hit)))
        found[package.purl] = Spared(
            package=package.purl, name=package.name, version=package.version, why=why, owner=owner, checks=checks
        )
    return [found[purl] for purl in sorted(found)]


def _checks(subject: Subject, hit: Hit) -> list[Check]:
    source = hit.feed or hit.source
    if hit.state == "not-affected":
        return [Check(source, hit.id, "none", f"{source} says that {subject.name} is not affected", hit.note)]
    if not same_build(subject, hit):
        other = "the packages of a module stream" if ".module" not in subject.version else "packages outside of module streams"
        return [Check(source, hit.id, range_text(hit, item), f"is about {other}", hit.note) for item in hit.ranges]
    key = version_key(subject.version, scheme_for(subject.ecosystem))
    checks = [
        Check(source, hit.id, range_text(hit, item), _compared(subject.version, key, item), hit.note) for item in hit.ranges
    ]
    if hit.versions:
        listed = subject.version in hit.versions
        checks.append(Check(source, hit.id, "listed", f"{subject.version} is {'' if listed else 'not '}listed", hit.note))
    return checks


def _compared(version: str, key: bytes | None, item: HitRange) -> str:
    """Say the one comparison that puts a version outside, or that it is inside."""
    if key is None:
        return f"{version} cannot be compared"
    if item.lower_key and key < item.lower_key:
        return f"{version} < {item.introduced}"
    if item.contains(key) is False:
        return f"{version} {'>' if item.bound == LAST_AFFECTED else '>='} {item.upper}"
    return f"{version} is within"
