"""The corridor: the one place that knows the order. A target goes in; what it is, what is wrong and a verdict come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pratique._version import __version__
from pratique.image.options import SourceOptions
from pratique.inspection import Inspection, Progress, take_inventory
from pratique.inventory.cache import LayerCache
from pratique.model.attestation import Attestation
from pratique.model.ecosystems import LIFE_CYCLES
from pratique.model.finding import Finding, Severity
from pratique.model.image import ImageRef, OpenImage, Platform
from pratique.model.inventory import Gap, Inventory
from pratique.model.programs import CPES
from pratique.model.report import Baseline, DatabaseInfo, Meta, Reason, Report, ReportDistro, ReportLayer, Target, Verdict
from pratique.model.vex import VexReport

if TYPE_CHECKING:
    from pratique.distribution import Publications
    from pratique.grant.forecast import Forecast
    from pratique.match.find import Subject
    from pratique.policyfiles import Rules
    from pratique.vexsources.load import VexSources
    from pratique.vexsources.statements import AttestationSources

SCHEMA = "urn:pratique:schema:scan-1"


class ScanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to scan. Durations in seconds, `now` RFC 3339 in UTC, `fail_on` as `policy.judge.parse_fail_on` returns it.

    With `publications`, advisories are taken from there, signed, instead of being fetched feed by feed.
    With `as_of`, RFC 3339, advisories are those that the database knew then, and nothing is fetched.
    `rules` are policies and waivers, None where there are neither; with a `baseline`, only what it does not have counts. `vex`
    are documents of others about vulnerabilities. `image_checks` looks at how the image is configured and was built, too.
    `attestations` are what is attested of the image; where it is None they are asked for if a policy needs them.
    `details` gathers what only an SBOM tells of packages, `files` all files of the target.
    `privileges` adds what a gate would deny about running the image.
    `tell` is called with progress, `say` with a line worth keeping.
    """

    sources: SourceOptions
    platform: Platform | None = None
    keep: bool = True
    mirror: str = ""
    publications: Publications | None = None
    max_age: float = 7 * 86_400
    seconds: float | None = None
    fail_on: tuple[str, ...] = ()
    rules: Rules | None = None
    vex: VexSources | None = None
    attestations: AttestationSources | None = None
    baseline: Report | None = None
    now: str
    as_of: str = ""
    image_checks: bool = False
    privileges: Forecast | None = None
    details: bool = False
    files: bool = False
    tell: Progress | None = None
    say: Callable[[str], None] | None = None


class Seen(NamedTuple):
    """All that a verdict is about."""

    inventory: Inventory
    target: Target
    findings: list[Finding]
    problems: tuple[Gap, ...]
    attestations: tuple[Attestation, ...] | None
    examined: tuple[str, ...]


def scan(ref: ImageRef, how: ScanOptions, fetching: SourceOptions | None = None) -> Report:
    """Inspect, match, judge. Raises UsageError, TargetError, IntegrityError, RegistryError, DatabaseError.

    The image, and what is attested of it, are fetched as `fetching` says, where that is not as `how` does.
    """
    config: dict[str, Any] = {}
    inspecting = how if fetching is None else msgspec.structs.replace(how, sources=fetching)
    inventory, target = inspect(ref, inspecting, config.update)
    how = msgspec.structs.replace(how, attestations=_attestation_sources(inspecting))
    more: tuple[Finding, ...] | None = None
    asked = how.image_checks or (how.rules is not None and how.rules.examine("configuration"))
    if asked and (config or target.scheme == "rootfs"):
        from pratique.lint.run import Found, lint_image  # noqa: PLC0415 - only where it is asked for

        checked = lint_image(config, Found(inventory.privileged, inventory.accounts, inventory.secrets))
        gaps = (*inventory.gaps, *inventory.check_gaps, *checked.gaps)
        more, inventory = checked.findings, msgspec.structs.replace(inventory, gaps=gaps)
    report = judge_inventory(inventory, target, how, more, configured=bool(config))
    if how.privileges is None or not config:
        return report
    denied = how.privileges.image(config, target.reference, target.digest)
    verdict = how.privileges.ruled(report.verdict, denied)
    return msgspec.structs.replace(report, findings=(*report.findings, *denied), verdict=verdict)


