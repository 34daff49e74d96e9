"""A group of commands that knows their names and help, and imports each only when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """`known` has a line of help for each name; `module` says where its click command, called `command`, is."""

    def __init__(self, *, known: Mapping[str, str], module: Callable[[str], str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._known, self._module = known, module

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._known)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in self._known:
            return None
        command: click.Command = importlib.import_module(self._module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(self._known.items()))
