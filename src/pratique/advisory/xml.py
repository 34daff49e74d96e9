"""A large XML document in, its records out one at a time: no DTD, no entities, no network, within a budget of bytes.

The tree is taken apart as it is read, so that memory holds one record and not the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pratique.model.errors import ParseError

if TYPE_CHECKING:
    from lxml.etree import _Element

# Oracle's definitions, the largest, inflate to about 400 MB.
MAX_INFLATED = 4 << 30


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Bounded:
    """A stream that refuses to give more than `limit` bytes: raises ParseError."""

    def __init__(self, stream: _Readable, source: str, limit: int = MAX_INFLATED) -> None:
        self._stream = stream
        self._source = source
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._stream.read(size if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise ParseError(f"{self._source}: inflates to more than is taken for this feed")
        return data


def elements(body: BinaryIO | Bounded, tag: str, last: str, source: str) -> Iterator[_Element]:
    """Yield each element called `tag`, in whatever namespace; it is emptied when the next is asked for.

    Reading ends with the element `last`: what comes behind it is not looked at. Raises ParseError for what is no XML, is cut
    short before `last`, or has a document type.
    """
    from lxml import etree

    ended = False
    try:
        for event, element in etree.iterparse(
            body,
            events=("start", "end"),
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        ):
            if event == "start":
                if element.getparent() is None and element.getroottree().docinfo.doctype:
                    raise ParseError(f"{source}: has a document type, which is refused")
                continue
            name = str(element.tag).rpartition("}")[2]  # QName refuses names that the parser takes
            if name == tag:
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
            elif name == last:
                ended = True
                break
    except etree.XMLSyntaxError as error:
        raise ParseError(f"{source}: not readable XML, or cut short: {error}") from error
    if not ended:
        raise ParseError(f"{source}: ends before </{last}>")


def text(parent: _Element, name: str) -> str:
    """Return the text of the first child called `name`, in whatever namespace; "" where there is none."""
    found = parent.find(f"{{*}}{name}")
    return " ".join((found.text or "").split()) if found is not None else ""
