"""A target in, an opened image out: finds the source of a scheme, and asks daemons before registries for a bare name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from pratique.image.reference import DOCKER_HUB, IMAGE, parse_name
from pratique.model.errors import PratiqueError, TargetNotFoundError, UsageError
from pratique.model.image import ImageRef, Platform

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pratique.image.opened import OpenedImage
    from pratique.image.options import SourceOptions

_MODULES = {
    "docker-archive": "archive", "oci-archive": "archive", "archive": "archive", "oci-dir": "layout", "rootfs": "folder",
    "dir": "folder", "registry": "registry", "docker": "daemon", "podman": "daemon", "containerd": "containerd", "-": "stdin",
}  # fmt: skip
"""Where to look first, so that a scan of an archive imports no HTTP client. A scheme that is not here is searched for."""


class ImageSource(Protocol):
    """A source as this room knows it: `Source` of the extension points, and a list of platforms."""

    schemes: tuple[str, ...]

    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> AbstractContextManager[OpenedImage]: ...

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]: ...


def source_of(scheme: str) -> ImageSource:
    """Return the source of a scheme. Raises UsageError."""
    if scheme in _MODULES:
        module = importlib.import_module(f"pratique.image.sources.{_MODULES[scheme]}")
        return cast("ImageSource", module.SOURCE)
    from pratique._kit.discover import offers  # noqa: PLC0415
    from pratique.image import sources  # noqa: PLC0415

    for source in offers(sources, "SOURCE").values():
        if scheme in source.schemes:
            return cast("ImageSource", source)
    raise UsageError(f"there is no source for {scheme}:")


@contextmanager
def open_target(ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:
    """Open a target; valid inside the `with`. Its `scheme` says what was taken where none was given.

    Raises TargetError, IntegrityError, RegistryError, UsageError.
    """
    with ExitStack() as stack:
        if ref.scheme != IMAGE:
            image = stack.enter_context(source_of(ref.scheme).open(ref, platform, options))
        else:
            image = _by_name(ref, platform, options, stack)
        yield image


def _by_name(ref: ImageRef, platform: Platform | None, options: SourceOptions, stack: ExitStack) -> OpenedImage:
    """Docker, then Podman, if they run and have the image; else the registry. If all fail, it tells why a daemon was passed."""
    from pratique.image.sources import daemon  # noqa: PLC0415 - only names need it

    passed: list[str] = []
    for scheme in ("docker", "podman"):
        if not daemon.is_there(scheme, options):
            continue
        try:
            return stack.enter_context(source_of(scheme).open(ImageRef(scheme, ref.value, ref.given), platform, options))
        except TargetNotFoundError:
            continue
        except PratiqueError as error:
            passed.append(error.message)
    try:
        return stack.enter_context(source_of("registry").open(ImageRef("registry", ref.value, ref.given), platform, options))
    except PratiqueError as error:
        hints = [error.hint, *passed]
        if parse_name(ref.value).registry == DOCKER_HUB and ":" not in ref.value:  # a name of this kind may be a slip in a path
            hints.append(f"no file here is called {ref.value}, so it was taken for an image's name")
        error.hint = "; ".join(filter(None, hints))
        raise


def list_platforms(ref: ImageRef, options: SourceOptions) -> list[Platform]:
    """List the platforms that a target offers (for --all-platforms), sorted; empty where it has only one content.

    A bare name means the registry: an engine keeps one platform. Raises as open_target does.
    """
    if ref.scheme == IMAGE:
        ref = ImageRef("registry", ref.value, ref.given)
    return source_of(ref.scheme).platforms(ref, options)
