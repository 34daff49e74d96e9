"""`pratique gate`: the enforcement points, each imported only when it is chosen."""

from __future__ import annotations

import importlib

import click

from pratique.cli.target import HELP

# name -> one line of help; the module is pratique.cli.gate_<name>, its click command is called `command`
GATES = {
    "docker": "The Docker engine: plugin, front socket, runtime agent; install and uninstall.",
    "podman": "Root's Podman, by its runtime.",
    "registry": "A registry: push and delete by grant, pull by verdict; accounts, and what to tell the registry.",
    "ci": "A build: its images and files, as an exit code with annotations.",
    "kubernetes": "A Kubernetes cluster: webhooks that authorise and admit; certificates.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(GATES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in GATES:
            return None
        command: click.Command = importlib.import_module(f"pratique.cli.gate_{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(GATES.items()))


@click.group(cls=_Lazy, short_help="Enforcement points: Docker, Kubernetes, registry, CI.", context_settings=HELP)
def command() -> None:
    """Enforce one decision where containers are started, changed and entered."""
