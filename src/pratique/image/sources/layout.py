"""oci-dir:PATH[:NAME] in, an image out: an OCI image layout in a directory.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pratique.image import oci
from pratique.image.manifest import MAX_MANIFEST, Descriptor, Index, check_digest, decode, verify
from pratique.image.opened import OpenedImage
from pratique.image.options import SourceOptions
from pratique.image.reference import split_path
from pratique.model.errors import IntegrityError, TargetError, TargetNotFoundError
from pratique.model.image import Extent, ImageRef, Layer, Platform


class Layout:
    """A layout on disk. No symbolic link in it may lead outside: it would make us read another file of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def top(self) -> Index:
        """Return index.json."""
        data = self._small(self._inside("index.json"), MAX_MANIFEST, f"{self.root}/index.json")
        found = decode(data, f"{self.root}/index.json")
        if not isinstance(found, Index):
            raise IntegrityError(f"{self.root}/index.json is a manifest and should be an index")
        return found

    def read(self, descriptor: Descriptor, what: str) -> bytes:
        """Return a manifest or configuration, verified."""
        path = self._blob(descriptor.digest, what)
        data = self._small(path, descriptor.size, what)
        if len(data) != descriptor.size:
            raise IntegrityError(f"{what} has {len(data)} bytes, not {descriptor.size}")
        return verify(data, descriptor.digest, what)

    def fetch(self, layer: Layer) -> Extent:
        """Return a layer's place. Its digest is checked by whoever reads it."""
        what = f"{self.root}, layer {layer.digest}"
        path = self._blob(layer.digest, what)
        size = path.stat().st_size
        if size != layer.size:
            raise IntegrityError(f"{what} has {size} bytes, not {layer.size}")
        return Extent(str(path), 0, size)

    def _blob(self, digest: str, what: str) -> Path:
        return self._inside(f"blobs/sha256/{check_digest(digest, what)}")

    def _inside(self, name: str) -> Path:
        path = os.path.realpath(f"{self._real}/{name}")
        if not path.startswith(self._real.rstrip("/") + "/"):
            raise IntegrityError(f"{self.root}/{name} is a link that leads out of the layout")
        try:
            mode = Path(path).stat().st_mode
        except OSError as error:
            raise IntegrityError(f"{self.root}/{name} is missing: {error.strerror}") from None
        if not stat.S_ISREG(mode):
            raise IntegrityError(f"{self.root}/{name} is no regular file")
        return Path(path)

    @staticmethod
    def _small(path: Path, limit: int, what: str) -> bytes:
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise TargetError(f"{what}: {error.strerror}") from None
        if len(data) > limit:
            raise IntegrityError(f"{what} has more bytes than the {limit} that are stated or allowed")
        return data


class _Layouts:
    schemes = ("oci-dir",)

    @contextmanager
    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:  # noqa: ARG002
        """Open one image of a layout. Raises TargetError, IntegrityError."""
        layout, name = _layout(ref.value)
        chosen = oci.pick(layout.top(), name, platform, layout.read, str(layout.root))
        image = OpenedImage(
            "oci-dir", ref.value, digest=chosen.digest, platform=chosen.platform, config=chosen.config, layers=chosen.layers
        )
        image.known_as, image.tags = chosen.known_as, chosen.tags
        yield image.served_by(layout.fetch)

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]:  # noqa: ARG002
        """List what the layout offers."""
        layout, name = _layout(ref.value)
        return oci.platforms(layout.top(), name, layout.read, str(layout.root))


def _layout(value: str) -> tuple[Layout, str]:
    path, name = split_path(value)
    if not path.is_dir():
        raise TargetError(f"{path} is no directory", hint="a layout in one file is read as oci-archive:FILE")
    if not (path / "index.json").exists():
        raise TargetNotFoundError(f"{path} is no OCI layout: it has no index.json")
    return Layout(path), name


SOURCE = _Layouts()
