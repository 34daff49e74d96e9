"""`pratique sbom`: a target in, its inventory as a document out. No database is touched, nothing is decided."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.outputs import Outputs, open_outputs, output_settings
from pratique.cli.progress import Progress
from pratique.cli.target import HELP, TargetOptions, given_as, scan_options, target_settings
from pratique.model.errors import UsageError

FORMATS = ("cyclonedx", "spdx", "json", "github", "template")  # the others tell of findings, of which there are none here
COULD_NOT = 3
MAX_EPOCH = 11  # digits: until the year 5138


@click.command(short_help="List what is in a target: CycloneDX or SPDX.", context_settings=HELP)
@click.argument("target")
@output_settings
@setting("--files", is_flag=True, help="List every file too, with its digests and the package that installed it.")
@target_settings
def command(target: str, **given: object) -> int:
    """List what is in TARGET (written as for `pratique scan`) as an SBOM.

    The document is a function of what is in TARGET but for its time, which is --now, else SOURCE_DATE_EPOCH, else the present.

    FORMAT is cyclonedx (the default; 1.6, or cyclonedx@1.7), spdx (2.3, or spdx@3.0), json, github or template. No advisory is
    looked at: `pratique scan sbom:FILE` does that, whenever advisories change.

    Exit codes: 0 written, 2 bad usage, 3 the target could not be read, or nothing is in it.
    """
    from pratique.image.reference import parse_target  # noqa: PLC0415 - start-up stays lazy
    from pratique.pipeline import list_inventory  # noqa: PLC0415 - as above

    options = given_as(_Options, given)
    progress = Progress(quiet=options.quiet)
    with ExitStack() as stack:
        outputs = Outputs(options.output, options.format, options.template, "cyclonedx", FORMATS)
        writers = open_outputs(outputs, stack)
        stack.callback(progress.clear)
        how = msgspec.structs.replace(scan_options(options, progress), details=True, files=options.files)
        if options.now is None and (epoch := os.environ.get("SOURCE_DATE_EPOCH")):
            how = msgspec.structs.replace(how, now=_moment(epoch))
        ref = parse_target(target)
        if options.files and ref.scheme == "sbom":
            raise UsageError(f"{target}: an SBOM has no files to look into", hint="leave out --files")
        report = list_inventory(ref, how)
        progress.clear()
        for reporter, out in writers:
            reporter.write(report, out)
    return 0 if report.packages else COULD_NOT


def _moment(epoch: str) -> str:
    """Read seconds since 1970 (https://reproducible-builds.org/specs/source-date-epoch/). Raises UsageError."""
    import datetime as dt  # noqa: PLC0415 - beside its one use

    if not epoch.isascii() or not epoch.isdigit() or len(epoch) > MAX_EPOCH:
        raise UsageError(f"SOURCE_DATE_EPOCH is {epoch[:40]!r}, which is no number of seconds")
    return dt.datetime.fromtimestamp(int(epoch), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Options(TargetOptions, kw_only=True):
    output: tuple[str, ...]
    format: str | None
    template: Path | None
    files: bool
