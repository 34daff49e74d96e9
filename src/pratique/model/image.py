"""References, platforms, layers and opened images, in the words of the OCI image specification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

Compression = Literal["tar", "tar+gzip", "tar+zstd"]


class Platform(msgspec.Struct, frozen=True, order=True):
    """os/arch[/variant]."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class ImageRef(msgspec.Struct, frozen=True):
    """A target as it was taken: its scheme and value; `given` is what the person wrote."""

    scheme: str
    value: str
    given: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


class Layer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer as the manifest and configuration state it. `digest` and `size` are of the stored blob (empty and -1 where the
    format states none), `diff_id` of the uncompressed tar. `created_by` is the instruction of the image history.
    """

    diff_id: str
    digest: str = ""
    size: int = -1
    compression: Compression = "tar"
    created_by: str = ""


class Extent(msgspec.Struct, frozen=True):
    """Where a layer's bytes lie: a region of a file on this machine. `stamp` identifies that file as last verified (path, size,
    mtime); empty where layers go by blob digest.
    """

    path: str
    offset: int
    size: int
    stamp: str = ""


class OpenImage(Protocol):
    """An image with manifest and configuration read and checked; layers are fetched when asked for."""

    @property
    def reference(self) -> str:
        """What was opened, scheme excluded."""

    @property
    def scheme(self) -> str: ...

    @property
    def digest(self) -> str:
        """Manifest digest where there is a manifest, else the configuration's; empty for a folder."""

    @property
    def known_as(self) -> tuple[str, ...]:
        """Digests of the same image beside its own: of the index that led to it, of its configuration, in a registry."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Names that an archive or a layout gives to the image, as they stand there; nobody vouches for them."""

    @property
    def platform(self) -> Platform | None: ...

    @property
    def config(self) -> dict[str, Any]:
        """The image configuration as decoded JSON; {} for a folder."""

    @property
    def layers(self) -> Sequence[Layer]:
        """Lowest first; empty for a folder."""

    @property
    def folder(self) -> Path | None:
        """The directory to walk instead of layers (`rootfs:` and `dir:`)."""

    def fetch(self, layer: Layer) -> Extent:
        """Return where the layer's bytes lie, downloading them first if need be. Blob digests of downloads are already checked.

        Raises IntegrityError, RegistryError, TargetError.
        """

    def prefetch(self, layers: Iterable[Layer]) -> None:
        """Bring several layers here at once, as far as they are not. Raises as `fetch` does."""
