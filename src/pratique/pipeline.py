"""The corridor: the one place that knows the order. A target goes in; what it is, what is wrong and a verdict come out."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pratique._version import __version__
from pratique.examination import Advance, Channel, Job, Outcome, Setup, inspectors_for, serve, thread_count
from pratique.image.options import SourceOptions
from pratique.inventory.cache import LayerCache, stale_inspectors
from pratique.model.ecosystems import base
from pratique.model.errors import IntegrityError, TargetError
from pratique.model.finding import Finding, Severity
from pratique.model.image import Extent, ImageRef, Layer, OpenImage, Platform
from pratique.model.inventory import Distro, DistroEvidence, Gap, Inventory, PackageEvidence
from pratique.model.layer import LayerRecord
from pratique.model.ports import Inspector
from pratique.model.report import DatabaseInfo, Meta, Reason, Report, ReportDistro, ReportLayer, Target, Verdict

if TYPE_CHECKING:
    from pratique._kit.confined import Channel as ChildProcess
    from pratique.policyfiles import Rules

SCHEMA = "urn:pratique:schema:scan-1"
NOT_KEPT = frozenset(("image.layer-limit",))  # what a limit cut short is examined anew next time: the limit may be another then
LOCAL_ARCHIVES = frozenset(("docker-archive", "oci-archive"))  # a file that anybody may write again: judged by its stamp

Progress = Callable[[str, int, int], None]


MAX_SPOOLED = 2 << 30  # bytes written to an unnamed temporary file: more than any program that an inspector looks into


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """How to examine: time limit in seconds (None: no limit), whether lock files count, and whom to tell of progress.

    `say` is called with a line worth keeping, `disown` when a layer is not what it says, so that a download that was damaged
    on this disk is not used again.
    """

    seconds: float | None = None
    declared: bool = False
    progress: Progress | None = None
    disown: Callable[[], None] | None = None
    say: Callable[[str], None] | None = None


def take_inventory(image: OpenImage, cache: LayerCache, how: Inspection) -> Inventory:
    """Read what is in an image. Raises IntegrityError, TargetError, RegistryError."""
    inspectors = inspectors_for(declared=how.declared)
    versions = {inspector.name: inspector.version for inspector in inspectors}
    if image.folder is not None:
        job = Job(0, str(image.folder), 0, -1, "", image.scheme, tuple(range(len(inspectors))))
        records = _examine([job], inspectors, how)
        return _settle([records[0]], [""], versions)
    return _settle(_layer_records(image, cache, inspectors, how), [layer.diff_id for layer in image.layers], versions)


def _layer_records(image: OpenImage, cache: LayerCache, inspectors: Sequence[Inspector], how: Inspection) -> list[LayerRecord]:
    versions = {inspector.name: inspector.version for inspector in inspectors}
    places = {inspector.name: place for place, inspector in enumerate(inspectors)}
    proven = _Proof(image, cache)
    records: dict[str, LayerRecord] = {}
    missing: dict[tuple[str, str], tuple[int, Layer, tuple[int, ...]]] = {}
    for index, layer in enumerate(image.layers):
        record = cache.get(layer.diff_id) if proven.of(layer) else None
        stale = set(versions) if record is None else stale_inspectors(record, versions)
        if record is not None:
            records[layer.diff_id] = record
        if stale:
            key = layer.digest, layer.diff_id  # two blobs under one diff_id: each must prove that it is that layer
            missing.setdefault(key, (index, layer, tuple(sorted(places[name] for name in stale))))
    if missing:
        doubtful: set[str] = set()
        fresh = _examine(_jobs(image, list(missing.values()), proven), inspectors, how)
        for index, record in sorted(fresh.items(), key=lambda pair: (_is_cut(pair[1]), pair[0])):  # a gap must not be lost
            diff_id = image.layers[index].diff_id
            if diff_id in records:
                record.inspected = {**records[diff_id].inspected, **record.inspected}
                record.tree.elsewhere = {**records[diff_id].tree.elsewhere, **record.tree.elsewhere}
            records[diff_id] = record
            if _is_cut(record):
                doubtful.add(diff_id)
        for diff_id in {image.layers[index].diff_id for index in fresh} - doubtful:
            cache.put(records[diff_id])
        proven.remember(doubtful)
    return [records[layer.diff_id] for layer in image.layers]


def _is_cut(record: LayerRecord) -> bool:
    return any(gap.code in NOT_KEPT for gap in record.gaps)


def _jobs(image: OpenImage, missing: Sequence[tuple[int, Layer, tuple[int, ...]]], proven: _Proof) -> list[Job]:
    """Bring the layers here, where they are not, and say what is to be done with each."""
    image.prefetch([layer for _, layer, _ in missing])
    jobs = []
    for index, layer, inspectors in missing:
        extent = proven.extent(layer)
        jobs.append(Job(index, extent.path, extent.offset, extent.size, layer.diff_id, layer.digest, inspectors))
    return jobs


class _Proof:
    """Whether a layer's cached record speaks of the bytes that the target has now."""

    def __init__(self, image: OpenImage, cache: LayerCache) -> None:
        self._image = image
        self._cache = cache
        self._extents: dict[str, Extent] = {}
        self._diff_ids = [layer.diff_id for layer in image.layers]
        self._archive: bool | None = None

    def extent(self, layer: Layer) -> Extent:
        """Return where a layer lies, fetched once."""
        key = layer.digest or layer.diff_id
        if key not in self._extents:
            self._extents[key] = self._image.fetch(layer)
        return self._extents[key]

    def of(self, layer: Layer) -> bool:
        """Say whether the layer was verified in an earlier scan."""
        if self._image.scheme in LOCAL_ARCHIVES:
            if self._archive is None:
                stamp = self.extent(layer).stamp
                self._archive = bool(stamp) and self._cache.archive_is(stamp, self._diff_ids)
            return self._archive
        return bool(layer.digest) and self._cache.blob_is(layer.digest, layer.diff_id)

    def remember(self, doubtful: Container[str]) -> None:
        """Note that every layer has been verified now, but for the doubtful: what a limit cut short did not show its digest."""
        if self._image.scheme in LOCAL_ARCHIVES:
            stamp = next((extent.stamp for extent in self._extents.values()), "")
            if stamp and not any(diff_id in doubtful for diff_id in self._diff_ids):
                self._cache.remember_archive(stamp, self._diff_ids)
            return
        for layer in self._image.layers:
            if layer.digest and layer.diff_id not in doubtful:
                self._cache.remember_blob(layer.digest, layer.diff_id)


