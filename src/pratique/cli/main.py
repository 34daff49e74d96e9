"""Arguments in, exit code out: the group of commands, each imported only when it is chosen."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

import click

from pratique._version import __version__
from pratique.cli.lazy import LazyGroup
from pratique.model.errors import PratiqueError

_NAME = "pratique"
_COMPLETE = "_PRATIQUE_COMPLETE"  # set by the shell completion script
USAGE = 2
COULD_NOT = 3
INTERRUPTED = 130  # as shells count: 128 and the signal
BROKEN_PIPE = 141

# name -> one line of help; the module is pratique.cli.<name without hyphens>, its click command is called `command`
COMMANDS = {
    "scan": "Inspect an image, match it against advisories, judge it and report.",
    "sbom": "List what is in a target: CycloneDX or SPDX.",
    "lint": "Check Dockerfiles, Compose files, Kubernetes manifests and images.",
    "harden": "Propose the least privileges that an image runs with, as a patch.",
    "diff": "Say what is different between two targets or reports, and why.",
    "lsp": "Serve editors: marks, explanations and fixes as files are written.",
    "explain": "Say why a vulnerability is, or is not, reported for a target.",
    "db": "The advisory database: update, status, verify.",
    "policy": "Policies: check, test, explain, simulate.",
    "waiver": "Waivers: add, list, prune.",
    "grant": "Privileges per task: request, approve, deny, revoke, list, show.",
    "can": "Say what you may do now, and how to ask for the rest.",
    "learn": "Propose a privilege policy from what a gate observed.",
    "break-glass": "Privileges in an emergency: use, seal, review, alert.",
    "gate": "Enforcement points: Docker, Kubernetes, registry, CI.",
    "doctor": "Whether this machine's gate stands.",
    "audit": "The tamper-evident ledger: verify, show, tail, export.",
    "cache": "The layer cache: status and cleaning.",
    "schema": "Print the JSON Schema of a document.",
    "completion": "Print the shell completion script for bash, zsh or fish.",
}


def _module(name: str) -> str:
    return f"pratique.cli.{name.replace('-', '')}"


@click.group(
    cls=LazyGroup,
    known=COMMANDS,
    module=_module,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", message="pratique %(version)s")
def cli() -> None:
    """Inspect container images, say whether they may run and why."""


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code. Never raises, and prints one line for an error unless --debug is given."""
    try:
        code = _invoke(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where an output that is gone or full can still be told from success
    except BrokenPipeError:
        _abandon(sys.stdout)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except PratiqueError as error:
        if "--debug" in arguments:
            raise
        return _say(str(error), error.exit_code)
    except OSError as error:
        if "--debug" in arguments:
            raise
        _abandon(sys.stdout)
        return _say(": ".join(str(part) for part in (error.filename, error.strerror or error) if part), COULD_NOT)
    except Exception as error:  # a defect of ours must not end in the code that means "refused"
        if "--debug" in arguments:
            raise
        return _say(f"a defect of pratique: {type(error).__name__}: {error} (--debug shows where)", COULD_NOT)
    return code


def _invoke(arguments: list[str]) -> int:
    """Do what click's own `main` does, which would end with 1 when nobody reads the output: here that means "refused"."""
    if _COMPLETE in os.environ:
        cli.main(args=arguments, prog_name=_NAME)
    try:
        with cli.make_context(_NAME, list(arguments)) as context:
            result: Any = cli.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        at: click.Context | None = getattr(error, "ctx", None)
        path = at.command_path if at is not None else _NAME
        return _say(f"{error.format_message().rstrip('.')} (try {path} --help)", USAGE)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    return result if isinstance(result, int) else 0


def _say(message: str, code: int) -> int:
    from pratique.report.text import safe  # noqa: PLC0415 - only where there is something to say

    click.echo("pratique: " + safe(" ".join(message.split())), err=True)
    return code


def _abandon(stream: TextIO | None) -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not stumble over it at its end."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor has nothing that could fail later
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fill_standard_streams() -> None:
    """Open what the caller closed: else a database would get its number, and what is printed would end up in that file."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def main() -> None:
    """Entry point of the `pratique` program."""
    _fill_standard_streams()
    sys.exit(run(sys.argv[1:]))
