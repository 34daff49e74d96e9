"""- in, an image out: an archive on standard input, of any kind that the archive source reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pratique.image.blob import READ_SIZE
from pratique.image.opened import OpenedImage
from pratique.image.options import SourceOptions
from pratique.image.outer import Outer, open_outer
from pratique.image.sources.archive import open_in
from pratique.image.spool import Spool
from pratique.model.errors import TargetError, UsageError
from pratique.model.image import ImageRef, Platform


class _Stdin:
    schemes = ("-",)

    @contextmanager
    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:
        """Spool standard input and open what it holds. Raises TargetError, IntegrityError."""
        if sys.stdin is None or sys.stdin.isatty():
            raise TargetError("standard input is a terminal and no archive", hint="docker save IMAGE | pratique scan -")
        with Spool(options, "reading standard input") as spool:
            spool.fill(_pieces(sys.stdin.fileno()))
            if not spool.size:
                raise TargetError("standard input is empty")
            with open_outer(spool.path, options, "standard input") as outer:
                yield open_in(_stamped(outer, spool), ref, "", platform)

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]:  # noqa: ARG002
        """Standard input can be read once only."""
        raise UsageError("--all-platforms cannot be used with standard input", hint="save the archive to a file first")


def _stamped(outer: Outer, spool: Spool) -> Outer:
    """The content itself identifies what comes and goes with each run."""
    outer.stamp = spool.digest
    return outer


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, READ_SIZE):
        yield piece


SOURCE = _Stdin()
