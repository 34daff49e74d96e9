"""Paths of a repository's files in, their bytes out, and the way back: a folder, to be served by any web server.

What holds a repository is a Library to clients and a Shelf to its publisher. A registry is one, too; it is passed in from
outside, as this room knows no images.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from pratique.advisory.index import replace
from pratique.model.errors import DatabaseError

_CHUNK = 1 << 20
# What a client asks for is made of names in signed files; a folder of a hostile name must not be left all the same.
_PATH = re.compile(r"(?:metadata|targets)(?:/[A-Za-z0-9][A-Za-z0-9._+:-]*)+")
_METADATA = re.compile(r"(\d+)\.(?:snapshot|targets)\.json")


class Library(Protocol):
    """Where files are read from. `name` is what messages call it."""

    name: str

    def open(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a file from `offset` on.

        Raises FileNotFoundError where there is none, CouldNotError where that cannot be told, both possibly while it yields.
        """
        ...

    def close(self) -> None: ...


class Shelf(Library, Protocol):
    """Where files are written, too. What is written under a path with a number or a digest never changes."""

    def write(self, path: str, content: bytes) -> None: ...

    def put(self, path: str, file: Path) -> None:
        """As `write`, from a file, which stays where it is."""
        ...

    def refer(self, number: int, paths: Collection[str]) -> None:
        """Told before a publication is announced which targets it has, so that nothing takes them for waste."""
        ...

    def prune(self, paths: Collection[str], oldest: int) -> None:
        """Told afterwards which targets are still wanted, and the oldest publication whose metadata are."""
        ...


def checked(path: str) -> str:
    """Return the path. Raises FileNotFoundError for one that no repository of ours has."""
    if not _PATH.fullmatch(path):
        raise FileNotFoundError(f"{path[:100]!r} is no path in a repository")
    return path


class Folder:
    """A repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def open(self, path: str, offset: int = 0) -> Iterator[bytes]:
        try:
            with (self._folder / checked(path)).open("rb") as stream:
                stream.seek(offset)
                while piece := stream.read(_CHUNK):
                    yield piece
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(path) from None
        except OSError as error:
            raise DatabaseError(f"{self._folder / path} cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing is held."""

    def write(self, path: str, content: bytes) -> None:
        replace(self._place(path), content)

    def put(self, path: str, file: Path) -> None:
        place = self._place(path)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        with file.open("rb") as source, beside.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK)
            sink.flush()
            os.fsync(sink.fileno())
        beside.replace(place)

    def _place(self, path: str) -> Path:
        place = self._folder / checked(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def refer(self, number: int, paths: Collection[str]) -> None:
        """Files in a folder stay without being referred to."""

    def prune(self, paths: Collection[str], oldest: int) -> None:
        """Remove targets that no publication wants, metadata older than `oldest`, and what a killed process left. Roots stay."""
        wanted = {self._folder / path for path in paths}
        for place in sorted((self._folder / "targets").rglob("*")):
            if place.is_file() and place not in wanted:
                place.unlink(missing_ok=True)
        for place in (self._folder / "metadata").glob("*"):
            old = _METADATA.fullmatch(place.name)
            if place.name.startswith(".") or (old and int(old[1]) < oldest):
                place.unlink(missing_ok=True)


def read(library: Library, path: str, limit: int) -> bytes | None:
    """Return a whole small file; None where there is none. Raises DatabaseError for one above `limit` bytes."""
    parts: list[bytes] = []
    have = 0
    try:
        for piece in library.open(path):
            have += len(piece)
            if have > limit:
                raise DatabaseError(f"{library.name}: {path} is larger than {limit} bytes")
            parts.append(piece)
    except FileNotFoundError:
        return None
    return b"".join(parts)
