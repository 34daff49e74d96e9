"""`pratique cache`: what is kept to make the next scan quick, its size, and how to be rid of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from pratique._kit.folders import default_cache_dir
from pratique.cli.options import setting, size
from pratique.cli.target import HELP
from pratique.model.errors import CouldNotError

# What people call a part, and the folders that it lies in. A proof speaks of a layer's record and goes with it.
_PARTS = {"layers": ("layers", "verified"), "blobs": ("blobs",), "advisories": ("db",)}
_WHAT = {"layers": "examined layers", "blobs": "downloaded layers", "advisories": "advisory database"}

_cache_dir = setting("--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="The cache folder.")
_debug = setting("--debug", is_flag=True, help="Show where an error came from.")


@click.group(short_help="The layer cache: status and cleaning.", context_settings=HELP)
def command() -> None:
    """Look after what scans keep: examined layers, downloaded layers and the advisory database.

    All of it can be made or fetched again; nothing here is the only copy of anything.
    """


@command.command(context_settings=HELP)
@setting("-f", "--format", type=click.Choice(["table", "json"], case_sensitive=False), default="table", help="table or json.")
@_cache_dir
@_debug
def status(format: str, cache_dir: Path | None, debug: bool) -> int:  # noqa: A002, ARG001, FBT001 - click names them
    """Show where the cache is and how many files and bytes each part has.

    The layers' part is kept within 4 GB by itself; the least recently used goes first. Exit codes: 0 done, 2 bad usage.
    """
    folder = cache_dir or default_cache_dir()
    parts = [(name, *_measure(folder, folders)) for name, folders in _PARTS.items()]
    if format == "json":
        listed = {name: {"files": files, "bytes": used} for name, files, used in parts}
        click.echo(json.dumps({"folder": str(folder), "parts": listed}, indent=2))
        return 0
    click.echo(str(folder))
    for name, files, used in parts:
        click.echo(f"  {_WHAT[name]:<18} {files:>8,} files  {_bytes(used):>10}")
    click.echo(f"  {'together':<18} {sum(p[1] for p in parts):>8,} files  {_bytes(sum(p[2] for p in parts)):>10}")
    return 0


@command.command(context_settings=HELP)
@click.option("--all", "every", is_flag=True, help="Everything, the advisory database too.")
@click.option("--layers", is_flag=True, help="Examined layers.")
@click.option("--blobs", is_flag=True, help="Layers downloaded from registries.")
@click.option("--advisories", is_flag=True, help="The advisory database.")
@click.option(
    "--limit", metavar="SIZE", help="Remove the least recently used layers and downloads until SIZE (2GB, 500MB) is left."
)
@_cache_dir
@_debug
def clean(every: bool, layers: bool, blobs: bool, advisories: bool, limit: str | None, **given: Any) -> int:  # noqa: FBT001 - click
    """Remove what is chosen; without a choice, examined and downloaded layers, and the advisory database stays.

    A scan that runs meanwhile is not disturbed: it examines or downloads again what it misses. Exit codes: 0 done, 2 bad usage,
    3 something could not be removed.
    """
    folder = given["cache_dir"] or default_cache_dir()
    chosen = {"layers": layers, "blobs": blobs, "advisories": advisories}
    if limit is not None:
        if every or any(chosen.values()):
            raise click.UsageError("--limit goes without a choice of parts")
        from pratique.inventory.cache import prune  # noqa: PLC0415 - start-up stays lazy

        click.echo(f"freed {_bytes(prune(folder, size(limit)))}")
        return 0
    if every:
        chosen = dict.fromkeys(chosen, True)
    elif not any(chosen.values()):
        chosen |= {"layers": True, "blobs": True}
    freed = 0
    stayed: list[str] = []
    for name, wanted in chosen.items():
        if wanted:
            for part in _PARTS[name]:
                freed += _remove(folder / part, stayed)
    click.echo(f"freed {_bytes(freed)}")
    if stayed:
        raise CouldNotError(f"{len(stayed)} files could not be removed, {stayed[0]} the first")
    return 0


def _entries(folder: Path) -> list[Path]:
    """Return all files and links below a folder; links are never followed."""
    return [Path(base, name) for base, _, names in os.walk(folder) for name in names]


def _measure(folder: Path, parts: tuple[str, ...]) -> tuple[int, int]:
    sizes = []
    for part in parts:
        for path in _entries(folder / part):
            try:
                sizes.append(path.lstat().st_size)
            except OSError:
                continue  # another process has just removed it
    return len(sizes), sum(sizes)


def _remove(folder: Path, stayed: list[str]) -> int:
    freed = 0
    for path in _entries(folder):
        try:
            used = path.lstat().st_size
            path.unlink()
            freed += used
        except FileNotFoundError:
            continue
        except OSError:
            stayed.append(str(path))
    return freed


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:,.0f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"
