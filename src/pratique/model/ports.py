"""The extension points: what a source, an inspector, an advisory provider, a version scheme and a reporter must be.

A room's folder is searched for modules; a module that offers an object of the room's protocol under the name in brackets is
used: `inventory/catalogers` and `inventory/detectors` (INSPECTOR), `advisory/providers` (PROVIDER), `model/versions` (SCHEME),
`report` (REPORTER), `image/sources` (SOURCE). There is no list to edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

import msgspec

from pratique.model.advisory import Feed, FeedRecord
from pratique.model.finding import Finding
from pratique.model.image import ImageRef, OpenImage, Platform
from pratique.model.inventory import Evidence, Gap
from pratique.model.report import Report

MEBIBYTE = 1 << 20


class Interest(msgspec.Struct, frozen=True, kw_only=True):
    r"""Which files an inspector wants to see: data, compiled with all others into one index. Any match suffices.

    names      exact base names                     ("package.json",)
    suffixes   ends of base names, dot included     (".jar", ".dist-info")
    paths      exact paths without leading slash    ("var/lib/dpkg/status",)
    under      folders, files in them at any depth  ("var/lib/dpkg/status.d",)
    magic      first bytes of the content           (b"\x7fELF",)
    everything every file, whatever its name
    scope      "installed" evidence counts in images and folders; "declared" (lock files) in `dir:` targets only; "details" and
               "files" are asked for by an SBOM alone
    max_bytes  larger files become a Gap; the number's reason stands beside it in the inspector
    """

    names: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    magic: tuple[bytes, ...] = ()
    everything: bool = False
    scope: Literal["installed", "declared", "details", "files"] = "installed"
    max_bytes: int = 16 * MEBIBYTE


@runtime_checkable
class File(Protocol):
    """A regular file of an image while it is being looked at; nothing of it is on disk. Valid only during `inspect`."""

    @property
    def path(self) -> str:
        """Path without leading slash; bytes that are not UTF-8 are surrogate-escaped."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def mode(self) -> int:
        """Permission bits, setuid and setgid included."""

    def read(self) -> bytes:
        """Return the whole content (at most the interest's max_bytes)."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; shorter only at the end of the file."""


class Inspector(Protocol):
    """Looks at single files: a cataloger yields package evidence, a detector findings. INSPECTOR in its module.

    `inspect` may raise ParseError (or any ValueError, KeyError, IndexError, struct.error, UnicodeError, RecursionError): the
    file becomes a Gap. It may yield a Gap for a part that it could not read and go on. `version` is part of the cache key:
    raise it whenever the same bytes give other evidence.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def interest(self) -> Interest: ...

    def inspect(self, file: File) -> Iterable[Evidence | Finding | Gap]: ...


class AdvisoryProvider(Protocol):
    """Names its feeds and turns their bytes into records; never fetches. PROVIDER in its module.

    A record that cannot be read is yielded as a Gap; it ends nothing.
    """

    @property
    def name(self) -> str: ...

    def feeds(self) -> Sequence[Feed]: ...

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]: ...


class VersionScheme(Protocol):
    """Orders versions of one kind. SCHEME in its module.

    `key(a) < key(b)` (plain comparison of bytes) exactly when a is older than b; equal keys mean equal versions.
    """

    @property
    def name(self) -> str: ...

    def key(self, version: str) -> bytes:
        """Return the sort key. Raises UnorderableVersionError, never a silent guess."""


class Source(Protocol):
    """Opens targets of the schemes it names. SOURCE in its module.

    What a person configured (cache folder, mirrors, progress, ...) comes as `options`, the image room's own type.
    """

    @property
    def schemes(self) -> tuple[str, ...]: ...

    def open(self, ref: ImageRef, platform: Platform | None, options: Any) -> AbstractContextManager[OpenImage]: ...

    def platforms(self, ref: ImageRef, options: Any) -> list[Platform]: ...


class Reporter(Protocol):
    """Writes a report in one format. REPORTER in its module."""

    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...

    def write(self, report: Report, out: BinaryIO) -> None: ...
