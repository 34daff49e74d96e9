"""`pratique audit`: the ledger in; whether it is whole, who was allowed what, and what collectors of events read, out."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.options import F
from pratique.cli.store import AS, DEBUG, FOLDER, FORMAT, place, print_json, time_of
from pratique.cli.target import HELP
from pratique.model.errors import UsageError
from pratique.report.text import plural, safe

if TYPE_CHECKING:
    from pratique.store.head import Head
    from pratique.store.line import Line
    from pratique.store.place import Place
    from pratique.store.reading import Filter
    from pratique.store.verify import Outcome

_FORMATS = ("ocsf", "cef", "rfc5424")
_HASH = re.compile(r"[0-9a-f]{64}")
_FILTERS = (
    click.option("--since", metavar="TIME", help="From this time on: RFC 3339, or so long ago, such as 24h."),
    click.option("--until", metavar="TIME", help="Before this time."),
    click.option("--grant", default="", metavar="ID", help="About this grant."),
    click.option("--task", default="", metavar="ID", help="About this task."),
    click.option("--ticket", default="", metavar="ID", help="About this ticket."),
    click.option("--who", default="", metavar="NAME", help="Asked, held, approved or done by NAME or PROVIDER:NAME."),
    click.option("--event", multiple=True, metavar="NAME", help="Only such events, such as approve or use; repeatable."),
    click.option("--decision", type=click.Choice(["allow", "allow_with_grant", "deny", "observed"]), help="Only so decided."),
    click.option("--image", default="", metavar="NAME", help="About this image: repository, reference, or a digest's beginning."),
)


def _filters(function: F) -> F:
    for add in reversed(_FILTERS):
        function = add(function)
    return function


def _filter(given: dict[str, Any]) -> Filter:
    from pratique.store.reading import Filter  # noqa: PLC0415 - start-up stays lazy

    return Filter(
        since=time_of(given["since"]),
        until=time_of(given["until"]),
        grant=given["grant"],
        task=given["task"],
        ticket=given["ticket"],
        who=given["who"],
        events=given["event"],
        decision=given["decision"] or "",
        image=given["image"],
    )


@click.group(short_help="The ledger: verify, show, tail, export, head, publish, rotate-key.", context_settings=HELP)
def command() -> None:
    """Look at the ledger of who was allowed what, and see that nobody changed it."""


@command.command(context_settings=HELP)
@click.option("--key", default="", metavar="KEY", help="The key that the ledger began with: ed25519:..., or a file in PEM.")
@click.option("--head", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Heads that were published.")
@click.option("--expect", multiple=True, metavar="COUNT:HASH", help="An end that was noted, of what `head` printed; repeatable.")
@FORMAT
@FOLDER
@DEBUG
def verify(**given: Any) -> int:
    """Find every edit, drop, repeat, move, cut, splice and exchanged key in the ledger.

    Exit codes: 0 it is whole, 1 it is not, 2 bad usage, 3 could not tell: there is no ledger, or it cannot be read.
    """
    from pratique.store.facts import ledger_name  # noqa: PLC0415 - start-up stays lazy
    from pratique.store.verify import Expected  # noqa: PLC0415 - start-up stays lazy
    from pratique.store.verify import verify as check  # noqa: PLC0415

    at = place(given, create=False)
    heads, unread = _heads(given["head"], at)
    expected = Expected(_key(given["key"]), tuple(heads), ledger_name(at), tuple(map(_noted, given["expect"])))
    outcome = check(at, expected)
    outcome.notes.extend(unread)
    if given["format"].lower() == "json":
        print_json(_document(outcome))
    else:
        for problem in outcome.problems:
            where = f"{problem.segment}:{problem.line}" if problem.line else problem.segment
            click.echo(safe(f"{where}: {problem.text} (number {problem.seq} of the ledger)"))
        for note in outcome.notes:
            click.echo(safe(f"note: {note}"))
        said = f"{plural(len(outcome.problems), 'problem')} found" if outcome.problems else "whole"
        click.echo(f"{said}: {plural(outcome.lines, 'line')} in {plural(outcome.segments, 'segment')}")
    return 1 if outcome.problems else 3 if outcome.unsure else 0


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "verified": not outcome.problems and not outcome.unsure,
        "lines": outcome.lines,
        "segments": outcome.segments,
        "head": msgspec.to_builtins(outcome.head) if outcome.head else None,
        "problems": [problem._asdict() for problem in outcome.problems],
        "notes": outcome.notes,
    }


def _key(text: str) -> str:
    if not text or text.startswith("ed25519:"):
        return text
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(Path(text).read_bytes())
    except (OSError, ValueError):
        raise UsageError(f"--key {text}: neither ed25519:... nor a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"--key {text}: not an Ed25519 key")
    return "ed25519:" + key.public_bytes_raw().hex()


def _noted(text: str) -> tuple[int, str]:
    count, _, hashed = text.partition(":")
    if not (count.isascii() and count.isdigit() and len(count) < 19) or not _HASH.fullmatch(hashed.lower()):
        raise UsageError(f"--expect {text}: a number of lines and the hash of the last, as `pratique audit head` prints them")
    return int(count), hashed.lower()


def _heads(path: Path | None, at: Place) -> tuple[list[Head], list[str]]:
    """Return the heads of a file, or of that in which the store's are published; and what to say where that cannot be read."""
    from pratique.granting.publishing import default_file, heads_in  # noqa: PLC0415 - start-up stays lazy
    from pratique.model.errors import StoreError  # noqa: PLC0415
    from pratique.store.facts import HEADS, read_fact  # noqa: PLC0415

    try:
        if path is not None:
            return list(heads_in(str(path))), []
        known = default_file(read_fact(at, HEADS))
        return (list(heads_in(known)) if known else []), []
    except StoreError as error:
        if path is not None:
            raise UsageError(f"--head {error.message}") from None
        return [], [error.message]


