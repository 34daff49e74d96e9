"""Two reports in, what can explain a difference between them out: the images, the databases, the programs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from pratique.model.errors import BudgetExceededError, UnorderableVersionError
from pratique.model.finding import Finding
from pratique.model.inventory import Package
from pratique.model.report import DatabaseSource, Report
from pratique.model.versions import scheme_for

Identity = tuple[str, str, str]


def identity(package: Package) -> Identity:
    """Return what a package is, whatever its version."""
    return package.type, package.name, package.arch


class Half:
    """One of two reports, its packages by name and by purl, and the instructions of its layers."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.purls: dict[str, Package] = {package.purl: package for package in report.packages}
        self.named: dict[tuple[str, str], list[Package]] = {}
        for package in report.packages:
            self.named.setdefault((package.type, package.name), []).append(package)
        self.instructions = {layer.diff_id: layer.created_by for layer in report.target.layers}
        self.sources = {source.name: source for source in report.meta.database.sources}

    @property
    def release(self) -> tuple[str, str]:
        """The distribution and its version."""
        distro = self.report.target.distro
        return (distro.id, distro.version) if distro is not None else ("", "")


class Facts:
    """What is known of both. `live` says that both were scanned just now, with one database."""

    def __init__(self, old: Report, new: Report, *, live: bool = False) -> None:
        self.old, self.new = Half(old), Half(new)
        common = self.old.sources.keys() & self.new.sources.keys()
        self.live = live and all(_same(self.old.sources[name], self.new.sources[name]) for name in common)

    @cached_property
    def same_image(self) -> bool:
        """Whether both have the same content for certain: one digest, or the same layers."""
        old, new = self.old.report.target, self.new.report.target
        layers = [layer.diff_id for layer in old.layers]
        same_layers = bool(layers) and all(layers) and layers == [layer.diff_id for layer in new.layers]
        known = [{target.digest, *target.digests} - {""} for target in (old, new)]
        return (not known[0].isdisjoint(known[1]) and old.platform == new.platform) or same_layers

    @cached_property
    def same_database(self) -> bool:
        """Whether the database cannot explain anything: one digest, or the same feeds in the same states."""
        old, new = self.old.report.meta.database, self.new.report.meta.database
        if self.live:
            return True
        if old.kind != new.kind or old.kind == "none":
            return old == new
        if old.digest and old.digest == new.digest:
            return True
        known = self.old.sources.keys() == self.new.sources.keys() and bool(self.old.sources)
        return known and all(
            source.digest and source.digest == self.new.sources[name].digest for name, source in self.old.sources.items()
        )

    @cached_property
    def same_scanner(self) -> bool:
        """Whether both were written by one version of the program."""
        return self.old.report.meta.version == self.new.report.meta.version

    @cached_property
    def kinds_differ(self) -> bool:
        """Whether one was asked of a full database and the other of the shipped set, or of none."""
        return self.old.report.meta.database.kind != self.new.report.meta.database.kind

    def changed(self, feeds: Iterable[str]) -> list[str]:
        """Return those of `feeds` that are not the same in both databases."""
        if self.live:
            return []
        if self.kinds_differ:
            return sorted(set(feeds))
        digests = (self.old.report.meta.database.digest, self.new.report.meta.database.digest)
        if digests[0] and digests[0] == digests[1]:
            return []
        return sorted(name for name in set(feeds) if not _same(self.old.sources.get(name), self.new.sources.get(name)))

    @cached_property
    def all_changed(self) -> list[str]:
        """The feeds that both databases have, in different states."""
        return self.changed(set(self.old.sources) & set(self.new.sources))

    @cached_property
    def dates(self) -> str:
        """Both databases in a few words."""
        databases = [half.report.meta.database for half in (self.old, self.new)]
        same_day = databases[0].built_at[:10] == databases[1].built_at[:10]
        words = []
        for database in databases:
            of = f" of {database.built_at if same_day else database.built_at[:10]}" if database.built_at else ""
            words.append({"full": "advisories", "starter": "the starter set", "none": "no advisories"}[database.kind] + of)
        again = words[1] if self.kinds_differ else words[1].removeprefix("advisories ").removeprefix("the starter set ")
        return f"{words[0]}, then {again}"

    @cached_property
    def versions(self) -> str:
        """Both programs in a few words."""
        return f"pratique {self.old.report.meta.version}, then {self.new.report.meta.version}"


def _same(old: DatabaseSource | None, new: DatabaseSource | None) -> bool:
    """Compare a feed in two databases; reports of versions that wrote no digest are compared by what they say of records."""
    if old is None or new is None:
        return old is new
    if old.digest and new.digest:
        return old.digest == new.digest
    return (old.records, old.newest) == (new.records, new.newest)


def feeds_of(*findings: Finding | None) -> list[str]:
    """Return the feeds that findings rest on."""
    names: list[str] = []
    for finding in findings:
        if finding is not None and finding.because is not None:
            names += [reason.source for reason in (finding.because, *finding.because.also)]
            names += [score.source for score in finding.cvss if "/" in score.source]
    return sorted(set(filter(None, names)))


def records_of(finding: Finding, feeds: Iterable[str]) -> tuple[str, ...]:
    """Return the advisories of `feeds` that a finding rests on."""
    wanted = set(feeds)
    reasons = (finding.because, *finding.because.also) if finding.because is not None else ()
    return tuple(sorted({reason.advisory for reason in reasons if reason.source in wanted}))


def would_hold(finding: Finding, package: Package) -> bool | None:
    """Say whether what a finding rests on would hold for another version of its package; None where that cannot be told.

    A range is read as matching writes it (Because.range): ">= 1.0, < 1.2".
    """
    reasons = (finding.because, *finding.because.also) if finding.because is not None else ()
    answers = [_within(reason.range, _asked_version(reason.package, package), reason.ecosystem) for reason in reasons]
    if any(answers):
        return True
    return False if answers and all(answer is False for answer in answers) else None


def _asked_version(name: str, package: Package) -> str:
    """Return the version that an advisory about `name` is compared with."""
    source = package.source
    return source.version if source is not None and source.version and name == source.name != package.name else package.version


def _within(text: str, version: str, ecosystem: str) -> bool | None:
    if text == "all versions":
        return True
    scheme = scheme_for(ecosystem)
    bounds = [part.partition(" ") for part in text.split(", ")]
    if scheme is None or not all(sign in (">=", "<", "<=") and bound for sign, _, bound in bounds):
        return None
    try:
        key = scheme.key(version)
        keys = [(sign, scheme.key(bound)) for sign, _, bound in bounds]
    except (UnorderableVersionError, BudgetExceededError):
        return None
    tests = {">=": key.__ge__, "<": key.__lt__, "<=": key.__le__}
    return all(bool(tests[sign](bound)) for sign, bound in keys)
