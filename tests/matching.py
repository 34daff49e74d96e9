"""Short words in, packages, hits and findings out: what the tests of matching share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pratique.match.find import Matches, find, subjects
from pratique.match.merge import Knowledge, merge
from pratique.model.advisory import Advisory, Exploited, ExploitScore, RangeState
from pratique.model.ecosystems import normalize
from pratique.model.errors import UnorderableVersionError
from pratique.model.finding import Finding
from pratique.model.hits import FIXED, LAST_AFFECTED, LIMIT, OPEN, Bound, Hit, HitRange
from pratique.model.inventory import Gap, Location, Package, PackageType, SourcePackage
from pratique.model.versions import scheme_for

ECOSYSTEMS: Mapping[PackageType, str] = {
    "deb": "Debian",
    "apk": "Alpine",
    "rpm": "AlmaLinux",
    "pypi": "PyPI",
    "npm": "npm",
    "maven": "Maven",
    "golang": "Go",
    "cargo": "crates.io",
    "gem": "RubyGems",
    "generic": "",
}


def package(
    kind: PackageType, name: str, version: str, *, source: tuple[str, str] | None = None, namespace: str = "", owner: str = "",
    role: str = "", path: str = "some/place", layer: str = "sha256:1",
) -> Package:  # fmt: skip
    """Make an installed package."""
    where = f"{namespace}/" if namespace else ""
    separator = ":" if kind == "maven" else "/"
    return Package(
        name=f"{namespace}{separator}{name}" if namespace else name,
        version=version,
        purl=f"pkg:{kind}/{where}{name}@{version}",
        type=kind,
        ecosystem=ECOSYSTEMS[kind],
        namespace=namespace,
        source=SourcePackage(*source) if source else None,
        locations=(Location(path, layer),),
        owner=owner,
        role=role,
    )


def key(ecosystem: str, version: str) -> bytes | None:
    """Return a version's key as the advisory database does: None where it cannot be ordered."""
    scheme = scheme_for(ecosystem)
    try:
        return b"" if not version else scheme.key(version) if scheme else None
    except UnorderableVersionError:
        return None


def between(ecosystem: str, introduced: str = "", *, fixed: str = "", last: str = "", limit: str = "") -> HitRange:
    """Make a range with its keys."""
    bound: Bound = FIXED if fixed else LAST_AFFECTED if last else LIMIT if limit else OPEN
    upper = fixed or last or limit
    return HitRange(introduced, upper, bound, key(ecosystem, introduced), key(ecosystem, upper))


def hit(
    identifier: str, *ranges: HitRange, versions: Sequence[str] = (), state: RangeState = "", severity: str = "", note: str = "",
    feed: str = "osv/test",
) -> Hit:  # fmt: skip
    """Make what a look-up answers."""
    return Hit(identifier, ranges, tuple(versions), state, severity, note, feed.partition("/")[0], feed)


def known(
    *advisories: Advisory,
    feed: str = "osv/test",
    vectors: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    exploited: Iterable[str] = (),
    scores: Mapping[str, float] | None = None,
) -> Knowledge:
    """Make what is known beside the ranges; all advisories are of one feed."""
    return Knowledge(
        {(feed, advisory.id): advisory for advisory in advisories},
        vectors or {},
        {cve: Exploited(cve=cve, added="2026-01-01") for cve in exploited},
        {cve: ExploitScore(cve=cve, score=score, percentile=0.5, date="2026-01-01") for cve, score in (scores or {}).items()},
    )


def answers(release: str, packages: Iterable[Package], hits: Mapping[str, Sequence[Hit]]) -> tuple[Matches, list[Gap]]:
    """Ask about packages; `hits` are by name, in whatever ecosystem is asked."""
    asked, gaps = subjects(packages, release)
    places = {subject.ecosystem for subject in asked}
    return find(asked, {place: {normalize(place, name): found for name, found in hits.items()} for place in places}), gaps


def findings(
    installed: Package, hits: Sequence[Hit], knowledge: Knowledge | None = None, *, name: str = "", release: str = ""
) -> list[Finding]:
    """Match and merge for one package."""
    found, _ = answers(release, [installed], {name or installed.name: hits})
    return merge(found.found, found.denied, knowledge or known(), {"sha256:1": "RUN something"})