def inspect(
    ref: ImageRef, how: ScanOptions, configured: Callable[[dict[str, Any]], None] | None = None
) -> tuple[Inventory, Target]:
    """Say what is in a target. `configured` is told the image's configuration.

    Raises UsageError, TargetError, IntegrityError, RegistryError.
    """
    if ref.scheme == "sbom":
        from pratique.inventory.sbom.read import read_sbom  # noqa: PLC0415 - as below

        return read_sbom(Path(ref.value), details=how.details, say=how.say)
    from pratique.image.open import open_target  # noqa: PLC0415 - start-up stays lazy

    cache = LayerCache(how.sources.cache_dir if how.keep else None)
    with open_target(ref, how.platform, how.sources) as image:
        declared, disown = image.scheme == "dir", (lambda: _disown(image, how)) if image.scheme == "registry" else None
        inspection = Inspection(
            seconds=how.seconds,
            declared=declared,
            details=how.details,
            files=how.files,
            progress=how.tell,
            disown=disown,
            say=how.say,
        )
        inventory = take_inventory(image, cache, inspection)
        target = _target(image, inventory)
        if configured is not None:
            configured(image.config)
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
        files=inventory.files if how.files else msgspec.UNSET,
    )


def judge_inventory(
    inventory: Inventory, target: Target, how: ScanOptions, more: Sequence[Finding] | None = None, *, configured: bool = True
) -> Report:
    """Match a stored or fresh inventory and decide: the part of a scan that is repeated when advisories change.

    `more` are findings on the image itself, None where nobody looked at it; `configured` is false for a folder, which has files
    and accounts, and no configuration that a policy could ask about.
    """
    findings, gaps, database, inventory = _match(inventory, target, how)
    findings = [*_end_of_life(inventory, how.now), *(more or ()), *findings]
    findings, vex, unused = _vexed(findings, inventory, target, how)
    attestations, unread = _attested(target, how)
    problems = tuple(sorted({*inventory.gaps, *gaps, *unused, *unread}))
    looked_at = {"packages": True, "configuration": more is not None and configured, "attestations": attestations is not None}
    examined = tuple(sorted(name for name, done in looked_at.items() if done))
    verdict, findings, baseline = _judge(Seen(inventory, target, findings, problems, attestations, examined), how)
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
        baseline=baseline,
        vex=vex,
        examined=examined,
        attestations=attestations,
        files=inventory.files if how.files else msgspec.UNSET,
    )


def _vexed(
    findings: list[Finding], inventory: Inventory, target: Target, how: ScanOptions
) -> tuple[list[Finding], VexReport | None, list[Gap]]:
    """Let others speak: what they say changes findings before anything is decided on them."""
    if how.vex is None:
        return findings, None, []
    from pratique.match.vex import About, apply  # noqa: PLC0415 - start-up stays lazy

    documents, gaps = how.vex.load(target, inventory)
    about = About(target, inventory.packages, inventory.distro)
    found, report = apply(findings, about, inventory.packages, documents, how.now)
    return found, report, gaps


def _attested(target: Target, how: ScanOptions) -> tuple[tuple[Attestation, ...] | None, list[Gap]]:
    """Read what is attested of the image, where somebody or a policy asks for it; None where nobody does."""
    sources = _attestation_sources(how)
    return (None, []) if sources is None else sources.load(target)


def _attestation_sources(how: ScanOptions) -> AttestationSources | None:
    if how.attestations is not None or how.rules is None or not how.rules.examine("attestations"):
        return how.attestations
    from pratique.vexsources.statements import AttestationSources  # noqa: PLC0415 - start-up stays lazy

    return AttestationSources((), (), how.sources)


def _judge(seen: Seen, how: ScanOptions) -> tuple[Verdict, list[Finding], Baseline | None]:
    """Decide. Findings come back with the waivers that cover them, and with their state against a baseline."""
    if how.rules is None and how.baseline is None:
        from pratique.policy.judge import judge  # noqa: PLC0415 - start-up stays lazy

        return judge(seen.findings, seen.problems, how.fail_on), seen.findings, None
    from pratique.policy.facts import Context, Subject  # noqa: PLC0415 - as above

    subject = Subject(
        findings=tuple(seen.findings),
        gaps=seen.problems,
        packages=seen.inventory.packages,
        target=seen.target,
        attestations=seen.attestations or (),
        examined=seen.examined,
        context=how.rules.context if how.rules is not None else Context(),
        now=how.now,
    )
    policies, waivers = (how.rules.policies, how.rules.waivers) if how.rules is not None else ((), ())
    if how.baseline is not None:
        from pratique.changes.gate import judge_new  # noqa: PLC0415 - as above

        judged = judge_new(subject, how.baseline, policies, waivers, how.fail_on)
        return judged.verdict, list(judged.findings), judged.baseline
    from pratique.policy.engine import decide  # noqa: PLC0415 - as above

    judgement = decide(subject, policies, waivers, how.fail_on)
    return judgement.verdict, list(judgement.findings), None


