"""containerd:NAME in, an image out: exported by `ctr`, which comes with containerd (its own interface is gRPC alone)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pratique.image.blob import READ_SIZE
from pratique.image.opened import OpenedImage
from pratique.image.options import SourceOptions
from pratique.image.outer import open_outer
from pratique.image.reference import parse_name
from pratique.image.sources.archive import open_in
from pratique.image.spool import Spool
from pratique.model.errors import TargetError, TargetNotFoundError
from pratique.model.image import ImageRef, Platform

MAX_COMPLAINT = 4_096  # bytes of what ctr says when it fails


class _Containerd:
    schemes = ("containerd",)

    @contextmanager
    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:
        """Open an image of containerd. Raises TargetError, IntegrityError, UsageError.

        The address and the namespace are ctr's own: CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE (k8s.io for Kubernetes).
        """
        name = str(parse_name(ref.value))
        with Spool(options, f"exporting {name} from containerd") as spool:
            _export(name, platform, spool)
            with open_outer(spool.path, options) as outer:
                outer.stamp = spool.digest
                image = open_in(outer, ImageRef("oci-archive", ref.value), "", platform)
                image.scheme = ref.scheme
                yield image

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]:
        """What containerd keeps of an image is usually one platform."""
        with self.open(ref, None, options) as image:
            return [image.platform] if image.platform is not None else []


def _export(name: str, platform: Platform | None, spool: Spool) -> None:
    program = shutil.which("ctr")
    if program is None:
        raise TargetError(
            "containerd is asked through its program ctr, which is not here", hint="export a file: oci-archive:FILE"
        )
    wish = ["--platform", str(platform)] if platform is not None else []
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - no shell; the name was parsed, so it is no option
            [program, "images", "export", *wish, "-", name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        )
        try:
            assert process.stdout is not None
            spool.fill(_pieces(process.stdout))
        except BaseException:
            process.kill()
            raise
        finally:
            process.communicate()
        if process.returncode != 0:
            said.seek(0)
            raise _failure(name, said.read(MAX_COMPLAINT).decode(errors="replace"))


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := os.read(stream.fileno(), READ_SIZE):
        yield piece


def _failure(name: str, said: str) -> TargetError:
    line = said.strip().splitlines()[-1][:300] if said.strip() else "no reason given"
    text = "".join(letter if letter.isprintable() else " " for letter in line)
    if "not found" in text:
        namespace = os.environ.get("CONTAINERD_NAMESPACE") or "default"
        return TargetNotFoundError(
            f"containerd has no image {name} in the namespace {namespace}",
            hint="CONTAINERD_NAMESPACE chooses another, k8s.io for example",
        )
    return TargetError(f"containerd: {text}")


SOURCE = _Containerd()
