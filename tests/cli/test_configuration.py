"""Flag, environment, the nearest pratique.toml, the person's own file: in this order."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from pratique.cli.main import COMMANDS
from pratique.cli.options import KEYS, Setting, size
from pratique.model.errors import UsageError

NOW = ("--offline", "--now", "2024-06-01")
Call = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory two levels below one that may have a configuration."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path


def test_nearest_file_upwards(call: Call, clean: str, image: str, folder: Path) -> None:
    """The nearest file counts, and only that; dashes and underscores alike; the environment and flags go before it."""
    (folder / "pratique.toml").write_text('fail-on = ["kev"]\n')
    assert call("scan", image, *NOW).code == 1
    assert call("scan", clean, *NOW).code == 0
    (folder / "a" / "pratique.toml").write_text('fail_on = "eol"\n')
    assert call("scan", image, *NOW).code == 0
    assert call("scan", image, *NOW, "--fail-on", "kev").code == 1


def test_environment_goes_before_files(call: Call, image: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRATIQUE_FAIL_ON wins over pratique.toml."""
    (folder / "pratique.toml").write_text('fail-on = ["kev"]\n')
    monkeypatch.setenv("PRATIQUE_FAIL_ON", "eol")
    assert call("scan", image, *NOW).code == 0


def test_own_file(call: Call, image: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$XDG_CONFIG_HOME/pratique/config.toml comes last."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    (folder / "config" / "pratique").mkdir(parents=True)
    (folder / "config" / "pratique" / "config.toml").write_text('fail-on = ["kev"]\nformat = "json"\n')
    ran = call("scan", image, *NOW)
    assert (ran.code, ran.out[0]) == (1, "{")
    (folder / "pratique.toml").write_text('fail-on = ["eol"]\n')
    ran = call("scan", image, *NOW)
    assert (ran.code, ran.out[0]) == (0, "{")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('fail-onn = "high"\n', "'fail-on'"),
        ("severty = 1\n", "'severity'"),
        ("offline = 1\n", "true or false"),
        ("max-age = [1]\n", "max-age"),
        ("fail-on = [1.5]\n", "fail-on"),
        ("= \n", "pratique.toml"),
    ],
)
def test_wrong_files(call: Call, clean: str, folder: Path, text: str, said: str) -> None:
    """Unknown keys come with the nearest right name; wrong types and broken files are told; the exit is 2."""
    (folder / "pratique.toml").write_text(text)
    ran = call("scan", clean)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_help_needs_no_configuration(call: Call, folder: Path) -> None:
    """A broken file does not keep anybody from the help."""
    (folder / "pratique.toml").write_text("= \n")
    assert call("--help").code == call("scan", "--help").code == call("--version").code == 0


def _settings(command: click.Command) -> Iterator[Setting]:
    for parameter in command.params:
        if isinstance(parameter, Setting):
            yield parameter
    if isinstance(command, click.Group):
        for child in command.commands.values():
            yield from _settings(child)


def test_keys_are_the_options() -> None:
    """What a configuration may say is what the commands have."""
    commands = [importlib.import_module(f"pratique.cli.{name.replace('-', '')}").command for name in COMMANDS]
    names = {str(option.name).replace("_", "-") for command in commands for option in _settings(command)}
    assert names == KEYS


@pytest.mark.parametrize(("text", "expected"), [("0", 0), ("2GB", 2 * 10**9), ("1.5 MiB", 1_572_864), ("10kb", 10_000), ("7", 7)])
def test_sizes(text: str, expected: int) -> None:
    """Decimal and binary units, any letter case."""
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "2 PB", "1.2.3MB", "9" * 20])
def test_no_sizes(text: str) -> None:
    """Anything else is bad usage."""
    with pytest.raises(UsageError):
        size(text)
