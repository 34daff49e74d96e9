"""`pratique db`: feeds in, an up-to-date advisory database out, and what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli import db_history, db_look, db_repository
from pratique.cli.db_look import folder_of, printable, table
from pratique.cli.options import duration, mirror_address, setting
from pratique.cli.progress import Progress
from pratique.model.errors import DatabaseError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from pratique.advisory.index import Entry
    from pratique.advisory.update import Options, Outcome

# Fewer feeds of a provider than this are told one by one.
_FEW = 4
_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_cache_dir = setting(
    "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Where layers and advisories are kept."
)
_quiet = setting("-q", "--quiet", is_flag=True, help="Print nothing but results and errors.")
_debug = setting("--debug", is_flag=True, help="Show where an error came from.")
_format = setting(
    "-f",
    "--format",
    type=click.Choice(["table", "json"], case_sensitive=False),
    default="table",
    help="table (the default) or json.",
)


@click.group(short_help="The advisory database: update, status, search, show, verify.", context_settings=_HELP)
def command() -> None:
    """Fetch advisories, say what is known, and give the database to others."""


for _one in (*db_look.COMMANDS, *db_repository.COMMANDS, *db_history.COMMANDS):
    command.add_command(_one)


@command.command(context_settings=_HELP)
@setting(
    "--only",
    multiple=True,
    metavar="LIST",
    help="Only these: ecosystems (Debian, PyPI), feeds (osv/PyPI) or ghsa, kev, epss, nvd.",
)
@setting("--mirror", metavar="URL", help="Take every feed from this base address (http(s):// or file://).")
@setting("--offline", is_flag=True, help="Make no connection; only a file:// mirror can be read.")
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Take a feed also where it has less than half of the records that are here, or is a month older; else that has failed.",
)
@_cache_dir
@_quiet
@_debug
def update(**given: Any) -> int:
    """Fetch what is new of every feed, or of those chosen.

    Prints one line a feed, or one for all feeds of a provider of which none could be had. A feed that fails keeps its last good
    data. Exit codes: 0 done, 2 bad usage, 3 a required feed (or one that was chosen) is not there, old or new, or nothing could
    be had at all.
    """
    mirror = mirror_address(given["mirror"])
    if given["offline"] and not mirror.startswith("file:"):
        raise UsageError(
            "db update makes connections", hint="with --offline only a file:// mirror can be read: --mirror file://DIR"
        )
    from pratique.advisory.update import Options  # noqa: PLC0415 - start-up stays lazy

    how = Options(mirror=mirror, offline=given["offline"], accept_loss=given["accept_loss"])
    return update_database(folder_of(given["cache_dir"]), given["only"], how, quiet=given["quiet"], debug=given["debug"])


def update_database(folder: Path, only: Sequence[str], how: Options, *, quiet: bool, debug: bool = False) -> int:
    """Bring the database of `folder` up to date and print one line a feed; return the exit code. Raises DatabaseError."""
    from pratique.advisory.update import required_missing  # noqa: PLC0415 - start-up stays lazy
    from pratique.advisory.update import update as bring  # noqa: PLC0415

    names = _chosen(only)
    progress = Progress(quiet=quiet)
    try:
        outcomes = bring(folder, names, how, _listener(progress, debug=debug))
    finally:
        progress.clear()
    shown = _together(outcomes)
    width = max(len(outcome.name) for outcome in shown)
    for outcome in shown:
        if not quiet or outcome.status == "failed":
            click.echo(_line(outcome, width), err=quiet)
    if not quiet and len(outcomes) > 1:
        counts = [(word, sum(outcome.status == word for outcome in outcomes)) for word in ("updated", "unchanged", "failed")]
        click.echo(", ".join(f"{count} {word}" for word, count in counts if count))
    missing = required_missing(outcomes, chosen=bool(only))
    if missing or all(outcome.status == "failed" for outcome in outcomes):
        raise DatabaseError(f"not there: {', '.join(missing)}" if missing else "no feed could be had")
    return 0


def _together(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Tell of a provider in one line where none of its feeds is there, with what the first met: a mirror may have none."""
    import msgspec  # noqa: PLC0415 - start-up stays lazy

    families: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        families.setdefault(outcome.name.partition("/")[0], []).append(outcome)
    shown: list[Outcome] = []
    for family, members in families.items():
        if len(members) < _FEW or any(one.kept or one.status != "failed" for one in members):
            shown += members
        else:
            shown.append(msgspec.structs.replace(members[0], name=f"{family} ({len(members)} feeds)"))
    return shown


