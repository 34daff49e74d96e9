"""`pratique grant`: what somebody needs for a task in, a grant out: asked for, approved by another, limited, taken back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.grantkey import key
from pratique.cli.options import duration
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
    is_unreviewed,
    lasts,
    name_of,
    print_grant,
    print_json,
    signed_by,
    subject_of,
    when,
)
from pratique.cli.target import HELP
from pratique.model.errors import StoreError
from pratique.model.privilege import LIVE_STATES, PEER, Grant
from pratique.report.text import pad, plural, safe

if TYPE_CHECKING:
    from pratique.granting.approvers import Act
    from pratique.granting.desk import Desk
    from pratique.granting.remote import RemoteDesk

_STATES = (
    "requested", "denied", "cancelled", "lapsed", "approved", "active", "exhausted", "expired", "revoked", "completed",
)  # fmt: skip
_REASON = click.option("--reason", default="", metavar="TEXT", help="Why.")


@click.group(short_help="Privileges per task: request, approve, revoke, list.", context_settings=HELP)
def command() -> None:
    """Ask for a privilege for a task, approve it, use it, give it back: limited in scope, time and uses."""


@command.command(context_settings=HELP)
@asking
@click.option("--entitlement", default="", metavar="ID", help="By this entitlement of the policy, where several would do.")
@AS
@FORMAT
@STORE
@DEBUG
def request(**given: Any) -> int:
    """Ask for privileges for a task.

    Exit codes: 0 asked (or given at once, where nobody needs to agree), 1 the policy does not let you ask for this, 2 bad usage,
    3 the store could not be written.
    """
    import msgspec  # noqa: PLC0415 - start-up stays lazy

    wanted = msgspec.structs.replace(asked(given, subject_of(given["name"])), entitlement=given["entitlement"])
    with desk(given, create=True) as at:
        grant = at.request(wanted)
        if _as_json(grant, given):
            return 0
        click.echo(safe(f"{grant.id} {grant.state}: {', '.join(grant.asked.privileges)} for task {grant.asked.task.id}"))
        if grant.state == "requested":
            for line in _what_next(at, grant):
                click.echo("  " + safe(line))
        elif grant.expires_at:
            click.echo(f"  until {when(grant.expires_at)}")
        else:
            click.echo(f"  for {lasts(grant.asked.lifetime)} from the first use on")
    return 0


def _what_next(at: Desk | RemoteDesk, grant: Grant) -> list[str]:
    """Say who must approve what, and until when."""
    from pratique.grant.policy import PENDING  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.request import target_of  # noqa: PLC0415

    wanted = grant.asked
    found = at.standing().policy.entitlement(wanted.entitlement, wanted.subject, target_of(wanted))
    lines = [f"lasts {lasts(wanted.lifetime)} from {'the first use' if wanted.from_first_use else 'approval'}"]
    if found is not None:
        terms = found.written.approvals
        whom = " or ".join(terms.whom) or "somebody"
        but = "" if not terms.four_eyes else f", not {wanted.subject.id}"
        count = "" if terms.count == 1 else f" ({terms.count} of them)"
        # A user name alone is strength 1: who must have more shows a key that an administrator registered.
        shown = " --key FILE" if terms.strength > PEER and not found.claimed else ""
        lines.append(f"to be approved by {whom}{count}{but}: pratique grant approve {grant.id}{shown}")
    lines.append(f"lapses {when(grant.requested_at + PENDING)} if nobody does")
    return lines


def _as_json(grant: Grant, given: dict[str, Any]) -> bool:
    if given["format"].lower() == "json":
        print_json(as_document(grant))
        return True
    return False


@command.command(short_help="Approve what somebody else asks for.", context_settings=HELP)
@click.argument("name", metavar="ID")
@click.option("--request", "seen", default="", metavar="HASH", help="The request as you saw it; another one is not approved.")
@_REASON
@click.option("--as", "who", metavar="NAME", help="A claimed identity: recorded as claimed, honoured by no gate.")
@KEY
@FORMAT
@STORE
@DEBUG
def approve(name: str, seen: str, reason: str, who: str | None, **given: Any) -> int:
    """Approve what somebody else asks for; with the last approval that is needed its clock starts.

    Exit codes: 0 approved, 1 you may not, or it is too late, 2 bad usage, 3 the store could not be written.
    """
    with desk(given) as at:
        by = signed_by(at, given, "approve", name, subject_of(who))
        grant = at.approve(name, by, reason, request_seen=seen)
    if not _as_json(grant, given):
        text = f"{grant.id} {grant.state}: {', '.join(grant.asked.privileges)} for {name_of(grant.asked.subject)}"
        click.echo(safe(text) + (f" until {when(grant.expires_at)}" if grant.expires_at else ""))
        if grant.state == "requested":
            click.echo(f"  {plural(len(grant.approvals), 'approval')} so far; more are needed")
    return 0


def _ends(name: Act, words: str) -> click.Command:
    """Make a command that ends a grant."""

    @click.argument("name", metavar="ID")
    @_REASON
    @click.option("--as", "who", metavar="NAME", help="A claimed identity: recorded as claimed, honoured by no gate.")
    @KEY
    @FORMAT
    @STORE
    @DEBUG
    def run(**given: Any) -> int:
        from pratique.grant import lifecycle  # noqa: PLC0415 - start-up stays lazy

        reason = given["reason"]
        with desk(given) as at:
            by = signed_by(at, given, name, given["name"], subject_of(given["who"]))
            events: dict[str, lifecycle.Event] = {
                "deny": lifecycle.Deny(by, reason),
                "revoke": lifecycle.Revoke(by, reason),
                "cancel": lifecycle.Cancel(by),
                "complete": lifecycle.Complete(by),
            }
            grant = at.act(given["name"], events[name])
        if not _as_json(grant, given):
            click.echo(safe(f"{grant.id} {grant.state}"))
        return 0

    codes = "\n\nExit codes: 0 done, 1 you may not, or it has ended already, 2 bad usage, 3 the store could not be written."
    return click.command(name, help=words + codes, short_help=words.partition(".")[0] + ".", context_settings=HELP)(run)


command.add_command(_ends("deny", "Refuse what somebody asks for."))
command.add_command(_ends("revoke", "End a grant now. Gates know within milliseconds."))
command.add_command(_ends("cancel", "Take back your own request."))
command.add_command(_ends("complete", "Give a grant back when the task is done."))


@command.command(short_help="Show all about a grant.", context_settings=HELP)
@click.argument("name", metavar="ID")
@FORMAT
@STORE
@DEBUG
def show(name: str, **given: Any) -> int:
    """Show a grant: what, for whom, for which task, by whose approval, until when. Exit codes: 0 shown, 3 there is none."""
    with desk(given) as at:
        _sweep(at)
        grant = at.as_of_now(at.store.get(name).grant)
        if not _as_json(grant, given):
            print_grant(grant)
            if grant.state == "requested":
                for line in _what_next(at, grant):
                    click.echo("  " + safe(line))
    return 0


def _sweep(at: Desk | RemoteDesk) -> None:
    """End what time has ended; where the store cannot be written just now, it can be looked at all the same."""
    try:
        at.sweep()
    except StoreError as error:
        click.echo(safe(f"pratique: {error.message}: shown as it is, nothing was written"), err=True)


@command.command("list", context_settings=HELP)
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Only in this state; repeatable.")
@click.option("--mine", is_flag=True, help="Only yours.")
@click.option("--unreviewed", is_flag=True, help="Only broken glasses that nobody has reviewed.")
@click.option("--expiring", metavar="DURATION", help="Only those that end within this time, such as 1h.")
@AS
@FORMAT
@STORE
@DEBUG
def list_(state: tuple[Any, ...], expiring: str | None, *, mine: bool, unreviewed: bool, name: str | None, **given: Any) -> int:
    """List grants, the youngest first. Exit codes: 0 done, 3 there is no store."""
    from pratique.store.interface import Wanted  # noqa: PLC0415 - start-up stays lazy

    me = subject_of(name) if mine or name is not None else None
    with desk(given) as at:
        _sweep(at)
        wanted = Wanted(
            states=state or (LIVE_STATES if expiring else ()),
            provider=me.provider if me else None,
            subject=me.id if me else None,
            expiring=at.now().wall + duration(expiring) if expiring else None,
        )
        found = [at.as_of_now(kept.grant) for kept in at.store.find(wanted)]
    found = [grant for grant in found if not unreviewed or is_unreviewed(grant)]
    if given["format"].lower() == "json":
        print_json([as_document(grant) for grant in found])
        return 0
    for grant in found:
        wanted_ = grant.asked
        until = f"until {when(grant.expires_at)}" if grant.state == "active" else when(grant.ended_at)
        cells = (pad(grant.id, 15), pad(grant.state, 9), pad(safe(name_of(wanted_.subject)), 20))
        text = f"{', '.join(wanted_.privileges)}  {wanted_.task.id}  {until}"
        click.echo(" ".join(cells) + " " + safe(text.rstrip()))
    click.echo(plural(len(found), "grant"))
    return 0


@command.group(short_help="The privilege policy of the store: check, set, show.", context_settings=HELP)
def policy() -> None:
    """Say by which policy the store's grants are asked for and decided."""


