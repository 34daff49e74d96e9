"""`pratique schema`: the name of a document in, its JSON Schema out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec

from pratique.cli.target import HELP


def _scan() -> dict[str, Any]:
    from pratique.report.json import schema  # noqa: PLC0415 - only the one that is asked for

    return schema()


def _explain() -> dict[str, Any]:
    from pratique.cli.explain import SCHEMA, Explanation  # noqa: PLC0415 - as above

    found = msgspec.json.schema(Explanation)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["$id"] = SCHEMA
    return found


def _diff() -> dict[str, Any]:
    from pratique.report.diff.json import schema  # noqa: PLC0415 - as above

    return schema()


SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {"scan": _scan, "explain": _explain, "diff": _diff}


@click.command(short_help="Print the JSON Schema of a document.", context_settings=HELP)
@click.argument("document", type=click.Choice(list(SCHEMAS)), metavar="DOCUMENT")
def command(document: str) -> int:
    """Print the JSON Schema (2020-12) of DOCUMENT: what scan, explain or diff writes with --format json.

    What the schema says is kept: members are added, none is removed or changed without a new name of the schema. Exit codes: 0
    done, 2 bad usage.
    """
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(SCHEMAS[document]()), indent=2) + b"\n")
    return 0
