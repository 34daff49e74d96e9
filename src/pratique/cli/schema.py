"""`pratique schema`: the name of a document in, its JSON Schema out."""

from __future__ import annotations

import sys

import click
import msgspec

from pratique.cli.target import HELP


def _known(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return the name of a document, or say which there are; they are known only when they are needed: start-up stays short."""
    from pratique.cli.schemas import DOCUMENTS  # noqa: PLC0415 - start-up stays lazy

    if value not in DOCUMENTS:
        import difflib  # noqa: PLC0415 - beside its one use

        near = difflib.get_close_matches(value, DOCUMENTS, 1)
        raise click.BadParameter(f"there is no document {value!r}: " + (f"did you mean {near[0]}?" if near else "see --list"))
    return value


def _completed(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from pratique.cli.schemas import DOCUMENTS  # noqa: PLC0415 - start-up stays lazy

    return [name for name in DOCUMENTS if name.startswith(incomplete)]


def _list(context: click.Context, _: click.Parameter, *, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from pratique.cli.schemas import DOCUMENTS  # noqa: PLC0415 - start-up stays lazy

    width = max(map(len, DOCUMENTS))
    for name, one in DOCUMENTS.items():
        click.echo(f"{name:<{width}}  {one.about}")
    context.exit(0)


@click.command(short_help="Print the JSON Schema of a document.", context_settings=HELP)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=lambda c, p, v: _list(c, p, wanted=v), help="List them."
)
@click.argument("document", callback=_known, shell_complete=_completed, metavar="DOCUMENT")
def command(document: str) -> int:
    """Print the JSON Schema (2020-12) of DOCUMENT: what a command writes with --format json, or a file that people write.

    What the schema says is kept: members are added, none is removed or changed without a new name of the schema. The files'
    schemas are for editors, which complete and check YAML by them. Exit codes: 0 done, 2 bad usage.
    """
    from pratique.cli.schemas import schema  # noqa: PLC0415 - start-up stays lazy

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(schema(document)), indent=2) + b"\n")
    return 0
