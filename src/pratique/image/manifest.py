"""Bytes of manifests, indexes and configurations in, checked values out. Every number and digest is hostile until compared.

https://github.com/opencontainers/image-spec (manifest.md, image-index.md, config.md, descriptor.md), and Docker's image manifest
version 2, schema 2.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from pratique.model.errors import IntegrityError, TargetError, UsageError
from pratique.model.image import Compression, Layer, Platform

MAX_MANIFEST = 4 << 20  # what registries accept (distribution-spec asks for 4 MiB at least, none takes more)
MAX_CONFIG = 4 << 20  # largest honest ones are a few hundred KiB; the history is their only part that grows
MAX_LAYERS = 500  # OVL_MAX_STACK of Linux: an image with more cannot be mounted
MAX_MANIFESTS = 1_000  # of one index; the largest official ones have about 30
MAX_LAYER_SIZE = 64 << 30  # above what any hosted registry takes (ECR's 52,000 MiB are the most)

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}"

_ATTESTATION = "vnd.docker.reference.type"
_LOWER_HEX = frozenset("0123456789abcdef")


class StatedPlatform(msgspec.Struct, frozen=True):
    """The platform of a descriptor."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A reference to a blob."""

    digest: str
    size: int
    media_type: str = ""
    platform: StatedPlatform | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None
    artifact_type: str = ""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """An image manifest."""

    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""
    artifact_type: str = ""


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """An image index or manifest list."""

    manifests: list[Descriptor]
    media_type: str = ""


def check_digest(digest: str, what: str) -> str:
    """Return the hexadecimal part of a sha256 digest. Raises IntegrityError for no digest, TargetError for another algorithm."""
    algorithm, _, value = digest.partition(":")
    if algorithm == "sha256" and len(value) == 64 and _LOWER_HEX.issuperset(value):
        return value
    if algorithm in ("sha384", "sha512", "blake3") and _LOWER_HEX.issuperset(value):
        raise TargetError(f"{what}: digests of the algorithm {algorithm} are not supported", hint="sha256 is what registries use")
    raise IntegrityError(f"{what}: {digest[:100]!r} is no digest")


def verify(data: bytes, digest: str, what: str) -> bytes:
    """Return the data if it has that digest. Raises IntegrityError."""
    check_digest(digest, what)
    seen = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if seen != digest:
        raise IntegrityError(f"{what} was tampered with or damaged: its digest is {seen}, not {digest}")
    return data


def check_size(descriptor: Descriptor, limit: int, what: str) -> Descriptor:
    """Return the descriptor if its digest and size can be right. Raises IntegrityError, TargetError."""
    check_digest(descriptor.digest, what)
    if descriptor.size < 0:
        raise IntegrityError(f"{what} has a negative size")
    if descriptor.size > limit:
        raise TargetError(f"{what} is stated to have {descriptor.size} bytes; the limit is {limit}")
    return descriptor


