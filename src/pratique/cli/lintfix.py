"""What `lint --fix` rewrites, written; or shown as a patch by `--diff`."""

from __future__ import annotations

import difflib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pratique.cli.outputs import replaced
from pratique.linting import LintOptions, rewrites
from pratique.model.errors import TargetError
from pratique.report.text import plural, safe


def rewrite(paths: Sequence[str], how: LintOptions, *, unsafe: bool, quiet: bool) -> None:
    """Write every file that fixes change, whole or not at all, and say on standard error what was done.

    Raises TargetError for a file that somebody else changed meanwhile, UsageError for one that cannot be written.
    """
    for found in rewrites(paths, how, unsafe=unsafe):
        path = Path(found.path)
        with replaced(path) as out:
            if path.read_bytes() != found.before:
                raise TargetError(f"{found.path}: was changed meanwhile; it is left as it is")
            out.write(found.after)
        for line, name, title in found.done if not quiet else ():
            click.echo(safe(f"{found.path}:{line}: {name}: {title}"), err=True)


def show(paths: Sequence[str], how: LintOptions, *, unsafe: bool) -> int:
    """Write a patch to standard output; 1 where it changes something."""
    count = 0
    for found in rewrites(paths, how, unsafe=unsafe):
        count += 1
        for line in _patch(found.path, found.before, found.after):
            shown = safe(line.rstrip("\n")) + "\n" if sys.stdout.isatty() else line
            sys.stdout.buffer.write(shown.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
    click.echo(f"{plural(count, 'file')} would be changed" if count else "nothing would be changed", err=True)
    return 1 if count else 0


def patch(path: str, before: bytes, after: bytes) -> str:
    """Return a unified patch, "" where nothing is different."""
    return "".join(_patch(path, before, after))


def _patch(path: str, before: bytes, after: bytes) -> Iterator[str]:
    """Yield the lines of a unified patch, which `patch` and `git apply` take."""
    old, new = (list(io.StringIO(text.decode("utf-8"), newline="\n")) for text in (before, after))
    name = path.lstrip("/")
    for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"):
        yield line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
