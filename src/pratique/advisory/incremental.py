"""A feed and the file made of it in, what is new of it out: single records where upstream lists their changes, else the whole.

The list is asked first, conditionally: nothing but headers where nothing changed. What it names as newer than the file, or as not
there yet, is fetched one by one; what it does not name any more is gone. Any failure leaves everything as it was.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from pratique.advisory.feeds import Source
from pratique.advisory.fetch import PARALLEL, Fetched, Fetcher, MissingError, Validators
from pratique.advisory.members import Increment, marks
from pratique.advisory.tables import Tables, connect
from pratique.model.advisory import Feed
from pratique.model.errors import DatabaseError, FeedError

# More records than this are fetched as the whole archive: 500 requests, four at a time, take about as long as 30 MB do. One by
# itself (50 ms, a quarter of a connection's time) takes about as long as fifty in an archive, where each has 0.8 KB.
MAX_RECORDS = 500
FEW_RECORDS = 20
_ONE_IN = 50
# All of them together are in memory; the usual record has 3 KB, so that more than this is better had as the archive, too.
MAX_BYTES = 64 << 20
# The largest list (npm's, with its malicious packages) has 250,000 lines of 45 bytes.
MAX_LINES = 2_000_000
# Ids become part of an address. OSV: a prefix for the database, and what is unique in it.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,199}")


@runtime_checkable
class Listed(Protocol):
    """A provider whose upstream lists, newest first, when each record changed ("<RFC 3339>,<id>"), and has each by itself."""

    def listing(self, feed: Feed, /) -> Feed:
        """Return where the list of a feed's records is."""

    def single(self, feed: Feed, identifier: str, /) -> Feed:
        """Return where one record is."""


class _WholeError(Exception):
    """Single records will not do: the whole feed is to be fetched."""


class _Dated(msgspec.Struct):
    """As much of an advisory as tells how old it is."""

    modified: str = ""


_dated = msgspec.msgpack.Decoder(_Dated).decode


def bring(fetcher: Fetcher, source: Source, known: Validators, held: Path | None) -> Fetched:
    """Bring what is new of a feed, given the validators of the last fetch and the file that was made of it.

    Raises FeedError, whatever went wrong.
    """
    feed, provider = source.feed, source.provider
    if not isinstance(provider, Listed) or fetcher.is_local:
        return fetcher.fetch(feed, known, source.route())
    listing = provider.listing(feed)
    if held is None:
        # Asked before the archive is, so that the list is not newer than what was read.
        validators = fetcher.validators(listing)
        fetched = fetcher.fetch(feed, known, source.route())
        return msgspec.structs.replace(fetched, validators=validators) if validators is not None else fetched
    try:
        listed = fetcher.fetch(listing, known)
    except MissingError:
        return fetcher.fetch(feed, known, source.route())
    if listed.path is None:
        return listed
    try:
        content = listed.path.read_bytes()
    finally:
        listed.path.unlink(missing_ok=True)
    try:
        increment = _increment(fetcher, provider, feed, content, held)
    except (_WholeError, MissingError):
        fetched = fetcher.fetch(feed, Validators(), source.route())
        return msgspec.structs.replace(fetched, validators=listed.validators)
    return Fetched(path=None, validators=listed.validators, increment=increment)


def _increment(fetcher: Fetcher, provider: Listed, feed: Feed, content: bytes, held: Path) -> Increment:
    listed = _read(content, feed)
    there, dates, newest = _held(held)
    wanted = [
        identifier
        for identifier, modified in listed.items()
        if identifier not in there or not _same(modified, dates.get(identifier, ""), newest)
    ]
    gone = frozenset(f"{name}.json" for name in there.difference(listed))
    most = min(MAX_RECORDS, max(FEW_RECORDS, len(there) // _ONE_IN))
    if len(wanted) > most or len(gone) > MAX_RECORDS or not all(map(_ID.fullmatch, wanted)):
        raise _WholeError
    return Increment(changed=dict(_records(fetcher, provider, feed, wanted)), removed=gone)


def _read(content: bytes, feed: Feed) -> dict[str, str]:
    """Return id -> when it changed. Raises FeedError for what is no such list."""
    lines = content.decode("utf-8", "replace").splitlines()
    if not lines or len(lines) > MAX_LINES:
        raise FeedError(f"{feed.name}: its list of changes has {len(lines)} lines")
    listed = {}
    for line in lines:
        modified, comma, identifier = line.partition(",")
        if not comma or len(modified) < len("2026-01-01T00:00:00") or modified[4:5] != "-" or modified[10:11] != "T":
            raise FeedError(f"{feed.name}: its list of changes holds {line[:60]!r}")
        listed[identifier] = modified
    return listed


def _held(path: Path) -> tuple[set[str], dict[str, str], str]:
    """Return the records that the file was made of, when those that are advisories changed, and the newest date that has come.

    Raises _WholeError where it does not say, or is damaged.
    """
    connection = connect(path)
    try:
        tables = Tables(connection, path)
        there = marks(tables)
        dates = {name: tables.decode(_dated, data).modified for name, data in tables.advisories()}
    except DatabaseError:
        raise _WholeError from None
    finally:
        connection.close()
    if there is None:
        raise _WholeError
    today = _second(datetime.now(UTC).isoformat())
    return set(there), dates, max((date for date in dates.values() if _second(date) <= today), default="")


def _same(listed: str, held: str, newest: str) -> bool:
    """Say whether a record is as it was.

    Of one that gave no advisory (withdrawn, or not about security) no date is kept: it is new if it is as new as anything there.
    """
    if not held:
        return _second(listed) < _second(newest)
    if _second(listed) != _second(held):
        return False
    fractions = [moment.partition(".")[2].rstrip("Z").rstrip("0") for moment in (listed, held)]
    return not all(fractions) or fractions[0] == fractions[1]  # a list may round to seconds


def _second(moment: str) -> str:
    return moment[: len("2026-01-01T00:00:00")]


def _records(fetcher: Fetcher, provider: Listed, feed: Feed, wanted: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name in the archive, content) of each record. Raises FeedError when one of them cannot be had."""

    def one(identifier: str) -> tuple[str, bytes]:
        place = provider.single(feed, identifier)
        return f"{identifier}.json", fetcher.small(place, fetcher.address(place), max_bytes=place.max_bytes)

    total = 0
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="record")
    with contextlib.ExitStack() as stack:
        stack.callback(pool.shutdown, cancel_futures=True)
        for name, content in pool.map(one, wanted):
            total += len(content)
            if total > MAX_BYTES:
                raise _WholeError
            yield name, content
