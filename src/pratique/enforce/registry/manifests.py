"""A manifest's bytes in, what it is and what it refers to out.

An index leads to manifests, and is itself nothing that runs. An image is what an engine may run: one of Docker's, or one whose
configuration or layers are of a type that some engine takes for an image's, and engines take more than the specifications say.
Anything else (a signature, an SBOM, a chart) is an artifact, if its configuration is none of an image's: Docker runs whatever has
one (seen with 26.1.5: a manifest with the configuration type of a chart, and the configuration and layers of an image).
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, NamedTuple

import msgspec

from pratique.model.errors import ParseError

MAX_MANIFEST = 4 << 20  # as distribution bounds it
MAX_ENTRIES = 10_000  # blobs or manifests of one; images have at most 127 layers, indexes some tens of platforms
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_IMAGES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
MAX_LOOKED_AT = 16  # layers of a signature or an attestation that are looked at; each signer adds one
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"  # has no artifacts: only images and plugins, which run, too
# The last four are what registries of 2015 said of every configuration: Docker pulls and runs such images to this day, whatever
# type their layers are called (moby, distribution/pull_v2.go, Schema2Types). Parameters of a type do not count.
_CONFIGS = frozenset(
    ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json",
     "application/octet-stream", "application/json", "text/html", "")
)  # fmt: skip
# What other runtimes run without unpacking a root file system: containerd's shims for WebAssembly, Singularity.
_RUN = (
    "application/vnd.wasm.", "application/wasm", "application/vnd.sylabs.sif.", "application/vnd.w3c.wasm",
    "application/vnd.docker.", "application/vnd.oci.image.config",
)  # fmt: skip
_LAYERS = ("application/vnd.oci.image.layer.", "application/x-tar", "application/tar", "application/gzip", *_RUN)


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """What a manifest points to."""

    digest: str
    media_type: str = ""
    data: str = ""


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    media_type: str = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None


class Manifest(NamedTuple):
    """What a manifest is: its digest, the blobs it needs (its configuration first), the manifests it leads to.

    `unlayered` says of an image that none of its layers is called one: signatures and attestations are written so; `unsure` that
    it counts as an image as it could not be looked into.
    """

    kind: Literal["index", "image", "artifact"]
    digest: str
    blobs: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    unlayered: bool = False
    unsure: bool = False

    @property
    def config(self) -> str:
        """The digest of its configuration, which engines know the image by; "" for an index."""
        return self.blobs[0] if self.blobs else ""


def read_manifest(body: bytes, media_type: str) -> Manifest:
    """Read a manifest as the registry gives or takes it. Raises ParseError for what could be taken for two things."""
    if len(body) > MAX_MANIFEST:
        raise ParseError(f"the manifest has more than {MAX_MANIFEST >> 20} MiB")
    try:
        _once(body)
        found = msgspec.json.decode(body, type=_Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError) as error:
        raise ParseError(f"the manifest cannot be read: {error}") from None
    stated = media_type.partition(";")[0].strip()
    if found.schema_version != 2:
        raise ParseError("the manifest is of schema 1, which names no digests that could be judged")
    if found.media_type and stated and found.media_type != stated:
        raise ParseError(f"the manifest says that it is {found.media_type[:80]!a}, the registry {stated[:80]!a}")
    kind, digest = found.media_type or stated, "sha256:" + hashlib.sha256(body).hexdigest()
    if max(len(found.manifests or ()), len(found.layers or ())) > MAX_ENTRIES:
        raise ParseError(f"the manifest has more than {MAX_ENTRIES} entries")
    if kind in _INDEXES:
        if found.manifests is None or found.layers is not None or found.config is not None:
            raise ParseError("an index that is an image as well")
        if any(one.data for one in found.manifests):  # containerd takes it from here (seen with 1.7.24), and asks for no manifest
            raise ParseError("the index carries manifests within itself (data), which would be had without being judged")
        return Manifest("index", digest, (), tuple(one.digest for one in found.manifests))
    if kind not in _IMAGES or found.manifests is not None or found.config is None:
        raise ParseError(f"a manifest of the type {kind[:80]!a} is not known here")
    layers = found.layers or ()
    layered = any(_type(one.media_type).startswith(_LAYERS) for one in layers)
    image = kind == _DOCKER or _runs(found.config.media_type) or layered
    blobs = (found.config.digest, *(one.digest for one in layers))
    unlayered = (
        kind != _DOCKER and not layered and _type(found.config.media_type) == _OCI_CONFIG and 0 < len(layers) <= MAX_LOOKED_AT
    )
    return Manifest("image" if image else "artifact", digest, blobs, unlayered=image and unlayered)


def _type(text: str) -> str:
    """Return a media type as it is compared: letter case and parameters do not count (RFC 9110, 8.3.1)."""
    return text.partition(";")[0].strip().lower()


def _runs(config: str) -> bool:
    """Say whether some engine takes what has such a configuration for something to run."""
    kind = _type(config)
    return kind in _CONFIGS or kind.startswith(_RUN)


MAX_CONFIG = 1 << 20  # bytes of a configuration that are looked at; those of images and of artifacts have some KiB


def is_configuration(body: bytes) -> bool:
    """Say whether an engine could take these bytes for an image's configuration: it needs `rootfs`, in whatever letter case.

    What is no JSON for Python and might be for Go (bytes that are not UTF-8, a second document behind the first) counts as one.
    """
    import json  # noqa: PLC0415 - beside its one use

    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text.startswith("{"):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return any(key.casefold() == "rootfs" for key in found)


HEAD = 512  # bytes of a layer that tell whether it can be unpacked: the first header of a tar archive
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_ZSTD_SKIPPED = (0x184D2A50, 0x184D2A5F)  # magic numbers of frames that may come first (RFC 8878, 3.1.2)


def can_be_unpacked(head: bytes) -> bool:
    """Say whether an engine could unpack a layer that begins so: it is compressed, or a tar archive, or empty blocks of one."""
    if head.startswith(_COMPRESSED) or _ZSTD_SKIPPED[0] <= int.from_bytes(head[:4], "little") <= _ZSTD_SKIPPED[1]:
        return True
    if len(head) < HEAD:
        return False
    if not any(head) or head[257:262] == b"ustar":
        return True
    stated = head[148:156].strip(b" \0").partition(b"\0")[0]
    try:
        wanted = int(stated, 8)
    except ValueError:
        return False
    counted = head[:148] + b" " * 8 + head[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in counted)
    return wanted in (sum(counted), signed)


# Keys that decide what a manifest is: Go reads them in any letter case, so that another spelling means two things.
_KEYS = {name.casefold(): name for name in ("schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "data")}


def _once(body: bytes) -> None:
    """Refuse keys that come twice, or in another letter case: readers differ in which of them they take."""
    import json  # noqa: PLC0415 - msgspec takes the last of several without a word

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name.casefold() for name, _ in found}) != len(found):
            raise ValueError("a key comes twice")
        for name, _ in found:
            if _KEYS.get(name.casefold(), name) != name:
                raise ValueError(f"{name[:40]!a} is spelled otherwise")
        return dict(found)

    json.loads(body, object_pairs_hook=pairs)
