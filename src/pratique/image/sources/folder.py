"""rootfs:DIRECTORY and dir:DIRECTORY in, a folder to walk out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pratique.image.opened import OpenedFolder, OpenedImage
from pratique.image.options import SourceOptions
from pratique.model.errors import TargetError, TargetNotFoundError
from pratique.model.image import ImageRef, Platform


class _Folders:
    schemes = ("rootfs", "dir")

    @contextmanager
    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:  # noqa: ARG002
        """Open a directory. A platform has no meaning for it."""
        yield OpenedFolder(ref.scheme, ref.value, _directory(ref.value))

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]:  # noqa: ARG002
        """A folder has one content only."""
        _directory(ref.value)
        return []


def _directory(value: str) -> Path:
    path = Path(value)
    if not path.exists():
        raise TargetNotFoundError(f"{value}: there is no such directory")
    if not path.is_dir():
        raise TargetError(f"{value} is no directory", hint="leave the prefix out, and it is detected what it is")
    try:
        next(path.iterdir(), None)
    except OSError as error:
        raise TargetError(f"{value}: {error.strerror}") from None
    return path.absolute()


SOURCE = _Folders()
