"""`pratique lint`: files in, a report on privileges and hygiene and an exit code out."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from pratique._kit.folders import default_cache_dir
from pratique.cli.forecast import forecast, privileges_setting
from pratique.cli.options import setting
from pratique.cli.outputs import Outputs, open_outputs, output_settings
from pratique.cli.rules import read_rules, rule_settings
from pratique.cli.target import HELP, given_as, moment, registry_mirrors
from pratique.model.errors import UsageError
from pratique.model.finding import Severity
from pratique.model.ports import Reporter

if TYPE_CHECKING:
    from pratique.model.report import Report

EXIT_CODES = {"allow": 0, "warn": 0, "deny": 1, "unknown": 3}
FORMATS = ("table", "json", "sarif", "junit", "markdown", "csv", "template")
STAGE = "dev"  # a file is checked before anything is built
_VERSION = re.compile(r"v?1\.(\d{1,3})(?:\..*)?")


@click.command(short_help="Check Dockerfiles, Compose files, Kubernetes manifests and images.", context_settings=HELP)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@output_settings
@setting("--severity", multiple=True, metavar="LIST", help="Show only these severities, such as high,critical. Decides nothing.")
@setting("--fail-on", multiple=True, metavar="RULE", help="Refuse (exit 1) on: a severity or worse, gaps; repeatable.")
@click.option("--fix", is_flag=True, help="Rewrite what can be mended without changing what is built or run, then check.")
@click.option("--fix-unsafe", is_flag=True, help="As --fix, and what changes it, too: look at the result.")
@click.option("--diff", is_flag=True, help="Show what --fix (or --fix-unsafe) would change, and write nothing.")
@click.option("--skip-unknown", is_flag=True, help="Pass over named files that are none of these.")
@rule_settings
@privileges_setting
@setting(
    "--kubernetes-version", metavar="1.N", help="The cluster's version, for the Pod Security Standards (default: the newest)."
)
@setting("--trusted-registry", multiple=True, metavar="REGISTRY", help="Report images from any other registry; repeatable.")
@setting("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an image with several: pick this platform.")
@setting("--offline", is_flag=True, help="Make no connection at all.")
@setting("--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep what is downloaded here.")
@setting(
    "--insecure-registry", multiple=True, metavar="HOST", help="This registry may speak plain HTTP, or show any certificate."
)
@setting("--registry-mirror", multiple=True, metavar="REGISTRY=MIRROR", help="Ask MIRROR before REGISTRY.")
@setting("--now", metavar="TIME", help="Decide as of this moment (RFC 3339) instead of the present.")
@setting("-q", "--quiet", is_flag=True, help="Print nothing but results and errors.")
@setting("--debug", is_flag=True, help="Show where an error came from.")
def command(paths: tuple[str, ...], **given: object) -> int:
    """Check Dockerfiles, Compose files and Kubernetes manifests: privileges first, then hygiene.

    Policies and waivers decide as they do for scan; the stage is dev unless --stage says another.

    PATH is a file, a folder, or - for standard input. In folders, Dockerfiles are found by name, the others by name and content.
    It is also a built image, whose configuration and history are checked: an archive, docker-archive:PATH, oci-archive:PATH,
    oci-dir:PATH, docker:REF, podman:REF, containerd:REF, registry:REF, or a configuration as JSON.

    A comment `# pratique: ignore=ID why it is so until=DATE` before a line (or behind it, in YAML) accepts a finding until then.

    Exit codes: 0 allowed, 1 refused, 2 bad usage, 3 could not tell: nothing there can be checked. With --diff: 0 nothing would
    be changed, 1 something would.
    """
    from pratique.image.manifest import parse_platform  # noqa: PLC0415 - start-up stays lazy
    from pratique.image.options import SourceOptions  # noqa: PLC0415 - as above
    from pratique.lint.registries import parse_registries  # noqa: PLC0415 - as above
    from pratique.linting import LintOptions, lint_paths  # noqa: PLC0415 - start-up stays lazy
    from pratique.policy.judge import parse_fail_on  # noqa: PLC0415 - as above

    options = given_as(_Options, given)
    options.stage = options.stage or STAGE
    how = LintOptions(
        now=moment(options.now),
        fail_on=parse_fail_on(options.fail_on),
        skip_unknown=options.skip_unknown,
        platform=parse_platform(options.platform) if options.platform else None,
        sources=SourceOptions(
            cache_dir=options.cache_dir or default_cache_dir(),
            offline=options.offline,
            insecure=options.insecure_registry,
            mirrors=registry_mirrors(options.registry_mirror),
        ),
        rules=read_rules(options, None if options.quiet else _say),
        privileges=forecast(options.privileges),
        version=cluster_version(options.kubernetes_version),
        registries=parse_registries(options.trusted_registry),
    )
    wanted = _severities(options.severity)
    if options.fix or options.fix_unsafe or options.diff:
        from pratique.cli.lintfix import rewrite, show  # noqa: PLC0415 - only where something is to be mended

        if "-" in paths:
            raise UsageError("standard input cannot be rewritten", hint="name a file")
        if options.diff:
            return show(paths, how, unsafe=options.fix_unsafe)
        rewrite(paths, how, unsafe=options.fix_unsafe, quiet=options.quiet)
    with ExitStack() as stack:
        outputs = Outputs(options.output, options.format, options.template, "table", FORMATS)
        writers = open_outputs(outputs, stack)
        report = lint_paths(paths, how, sys.stdin.buffer)
        shown = _shown(report, wanted)
        for reporter, out in writers:
            _reporter(reporter, out).write(shown, out)
    if (hidden := len(report.findings) - len(shown.findings)) and not options.quiet:
        click.echo(
            f"{hidden} of {len(report.findings)} findings are not shown, as asked; the verdict is on all of them", err=True
        )
    return EXIT_CODES[report.verdict.decision]


def _say(line: str) -> None:
    click.echo(line, err=True)


class _Options(msgspec.Struct, kw_only=True):
    policy: tuple[str, ...]
    waivers: tuple[str, ...]
    privileges: tuple[str, ...]
    stage: str | None
    team: str
    environment: str
    namespace: str
    waiver_signers: str | None
    output: tuple[str, ...]
    format: str | None
    template: Path | None
    severity: tuple[str, ...]
    fail_on: tuple[str, ...]
    kubernetes_version: str | None
    trusted_registry: tuple[str, ...]
    now: str | None
    fix: bool
    fix_unsafe: bool
    diff: bool
    skip_unknown: bool
    platform: str | None
    offline: bool
    cache_dir: Path | None
    insecure_registry: tuple[str, ...]
    registry_mirror: tuple[str, ...]
    quiet: bool
    debug: bool


def cluster_version(text: str | None) -> tuple[int, int]:
    """Read --kubernetes-version; the newest where none is given. Raises UsageError."""
    from pratique.lint.checks.podsecurity import LATEST, OLDEST  # noqa: PLC0415 - start-up stays lazy

    if not text:
        return LATEST
    found = _VERSION.fullmatch(text)
    if found is None or (1, int(found[1])) < OLDEST:
        hint = f"write 1.{OLDEST[1]} to 1.{LATEST[1]}, or a newer one to be judged by 1.{LATEST[1]}"
        raise UsageError(f"--kubernetes-version {text!r} is no version that can be judged by", hint=hint)
    return min((1, int(found[1])), LATEST)


def _severities(values: tuple[str, ...]) -> frozenset[Severity]:
    names = {severity.value for severity in Severity}
    for value in values:
        if value.lower() not in names:
            raise UsageError(f"--severity {value}: not one of {', '.join(sorted(names))}")
    return frozenset(Severity(value.lower()) for value in values)


def _shown(report: Report, wanted: frozenset[Severity]) -> Report:
    if not wanted:
        return report
    return msgspec.structs.replace(report, findings=tuple(item for item in report.findings if item.severity in wanted))


def _reporter(reporter: Reporter, out: BinaryIO) -> Reporter:
    """Take the table that has files and lines in the place of the one that has packages."""
    if reporter.name != "table":
        return reporter
    from pratique.report.linted import LintTable  # noqa: PLC0415 - only the format that is asked for

    if not (out is sys.stdout.buffer and sys.stdout.isatty()):
        return LintTable()
    colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return LintTable(colour=colour, width=min(os.get_terminal_size().columns, 140))
