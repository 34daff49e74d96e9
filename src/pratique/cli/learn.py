"""`pratique learn`: what a gate observed in; the policy that would have allowed the harmless part of it out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.store import DEBUG, FOLDER, place, print_json, time_of
from pratique.cli.target import HELP
from pratique.model.errors import CouldNotError, ParseError, UsageError
from pratique.report.text import plural

if TYPE_CHECKING:
    from pratique.grant.learn import Observation
    from pratique.grant.policy import Part
    from pratique.store.line import Line

_LONGEST = 64 << 10  # bytes of a line, as the ledger has them


@click.command(short_help="Propose a privilege policy from what a gate observed.", context_settings=HELP)
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, allow_dash=True), metavar="[FILE...]")
@click.option("--since", metavar="TIME", help="From this time on: RFC 3339, or so long ago, such as 14d.")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--often", type=click.IntRange(1), default=10, show_default=True, help="So often is usual, and may be baseline.")
@click.option("--name", default="proposed", show_default=True, help="What to call the policy.")
@click.option("--denied", is_flag=True, help="Learn from what was denied, too, and not only from what was observed.")
@setting("--policy", metavar="FILE", help="Begin with this policy, all of which is kept (default: the store's).")
@click.option("-f", "--format", "kind", type=click.Choice(["yaml", "json"]), default="yaml", help="yaml (the policy), or json.")
@FOLDER
@DEBUG
def command(files: tuple[str, ...], **given: Any) -> int:
    """Propose a privilege policy that would have allowed what a gate let through while it only observed.

    FILE is what `pratique audit show --event decision --format json` printed, of this or another machine; without one, the
    ledger of the store is read. The policy goes to standard output, with how often each privilege was needed, and by whom.

    Exit codes: 0 proposed, 2 bad usage, 3 nothing was observed, or it cannot be read.
    """
    from pratique.grant.learn import learn  # noqa: PLC0415 - start-up stays lazy

    lines = _from_files(files, given) if files else _from_ledger(given)
    observed = [_observation(line) for line in lines if _counts(line, denied=given["denied"])]
    if not observed:
        raise CouldNotError("nothing was observed", hint="pratique gate docker --observe records what would be denied")
    proposal = learn(observed, _holds(given), given["name"], given["often"])
    if given["kind"] == "json":
        print_json({**proposal._asdict(), "observed": len(observed)})
    else:
        sys.stdout.write(proposal.text)
    click.echo(
        f"{plural(len(observed), 'observation')}: {proposal.by_baseline} by the baseline, {proposal.by_request} by request, "
        f"{proposal.not_allowed} denied still",
        err=True,
    )
    return 0


def _counts(line: Line, *, denied: bool) -> bool:
    return line.event == "decision" and line.decision == "deny" and (denied or line.detail.get("observed") == "true")


def _observation(line: Line) -> Observation:
    from pratique.grant.learn import Observation  # noqa: PLC0415 - start-up stays lazy

    who = f"{line.subject.provider}:{line.subject.id}" if line.subject is not None else ""
    container = line.detail.get("container", "") if line.detail.get("action") == "run" else ""
    return Observation(who, line.needed, line.rule, container)


def _from_ledger(given: dict[str, Any]) -> Iterator[Line]:
    from pratique.store.reading import Filter, lines  # noqa: PLC0415 - start-up stays lazy

    wanted = Filter(since=time_of(given["since"]), until=time_of(given["until"]), events=("decision",))
    return lines(place(given, create=False), wanted)


def _from_files(files: tuple[str, ...], given: dict[str, Any]) -> Iterator[Line]:
    from pratique.store.line import decode  # noqa: PLC0415 - start-up stays lazy
    from pratique.store.reading import Filter  # noqa: PLC0415

    wanted = Filter(since=time_of(given["since"]), until=time_of(given["until"]))
    for name in files:
        try:
            with open(0, "rb", closefd=False) if name == "-" else Path(name).open("rb") as file:
                for number, raw in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
                    if not raw.strip():
                        continue
                    try:
                        line = decode(raw)
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                        raise ParseError(f"{name}:{number}: not a line of `pratique audit show --format json`") from None
                    if wanted.takes(line):
                        yield line
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}") from None


def _holds(given: dict[str, Any]) -> Part | None:
    """Return the policy to begin with: of a file, or the one that was set in the store."""
    from pratique.cli.store import desk  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.policy import load  # noqa: PLC0415
    from pratique.model.errors import StoreError  # noqa: PLC0415
    from pratique.policyfiles import read_given  # noqa: PLC0415

    if given["policy"]:
        return load(given["policy"], read_given(given["policy"])).parts[0]
    try:
        with desk(given) as at:
            standing = at.standing()
    except StoreError:
        return None
    return standing.policy.parts[0] if standing.state in ("set", "last-good") else None
