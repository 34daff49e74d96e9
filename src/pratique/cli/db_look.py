"""`pratique db show, search`: a name or a few letters in, what the database says of them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique._kit.folders import default_cache_dir
from pratique.cli.options import setting
from pratique.model.errors import DatabaseError

if TYPE_CHECKING:
    from pratique.advisory.lookup import Database
    from pratique.model.advisory import Advisory
    from pratique.model.hits import Hit, HitRange

_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_cache_dir = setting(
    "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Where layers and advisories are kept."
)
_debug = setting("--debug", is_flag=True, help="Show where an error came from.")
_format = setting(
    "-f",
    "--format",
    type=click.Choice(["table", "json"], case_sensitive=False),
    default="table",
    help="table (the default) or json.",
)


def folder_of(given: Path | None) -> Path:
    """Return the cache directory that was given, or the usual one."""
    return given or default_cache_dir()


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first row as their heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo(printable("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))


def printable(text: str) -> str:
    """Feeds are not trusted with the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


@click.command(context_settings=_HELP)
@click.argument("identifier", metavar="ID")
@setting("--as-of", metavar="TIME", help="Print what the database knew at this moment (RFC 3339).")
@_format
@_cache_dir
@_debug
def show(identifier: str, **given: Any) -> int:
    """Print what the database knows of a vulnerability: CVE-..., GHSA-..., DSA-...

    Exit codes: 0 known, 1 no advisory names it, 3 nothing can be told of that moment.
    """
    import msgspec  # noqa: PLC0415

    identifier = _spelled(identifier)
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
            table([("FEED", "ID", "ECOSYSTEM", "PACKAGE", "AFFECTED"), *affected] if affected else [])
            _say_who_is_not_asked(database, {row[0] for row in affected})
    if not found and not affected:
        click.echo(f"pratique: no advisory that is here names {printable(identifier)}", err=True)
        return 1
    return 0


def _spelled(identifier: str) -> str:
    """Return the usual spelling of CVE and GHSA ids, which people write as they like."""
    kind = identifier[:5].lower()
    if kind == "ghsa-":
        return "GHSA-" + identifier[5:].lower()
    return identifier.upper() if kind.startswith("cve-") else identifier


def _say_who_is_not_asked(database: Database, shown: set[str]) -> None:
    from pratique.advisory.feeds import FALLBACKS  # noqa: PLC0415 - start-up stays lazy

    for feed, better in FALLBACKS.items():
        if feed in shown and better in database.files:
            click.echo(f"{feed} is asked only where {better} is not there")


def _opened(given: dict[str, Any]) -> Database:
    """Open the database as of --as-of. Raises DatabaseError where no feed reaches that far back."""
    from datetime import datetime as moment  # noqa: PLC0415

    from pratique.advisory.lookup import open_database  # noqa: PLC0415
    from pratique.cli.target import moment as read_moment  # noqa: PLC0415

    if not given["as_of"]:
        return open_database(folder_of(given["cache_dir"]))
    at = read_moment(given["as_of"])
    database = open_database(folder_of(given["cache_dir"]), as_of=moment.fromisoformat(at))
    if not database.files:
        database.close()
        raise DatabaseError(f"nothing is known of what was known at {at}: the database begins later")
    return database


@click.command(context_settings=_HELP)
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
    import msgspec  # noqa: PLC0415

    from pratique.advisory.lookup import open_database  # noqa: PLC0415

    limit, wanted = given["limit"], text.lower()
    with open_database(folder_of(given["cache_dir"])) as database:
        packages = sorted(database.packages(text), key=lambda row: _nearness(row[2], wanted))
        advisories = [(feed, one.id, " ".join(one.aliases), one.summary) for feed, one in database.search(text)]
        advisories.sort(key=lambda row: min(_nearness(name, wanted) for name in (row[1], *row[2].split())))
    counts = [
        f"{limit} of {len(rows)} {what}"
        for rows, what in ((packages, "packages"), (advisories, "advisories"))
        if len(rows) > limit
    ]
    packages, advisories = packages[:limit], advisories[:limit]
    if given["format"].lower() == "json":
        document = {
            "text": text,
            "packages": [dict(zip(("feed", "ecosystem", "package", "advisories"), row, strict=True)) for row in packages],
            "advisories": [dict(zip(("feed", "id", "aliases", "title"), row, strict=True)) for row in advisories],
            "more": bool(counts),
        }
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        named = [(feed, place, name, str(count)) for feed, place, name, count in packages]
        table([("FEED", "ECOSYSTEM", "PACKAGE", "ADVISORIES"), *named] if named else [])
        if named and advisories:
            click.echo("")
        table([("FEED", "ID", "ALIASES", "TITLE"), *advisories] if advisories else [])
    if counts:
        click.echo(f"pratique: {' and '.join(counts)} are shown; see --limit", err=True)
    if not packages and not advisories:
        click.echo(f"pratique: nothing here contains {printable(text)}", err=True)
        return 1
    return 0


def _nearness(name: str, wanted: str) -> int:
    """Order the name itself before names that begin with it, and those before all others."""
    lower = name.lower()
    return 0 if lower == wanted else 1 if lower.startswith(wanted) else 2


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
        click.echo(printable(f"{advisory.id}  ({feed})"))
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
                click.echo(printable(f"  {label + ': ' if label else ''}{text}"))
    for entry in database.kev(names).values():
        words = ", also by ransomware" if entry.ransomware else ""
        due = f"; to be mended by {entry.due} (CISA)" if entry.due else ""
        click.echo(printable(f"{entry.cve} is known to be exploited since {entry.added}{words}{due}"))
    for cve, answers in database.ssvc(names).items():
        words = f"exploitation {answers.exploitation}, automatable {answers.automatable}, impact {answers.impact}"
        click.echo(printable(f"{cve} CISA's SSVC: {words} ({answers.date})"))
    for score in database.epss(names).values():
        click.echo(f"{score.cve} EPSS {score.score:.5f}, percentile {score.percentile:.3f} ({score.date})")


COMMANDS = (show, search)
