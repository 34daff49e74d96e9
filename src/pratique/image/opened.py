"""Parts in, an opened image out: what every source hands to the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pratique.model.image import Extent, Layer, Platform

Fetch = Callable[[Layer], Extent]


class OpenedImage:
    """An image whose manifest and configuration were read and checked: an `OpenImage`. Valid until its source closes it."""

    folder: Path | None = None
    raw_config: bytes = b""
    known_as: tuple[str, ...] = ()
    """Digests of the same image beside its own: of the index that led to it, of its configuration, in a registry."""
    tags: tuple[str, ...] = ()
    """Names that an archive or a layout gives to the image, as they stand there."""

    def __init__(
        self,
        scheme: str,
        reference: str,
        *,
        digest: str,
        platform: Platform | None,
        config: dict[str, Any],
        layers: Sequence[Layer],
    ) -> None:
        self.scheme = scheme
        self.reference = reference
        self.digest = digest
        self.platform = platform
        self.config = config
        self.layers = layers
        self._fetch: Fetch | None = None
        self._prefetch: Callable[[Sequence[Layer]], None] | None = None

    def served_by(self, fetch: Fetch, prefetch: Callable[[Sequence[Layer]], None] | None = None) -> OpenedImage:
        """Say where layers come from; returns itself."""
        self._fetch, self._prefetch = fetch, prefetch
        return self

    def fetch(self, layer: Layer) -> Extent:
        """Return where the layer's bytes lie; see OpenImage."""
        if self._fetch is None:
            raise LookupError("a folder has no layers")
        return self._fetch(layer)

    def prefetch(self, layers: Iterable[Layer]) -> None:
        """Bring several layers here at once, as far as they are not; only registries gain from it. Raises as `fetch` does."""
        if self._prefetch is not None:
            self._prefetch(list(layers))


class OpenedFolder(OpenedImage):
    """A directory to walk instead of layers."""

    def __init__(self, scheme: str, reference: str, folder: Path) -> None:
        super().__init__(scheme, reference, digest="", platform=None, config={}, layers=())
        self.folder = folder
