"""`pratique scan`: a target in, a report and an exit code out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from pratique._kit.folders import default_cache_dir
from pratique.cli.options import duration, mirror_address, setting
from pratique.cli.progress import Progress
from pratique.model.errors import UsageError
from pratique.model.finding import Severity
from pratique.model.image import Platform
from pratique.model.ports import Reporter
from pratique.model.report import Report

EXIT_CODES = {"allow": 0, "warn": 0, "deny": 1, "unknown": 3}


@click.command(
    short_help="Inspect an image, match it against advisories, judge it and report.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.argument("target")
@setting(
    "-o",
    "--output",
    multiple=True,
    commas=False,
    metavar="FORMAT[=FILE]",
    help="Write FORMAT, to FILE or standard output; repeatable.",
)
@setting("-f", "--format", metavar="FORMAT", help="Short for one -o FORMAT: table (the default) or json.")
@setting(
    "--platform", metavar="OS/ARCH[/VARIANT]", help="Pick this platform from an index (default: linux on this machine's kind)."
)
@setting("--all-platforms", is_flag=True, help="Scan each platform of an index; one report after the other.")
@setting("--severity", multiple=True, metavar="LIST", help="Show only these severities, such as high,critical. Decides nothing.")
@setting("--only-fixed", is_flag=True, help="Show only what has a fix. Decides nothing.")
@setting("--fail-on", multiple=True, metavar="RULE", help="Refuse (exit 1) on: a severity or worse, kev, gaps, eol; repeatable.")
@setting("--offline", is_flag=True, help="Make no connection at all.")
@setting("--mirror", metavar="URL", help="Take every advisory feed from this base address (http(s):// or file://).")
@setting("--max-age", metavar="AGE", default="7d", help="Call a source stale after this time (default 7d).")
@setting("--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep layers and advisories here.")
@setting("--no-cache", is_flag=True, help="Neither use nor keep examined layers.")
@setting(
    "--insecure-registry", multiple=True, metavar="HOST", help="This registry may speak plain HTTP, or show any certificate."
)
@setting("--registry-mirror", multiple=True, metavar="REGISTRY=MIRROR", help="Ask MIRROR before REGISTRY.")
@setting(
    "--timeout", metavar="TIME", default="30m", help="Stop examining after this time; what is left becomes a gap (default 30m)."
)
@setting("--now", metavar="TIME", help="Decide as of this moment (RFC 3339) instead of the present.")
@setting("-q", "--quiet", is_flag=True, help="Print nothing but results and errors.")
@setting("--debug", is_flag=True, help="Show where an error came from.")
def command(target: str, **given: object) -> int:
    """Inspect TARGET, match it against advisories, judge it and report.

    TARGET is an image name (asked of Docker, Podman, then its registry), a file written by docker save or in OCI form, a folder,
    or - for an archive on standard input; or one of these said outright: docker-archive:PATH, oci-archive:PATH, oci-dir:PATH,
    rootfs:PATH, dir:PATH, docker:REF, podman:REF, registry:REF.

    Exit codes: 0 allowed, 1 refused, 2 bad usage, 3 could not tell.
    """
    options = msgspec.convert(given, _Options, strict=False)
    progress = Progress(quiet=options.quiet)
    with ExitStack() as stack:
        writers = _writers(options, stack)
        stack.callback(progress.clear)
        reports = _scan(target, options, progress)
        progress.clear()
        for report in reports:
            shown = _shown(report, options)
            for reporter, out in writers:
                reporter.write(shown, out)
    return max(EXIT_CODES[report.verdict.decision] for report in reports)


class _Options(msgspec.Struct, kw_only=True):
    output: tuple[str, ...]
    format: str | None
    platform: str | None
    all_platforms: bool
    severity: tuple[str, ...]
    only_fixed: bool
    fail_on: tuple[str, ...]
    offline: bool
    mirror: str | None
    max_age: str
    cache_dir: Path | None
    no_cache: bool
    insecure_registry: tuple[str, ...]
    registry_mirror: tuple[str, ...]
    timeout: str
    now: str | None
    quiet: bool
    debug: bool


def _scan(target: str, options: _Options, progress: Progress) -> list[Report]:
    from pratique.image.open import list_platforms  # noqa: PLC0415 - start-up stays lazy
    from pratique.image.options import SourceOptions  # noqa: PLC0415
    from pratique.image.reference import parse_target  # noqa: PLC0415
    from pratique.pipeline import ScanOptions, scan  # noqa: PLC0415
    from pratique.policy.judge import parse_fail_on  # noqa: PLC0415

    cache_dir = options.cache_dir or default_cache_dir()
    sources = SourceOptions(
        cache_dir=cache_dir,
        offline=options.offline,
        insecure=options.insecure_registry,
        mirrors=_mirrors(options.registry_mirror),
        progress=progress,
    )
    how = ScanOptions(
        sources=sources,
        platform=parse_platform(options.platform) if options.platform else None,
        keep=not options.no_cache,
        mirror=mirror_address(options.mirror),
        max_age=duration(options.max_age),
        seconds=duration(options.timeout),
        fail_on=parse_fail_on(options.fail_on),
        now=moment(options.now),
        tell=progress,
        say=None if options.quiet else progress.say,
    )
    _severities(options.severity)
    ref = parse_target(target)
    if not options.all_platforms:
        return [scan(ref, how)]
    platforms = list_platforms(ref, sources)
    return [scan(ref, msgspec.structs.replace(how, platform=platform)) for platform in platforms] or [scan(ref, how)]


def parse_platform(text: str) -> Platform:
    """Read os/arch[/variant]. Raises UsageError."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(part.replace(".", "").replace("_", "").replace("-", "").isalnum() for part in parts):
        raise UsageError(f"--platform {text!r} is no platform", hint="write os/arch or os/arch/variant, such as linux/arm64")
    return Platform(*parts)


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


