"""`pratique completion`: the name of a shell in, its completion script out."""

from __future__ import annotations

import click

from pratique.cli.target import HELP

_VARIABLE = "_PRATIQUE_COMPLETE"  # click's own: the program answers completions when it is set


@click.command(short_help="Print the shell completion script for bash, zsh or fish.", context_settings=HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the script that makes SHELL complete commands and options of pratique.

    \b
    bash   pratique completion bash > ~/.local/share/bash-completion/completions/pratique
    zsh    pratique completion zsh > "${fpath[1]}/_pratique"
    fish   pratique completion fish > ~/.config/fish/completions/pratique.fish

    Exit codes: 0 done, 2 bad usage.
    """  # noqa: D301 - click wants the character itself, to leave the lines below it alone
    from click.shell_completion import BashComplete, get_completion_class  # noqa: PLC0415 - start-up stays lazy

    from pratique.cli.main import cli  # noqa: PLC0415 - it imports this module

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click knows all three
        raise click.UsageError(f"{shell} is not known")
    made = kind(cli, {}, "pratique", _VARIABLE)
    # click's own source() of bash starts a bash to learn its version, which may not be there; the script itself needs 4.4
    text = made.source_template % made.source_vars() if isinstance(made, BashComplete) else made.source()
    click.echo(text)
    return 0
