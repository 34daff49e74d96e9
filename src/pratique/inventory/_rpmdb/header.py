"""A header blob as rpm stores it in its database in, the facts of one package out.

https://rpm-software-management.github.io/rpm/manual/format_header.html: counts of index entries and of data bytes, the entries
(tag, type, offset, count; big-endian), the data.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pratique.model.errors import ParseError

_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH = 1000, 1001, 1002, 1003, 1014, 1022
_VENDOR, _PROVIDES, _REQUIRES = 1011, 1047, 1049
_OLD_NAMES, _SOURCE_RPM, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES, _MODULE = 1027, 1044, 1116, 1117, 1118, 5096
_INT32, _STRING, _STRING_ARRAY, _I18N_STRING = 4, 6, 8, 9


class RpmHeader(NamedTuple):
    """`epoch` is -1 where the package has none; `files` are folders (ending in a slash, no leading one) with their file names."""

    name: str
    version: str
    release: str
    epoch: int
    arch: str
    license: str
    source_rpm: str
    module: str
    files: dict[str, list[str]]


class RpmRelations(NamedTuple):
    """What names a package, and the names (without versions) of what it needs and provides; `files` as in RpmHeader."""

    name: str
    version: str
    release: str
    epoch: int
    arch: str
    vendor: str
    requires: list[str]
    provides: list[str]
    files: dict[str, list[str]]


def parse_relations(blob: bytes) -> RpmRelations:
    """Read one header for what its package needs. Raises ParseError."""
    tags = _tags(blob)
    return RpmRelations(
        name=tags.text(_NAME),
        version=tags.text(_VERSION),
        release=tags.text(_RELEASE),
        epoch=next(iter(tags.numbers(_EPOCH)), -1),
        arch=tags.text(_ARCH),
        vendor=tags.text(_VENDOR),
        requires=tags.texts(_REQUIRES),
        provides=tags.texts(_PROVIDES),
        files=_files(tags),
    )


def parse_header(blob: bytes) -> RpmHeader:
    """Read one header. Raises ParseError."""
    tags = _tags(blob)
    name = tags.text(_NAME)
    if not name:
        raise ParseError("an rpm header has no package name")
    return RpmHeader(
        name=name,
        version=tags.text(_VERSION),
        release=tags.text(_RELEASE),
        epoch=next(iter(tags.numbers(_EPOCH)), -1),
        arch=tags.text(_ARCH),
        license=tags.text(_LICENSE),
        source_rpm=tags.text(_SOURCE_RPM),
        module=tags.text(_MODULE),
        files=_files(tags),
    )


def _tags(blob: bytes) -> _Tags:
    if len(blob) < 8:
        raise ParseError("an rpm header is cut")
    count, length = struct.unpack_from(">2I", blob)
    start = 8 + 16 * count
    if not count or start + length > len(blob):
        raise ParseError("an rpm header is cut")
    return _Tags(struct.unpack_from(f">{4 * count}I", blob, 8), blob[start : start + length])


class _Tags:
    def __init__(self, index: tuple[int, ...], data: bytes) -> None:
        self._index = index
        self._data = data
        self._where = dict(zip(index[::4], range(0, len(index), 4), strict=True))

    def text(self, tag: int) -> str:
        """Return a string, the first one of several; "" without the tag."""
        at = self._where.get(tag)
        if at is None or self._index[at + 1] not in (_STRING, _STRING_ARRAY, _I18N_STRING):
            return ""
        start = self._index[at + 2]
        end = self._data.find(b"\0", start)
        if end < 0:
            raise ParseError(f"tag {tag} of an rpm header is cut")
        return self._data[start:end].decode("utf-8", "replace")

    def texts(self, tag: int) -> list[str]:
        """Return an array of strings; [] without the tag."""
        at = self._where.get(tag)
        if at is None or self._index[at + 1] != _STRING_ARRAY:
            return []
        start, count = self._index[at + 2 : at + 4]
        parts = self._data[start:].split(b"\0", count)
        if len(parts) != count + 1:
            raise ParseError(f"tag {tag} of an rpm header is cut")
        return b"\0".join(parts[:count]).decode("utf-8", "replace").split("\0") if count else []

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return 32-bit numbers; () without the tag."""
        at = self._where.get(tag)
        if at is None or self._index[at + 1] != _INT32:
            return ()
        start, count = self._index[at + 2 : at + 4]
        if start + 4 * count > len(self._data):
            raise ParseError(f"tag {tag} of an rpm header is cut")
        return struct.unpack_from(f">{count}I", self._data, start)


def _files(tags: _Tags) -> dict[str, list[str]]:
    names, folders, which = tags.texts(_BASE_NAMES), tags.texts(_DIR_NAMES), tags.numbers(_DIR_INDEXES)
    files: dict[str, list[str]] = {}
    if not names:  # before rpm 4 every path was written out
        for path in tags.texts(_OLD_NAMES):
            folder, slash, name = path.lstrip("/").rpartition("/")
            files.setdefault(folder + slash, []).append(name)
        return files
    if len(which) != len(names) or max(which) >= len(folders):
        raise ParseError("the file list of an rpm header is damaged")
    lists: list[list[str]] = [[] for _ in folders]
    for number, name in zip(which, names, strict=True):
        lists[number].append(name)
    for folder, entries in zip(folders, lists, strict=True):
        files.setdefault(folder.lstrip("/"), []).extend(entries)
    return files