@command.command(context_settings=HELP)
@_filters
@FORMAT
@FOLDER
@DEBUG
def show(**given: Any) -> int:
    """Show who was allowed what, when, by whom, for which task. Exit codes: 0 shown, 2 bad usage, 3 there is no ledger."""
    from pratique.store.reading import lines  # noqa: PLC0415 - start-up stays lazy

    _print(lines(place(given, create=False), _filter(given)), given)
    return 0


@command.command(context_settings=HELP)
@click.option("-n", "--number", type=click.IntRange(0), default=10, help="How many of the last (default 10).")
@click.option("-F", "--follow", is_flag=True, help="Go on as more comes.")
@_filters
@FORMAT
@FOLDER
@DEBUG
def tail(number: int, *, follow: bool, **given: Any) -> int:
    """Show the last lines of the ledger. Exit codes: 0 shown, 2 bad usage, 3 there is no ledger."""
    from collections import deque  # noqa: PLC0415 - start-up stays lazy

    from pratique.store.reading import lines  # noqa: PLC0415

    at, wanted = place(given, create=False), _filter(given)
    last = deque(lines(at, wanted), maxlen=number)
    _print(iter(last), given)
    if follow:
        after = last[-1].seq if last else -1
        _print((line for line in lines(at, wanted, follow=True) if line.seq > after), given)
    return 0


def _print(found: Iterator[Line], given: dict[str, Any]) -> None:
    from pratique.store.formats import sentence  # noqa: PLC0415 - start-up stays lazy

    as_json = given["format"].lower() == "json"
    for line in found:
        if as_json:
            sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
            sys.stdout.buffer.flush()
        else:
            click.echo(safe(f"{line.time[:19]}Z {line.seq:>6} {line.event:<11} {line.grant:<14} {sentence(line)}"))


