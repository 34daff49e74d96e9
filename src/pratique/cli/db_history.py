"""`pratique db diff, compact`: two states of the database in, what differs out; and how much of the past is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique._kit.folders import default_cache_dir
from pratique.cli.options import duration, setting
from pratique.model.errors import DatabaseError, UsageError

if TYPE_CHECKING:
    from pratique.advisory.compare import Difference, PackageChange, RecordChange
    from pratique.advisory.lookup import Database
    from pratique.model.inventory import Package

SCHEMA = "urn:pratique:schema:database-difference-1"
_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_PACKAGES_SHOWN = 20  # of one record; the kernel of a distribution is a hundred packages. JSON has all.

_cache_dir = setting(
    "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Where layers and advisories are kept."
)
_quiet = setting("-q", "--quiet", is_flag=True, help="Print nothing but results and errors.")
_debug = setting("--debug", is_flag=True, help="Show where an error came from.")


@click.command(context_settings=_HELP)
@click.argument("old", metavar="A")
@click.argument("new", metavar="[B]", default="now")
@click.option(
    "--inventory",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Say which packages of this saved JSON report or SBOM are touched; repeatable.",
)
@click.option("--scores", is_flag=True, help="Count a moved EPSS score as a change, too: most move every day.")
@setting("-f", "--format", type=click.Choice(["table", "json"], case_sensitive=False), default="table", help="table or json.")
@_cache_dir
@_debug
def diff(old: str, new: str, **given: Any) -> int:
    """List the records that differ between two states of the database: added, removed, changed, and what of them.

    A and B are moments (RFC 3339, a date alone is its first second; B is by default the present) of the database in --cache-dir,
    or other databases: a cache folder, a database folder, a file written by db export. With --inventory only what concerns one of
    its packages is listed, and the packages whose findings may differ.

    Exit codes: 0 done, 2 bad usage, 3 could not tell, such as before the first build.
    """
    from pratique.advisory.compare import compare  # noqa: PLC0415 - start-up stays lazy
    from pratique.advisory.touched import touched  # noqa: PLC0415

    with ExitStack() as stack:
        before, after = (_state(value, given["cache_dir"] or default_cache_dir(), stack) for value in (old, new))
        found = compare(before, after)
        packages = None
        if given["inventory"]:
            pairs = touched(before, after, scores=given["scores"])
            packages = [(str(path), package) for path in given["inventory"] for package in _touched(path, pairs)]
            found = _concerning(found, (before, after), given["inventory"])
    if given["format"].lower() == "json":
        _print_json(old, new, found, packages, scores=given["scores"])
    else:
        for line in _lines(found, packages, scores=given["scores"]):
            click.echo(line)
    return 0


def _state(value: str, cache_dir: Path, stack: ExitStack) -> Database:
    """Open what a person named. Raises UsageError, DatabaseError."""
    from datetime import datetime  # noqa: PLC0415 - start-up stays lazy

    from pratique.advisory.index import INDEX  # noqa: PLC0415
    from pratique.advisory.lookup import open_database  # noqa: PLC0415
    from pratique.cli.target import moment  # noqa: PLC0415

    path = Path(value)
    if path.is_dir():
        folder = path if (path / INDEX).is_file() else None
        database = stack.enter_context(open_database(path, folder=folder))
    elif path.is_file():
        database = stack.enter_context(open_database(_unpacked(path, stack)))
    elif value == "now":
        database = stack.enter_context(open_database(cache_dir))
    else:
        try:
            at = datetime.fromisoformat(moment(value))
        except UsageError:
            raise UsageError(
                f"{value!r} is no moment, folder or file", hint="write RFC 3339, such as 2026-03-01T12:00:00Z, or a path"
            ) from None
        database = stack.enter_context(open_database(cache_dir, as_of=at))
        if not database.files:
            raise DatabaseError(f"nothing is known of what was known at {value}", hint="the database begins later, or forgot it")
    if not database.files:
        raise DatabaseError(f"{value if value != 'now' else cache_dir}: there is no database", hint="run: pratique db update")
    return database


def _unpacked(file: Path, stack: ExitStack) -> Path:
    """Unpack an exported database. Its signatures are not looked at: nothing is decided by it."""
    import tempfile  # noqa: PLC0415 - beside its one use
    from datetime import UTC, datetime  # noqa: PLC0415

    from pratique.advisory.repository.bundle import import_unsigned  # noqa: PLC0415
    from pratique.advisory.repository.pull import How  # noqa: PLC0415

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pratique-")))
    import_unsigned(folder, file, How(now=datetime.now(UTC)))
    return folder


def _pairs(path: Path) -> Iterator[tuple[Package, tuple[str, str]]]:
    """Yield the packages of a saved report or SBOM, each with what the database is asked about it."""
    from pratique.match.find import subjects  # noqa: PLC0415 - start-up stays lazy
    from pratique.model.ecosystems import canonical, normalize  # noqa: PLC0415

    packages, release = _inventory(path)
    for subject in subjects(packages, release)[0]:
        yield subject.package, (canonical(subject.ecosystem), normalize(subject.ecosystem, subject.name))


def _inventory(path: Path) -> tuple[Sequence[Package], str]:
    from pratique.cli.saved import saved_reports  # noqa: PLC0415 - start-up stays lazy
    from pratique.inventory.distro import advisory_ecosystem  # noqa: PLC0415
    from pratique.inventory.sbom.read import read_sbom  # noqa: PLC0415
    from pratique.model.inventory import Distro  # noqa: PLC0415

    reports = saved_reports(str(path))
    if reports is None:
        inventory, _ = read_sbom(path)
        return inventory.packages, inventory.release
    packages = [package for report in reports for package in report.packages]
    distro = next((report.target.distro for report in reports if report.target.distro is not None), None)
    release = advisory_ecosystem(Distro(id=distro.id, version=distro.version)) if distro is not None else ""
    return packages, release or ""


def _touched(path: Path, pairs: set[tuple[str, str]]) -> list[Package]:
    found = {package.purl: package for package, pair in _pairs(path) if pair in pairs}
    return [package for _, package in sorted(found.items())]


def _concerning(found: Difference, states: Sequence[Database], inventories: Sequence[Path]) -> Difference:
    """Keep the records that name, or named, a package of an inventory."""
    import msgspec  # noqa: PLC0415 - start-up stays lazy

    pairs = {pair for path in inventories for _, pair in _pairs(path)}
    wanted: dict[str, list[str]] = {}
    for ecosystem, package in pairs:
        wanted.setdefault(ecosystem, []).append(package)
    asked = (state.lookup(ecosystem, names) for state in states for ecosystem, names in wanted.items())
    mine = {(hit.feed, hit.id) for answer in asked for hits in answer.values() for hit in hits}
    records = [
        msgspec.structs.replace(record, packages=tuple(one for one in record.packages if (one.ecosystem, one.package) in pairs))
        for record in found.records
        if (record.feed, record.id) in mine
    ]
    return msgspec.structs.replace(found, records=tuple(records))


def _print_json(old: str, new: str, found: Difference, packages: list[tuple[str, Package]] | None, *, scores: bool) -> None:
    import msgspec  # noqa: PLC0415 - start-up stays lazy

    document: dict[str, Any] = {"schema": SCHEMA, "old": old, "new": new, **msgspec.to_builtins(found)}
    document["scores_changed"] = len(found.scores)
    if not scores:
        del document["scores"]
    if packages is not None:
        document["inventory"] = [
            {"file": file, "purl": package.purl, "name": package.name, "version": package.version} for file, package in packages
        ]
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _lines(found: Difference, packages: list[tuple[str, Package]] | None, *, scores: bool) -> Iterator[str]:
    from pratique.report.text import plural, safe  # noqa: PLC0415 - start-up stays lazy

    yield from (f"+ {feed}: the whole feed" for feed in found.feeds_added)
    yield from (f"- {feed}: the whole feed" for feed in found.feeds_removed)
    for record in found.records:
        if record.feed not in (*found.feeds_added, *found.feeds_removed):
            yield from map(safe, _record(record))
    yield from (safe(f"~ {cve} KEV") for cve in found.kev)
    if scores:
        yield from (safe(f"~ {cve} EPSS") for cve in found.scores)
    counts = {change: sum(record.change == change for record in found.records) for change in _SIGNS}
    yield (
        f"{plural(len(found.records), 'record')}: {counts['added']} added, {counts['removed']} removed, "
        f"{counts['changed']} changed; KEV: {len(found.kev)}, EPSS: {len(found.scores)}"
    )
    if packages is not None:
        yield f"{plural(len(packages), 'package')} touched" + (":" if packages else "")
        yield from (safe(f"  {package.purl}  ({file})") for file, package in packages)


def _record(record: RecordChange) -> Iterator[str]:
    others = f" ({', '.join(record.aliases)})" if record.aliases else ""
    what = f": {', '.join(record.what)}" if record.what else ""
    yield f"{_SIGNS[record.change]} {record.feed} {record.id}{others} {record.change}{what}"
    for one in record.packages[:_PACKAGES_SHOWN]:
        yield f"    {one.ecosystem} {one.package}: {_turn(one)}"
    if len(record.packages) > _PACKAGES_SHOWN:
        yield f"    and {len(record.packages) - _PACKAGES_SHOWN} more packages"


def _turn(one: PackageChange) -> str:
    if one.before and one.after:
        return f"{one.before} -> {one.after}"
    return one.after or f"no longer {one.before}"


@click.command(context_settings=_HELP)
@click.option("--keep", metavar="TIME", default="400d", help="Keep what was known within this time (default 400d).")
@_cache_dir
@_quiet
@_debug
def compact(keep: str, **given: Any) -> int:
    """Forget what was known longer ago than --keep; what is known now stays.

    Updates do this by themselves, with the default, to each file that they change. Of EPSS scores a month is kept at most.
    Whoever asks about a moment before that (--as-of) gets the gap advisories.history-compacted.

    Exit codes: 0 done, 2 bad usage, 3 could not.
    """
    from pratique.advisory.compact import compact as run  # noqa: PLC0415 - start-up stays lazy

    def waiting() -> None:
        click.echo("pratique: waiting for another process that updates the database", err=True)

    done = run(given["cache_dir"] or default_cache_dir(), duration(keep), waiting=waiting)
    if not given["quiet"]:
        for one in done:
            click.echo(f"{one.name:<26} {one.before} -> {one.after} bytes")
        if not done:
            click.echo("nothing to forget")
    return 0


COMMANDS: tuple[click.Command, ...] = (diff, compact)
