"""`pratique db build, publish, pull, export, import`: the database made for others, and taken from them, if it verifies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique._kit.folders import default_cache_dir
from pratique.cli.options import configured, duration, mirror_address, setting
from pratique.cli.progress import Progress
from pratique.model.errors import DatabaseError, UsageError

if TYPE_CHECKING:
    from pratique.advisory.repository.pull import Pulled
    from pratique.image.options import SourceOptions

_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_FILE = click.Path(dir_okay=False, path_type=Path)

_cache_dir = setting(
    "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Where layers and advisories are kept."
)
_quiet = setting("-q", "--quiet", is_flag=True, help="Print nothing but results and errors.")
_debug = setting("--debug", is_flag=True, help="Show where an error came from.")
_offline = setting("--offline", is_flag=True, help="Make no connection; folders and files can be read.")
_insecure = setting(
    "--insecure-registry", multiple=True, metavar="HOST", help="This registry may speak plain HTTP, or show any certificate."
)
_trusted_root = setting("--trusted-root", type=_FILE, metavar="FILE", help="The root metadata that this machine trusts.")


@click.command(context_settings=_HELP)
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@setting("--only", multiple=True, metavar="LIST", help="Only these: ecosystems (Debian, PyPI), feeds (osv/PyPI) or kev, epss.")
@setting("--mirror", metavar="URL", help="Take every feed from this base address (http(s):// or file://).")
@click.option("--accept-loss", is_flag=True, help="Take a feed also where most of it is gone, or it is a month older.")
@_quiet
@_debug
def build(folder: Path, **given: Any) -> int:
    """Fetch feeds and build a database in FOLDER, to publish or export it with --cache-dir FOLDER.

    What is there is brought up to date, and downloads that broke off go on. Exit codes: 0 done, 2 bad usage, 3 a feed that was
    asked for by name, or one without which nobody can scan, is not there, old or new.
    """
    from pratique.advisory.update import Options  # noqa: PLC0415 - start-up stays lazy
    from pratique.cli.db import update_database  # noqa: PLC0415 - that module imports this one

    how = Options(mirror=mirror_address(given["mirror"]), accept_loss=given["accept_loss"])
    return update_database(folder, given["only"], how, quiet=given["quiet"], debug=given["debug"])


@click.command(context_settings=_HELP)
@click.argument("dest", metavar="DEST")
@click.option(
    "--keys",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The keys; made in an empty DIR.",
)
@click.option("--threshold", type=int, metavar="N", help="How many root keys must sign a root (default 1; see --rotate root).")
@click.option("--rotate", multiple=True, metavar="ROLE", help="Replace the keys of ROLE: root, targets, snapshot or timestamp.")
@click.option(
    "--expires",
    multiple=True,
    metavar="[ROLE=]TIME",
    help="How long a role's word holds (default timestamp=7d, snapshot=30d, targets=30d, root=365d); no ROLE: timestamp.",
)
@_insecure
@_cache_dir
@_quiet
@_debug
def publish(dest: str, **given: Any) -> int:
    """Publish the database, signed, to DEST: a folder for any web server to serve, or oci://REGISTRY/REPOSITORY.

    What changed is added, with the changes alone for whoever has the publication before; what did not change is left as it lies.
    The first root is DEST/metadata/1.root.json: give it to those who pull. Exit codes: 0 done, 1 DEST holds what these keys did
    not sign, 2 bad usage, 3 could not.
    """
    from pratique.advisory.repository.publish import How  # noqa: PLC0415 - start-up stays lazy
    from pratique.advisory.repository.publish import publish as run  # noqa: PLC0415
    from pratique.distribution import shelf  # noqa: PLC0415

    how = How(
        now=datetime.now(UTC).replace(microsecond=0),
        expires=_expires(given["expires"]),
        threshold=given["threshold"],
        rotate=given["rotate"],
        say=lambda text: click.echo(f"pratique: {text}", err=True),
    )
    opened = shelf(dest, _sources(given))
    try:
        done = run(given["cache_dir"] or default_cache_dir(), opened, given["keys"], how)
    finally:
        opened.close()
    if not given["quiet"]:
        click.echo(
            f"publication {done.number}: {len(done.full)} feeds new or changed ({len(done.changed)} of them also as changes, "
            f"{done.change_bytes} bytes), {len(done.unchanged)} unchanged, {done.bytes} bytes written, root {done.root}"
        )
    return 0


def _expires(values: Sequence[str]) -> dict[str, timedelta]:
    found = {}
    for value in values:
        role, _, time = value.rpartition("=")
        seconds = duration(time)
        if not seconds:
            raise UsageError(f"--expires {value}: that would expire at once")
        found[role or "timestamp"] = timedelta(seconds=seconds)
    return found


@click.command(context_settings=_HELP)
@click.argument("address", metavar="[ADDRESS]", required=False)
@_trusted_root
@_offline
@_insecure
@_cache_dir
@_quiet
@_debug
def pull(address: str | None, **given: Any) -> int:
    """Bring the database to the newest publication at ADDRESS, if it verifies.

    ADDRESS is https://, http://, file://, oci://, a folder, or a file written by db export. Without it,
    `database` of the configuration says where. Tampering, an older state than one seen before, metadata that has expired and data
    without end are refused; the database then stays as it was. Exit codes: 0 done, 1 does not verify, 2 bad usage, 3 could not be
    had.
    """
    from pratique.distribution import bring  # noqa: PLC0415 - start-up stays lazy

    address = address or _configured_database()
    root = given["trusted_root"]
    if not address or root is None:
        missing = "--trusted-root" if address else "ADDRESS"
        raise UsageError(
            f"db pull needs {missing}", hint="as the publisher gave it to you: metadata/1.root.json of the repository"
        )
    progress = Progress(quiet=given["quiet"])
    try:
        done = bring(address, root, _sources(given), progress)
    finally:
        progress.clear()
    _report(done, quiet=given["quiet"])
    return 0


def _configured_database() -> str:
    import os  # noqa: PLC0415 - beside its one use

    return os.environ.get("PRATIQUE_DATABASE") or str(configured().get("database") or "")


@click.command(context_settings=_HELP)
@click.argument("file", metavar="FILE", type=_FILE)
@click.option("--database", metavar="ADDRESS", help="Take the newest publication of a repository, not this machine's database.")
@click.option("--trusted-root", type=_FILE, metavar="FILE", help="The root metadata that vouches for --database.")
@_offline
@_insecure
@_cache_dir
@_quiet
@_debug
def export(file: Path, **given: Any) -> int:
    """Write the database into one FILE for a site without a connection.

    With --database and --trusted-root the publication of a repository is written, once it has verified, with its signatures: the
    site checks them by `db import --trusted-root`. Exit codes: 0 done, 1 does not verify, 2 bad usage, 3 could not.
    """
    from pratique.advisory.repository.bundle import export as write  # noqa: PLC0415 - start-up stays lazy

    if given["database"]:
        done = _export_signed(file, given)
    elif given["trusted_root"] is not None:
        raise UsageError("--trusted-root goes with --database: this machine's own database is not signed")
    else:
        done = write(given["cache_dir"] or default_cache_dir(), file)
    if not given["quiet"]:
        signed = f"publication {done.number}, signed" if done.number else "not signed"
        click.echo(f"{file}: {done.feeds} feeds, {done.bytes} bytes, {signed}")
    return 0


def _export_signed(file: Path, given: dict[str, Any]) -> Any:
    from pratique.advisory.repository.bundle import export_signed  # noqa: PLC0415 - as above
    from pratique.advisory.repository.pull import read_root  # noqa: PLC0415
    from pratique.distribution import library  # noqa: PLC0415

    if given["trusted_root"] is None:
        raise UsageError("--database needs --trusted-root", hint="metadata/1.root.json of the repository")
    root = read_root(given["trusted_root"])
    opened = library(given["database"], _sources(given))
    try:
        return export_signed(opened, root, file, datetime.now(UTC))
    finally:
        opened.close()


@click.command("import", context_settings=_HELP)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@_trusted_root
@_cache_dir
@_quiet
@_debug
def import_(file: Path, **given: Any) -> int:
    """Take the database in FILE over, all of it or nothing.

    With --trusted-root the file must be a signed one, verify, and be no older than what was taken before; without it only damage
    is noticed, and an older database is taken with a warning. Exit codes: 0 done, 1 does not verify, 2 bad usage, 3 could not.
    """
    from pratique.advisory.repository.bundle import import_signed, import_unsigned  # noqa: PLC0415 - start-up stays lazy
    from pratique.advisory.repository.pull import How, read_root  # noqa: PLC0415

    folder = given["cache_dir"] or default_cache_dir()
    how = How(now=datetime.now(UTC))
    if given["trusted_root"] is not None:
        done = import_signed(folder, file, read_root(given["trusted_root"]), how)
    else:
        before = _fetched(folder)
        done = import_unsigned(folder, file, how)
        if not given["quiet"]:
            click.echo("pratique: nobody's signature was checked; --trusted-root does that", err=True)
        if done.published_at < before:  # said in any case: what came later is not known any more
            click.echo(
                f"pratique: this database is of {done.published_at}, older than the one that was here, of {before}", err=True
            )
    _report(done, quiet=given["quiet"])
    return 0


def _fetched(folder: Path) -> str:
    """Return when anything in the database was last fetched; "" where there is none, or nobody can tell."""
    from pratique.advisory.index import database_folder, read  # noqa: PLC0415 - start-up stays lazy

    try:
        return max((entry.fetched_at for entry in read(database_folder(folder)).feeds.values()), default="")
    except DatabaseError:
        return ""


def _report(done: Pulled, *, quiet: bool) -> None:
    if quiet:
        return
    publication = f"publication {done.number} of {done.published_at}" if done.number else f"database of {done.published_at}"
    click.echo(
        f"{publication}: {len(done.whole)} feeds whole, {len(done.changed)} by their changes, {len(done.unchanged)} unchanged, "
        f"{done.bytes} bytes"
    )


def _sources(given: dict[str, Any]) -> SourceOptions:
    from pratique.image.options import SourceOptions  # noqa: PLC0415 - start-up stays lazy

    return SourceOptions(
        cache_dir=given["cache_dir"] or default_cache_dir(),
        offline=bool(given.get("offline")),
        insecure=given.get("insecure_registry") or (),
    )


COMMANDS: tuple[click.Command, ...] = (build, publish, pull, export, import_)
