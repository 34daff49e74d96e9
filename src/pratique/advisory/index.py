"""The database folder in, what it holds out: one small index file names the current file of each feed.

db/index.json                      the one point of truth, replaced atomically
db/<feed>.<digest>.sqlite          never changed once named there; readers need no lock
db/incoming/<feed>.part, .json     downloads under way, kept for resuming
db/lock                            held by the one process that writes
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from pratique.advisory.layout import CLOCK_SKEW_SECONDS
from pratique.model.errors import DatabaseError

# Another process that updates has its 30 minutes (all feeds over a slow line); then this one says so and ends.
LOCK_SECONDS = 1800.0
# A scan waits so long for another process where it has all that it needs, if of yesterday.
PATIENCE = 10.0
_LOCK_POLL_SECONDS = 0.1
INDEX = "index.json"
INCOMING = "incoming"
_VERSION = 1
# What a look back needs to tell whether a feed was stale: a daily update that is some hours late still joins the day before.
FETCH_GAP = timedelta(hours=36)
CLOCK_SKEW = timedelta(seconds=CLOCK_SKEW_SECONDS)
# Of a database that is updated now and then, each time is a span of its own: enough for a year of weekly updates.
_MAX_SPANS = 64


class Failure(msgspec.Struct, frozen=True):
    """When (RFC 3339) a feed could not be had, and why."""

    at: str
    why: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one feed. `file` is empty where it was never had.

    `fetched_at` is the last time that upstream was asked with success (changed or not), `changed_at` when the data last changed.
    `fetches` are the spans (first, last) in which it was asked with success at least every `FETCH_GAP`, oldest first; `whole_at`
    is the last time that all of it was fetched, and not single records. `etag` and `last_modified` belong to `url`. `digest` is
    sha256 of the file, `state` the digest of what it says (`digest.py`), `format` the builder's number, `reader` that of its
    provider (`feeds.Versioned`); `scored` counts the records that have a CVSS vector.
    """

    name: str
    ecosystems: tuple[str, ...] = ()
    file: str = ""
    digest: str = ""
    size: int = 0
    state: str = ""
    format: int = 0
    reader: int = 1
    records: int = 0
    scored: int = 0
    skipped: int = 0
    skipped_examples: tuple[str, ...] = ()
    newest: str = ""
    licence: str = ""
    url: str = ""
    etag: str = ""
    last_modified: str = ""
    fetched_at: str = ""
    whole_at: str = ""
    fetches: tuple[tuple[str, str], ...] = ()
    changed_at: str = ""
    failure: Failure | None = None


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The feeds by name."""

    version: int = _VERSION
    feeds: dict[str, Entry] = {}


def database_folder(cache_dir: Path) -> Path:
    """Return where the advisory database lies below the cache directory."""
    return cache_dir / "db"


def read(folder: Path) -> Index:
    """Return the index; an empty one where there is none. Raises DatabaseError where it is damaged."""
    try:
        content = (folder / INDEX).read_bytes()
    except FileNotFoundError:
        return Index()
    except OSError as error:
        raise DatabaseError(f"{folder / INDEX} cannot be read: {error}") from error
    try:
        index = msgspec.json.decode(content, type=Index)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise DatabaseError(f"{folder / INDEX} is damaged: {error}", hint="run: pratique db update") from error
    if index.version != _VERSION:
        raise DatabaseError(f"{folder / INDEX} is of version {index.version}", hint="run: pratique db update")
    return index


def write(folder: Path, index: Index) -> None:
    """Replace the index atomically. Only under `locked`."""
    ordered = Index(feeds=dict(sorted(index.feeds.items())))
    replace(folder / INDEX, msgspec.json.format(msgspec.json.encode(ordered), indent=1))


def replace(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename: the old file or the new one, never half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def with_fetch(spans: tuple[tuple[str, str], ...], now: str) -> tuple[tuple[str, str], ...]:
    """Return the spans with one more success, at `now` (RFC 3339)."""
    while spans and spans[-1][0] > now:  # told by a clock that was ahead
        spans = spans[:-1]
    if spans:
        first, last = spans[-1]
        if datetime.fromisoformat(now) - datetime.fromisoformat(last) <= FETCH_GAP:
            return (*spans[:-1], (first, now))
    return (*spans, (now, now))[-_MAX_SPANS:]


def adopt(folder: Path, built: Path, name: str) -> tuple[str, str, int]:
    """Move a finished file to its place, named by its content; return (file name, sha256, bytes)."""
    with built.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    file = f"{slug(name)}.{digest[:16]}.sqlite"
    size = built.stat().st_size
    built.replace(folder / file)
    return file, digest, size


def slug(name: str) -> str:
    """Return a file name for a feed: "osv/Rocky Linux" -> "osv-Rocky_Linux"."""
    return name.replace("/", "-").replace(" ", "_")


def sweep(folder: Path, index: Index) -> None:
    """Remove what no index names: replaced files, and what a killed process left. Only under `locked`."""
    kept = {entry.file for entry in index.feeds.values()}
    for path in folder.iterdir():
        if (path.suffix == ".sqlite" and path.name not in kept) or path.name.startswith("."):
            path.unlink(missing_ok=True)


class BusyError(DatabaseError):
    """Another process holds the writer's lock."""


@contextlib.contextmanager
def locked(folder: Path, waiting: Callable[[], None] | None = None, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the writer's lock; the system releases it when the process ends, however it ends.

    `waiting` is called once if another process holds it. Raises BusyError when it is not free within `seconds`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DatabaseError(
            f"{folder} cannot be written: {error.strerror or error}", hint="choose another --cache-dir"
        ) from error
    try:
        _acquire(handle, waiting, time.monotonic() + seconds)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, waiting: Callable[[], None] | None, until: float) -> None:
    first = True
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if first and waiting is not None:
                waiting()
            first = False
            if time.monotonic() > until:
                raise BusyError("another process has been updating the advisory database for too long") from None
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return