def _mirrors(values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    mirrors: dict[str, tuple[str, ...]] = {}
    for value in values:
        registry, equals, mirror = value.partition("=")
        if not (registry and equals and mirror):
            raise UsageError(f"--registry-mirror {value!r} is not REGISTRY=MIRROR")
        mirrors[registry] = (*mirrors.get(registry, ()), mirror)
    return mirrors


def _severities(values: Sequence[str]) -> frozenset[Severity]:
    names = {severity.value for severity in Severity}
    for value in values:
        if value.lower() not in names:
            raise UsageError(f"--severity {value}: not one of {', '.join(sorted(names))}")
    return frozenset(Severity(value.lower()) for value in values)


def _shown(report: Report, options: _Options) -> Report:
    """Leave out what nobody wants to see. The verdict was reached before, and stays."""
    wanted = _severities(options.severity)
    findings = report.findings
    if wanted:
        findings = tuple(finding for finding in findings if finding.severity in wanted)
    if options.only_fixed:
        findings = tuple(finding for finding in findings if finding.fixed_in or finding.kind not in ("vulnerability", "malware"))
    return msgspec.structs.replace(report, findings=findings)


def _writers(options: _Options, stack: ExitStack) -> list[tuple[Reporter, BinaryIO]]:
    """Open every output before anything is scanned, so that one that cannot be written is found out at once."""
    wanted = list(options.output) + ([options.format] if options.format else [])
    writers: list[tuple[Reporter, BinaryIO]] = []
    for text in wanted or ["table"]:
        name, equals, path = text.partition("=")
        if equals and not path:
            raise UsageError(f"-o {text}: no file after the =")
        out = stack.enter_context(_Output(Path(path))) if path else sys.stdout.buffer
        writers.append((_reporter(name, terminal=not path), out))
    return writers


def _reporter(name: str, *, terminal: bool) -> Reporter:
    if name == "table":
        from pratique.report.table import Table  # noqa: PLC0415 - only the format that is asked for

        if not (terminal and sys.stdout.isatty()):
            return Table()
        columns = os.get_terminal_size().columns if sys.stdout.isatty() else 0
        return Table(colour="NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb", width=columns)
    import pratique.report  # noqa: PLC0415
    from pratique._kit.discover import offers  # noqa: PLC0415

    known: dict[str, Reporter] = {reporter.name: reporter for reporter in offers(pratique.report, "REPORTER").values()}
    if name not in known:
        raise UsageError(f"{name!r} is no format", hint=f"one of {', '.join(sorted(known))}")
    return known[name]


class _Output:
    """A file that appears whole or not at all: written beside, synced, renamed. Devices, pipes and the like are written to."""

    def __init__(self, path: Path) -> None:
        special = path.is_relative_to("/dev") or (path.exists() and not path.is_file() and not path.is_dir())
        self._path = path.resolve() if path.is_symlink() and not special else path  # the link stays, what it names is replaced
        self._beside = None if special else self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        try:
            if self._path.is_dir():
                raise UsageError(f"{path}: is a directory")
            self._out = (self._beside or self._path).open("wb")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None

    def __enter__(self) -> BinaryIO:
        return self._out

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with self._out:
                if kind is None and self._beside is not None:
                    self._out.flush()
                    os.fsync(self._out.fileno())
            if kind is None and self._beside is not None:
                self._beside.replace(self._path)
        except OSError as error:
            error.filename = error.filename or str(self._path)
            raise
        finally:
            if self._beside is not None:
                self._beside.unlink(missing_ok=True)
