"""docker-archive:PATH[:NAME] and oci-archive:PATH[:NAME] in, an image out; also compressed as a whole (gzip, zstd, xz, bzip2).

Both layouts of `docker save` are read: before Docker 25 (<id>/layer.tar, linked where two images share one) and since (an OCI
layout with manifest.json beside index.json), and those of podman, skopeo, buildx and kaniko, which differ in names only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from pratique.image import oci
from pratique.image.blob import Region, compression_of, digest
from pratique.image.manifest import (
    MAX_CONFIG,
    MAX_LAYERS,
    MAX_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    check_digest,
    created_by,
    decode,
    decode_config,
    diff_ids_of,
    platform_of,
    rank,
    verify,
)
from pratique.image.opened import OpenedImage
from pratique.image.options import SourceOptions
from pratique.image.outer import Outer, kind_of, open_outer
from pratique.image.reference import parse_name, split_path
from pratique.model.errors import IntegrityError, TargetError, TargetNotFoundError, UsageError
from pratique.model.image import Compression, Extent, ImageRef, Layer, Platform

MAX_IMAGES = 1_000  # in one archive

_COMPRESSIONS: dict[str, Compression] = {"gzip": "tar+gzip", "zstd": "tar+zstd"}


class Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """One image in manifest.json of `docker save`."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class _Archives:
    schemes = ("docker-archive", "oci-archive", "archive")

    @contextmanager
    def open(self, ref: ImageRef, platform: Platform | None, options: SourceOptions) -> Iterator[OpenedImage]:
        """Open one image of an archive. Raises TargetError, IntegrityError."""
        path, name = split_path(ref.value)
        with open_outer(path, options) as outer:
            yield open_in(outer, ref, name, platform)

    def platforms(self, ref: ImageRef, options: SourceOptions) -> list[Platform]:
        """List what the archive offers under that name."""
        path, name = split_path(ref.value)
        with open_outer(path, options) as outer:
            if _kind(outer, ref.scheme) == "oci-archive":
                return oci.platforms(_top(outer), name, _Blobs(outer).read, outer.called)
            places = [platform_of(_config(outer, saved)) for saved in _named(_saved(outer), name, outer.called)]
            return sorted({place for place in places if place is not None})


def _kind(outer: Outer, scheme: str) -> str:
    found = kind_of(outer) if scheme not in ("docker-archive", "oci-archive") else scheme
    needed = "manifest.json" if found == "docker-archive" else "index.json"
    if needed not in outer:
        other = kind_of(outer)
        raise TargetError(f"{outer.called} is no {found}: it has no {needed}", hint=f"it can be read as {other}:")
    return found


def open_in(outer: Outer, ref: ImageRef, name: str, platform: Platform | None) -> OpenedImage:
    """Open an image of an archive whose table of contents was read."""
    kind = _kind(outer, ref.scheme)
    if kind == "oci-archive":
        return _open_oci(outer, ref, name, platform)
    return _open_docker(outer, ref, name, platform)


# -- OCI ------------------------------------------------------------------------------------------------------------------------


class _Blobs:
    """The blobs of a layout that lies in an archive."""

    def __init__(self, outer: Outer) -> None:
        self._outer = outer

    def read(self, descriptor: Descriptor, what: str) -> bytes:
        """Return a manifest or configuration, verified."""
        data = self._outer.read(self._name(descriptor.digest, what), MAX_MANIFEST)
        if len(data) != descriptor.size:
            raise IntegrityError(f"{what} has {len(data)} bytes, not {descriptor.size}")
        return verify(data, descriptor.digest, what)

    def fetch(self, layer: Layer) -> Extent:
        """Return a layer's place."""
        what = f"{self._outer.called}, layer {layer.digest}"
        extent = self._outer.extent(self._name(layer.digest, what))
        if extent.size != layer.size:
            raise IntegrityError(f"{what} has {extent.size} bytes, not {layer.size}")
        return extent

    @staticmethod
    def _name(stated: str, what: str) -> str:
        return f"blobs/sha256/{check_digest(stated, what)}"


