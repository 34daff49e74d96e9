"""`pratique lsp`: the language server, for editors to start."""

from __future__ import annotations

import importlib.util
import os

import click

from pratique.cli.options import setting
from pratique.cli.target import HELP
from pratique.model.errors import UsageError


@click.command(short_help="Serve editors: marks, explanations and fixes as files are written.", context_settings=HELP)
@setting(
    "--kubernetes-version", metavar="1.N", help="The cluster's version, for the Pod Security Standards (default: the newest)."
)
@setting("--debug", is_flag=True, help="Show where an error came from.")
def command(kubernetes_version: str | None, debug: bool) -> int:  # noqa: ARG001, FBT001 - --debug is read by the group
    """Serve an editor on standard input and output, in the Language Server Protocol.

    Dockerfiles, Compose files and Kubernetes manifests are checked as `pratique lint` does while they are written. Nothing is
    read from disk and no connection is made. It needs the extra `pratique[lsp]`.
    """
    if importlib.util.find_spec("pygls") is None:
        raise UsageError("the language server needs pygls", hint="pip install 'pratique[lsp]'")
    from pratique.cli.lint import cluster_version  # noqa: PLC0415 - start-up stays lazy
    from pratique.lsp.server import make_server  # noqa: PLC0415 - as above

    server = make_server(cluster_version(kubernetes_version))
    with open(os.dup(0), "rb") as received, open(os.dup(1), "wb") as sent:  # noqa: PTH123 - descriptors
        os.dup2(2, 1)  # whatever else is printed must not end up between the messages
        server.start_io(received, sent)
    return 0