def _chosen(words: Sequence[str]) -> list[str]:
    from pratique.advisory.feeds import select, sources  # noqa: PLC0415

    if not words:
        return sorted(sources())
    try:
        return select(words)
    except KeyError as error:
        known = sorted({e.partition(":")[0] for source in sources().values() for e in source.feed.ecosystems})
        raise UsageError(
            f"--only {error.args[0]!r} is no feed",
            hint=f"one of {', '.join([*known, 'ghsa', 'kev', 'epss', 'nvd', 'vulnrichment'])}",
        ) from None


def _listener(progress: Progress, *, debug: bool = False) -> Any:
    from pratique.advisory.update import Listener  # noqa: PLC0415

    class Watcher(Listener):
        def progress(self, feed: str, done: int, total: int) -> None:
            progress(f"fetching {feed}", done, total or -1)

        def building(self, feed: str) -> None:
            progress(f"reading {feed}", 0)

        def waiting(self) -> None:
            click.echo("pratique: waiting for another process that updates the database", err=True)

        def tripped(self, feed: str, error: Exception) -> None:
            if debug:
                import traceback  # noqa: PLC0415

                click.echo(f"{feed}: {''.join(traceback.format_exception(error))}", err=True)

    return Watcher()


def _line(outcome: Outcome, width: int) -> str:
    left_out = f", {outcome.skipped} left out" if outcome.skipped else ""
    if outcome.status == "failed":
        kept = f" (the last good data is kept: {outcome.records} records)" if outcome.kept else ""
        return printable(f"{outcome.name:<{width}}  failed     {outcome.why}{kept}")
    return f"{outcome.name:<{width}}  {outcome.status:<9}  {outcome.records} records{left_out}"


