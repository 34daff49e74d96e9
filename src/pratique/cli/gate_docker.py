"""`pratique gate docker`: run the Docker engine's gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.store import DEBUG, FOLDER, place
from pratique.cli.target import HELP
from pratique.model.errors import UsageError

if TYPE_CHECKING:
    from pratique.enforce.docker.install import Written

_PATH = click.Path(path_type=Path)
_OBSERVE = click.option("--observe", is_flag=True, help="Let everything through; record what would be denied.")
_ADMISSION = click.option(
    "--admission", type=_PATH, metavar="FILE", help="By which verdicts images may run: a file of the kind Admission."
)
_ROOT = click.option("--root", type=_PATH, default="/", help="Another root folder, for those who build packages.")


@click.group(invoke_without_command=True, short_help="The Docker engine's gate.", context_settings=HELP)
@click.option("--engine", type=_PATH, default="/run/docker.sock", show_default=True, help="The engine's own socket.")
@click.option("--front", type=_PATH, default="/run/pratique/docker.sock", show_default=True, help="The socket that people use.")
@click.option(
    "--plugin", type=_PATH, default="/run/docker/plugins/pratique.sock", show_default=True, help="The socket of the plugin."
)
@click.option(
    "--agent", type=_PATH, default="/run/pratique/agent.sock", show_default=True, help="The socket for pratique-runtime."
)
@click.option(
    "--desk",
    type=_PATH,
    default="/run/pratique/desk.sock",
    show_default=True,
    help="The socket by which everybody asks for privileges.",
)
@click.option("--group", default="", metavar="NAME", help="Its members may use the front socket (default: root alone).")
@click.option("--client", multiple=True, metavar="SHA256=NAME", help="Name a TLS client by its certificate; repeatable.")
@click.option("--host", default="", metavar="NAME", help="This machine's name in scopes and ledger (default: its host name).")
@_ADMISSION
@_OBSERVE
@FOLDER
@DEBUG
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Decide each request to a Docker engine, from this process, until it is told to stop.

    Sockets: the plugin's, which the engine asks (dockerd --authorization-plugin pratique); the front socket, which people
    use in place of the engine's, so that it is known who asks; the agent's, which pratique-runtime asks about what starts;
    and the desk's, where `pratique grant` and `pratique can` of people go who cannot read the store.
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
        desk=given["desk"],
        group=given["group"],
        clients=dict(_client(text) for text in given["client"]),
        host=given["host"],
        observe=given["observe"],
        admission=given["admission"],
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


@command.command(context_settings=HELP)
@click.option("--program", default="", metavar="PATH", help="The command pratique (default: this one); only root may change it.")
@click.option("--store", default="/var/lib/pratique", show_default=True, metavar="DIR", help="The store of grants and ledger.")
@click.option(
    "--group", default="docker", show_default=True, metavar="NAME", help="Its members may use the engine, through the gate."
)
@click.option("--podman", is_flag=True, help="Root's Podman, too: its containers pass the gate in front of the runtime.")
@click.option("--admission", default="", metavar="FILE", help="By which verdicts images may run: a file of the kind Admission.")
@_OBSERVE
@click.option("--dry-run", is_flag=True, help="Show what would be written, as a diff.")
@_ROOT
@DEBUG
def install(root: Path, *, dry_run: bool, **given: Any) -> int:
    """Put the gate in front of this machine's Docker engine.

    The engine's usual socket becomes the gate's, so that nobody has to change anything; the engine's own goes where only root
    gets. The engine asks the plugin, and starts containers through the gate in front of runc and crun. Nothing is started or
    stopped: the commands for that are printed. What was there before is kept, and `uninstall` puts it back. Installed again,
    it is changed to the options that are given now.
    """
    from pratique.enforce.docker.install import Machine, Options, difference, plan  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.docker.install import install as write  # noqa: PLC0415 - as above

    given.pop("debug")
    program = given.pop("program") or str(Path(sys.argv[0]).resolve())
    options, machine = Options(program=program, **given), Machine(root)
    if dry_run:
        for line in difference(machine, plan(machine, options)):
            sys.stdout.write(line if line.endswith("\n") else line + "\n")
        return 0
    record = write(machine, options)
    for kept in record.files:
        click.echo(f"{'wrote' if kept.before is None else 'changed'} {kept.path}")
    if root == Path("/") and not Path(_BOOTED).exists():
        click.echo(_by_hand(plan(machine, options)))
    else:
        click.echo("\nIt holds after these commands; `pratique doctor` then says whether it stands:\n" + _ACTIVATE)
    if options.observe:
        click.echo(
            "It only observes. `pratique learn` proposes a policy from what it saw; install again without --observe to enforce."
        )
    return 0


_BOOTED = "/run/systemd/system"  # sd_booted(3)


def _by_hand(planned: list[Written]) -> str:
    """Say how to start what systemd would, on a machine that it did not start."""
    from pratique.enforce.docker.install import ENGINE, PROGRAMS, UNIT  # noqa: PLC0415 - start-up stays lazy

    unit = next(file.content.decode() for file in planned if file.path.endswith(f"/{UNIT}"))
    line = next(line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart="))
    return (
        "\nsystemd did not start this machine, and nothing reads the units. It holds when these run, as root and in this order,\n"
        "each kept up by what starts services here; `pratique doctor` then says whether it stands:\n"
        f"  mkdir -p -m 700 {Path(ENGINE).parent}\n  {line}\n  PATH={PROGRAMS}:$PATH dockerd -H unix://{ENGINE}\n"
        f"A containerd that dockerd does not start itself takes the same PATH.\n"
    )


_ACTIVATE = """\
  systemctl daemon-reload
  systemctl enable --now pratique-gate-docker.service
  systemctl restart containerd.service docker.socket docker.service
"""


@command.command(context_settings=HELP)
@_ROOT
@DEBUG
def uninstall(root: Path, **_: Any) -> int:
    """Take the gate away, and put back what was there before.

    Files that somebody changed since are left as they are and named: exit code 1. Grants and ledger stay.
    """
    from pratique.enforce.docker.install import UNIT, Machine  # noqa: PLC0415 - start-up stays lazy
    from pratique.enforce.docker.install import uninstall as undo  # noqa: PLC0415 - as above

    left = undo(Machine(root))
    for path in left:
        click.echo(f"{path} was changed since, and is left as it is")
    if root == Path("/") and not Path(_BOOTED).exists():
        click.echo("It ends when the gate is stopped, and dockerd started without its PATH and on its usual socket.")
        return 1 if left else 0
    click.echo(
        f"It ends with these commands:\n  systemctl disable --now {UNIT}\n  systemctl daemon-reload\n"
        "  systemctl restart containerd.service docker.socket docker.service"
    )
    return 1 if left else 0
