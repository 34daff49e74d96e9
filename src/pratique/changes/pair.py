"""The findings of two reports in, which of the one is which of the other out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from pratique.model.finding import Finding
from pratique.policy.judge import bites


class Pair(NamedTuple):
    """One finding in two reports; None where a report has it not."""

    old: Finding | None
    new: Finding | None


def pair(old: Sequence[Finding], new: Sequence[Finding]) -> list[Pair]:
    """Pair findings: the same in the same place, then the same fingerprint, then one that merely goes by another name now.

    Each is in one pair only: of a package that is there twice, one copy may be known and the other new. Which report is called
    old changes nothing.
    """
    found: list[Pair] = []
    for key in (_exactly, _print):
        old, new = _match(found, old, new, key)
    names = _renamed([*old, *new])
    old, new = _match(found, old, new, lambda finding: names[id(finding)])
    return [*found, *(Pair(finding, None) for finding in old), *(Pair(None, finding) for finding in new)]


def introduced(now: Finding, then: Finding | None) -> bool:
    """Say whether a finding counts for who asks for what is new: it counts now, and did not, or was less grave, before."""
    if not bites(now):
        return False
    return then is None or not bites(then) or then.severity.rank < now.severity.rank or (now.kev and not then.kev)


def _match(
    found: list[Pair], old: Sequence[Finding], new: Sequence[Finding], key: Callable[[Finding], Hashable]
) -> tuple[list[Finding], list[Finding]]:
    """Pair what has the same key, in the order of their places; return what is left of both."""
    olds, news = _grouped(old, key), _grouped(new, key)
    taken: set[int] = set()
    for name, mine in olds.items():
        for one, other in zip(sorted(mine, key=_place), sorted(news.get(name, ()), key=_place), strict=False):
            found.append(Pair(one, other))
            taken |= {id(one), id(other)}
    return [one for one in old if id(one) not in taken], [one for one in new if id(one) not in taken]


def _grouped(findings: Iterable[Finding], key: Callable[[Finding], Hashable]) -> dict[Hashable, list[Finding]]:
    groups: dict[Hashable, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(key(finding), []).append(finding)
    return groups


def _place(finding: Finding) -> tuple[str, str, int, str]:
    where = finding.location
    purl = finding.package.purl if finding.package is not None else ""
    return purl, where.path if where is not None else "", where.line if where is not None else 0, finding.id


def _exactly(finding: Finding) -> Hashable:
    purl, path, line, _ = _place(finding)
    return finding.fingerprint, purl, "" if purl else path, 0 if purl else line


def _print(finding: Finding) -> Hashable:
    return finding.fingerprint


def _renamed(findings: Iterable[Finding]) -> dict[int, Hashable]:
    """Give findings about one package that share a name, directly or by way of others, the same key.

    A record that got its CVE, or was merged with another, changes the id that a finding goes by, and so its fingerprint.
    """
    parents: dict[Hashable, Hashable] = {}

    def root(name: Hashable) -> Hashable:
        while (above := parents.setdefault(name, name)) != name:
            parents[name] = parents[above]
            name = parents[name]
        return name

    first: dict[int, Hashable] = {}
    for finding in findings:
        package = finding.package
        if package is None:
            first[id(finding)] = ("", id(finding))
            continue
        names = [(finding.kind, package.ecosystem, package.name, name) for name in (finding.id, *finding.aliases)]
        first[id(finding)] = names[0]
        for name in names[1:]:
            parents[root(name)] = root(names[0])
    return {identity: root(name) for identity, name in first.items()}