@command.command(context_settings=_HELP)
@setting("--max-age", metavar="AGE", default="7d", help="Call a source stale after this time (default 7d).")
@_format
@_cache_dir
@_debug
def status(**given: Any) -> int:
    """Say of each feed: records, newest, when it was last fetched, its age, licence, address.

    SINCE is the day from which on --as-of tells what the feed said. STATE is ok; stale (older than --max-age); failed (the last
    attempt); ahead: fetched later than now, as a clock was wrong; or outdated: of another pratique's format, not read until the
    next update.
    """
    from datetime import timedelta  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from pratique.advisory.index import database_folder, read  # noqa: PLC0415
    from pratique.advisory.lookup import open_database  # noqa: PLC0415
    from pratique.advisory.update import stamp, utc_now  # noqa: PLC0415

    folder = folder_of(given["cache_dir"])
    age, now = timedelta(seconds=duration(given["max_age"])), utc_now()
    entries = [entry for _, entry in sorted(read(database_folder(folder)).feeds.items())]
    with open_database(folder) as database:
        info = database.info()
        since = {name: stamp(max(file.born, file.horizon)) for name, file in database.files.items()}
    if given["format"].lower() == "json":
        sources = [
            {
                **msgspec.to_builtins(entry),
                "state": _state(entry, now, age),
                "age_seconds": _age_seconds(entry, now),
                "known_since": since.get(entry.name),
            }
            for entry in entries
        ]
        document = {
            "kind": info.kind,
            "built_at": info.built_at,
            "digest": info.digest,
            "folder": str(folder),
            "sources": sources,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        return 0
    click.echo(f"{info.kind} database, built {info.built_at}, {info.digest}")
    if info.kind == "starter":
        click.echo(f"Only the starter set of {info.sources[0].records} vulnerabilities is there; run: pratique db update")
    rows: list[tuple[str, ...]] = [("SOURCE", "RECORDS", "NEWEST", "FETCHED", "AGE", "STATE", "SINCE", "LICENCE", "ADDRESS")]
    there = [entry for entry in entries if entry.file]
    rows += [_row(entry, now, age, since.get(entry.name, "-")) for entry in there]
    if there:
        counts = f"{sum(entry.records for entry in there):,} records of {len(there)} sources"
        click.echo(f"{counts}, {sum(entry.size for entry in there) / 1e6:.1f} MB in {printable(str(folder))}")
    table(rows if there else [])
    for line in _absent(entries):
        click.echo(printable(line))
    return 0


def _absent(entries: Iterable[Entry]) -> Iterator[str]:
    """Say what failed: the reasons where there is older data, the names of what was never had."""
    never = []
    for entry in entries:
        if not entry.file:
            never.append(entry.name)
        elif entry.failure is not None:
            yield f"{entry.name}: the last attempt ({entry.failure.at[:16]}) failed: {entry.failure.why}"
    if never:
        yield f"never had (for the reasons: --format json): {', '.join(_gathered(never))}"


def _gathered(names: Sequence[str]) -> Iterator[str]:
    """Name a provider of which nothing is there in place of its feeds."""
    from pratique.advisory.feeds import sources  # noqa: PLC0415 - start-up stays lazy

    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.partition("/")[0], []).append(name)
    for family, members in families.items():
        every = sum(name.startswith(f"{family}/") for name in sources())
        if len(members) == every > 1:
            yield f"{family} (all {every})"
        else:
            yield from members


def _row(entry: Entry, now: datetime, age: Any, since: str) -> tuple[str, ...]:
    return (
        entry.name,
        str(entry.records),
        entry.newest[:10] or "-",
        entry.fetched_at[:16] or "never",
        _age(entry, now),
        _state(entry, now, age),
        since[:10],
        entry.licence,
        entry.url or "-",
    )


def _age(entry: Entry, now: datetime) -> str:
    """Say how long ago a feed was last fetched: minutes, hours below two days, then days."""
    seconds = _age_seconds(entry, now)
    if seconds is None:
        return "-"
    if seconds < 3600:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 2 * 86_400 else f"{seconds // 86_400}d"


def _age_seconds(entry: Entry, now: datetime) -> int | None:
    from datetime import datetime as moment  # noqa: PLC0415

    return max(0, int((now - moment.fromisoformat(entry.fetched_at)).total_seconds())) if entry.fetched_at else None


def _state(entry: Entry, now: datetime, age: Any) -> str:
    from datetime import datetime as moment  # noqa: PLC0415

    from pratique.advisory.index import CLOCK_SKEW  # noqa: PLC0415
    from pratique.advisory.layout import FORMAT  # noqa: PLC0415

    if not entry.file:
        return "missing"
    if entry.format != FORMAT:
        return "outdated"
    passed = now - moment.fromisoformat(entry.fetched_at)
    if passed > age:
        return "stale"
    if passed < -CLOCK_SKEW:
        return "ahead"
    return "failed" if entry.failure else "ok"


@command.command(context_settings=_HELP)
@_cache_dir
@_quiet
@_debug
def verify(**given: Any) -> int:
    """Check that every file of the database is what was built. Exit codes: 0 all are, 1 one is not, 3 there is none."""
    from pratique.advisory.lookup import verify as check  # noqa: PLC0415

    problems = check(folder_of(given["cache_dir"]))
    if not problems:
        raise DatabaseError("there is no database to verify", hint="run: pratique db update")
    for name, problem in problems.items():
        if problem or not given["quiet"]:
            click.echo(printable(f"{name:<26} {problem or 'ok'}"))
    return 1 if any(problems.values()) else 0
