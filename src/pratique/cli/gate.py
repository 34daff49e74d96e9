"""`pratique gate`: the enforcement points, each imported only when it is chosen."""

from __future__ import annotations

import click

from pratique.cli.lazy import LazyGroup
from pratique.cli.target import HELP

# name -> one line of help; the module is pratique.cli.gate_<name>, its click command is called `command`
GATES = {
    "docker": "The Docker engine: plugin, front socket, runtime agent; install and uninstall.",
    "podman": "Root's Podman, by its runtime.",
    "registry": "A registry: push and delete by grant, pull by verdict; accounts, and what to tell the registry.",
    "ci": "A build: its images and files, as an exit code with annotations.",
    "kubernetes": "A Kubernetes cluster: webhooks that authorise and admit; certificates.",
}


@click.group(
    cls=LazyGroup,
    known=GATES,
    module="pratique.cli.gate_{}".format,
    short_help="Enforcement points: Docker, Kubernetes, registry, CI.",
    context_settings=HELP,
)
def command() -> None:
    """Enforce one decision where containers are started, changed and entered."""