def _top(outer: Outer) -> Index:
    found = decode(outer.read("index.json", MAX_MANIFEST), f"{outer.called}, index.json")
    if not isinstance(found, Index):
        raise IntegrityError(f"{outer.called}: index.json is a manifest and should be an index")
    return found


def _open_oci(outer: Outer, ref: ImageRef, name: str, platform: Platform | None) -> OpenedImage:
    blobs = _Blobs(outer)
    chosen = oci.pick(_top(outer), name, platform, blobs.read, ref.value)
    image = OpenedImage(
        "oci-archive", ref.value, digest=chosen.digest, platform=chosen.platform, config=chosen.config, layers=chosen.layers
    )
    image.known_as, image.tags = chosen.known_as, chosen.tags
    return image.served_by(blobs.fetch)


# -- docker save ----------------------------------------------------------------------------------------------------------------


def _saved(outer: Outer) -> list[Saved]:
    data = outer.read("manifest.json", MAX_MANIFEST)
    try:
        found = msgspec.json.decode(data, type=list[Saved])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{outer.called}: manifest.json is not what `docker save` writes: {error}") from None
    if len(found) > MAX_IMAGES:
        raise TargetError(f"{outer.called} has {len(found)} images; the limit is {MAX_IMAGES}")
    return found


def _normal(tag: str) -> str:
    try:
        return str(parse_name(tag))
    except UsageError:
        return tag


def _named(saved: list[Saved], name: str, what: str) -> list[Saved]:
    """Choose by tag or by "@" and the position in the archive, as skopeo does."""
    tags = sorted({tag for image in saved for tag in image.repo_tags or ()})
    if name.startswith("@") and name[1:].isdigit():
        kept = saved[int(name[1:]) :][:1] if len(name) < 8 else []
    elif name:
        kept = [image for image in saved if _normal(name) in {_normal(tag) for tag in image.repo_tags or ()}]
    else:
        kept = saved
    if not kept:
        raise TargetNotFoundError(f"{what} has no image {name!r}" if name else f"{what} has no image in it", hint=_choices(tags))
    return kept


def _choices(tags: list[str]) -> str:
    return "it has " + ", ".join(tags[:10]) + (f" and {len(tags) - 10} more" if len(tags) > 10 else "") if tags else ""


def _config(outer: Outer, saved: Saved) -> dict[str, Any]:
    return decode_config(_config_bytes(outer, saved)[0], f"{outer.called}, configuration {saved.config[:200]}")


def _config_bytes(outer: Outer, saved: Saved) -> tuple[bytes, str]:
    """Return the configuration and its digest; where its name is a digest it must be that one."""
    data = outer.read(_safe(outer, saved.config), MAX_CONFIG)
    stem = saved.config.rpartition("/")[2].removesuffix(".json").removeprefix("sha256:")
    if len(stem) == 64 and not set(stem) - set("0123456789abcdef"):
        return verify(data, f"sha256:{stem}", f"{outer.called}, configuration"), f"sha256:{stem}"
    import hashlib  # noqa: PLC0415 - only for names that are no digest

    return data, f"sha256:{hashlib.sha256(data).hexdigest()}"


def _safe(outer: Outer, name: str) -> str:
    if name.startswith("/") or ".." in name.split("/") or not name or "\0" in name:
        raise IntegrityError(f"{outer.called}: manifest.json names the path {name[:200]!r}, which leads out of the archive")
    return name


def _open_docker(outer: Outer, ref: ImageRef, name: str, platform: Platform | None) -> OpenedImage:
    every = _saved(outer)
    saved = _one(outer, _named(every, name, ref.value), platform, ref.value)
    data, config_digest = _config_bytes(outer, saved)
    config = decode_config(data, f"{ref.value}, configuration")
    own = platform_of(config)
    if platform is not None and own is not None and rank(own, platform) < 0:
        raise TargetNotFoundError(f"{ref.value} is an image for {own}, not for {platform}")
    places = _places(outer, saved, config, ref.value)
    image = OpenedImage(
        "docker-archive",
        ref.value,
        digest=_manifest_digest(outer, config_digest, [layer.digest for layer, _ in places]) or config_digest,
        platform=own,
        config=config,
        layers=tuple(layer for layer, _ in places),
    )
    image.raw_config = data
    image.known_as = (config_digest,) if config_digest != image.digest else ()
    image.tags = tuple(sorted({tag for one in every if one.config == saved.config for tag in one.repo_tags or ()}))
    extents = {layer.diff_id: extent for layer, extent in places}
    return image.served_by(lambda layer: extents[layer.diff_id])


