"""Providers in, feeds out: which feeds there are, and which of them an ecosystem needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Protocol, runtime_checkable

from pratique.model.advisory import Feed
from pratique.model.ecosystems import base
from pratique.model.ports import AdvisoryProvider

# (address, what lies there) -> the next address. What upstream says of it stands behind a "#": "sha256=...",
# "sha256-inflated=..." (of what a gzip file holds), or BESIDE where a ".sha256" file may lie beside it. Raises ParseError.
Step = Callable[[str, bytes], str]
BESIDE = "sha256-beside"

# Feeds that are asked only where another one, better informed, has nothing: docs/adr/0007-debian-sources.md.
FALLBACKS = {"osv/Debian": "debian/tracker", "osv/Red Hat": "redhat/vex"}
# Feeds about CVEs, whatever the ecosystem: every scan wants them.
ENRICHMENT = ("cisa/kev", "epss/current")
# One that comes with `db update` only, as it has hundreds of megabytes: a report depends on it where it is there.
ASSESSED = "cisa/vulnrichment"
# Feeds of many megabytes that come whole each time, or that say much in advance: a scan refreshes them after so many days, others
# after one. By what their names begin with.
SELDOM = {"redhat/": 3, "suse/": 3, "endoflife/": 7, "amazon/2-": 7}


# Whose records OSV brings, by the word that people have for them: the ecosystems of GitHub's database.
# https://docs.github.com/code-security/security-advisories/working-with-global-security-advisories-from-the-github-advisory-database
PUBLISHERS = {
    "ghsa": (
        "GitHub Actions", "Go", "Hex", "Maven", "NuGet", "Packagist", "Pub", "PyPI", "RubyGems", "SwiftURL", "crates.io", "npm",
    ),
}  # fmt: skip


@runtime_checkable
class Routed(Protocol):
    """A provider whose feeds lie at addresses that change: steps lead there from the feed's own. Mirrors need none."""

    def route(self, feed: Feed, /) -> Sequence[Step]: ...


@runtime_checkable
class Versioned(Protocol):
    """A provider that reads its feeds otherwise than it once did: what an older `version` (one without has 1) made is read anew.

    Raised with each change of what the same bytes give; what was known before stays in the history.
    """

    version: int


class Source:
    """One feed with the provider that reads it."""

    __slots__ = ("feed", "provider")

    def __init__(self, provider: AdvisoryProvider, feed: Feed) -> None:
        self.provider = provider
        self.feed = feed

    @property
    def reader(self) -> int:
        """The version of what reads the feed."""
        return self.provider.version if isinstance(self.provider, Versioned) else 1

    def route(self) -> Sequence[Step]:
        """Return the steps that lead from the feed's address to the feed."""
        return self.provider.route(self.feed) if isinstance(self.provider, Routed) else ()


@cache
def providers() -> dict[str, AdvisoryProvider]:
    """Return every provider of `advisory/providers` by name."""
    from pratique._kit.discover import offers  # noqa: PLC0415 - imports every provider: only when feeds are wanted
    from pratique.advisory import providers as folder  # noqa: PLC0415

    return {provider.name: provider for provider in offers(folder, "PROVIDER").values()}


@cache
def sources() -> dict[str, Source]:
    """Return every known feed by name."""
    return {feed.name: Source(provider, feed) for provider in providers().values() for feed in provider.feeds()}


def names_for(ecosystems: Iterable[str]) -> list[str]:
    """Return the feeds that `ecosystems` need, sorted; with a release ("Alpine:v3.20") only those of that release.

    Fallbacks are left out: they are for whoever wants everything. Unknown ecosystems bring nothing.
    """
    wanted = set(ecosystems)
    bare = {ecosystem for ecosystem in wanted if base(ecosystem) == ecosystem}
    families = {base(ecosystem) for ecosystem in wanted}
    found = set()
    for name, source in sources().items():
        if name not in FALLBACKS:
            for offered in source.feed.ecosystems:
                if offered in wanted or base(offered) in bare or offered in families:
                    found.add(name)
    return sorted(found)


def select(words: Iterable[str]) -> list[str]:
    """Return the feeds that `words` mean: ecosystems ("Debian", "Alpine:v3.20"), feeds ("osv/PyPI"), providers ("kev"), "ghsa".

    Raises KeyError with the word that names nothing.
    """
    chosen: set[str] = set()
    spelled = {e.lower(): e for source in sources().values() for o in source.feed.ecosystems for e in (o, base(o))}
    for word in words:
        if word in sources():
            chosen.add(word)
            continue
        found = names_for(PUBLISHERS.get(word.lower(), [spelled.get(word.lower(), word)]))
        found += [name for name, source in sources().items() if source.provider.name == word.lower()]
        if not found:
            raise KeyError(word)
        chosen.update(found)
    return sorted(chosen)
