"""An rpm database of any kind in, its package headers out, without librpm. One module a format; all yield raw header blobs."""

from __future__ import annotations

from collections.abc import Iterator

from pratique.inventory._rpmdb import bdb, ndb, sqlite
from pratique.inventory._rpmdb.window import Window
from pratique.model.errors import ParseError
from pratique.model.ports import File


def blobs(file: File) -> Iterator[bytes | ParseError]:
    """Yield each header blob; in its place a ParseError where a part is damaged and others may still be read.

    Every page or block is used at most once, so that time and memory are bounded by the size of the file. Raises ParseError where
    nothing at all can be read.
    """
    window = Window(file)
    head = window.read(0, 100)
    if not head:
        raise ParseError("the rpm database is empty")
    if sqlite.recognises(head):
        return sqlite.blobs(window, head)
    if ndb.recognises(head):
        return ndb.blobs(window, head)
    if bdb.recognises(head):
        return bdb.blobs(window, head)
    raise ParseError("an rpm database of unknown format")
