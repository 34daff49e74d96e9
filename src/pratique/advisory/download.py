"""A download and what a server says of it in, its plain content within bounds out: what fetching needs besides requests."""

from __future__ import annotations

import email.utils
import time
import zlib
from pathlib import Path
from typing import BinaryIO

from pratique.model.advisory import Feed
from pratique.model.errors import FeedError

_CHUNK = 1 << 18


def note(part: Path) -> Path:
    """Return where the validators of a partial download stand."""
    return part.with_suffix(".json")


def discard(part: Path) -> None:
    """Remove a partial download."""
    part.unlink(missing_ok=True)
    note(part).unlink(missing_ok=True)


def bounded(feed: Feed, size: int) -> None:
    """Raise FeedError for more bytes than are taken for a feed."""
    if size > feed.max_bytes:
        raise FeedError(f"{feed.name}: has more than {feed.max_bytes} bytes, the most that is taken for this feed")


def gunzip(feed: Feed, part: Path, whole: Path) -> None:
    """Undo a content coding; of the two only the whole file is left, or neither. Raises FeedError."""
    try:
        with part.open("rb") as source, whole.open("wb") as target:
            _inflate(feed, source, target)
    except (zlib.error, EOFError) as error:
        whole.unlink(missing_ok=True)
        raise FeedError(f"{feed.name}: not a whole gzip stream: {error}") from error
    except FeedError:
        whole.unlink(missing_ok=True)
        raise
    finally:
        discard(part)


def _inflate(feed: Feed, source: BinaryIO, target: BinaryIO) -> None:
    inflate = zlib.decompressobj(31)
    done = 0
    while not inflate.eof:
        data = inflate.unconsumed_tail or source.read(_CHUNK)
        if not data:
            raise EOFError("cut short")
        plain = inflate.decompress(data, _CHUNK * 4)
        done += len(plain)
        bounded(feed, done)
        target.write(plain)


def retry_after(value: str) -> float | None:
    """Return the seconds that Retry-After asks for, as a number or a date; None where it says nothing usable."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
