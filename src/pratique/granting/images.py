"""A name of an image in, the same name by digest out: a grant is for what was meant, not for what a tag means later."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from pratique.model.errors import UsageError


def by_digest(text: str, *, offline: bool, insecure: tuple[str, ...] = ()) -> str:
    """Return NAME@sha256:... for a name with a tag, by asking its registry; what names a digest stays as it is.

    Raises UsageError for what is no name, and where a tag cannot be looked up; RegistryError.
    """
    if text.startswith("sha256:"):
        return text
    from pratique.image.reference import parse_name  # noqa: PLC0415 - only where an image is named

    name = parse_name(text)
    if name.digest:
        return str(msgspec.structs.replace(name, tag=""))
    if offline:
        raise UsageError(f"--image {text}: a tag cannot be looked up offline", hint="name it by digest: NAME@sha256:...")
    from pratique.image.endpoint import Clients  # noqa: PLC0415 - only where a tag is looked up
    from pratique.image.options import SourceOptions  # noqa: PLC0415
    from pratique.image.sources.registry import Remote  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        options = SourceOptions(cache_dir=Path(folder), insecure=insecure)
        clients = Clients(options)
        try:
            _, digest = Remote(name, clients, options).top()
        finally:
            clients.close()
    return f"{name.registry}/{name.repository}@{digest}"
