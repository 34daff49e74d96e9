"""`pratique db`: feeds in, an up-to-date advisory database out, and what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique._kit.folders import default_cache_dir
from pratique.cli import db_history, db_repository
from pratique.cli.options import duration, mirror_address, setting
from pratique.cli.progress import Progress
from pratique.model.errors import DatabaseError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from pratique.advisory.index import Entry
    from pratique.advisory.lookup import Database
    from pratique.advisory.update import Outcome
    from pratique.model.advisory import Advisory
    from pratique.model.hits import Hit, HitRange

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


for _one in (*db_repository.COMMANDS, *db_history.COMMANDS):
    command.add_command(_one)


@command.command(context_settings=_HELP)
@setting(
    "--only", multiple=True, metavar="LIST", help="Only these: ecosystems (Debian, PyPI), feeds (osv/PyPI) or kev, epss, nvd."
)
@setting("--mirror", metavar="URL", help="Take every feed from this base address (http(s):// or file://).")
@setting("--offline", is_flag=True, help="Make no connection; only a file:// mirror can be read.")
@_cache_dir
@_quiet
@_debug
def update(**given: Any) -> int:
    """Fetch what is new of every feed, or of those chosen.

    Prints one line a feed. A feed that fails keeps its last good data. Exit codes: 0 done, 2 bad usage, 3 a required feed (or one
    that was chosen) is not there, old or new, or nothing could be had at all.
    """
    mirror = mirror_address(given["mirror"])
    if given["offline"] and not mirror.startswith("file:"):
        raise UsageError(
            "db update makes connections", hint="with --offline only a file:// mirror can be read: --mirror file://DIR"
        )
    return update_database(_folder(given["cache_dir"]), given["only"], mirror, quiet=given["quiet"], offline=given["offline"])


def update_database(folder: Path, only: Sequence[str], mirror: str, *, quiet: bool, offline: bool = False) -> int:
    """Bring the database of `folder` up to date and print one line a feed; return the exit code. Raises DatabaseError."""
    from pratique.advisory.update import Options, required_missing  # noqa: PLC0415 - start-up stays lazy
    from pratique.advisory.update import update as bring  # noqa: PLC0415

    names = _chosen(only)
    progress = Progress(quiet=quiet)
    try:
        outcomes = bring(folder, names, Options(mirror=mirror, offline=offline), _listener(progress))
    finally:
        progress.clear()
    width = max(len(outcome.name) for outcome in outcomes)
    for outcome in outcomes:
        if not quiet or outcome.status == "failed":
            click.echo(_line(outcome, width), err=quiet)
    if not quiet and len(outcomes) > 1:
        counts = [(word, sum(outcome.status == word for outcome in outcomes)) for word in ("updated", "unchanged", "failed")]
        click.echo(", ".join(f"{count} {word}" for word, count in counts if count))
    missing = required_missing(outcomes, chosen=bool(only))
    if missing or all(outcome.status == "failed" for outcome in outcomes):
        raise DatabaseError(f"not there: {', '.join(missing)}" if missing else "no feed could be had")
    return 0


def _chosen(words: Sequence[str]) -> list[str]:
    from pratique.advisory.feeds import select, sources  # noqa: PLC0415

    if not words:
        return sorted(sources())
    try:
        return select(words)
    except KeyError as error:
        known = sorted({e.partition(":")[0] for source in sources().values() for e in source.feed.ecosystems})
        raise UsageError(
            f"--only {error.args[0]!r} is no feed", hint=f"one of {', '.join([*known, 'kev', 'epss', 'nvd', 'vulnrichment'])}"
        ) from None


def _listener(progress: Progress) -> Any:
    from pratique.advisory.update import Listener  # noqa: PLC0415

    class Watcher(Listener):
        def progress(self, feed: str, done: int, total: int) -> None:
            progress(f"fetching {feed}", done, total or -1)

        def building(self, feed: str) -> None:
            progress(f"reading {feed}", 0)

        def waiting(self) -> None:
            click.echo("pratique: waiting for another process that updates the database", err=True)

    return Watcher()


def _line(outcome: Outcome, width: int) -> str:
    left_out = f", {outcome.skipped} left out" if outcome.skipped else ""
    if outcome.status == "failed":
        kept = f" (the last good data is kept: {outcome.records} records)" if outcome.kept else ""
        return _printable(f"{outcome.name:<{width}}  failed     {outcome.why}{kept}")
    return f"{outcome.name:<{width}}  {outcome.status:<9}  {outcome.records} records{left_out}"


@command.command(context_settings=_HELP)
@setting("--max-age", metavar="AGE", default="7d", help="Call a source stale after this time (default 7d).")
@_format
@_cache_dir
@_debug
def status(**given: Any) -> int:
    """Say of each feed: records, newest, when it was last fetched, its age, licence, address."""
    from datetime import timedelta  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from pratique.advisory.index import database_folder, read  # noqa: PLC0415
    from pratique.advisory.lookup import open_database  # noqa: PLC0415
    from pratique.advisory.update import utc_now  # noqa: PLC0415

    folder = _folder(given["cache_dir"])
    age, now = timedelta(seconds=duration(given["max_age"])), utc_now()
    entries = [entry for _, entry in sorted(read(database_folder(folder)).feeds.items())]
    with open_database(folder) as database:
        info = database.info()
    if given["format"].lower() == "json":
        sources = [
            {**msgspec.to_builtins(entry), "state": _state(entry, now, age), "age_seconds": _age_seconds(entry, now)}
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
    rows: list[tuple[str, ...]] = [("SOURCE", "RECORDS", "NEWEST", "FETCHED", "AGE", "STATE", "LICENCE", "ADDRESS")]
    there = [entry for entry in entries if entry.file]
    rows += [_row(entry, now, age) for entry in there]
    _table(rows if there else [])
    for line in _absent(entries):
        click.echo(_printable(line))
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
        yield f"never had (for the reasons: --format json): {', '.join(never)}"


def _row(entry: Entry, now: datetime, age: Any) -> tuple[str, ...]:
    return (
        entry.name,
        str(entry.records),
        entry.newest[:10] or "-",
        entry.fetched_at[:16] or "never",
        _age(entry, now),
        _state(entry, now, age),
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

    if not entry.file:
        return "missing"
    if now - moment.fromisoformat(entry.fetched_at) > age:
        return "stale"
    return "failed" if entry.failure else "ok"


@command.command(context_settings=_HELP)
@_cache_dir
@_quiet
@_debug
def verify(**given: Any) -> int:
    """Check that every file of the database is what was built. Exit codes: 0 all are, 1 one is not, 3 there is none."""
    from pratique.advisory.lookup import verify as check  # noqa: PLC0415

    problems = check(_folder(given["cache_dir"]))
    if not problems:
        raise DatabaseError("there is no database to verify", hint="run: pratique db update")
    for name, problem in problems.items():
        if problem or not given["quiet"]:
            click.echo(_printable(f"{name:<26} {problem or 'ok'}"))
    return 1 if any(problems.values()) else 0


@command.command(context_settings=_HELP)
@click.argument("identifier", metavar="ID")
@setting("--as-of", metavar="TIME", help="Print what the database knew at this moment (RFC 3339).")
@_format
@_cache_dir
@_debug
def show(identifier: str, **given: Any) -> int:
    """Print what the database knows of a vulnerability: CVE-..., GHSA-..., DSA-...

    Exit codes: 0 known, 1 not known, 3 nothing can be told of that moment.
    """
    import msgspec  # noqa: PLC0415

    with _opened(given) as database:
        found = database.find(identifier)
        affected = [(feed, *_affected(place, package, hit)) for feed, place, package, hit in database.affected(identifier)]
        names = {identifier, *(name for _, advisory in found for name in (advisory.id, *advisory.aliases))}
        if given["format"].lower() == "json":
            document = {
                "id": identifier,
                "advisories": [{"feed": feed, **msgspec.to_builtins(advisory)} for feed, advisory in found],
                "affected": [dict(zip(("feed", "id", "ecosystem", "package", "versions"), row, strict=True)) for row in affected],
                "kev": msgspec.to_builtins(list(database.kev(names).values())),
                "epss": msgspec.to_builtins(list(database.epss(names).values())),
                "ssvc": msgspec.to_builtins(database.ssvc(names)),
            }
            click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        else:
            _describe(database, names, found)
            _table([("FEED", "ID", "ECOSYSTEM", "PACKAGE", "AFFECTED"), *affected] if affected else [])
    if not found and not affected:
        click.echo(f"pratique: {_printable(identifier)} is not known here", err=True)
        return 1
    return 0


def _opened(given: dict[str, Any]) -> Database:
    """Open the database as of --as-of. Raises DatabaseError where no feed reaches that far back."""
    from datetime import datetime as moment  # noqa: PLC0415

    from pratique.advisory.lookup import open_database  # noqa: PLC0415
    from pratique.cli.target import moment as read_moment  # noqa: PLC0415

    if not given["as_of"]:
        return open_database(_folder(given["cache_dir"]))
    at = read_moment(given["as_of"])
    database = open_database(_folder(given["cache_dir"]), as_of=moment.fromisoformat(at))
    if not database.files:
        database.close()
        raise DatabaseError(f"nothing is known of what was known at {at}: the database begins later")
    return database


@command.command(context_settings=_HELP)
@click.argument("text", metavar="TEXT")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, metavar="N", help="Show at most N of each kind (default 50)."
)
@_format
@_cache_dir
@_debug
def search(text: str, **given: Any) -> int:
    """Find packages whose name, and advisories whose title or id, contains TEXT. Exit codes: 0 found, 1 nothing.

    Reads the whole database, but not the shipped starter set. Upper and lower case are the same.
    """
    from itertools import islice  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from pratique.advisory.lookup import open_database  # noqa: PLC0415

    limit = given["limit"]
    with open_database(_folder(given["cache_dir"])) as database:
        packages = list(islice(database.packages(text), limit + 1))
        advisories = [
            (feed, one.id, " ".join(one.aliases), one.summary) for feed, one in islice(database.search(text), limit + 1)
        ]
    more = len(packages) > limit or len(advisories) > limit
    packages, advisories = packages[:limit], advisories[:limit]
    if given["format"].lower() == "json":
        document = {
            "text": text,
            "packages": [dict(zip(("feed", "ecosystem", "package", "advisories"), row, strict=True)) for row in packages],
            "advisories": [dict(zip(("feed", "id", "aliases", "title"), row, strict=True)) for row in advisories],
            "more": more,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        named = [(feed, place, name, str(count)) for feed, place, name, count in packages]
        _table([("FEED", "ECOSYSTEM", "PACKAGE", "ADVISORIES"), *named] if named else [])
        if named and advisories:
            click.echo("")
        _table([("FEED", "ID", "ALIASES", "TITLE"), *advisories] if advisories else [])
    if more:
        click.echo(f"pratique: only the first {limit} of each kind are shown; see --limit", err=True)
    if not packages and not advisories:
        click.echo(f"pratique: nothing here contains {_printable(text)}", err=True)
        return 1
    return 0


def _affected(ecosystem: str, package: str, hit: Hit) -> tuple[str, str, str, str]:
    parts = [_interval(one) for one in hit.ranges] + list(hit.versions)
    words = (hit.state, ", ".join(parts), f"({hit.note})" if hit.note else "")
    return hit.id, ecosystem, package, " ".join(word for word in words if word)


def _interval(one: HitRange) -> str:
    end = {1: f"< {one.upper}", 2: f"<= {one.upper}", 3: f"< {one.upper}"}.get(one.bound, "")
    start = f">= {one.introduced}" if one.introduced else ""
    return " ".join(part for part in (start, end) if part) or "every version"


def _describe(database: Database, names: Iterable[str], found: Sequence[tuple[str, Advisory]]) -> None:
    for feed, advisory in found:
        click.echo(_printable(f"{advisory.id}  ({feed})"))
        lines = (
            ("", advisory.summary),
            ("aliases", " ".join(advisory.aliases)),
            ("related", " ".join(advisory.related)),
            ("severity", " ".join(part for part in (advisory.severity, *advisory.cvss) if part)),
            ("published", advisory.published),
            ("see", " ".join(advisory.references)),
        )
        for label, text in lines:
            if text:
                click.echo(_printable(f"  {label + ': ' if label else ''}{text}"))
    for entry in database.kev(names).values():
        click.echo(f"{entry.cve} is known to be exploited since {entry.added}")
    for cve, answers in database.ssvc(names).items():
        words = f"exploitation {answers.exploitation}, automatable {answers.automatable}, impact {answers.impact}"
        click.echo(_printable(f"{cve} CISA's SSVC: {words} ({answers.date})"))
    for score in database.epss(names).values():
        click.echo(f"{score.cve} EPSS {score.score:.5f}, percentile {score.percentile:.3f} ({score.date})")


def _folder(given: Path | None) -> Path:
    return given or default_cache_dir()


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo(_printable("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))


def _printable(text: str) -> str:
    """Feeds are not trusted with the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)
