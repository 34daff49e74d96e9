"""Arguments in, exit code out: the group of commands, each imported only when it is chosen."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from pratique._version import __version__
from pratique.model.errors import PratiqueError

# name -> one line of help; the module is pratique.cli.<name>, its click command is called `command`
COMMANDS = {
    "scan": "Inspect an image, match it against advisories, judge it and report.",
    "explain": "Say why a vulnerability is, or is not, reported for a target.",
    "db": "The advisory database: update, status, verify.",
    "cache": "The layer cache: status and cleaning.",
    "schema": "Print the JSON Schema of a document.",
    "completion": "Print the shell completion script for bash, zsh or fish.",
}


class _Lazy(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pratique.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="pratique %(version)s")
def cli() -> None:
    """Inspect container images, say whether they may run and why."""


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code. Never raises, never prints a traceback unless --debug is given."""
    try:
        result: Any = cli.main(args=arguments, prog_name="pratique", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("pratique: interrupted", err=True)
        return 130
    except PratiqueError as error:
        if "--debug" in arguments:
            raise
        click.echo(f"pratique: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the `pratique` program."""
    sys.exit(run(sys.argv[1:]))
