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

from pratique.cli.options import setting
from pratique.cli.progress import Progress
from pratique.cli.rules import RuleOptions, read_rules, rule_settings
from pratique.cli.target import HELP, given_as, scan_options, target_settings
from pratique.model.errors import UsageError
from pratique.model.finding import Severity
from pratique.model.ports import Reporter
from pratique.model.report import Report

EXIT_CODES = {"allow": 0, "warn": 0, "deny": 1, "unknown": 3}


@click.command(short_help="Inspect an image, match it against advisories, judge it and report.", context_settings=HELP)
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
@setting("--all-platforms", is_flag=True, help="Scan each platform of an index; one report after the other.")
@setting("--severity", multiple=True, metavar="LIST", help="Show only these severities, such as high,critical. Decides nothing.")
@setting("--only-fixed", is_flag=True, help="Show only what has a fix. Decides nothing.")
@setting("--fail-on", multiple=True, metavar="RULE", help="Refuse (exit 1) on: a severity or worse, kev, gaps, eol; repeatable.")
@rule_settings
@target_settings
def command(target: str, **given: object) -> int:
    """Inspect TARGET, match it against advisories, judge it and report.

    TARGET is an image name (asked of Docker, Podman, then its registry), a file written by docker save or in OCI form, a folder,
    or - for an archive on standard input; or one of these said outright: docker-archive:PATH, oci-archive:PATH, oci-dir:PATH,
    rootfs:PATH, dir:PATH, docker:REF, podman:REF, registry:REF.

    Exit codes: 0 allowed, 1 refused, 2 bad usage, 3 could not tell.
    """
    options = given_as(_Options, given)
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
            if (hidden := len(report.findings) - len(shown.findings)) and not options.quiet:
                progress.say(
                    f"{hidden} of {len(report.findings)} findings are not shown, as asked; the verdict is on all of them"
                )
    return max(EXIT_CODES[report.verdict.decision] for report in reports)


class _Options(RuleOptions, kw_only=True):
    output: tuple[str, ...]
    format: str | None
    all_platforms: bool
    severity: tuple[str, ...]
    only_fixed: bool
    fail_on: tuple[str, ...]


def _scan(target: str, options: _Options, progress: Progress) -> list[Report]:
    from pratique.image.open import list_platforms  # noqa: PLC0415 - start-up stays lazy
    from pratique.image.reference import parse_target  # noqa: PLC0415
    from pratique.pipeline import scan  # noqa: PLC0415

    how = scan_options(options, progress, options.fail_on)
    how = msgspec.structs.replace(how, rules=read_rules(options, how.say))
    _severities(options.severity)
    ref = parse_target(target)
    if not options.all_platforms:
        return [scan(ref, how)]
    platforms = list_platforms(ref, how.sources)
    return [scan(ref, msgspec.structs.replace(how, platform=platform)) for platform in platforms] or [scan(ref, how)]


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
        if self._path.is_dir():
            raise UsageError(f"{path}: is a directory")
        self._beside = None if special else self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        try:
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
