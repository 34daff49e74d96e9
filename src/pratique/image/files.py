"""Bytes of a layer or a folder in, a `File` as inspectors see it out."""

from __future__ import annotations

import os

from pratique.image.blob import Region


class MemoryFile:
    """A file whose content was read as the layer passed."""

    __slots__ = ("_data", "mode", "path", "size")

    def __init__(self, path: str, mode: int, data: bytes) -> None:
        self.path = path
        self.mode = mode
        self.size = len(data)
        self._data = data

    def read(self) -> bytes:
        """Return everything."""
        return self._data

    def read_at(self, offset: int, length: int) -> bytes:
        """Return a slice."""
        return self._data[offset : offset + length]


class RegionFile:
    """A file that lies uncompressed in a region of an open file: nothing is read before it is asked for."""

    __slots__ = ("_descriptor", "_offset", "mode", "path", "size")

    def __init__(self, path: str, mode: int, region: Region) -> None:
        self.path = path
        self.mode = mode
        self.size = region.size
        self._descriptor = region.descriptor
        self._offset = region.offset

    def read(self) -> bytes:
        """Return everything."""
        return self.read_at(0, self.size)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        length = min(length, self.size - offset)
        return os.pread(self._descriptor, length, self._offset + offset) if length > 0 else b""


AnyFile = MemoryFile | RegionFile