def _one(outer: Outer, saved: list[Saved], platform: Platform | None, what: str) -> Saved:
    """One of several images under the name: the same one twice, or one a platform."""
    unique = list({image.config: image for image in saved}.values())
    if len(unique) == 1:
        return unique[0]
    if platform is not None:
        placed = [(image, platform_of(_config(outer, image))) for image in unique]
        fits = [(fit, image) for image, place in placed if place is not None and (fit := rank(place, platform)) >= 0]
        if len(fits) == 1:
            return fits[0][1]
    tags = sorted({tag for image in saved for tag in image.repo_tags or ()})
    raise TargetError(
        f"{what} has {len(unique)} images", hint="name one of them after a colon: " + (_choices(tags) or "@0, @1, ...")
    )


def _places(outer: Outer, saved: Saved, config: dict[str, Any], what: str) -> list[tuple[Layer, Extent]]:
    """Join layer files, diff_ids and history."""
    paths = saved.layers or []
    if len(paths) > MAX_LAYERS:
        raise TargetError(f"{what} has {len(paths)} layers; Linux mounts no more than {MAX_LAYERS}")
    diff_ids = diff_ids_of(config, len(paths), what)
    found: list[tuple[Layer, Extent]] = []
    first: dict[str, Extent] = {}
    for path, diff_id, instruction in zip(paths, diff_ids, created_by(config, len(paths)), strict=True):
        extent = outer.extent(_safe(outer, path))
        if diff_id in first and first[diff_id] != extent:
            _refuse_twin(outer, first[diff_id], extent, diff_id)
        first.setdefault(diff_id, extent)
        folder, _, base = path.rpartition("/")
        layer = Layer(
            diff_id=diff_id,
            digest=f"sha256:{base}" if folder == "blobs/sha256" else "",
            size=extent.size,
            compression=_COMPRESSIONS.get(compression_of(outer.start(path)), "tar"),
            created_by=instruction,
        )
        if layer.digest:
            check_digest(layer.digest, what)
        found.append((layer, extent))
    return found


def _refuse_twin(outer: Outer, one: Extent, other: Extent, diff_id: str) -> None:
    """Two files under one diff_id: only one is read, so the other must be the same."""
    seen = {digest(Region(outer.descriptor, extent.offset, extent.size)) for extent in (one, other)}
    if len(seen) > 1:
        raise IntegrityError(f"{outer.called} has two different layers under the diff_id {diff_id}")


def _manifest_digest(outer: Outer, config_digest: str, layers: list[str]) -> str:
    """Return the digest of the manifest that names this configuration and these layers, if the archive is an OCI layout, too."""
    if "index.json" not in outer or not all(layers):
        return ""
    blobs, what = _Blobs(outer), f"{outer.called}, index.json"

    def read(descriptor: Descriptor, name: str) -> bytes:
        if f"blobs/sha256/{check_digest(descriptor.digest, name)}" not in outer:
            raise TargetNotFoundError(f"{name} was not saved")
        return blobs.read(descriptor, name)

    try:
        found = oci.candidates(_top(outer), read, what)
    except TargetNotFoundError:
        return ""  # Docker needs manifest.json alone: an index that was not saved takes only a name from the image
    for candidate in found:
        stated = candidate.descriptor
        if f"blobs/sha256/{check_digest(stated.digest, what)}" not in outer:
            continue  # an index of several platforms, of which this one was not saved
        manifest = decode(blobs.read(stated, f"{outer.called}, manifest {stated.digest}"), what, stated.media_type)
        if isinstance(manifest, Manifest) and manifest.config.digest == config_digest:
            if [blob.digest for blob in manifest.layers] != layers:
                raise IntegrityError(f"{outer.called}: manifest.json and the manifest {stated.digest} name different layers")
            return stated.digest
    return ""


SOURCE = _Archives()

__all__ = ["SOURCE", "open_in"]