@command.command(context_settings=HELP)
@click.option("-f", "--format", "kind", type=click.Choice(_FORMATS), required=True, help="ocsf, cef or rfc5424.")
@_filters
@FOLDER
@DEBUG
def export(kind: str, **given: Any) -> int:
    """Write events for collectors, one a line. Exit codes: 0 done, 2 bad usage, 3 there is no ledger, or it is damaged."""
    from pratique.store.reading import lines  # noqa: PLC0415 - start-up stays lazy

    write = importlib.import_module(f"pratique.store.formats.{kind}").write
    out = sys.stdout.buffer
    for line in lines(place(given, create=False), _filter(given)):
        out.write(write(line).encode("utf-8", "backslashreplace") + b"\n")
    return 0


@command.command(context_settings=HELP)
@click.option("--publish-head", metavar="FILE|syslog", help="Append it to FILE, or send it to the system's log, as well.")
@FOLDER
@DEBUG
def head(publish_head: str | None, **given: Any) -> int:
    """Print where the ledger ends, signed. Kept elsewhere, it shows later that nothing before it was changed (`verify --head`).

    Exit codes: 0 printed, 3 the ledger could not be written, or it was not published.
    """
    from pratique.store.ledger import Ledger  # noqa: PLC0415 - start-up stays lazy
    from pratique.store.line import canonical  # noqa: PLC0415

    ledger = Ledger(place(given, create=False))
    try:
        end = ledger.head()
        line = canonical(end).decode()
    finally:
        ledger.close()
    if publish_head:
        from pratique.granting.publishing import send  # noqa: PLC0415 - only where it is asked for

        send(end, publish_head)
    click.echo(line)
    return 0


@command.command(context_settings=HELP)
@click.argument("to", metavar="[FILE|syslog]", required=False)
@click.option("--every", metavar="TIME", default="10m", help="How often, while the ledger goes on (default 10m).")
@click.option("--stop", is_flag=True, help="Publish no more.")
@AS
@FOLDER
@DEBUG
def publish(to: str | None, every: str, name: str | None, *, stop: bool, **given: Any) -> int:
    """Have gates publish where the ledger ends, signed, in FILE or the system's log; or show where they do.

    FILE is named by its whole path, best on another machine's disk: `verify` holds the ledger against it, and whoever puts back
    the whole store, or rewrites it, is found. One is published at once; gates that run do so from then on.

    Exit codes: 0 done, 2 bad usage, 3 it could not be published: then nothing is changed.
    """
    from pratique.cli.options import duration  # noqa: PLC0415 - start-up stays lazy
    from pratique.cli.store import subject_of  # noqa: PLC0415
    from pratique.granting import publishing  # noqa: PLC0415
    from pratique.granting.desk import Desk  # noqa: PLC0415

    if stop and to is not None:
        raise UsageError("either FILE, or --stop")
    with Desk(place(given, create=False)) as desk:
        if to is not None:
            publishing.set_up(desk, publishing.Publishing(to=to, every=float(duration(every))), subject_of(name))
        elif stop:
            publishing.set_up(desk, None, subject_of(name))
        wanted, last = publishing.standing(desk)
    if wanted is None:
        click.echo("the ends of the ledger are published nowhere")
        return 0
    said = f"the ends of the ledger are published in {wanted.to}, every {wanted.every:g} s"
    click.echo(safe(f"{said}; the last attempt failed: {last.error}" if last is not None and last.error else said))
    return 0


@command.command("rotate-key", context_settings=HELP)
@FOLDER
@DEBUG
def rotate_key(**given: Any) -> int:
    """Close the segment, and sign with a new key from now on, which the old one endorses before it is deleted.

    Exit codes: 0 done, 3 the ledger could not be written.
    """
    from pratique.store.ledger import Ledger  # noqa: PLC0415 - start-up stays lazy

    ledger = Ledger(place(given, create=False))
    try:
        old, new = ledger.rotate_key()
    finally:
        ledger.close()
    click.echo(f"from {old}\nto   {new}")
    return 0
