"""Files in, images out: layers, `docker save` archives and OCI layouts, the same bytes each time, without any container tool."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import zstandard

Compression = Literal["none", "gzip", "zstd"]
Style = Literal["classic", "oci", "skopeo"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = {
    "none": "application/vnd.docker.image.rootfs.diff.tar",
    "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
}


# -- layers ---------------------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One entry of a layer other than a plain file with mode 0644. `type` is tarfile's."""

    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    pax: Mapping[str, str] = {}


def symlink(target: str) -> Entry:
    """A symbolic link."""
    return Entry(type=tarfile.SYMTYPE, link=target, mode=0o777)


def hardlink(target: str) -> Entry:
    """A hard link to a path of the same archive."""
    return Entry(type=tarfile.LNKTYPE, link=target)


def directory(mode: int = 0o755) -> Entry:
    """A directory; a name that ends in "/" makes one, too."""
    return Entry(type=tarfile.DIRTYPE, mode=mode)


def executable(data: bytes, mode: int = 0o755) -> Entry:
    """A file that can be run (mode 0o4755 for setuid)."""
    return Entry(data=data, mode=mode)


Content = bytes | str | Entry
Files = Mapping[str, Content]


def layer(files: Files, *, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002 - tarfile's word
    """Make the plain tar of a layer: name -> content (text is UTF-8) or Entry, in the order given.

    A whiteout is a file named ".wh.<name>"; an opaque directory has ".wh..wh..opq".
    """
    return layer_of_entries(files.items(), format=format)


def layer_of_entries(entries: Iterable[tuple[str, Content]], *, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    """Make a layer of pairs, which may repeat names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, content in entries:
            entry = content if isinstance(content, Entry) else Entry(content.encode() if isinstance(content, str) else content)
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else entry.type
            info.mode = 0o755 if name.endswith("/") and entry.mode == 0o644 else entry.mode
            info.uid, info.linkname, info.size = entry.uid, entry.link, len(entry.data)
            info.pax_headers = dict(entry.pax)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def layer_of(root: Path) -> bytes:
    """Make a layer of a directory on disk: sorted, owned by root, without times."""
    entries: list[tuple[str, Content]] = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        mode = path.lstat().st_mode & 0o7777
        if path.is_symlink():
            entries.append((name, symlink(str(path.readlink()))))
        elif path.is_dir():
            entries.append((name, directory(mode)))
        else:
            entries.append((name, Entry(path.read_bytes(), mode=mode)))
    return layer_of_entries(entries)


def compress(data: bytes, compression: Compression) -> bytes:
    """Compress a layer."""
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3).compress(data)
    return data


def digest(data: bytes) -> str:
    """Return sha256:<hex>."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def encode(document: Any) -> bytes:
    """JSON as the tests store it."""
    return json.dumps(document, separators=(",", ":")).encode()


# -- images ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Image:
    """An image in all its parts. `blobs` has manifest, configuration and layers by digest; `diffs` the plain layers in order."""

    manifest: bytes
    media_type: str
    config: bytes
    diffs: list[bytes]
    layers: list[bytes]
    platform: tuple[str, str, str] = ("linux", "amd64", "")
    blobs: dict[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Digest of the manifest."""
        return digest(self.manifest)

    def descriptor(self, **annotations: str) -> dict[str, Any]:
        """Return how an index refers to this image."""
        os_, architecture, variant = self.platform
        platform = {"os": os_, "architecture": architecture} | ({"variant": variant} if variant else {})
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.manifest),
            "platform": platform,
        }
        return found | ({"annotations": annotations} if annotations else {})


def configuration(
    diffs: Sequence[bytes],
    *,
    platform: tuple[str, str, str] = ("linux", "amd64", ""),
    created_by: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an image configuration. `config` is its inner part (User, Env, Cmd, ...).

    `created_by` has one text a layer; a text with the prefix "#" is a step that made no layer.
    """
    texts = created_by if created_by is not None else [f"COPY layer{number} /" for number in range(len(diffs))]
    history = [
        {"created": "1970-01-01T00:00:00Z", "created_by": text.removeprefix("#")}
        | ({"empty_layer": True} if text[:1] == "#" else {})
        for text in texts
    ]
    os_, architecture, variant = platform
    return {
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture,
        "os": os_,
        **({"variant": variant} if variant else {}),
        "config": dict(config or {"Cmd": ["/bin/sh"]}),
        "rootfs": {"type": "layers", "diff_ids": [digest(diff) for diff in diffs]},
        "history": history,
    }


def image(
    layers: Sequence[bytes],
    *,
    compression: Compression = "gzip",
    docker: bool = False,
    platform: tuple[str, str, str] = ("linux", "amd64", ""),
    created_by: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Image:
    """Make an image of plain layers; `docker` takes Docker's media types instead of OCI's."""
    stated = encode(configuration(layers, platform=platform, created_by=created_by, config=config))
    stored = [compress(data, compression) for data in layers]
    layer_type = (DOCKER_LAYER if docker else OCI_LAYER)[compression]
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": DOCKER_CONFIG if docker else OCI_CONFIG,
                "digest": digest(stated),
                "size": len(stated),
            },
            "layers": [{"mediaType": layer_type, "digest": digest(data), "size": len(data)} for data in stored],
        }
    )
    blobs = {digest(data): data for data in (manifest, stated, *stored)}
    return Image(manifest, media_type, stated, list(layers), stored, platform, blobs)


def index(descriptors: Sequence[Mapping[str, Any]], *, docker: bool = False) -> bytes:
    """Make an index (or Docker's manifest list) of descriptors."""
    return encode({"schemaVersion": 2, "mediaType": DOCKER_LIST if docker else OCI_INDEX, "manifests": list(descriptors)})


# -- docker save ----------------------------------------------------------------------------------------------------------------


def docker_archive(
    layers: Sequence[bytes],
    *,
    tags: Sequence[str] = ("example.test/app:latest",),
    style: Style = "classic",
    compression: Compression = "none",
    platform: tuple[str, str, str] = ("linux", "amd64", ""),
    created_by: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> bytes:
    """Make what `docker save` writes: "classic" (before Docker 25), "oci" (since) or "skopeo" (layers linked by symlinks)."""
    made = image(layers, compression=compression, platform=platform, created_by=created_by, config=config)
    return docker_archive_of([(made, tags)], style=style)


def docker_archive_of(images: Sequence[tuple[Image, Sequence[str]]], *, style: Style = "classic") -> bytes:
    """Make an archive of several images with their tags. A layer that comes twice is a symlink the second time ("classic")."""
    entries: dict[str, Content] = {}
    manifest = []
    for made, tags in images:
        if style == "oci":
            paths = _save_oci(made, entries)
            config_path = "blobs/sha256/" + digest(made.config).split(":")[1]
        else:
            paths = _save_classic(made, entries) if style == "classic" else _save_skopeo(made, entries)
            config_path = digest(made.config).split(":")[1] + ".json"
        entries[config_path] = made.config
        manifest.append({"Config": config_path, "RepoTags": list(tags) or None, "Layers": paths})
    if style == "oci":
        tagged = [made.descriptor(**{"io.containerd.image.name": tag}) for made, tags in images for tag in tags or [""]]
        entries["index.json"] = index(tagged)
        entries["oci-layout"] = encode({"imageLayoutVersion": "1.0.0"})
    entries["manifest.json"] = encode(manifest)
    return layer(entries)


def _save_oci(made: Image, entries: dict[str, Content]) -> list[str]:
    entries.setdefault("blobs/", b"")
    entries.setdefault("blobs/sha256/", b"")
    entries.update({f"blobs/sha256/{name.split(':')[1]}": data for name, data in made.blobs.items()})
    return [f"blobs/sha256/{digest(data).split(':')[1]}" for data in made.layers]


def _save_classic(made: Image, entries: dict[str, Content]) -> list[str]:
    paths = []
    chain = ""
    for data in made.layers:
        chain = hashlib.sha256(f"{chain} {digest(data)} {len(entries)}".encode()).hexdigest()
        path = f"{chain}/layer.tar"
        same = next((name for name, content in entries.items() if name.endswith("/layer.tar") and content == data), None)
        entries[f"{chain}/"] = b""
        entries[f"{chain}/VERSION"] = "1.0"
        entries[f"{chain}/json"] = encode({"id": chain})
        entries[path] = symlink(f"../{same}") if same else data
        paths.append(path)
    return paths


def _save_skopeo(made: Image, entries: dict[str, Content]) -> list[str]:
    paths = []
    for number, data in enumerate(made.layers):
        path = digest(data).split(":")[1] + ".tar"
        entries[path] = data
        entries[f"{hashlib.sha256(f'{path}{number}'.encode()).hexdigest()}/layer.tar"] = symlink(f"../{path}")
        paths.append(path)
    return paths


# -- OCI layouts ----------------------------------------------------------------------------------------------------------------


def oci_layout(
    directory: Path,
    layers: Sequence[bytes],
    *,
    compression: Compression = "gzip",
    tag: str = "latest",
    nested: int = 0,
    platform: tuple[str, str, str] = ("linux", "amd64", ""),
    created_by: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Image:
    """Write an OCI layout with one image; `nested` puts that many indexes between index.json and the manifest."""
    made = image(layers, compression=compression, platform=platform, created_by=created_by, config=config)
    oci_layout_of(directory, [(made, tag)], nested=nested)
    return made


def oci_layout_of(
    directory: Path, images: Sequence[tuple[Image, str]], *, nested: int = 0, extra: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write an OCI layout of several images (platforms, or tags by org.opencontainers.image.ref.name). `extra` adds descriptors.

    With `nested`, the innermost index holds all of them, and index.json names the outermost under the first image's tag.
    """
    folder = directory / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    for made, _tag in images:
        for name, data in made.blobs.items():
            (folder / name.split(":")[1]).write_bytes(data)
    name = "org.opencontainers.image.ref.name"
    top = index(
        [made.descriptor(**({name: tag} if tag and not nested else {})) for made, tag in images] + [dict(item) for item in extra]
    )
    for depth in range(nested):
        (folder / digest(top).split(":")[1]).write_bytes(top)
        described: dict[str, Any] = {"mediaType": OCI_INDEX, "digest": digest(top), "size": len(top)}
        if depth == nested - 1 and images[0][1]:
            described["annotations"] = {name: images[0][1]}
        top = index([described])
    (directory / "index.json").write_bytes(top)
    (directory / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))


def oci_archive(directory: Path) -> bytes:
    """Pack a layout into what `skopeo copy ... oci-archive:` writes."""
    return layer_of(directory)
