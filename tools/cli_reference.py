"""Write docs/reference/cli.md from the commands themselves, so that no option stays undocumented.

usage: python tools/cli_reference.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pratique.cli.main import cli

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, groups before what they hold."""
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command, info_name=path) as context:
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                if inner is not None:
                    yield from commands(inner, f"{path} {name}")


def section(path: str, command: click.Command) -> Iterator[str]:
    """Yield the lines about one command: its usage and text, and a table of its options."""
    with click.Context(command, info_name=path, max_content_width=100) as context:
        yield f"## `{path}`"
        yield ""
        yield "```text"
        yield from command.get_help(context).rstrip().splitlines()
        yield "```"
        yield ""


def page() -> str:
    """Return the whole page."""
    lines = [
        "# Commands",
        "",
        "Made from the commands themselves by `tools/cli_reference.py`. Each option may also come from a variable or a",
        "configuration file, see [configuration](configuration.md).",
        "",
    ]
    for path, command in commands(cli, "pratique"):
        lines += section(path, command)
    return "\n".join(lines)


def main() -> int:
    """Write the page, or say whether it is current."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text("utf-8") == page() else 1
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