@policy.command("set", short_help="Have a policy hold from now on.", context_settings=HELP)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@AS
@STORE
@DEBUG
def set_(file: Path, name: str | None, **given: Any) -> int:
    """Have the policy in FILE (- is standard input) hold from now on; the earlier ones are kept, none can be put back unnoticed.

    Exit codes: 0 it holds, 2 the policy is wrong (FILE:LINE:COLUMN), 3 the store could not be written.
    """
    from pratique.policyfiles import read_given  # noqa: PLC0415 - start-up stays lazy

    with desk(given, create=True) as at:
        kept = at.set_policy(str(file), read_given(file), subject_of(name))
    click.echo(safe(f"{file}: policy {kept.version} of the store, {kept.digest}"))
    return 0


@policy.command("check", short_help="Check policies, and say what in them may not be meant.", context_settings=HELP)
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE...")
@click.option("--strict", is_flag=True, help="Refuse (exit 1) what is doubtful.")
@FORMAT
@DEBUG
def check(files: tuple[Path, ...], *, strict: bool, **given: Any) -> int:
    """Check privilege policies (- is standard input) without setting them, and say what in them gives more than may be meant.

    Exit codes: 0 they can be set, 1 something is doubtful (with --strict), 2 a policy is wrong (FILE:LINE:COLUMN).
    """
    from pratique.grant.advice import advice  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.policy import combine, load  # noqa: PLC0415
    from pratique.policyfiles import read_given  # noqa: PLC0415

    policies = [load(str(file), read_given(file)) for file in files]
    digest = combine(policies).digest  # two files may not have an entitlement of one name
    found = [(str(file), one) for file, policy in zip(files, policies, strict=True) for one in advice(policy)]
    if given["format"].lower() == "json":
        said = [{"file": file, "line": one.place.line, "column": one.place.column, "message": one.text} for file, one in found]
        print_json({"valid": True, "digest": digest, "advice": said})
    else:
        for file, one in found:
            click.echo(safe(f"{file}:{one.place.line}:{one.place.column}: {one.text}"))
        click.echo(safe(f"{plural(len(files), 'policy', 'policies')} can be set, {digest}; {plural(len(found), 'doubt')}"))
    return 1 if strict and found else 0


@policy.command("show", context_settings=HELP)
@STORE
@DEBUG
def show_(**given: Any) -> int:
    """Print the policy that holds. Exit codes: 0 printed, 1 the one that should hold cannot be used, 3 there is no store."""
    with desk(given) as at:
        standing = at.standing()
        kept = at.facts.former_policy() if standing.state != "built-in" else None
    words = {
        "set": "as it was set",
        "built-in": "built-in limits: no policy was set",
        "last-good": f"the last good one, for a day: {standing.why}",
        "baseline-only": f"the baseline alone: {standing.why}",
    }
    number = f"policy {kept.version}, set {when(kept.set_at)} by {kept.set_by}, {kept.digest}; " if kept else ""
    click.echo(safe(f"# {number}{words[standing.state]}"))
    if kept is not None:
        sys.stdout.write("".join(safe(line) + "\n" for line in kept.body.decode("utf-8", "replace").splitlines()))
    return 1 if standing.why else 0


command.add_command(key)
