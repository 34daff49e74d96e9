"""`pratique gate docker`: run the Docker engine's gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pratique.cli.store import DEBUG, STORE, place
from pratique.cli.target import HELP
from pratique.model.errors import UsageError

_PATH = click.Path(path_type=Path)


@click.group(invoke_without_command=True, short_help="The Docker engine's gate.", context_settings=HELP)
@click.option("--engine", type=_PATH, default="/run/docker.sock", show_default=True, help="The engine's own socket.")
@click.option("--front", type=_PATH, default="/run/pratique/docker.sock", show_default=True, help="The socket that people use.")
@click.option(
    "--plugin", type=_PATH, default="/run/docker/plugins/pratique.sock", show_default=True, help="The socket of the plugin."
)
@click.option(
    "--agent", type=_PATH, default="/run/pratique/agent.sock", show_default=True, help="The socket for pratique-runtime."
)
@click.option("--group", default="", metavar="NAME", help="Its members may use the front socket (default: root alone).")
@click.option("--client", multiple=True, metavar="SHA256=NAME", help="Name a TLS client by its certificate; repeatable.")
@click.option("--host", default="", metavar="NAME", help="This machine's name in scopes and ledger (default: its host name).")
@click.option("--observe", is_flag=True, help="Let everything through; record what would be denied.")
@STORE
@DEBUG
@click.pass_context
def command(context: click.Context, **given: Any) -> int:
    """Decide each request to a Docker engine, from this process, until it is told to stop.

    Three sockets: the plugin's, which the engine asks (dockerd --authorization-plugin pratique); the front socket, which people
    use in place of the engine's, so that it is known who asks; and the agent's, which pratique-runtime asks about what starts.
    """
    if context.invoked_subcommand is not None:
        return 0
    import asyncio

    from pratique.enforce.docker.gate import Settings, serve  # noqa: PLC0415 - as above

    settings = Settings(
        engine=given["engine"],
        plugin=given["plugin"],
        front=given["front"],
        agent=given["agent"],
        group=given["group"],
        clients=dict(_client(text) for text in given["client"]),
        host=given["host"],
        observe=given["observe"],
    )
    asyncio.run(serve(place(given, create=True), settings, lambda: _ready(settings.front, observe=settings.observe)))
    return 0


def _client(text: str) -> tuple[str, str]:
    digest, equals, name = text.partition("=")
    digest = digest.replace(":", "").lower()
    if not equals or not name or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise UsageError(f"--client {text!r} is no client", hint="SHA256=NAME, the certificate's fingerprint in hexadecimal")
    return digest, name


def _ready(front: Path, *, observe: bool) -> None:
    """Say that it serves: to people, and to systemd, which waits for it."""
    from pratique.enforce.notify import ready  # noqa: PLC0415 - start-up stays lazy

    how = "observing only: nothing is denied" if observe else "enforcing"
    sys.stderr.write(f"pratique: the gate stands ({how}); use DOCKER_HOST=unix://{front}\n")
    ready()
