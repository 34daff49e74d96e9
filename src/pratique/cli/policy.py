"""`pratique policy`: rules under version control in; whether they are sound, come out as expected, and what they do, out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.policysets import list_, show
from pratique.cli.progress import Progress
from pratique.cli.rules import RuleOptions, context_of, context_settings, read_rules, waiver_files
from pratique.cli.target import (
    HELP,
    TargetOptions,
    attestation_settings,
    given_as,
    moment,
    scan_options,
    target_settings,
    vex_settings,
)
from pratique.model.errors import PolicyError, TargetError, UsageError
from pratique.report.text import plural, safe

if TYPE_CHECKING:
    from pratique.model.report import Report
    from pratique.policy.compose import PolicySet
    from pratique.policy.document import PolicyCase

SCHEMA = "urn:pratique:schema:policy-explain-1"
MAX_FIRED = 20  # things that one rule fired on, in text
TEST_SUFFIXES = ("_test.yaml", "_test.yml")

_format = setting(
    "-f", "--format", type=click.Choice(["table", "json"], case_sensitive=False), default="table", help="table or json."
)
_debug = setting("--debug", is_flag=True, help="Show where an error came from.")
_now = setting("--now", metavar="TIME", help="Decide as of this moment (RFC 3339) instead of that of each report.")
_quiet = setting("-q", "--quiet", is_flag=True, help="Print nothing but results and errors.")


@click.group(short_help="Policies: list, show, check, test, explain, simulate.", context_settings=HELP)
def command() -> None:
    """List the rule sets that are shipped; check policies, test them, and see what they do."""


command.add_command(list_)
command.add_command(show)


@command.command(context_settings=HELP)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--strict", is_flag=True, help="Exit 1 where something could be better.")
@_debug
def check(files: tuple[str, ...], *, strict: bool, debug: bool) -> int:  # noqa: ARG001 - the front door looks at --debug
    """Check policies, files of waivers, and tests of policies, without judging anything.

    Each mistake is one line FILE:LINE:COLUMN on standard error. Exit codes: 0 sound, 1 something could be better (with --strict),
    2 wrong.
    """
    wrong, better = 0, 0
    for name in files:
        try:
            summary, hints = _checked(name)
        except PolicyError as error:
            click.echo(f"pratique: {' '.join(str(error).split())}", err=True)
            wrong += 1
            continue
        click.echo(safe(f"{name}: {summary}"))
        for hint in hints:
            click.echo(safe(f"  {hint}"))
        better += len(hints)
    return 2 if wrong else 1 if better and strict else 0


def _checked(name: str) -> tuple[str, list[str]]:
    from pratique._kit.text import decode, parse  # noqa: PLC0415 - as above
    from pratique.policy import cases, document, waiver  # noqa: PLC0415 - start-up stays lazy
    from pratique.policyfiles import compose, policy_content  # noqa: PLC0415

    name, content = policy_content(name)
    text = decode(name, content)
    kind = document.kind_of(parse(text))
    if kind == "Waivers":
        waivers = waiver.check_waivers(text, document.read(name, content, document.Waivers)[0])
        return plural(len(waivers), "waiver"), []
    if kind == "PolicyTest":
        test, _ = document.read(name, content, document.PolicyTest)
        cases.check_test(text, test)
        return plural(len(test.cases), "case"), []
    policy = compose(name, content)
    own = sum(rule.origin == name for rule in policy.rules)
    imported = f", {len(policy.rules) - own} of them imported" if own < len(policy.rules) else ""
    return f"policy {policy.name}, {plural(len(policy.rules), 'rule')}{imported}, {policy.digest}", cases.hints(policy, name)


@command.command("test", context_settings=HELP)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|FOLDER...")
@_debug
def test_(paths: tuple[str, ...], *, debug: bool) -> int:  # noqa: ARG001 - as above
    """Run the cases beside policies: files NAME_test.yaml, those beside a policy that is named, or all in a folder.

    Exit codes: 0 every case came out as expected, 1 one did not, 2 a file is wrong or there are no cases.
    """
    failed = count = 0
    for path in _test_files(paths):
        for case, problems in _run(path):
            count += 1
            failed += bool(problems)
            click.echo(safe(f"{'FAIL' if problems else 'ok  '} {path}: {case.name}"))
            for problem in problems:
                click.echo(safe(f"       {problem}"))
    click.echo(f"{plural(count, 'case')}, {failed} failed")
    return 1 if failed else 0


def _test_files(paths: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            mine = sorted(entry for entry in path.rglob("*") if entry.name.endswith(TEST_SUFFIXES))
        elif name.endswith(TEST_SUFFIXES):
            mine = [path]
        else:
            mine = [beside for suffix in TEST_SUFFIXES if (beside := path.with_name(path.stem + suffix)).is_file()]
        if not mine:
            raise UsageError(f"{name}: no cases", hint="they stand in NAME_test.yaml beside NAME.yaml")
        found += mine
    return list(dict.fromkeys(found))


def _run(path: Path) -> list[tuple[PolicyCase, list[str]]]:
    from pratique.policy import cases, document  # noqa: PLC0415 - start-up stays lazy
    from pratique.policyfiles import is_file_name, load_policy, read_bounded  # noqa: PLC0415

    test, text = document.read(str(path), read_bounded(path), document.PolicyTest)
    cases.check_test(text, test)
    name = test.policy or path.name.replace("_test.", ".")
    policy = load_policy(str(path.parent / name) if is_file_name(name) else name)
    found = []
    for case in test.cases:
        report = None
        if case.report:
            try:
                report = read_report(path.parent / case.report)
            except TargetError as error:
                text.fail(case.place("report"), str(error))
        found.append((case, cases.failures(case, policy, report)))
    return found


@command.command(context_settings=HELP)
@click.argument("policy")
@click.argument("target")
@_format
@waiver_files
@context_settings
@vex_settings
@attestation_settings
@target_settings
def explain(policy: str, target: str, **given: Any) -> int:
    """Say which rules of POLICY fired on what in TARGET, and why the others did not.

    TARGET is as for scan, a saved JSON report, or a Dockerfile, Compose file or manifest.

    Exit codes: 0 allowed, 1 refused, 2 bad usage, 3 could not tell.
    """
    from pratique.policy.cases import of_report  # noqa: PLC0415 - start-up stays lazy
    from pratique.policy.engine import verdict_digest  # noqa: PLC0415
    from pratique.policy.explain import document, lines  # noqa: PLC0415
    from pratique.policy.explain import explain as tell  # noqa: PLC0415

    options = given_as(_Explain, {**given, "policy": (policy,)})
    progress = Progress(quiet=options.quiet)
    rules = read_rules(options, None if options.quiet else progress.say)
    assert rules is not None
    report = read_report(Path(target)) if _is_report(Path(target)) else _scan(target, options, progress)
    now = moment(options.now) if options.now or not _is_report(Path(target)) else report.meta.scanned_at
    judgement, stories = tell(of_report(report, rules.context, now), rules.policies, rules.waivers)
    verdict = judgement.verdict
    if options.format.lower() == "json":
        found = {"schema": SCHEMA, "target": report.target.reference, "digest": verdict_digest(verdict)}
        _print_json({**found, **document(judgement, stories)})
    else:
        for line in lines(stories):
            click.echo(safe(line))
        click.echo(f"Verdict: {verdict.decision} ({verdict_digest(verdict)})")
    return 1 if verdict.decision == "deny" else 0


class _Explain(RuleOptions, kw_only=True):
    format: str


def _is_lintable(path: Path) -> bool:
    """Say whether a file is one that lint reads, by its name: nothing else is called so."""
    from pratique.lint.run import kind_by_name  # noqa: PLC0415 - start-up stays lazy

    kind = kind_by_name(path.name)
    return path.is_file() and (kind == "dockerfile" or (kind == "yaml" and path.suffix in (".yaml", ".yml")))


def _scan(target: str, options: TargetOptions, progress: Progress) -> Report:
    if _is_lintable(Path(target)):
        import io  # noqa: PLC0415 - beside its one use

        from pratique.lint.checks.podsecurity import LATEST  # noqa: PLC0415 - only where a file is asked about
        from pratique.linting import LintOptions, lint_paths  # noqa: PLC0415

        return lint_paths((target,), LintOptions(now=moment(options.now), version=LATEST), io.BytesIO())
    from pratique.image.reference import parse_target  # noqa: PLC0415 - only where an image is asked about
    from pratique.pipeline import scan  # noqa: PLC0415

    try:
        return scan(parse_target(target), scan_options(options, progress))
    finally:
        progress.clear()


@command.command(context_settings=HELP)
@click.argument("policy")
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...")
@click.option("--rule", multiple=True, metavar="ID", help="Only these rules: what would each have blocked? Repeatable.")
@_format
@waiver_files
@context_settings
@_now
@_quiet
@_debug
def simulate(policy: str, reports: tuple[str, ...], **given: Any) -> int:
    """Say what POLICY would have decided on saved JSON reports, or all in a folder, as of the moment of each.

    With --rule, only these rules decide (and what allows, allows), and what they fired on is listed.

    Exit codes: 0 it would have allowed all, 1 it would have refused one, 2 bad usage, 3 a report cannot be read.
    """
    from pratique.policy.cases import of_report  # noqa: PLC0415 - start-up stays lazy
    from pratique.policy.engine import decide  # noqa: PLC0415

    options = msgspec.convert({**given, "policy": (policy,)}, _Simulate, strict=False)
    rules = read_rules(options, None if options.quiet else Progress(quiet=False).say)
    assert rules is not None
    policies = _only(rules.policies, options.rule)
    found = []
    for path in _report_files(reports):
        report = read_report(path)
        now = moment(options.now) if options.now else report.meta.scanned_at
        judgement = decide(of_report(report, context_of(options), now), policies, rules.waivers)
        spoke: dict[str, list[str]] = {}
        for firing in judgement.firings:
            if firing.effect != "allow":
                spoke.setdefault(firing.rule.rule.id, []).append(firing.item.label())
        entry: dict[str, Any] = {"report": str(path), "target": report.target.reference, "before": report.verdict.decision}
        entry |= {"after": judgement.verdict.decision, "rules": {rule: len(spoke[rule]) for rule in sorted(spoke)}}
        found.append(entry | ({"fired": {rule: sorted(set(spoke[rule])) for rule in sorted(spoke)}} if options.rule else {}))
    if options.format.lower() == "json":
        _print_json(found)
    else:
        _print_simulated(found)
    return 1 if any(entry["after"] == "deny" for entry in found) else 0


def _only(policies: tuple[PolicySet, ...], names: tuple[str, ...]) -> tuple[PolicySet, ...]:
    """Leave the rules that are named, and those that allow. Raises UsageError for one that is not there."""
    if not names:
        return policies
    known = {rule.rule.id for policy in policies for rule in policy.rules}
    for name in names:
        if name not in known:
            import difflib  # noqa: PLC0415 - only for the hint

            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(f"--rule {name}: the policy has no such rule", hint=f"did you mean {near[0]!r}?" if near else "")
    return tuple(
        policy._replace(rules=tuple(rule for rule in policy.rules if rule.rule.id in names or rule.rule.effect == "allow"))
        for policy in policies
    )


class _Simulate(msgspec.Struct, kw_only=True):
    format: str
    rule: tuple[str, ...]
    policy: tuple[str, ...]
    waivers: tuple[str, ...]
    stage: str | None
    team: str
    environment: str
    namespace: str
    waiver_signers: str | None
    now: str | None
    quiet: bool
    debug: bool


def _print_simulated(found: list[dict[str, Any]]) -> None:
    for entry in found:
        rules = ", ".join(f"{rule} ({count})" for rule, count in entry["rules"].items())
        click.echo(safe(f"{entry['before']:>7} -> {entry['after']:<6} {entry['target']} {rules}".rstrip()))
        for rule, labels in entry.get("fired", {}).items():
            for label in labels[:MAX_FIRED]:
                click.echo(safe(f"{'':>18} {rule}: {label}"))
            if len(labels) > MAX_FIRED:
                click.echo(f"{'':>18} {rule}: and {len(labels) - MAX_FIRED:,} more; --format json lists all")
    denied = [entry for entry in found if entry["after"] == "deny"]
    fresh = sum(entry["before"] != "deny" for entry in denied)
    click.echo(f"{plural(len(found), 'report')}: {len(denied)} would have been refused, {fresh} of them were not")


def _report_files(names: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        path = Path(name)
        mine = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not mine:
            raise UsageError(f"{name}: no reports (*.json)")
        found += mine
    return found


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError:
        return False


def read_report(path: Path) -> Report:
    """Read a saved JSON report. Raises TargetError."""
    from pratique.cli.saved import saved_reports  # noqa: PLC0415 - start-up stays lazy

    try:
        found = saved_reports(str(path)) if path.stat().st_size else None
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not found or len(found) > 1:
        raise TargetError(f"{path}: no report of pratique" + (", but of several platforms" if found else ""))
    return found[0]


def _print_json(document: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
