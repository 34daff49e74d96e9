"""The index and a moment in, the files and the index of that moment out: what was there then, and what was not there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from pratique.advisory.history import PastFile
from pratique.advisory.index import FETCH_GAP, Entry, Index
from pratique.advisory.layout import Facts
from pratique.advisory.store import FeedFile
from pratique.model.errors import DatabaseError
from pratique.model.inventory import Gap


class Past(NamedTuple):
    """A moment, and of the feeds that are there now: since when each that came later is there, and how far back others reach."""

    as_of: datetime
    later: Mapping[str, datetime]
    forgotten: Mapping[str, datetime]

    def missing(self, name: str, effect: str) -> Gap:
        """Say why a feed does not answer."""
        if (horizon := self.forgotten.get(name)) is not None:
            why = f"its history before {stamp(horizon)} is not kept"
            return Gap(
                code="advisories.history-compacted", message=f"{name}: {effect} as of {stamp(self.as_of)} ({why})", source=name
            )
        since = self.later.get(name)
        why = f"the database has it since {stamp(since)}" if since is not None else "the database never had it"
        return Gap(code="advisories.not-known-yet", message=f"{name}: {effect} as of {stamp(self.as_of)} ({why})", source=name)


def stamp(moment: datetime) -> str:
    """Return a moment in RFC 3339, to the second."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def opened(folder: Path, entries: Mapping[str, Entry]) -> dict[str, FeedFile]:
    """Open the files. Raises FileNotFoundError where one was replaced meanwhile, and leaves none open."""
    return _opened(entries, lambda name, entry: FeedFile(folder / entry.file, name))


def opened_then(folder: Path, entries: Mapping[str, Entry], as_of: datetime) -> tuple[Index, dict[str, FeedFile], Past]:
    """Open the files of the feeds that were there at the end of the second `as_of`. Raises as `opened`, and DatabaseError."""
    at = int(as_of.timestamp())
    files = _opened(entries, lambda name, entry: PastFile(folder / entry.file, name, at))
    later: dict[str, datetime] = {}
    forgotten: dict[str, datetime] = {}
    index: dict[str, Entry] = {}
    kept: dict[str, FeedFile] = {}
    try:
        for name, file in files.items():
            if file.born > at:
                later[name] = datetime.fromtimestamp(file.born, UTC)
            elif file.horizon > at:
                forgotten[name] = datetime.fromtimestamp(file.horizon, UTC)
            else:
                index[name] = _then(entries[name], file.facts, as_of)
                kept[name] = file
    except DatabaseError:
        _close(files)
        raise
    _close({name: file for name, file in files.items() if name not in kept})
    return Index(feeds=index), kept, Past(as_of, later, forgotten)


def _then(entry: Entry, facts: Facts, as_of: datetime) -> Entry:
    """Return what the index said of a feed then."""
    changed = datetime.fromtimestamp(facts.changed, UTC)
    return msgspec.structs.replace(
        entry,
        state=facts.state,
        records=facts.records,
        scored=facts.scored,
        skipped=facts.skipped,
        skipped_examples=facts.examples,
        newest=facts.newest,
        changed_at=stamp(changed),
        fetched_at=stamp(_fetched(entry, changed, as_of)),
        failure=None,
    )


def _fetched(entry: Entry, changed: datetime, as_of: datetime) -> datetime:
    """Return when upstream was last asked with success before `as_of`; within a span of successes, the latest sure moment."""
    found = changed
    for first, last in entry.fetches:
        begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
        if end <= as_of:
            found = max(found, end)
        elif begin <= as_of:
            found = max(found, begin, as_of - FETCH_GAP)
    return found


def _opened(entries: Mapping[str, Entry], opening: Callable[[str, Entry], FeedFile]) -> dict[str, FeedFile]:
    files: dict[str, FeedFile] = {}
    try:
        for name, entry in entries.items():
            files[name] = opening(name, entry)
    except (FileNotFoundError, DatabaseError):
        _close(files)
        raise
    return files


def _close(files: Mapping[str, FeedFile]) -> None:
    for file in files.values():
        file.close()