def _examine(jobs: Sequence[Job], inspectors: Sequence[Inspector], how: Inspection) -> dict[int, LayerRecord]:
    """Let a confined process examine layers; return the records by index."""
    from pratique._kit.confined import can_fork, confined  # noqa: PLC0415 - only where something is examined
    from pratique._kit.sandbox import Limits  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        spools = _spools(stack, thread_count(len(jobs)))

        def worker(channel: Channel) -> None:
            serve(channel, inspectors, how.seconds, spools)

        readable = sorted({job.path for job in jobs}.union(_own_code()))
        bounds = Limits(file_size=MAX_SPOOLED)
        keep = [spool for spool in spools if spool >= 0]
        if can_fork():
            child = stack.enter_context(confined(worker, read_paths=readable, limits=bounds, keep=keep))
        else:
            from pratique._kit.spawned import spawned  # noqa: PLC0415 - for programs with threads that use us as a library

            setup = msgspec.msgpack.encode(Setup(how.declared, how.seconds, len(spools), len(keep)))
            child = stack.enter_context(spawned("pratique.examination", setup, read_paths=readable, limits=bounds, keep=keep))
        child.send(msgspec.msgpack.encode(jobs))
        child.finish()
        _import_the_rest()
        return _collect(child, jobs, how)


def _own_code() -> list[str]:
    """Return where this program and its libraries lie: the confined process may still import, and read data of ours."""
    places = [
        str(Path(__file__).parent),
        str(Path(os.__file__).parent),
        str(Path(msgspec.__file__).parents[1]),
        "/usr/lib",
        "/lib",
        "/lib64",
    ]
    return [place for place in places if Path(place).is_dir()]


def _collect(child: ChildProcess, jobs: Sequence[Job], how: Inspection) -> dict[int, LayerRecord]:
    decoder = msgspec.msgpack.Decoder(Outcome | Advance)
    records: dict[int, LayerRecord] = {}
    total = sum(max(job.size, 0) for job in jobs)
    missing = child.ready().missing
    if missing and how.say is not None:
        how.say(f"this machine cannot confine the examination fully: {'; '.join(missing)}")
    while (message := child.receive()) is not None:
        try:
            outcome = decoder.decode(message)
        except msgspec.MsgspecError as error:
            raise TargetError(f"the examination gave an answer that is none: {error}") from None
        if isinstance(outcome, Advance):
            if how.progress is not None:
                how.progress(f"examining {len(jobs)} layers, {len(records)} done:", min(outcome.done, total), total)
            continue
        if outcome.integrity:
            if how.disown is not None:
                how.disown()
            raise IntegrityError(outcome.integrity)
        if outcome.failure or outcome.record is None:
            raise TargetError(outcome.failure or "a layer could not be examined")
        records[outcome.index] = outcome.record
    if len(records) != len(jobs):
        raise TargetError("the examination ended before all layers were examined")
    return records


