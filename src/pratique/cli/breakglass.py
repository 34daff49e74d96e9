"""`pratique break-glass`: a privilege in an emergency, without approval: the alert goes out first, a review comes after."""

from __future__ import annotations

import sys
from typing import Any

import click

from pratique.cli.store import (
    AS,
    DEBUG,
    FORMAT,
    KEY,
    STORE,
    as_document,
    asked,
    asking,
    desk,
    name_of,
    print_json,
    signed_asker,
    signed_by,
    subject_of,
    when,
)
from pratique.cli.target import HELP
from pratique.model.errors import UsageError
from pratique.report.text import plural, safe

_MAX_CODE = 200  # characters read where a code is expected; one has 31


class _Short(click.Group):
    """A group of which `use` may be left out: nobody looks words up in an emergency."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["use", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Short, short_help="Privileges in an emergency: use, seal, review, alert.", context_settings=HELP)
def command() -> None:
    """Help yourself in an emergency: everybody is told first, it is short, and somebody else looks at it afterwards.

    Options without a command are those of `use`.
    """


@command.command(context_settings=HELP)
@asking
@click.option("--sealed-code", is_flag=True, help="Open with a sealed code, asked for (or read from standard input).")
@AS
@KEY
@FORMAT
@STORE
@DEBUG
def use(**given: Any) -> int:
    """Take privileges at once. It needs a second factor, or a code from an envelope, and an alert that went out.

    Exit codes: 0 you have them, 1 you may not, 2 bad usage, 3 the alert did not go out, or the store could not be written.
    """
    wanted = asked(given, subject_of(given["name"]))
    code = _code() if given["sealed_code"] else ""
    with desk(given, create=True) as at:
        grant = at.break_glass(signed_asker(at, given, wanted), code)
    if given["format"].lower() == "json":
        print_json(as_document(grant))
        return 0
    click.echo(safe(f"{grant.id} {grant.state}: {', '.join(grant.asked.privileges)} until {when(grant.expires_at)}"))
    click.echo("  the alert has gone out; somebody else reviews what you do: pratique break-glass review " + grant.id)
    return 0


def _code() -> str:
    """Read a code where no other process can see it."""
    if sys.stdin.isatty():
        return str(click.prompt("Code", hide_input=True, err=True))
    code = sys.stdin.readline(_MAX_CODE).strip()
    if not code:
        raise UsageError("no code on standard input")
    return code


@command.command(context_settings=HELP)
@click.option("-n", "--number", type=click.IntRange(1, 50), default=5, help="How many (default 5).")
@AS
@STORE
@DEBUG
def seal(number: int, name: str | None, **given: Any) -> int:
    """Print new codes for envelopes. Each opens once; they are shown now and never again. Exit codes: 0 done, 3 could not."""
    with desk(given, create=True) as at:
        codes = at.seal_codes(number, subject_of(name))
    for code in codes:
        click.echo(code)
    click.echo(f"{plural(len(codes), 'code')}: put each in an envelope, and clear this screen", err=True)
    return 0


@command.command(short_help="Say that you looked at what was done behind it.", context_settings=HELP)
@click.argument("grant_id", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="What you found.")
@AS
@KEY
@FORMAT
@STORE
@DEBUG
def review(grant_id: str, reason: str, name: str | None, **given: Any) -> int:
    """Say that you looked at what somebody else did behind the broken glass. Without it they get nothing more after a day.

    Exit codes: 0 recorded, 1 you may not, 2 bad usage, 3 the store could not be written.
    """
    from pratique.grant.lifecycle import Review  # noqa: PLC0415 - start-up stays lazy

    with desk(given) as at:
        by = signed_by(at, given, "review", grant_id, subject_of(name))
        grant = at.act(grant_id, Review(by, reason))
    if given["format"].lower() == "json":
        print_json(as_document(grant))
    else:
        click.echo(safe(f"{grant.id} reviewed by {name_of(by)}"))
    return 0


@command.command(short_help="Say where alerts go; one is sent there first.", context_settings=HELP)
@click.option(
    "--command", "program", metavar="COMMAND", help="Run this, whole path and arguments; the alert is its standard input."
)
@click.option("--webhook", metavar="URL", help="Post the alert here as JSON.")
@click.option("--syslog", metavar="SOCKET", is_flag=False, flag_value="/dev/log", help="Write it here (default /dev/log).")
@AS
@STORE
@DEBUG
def alert(program: str | None, webhook: str | None, syslog: str | None, name: str | None, **given: Any) -> int:
    """Say where alerts go, after one has arrived there; or show where they go.

    Exit codes: 0 done, 2 bad usage, 3 the alert did not arrive: then nothing is changed.
    """
    import shlex  # noqa: PLC0415 - start-up stays lazy

    from pratique.granting.alert import Alarm  # noqa: PLC0415

    if sum(one is not None for one in (program, webhook, syslog)) > 1:
        raise UsageError("alerts go to one place", hint="one of --command, --webhook and --syslog")
    with desk(given, create=True) as at:
        if program is not None:
            at.send_alerts_to(Alarm("command", tuple(shlex.split(program))), subject_of(name))
        elif webhook is not None:
            at.send_alerts_to(Alarm("webhook", (webhook,)), subject_of(name))
        elif syslog is not None:
            at.send_alerts_to(Alarm("syslog", (syslog,)), subject_of(name))
        alarm = at.alerts()
    click.echo(safe(f"alerts go to {alarm.kind} {' '.join(alarm.to)}".rstrip()))
    return 0
