"""Feed names in, an updated database out, with one outcome a feed. Fetches side by side, builds one after the other.

A fetch brings a whole feed (`Fetched.path`) or, where an upstream offers single records, only those that changed
(`Fetched.increment`, a `members.Increment`): its provider must then be a `members.ByMember`. What the current file was made of
stands in `members.marks`, with which a fetch can tell what is new or gone; `_Current.held` names that file. Where an increment
cannot be put into place the feed has failed, its validators are forgotten, and the next fetch is of the whole.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from pratique.advisory import index as catalogue
from pratique.advisory.build import Turn, renewed
from pratique.advisory.feeds import ENRICHMENT, SELDOM, Source, names_for, sources
from pratique.advisory.fetch import ATTEMPTS, PARALLEL, Fetched, Fetcher, Progress, Validators
from pratique.advisory.incremental import Listed, bring
from pratique.advisory.index import (
    CLOCK_SKEW,
    LOCK_SECONDS,
    PATIENCE,
    BusyError,
    Entry,
    Failure,
    Index,
    adopt,
    database_folder,
    locked,
    slug,
    sweep,
)
from pratique.advisory.layout import FORMAT, Facts
from pratique.advisory.members import Increment
from pratique.advisory.plausible import doubt
from pratique.model.errors import DatabaseError, FeedError, ParseError

# A scan refreshes what is older; upstreams publish several times a day.
REFRESH_AFTER = timedelta(days=1)
# Single records come by upstream's list of changes, which may have missed one: after this time all of it is compared.
WHOLE_AFTER = timedelta(days=30)
# A scan waits for an upstream once more only: the starter set and a gap are better than a minute of silence.
_ATTEMPTS_OF_A_SCAN = 2
# After a failure a scan leaves the feed alone this long, so that a machine without a connection is not slow each time.
_RETRY_AFTER = timedelta(minutes=10)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an update did with one feed. `kept` says that there is data, new or old; `skipped` records could not be read."""

    name: str
    status: Literal["updated", "unchanged", "failed"]
    records: int = 0
    skipped: int = 0
    why: str = ""
    kept: bool = False
    required: bool = False


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to update. `mirror` replaces every upstream; `offline` allows only a `file://` mirror.

    `accept_loss` takes news that are doubted otherwise: see `plausible`.
    """

    mirror: str = ""
    offline: bool = False
    attempts: int = ATTEMPTS
    accept_loss: bool = False


class Listener:
    """Told while an update runs; does nothing. `progress` is called by several threads at once, the others by the caller's."""

    def progress(self, feed: str, done: int, total: int) -> None:
        """`done` of `total` bytes (0: not known) have come."""

    def building(self, feed: str) -> None:
        """The download is complete and is being read."""

    def finished(self, outcome: Outcome) -> None:
        """Nothing more will be done for this feed."""

    def waiting(self) -> None:
        """Another process is updating the database."""

    def tripped(self, feed: str, error: Exception) -> None:
        """Reading a feed ended in an error that is a mistake of ours; it has failed, the others go on."""


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time, to the second: records carry no more."""
    return datetime.now(UTC).replace(microsecond=0)


def update(
    cache_dir: Path,
    names: Sequence[str],
    options: Options,
    listener: Listener | None = None,
    now: Clock = utc_now,
) -> list[Outcome]:
    """Bring the feeds `names` up to date, the others stay. Returns one outcome for each, in the order of `names`.

    A feed that fails keeps its last good data. Raises DatabaseError when the folder cannot be written or is locked for too long.
    """
    listener = listener or Listener()
    folder = database_folder(cache_dir)
    with locked(folder, listener.waiting):
        return _update(folder, names, options, listener, now)


def ensure(
    cache_dir: Path,
    ecosystems: Iterable[str],
    options: Options,
    listener: Listener | None = None,
    now: Clock = utc_now,
) -> list[Outcome]:
    """Fetch what a scan of `ecosystems` needs and is not there, or is older than a day; nothing else. See `update`.

    Nothing is fetched, and no lock is taken, when all is there. Fetches nothing when offline, nor where another process updates
    and what is there can be used meanwhile.
    """
    if options.offline and not options.mirror.startswith("file:"):
        return []
    folder = database_folder(cache_dir)
    names = [*names_for(ecosystems), *ENRICHMENT]
    if not _outdated(folder, names, now()):
        return []
    listener = listener or Listener()
    hasty = msgspec.structs.replace(options, attempts=min(options.attempts, _ATTEMPTS_OF_A_SCAN))
    if _kept_by_others(folder):
        return []
    feeds = _index(folder).feeds
    usable = all(_there(feeds.get(name), folder) for name in names)
    try:
        with locked(folder, listener.waiting, PATIENCE if usable else LOCK_SECONDS):
            # Whoever held the lock may have brought them.
            return _update(folder, _outdated(folder, names, now()), hasty, listener, now)
    except BusyError:
        if usable:
            return []
        raise


def required_missing(outcomes: Iterable[Outcome], chosen: bool) -> list[str]:  # noqa: FBT001 - a fact about `outcomes`
    """Return the feeds that must be there and are not. When people chose feeds by name, each of those must."""
    return [outcome.name for outcome in outcomes if not outcome.kept and (chosen or outcome.required)]


def _outdated(folder: Path, names: Sequence[str], now: datetime) -> list[str]:
    feeds = _index(folder).feeds
    return [name for name in names if _wants(feeds.get(name), now, folder, REFRESH_AFTER * _days(name))]


def _days(name: str) -> int:
    return next((days for begin, days in SELDOM.items() if name.startswith(begin)), 1)


def _wants(entry: Entry | None, now: datetime, folder: Path, age: timedelta) -> bool:
    if entry is None:
        return True
    if entry.failure is not None and now - _time(entry.failure.at) < _RETRY_AFTER:
        return False
    passed = now - _time(entry.fetched_at)
    return not _there(entry, folder) or passed > age or passed < -CLOCK_SKEW


def _there(entry: Entry | None, folder: Path) -> bool:
    return entry is not None and bool(entry.file) and entry.format == FORMAT and (folder / entry.file).exists()


def _kept_by_others(folder: Path) -> bool:
    """Say whether a database is there that this process may not change (a shared or mounted one): its lacks are told as gaps."""
    return (folder / catalogue.INDEX).is_file() and not os.access(folder, os.W_OK)


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _index(folder: Path) -> Index:
    """A damaged index is no reason to refuse an update: everything is fetched anew."""
    try:
        return catalogue.read(folder)
    except DatabaseError:
        return Index()


def _update(folder: Path, names: Sequence[str], options: Options, listener: Listener, now: Clock) -> list[Outcome]:
    incoming = folder / catalogue.INCOMING
    incoming.mkdir(exist_ok=True)
    current = _Current(folder, now, options)
    sweep(folder, current.index)
    for left in incoming.glob("*.whole"):
        left.unlink(missing_ok=True)  # by a process that was killed while it built
    outcomes: dict[str, Outcome] = {}
    chosen = {name: sources()[name] for name in names}
    with _fetching(incoming, options, listener.progress) as (pool, fetcher):
        waiting: dict[Future[Fetched], Source] = {}
        for source in chosen.values():
            if options.offline and not options.mirror.startswith("file:"):
                outcomes[source.feed.name] = current.failed(source, "not fetched, as --offline was given")
                continue
            known, held = current.known(source)
            waiting[pool.submit(bring, fetcher, source, known, held)] = source
        for future in as_completed(waiting):
            source = waiting[future]
            outcome = current.finish(source, future, listener)
            outcomes[source.feed.name] = outcome
            listener.finished(outcome)
    current.save()
    sweep(folder, current.index)
    return [outcomes[name] for name in chosen]


@contextlib.contextmanager
def _fetching(incoming: Path, options: Options, progress: Progress) -> Iterator[tuple[ThreadPoolExecutor, Fetcher]]:
    fetcher = Fetcher(incoming, mirror=options.mirror, attempts=options.attempts, progress=progress)
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch")
    try:
        yield pool, fetcher
    except BaseException:
        fetcher.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        fetcher.close()


class _Current:
    """The index while it is being updated; every feed that brought new data is saved at once."""

    def __init__(self, folder: Path, now: Clock, options: Options) -> None:
        self._folder = folder
        self._now = now
        self._options = options
        self.index = _index(folder)

    def save(self) -> None:
        catalogue.write(self._folder, self.index)

    def known(self, source: Source) -> tuple[Validators, Path | None]:
        """Return what a fetch may go on from; nothing where all of the feed is to come."""
        entry, held = self.index.feeds.get(source.feed.name), self.held(source)
        if entry is None or held is None:
            return Validators(), None
        if isinstance(source.provider, Listed) and self._now() - _time(entry.whole_at) > WHOLE_AFTER:
            return Validators(), None
        return Validators(entry.url, entry.etag, entry.last_modified), held

    def held(self, source: Source) -> Path | None:
        """Return the current file of a feed, to be read only; None where there is none, or an older reader made it."""
        entry = self.index.feeds.get(source.feed.name)
        return self._file(source) if entry is not None and entry.reader == source.reader else None

    def _file(self, source: Source) -> Path | None:
        entry = self.index.feeds.get(source.feed.name)
        return self._folder / entry.file if entry is not None and self._usable(entry) else None

    def finish(self, source: Source, future: Future[Fetched], listener: Listener) -> Outcome:
        name = source.feed.name
        try:
            fetched = future.result()
            content = fetched.increment or fetched.path
            if content is None:
                return self._unchanged(source)
            listener.building(name)
            if isinstance(content, Increment):
                self._forget_validators(name)  # until it is in its place
            return self._rebuilt(source, fetched, content)
        except (FeedError, ParseError, DatabaseError) as error:
            return self.failed(source, error.message)
        except OSError as error:
            return self.failed(source, f"cannot be stored: {error.strerror or error}")
        except sqlite3.Error as error:  # the disk is full, or fails
            return self.failed(source, f"cannot be stored: {error}")
        except Exception as error:  # noqa: BLE001 - our mistake in reading one feed costs neither its old data nor the others' news
            listener.tripped(name, error)
            return self.failed(source, f"cannot be read: {type(error).__name__}: {error} (a defect of pratique)")

    def failed(self, source: Source, why: str) -> Outcome:
        entry = self.index.feeds.get(source.feed.name) or _entry(source)
        self._put(msgspec.structs.replace(entry, failure=Failure(self._stamp(), why)))
        return Outcome(
            name=source.feed.name,
            status="failed",
            records=entry.records,
            why=why,
            kept=self._usable(entry),
            required=source.feed.required,
        )

    def _forget_validators(self, name: str) -> None:
        entry = self.index.feeds.get(name)
        if entry is not None:
            self._put(msgspec.structs.replace(entry, etag="", last_modified=""))

    def _unchanged(self, source: Source) -> Outcome:
        entry = self.index.feeds[source.feed.name]
        now = self._stamp()
        fetches = catalogue.with_fetch(entry.fetches, now)
        self._put(msgspec.structs.replace(entry, fetched_at=now, fetches=fetches, failure=None))
        return self._outcome(source, "unchanged")

    def _rebuilt(self, source: Source, fetched: Fetched, content: Path | Increment) -> Outcome:
        name, entry = source.feed.name, self.index.feeds.get(source.feed.name)
        at = int(self._now().timestamp())
        old = self._file(source)
        new = self._folder / f".{slug(name)}.building"
        new.unlink(missing_ok=True)
        try:
            built = renewed(source.provider, source.feed, content, Turn(old, new, at, afresh=self.held(source) is None))
            if entry is not None and old is not None and not self._options.accept_loss and (why := doubt(entry, built.facts)):
                raise FeedError(f"{fetched.validators.url}: {why} (if that is right: --only '{name}' --accept-loss)")
            if not built.written and entry is not None:
                file, digest, size = entry.file, entry.digest, entry.size
            else:
                file, digest, size = adopt(self._folder, new, name)
        finally:
            new.unlink(missing_ok=True)
            if fetched.temporary and isinstance(content, Path):
                content.unlink(missing_ok=True)
        self._put(_known(source, built.facts, fetched, self._stamp(), entry, (file, digest, size)))
        self.save()
        return self._outcome(source, "updated" if built.changed else "unchanged")

    def _outcome(self, source: Source, status: Literal["updated", "unchanged"]) -> Outcome:
        entry = self.index.feeds[source.feed.name]
        return Outcome(
            name=entry.name,
            status=status,
            records=entry.records,
            skipped=entry.skipped,
            kept=True,
            required=source.feed.required,
        )

    def _usable(self, entry: Entry) -> bool:
        return _there(entry, self._folder)

    def _put(self, entry: Entry) -> None:
        self.index = Index(feeds={**self.index.feeds, entry.name: entry})

    def _stamp(self) -> str:
        return self._now().isoformat().replace("+00:00", "Z")


def _known(source: Source, facts: Facts, fetched: Fetched, now: str, before: Entry | None, stored: tuple[str, str, int]) -> Entry:
    """Return what the index says of a feed that was read."""
    return msgspec.structs.replace(
        _entry(source),
        file=stored[0],
        digest=stored[1],
        size=stored[2],
        format=FORMAT,
        reader=source.reader,
        state=facts.state,
        records=facts.records,
        scored=facts.scored,
        skipped=facts.skipped,
        skipped_examples=facts.examples,
        newest=facts.newest,
        url=fetched.validators.url,
        etag=fetched.validators.etag,
        last_modified=fetched.validators.last_modified,
        fetched_at=now,
        whole_at=before.whole_at if fetched.increment is not None and before is not None else now,
        fetches=catalogue.with_fetch(before.fetches if before is not None else (), now),
        changed_at=stamp(facts.changed),
    )


def stamp(seconds: int) -> str:
    """Return a second of Unix time in RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _entry(source: Source) -> Entry:
    feed = source.feed
    return Entry(name=feed.name, licence=feed.licence, ecosystems=feed.ecosystems)
