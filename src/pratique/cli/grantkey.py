"""`pratique grant key`: the keys by which approvers are known with strength 2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.store import AS, DEBUG, FORMAT, STORE, desk, print_json, subject_of, when
from pratique.cli.target import HELP
from pratique.model.errors import UsageError
from pratique.report.text import pad, plural, safe

if TYPE_CHECKING:
    from pratique.granting.approvers import Approvers

_PROVIDERS = ("unix", "tls", "oidc", "k8s")


@click.group(short_help="Keys of approvers: add, list, remove.", context_settings=HELP)
def key() -> None:
    """Know approvers by a key of theirs, so that their approvals count with strength 2.

    A user name on a machine is strength 1. An approver signs with `grant approve --key FILE`; the private key stays with them.
    """


def _of(text: str) -> str:
    provider, colon, name = text.partition(":")
    if not colon:
        return f"unix:{text}"
    if provider not in _PROVIDERS or not name:
        raise UsageError(f"{text!r} is nobody", hint=f"NAME, or PROVIDER:NAME with one of {', '.join(_PROVIDERS)}")
    return text


def _approvers(at: Any) -> Approvers:
    from pratique.granting.approvers import Approvers  # noqa: PLC0415 - start-up stays lazy
    from pratique.granting.desk import Desk  # noqa: PLC0415

    if not isinstance(at, Desk):
        raise UsageError("keys are for the owner of the store", hint="as root, with --store DIR")
    return Approvers(at)


@key.command(context_settings=HELP)
@click.argument("who", metavar="USER")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="PUBLIC-KEY")
@AS
@STORE
@DEBUG
def add(who: str, file: Path, name: str | None, **given: Any) -> int:
    """Know USER (a user of this machine, or PROVIDER:NAME) by an Ed25519 key, in place of any before.

    PUBLIC-KEY is a file, PEM or a line of OpenSSH; - is standard input.

    Exit codes: 0 done, 2 no such key, 3 the store could not be written.
    """
    from pratique.granting.approvers import read_public  # noqa: PLC0415 - start-up stays lazy

    public = read_public(file)
    with desk(given, create=True) as at:
        made = _approvers(at).add(_of(who), public, subject_of(name))
    click.echo(safe(f"{made.of} is known by {made.key}"))
    return 0


@key.command("list", context_settings=HELP)
@FORMAT
@STORE
@DEBUG
def list_(**given: Any) -> int:
    """List the keys. Exit codes: 0 done, 3 there is no store."""
    with desk(given) as at:
        found = _approvers(at).all()
    if given["format"].lower() == "json":
        print_json([{"of": one.of, "key": one.key, "by": one.by, "at": when(one.at)} for one in found])
        return 0
    for one in found:
        click.echo(f"{pad(safe(one.of), 24)} {one.key}  {when(one.at)} by {safe(one.by)}")
    click.echo(plural(len(found), "key"))
    return 0


@key.command(context_settings=HELP)
@click.argument("who", metavar="USER")
@AS
@STORE
@DEBUG
def remove(who: str, name: str | None, **given: Any) -> int:
    """Know USER by no key any more. Exit codes: 0 done, 2 there was none, 3 the store could not be written."""
    with desk(given) as at:
        _approvers(at).remove(_of(who), subject_of(name))
    click.echo(safe(f"{_of(who)} is known by no key"))
    return 0
