"""What the index says of a feed in, what is therefore not known out, as gaps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pratique.advisory.index import Entry
from pratique.model.inventory import Gap


def gaps_of_feed(entry: Entry, now: datetime, max_age: timedelta) -> Iterator[Gap]:
    """Yield that a feed is stale, and that records of it were left out."""
    fetched = _time(entry.fetched_at)
    if now - fetched > max_age:
        why = f"; the last attempt failed: {entry.failure.why}" if entry.failure else ""
        message = f"{entry.name}: last fetched {entry.fetched_at}, more than {_days(max_age)} before this scan{why}"
        yield Gap(code="advisories.stale", message=message, source=entry.name)
    if entry.skipped:
        first = entry.skipped_examples[0] if entry.skipped_examples else ""
        message = f"{entry.name}: {entry.skipped} records could not be read and were left out ({first})"
        yield Gap(code="advisories.unreadable-record", message=message, source=entry.name)


def same_release(ecosystem: str) -> Iterator[str]:
    """Yield where else a release is spoken of: packages of SUSE 15 by module, those of an old Ubuntu for subscribers."""
    found = re.fullmatch(r"SUSE:Linux Enterprise \w+ (15.*)", ecosystem)
    if found:
        yield f"SUSE:Linux Enterprise Module for Basesystem {found[1]}"
    if re.fullmatch(r"Ubuntu:[\d.]+:LTS", ecosystem):
        yield ecosystem.replace(":", ":Pro:", 1)
    if ":FIPS-updates:" in ecosystem:
        yield ecosystem.replace(":FIPS-updates:", ":FIPS:")
    elif ":FIPS:" in ecosystem:
        yield ecosystem.replace(":FIPS:", ":FIPS-updates:")


def unsupported_release(ecosystem: str) -> Gap:
    """Return the gap of a release that no feed speaks of."""
    message = f"{ecosystem}: no advisory source speaks of this release"
    return Gap(code="advisories.unsupported-release", message=message, source=ecosystem)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _days(age: timedelta) -> str:
    return f"{age.days} days" if age >= timedelta(days=2) else f"{int(age.total_seconds() // 3600)} hours"
