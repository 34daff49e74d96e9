"""What `-o` and `-f` say in, writers out: each format with the file that it goes to, opened before anything is inspected."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import sys
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import click

from pratique.cli.options import F, setting
from pratique.model.errors import UsageError
from pratique.model.ports import Reporter


class Outputs(NamedTuple):
    """What a person asked for: `-o` values, the `-f` value and `--template`; `default` and `allowed` are the command's.

    `room` is the package whose modules are the formats.
    """

    output: Sequence[str]
    format: str | None
    template: Path | None
    default: str = "table"
    allowed: Collection[str] = ()
    room: str = "pratique.report"


_SETTINGS = (
    setting(
        "-o",
        "--output",
        multiple=True,
        commas=False,
        metavar="FORMAT[=FILE]",
        help="Write FORMAT, to FILE or standard output; repeatable.",
    ),
    setting("-f", "--format", metavar="FORMAT", help="Short for one -o FORMAT."),
    setting(
        "--template", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The Jinja2 template of -o template."
    ),
)


def output_settings(function: F) -> F:
    """Give a command the options that say what to write and where."""
    for add in reversed(_SETTINGS):
        function = add(function)
    return function


def plain_output_settings(function: F) -> F:
    """Give a command the options that say what to write and where, where no format has a template."""
    for add in reversed(_SETTINGS[:2]):
        function = add(function)
    return function


def open_outputs(outputs: Outputs, stack: ExitStack) -> list[tuple[Reporter, BinaryIO]]:
    """Open every output. Raises UsageError for a format that is none and a file that cannot be written."""
    wanted = list(outputs.output) + ([outputs.format] if outputs.format else [])
    writers: list[tuple[Reporter, BinaryIO]] = []
    files: set[str] = set()
    for text in wanted or [outputs.default]:
        name, equals, path = text.partition("=")
        if equals and not path:
            raise UsageError(f"-o {text}: no file after the =")
        real = os.path.realpath(path) if path else ""
        if real in files:
            raise UsageError(f"-o {text}: {path} is named twice")
        if real and not (real.startswith("/dev/") and Path(real).exists() and not Path(real).is_file()):
            files.add(real)
        reporter = _reporter(name, outputs, terminal=not path)
        writers.append((reporter, stack.enter_context(_Output(Path(path))) if path else sys.stdout.buffer))
    return writers


def formats() -> list[str]:
    """Return the names of all formats; each is a module of the same name."""
    import pratique.report  # noqa: PLC0415 - start-up stays lazy
    from pratique._kit.discover import offers  # noqa: PLC0415 - as above

    return sorted(reporter.name for reporter in offers(pratique.report, "REPORTER").values())


def _reporter(text: str, outputs: Outputs, *, terminal: bool) -> Reporter:
    """Return the writer of FORMAT or FORMAT@VERSION."""
    name, at, version = text.partition("@")
    if outputs.allowed and name not in outputs.allowed:
        raise UsageError(f"{name!r} is no format of this command", hint=f"one of {', '.join(sorted(outputs.allowed))}")
    if name == "table":
        return _table(outputs.room, terminal=terminal)
    reporter = _named(name, outputs.room)
    if name == "template":
        if outputs.template is None:
            raise UsageError("-o template needs --template FILE")
        return reporter.of(outputs.template)  # type: ignore[attr-defined,no-any-return]  # the one format with an argument
    if not at:
        return reporter
    if not hasattr(reporter, "at"):
        raise UsageError(f"{name} has no versions to choose from", hint=f"write -o {name}")
    return reporter.at(version)  # type: ignore[no-any-return]


def _named(name: str, room: str) -> Reporter:
    """Import the one format that is asked for."""
    import importlib  # noqa: PLC0415 - start-up stays lazy

    reporter: Reporter | None = None
    if name in {module.name for module in pkgutil.iter_modules(importlib.import_module(room).__path__)}:
        reporter = getattr(importlib.import_module(f"{room}.{name}"), "REPORTER", None)
    if reporter is None:
        raise UsageError(f"{name!r} is no format", hint=f"one of {', '.join(formats())}")
    return reporter


def _table(room: str, *, terminal: bool) -> Reporter:
    import importlib  # noqa: PLC0415 - start-up stays lazy

    kind = importlib.import_module(f"{room}.table").Table
    columns, colour = 0, False
    if terminal and sys.stdout.isatty():
        columns = os.get_terminal_size().columns
        colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    table: Reporter = kind(colour=colour, width=columns)
    return table


def replaced(path: Path) -> AbstractContextManager[BinaryIO]:
    """Open a file that takes the place of another once it is whole. Raises UsageError where it cannot be written."""
    return _Output(path)


# What a shell leads elsewhere: to a file maybe, which is written to. Below /dev lie ordinary files as well, in /dev/shm.
_STREAMS = ("/dev/stdout", "/dev/stderr")


class _Output:
    """A file that appears whole or not at all: written beside, synced, renamed. Devices, pipes and the like are written to."""

    def __init__(self, path: Path) -> None:
        stream = str(path) in _STREAMS or path.is_relative_to("/dev/fd") or path.is_relative_to("/proc")
        special = stream or (path.exists() and not path.is_file() and not path.is_dir())
        self._path = path.resolve() if path.is_symlink() and not special else path  # the link stays, what it names is replaced
        if self._path.is_dir():
            raise UsageError(f"{path}: is a directory")
        # A name that nobody can guess, and no link followed: in a folder that others may write, what is overwritten is ours.
        self._beside = None if special else self._path.with_name(f".{self._path.name}.{os.urandom(8).hex()}.new")
        try:
            self._out = self._path.open("wb") if self._beside is None else _made(self._beside, self._path)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None

    def __enter__(self) -> BinaryIO:
        return self._out

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with self._out:
                if kind is None and self._beside is not None:
                    self._out.flush()
                    os.fsync(self._out.fileno())
            if kind is None and self._beside is not None:
                self._beside.replace(self._path)
        except OSError as error:
            error.filename = error.filename or str(self._path)
            raise
        finally:
            if self._beside is not None:
                self._beside.unlink(missing_ok=True)


def _made(beside: Path, final: Path) -> BinaryIO:
    """Make a file that is to replace another, with the permissions that the other has. Raises OSError."""
    out = open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb")  # noqa: PTH123, SIM115
    with contextlib.suppress(OSError):  # there is none yet, or its permissions cannot be had here
        os.fchmod(out.fileno(), final.stat().st_mode & 0o777)
    return out
