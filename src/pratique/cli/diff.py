"""`pratique diff`: two targets or saved reports in, every difference with its cause and an exit code out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.outputs import Outputs, open_outputs, plain_output_settings
from pratique.cli.progress import Progress
from pratique.cli.rules import RuleOptions, read_rules, rule_settings
from pratique.cli.target import HELP, given_as, scan_options, target_settings, vex_settings
from pratique.model.errors import UsageError
from pratique.model.report import Reason, Report, Verdict

if TYPE_CHECKING:
    from pratique.changes.gate import Judged
    from pratique.pipeline import ScanOptions

FORMATS = ("table", "json", "markdown", "sarif")
EXIT_CODES = {"allow": 0, "warn": 0, "deny": 1, "unknown": 3}


@click.command(short_help="Say what is different between two targets or reports, and why.", context_settings=HELP)
@click.argument("old")
@click.argument("new")
@plain_output_settings
@setting(
    "--fail-on", multiple=True, metavar="RULE", help="Refuse (exit 1) a new finding: of a severity or worse, kev, eol; or gaps."
)
@rule_settings
@vex_settings
@target_settings
def command(old: str, new: str, **given: Any) -> int:
    """Say what is different between OLD and NEW, each with its cause: image, advisory, VEX, waiver, policy, scanner or time.

    OLD and NEW are saved JSON reports, told by their content, or targets as for scan; targets are scanned with the same options.
    Formats are table, json, markdown (for a pull request) and sarif (what is new, and nothing else). A cause is derived from what
    both reports state; where that does not tell, it is called unknown.

    Exit codes: 0 nothing new is refused by --fail-on or a policy, 1 something new is, 2 bad usage, 3 could not tell.
    """
    options = given_as(_Options, given)
    progress = Progress(quiet=options.quiet)
    with ExitStack() as stack:
        writers = open_outputs(Outputs(options.output, options.format, None, "table", FORMATS, "pratique.report.diff"), stack)
        stack.callback(progress.clear)
        compared, decision = _compare(old, new, options, progress)
        progress.clear()
        for writer, out in writers:
            writer.write(compared, out)
    return EXIT_CODES[decision]


class _Options(RuleOptions, kw_only=True):
    output: tuple[str, ...]
    format: str | None
    fail_on: tuple[str, ...]


class _Taken(NamedTuple):
    """One side: its report, and whether that was made just now."""

    report: Report
    live: bool


def _compare(old: str, new: str, options: _Options, progress: Progress) -> tuple[Any, str]:
    """Return what the formats write, and the decision."""
    from pratique.changes.baseline import doubts  # noqa: PLC0415 - start-up stays lazy
    from pratique.changes.diff import diff  # noqa: PLC0415
    from pratique.report.diff import Compared  # noqa: PLC0415

    how = scan_options(options, progress, options.fail_on)
    how = msgspec.structs.replace(how, rules=read_rules(options, how.say))
    if old == new == "-":
        raise UsageError("standard input can be only one of the two")
    then, now = _take(old, new, how)
    judged = _judge(then, now, how, asked=options.now is not None)
    gate = judged.verdict
    asked = bool(how.fail_on or (how.rules is not None and how.rules.policies))
    if asked and gate.decision in ("allow", "warn") and (why := _nothing(now.report)):
        gate = Verdict(decision="unknown", policy=gate.policy, reasons=(Reason("nothing-found", why), *gate.reasons))
    if how.say is not None:
        for sentence in doubts(then.report, now.report.target):
            how.say(f"warning: {sentence.replace('the baseline', 'the older')}")
    shown = msgspec.structs.replace(now.report, findings=judged.findings)
    found = diff(then.report, shown, live=then.live and now.live, gate=gate)
    return Compared(found, shown), gate.decision


def _take(old: str, new: str, how: ScanOptions) -> tuple[_Taken, _Taken]:
    from pratique.cli.saved import of_platform, saved_reports, scanned  # noqa: PLC0415 - start-up stays lazy

    saved = [saved_reports(value) for value in (old, new)]  # before anything is scanned: a damaged file is found out at once
    platform = str(how.platform or "")
    taken = [
        _Taken(of_platform(reports, platform, value), live=False) if reports is not None else None
        for value, reports in zip((old, new), saved, strict=True)
    ]
    then, now = (one or _Taken(scanned(value, how), live=True) for one, value in zip(taken, (old, new), strict=True))
    return then, now


def _judge(then: _Taken, now: _Taken, how: ScanOptions, *, asked: bool) -> Judged:
    """Decide on what the newer report has and the older has not. A saved report is judged as of its own time, unless asked."""
    from pratique.changes.gate import judge_new  # noqa: PLC0415 - start-up stays lazy
    from pratique.policy.cases import of_report  # noqa: PLC0415
    from pratique.policy.facts import Context  # noqa: PLC0415

    moment = how.now if now.live or asked else now.report.meta.scanned_at
    context = how.rules.context if how.rules is not None else Context()
    subject = of_report(now.report, context, moment)
    policies, waivers = (how.rules.policies, how.rules.waivers) if how.rules is not None else ((), ())
    if not waivers:  # those that the report was written with hold
        subject = msgspec.structs.replace(subject, findings=now.report.findings)
    return judge_new(subject, then.report, policies, waivers, how.fail_on)


def _nothing(report: Report) -> str:
    """Say why a report cannot answer whether something is new; "" where it can."""
    if report.meta.database.kind == "none":
        return "the newer report is an inventory alone: no advisory was asked"
    return "" if report.packages else "nothing usable was found in the newer target"
