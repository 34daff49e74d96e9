"""Verified files of feeds in, the database folder's next state out: it counts when the index is replaced, last and at once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pratique.advisory import index as index_file
from pratique.advisory.index import Entry, Index, adopt, replace, sweep
from pratique.advisory.layout import FORMAT
from pratique.model.errors import DatabaseError

# Beside the index: which publication the files are of, so that its changes can be followed. Without it all is fetched whole.
_NOTE = "publication.json"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The publication that is here (0: none), of the repository of which `root` is the trusted root's digest.

    `asked_at` is when that was last asked (RFC 3339), `why` is why in vain, if it was.
    """

    number: int = 0
    root: str = ""
    asked_at: str = ""
    why: str = ""


class Installation:
    """A change of the database folder, under its lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._before = index_file.read(folder)
        except DatabaseError:
            self._before = Index()  # damaged: all is brought anew
        self._entries: dict[str, Entry] = {}
        self.note = read_note(folder)

    def state(self, feed: str) -> str:
        """Return the state of a feed's present file; "" where there is none that can be used."""
        entry = self._before.feeds.get(feed)
        usable = entry is not None and entry.file and entry.format == FORMAT and self.path(feed).is_file()
        return entry.state if entry is not None and usable else ""

    def path(self, feed: str) -> Path:
        """Return where a feed's present file is."""
        return self._folder / self._before.feeds[feed].file

    def keep(self, published: Entry) -> bool:
        """Keep the present file of a feed where it says what is published; say whether it does."""
        if self.state(published.name) != published.state:
            return False
        held = self._before.feeds[published.name]
        self._put(published, held.file, held.digest, held.size)
        return True

    def take(self, published: Entry, plain: Path) -> None:
        """Move a new file into the folder; who reads goes on with the old one."""
        self._put(published, *adopt(self._folder, plain, published.name))

    def _put(self, published: Entry, file: str, digest: str, size: int) -> None:
        entry = msgspec.structs.replace(published, file=file, digest=digest, size=size, format=FORMAT, failure=None)
        self._entries[published.name] = entry

    def finish(self, note: Note) -> None:
        """Make the taken and kept files the database; what else was there goes."""
        index = Index(feeds=self._entries)
        index_file.write(self._folder, index)
        write_note(self._folder, note)
        sweep(self._folder, index)


def read_note(folder: Path) -> Note:
    """Return what is noted; nothing where that cannot be read."""
    try:
        return msgspec.json.decode((folder / _NOTE).read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return Note()


def write_note(folder: Path, note: Note) -> None:
    """Replace what is noted. Only under the database's lock."""
    replace(folder / _NOTE, msgspec.json.encode(note))
