"""`pratique gate ci`: the images and files of one build in, the decision that other gates will reach, as an exit code, out."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from pratique.cli.forecast import forecast, privileges_setting
from pratique.cli.options import setting
from pratique.cli.progress import Progress
from pratique.cli.recording import recording
from pratique.cli.rules import RuleOptions, read_rules, rule_settings
from pratique.cli.target import HELP, attestation_settings, given_as, scan_options, target_settings, vex_settings
from pratique.model.errors import UsageError
from pratique.report.text import safe

if TYPE_CHECKING:
    from pratique.model.report import Report
    from pratique.pipeline import ScanOptions

STAGE = "ci"
CODE_QUALITY = "gl-code-quality-report.json"  # the name in GitLab's documentation


@click.command(short_help="Decide on a build: its images and its files.", context_settings=HELP)
@click.argument("images", nargs=-1, metavar="[IMAGE...]")
@click.option("--files", multiple=True, metavar="PATH", help="Dockerfiles, Compose files, manifests, or folders; repeatable.")
@setting("--fail-on", multiple=True, metavar="RULE", help="Refuse (exit 1) on: a severity or worse, kev, gaps, eol; repeatable.")
@rule_settings
@privileges_setting
@click.option(
    "--annotations",
    type=click.Choice(["auto", "github", "gitlab", "plain"]),
    default="auto",
    help="How to say what refused (default: as the build server reads it).",
)
@click.option("--code-quality", metavar="FILE", help="Write GitLab's code quality report here.")
@setting("--record", is_flag=True, help="Keep the verdicts on the images in the store, where gates look them up.")
@setting("--store", metavar="DIR", help="The store for --record (default: $XDG_STATE_HOME/pratique).")
@setting("--image-checks", is_flag=True, help="Check how the images are configured and were built, too, as lint does.")
@vex_settings
@attestation_settings
@target_settings
def command(images: tuple[str, ...], **given: Any) -> int:
    """Decide on the images that a build made and on the files that will run them, as the gates will where they run.

    Images are scanned and judged; files are checked, and with --privileges decided as a gate with that policy would. The stage is
    ci unless --stage says another. What refused is said so that the build server shows it at its line.

    Exit codes: 0 allowed, 1 refused, 2 bad usage, 3 could not tell.
    """
    from pratique.enforce import ci  # noqa: PLC0415 - start-up stays lazy

    options = given_as(_Options, given)
    options.stage = options.stage or STAGE
    if not images and not options.files:
        raise UsageError("there is nothing to decide on", hint="name images, or files by --files")
    if not (options.policy or options.fail_on or options.privileges):
        raise UsageError("nothing is judged", hint="--policy NAME|FILE, --fail-on RULE or --privileges FILE")
    progress = Progress(quiet=options.quiet)
    with ExitStack() as stack:
        report_file = _opened(options, stack)  # before anything is scanned for nothing
        how = scan_options(options, progress, options.fail_on)
        how = msgspec.structs.replace(how, rules=read_rules(options, how.say), image_checks=options.image_checks)
        reports = [*_scanned(images, options, how), *_checked(options, how)]
        progress.clear()
        found = ci.notices(reports)
        if (root := _root(options)) is not None:
            found = ci.under(found, Path.cwd(), root)
        click.echo(ci.github(found) if _server(options) == "github" else ci.plain(found), nl=False)
        if report_file is not None:
            report_file.write(ci.code_quality(found))
    if _server(options) == "github" and (page := os.environ.get("GITHUB_STEP_SUMMARY")):
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(ci.summary(found, reports))
    for report in reports if not options.quiet else ():
        progress.say(safe(f"{report.verdict.decision}: {ci.named(report)}"))
    return ci.exit_code(reports)


class _Options(RuleOptions, kw_only=True):
    files: tuple[str, ...]
    fail_on: tuple[str, ...]
    privileges: tuple[str, ...]
    annotations: str
    code_quality: str | None
    record: bool
    store: str | None
    image_checks: bool
    baseline: str | None = None
    output: tuple[str, ...] = ()


def _scanned(images: tuple[str, ...], options: _Options, how: ScanOptions) -> list[Report]:
    if not images:
        return []
    from pratique.image.reference import parse_target  # noqa: PLC0415 - start-up stays lazy
    from pratique.pipeline import scan  # noqa: PLC0415

    targets = [parse_target(image) for image in images]
    with recording(options, how, *targets) as keep:
        reports = [scan(target, how) for target in targets]
        keep(reports)
    return reports


def _checked(options: _Options, how: ScanOptions) -> list[Report]:
    if not options.files:
        return []
    from pratique.lint.checks.podsecurity import LATEST  # noqa: PLC0415 - start-up stays lazy
    from pratique.linting import LintOptions, lint_paths  # noqa: PLC0415

    checked = LintOptions(
        now=how.now,
        fail_on=how.fail_on,
        rules=how.rules,
        privileges=forecast(options.privileges),
        sources=how.sources,
        version=LATEST,
    )
    return [lint_paths(options.files, checked, sys.stdin.buffer)]


def _server(options: _Options) -> str:
    """Return for which build server it is said: the one that was named, or the one that runs this."""
    if options.annotations != "auto":
        return options.annotations
    known = {"GITHUB_ACTIONS": "github", "GITLAB_CI": "gitlab"}
    return next((server for variable, server in known.items() if os.environ.get(variable) == "true"), "plain")


def _root(options: _Options) -> Path | None:
    """Return the root of the checkout, from which a build server reads paths; None where it is not known."""
    variable = {"github": "GITHUB_WORKSPACE", "gitlab": "CI_PROJECT_DIR"}.get(_server(options), "")
    root = os.environ.get(variable, "")
    return Path(os.path.normpath(root)) if root.startswith("/") else None


def _opened(options: _Options, stack: ExitStack) -> BinaryIO | None:
    name = options.code_quality or (CODE_QUALITY if _server(options) == "gitlab" else "")
    if not name:
        return None
    try:
        return stack.enter_context(Path(name).open("wb"))
    except OSError as error:
        raise UsageError(f"--code-quality {name}: {error.strerror}") from None
