"""`pratique waiver`: accepted risks in a file under review: add one, list those that end soon, remove those that have ended."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.options import duration, setting
from pratique.cli.rules import default_waivers, waiver_paths
from pratique.cli.target import HELP, moment
from pratique.model.errors import PolicyError, UsageError
from pratique.model.vex import JUSTIFICATIONS
from pratique.report.text import plural, safe

if TYPE_CHECKING:
    from pratique.policy.document import Waiver

_file = setting("--waivers", metavar="FILE", help="The file of waivers (default: waivers.yaml beside pratique.toml, or here).")
_now = setting("--now", metavar="TIME", help="As of this moment (RFC 3339) instead of the present.")
_debug = setting("--debug", is_flag=True, help="Show where an error came from.")
_report = click.option(
    "--report", type=click.Path(path_type=Path), metavar="FILE", help="Judge their conditions by a saved JSON report."
)
_PLACE = re.compile(r"^.*:\d+:\d+: ")
_SCOPE = ("vulnerability", "package", "image", "layer", "base", "path", "environment", "rule")


@click.group(short_help="Waivers: add, list, prune.", context_settings=HELP)
def command() -> None:
    """Accept risks with owner, reason and expiry, in a file under review like code."""


@command.command(context_settings=HELP)
@click.option("--id", metavar="ID", help="Its name (default: the next free number).")
@click.option("--vulnerability", multiple=True, metavar="ID", help="CVE, GHSA or other name; aliases are covered; repeatable.")
@click.option("--package", metavar="PURL", help="pkg:npm/lodash (any version), pkg:npm/lodash@4.17.20, or a name with *.")
@click.option("--image", metavar="IMAGE", help="Repository, name with a tag, or digest; * stands for anything.")
@click.option("--layer", metavar="DIFF_ID", help="Only what this layer brought.")
@click.option("--base", metavar="DIFF_ID", help="Only what the base image brought that ends with this layer.")
@click.option("--path", metavar="PATH", help="Only what lies there; * stands for anything.")
@click.option("--environment", metavar="NAME", help="Only where it runs there.")
@click.option("--rule", metavar="ID", help="Only for this rule of a policy.")
@click.option("--owner", required=True, metavar="NAME", help="Who answers for it.")
@click.option("--reason", required=True, metavar="TEXT", help="Why it is acceptable.")
@click.option("--expires", required=True, metavar="TIME", help="RFC 3339, or from now on, such as 30d.")
@click.option(
    "--until", multiple=True, metavar="FACT", help="Ends earlier: fix-available, kev, epss>0.5, severity-raised, new-image."
)
@click.option("--severity", metavar="SEVERITY", help="As it is now, for --until severity-raised.")
@click.option("--digest", metavar="DIGEST", help="Of the image as it is now, for --until new-image.")
@click.option("--ticket", metavar="ID", help="Where it is tracked.")
@click.option("--author", metavar="NAME", help="Who wrote it.")
@click.option("--approver", metavar="NAME", help="Who approved it.")
@click.option(
    "--justification",
    type=click.Choice(JUSTIFICATIONS),
    metavar="WORD",
    help="Why the product is not affected, a word of VEX, such as vulnerable_code_not_in_execute_path.",
)
@click.option("--impact", metavar="TEXT", help="The same in words, for VEX documents.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take severity and digest, where --until asks for them, from this saved JSON report.",
)
@_file
@_now
@_debug
def add(**given: Any) -> int:
    """Add a waiver at the end of the file; what stands there stays as it is.

    Exit codes: 0 added, 2 bad usage: the waiver would not be sound, or the file is not.
    """
    from pratique._kit.text import decode  # noqa: PLC0415
    from pratique.policy import edit  # noqa: PLC0415 - start-up stays lazy
    from pratique.policy.document import Waivers, read  # noqa: PLC0415
    from pratique.policy.waiver import check_waivers  # noqa: PLC0415
    from pratique.policyfiles import read_bounded  # noqa: PLC0415

    path = Path(given["waivers"]) if given["waivers"] else default_waivers()
    before = read_bounded(path) if path.exists() or given["waivers"] == "-" else edit.EMPTY.encode()
    document, text = read(str(path), before, Waivers)
    now = moment(given["now"])
    if given["report"] is not None:
        given |= _as_reported(given)
    fields = _fields(given, now, {waiver.id for waiver in check_waivers(text, document)})
    after = edit.add(decode(str(path), before), fields)
    try:
        document, text = read(str(path), after.encode(), Waivers)
        check_waivers(text, document)
    except PolicyError as error:  # its place is in a text that is not written
        raise UsageError(f"the waiver would not be sound: {_PLACE.sub('', error.message)}", hint=error.hint) from None
    if str(fields["expires"]) <= now:
        raise UsageError(f"--expires {fields['expires']}: that is over, so the waiver would never hold")
    _replace(path, after)
    click.echo(safe(f"{path}: added {fields['id']}, until {fields['expires']}"))
    return 0


def _as_reported(given: dict[str, Any]) -> dict[str, str]:
    """Return severity and digest as a report has them, where a condition needs them and nobody gave them. Raises UsageError."""
    from pratique.cli.policy import read_report  # noqa: PLC0415 - only where one is given
    from pratique.policy.waiver import names_of  # noqa: PLC0415 - start-up stays lazy

    report, found = read_report(given["report"]), dict[str, str]()
    if "severity-raised" in given["until"] and not given["severity"]:
        wanted = {name.upper() for name in given["vulnerability"]}
        seen = [finding.severity for finding in report.findings if wanted & names_of(finding)]
        if not seen:
            raise UsageError(
                f"--report {given['report']}: it has no finding {', '.join(given['vulnerability']) or '(none is named)'}"
            )
        found["severity"] = max(seen).value
    if "new-image" in given["until"] and not given["digest"]:
        if not report.target.digest:
            raise UsageError(f"--report {given['report']}: its target has no digest")
        found["digest"] = report.target.digest
    return found


def _fields(given: dict[str, Any], now: str, taken: set[str]) -> dict[str, str | list[str]]:
    fields: dict[str, str | list[str]] = {}
    number = len(taken) + 1
    while f"w-{number}" in taken:
        number += 1
    fields["id"] = given["id"] or f"w-{number}"
    names = list(given["vulnerability"])
    if names:
        fields["vulnerability"] = names[0] if len(names) == 1 else names
    for name in (*_SCOPE[1:], "owner", "reason", "ticket", "author", "approver", "justification", "impact", "severity", "digest"):
        if given[name]:
            fields[name] = given[name]
    fields["created"] = now
    fields["expires"] = _expiry(given["expires"], now)
    if given["until"]:
        fields["until"] = list(given["until"])
    return fields


def _expiry(text: str, now: str) -> str:
    import datetime as dt  # noqa: PLC0415 - start-up stays lazy

    if text[-1:].isalpha() and text[:-1].isdigit():
        try:
            return moment((dt.datetime.fromisoformat(now) + dt.timedelta(seconds=duration(text))).isoformat())
        except OverflowError:
            raise UsageError(f"--expires {text}: too far away") from None
    return moment(text)


@command.command("list", context_settings=HELP)
@click.option("--expiring", metavar="AGE", help="Only those that hold now and expire within this time, such as 30d.")
@setting("-f", "--format", type=click.Choice(["table", "json"], case_sensitive=False), default="table", help="table or json.")
@_report
@_file
@_now
@_debug
def list_(expiring: str | None, report: Path | None, **given: Any) -> int:
    """List waivers, those that end first at the top. Exit codes: 0 done, 2 the file is wrong or not there."""
    now = moment(given["now"])
    rows = [(waiver, why) for _, waiver, why in _states(_path(given["waivers"]), now, report)]
    if expiring is not None:
        last = _expiry(expiring, now)
        rows = [(waiver, why) for waiver, why in rows if not why and waiver.expires <= last]
    rows.sort(key=lambda row: (row[0].expires, row[0].id))
    if given["format"].lower() == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode([_row(*row) for row in rows]), indent=2) + b"\n")
        return 0
    for waiver, why in rows:
        state = f"ended: {why}" if why else f"until {waiver.expires}"
        click.echo(safe(f"{waiver.id:<12} {_scope(waiver)}  {state}  {waiver.owner}: {waiver.reason}"))
    click.echo(plural(len(rows), "waiver"))
    return 0


def _row(waiver: Waiver, why: str) -> dict[str, Any]:
    names = (name for name in waiver.__struct_fields__ if name not in ("places", "nodes", "legacy", "signed_by", "unsigned"))
    values = {name: getattr(waiver, name) for name in names}
    shown = {name: list(value) if isinstance(value, tuple) else str(value) for name, value in values.items() if value}
    return {**shown, "state": "ended" if why else "active", "ended": why}


def _scope(waiver: Waiver) -> str:
    parts = [", ".join(waiver.vulnerability), *(str(getattr(waiver, name)) for name in _SCOPE[1:])]
    return " ".join(part for part in parts if part)


@command.command(context_settings=HELP)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_report
@_file
@_now
@_debug
def prune(*, dry_run: bool, report: Path | None, **given: Any) -> int:
    """Remove waivers that have ended from the file; comments stay. Exit codes: 0 done, 2 the file is wrong or not there."""
    from pratique._kit.text import decode  # noqa: PLC0415
    from pratique.policy import edit  # noqa: PLC0415 - start-up stays lazy
    from pratique.policy.document import Waivers, read  # noqa: PLC0415
    from pratique.policyfiles import read_bounded  # noqa: PLC0415

    path = _path(given["waivers"])
    before = read_bounded(path)
    ended = [(at, waiver, why) for at, waiver, why in _states(path, moment(given["now"]), report) if why]
    after = edit.remove(decode(str(path), before), [at for at, _, _ in ended])
    read(str(path), after.encode(), Waivers)
    for _, waiver, why in ended:
        click.echo(safe(f"{waiver.id}: {why}"))
    if ended and not dry_run:
        _replace(path, after)
    click.echo(f"{plural(len(ended), 'waiver')} {'would be ' if dry_run else ''}removed")
    return 0


def _path(given: str | None) -> Path:
    paths = waiver_paths((given,) if given else ())
    if not paths:
        raise UsageError(f"{default_waivers()}: there is no such file", hint="pratique waiver add makes it")
    return paths[0]


def _states(path: Path, now: str, report: Path | None) -> list[tuple[int, Waiver, str]]:
    """Return each waiver with its position, and why it has ended. With a report: for every finding that it covers."""
    from pratique.policy.facts import Item, Subject, items  # noqa: PLC0415 - start-up stays lazy
    from pratique.policy.waiver import covers, why_ended  # noqa: PLC0415
    from pratique.policyfiles import load_waivers  # noqa: PLC0415

    subject, seen = Subject(now=now), list[Item]()
    if report is not None:
        from pratique.cli.policy import read_report  # noqa: PLC0415 - only where one is given
        from pratique.policy.cases import of_report  # noqa: PLC0415
        from pratique.policy.facts import Context  # noqa: PLC0415

        subject = of_report(read_report(report), Context(), now)
        seen = items(subject, "finding")
    found = []
    for at, waiver in enumerate(load_waivers([path])):
        told = msgspec.structs.replace(waiver, until=()) if report is None else waiver
        covered: Sequence[Item] = [item for item in seen if covers(waiver, item)] or [Item(Subject(now=now))]
        if covered[0].finding is None:
            told = msgspec.structs.replace(waiver, until=())  # nothing is known of what it covers: only the clock speaks
        whys = [why_ended(told, item) for item in covered]
        found.append((at, waiver, whys[0] if all(whys) else ""))
    return found


def _replace(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    real = path.resolve()
    beside = real.with_name(f".{real.name}.{os.getpid()}.new")
    try:
        beside.write_text(content, encoding="utf-8", newline="")
        if real.exists():
            beside.chmod(real.stat().st_mode & 0o777)
        beside.replace(real)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
