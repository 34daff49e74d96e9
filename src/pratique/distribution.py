"""The address of a database repository in, what reads or writes it out: a folder, a file, a web server or a registry.

Here, above the rooms, because a registry is spoken to by the image room and a repository understood by the advisory room.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from pratique.model.errors import FeedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pratique.advisory.repository.pull import Pulled
    from pratique.advisory.repository.shelf import Library, Shelf
    from pratique.image.options import SourceOptions

_REGISTRY = ("oci://", "registry:")


def library(address: str, sources: SourceOptions) -> Library:
    """Open a repository to read: https://, http://, file://, oci:// (or registry:), a folder, or a file that `db export` wrote.

    Raises UsageError for an address that is none, FeedError for one that --offline forbids.
    """
    place = address.removeprefix("oci://") if address.startswith("oci://") else address.removeprefix("registry:")
    if sources.offline and (place != address or _scheme(address) in ("http", "https")):
        raise FeedError(f"{address} may not be asked: --offline", hint="a folder or a file can be read")
    if place != address:
        from pratique.image.artifact import Artifacts  # noqa: PLC0415 - start-up stays lazy

        return Artifacts(place, sources)
    if _scheme(address) in ("http", "https"):
        from pratique.advisory.repository.web import Web  # noqa: PLC0415

        return Web(address)
    path = _path(address)
    if path.is_file():
        from pratique.advisory.repository.bundle import open_bundle  # noqa: PLC0415

        return open_bundle(path)
    from pratique.advisory.repository.shelf import Folder  # noqa: PLC0415

    if not path.is_dir():
        raise FeedError(f"{address}: there is no such folder or file")
    return Folder(path)


def shelf(address: str, sources: SourceOptions) -> Shelf:
    """Open a repository to write: a folder, which is made, or a registry's. Raises UsageError."""
    for prefix in _REGISTRY:
        if address.startswith(prefix):
            from pratique.image.artifact import Artifacts  # noqa: PLC0415

            return Artifacts(address.removeprefix(prefix), sources)
    if _scheme(address) in ("http", "https"):
        raise UsageError(
            f"{address} cannot be published to",
            hint="publish to a folder that the web server serves, or to oci://REGISTRY/REPOSITORY",
        )
    from pratique.advisory.repository.shelf import Folder  # noqa: PLC0415

    path = _path(address)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{address} is no folder")
    return Folder(path)


def bring(
    address: str, trusted_root: Path, sources: SourceOptions, tell: Callable[[str, int, int], None] | None = None
) -> Pulled:
    """Bring the database in the cache to the newest publication of a repository.

    Raises VerificationError, FeedError, DatabaseError, UsageError; the database is then as it was.
    """
    from pratique.advisory.repository.pull import How, pull, read_root  # noqa: PLC0415

    root = read_root(trusted_root)
    opened = library(address, sources)
    try:
        return pull(sources.cache_dir, opened, root, How(now=datetime.now(UTC), tell=tell))
    finally:
        opened.close()


def refresh(source: Publications, sources: SourceOptions, tell: Callable[[str, int, int], None] | None = None) -> str:
    """Bring the database to the newest publication for a scan, if nobody asked for a day; return why not, "" where it is.

    Offline only what needs no connection is asked. Raises UsageError for an address or a root that cannot be meant.
    """
    from pratique.advisory.repository.pull import How, read_root  # noqa: PLC0415
    from pratique.advisory.repository.pull import refresh as run  # noqa: PLC0415

    root = read_root(source.trusted_root)
    if sources.offline and not _is_local(source.address):
        return ""
    how = How(now=datetime.now(UTC), tell=tell)
    return run(sources.cache_dir, lambda: library(source.address, sources), root, how)


class Publications(NamedTuple):
    """Where a database is published, and the root metadata that vouches for it."""

    address: str
    trusted_root: Path


def _is_local(address: str) -> bool:
    return not address.startswith((*_REGISTRY, "http://", "https://"))


def _scheme(address: str) -> str:
    return urlsplit(address).scheme if "://" in address else ""


def _path(address: str) -> Path:
    scheme = _scheme(address)
    if scheme not in ("", "file"):
        raise UsageError(
            f"{address!r} is no address of a repository",
            hint="https://, http://, file://, oci://, or the path of a folder or file",
        )
    return Path(unquote(urlsplit(address).path)) if scheme else Path(address)
