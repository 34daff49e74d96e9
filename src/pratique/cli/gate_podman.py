"""`pratique gate podman`: run the agent for the gate in front of Podman's runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pratique.cli.store import DEBUG, STORE, place
from pratique.cli.target import HELP


@click.command(short_help="The gate in front of root's Podman's runtime.", context_settings=HELP)
@click.option(
    "--agent",
    type=click.Path(path_type=Path),
    default="/run/pratique/agent.sock",
    show_default=True,
    help="The socket for pratique-runtime.",
)
@click.option(
    "--desk",
    type=click.Path(path_type=Path),
    default="/run/pratique/desk.sock",
    show_default=True,
    help="The socket by which everybody asks for privileges.",
)
@click.option("--host", default="", metavar="NAME", help="This machine's name in scopes and ledger (default: its host name).")
@click.option("--observe", is_flag=True, help="Let everything through; record what would be denied.")
@STORE
@DEBUG
def command(**given: Any) -> int:
    """Decide what root's Podman starts, on a machine without a Docker engine; `gate docker` does it along with its own.

    Podman asks nobody before it starts something, so that its runtime is where it is decided: pratique-runtime in front of crun
    or runc (containers.conf: runtime). Who asks is who logged in. People's own Podman may choose any runtime: there it is advice.
    """
    import asyncio

    from pratique.enforce.docker.gate import Settings, serve_podman  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.notify import ready  # noqa: PLC0415 - as above

    settings = Settings(agent=given["agent"], desk=given["desk"], host=given["host"], observe=given["observe"])

    def said() -> None:
        how = "observing only: nothing is denied" if settings.observe else "enforcing"
        sys.stderr.write(f"pratique: the gate stands ({how}); it is asked on {settings.agent}\n")
        ready()

    asyncio.run(serve_podman(place(given, create=True), settings, said))
    return 0
