"""Folders, tar archives and generated files in, layers and whole images (docker archive, OCI layout) out.

Everything is written so that the same content gives the same bytes: names are sorted, times and owners are fixed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import zstandard

EPOCH = 1_760_000_000
"""Time of every file: what a build date would change must not change a digest."""

CHUNK = 1 << 20
GZIP_LEVEL = 6
"""What container builders use."""
ZSTD_LEVEL = 3
WORKERS = 2
PLATFORM = {"architecture": "amd64", "os": "linux"}
TAR_TYPE = "application/vnd.oci.image.layer.v1.tar"


@dataclasses.dataclass(frozen=True)
class Layer:
    """A finished layer: an uncompressed tar file and what is known of it."""

    path: Path
    diff_id: str
    size: int
    entries: int
    created_by: str


@dataclasses.dataclass(frozen=True)
class Item:
    """One entry of a layer to be: `content` for a regular file, `target` for a symbolic link, neither for a folder."""

    name: str
    content: bytes | Path | None = None
    target: str | None = None
    executable: bool = False


class _Hashing:
    """A file open for writing that hashes what passes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self._out.write(data)


def write_layer(path: Path, created_by: str, fill: Callable[[tarfile.TarFile], int]) -> Layer:
    """Write the tar that `fill` puts entries into (it returns their number), whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as out:
        hashing = _Hashing(out)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as archive:  # type: ignore[call-overload]
            entries = fill(archive)
    layer = Layer(path, "sha256:" + hashing.sha256.hexdigest(), hashing.size, entries, created_by)
    partial.replace(path)
    facts = {"diff_id": layer.diff_id, "size": layer.size, "entries": entries, "created_by": created_by}
    path.with_suffix(".json").write_text(json.dumps(facts))
    return layer


def finished_layer(path: Path) -> Layer | None:
    """Return the layer that an earlier run wrote here, if there is one."""
    facts = path.with_suffix(".json")
    if not (path.exists() and facts.exists()):
        return None
    known = json.loads(facts.read_text())
    if path.stat().st_size != known["size"]:
        return None
    return Layer(path, **known)


def from_items(items: Iterable[Item]) -> Callable[[tarfile.TarFile], int]:
    """Fill a layer with items; folders that they need and that none of them names are added."""

    def fill(archive: tarfile.TarFile) -> int:
        folders: set[str] = set()
        entries = 0
        for item in items:
            entries += _add_parents(archive, item.name, folders)
            if item.content is None and item.target is None:
                folders.add(item.name)
            _add_item(archive, item)
            entries += 1
        return entries

    return fill


def _add_parents(archive: tarfile.TarFile, name: str, folders: set[str]) -> int:
    parts = name.split("/")[:-1]
    added = 0
    for depth in range(1, len(parts) + 1):
        folder = "/".join(parts[:depth])
        if folder not in folders:
            folders.add(folder)
            _add_item(archive, Item(folder))
            added += 1
    return added


def _add_item(archive: tarfile.TarFile, item: Item) -> None:
    info = tarfile.TarInfo(item.name)
    info.mtime = EPOCH
    if item.target is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, item.target, 0o777
        archive.addfile(info)
    elif item.content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    else:
        info.mode = 0o755 if item.executable else 0o644
        content = item.content if isinstance(item.content, bytes) else item.content.read_bytes()
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


def walk_folder(folder: Path, prefix: str) -> Iterator[Item]:
    """Yield what lies in a folder, sorted, named as if the folder lay at `prefix`."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.is_symlink():
            yield Item(name, target=os.readlink(entry.path))  # noqa: PTH115 (a Path would normalise the target)
        elif entry.is_dir():
            yield Item(name)
            yield from walk_folder(Path(entry.path), name)
        elif entry.is_file():
            yield Item(name, content=Path(entry.path), executable=bool(entry.stat().st_mode & 0o100))


def from_difference(new: Path, old: Path | None) -> Callable[[tarfile.TarFile], int]:
    """Fill a layer with what the root file system archive `new` has and `old` has not, and whiteouts for the reverse."""

    def fill(archive: tarfile.TarFile) -> int:
        before = _signatures(old) if old else {}
        after = _signatures(new)
        entries = 0
        written: set[str] = set()
        for name in sorted(set(before) - set(after)):
            parent, _, base = name.rpartition("/")
            if parent in after:  # what lies deeper is hidden by the whiteout of its folder
                _add_item(archive, Item(f"{parent}/.wh.{base}" if parent else f".wh.{base}", content=b""))
                entries += 1
        with tarfile.open(new, "r:") as source:
            for member in source:
                name = _clean(member.name)
                if name and before.get(name) != after[name] and not (member.ischr() or member.isblk()):
                    _copy_member(archive, source, member, written)
                    entries += 1
        return entries

    return fill


