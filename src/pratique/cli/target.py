"""Options about the target and the knowledge in, how to scan out. Shared by all commands that take a TARGET."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from pratique._kit.folders import default_cache_dir
from pratique.cli.options import F, duration, mirror_address, setting
from pratique.cli.progress import Progress
from pratique.model.errors import UsageError

if TYPE_CHECKING:
    from pratique.distribution import Publications
    from pratique.image.options import SourceOptions
    from pratique.pipeline import ScanOptions
    from pratique.vexsources.load import VexSources
    from pratique.vexsources.statements import AttestationSources

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
T = TypeVar("T")

_SETTINGS = (
    setting(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        help="Pick this platform from an index (default: linux on this machine's kind).",
    ),
    setting("--offline", is_flag=True, help="Make no connection at all."),
    setting("--mirror", metavar="URL", help="Take every advisory feed from this base address (http(s):// or file://)."),
    setting("--database", metavar="ADDRESS", help="Take advisories from this published database instead (see db pull)."),
    setting(
        "--trusted-root",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The root metadata that vouches for --database.",
    ),
    setting("--max-age", metavar="AGE", default="7d", help="Call a source stale after this time (default 7d)."),
    setting("--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep layers and advisories here."),
    setting("--no-cache", is_flag=True, help="Neither use nor keep examined layers."),
    setting(
        "--insecure-registry", multiple=True, metavar="HOST", help="This registry may speak plain HTTP, or show any certificate."
    ),
    setting("--registry-mirror", multiple=True, metavar="REGISTRY=MIRROR", help="Ask MIRROR before REGISTRY."),
    setting(
        "--timeout",
        metavar="TIME",
        default="30m",
        help="Stop examining after this time; what is left becomes a gap (default 30m).",
    ),
    setting("--now", metavar="TIME", help="Decide as of this moment (RFC 3339) instead of the present."),
    setting("--as-of", metavar="TIME", help="Go by what the database knew at this moment (RFC 3339); fetches nothing."),
    setting("-q", "--quiet", is_flag=True, help="Print nothing but results and errors."),
    setting("--debug", is_flag=True, help="Show where an error came from."),
)


_VEX = (
    setting(
        "--vex",
        multiple=True,
        commas=False,
        metavar="SOURCE",
        help="Apply VEX statements: a file, folder, address, repo:URL, or oci (attestations of the image); repeatable.",
    ),
    setting(
        "--vex-key",
        multiple=True,
        commas=False,
        metavar="FILE",
        help="Use only VEX documents that this public key (PEM) signed; repeatable.",
    ),
    setting(
        "--vex-author",
        multiple=True,
        commas=False,
        metavar="PATTERN",
        help="Use only VEX documents of this author (* and ?); repeatable, the first is believed first.",
    ),
)


_ATTESTED = (
    setting(
        "--attestations",
        multiple=True,
        commas=False,
        metavar="SOURCE",
        help="Read what is attested of the image: oci (its registry), a file or folder; repeatable. Policies that ask do so.",
    ),
    setting(
        "--attestation-key",
        multiple=True,
        commas=False,
        metavar="FILE",
        help="Attestations that this public key (PEM) signed are verified; repeatable.",
    ),
)


def target_settings(function: F) -> F:
    """Give a command all options about the target and the knowledge."""
    for add in reversed(_SETTINGS):
        function = add(function)
    return function


def attestation_settings(function: F) -> F:
    """Give a command the options about attestations."""
    for add in reversed(_ATTESTED):
        function = add(function)
    return function


def vex_settings(function: F) -> F:
    """Give a command the options about what others say of vulnerabilities."""
    for add in reversed(_VEX):
        function = add(function)
    return function


class TargetOptions(msgspec.Struct, kw_only=True):
    """What `target_settings` and `vex_settings` give, as given."""

    platform: str | None
    offline: bool
    mirror: str | None
    database: str | None = None
    trusted_root: Path | None = None
    max_age: str
    cache_dir: Path | None
    no_cache: bool
    insecure_registry: tuple[str, ...]
    registry_mirror: tuple[str, ...]
    timeout: str
    vex: tuple[str, ...] = ()
    vex_key: tuple[str, ...] = ()
    vex_author: tuple[str, ...] = ()
    attestations: tuple[str, ...] = ()
    attestation_key: tuple[str, ...] = ()
    now: str | None
    as_of: str | None
    quiet: bool
    debug: bool


def given_as(kind: type[T], given: dict[str, Any]) -> T:
    """Turn what click hands over into a struct."""
    return msgspec.convert(given, kind, strict=False)


def scan_options(options: TargetOptions, progress: Progress, fail_on: Sequence[str] = ()) -> ScanOptions:
    """Read the options. Raises UsageError for those that cannot be."""
    from pratique.image.options import SourceOptions  # noqa: PLC0415 - start-up stays lazy
    from pratique.pipeline import ScanOptions  # noqa: PLC0415
    from pratique.policy.judge import parse_fail_on  # noqa: PLC0415

    sources = SourceOptions(
        cache_dir=options.cache_dir or default_cache_dir(),
        offline=options.offline,
        insecure=options.insecure_registry,
        mirrors=registry_mirrors(options.registry_mirror),
        progress=progress,
    )
    from pratique.image.manifest import parse_platform  # noqa: PLC0415 - start-up stays lazy

    return ScanOptions(
        sources=sources,
        platform=parse_platform(options.platform) if options.platform else None,
        keep=not options.no_cache,
        mirror=mirror_address(options.mirror),
        publications=_publications(options),
        max_age=duration(options.max_age),
        seconds=duration(options.timeout),
        fail_on=parse_fail_on(fail_on),
        vex=_vex(options, sources),
        attestations=_attestations(options, sources),
        now=moment(options.now),
        as_of=moment(options.as_of) if options.as_of else "",
        tell=progress,
        say=None if options.quiet else progress.say,
    )


def _publications(options: TargetOptions) -> Publications | None:
    if not options.database:
        return None
    from pratique.distribution import Publications  # noqa: PLC0415 - start-up stays lazy

    if options.trusted_root is None:
        raise UsageError(
            "--database needs --trusted-root", hint="metadata/1.root.json of the repository, as its publisher gave it"
        )
    return Publications(options.database, options.trusted_root)


def _attestations(options: TargetOptions, sources: SourceOptions) -> AttestationSources | None:
    """Return what is to be asked for attestations. Raises UsageError."""
    if not (options.attestations or options.attestation_key):
        return None
    from pratique.vexsources.statements import AttestationSources  # noqa: PLC0415 - only where there are any

    return AttestationSources(options.attestations, options.attestation_key, sources)


def _vex(options: TargetOptions, sources: SourceOptions) -> VexSources | None:
    """Return what is to be asked for VEX statements. Raises UsageError."""
    if not options.vex:
        return None  # a configuration may name keys for when there are documents
    from pratique.vexsources.load import VexSources  # noqa: PLC0415 - only where there are any

    return VexSources(options.vex, options.vex_key, options.vex_author, sources)


def moment(text: str | None) -> str:
    """Read --now: RFC 3339, a date alone is its first second in UTC. Returns UTC with a Z. Raises UsageError."""
    import datetime as dt  # noqa: PLC0415 - start-up stays lazy

    if text is None:
        return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no moment", hint="write RFC 3339, such as 2026-03-01T12:00:00Z") from None
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def registry_mirrors(values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read --registry-mirror. Raises UsageError."""
    mirrors: dict[str, tuple[str, ...]] = {}
    for value in values:
        registry, equals, mirror = value.partition("=")
        if not (registry and equals and mirror):
            raise UsageError(f"--registry-mirror {value!r} is not REGISTRY=MIRROR")
        mirrors[registry] = (*mirrors.get(registry, ()), mirror)
    return mirrors
