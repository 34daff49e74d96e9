"""An opened image in, what a container would find in it out: owners, modes, capabilities, and the content of a few files.

Layers are read by a confined child, as all that parses hostile bytes; only headers are looked at.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from pratique._kit.apart import Bounds, apart
from pratique._kit.confined import Connection
from pratique.image.blob import Deadline, Region
from pratique.image.tar import DIRECTORY, HARDLINK, REGULAR, SYMLINK, Header, clean
from pratique.image.walk import LayerWalk
from pratique.model.errors import IntegrityError, ParseError, PratiqueError, TargetError
from pratique.model.layer import Selection, shown
from pratique.workload.rootfs import Item, Kind, Layers, Rootfs
from pratique.workload.spec import CAPABILITY_NUMBERS

if TYPE_CHECKING:
    from pratique.model.image import OpenImage

MAX_CONTENT = 256 << 10  # bytes of one file; the longest entrypoint scripts that people ship have some 20,000
MAX_CONTENTS = 16 << 20  # bytes of all: a name can be in many folders
WAIT = 1800.0  # seconds, as for a scan

_ACCOUNTS = (b"etc/passwd", b"etc/group")
_KINDS: dict[int, Kind] = {REGULAR: "file", HARDLINK: "file", SYMLINK: "link", DIRECTORY: "folder"}


class _Part(msgspec.Struct, array_like=True):
    """Where a layer's bytes lie, and what they are stated to be."""

    path: str
    offset: int
    size: int
    diff_id: str
    digest: str


class _Wanted(msgspec.Struct, array_like=True):
    """What to read: layers from the bottom, and the names of files whose content is wanted."""

    parts: list[_Part]
    names: frozenset[bytes]


class _Answer(msgspec.Struct):
    rootfs: Rootfs | None = None
    integrity: str = ""
    failure: str = ""


def read_rootfs(image: OpenImage, names: frozenset[str]) -> Rootfs:
    """Read what a container would find. `names` are those of files whose content is wanted, in whatever folder they are; one that
    is too large has none, and is there.

    Raises IntegrityError, TargetError, RegistryError, WorkerFailedError.
    """
    if image.folder is not None or not image.layers:
        raise TargetError(f"{image.reference}: is no image with layers")
    image.prefetch(image.layers)
    parts = []
    for layer in image.layers:
        extent = image.fetch(layer)
        parts.append(_Part(extent.path, extent.offset, extent.size, layer.diff_id, layer.digest))
    wanted = _Wanted(parts, frozenset(os.fsencode(name) for name in names))
    bounds = Bounds(sorted({part.path for part in parts}), wait_seconds=WAIT)
    with apart(_worker(wanted), __name__, msgspec.msgpack.encode(wanted), bounds) as channel:
        channel.finish()
        message = channel.receive()
    try:
        answer = msgspec.msgpack.decode(message or b"", type=_Answer)
    except (msgspec.DecodeError, RecursionError):
        raise TargetError(f"{image.reference}: its layers could not be read") from None
    if answer.integrity:
        raise IntegrityError(answer.integrity)
    if answer.rootfs is None:
        raise TargetError(f"{image.reference}: {answer.failure or 'its layers could not be read'}")
    return answer.rootfs


def confined_worker(argument: bytes) -> Callable[[Connection], None]:
    """Make what a spawned process does of an encoded wish."""
    return _worker(msgspec.msgpack.decode(argument, type=_Wanted))


def _worker(wanted: _Wanted) -> Callable[[Connection], None]:
    return lambda connection: connection.send(msgspec.msgpack.encode(_answer(wanted.parts, wanted.names)))


def _answer(parts: Sequence[_Part], wanted: frozenset[bytes]) -> _Answer:
    layers, left = Layers(), MAX_CONTENTS
    try:
        for part in parts:
            left -= _read(part, wanted, layers, left)
    except IntegrityError as error:
        return _Answer(integrity=error.message)
    except PratiqueError as error:
        return _Answer(failure=error.message)
    except OSError as error:
        return _Answer(failure=f"cannot read a layer: {error.strerror}")
    return _Answer(rootfs=layers.rootfs())


def _read(part: _Part, wanted: frozenset[bytes], layers: Layers, left: int) -> int:
    """Lay one layer over the others; return how many bytes of content were kept."""
    descriptor = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        walk = _Walk(Region(descriptor, part.offset, part.size), wanted)
        contents: dict[bytes, bytes] = {}
        kept = 0
        for found in walk:
            content = found.file.read() if found.file is not None and kept + found.size <= left else b""
            contents[found.path] = content
            kept += len(content)
        walk.check(part.diff_id, part.digest)
        if walk.gaps:
            raise TargetError(f"layer {part.diff_id}: {walk.gaps[0].message}")
    finally:
        os.close(descriptor)
    for path in walk.tree.whiteouts:
        layers.hide(shown(path))
    for path in walk.tree.opaques:
        layers.clear(shown(path))
    for path, item in walk.items:
        kept_content = contents.get(path)
        if item.kind == "file" and item.link:
            item = layers.find(item.link) or msgspec.structs.replace(item, link="")  # noqa: PLW2901 - a hard link is its target
        layers.put(shown(path), item if kept_content is None else msgspec.structs.replace(item, content=kept_content))
    return kept


class _Walk(LayerWalk):
    """A walk that notes every entry's owner. A hard link is a file with `link` for now."""

    def __init__(self, region: Region, wanted: frozenset[bytes]) -> None:
        chosen = Selection((0,), MAX_CONTENT, content=False)

        def select(path: bytes, _: bytes) -> Selection | None:
            return chosen if path in _ACCOUNTS or path.rpartition(b"/")[2] in wanted else None

        super().__init__(region, select, Deadline(WAIT))
        self.items: list[tuple[bytes, Item]] = []

    def _note(self, header: Header) -> bytes | None:
        files, folders = len(self._files), len(self._directories)
        wanted = super()._note(header)
        path = self._files[-1] if len(self._files) > files else self._directories[-1] if len(self._directories) > folders else b""
        if path:
            self.items.append((path, _item(header)))
        return wanted


def _item(header: Header) -> Item:
    try:
        mode, (uid, gid) = header.mode, header.owner
    except ParseError:  # no number: runtimes refuse the layer
        mode, uid, gid = 0, 0, 0
    link = shown(clean(header.link)[0] if header.kind == HARDLINK else header.link)
    return Item(_KINDS.get(header.kind, "other"), mode, uid, gid, link, _capabilities(header.capabilities))


def _capabilities(attribute: bytes) -> tuple[str, ...]:
    """Return the names of permitted and inheritable ones: https://man7.org/linux/man-pages/man7/capabilities.7.html."""
    if len(attribute) < 12:
        return ()
    numbers = struct.unpack_from("<" + "I" * (min(len(attribute), 20) // 4), attribute)
    low = numbers[1] | numbers[2]
    high = numbers[3] | numbers[4] if len(numbers) > 4 else 0
    bits = low | high << 32
    return tuple(name for number, name in enumerate(CAPABILITY_NUMBERS) if bits >> number & 1)
