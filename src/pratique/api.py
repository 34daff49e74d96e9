"""What the command does, as a library: a target in, a report out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pratique.model.report import Report

if TYPE_CHECKING:
    from pratique.advisory.lookup import Database
    from pratique.distribution import Publications
    from pratique.image.options import SourceOptions
    from pratique.policyfiles import Rules
    from pratique.vexsources.statements import AttestationSources


def scan(  # noqa: PLR0913 - keywords, each a flag of the command
    target: str,
    *,
    platform: str = "",
    fail_on: Sequence[str] = (),
    policies: Sequence[str] = (),
    waivers: Sequence[Path | str] = (),
    stage: str = "",
    vex: Sequence[str] = (),
    vex_keys: Sequence[str] = (),
    vex_authors: Sequence[str] = (),
    attestations: Sequence[str] = (),
    attestation_keys: Sequence[str] = (),
    baseline: Report | None = None,
    offline: bool = False,
    mirror: str = "",
    database: str = "",
    trusted_root: Path | str = "",
    cache_dir: Path | str | None = None,
    now: dt.datetime | None = None,
    as_of: dt.datetime | None = None,
) -> Report:
    """Inspect a target (written as for `pratique scan`), match it against advisories, judge it.

    `platform` is os/arch[/variant]; `fail_on` as on the command line; `policies` are names of rule sets or files, `waivers` files
    (none is looked for), `stage` says where the decision is made; `vex`, `vex_keys` and `vex_authors` are as --vex and its
    companions, `attestations` and `attestation_keys` as --attestations and its companion; with a `baseline`, only what that
    report does not have is refused; `now` (with a time zone) replaces the present,
    and with `as_of` (likewise) advisories are those that the database knew then, and nothing is fetched.
    `database` is the address of a published database, for which `trusted_root`, a file, vouches.
    The image is read in a confined process of its own. Raises `pratique.model.errors.PratiqueError`.
    """
    from pratique.image.manifest import parse_platform  # noqa: PLC0415 - importing the package stays cheap
    from pratique.image.options import SourceOptions  # noqa: PLC0415
    from pratique.image.reference import parse_target  # noqa: PLC0415
    from pratique.pipeline import ScanOptions  # noqa: PLC0415
    from pratique.pipeline import scan as run  # noqa: PLC0415
    from pratique.policy.judge import parse_fail_on  # noqa: PLC0415
    from pratique.vexsources.load import VexSources  # noqa: PLC0415

    moment = (now or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
    sources = SourceOptions(cache_dir=_folder(cache_dir), offline=offline)
    how = ScanOptions(
        sources=sources,
        platform=parse_platform(platform) if platform else None,
        fail_on=parse_fail_on(fail_on),
        mirror=mirror,
        publications=_publications(database, trusted_root),
        rules=_rules(policies, waivers, stage),
        vex=VexSources(vex, vex_keys, vex_authors, sources) if vex else None,
        attestations=_attestations(attestations, attestation_keys, sources),
        baseline=baseline,
        now=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        as_of=as_of.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if as_of is not None else "",
    )
    return run(parse_target(target), how)


def _attestations(names: Sequence[str], keys: Sequence[str], sources: SourceOptions) -> AttestationSources | None:
    if not (names or keys):
        return None
    from pratique.vexsources.statements import AttestationSources  # noqa: PLC0415 - only where there are any

    return AttestationSources(names, keys, sources)


def _publications(database: str, trusted_root: Path | str) -> Publications | None:
    if not database:
        return None
    from pratique.distribution import Publications  # noqa: PLC0415 - only where there is one

    return Publications(database, Path(trusted_root))


def _rules(policies: Sequence[str], waivers: Sequence[Path | str], stage: str) -> Rules | None:
    if not (policies or waivers):
        return None
    import msgspec  # noqa: PLC0415 - only where there are rules

    from pratique.model.errors import UsageError  # noqa: PLC0415 - as above
    from pratique.policy.facts import Context  # noqa: PLC0415
    from pratique.policyfiles import Rules, load_policies, load_waivers  # noqa: PLC0415

    try:
        context = msgspec.convert({"stage": stage}, Context)
    except msgspec.ValidationError:
        raise UsageError(f"stage {stage!r} is none", hint="dev, ci, registry, deploy or runtime") from None
    loaded = load_policies(policies)
    return Rules(loaded, load_waivers([Path(path) for path in waivers], loaded), context)


def open_database(cache_dir: Path | str | None = None, as_of: dt.datetime | None = None) -> Database:
    """Open the advisory database, as a context manager; with `as_of` (with a time zone), as it was known at that moment.

    Raises `pratique.model.errors.DatabaseError`.
    """
    from pratique.advisory.lookup import open_database as run  # noqa: PLC0415 - importing the package stays cheap

    return run(_folder(cache_dir), as_of=as_of)


def _folder(cache_dir: Path | str | None) -> Path:
    from pratique._kit.folders import default_cache_dir  # noqa: PLC0415 - beside its one use

    return Path(cache_dir) if cache_dir is not None else default_cache_dir()
