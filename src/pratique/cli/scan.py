"""`pratique scan`: a target in, a report and an exit code out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from pratique.cli.forecast import forecast, privileges_setting
from pratique.cli.options import setting
from pratique.cli.outputs import Outputs, open_outputs, output_settings
from pratique.cli.progress import Progress
from pratique.cli.recording import recording
from pratique.cli.rules import RuleOptions, read_rules, rule_settings
from pratique.cli.target import HELP, attestation_settings, given_as, scan_options, target_settings, vex_settings
from pratique.model.errors import UsageError
from pratique.model.finding import Severity
from pratique.model.image import ImageRef
from pratique.model.ports import Reporter
from pratique.model.report import Report

if TYPE_CHECKING:
    from pratique.pipeline import ScanOptions

EXIT_CODES = {"allow": 0, "warn": 0, "deny": 1, "unknown": 3}


@click.command(short_help="Inspect an image, match it against advisories, judge it and report.", context_settings=HELP)
@click.argument("target")
@output_settings
@setting("--all-platforms", is_flag=True, help="Scan each platform of an index: one report each.")
@setting("--severity", multiple=True, metavar="LIST", help="Show only these severities, such as high,critical. Decides nothing.")
@setting("--image-checks", is_flag=True, help="Check how the image is configured and was built, too, as lint does.")
@setting("--only-fixed", is_flag=True, help="Show only what has a fix. Decides nothing.")
@setting("--baseline", metavar="REPORT|REF", help="Refuse only what this saved JSON report, or target, does not have.")
@setting("--only-new", is_flag=True, help="Show only what the baseline does not have. Decides nothing.")
@setting("--fail-on", multiple=True, metavar="RULE", help="Refuse (exit 1) on: a severity or worse, kev, gaps, eol; repeatable.")
@setting("--record", is_flag=True, help="Keep the verdict in the store, where gates look it up by digest.")
@setting("--store", metavar="DIR", help="The store for --record (default: $XDG_STATE_HOME/pratique).")
@rule_settings
@privileges_setting
@vex_settings
@attestation_settings
@target_settings
def command(target: str, **given: object) -> int:
    """Inspect TARGET, match it against advisories, judge it and report.

    TARGET is an image name (asked of Docker, Podman, then its registry), a file written by docker save or in OCI form, a folder,
    or - for an archive on standard input; or one of these said outright: docker-archive:PATH, oci-archive:PATH, oci-dir:PATH,
    rootfs:PATH, dir:PATH, sbom:PATH, docker:REF, podman:REF, registry:REF.

    With --baseline, --fail-on and policies count only what is new: not in the baseline, or less grave there. The rest is shown,
    marked as known. The baseline is told by its content: a saved JSON report, or any TARGET, scanned with the same options.

    Exit codes: 0 allowed, 1 refused, 2 bad usage, 3 could not tell.
    """
    options = given_as(_Options, given)
    progress = Progress(quiet=options.quiet)
    with ExitStack() as stack:
        writers = open_outputs(Outputs(options.output, options.format, options.template), stack)
        if options.all_platforms:
            _check_several([reporter for reporter, _ in writers])
        stack.callback(progress.clear)
        details = any(reporter.name in _BILLS for reporter, _ in writers)
        reports = _scan(target, options, progress, details=details)
        progress.clear()
        shown = [_shown(report, options) for report in reports]
        for reporter, out in writers:
            _write(reporter, shown, out, several=options.all_platforms)
        for report, visible in zip(reports, shown, strict=True):
            if (hidden := len(report.findings) - len(visible.findings)) and not options.quiet:
                progress.say(
                    f"{hidden} of {len(report.findings)} findings are not shown, as asked; the verdict is on all of them"
                )
    return max(EXIT_CODES[report.verdict.decision] for report in reports)


# Formats that can hold the reports of several platforms: json as one document with all, the others one after the other.
_SEVERAL = frozenset(("json", "table", "markdown"))


def _check_several(reporters: Sequence[Reporter]) -> None:
    for reporter in reporters:
        if reporter.name not in _SEVERAL:
            hint = f"use one of {', '.join(sorted(_SEVERAL))}, or scan each platform with --platform"
            raise UsageError(f"{reporter.name} holds one report, and --all-platforms makes several", hint=hint)


def _write(reporter: Reporter, reports: Sequence[Report], out: BinaryIO, *, several: bool) -> None:
    if several and reporter.name == "json":
        from pratique.report.json import write_all  # noqa: PLC0415 - beside its one use

        write_all(reports, out)
        return
    for report in reports:
        reporter.write(report, out)


class _Options(RuleOptions, kw_only=True):
    output: tuple[str, ...]
    format: str | None
    template: Path | None
    all_platforms: bool
    severity: tuple[str, ...]
    only_fixed: bool
    image_checks: bool
    privileges: tuple[str, ...]
    baseline: str | None
    only_new: bool
    fail_on: tuple[str, ...]
    record: bool
    store: str | None


_BILLS = frozenset(("cyclonedx", "spdx"))  # formats that tell what depends on what


def _scan(target: str, options: _Options, progress: Progress, *, details: bool) -> list[Report]:
    from pratique.image.open import list_platforms  # noqa: PLC0415 - start-up stays lazy
    from pratique.image.reference import parse_target  # noqa: PLC0415

    how = scan_options(options, progress, options.fail_on)
    how = msgspec.structs.replace(how, rules=read_rules(options, how.say), image_checks=options.image_checks, details=details)
    how = msgspec.structs.replace(how, privileges=forecast(options.privileges))
    _severities(options.severity)
    if options.only_new and not options.baseline:
        raise UsageError("--only-new needs --baseline", hint="name a saved JSON report, or a target, to compare with")
    ref = parse_target(target)
    compare = _comparing(options.baseline, how)
    with recording(options, how, ref) as keep:
        platforms = list_platforms(ref, how.sources) if options.all_platforms else []
        each = [msgspec.structs.replace(how, platform=platform) for platform in platforms] or [how]
        reports = [compare(ref, one) for one in each]
        keep(reports)
    return reports


def _comparing(baseline: str | None, plain: ScanOptions) -> Callable[[ImageRef, ScanOptions], Report]:
    """Return how to scan: with the baseline of the same platform, where there is one. It is read before anything is scanned."""
    from pratique.pipeline import scan  # noqa: PLC0415 - start-up stays lazy

    if not baseline:
        return scan
    from pratique.changes.baseline import doubts  # noqa: PLC0415 - only where it is asked for
    from pratique.cli.saved import of_platform, saved_reports, scanned  # noqa: PLC0415 - as above

    if baseline == "-":
        raise UsageError("--baseline -: standard input can only be the target")
    saved = saved_reports(baseline)
    if saved is not None and plain.platform is not None:
        of_platform(saved, str(plain.platform), baseline)

    def compared(ref: ImageRef, how: ScanOptions) -> Report:
        platform = str(how.platform or "")
        known = of_platform(saved, platform, baseline) if saved is not None else scanned(baseline, how)
        report = scan(ref, msgspec.structs.replace(how, baseline=known))
        for sentence in doubts(known, report.target, report.examined):
            if how.say is not None:
                how.say(f"warning: {sentence}")
        return report

    return compared


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
    if options.only_new:
        findings = tuple(finding for finding in findings if finding.baseline != "unchanged")
    if options.only_fixed:
        findings = tuple(finding for finding in findings if finding.fixed_in or finding.kind not in ("vulnerability", "malware"))
    return msgspec.structs.replace(report, findings=findings)