def _decode(data: bytes, kind: type[Any], what: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{what} is not as the specification says: {error}") from None


def decode(data: bytes, what: str, media_type: str = "") -> Manifest | Index:
    """Decode a manifest or an index; its own mediaType precedes what the transport said. Raises IntegrityError, TargetError."""
    if len(data) > MAX_MANIFEST:
        raise TargetError(f"{what} has {len(data)} bytes; the limit is {MAX_MANIFEST}")
    head = _decode(data, dict[str, Any], what)
    stated = head.get("mediaType") or media_type
    is_index = "manifests" in head
    if is_index and ("layers" in head or "config" in head):
        raise IntegrityError(f"{what} claims to be both a manifest and an index")
    if head.get("schemaVersion") == 1 or str(stated).startswith(_SCHEMA_1):
        raise TargetError(
            f"{what} has the format schema 1, which states no digests", hint="push the image again with a current tool"
        )
    if stated in INDEX_TYPES and not is_index:
        raise IntegrityError(f"{what} is called an index but lists no manifests")
    if is_index:
        index: Index = _decode(data, Index, what)
        if len(index.manifests) > MAX_MANIFESTS:
            raise TargetError(f"{what} lists {len(index.manifests)} manifests; the limit is {MAX_MANIFESTS}")
        return index
    manifest: Manifest = _decode(data, Manifest, what)
    if len(manifest.layers) > MAX_LAYERS:
        raise TargetError(f"{what} has {len(manifest.layers)} layers; Linux mounts no more than {MAX_LAYERS}")
    return manifest


def decode_config(data: bytes, what: str) -> dict[str, Any]:
    """Decode an image configuration. Raises IntegrityError, TargetError."""
    if len(data) > MAX_CONFIG:
        raise TargetError(f"{what} has {len(data)} bytes; the limit is {MAX_CONFIG}")
    config: dict[str, Any] = _decode(data, dict[str, Any], what)
    return config


# -- layers ---------------------------------------------------------------------------------------------------------------------


def platform_of(config: dict[str, Any]) -> Platform | None:
    """Return the platform that a configuration states, if it does."""
    system, architecture, variant = (config.get(key) for key in ("os", "architecture", "variant"))
    if not isinstance(architecture, str) or not architecture:
        return None
    known = system if isinstance(system, str) and system else "linux"
    return Platform(known, architecture, variant if isinstance(variant, str) else "")


def diff_ids_of(config: dict[str, Any], count: int, what: str) -> list[str]:
    """Return the diff_ids of a configuration, which must be `count`. Raises IntegrityError."""
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if found is None and count == 0:
        return []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise IntegrityError(f"{what} states no diff_ids", hint="it may be an artifact that is no container image")
    if len(found) != count:
        raise IntegrityError(f"{what} states {len(found)} diff_ids for {count} layers")
    for item in found:
        check_digest(item, f"{what}, diff_id")
    return found


def created_by(config: dict[str, Any], count: int) -> list[str]:
    """Return the instruction behind each layer. Where the history does not fit the layers nobody can tell: all are empty."""
    history = config.get("history")
    if not isinstance(history, list):
        return [""] * count
    steps = [step for step in history if isinstance(step, dict) and step.get("empty_layer") is not True]
    if len(steps) != count:
        return [""] * count
    return [text if isinstance(text := step.get("created_by"), str) else "" for step in steps]


def _compression(media_type: str) -> Compression:
    if media_type.endswith((".gzip", "+gzip")):
        return "tar+gzip"
    return "tar+zstd" if media_type.endswith((".zstd", "+zstd")) else "tar"


def layers_of(manifest: Manifest, config: dict[str, Any], what: str) -> tuple[Layer, ...]:
    """Join the manifest's blobs with the configuration's diff_ids and history. Raises IntegrityError, TargetError."""
    for number, blob in enumerate(manifest.layers):
        name = f"{what}, layer {number + 1}"
        check_size(blob, MAX_LAYER_SIZE, name)
        if blob.media_type and "tar" not in blob.media_type:
            raise TargetError(
                f"{name} has the type {blob.media_type[:100]!r}, which is no file system",
                hint="it may be an artifact, or encrypted",
            )
        if "encrypted" in blob.media_type:
            raise TargetError(f"{name} is encrypted")
    diff_ids = diff_ids_of(config, len(manifest.layers), what)
    instructions = created_by(config, len(manifest.layers))
    joined = zip(manifest.layers, diff_ids, instructions, strict=True)
    return tuple(
        Layer(
            diff_id=diff_id, digest=blob.digest, size=blob.size, compression=_compression(blob.media_type), created_by=instruction
        )
        for blob, diff_id, instruction in joined
    )


# -- platforms ------------------------------------------------------------------------------------------------------------------

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "armhf": "arm", "i386": "386",
    "i686": "386", "loongarch64": "loong64",
}  # fmt: skip


def this_machine() -> Platform:
    """Return linux/<architecture of this machine>: what a container engine here would pull."""
    name = os.uname().machine.lower()
    return Platform("linux", _ARCHITECTURES.get(name, name))


def parse_platform(text: str) -> Platform:
    """Parse os/arch[/variant]; an architecture alone means linux. Raises UsageError."""
    parts = text.strip().lower().split("/")
    if parts[0] in _ARCHITECTURES or parts[0] in _ARCHITECTURES.values():
        parts.insert(0, "linux")
    if len(parts) not in (2, 3) or not all(
        part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in parts
    ):
        raise UsageError(f"{text!r} is no platform", hint="write os/arch or os/arch/variant, such as linux/arm64")
    return Platform(parts[0], _ARCHITECTURES.get(parts[1], parts[1]), parts[2] if len(parts) == 3 else "")


def _variant(platform: Platform) -> str:
    """The variant with the engines' defaults filled in: arm means v7, and arm64 is v8."""
    if platform.variant:
        return platform.variant
    return {"arm": "v7", "arm64": "v8"}.get(platform.architecture, "")


def rank(offered: Platform, wanted: Platform) -> int:
    """Say how well a platform fits: 0 exactly, more is worse, -1 not at all. An unstated variant accepts others, higher first."""
    architecture = _ARCHITECTURES.get(offered.architecture, offered.architecture)
    if (offered.os, architecture) != (wanted.os, wanted.architecture):
        return -1
    have, want = _variant(offered), _variant(wanted)
    if have == want:
        return 0
    if wanted.variant:
        return -1
    return 100 - int(have[1:]) if have[:1] == "v" and have[1:].isdigit() and len(have) < 4 else 200


def is_image(descriptor: Descriptor) -> bool:
    """Say whether an entry of an index is an image: no attestation, no other artifact."""
    if descriptor.annotations and _ATTESTATION in descriptor.annotations:
        return False
    if descriptor.platform is not None and descriptor.platform.os == descriptor.platform.architecture == "unknown":
        return False
    return not descriptor.artifact_type and descriptor.media_type in MANIFEST_TYPES | INDEX_TYPES


def stated(descriptor: Descriptor) -> Platform | None:
    """Return the platform of a descriptor, if it states one."""
    place = descriptor.platform
    return Platform(place.os, place.architecture, place.variant) if place and place.architecture else None


def listing(platforms: Sequence[Platform]) -> str:
    """Platforms for a message, each once."""
    return ", ".join(sorted({str(platform) for platform in platforms})) or "none"
