"""`pratique sbom`: a target in, its inventory as a document out. No database is touched, nothing is decided."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.outputs import Outputs, open_outputs, output_settings
from pratique.cli.progress import Progress
from pratique.cli.target import HELP, TargetOptions, given_as, scan_options, target_settings

FORMATS = ("cyclonedx", "spdx", "json", "github", "template")  # the others tell of findings, of which there are none here
COULD_NOT = 3


@click.command(short_help="List what is in a target: CycloneDX or SPDX.", context_settings=HELP)
@click.argument("target")
@output_settings
@setting("--files", is_flag=True, help="List every file too, with its digests and the package that installed it.")
@target_settings
def command(target: str, **given: object) -> int:
    """List what is in TARGET (written as for `pratique scan`) as an SBOM.

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
        report = list_inventory(parse_target(target), how)
        progress.clear()
        for reporter, out in writers:
            reporter.write(report, out)
    return 0 if report.packages else COULD_NOT


class _Options(TargetOptions, kw_only=True):
    output: tuple[str, ...]
    format: str | None
    template: Path | None
    files: bool
