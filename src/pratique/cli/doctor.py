"""`pratique doctor`: whether this machine's gate stands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.store import DEBUG, FOLDER, FORMAT, place, print_json
from pratique.cli.target import HELP
from pratique.model.errors import CouldNotError, PratiqueError
from pratique.report.text import pad, plural, safe

if TYPE_CHECKING:
    from pratique.enforce.doctor.finding import Checked

_PATH = click.Path(path_type=Path)
_COLOURS = {"green": "green", "amber": "yellow", "red": "red"}


@click.command(short_help="Whether this machine's gate stands.", context_settings=HELP)
@click.option(
    "--engine", type=_PATH, metavar="SOCKET", help="The engine's own socket (default: where install puts it, or the usual)."
)
@click.option("--front", type=_PATH, metavar="SOCKET", help="The socket that people use (default: as installed).")
@click.option(
    "--plugin", type=_PATH, default="/run/docker/plugins/pratique.sock", show_default=True, metavar="SOCKET", help="The plugin's."
)
@click.option("--agent", type=_PATH, default="/run/pratique/agent.sock", show_default=True, metavar="SOCKET", help="The agent's.")
@FOLDER
@FORMAT
@DEBUG
def command(**given: Any) -> int:
    """Look at the engine, the gate's placement, ways round it, the runtimes, clock, policy and ledger.

    Holes are tried live: the engine is sent a request that no gate allows, and one that engines with a known hole hide from the
    gate; both are refused, and stand in the ledger as such. Red is what lets somebody round the gate: do not rely on it then.

    Exit codes: 0 nothing is red, 1 something is, 2 bad usage, 3 it could not be looked at: no engine, no store, not root.
    """
    found = list(_looks(given))
    worst = _worst(found)
    if given["format"].lower() == "json":
        import msgspec  # noqa: PLC0415 - start-up stays lazy

        print_json({"enforced": worst != "red", "colour": worst, "checks": msgspec.to_builtins(found)})
    else:
        _print(found, worst)
    return 1 if worst == "red" else 0


def _looks(given: dict[str, Any]) -> Iterator[Checked]:
    import os  # noqa: PLC0415 - start-up stays lazy

    from pratique.enforce.docker.install import ENGINE, FRONT, Machine, installed  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.doctor import engine, images, records, runtimes, ways  # noqa: PLC0415 - as above

    if os.geteuid() != 0:
        raise CouldNotError("only root can see all of a machine's sockets and processes", hint="sudo pratique doctor")
    moved = Path(ENGINE).exists()
    own = given["engine"] or Path(ENGINE if moved else "/run/docker.sock")
    front = given["front"] or Path(FRONT if moved else "/run/pratique/docker.sock")
    yield from engine.look(own, front, given["plugin"])
    ours = frozenset(str(path) for path in (front, given["plugin"], given["agent"]))
    yield from ways.look(own, ours)
    yield from runtimes.look(own, given["agent"])
    try:
        options = installed(Machine(Path("/")))
        if options is not None and not given["store"]:
            given["store"] = options.store
        store = place(given, create=False)
        yield from records.look(store)
        yield from images.look(own, store.folder / "gate")
    except PratiqueError as error:
        from pratique.enforce.doctor.finding import red  # noqa: PLC0415 - as above

        yield red("store", error.message, "--store names the gate's store: what the gate was started with")


def _worst(found: list[Checked]) -> str:
    from pratique.enforce.doctor.finding import WORST  # noqa: PLC0415 - start-up stays lazy

    return max((one.colour for one in found), key=WORST.__getitem__, default="green")


def _print(found: list[Checked], worst: str) -> None:
    colour = sys.stdout.isatty()
    width = max(len(one.check) for one in found)
    for one in found:
        mark = pad(one.colour, 5)
        click.echo(
            f"{click.style(mark, fg=_COLOURS[one.colour]) if colour else mark}  {pad(one.check, width)}  {safe(one.found)}"
        )
        if one.mend:
            click.echo(f"{' ' * (width + 9)}{safe('mend: ' + one.mend)}")
    reds = [one for one in found if one.colour == "red"]
    ambers = [one for one in found if one.colour == "amber"]
    if worst == "red":
        click.echo(f"\nThe gate does not stand: {plural(len(reds), 'hole')}, {plural(len(ambers), 'thing')} to see to.")
    else:
        click.echo(f"\nThe gate stands; {plural(len(ambers), 'thing')} to see to.")
