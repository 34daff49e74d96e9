"""The database and how long its history is to be kept in, smaller files out. Updates do the same to the files they change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from pratique.advisory import index as catalogue
from pratique.advisory.build import copy
from pratique.advisory.index import Index, adopt, database_folder, locked, slug, sweep
from pratique.advisory.layout import FORMAT, KEEP_SECONDS
from pratique.advisory.update import Clock, utc_now
from pratique.advisory.writer import Writer


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """One feed whose history became shorter: rows that went, and bytes before and after."""

    name: str
    rows: int
    before: int
    after: int


def compact(
    cache_dir: Path, keep: int = KEEP_SECONDS, now: Clock = utc_now, waiting: Callable[[], None] | None = None
) -> list[Compacted]:
    """Drop what was known more than `keep` seconds ago (0: all of the past); what is known now stays as it is.

    Of EPSS scores no more than a month is kept, whatever `keep` says. Readers are not disturbed, and a kill leaves each file as
    it was or is to be. Raises DatabaseError when the folder cannot be written, is locked for too long, or a file is damaged.
    """
    folder = database_folder(cache_dir)
    if not (folder / catalogue.INDEX).is_file():
        return []
    at, found = int(now().timestamp()), list[Compacted]()
    with locked(folder, waiting):
        index = catalogue.read(folder)
        sweep(folder, index)
        for name, entry in sorted(index.feeds.items()):
            if not entry.file or entry.format != FORMAT:
                continue
            new = folder / f".{slug(name)}.building"
            try:
                copy(folder / entry.file, new)
                with Writer(new) as writer:
                    rows = writer.forget(at, keep)
                if not rows:
                    continue
                file, digest, size = adopt(folder, new, name)
            finally:
                new.unlink(missing_ok=True)
            changed = msgspec.structs.replace(entry, file=file, digest=digest, size=size)
            index = Index(feeds={**index.feeds, name: changed})
            catalogue.write(folder, index)
            found.append(Compacted(name=name, rows=rows, before=entry.size, after=size))
        sweep(folder, index)
    return found