def _match(inventory: Inventory, target: Target, how: ScanOptions) -> tuple[list[Finding], list[Gap], DatabaseInfo, Inventory]:
    """Ask the database about every package, in batches, and match; return the inventory with what that told of its gaps."""
    import datetime as dt  # noqa: PLC0415 - start-up stays lazy

    from pratique.advisory.lookup import open_database  # noqa: PLC0415 - as above
    from pratique.match.brought import narrowed  # noqa: PLC0415 - as above
    from pratique.match.eol import eol_findings, runtimes  # noqa: PLC0415 - as above
    from pratique.match.find import find, subjects, unanswered, unnamed  # noqa: PLC0415 - as above
    from pratique.match.merge import Knowledge, merge, names_of  # noqa: PLC0415 - as above

    asked, gaps = subjects(inventory.packages, inventory.release)
    gaps += _unsupported(inventory)
    names = _names(asked)
    seen = runtimes(inventory.packages)
    gaps += _publication(how)
    _refresh([*names, LIFE_CYCLES] if seen else names, how)
    as_of = dt.datetime.fromisoformat(how.as_of) if how.as_of else None
    with ExitStack() as stack:
        database = stack.enter_context(open_database(how.sources.cache_dir, as_of=as_of))
        hits = {ecosystem: database.lookup(ecosystem, sorted(wanted)) for ecosystem, wanted in names.items()}
        if inventory.release and database.has(inventory.release):
            more, unasked = unanswered(inventory.packages, inventory.release, hits)
            left = narrowed(inventory.gaps, inventory.packages, inventory.release, hits)
            inventory = msgspec.structs.replace(inventory, gaps=left)
            if more:
                names = _names([*asked, *more])
                _refresh(names, how)
                database = stack.enter_context(open_database(how.sources.cache_dir, as_of=as_of))
                hits = {ecosystem: database.lookup(ecosystem, sorted(wanted)) for ecosystem, wanted in names.items()}
            asked, gaps = [*asked, *more], [*gaps, *unasked]
        matches = find(asked, hits)
        advisories = database.details([match.hit for match in matches.found])
        spoken = {name for match in matches.found for group in names_of(match, advisories) for name in group}
        cves = sorted(name for name in spoken if name.startswith("CVE-"))
        known = Knowledge(advisories, database.vectors(cves), database.kev(cves), database.epss(cves), database.ssvc(cves))
        gaps += matches.gaps + (unnamed(asked) if CPES in names and not database.has(CPES) else [])
        cycles = database.lookup(LIFE_CYCLES, sorted({one.product for one in seen})) if seen else {}
        depends = [*names, LIFE_CYCLES] if seen and database.has(LIFE_CYCLES) else names  # else the shipped dates answer
        gaps += database.gaps(depends, as_of or dt.datetime.fromisoformat(how.now), dt.timedelta(seconds=how.max_age))
        info = database.info(depends)
    created = {layer.diff_id: layer.created_by for layer in target.layers}
    ended = eol_findings(seen, cycles, how.now, created)
    return [*ended, *merge(matches.found, matches.denied, known, created)], gaps, info, inventory


def _names(asked: Iterable[Subject]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for subject in asked:
        names.setdefault(subject.ecosystem, set()).add(subject.name)
    return names


def _publication(how: ScanOptions) -> list[Gap]:
    """Bring the published database, where there is one and it is not of today; why it cannot be had is a gap."""
    if how.publications is None or how.as_of:
        return []
    from pratique.distribution import refresh  # noqa: PLC0415 - only where it is configured

    why = refresh(how.publications, how.sources, how.tell)
    if not why:
        return []
    message = f"the newest publication could not be taken, the last good database was asked: {why}"
    return [Gap(code="advisories.publication", message=message, source=how.publications.address)]


def _refresh(ecosystems: Iterable[str], how: ScanOptions) -> None:
    """Fetch what these ecosystems need and is not there, or is a day old; what cannot be had becomes a gap of the report."""
    if how.as_of or how.publications is not None or (how.sources.offline and not how.mirror.startswith("file:")):
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
        digests=image.known_as,
    )