def _clean(name: str) -> str:
    return "" if name in {".", "./"} else name.removeprefix("./").strip("/")


def _signatures(path: Path) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(path, "r:") as source:
        for member in source:
            content = source.extractfile(member) if member.isreg() else None
            digest = hashlib.sha256(content.read()).digest() if content else b""
            found[_clean(member.name)] = (member.type, member.mode, member.uid, member.gid, _clean(member.linkname), digest)
    return found


def _copy_member(archive: tarfile.TarFile, source: tarfile.TarFile, member: tarfile.TarInfo, written: set[str]) -> None:
    info = tarfile.TarInfo(_clean(member.name))
    info.type, info.mode, info.uid, info.gid, info.mtime = member.type, member.mode, member.uid, member.gid, EPOCH
    info.linkname = _clean(member.linkname) if member.islnk() else member.linkname
    content = None
    if member.islnk() and info.linkname not in written:
        info.type, info.linkname = tarfile.REGTYPE, ""  # its other name stayed in a lower layer
    if info.isreg():
        content = source.extractfile(member)
        assert content is not None
        data = content.read()
        info.size, content = len(data), io.BytesIO(data)
    archive.addfile(info, content)
    written.add(info.name)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor(kind: str) -> _Compressor:
    if kind == "gzip":
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()


def compress_layer(layer: Layer, kind: str) -> tuple[Path, str]:
    """Compress a layer beside itself ("gzip" or "zstd"); return the file and its digest."""
    path = layer.path.with_suffix(f".{kind}")
    named = layer.path.with_suffix(f".{kind}.digest")
    if path.exists() and named.exists():
        stated = json.loads(named.read_text())
        if stated["diff_id"] == layer.diff_id:
            return path, stated["digest"]
    compressor = _compressor(kind)
    partial = path.with_name(path.name + ".partial")
    with layer.path.open("rb") as source, partial.open("wb") as out:
        hashing = _Hashing(out)
        while chunk := source.read(CHUNK):
            hashing.write(compressor.compress(chunk))
        hashing.write(compressor.flush())
    partial.replace(path)
    digest = "sha256:" + hashing.sha256.hexdigest()
    named.write_text(json.dumps({"diff_id": layer.diff_id, "digest": digest}))
    return path, digest


def configuration(layers: list[Layer]) -> bytes:
    """Return an image configuration with one history entry a layer."""
    created = "2025-10-09T08:53:20Z"
    document = {
        **PLATFORM,
        "created": created,
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": created, "created_by": layer.created_by} for layer in layers],
    }
    return json.dumps(document, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def write_layout(folder: Path, layers: list[Layer], kind: str, reference: str = "latest") -> Path:
    """Write an OCI layout with layers of one compression ("plain", "gzip", "zstd"); blobs are hard links to the cache."""
    with ThreadPoolExecutor(WORKERS) as pool:
        packed = list(
            pool.map(lambda layer: (layer.path, layer.diff_id) if kind == "plain" else compress_layer(layer, kind), layers)
        )
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    blobs = partial / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    suffix = "" if kind == "plain" else f"+{kind}"
    stated = []
    for path, digest in packed:
        blob = blobs / digest.removeprefix("sha256:")
        if not blob.exists():
            _link_or_copy(path, blob)
        stated.append({"mediaType": TAR_TYPE + suffix, "digest": digest, "size": path.stat().st_size})
    config = configuration(layers)
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": stated,
        }
    ).encode()
    for data in (config, manifest):
        (blobs / _digest(data).removeprefix("sha256:")).write_bytes(data)
    entry = {**_descriptor(manifest_type, manifest), "platform": PLATFORM}
    entry["annotations"] = {"org.opencontainers.image.ref.name": reference}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    (partial / "index.json").write_text(json.dumps(index))
    (partial / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_archive(path: Path, layers: list[Layer], tag: str) -> Path:
    """Write what today's `docker save` writes: plain layers under blobs/sha256/, manifest.json at the end."""
    config = configuration(layers)
    names = [f"blobs/sha256/{layer.diff_id.removeprefix('sha256:')}" for layer in layers]
    config_name = f"blobs/sha256/{_digest(config).removeprefix('sha256:')}"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).encode()
    files: dict[str, bytes | Path] = {config_name: config}
    files.update(zip(names, (layer.path for layer in layers), strict=True))
    partial = path.with_name(path.name + ".partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in [*sorted(files.items()), ("manifest.json", manifest)]:
            info = tarfile.TarInfo(name)
            info.mtime = EPOCH
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.size = content.stat().st_size
                with content.open("rb") as source:
                    archive.addfile(info, source)
    partial.replace(path)
    return path