def _spools(stack: ExitStack, count: int) -> list[int]:
    """Open unnamed temporary files for large files of compressed layers, one a thread; -1 where there is no room for any."""
    spools = []
    for _ in range(count):
        try:
            spools.append(os.open(os.environ.get("TMPDIR") or "/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))  # noqa: S108
        except OSError:
            spools.append(-1)
            continue
        stack.callback(os.close, spools[-1])
    return spools


def _import_the_rest() -> None:
    """Import what comes after the examination while the other process is busy with it."""
    import pratique.advisory.lookup  # noqa: PLC0415 - the point of this function
    import pratique.inventory.assemble  # noqa: PLC0415
    import pratique.inventory.squash  # noqa: PLC0415
    import pratique.match.find  # noqa: PLC0415
    import pratique.match.merge  # noqa: PLC0415
    import pratique.policy.judge  # noqa: F401, PLC0415
    from pratique.inventory.distro import advisory_ecosystem  # noqa: PLC0415

    advisory_ecosystem(Distro(id="debian"))  # reads the table of distributions


def _settle(records: Sequence[LayerRecord], diff_ids: Sequence[str], versions: dict[str, int]) -> Inventory:
    from pratique.inventory.assemble import assemble  # noqa: PLC0415 - see _import_the_rest
    from pratique.inventory.distro import advisory_ecosystem, settle_distro  # noqa: PLC0415
    from pratique.inventory.squash import squash  # noqa: PLC0415

    for record in records:  # a cached record may have parts of inspectors that are not asked now, and in another order
        record.inspected = {name: record.inspected[name] for name in versions if name in record.inspected}
    squashed = squash(records)
    evidence = [item for seen in squashed.alive for item in seen.located.evidence]
    distro = settle_distro([item for item in evidence if isinstance(item, DistroEvidence)])
    release = (advisory_ecosystem(distro) or "") if distro is not None else ""
    assembled = assemble(squashed.alive, diff_ids, distro, base(release) if release else "")
    gaps = [gap for gap in squashed.gaps if not _answered(gap, assembled.owned)] + assembled.gaps
    gaps += _missing_database(evidence, distro.id if distro is not None else "")
    return Inventory(distro=distro, release=release, packages=tuple(assembled.packages), gaps=tuple(gaps))


# What a program or archive does not say about itself, its package does: the distributor's advisories cover it as a whole.
_OWNERS_KNOW = frozenset(("inventory.no-build-info", "inventory.unidentified", "inventory.packed-binary"))


def _answered(gap: Gap, owned: Container[str]) -> bool:
    return gap.code in _OWNERS_KNOW and gap.path in owned


_DATABASES = {"debian": "deb", "ubuntu": "deb", "alpine": "apk", "wolfi": "apk", "chainguard": "apk"}
_RPM = frozenset(
    ("rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn", "sles", "opensuse-leap", "photon", "azurelinux")
)


def _missing_database(evidence: Sequence[object], distro: str) -> list[Gap]:
    """A distribution that says its name but has no package database was stripped of it: nobody can say what is installed."""
    kind = "rpm" if distro in _RPM else _DATABASES.get(distro, "")
    if not kind or any(isinstance(item, PackageEvidence) and item.type == kind for item in evidence):
        return []
    message = f"{distro} without a {kind} package database: what the distribution installed cannot be known"
    return [Gap(code="inventory.no-package-database", message=message, path="etc/os-release")]


class ScanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to scan. Durations in seconds, `now` RFC 3339 in UTC, `fail_on` as `policy.judge.parse_fail_on` returns it.

    `rules` are policies and waivers, None where there are neither. `tell` is called with progress, `say` with a line worth
    keeping.
    """

    sources: SourceOptions
    platform: Platform | None = None
    keep: bool = True
    mirror: str = ""
    max_age: float = 7 * 86_400
    seconds: float | None = None
    fail_on: tuple[str, ...] = ()
    rules: Rules | None = None
    now: str
    tell: Progress | None = None
    say: Callable[[str], None] | None = None


class Seen(NamedTuple):
    """All that a verdict is about."""

    inventory: Inventory
    target: Target
    findings: list[Finding]
    problems: tuple[Gap, ...]


def scan(ref: ImageRef, how: ScanOptions) -> Report:
    """Inspect, match, judge. Raises UsageError, TargetError, IntegrityError, RegistryError, DatabaseError."""
    return judge_inventory(*inspect(ref, how), how)


def inspect(ref: ImageRef, how: ScanOptions) -> tuple[Inventory, Target]:
    """Say what is in a target. Raises UsageError, TargetError, IntegrityError, RegistryError."""
    if ref.scheme == "sbom":
        from pratique.inventory.sbom.read import read_sbom  # noqa: PLC0415 - as below

        return read_sbom(Path(ref.value))
    from pratique.image.open import open_target  # noqa: PLC0415 - start-up stays lazy

    cache = LayerCache(how.sources.cache_dir if how.keep else None)
    with open_target(ref, how.platform, how.sources) as image:
        declared, disown = image.scheme == "dir", (lambda: _disown(image, how)) if image.scheme == "registry" else None
        inspection = Inspection(seconds=how.seconds, declared=declared, progress=how.tell, disown=disown, say=how.say)
        inventory = take_inventory(image, cache, inspection)
        target = _target(image, inventory)
    cache.close()
    return inventory, target


def _disown(image: OpenImage, how: ScanOptions) -> None:
    """Forget the downloads of an image one of whose layers is not what it says."""
    from pratique.image.blobstore import BlobStore  # noqa: PLC0415 - beside its one use

    store = BlobStore(how.sources.cache_dir)
    for layer in image.layers:
        store.forget(layer.digest)


def list_inventory(ref: ImageRef, how: ScanOptions) -> Report:
    """Inspect, and no more: no advisory is looked at, nothing is decided. Raises as `inspect` does."""
    inventory, target = inspect(ref, how)
    problems = tuple(sorted(set(inventory.gaps)))
    return Report(
        schema=SCHEMA,
        complete=all(gap.code.startswith("advisories.") for gap in problems),
        meta=Meta(version=__version__, scanned_at=how.now, database=DatabaseInfo(built_at="", digest="", kind="none")),
        target=target,
        packages=inventory.packages,
        findings=(),
        problems=problems,
        verdict=Verdict(decision="unknown", reasons=(Reason("not-judged", "only the inventory was asked for"),)),
    )


def judge_inventory(inventory: Inventory, target: Target, how: ScanOptions) -> Report:
    """Match a stored or fresh inventory and decide: the part of a scan that is repeated when advisories change."""
    findings, gaps, database = _match(inventory, target, how)
    findings = [*_end_of_life(inventory, how.now), *findings]
    problems = tuple(sorted({*inventory.gaps, *gaps}))
    verdict, findings = _judge(Seen(inventory, target, findings, problems), how)
    if not inventory.packages and verdict.decision in ("allow", "warn"):
        nothing = Reason("nothing-found", "nothing usable was found in the target")
        verdict = Verdict(decision="unknown", policy=verdict.policy, reasons=(nothing, *verdict.reasons))
    return Report(
        schema=SCHEMA,
        complete=all(gap.code.startswith("advisories.") for gap in problems),
        meta=Meta(version=__version__, scanned_at=how.now, database=database),
        target=target,
        packages=inventory.packages,
        findings=tuple(findings),
        problems=problems,
        verdict=verdict,
    )


def _judge(seen: Seen, how: ScanOptions) -> tuple[Verdict, list[Finding]]:
    """Decide. Findings come back with the waivers that cover them."""
    if how.rules is None:
        from pratique.policy.judge import judge  # noqa: PLC0415 - start-up stays lazy

        return judge(seen.findings, seen.problems, how.fail_on), seen.findings
    from pratique.policy.engine import decide  # noqa: PLC0415 - as above
    from pratique.policy.facts import Subject  # noqa: PLC0415 - as above

    subject = Subject(
        findings=tuple(seen.findings),
        gaps=seen.problems,
        packages=seen.inventory.packages,
        target=seen.target,
        context=how.rules.context,
        now=how.now,
    )
    judgement = decide(subject, how.rules.policies, how.rules.waivers, how.fail_on)
    return judgement.verdict, list(judgement.findings)


def _match(inventory: Inventory, target: Target, how: ScanOptions) -> tuple[list[Finding], list[Gap], DatabaseInfo]:
    """Ask the database about every package, in batches, and match."""
    import datetime as dt  # noqa: PLC0415 - start-up stays lazy

    from pratique.advisory.lookup import open_database  # noqa: PLC0415 - as above
    from pratique.match.find import find, subjects  # noqa: PLC0415 - as above
    from pratique.match.merge import Knowledge, merge, names_of  # noqa: PLC0415 - as above

    asked, gaps = subjects(inventory.packages, inventory.release)
    gaps += _unsupported(inventory)
    names: dict[str, set[str]] = {}
    for subject in asked:
        names.setdefault(subject.ecosystem, set()).add(subject.name)
    _refresh(names, how)
    with open_database(how.sources.cache_dir) as database:
        hits = {ecosystem: database.lookup(ecosystem, sorted(wanted)) for ecosystem, wanted in names.items()}
        matches = find(asked, hits)
        advisories = database.details([match.hit for match in matches.found])
        spoken = {name for match in matches.found for group in names_of(match, advisories) for name in group}
        cves = sorted(name for name in spoken if name.startswith("CVE-"))
        known = Knowledge(advisories, database.vectors(cves), database.kev(cves), database.epss(cves))
        gaps += matches.gaps
        gaps += database.gaps(names, dt.datetime.fromisoformat(how.now), dt.timedelta(seconds=how.max_age))
        info = database.info(names)
    created = {layer.diff_id: layer.created_by for layer in target.layers}
    return merge(matches.found, matches.denied, known, created), gaps, info


def _refresh(ecosystems: Iterable[str], how: ScanOptions) -> None:
    """Fetch what these ecosystems need and is not there, or is a day old; what cannot be had becomes a gap of the report."""
    if how.sources.offline and not how.mirror.startswith("file:"):
        return
    from pratique.advisory.update import Listener, Options, ensure  # noqa: PLC0415 - only where it is allowed
    from pratique.advisory.update import Outcome as Fetched  # noqa: PLC0415 - as above

    class Teller(Listener):
        def progress(self, feed: str, done: int, total: int) -> None:
            if how.tell is not None:
                how.tell(f"fetching advisories: {feed}", done, total or -1)

        def building(self, feed: str) -> None:
            if how.tell is not None:
                how.tell(f"reading advisories: {feed}", 0, -1)

        def finished(self, outcome: Fetched) -> None:
            if how.say is not None and outcome.status != "unchanged":
                result = f"{outcome.records} records" if outcome.status == "updated" else f"failed: {outcome.why}"
                how.say(f"fetched advisories {outcome.name}: {result}")

    ensure(how.sources.cache_dir, ecosystems, Options(mirror=how.mirror, offline=how.sources.offline), Teller())


def _unsupported(inventory: Inventory) -> list[Gap]:
    """A distribution that no advisory source speaks of: its packages are listed, their vulnerabilities are not known."""
    count = sum(package.type in ("deb", "apk", "rpm") for package in inventory.packages)
    if inventory.release or not count:
        return []
    distro = inventory.distro
    name = f"{distro.id} {distro.version}".strip() if distro is not None else "an unknown distribution"
    message = f"{name}: no advisory source; nothing is known about the vulnerabilities of its {count} packages"
    return [Gap(code="advisories.unsupported-distribution", message=message, source=name)]


def _end_of_life(inventory: Inventory, now: str) -> list[Finding]:
    from pratique.inventory.distro import is_eol  # noqa: PLC0415 - beside its one use
    from pratique.match.merge import fingerprint  # noqa: PLC0415 - as above

    distro = inventory.distro
    if distro is None or not is_eol(distro, now[:10]):
        return []
    release = inventory.release.partition(":")[2].partition(":")[0].removeprefix("v") or distro.version
    name = f"{distro.id}-{release}"  # of the release, not of its latest point release: the finding stays the same
    return [
        Finding(
            kind="eol",
            id=f"EOL-{name}",
            title=f"{distro.name or name} is past the end of its support",
            message=f"security support of {distro.name or name} ended on {distro.eol}; new vulnerabilities are not mended",
            severity=Severity.HIGH,
            fingerprint=fingerprint("eol", name),
        )
    ]


def _target(image: OpenImage, inventory: Inventory) -> Target:
    distro = inventory.distro
    return Target(
        reference=image.reference,
        scheme=image.scheme,
        digest=image.digest,
        platform=str(image.platform or ""),
        distro=ReportDistro(distro.id, distro.version, distro.eol or None) if distro is not None else None,
        layers=tuple(ReportLayer(layer.digest, layer.diff_id, layer.created_by, layer.size) for layer in image.layers),
    )
