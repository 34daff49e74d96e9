"""Examined layers in, the same out in a later scan: one file a layer, written beside and renamed, so that no process waits.

A layer's record is kept under its diff_id and holds every inspector's part with that inspector's version; when one inspector
changes, only it runs again. What only an SBOM asks, which may be every file, is in a file beside it: a scan does not load it.
What makes a record usable is kept apart: for blobs that blob digest and diff_id were seen to belong together, for a local
archive the path, size and time that it had when its layers were verified.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from pratique.model.layer import LayerRecord, LayerTree

FORMAT = 2  # raise it when LayerRecord changes its shape
DETAILS = "details_"  # how the names of inspectors begin that are asked for an SBOM alone
_DETAILS = "#details"
_SERIAL = itertools.count()
MAX_RECORD = 512 << 20  # a record is a few megabytes; a larger file was not written by us
DEFAULT_LIMIT = 4 << 30  # bytes kept in all, layers and downloads together; the least recently used goes first


class CacheStatus(NamedTuple):
    """How many files and bytes a part of the cache has."""

    part: str
    files: int
    size: int


class _Stored(msgspec.Struct):
    format: int
    record: LayerRecord


class _Verified(msgspec.Struct):
    stamp: str
    diff_ids: list[str]


class LayerCache:
    """Records under `<folder>/layers`, proofs under `<folder>/verified`. `folder` None keeps nothing."""

    def __init__(self, folder: Path | None, limit: int = DEFAULT_LIMIT) -> None:
        self._folder = folder
        self._limit = limit
        self._wrote = False

    def get(self, diff_id: str, *, details: bool = False) -> LayerRecord | None:
        """Return the record of a layer, with what only an SBOM asks if that is wanted.

        None where there is none or it cannot be read (it is then made anew).
        """
        record = self._get(diff_id, diff_id)
        more = self._get(diff_id, diff_id + _DETAILS) if details and record is not None else None
        if record is not None and more is not None:
            record.inspected = {**more.inspected, **record.inspected}
        return record

    def _get(self, diff_id: str, key: str) -> LayerRecord | None:
        path = self._path("layers", key)
        if path is None:
            return None
        try:
            stored = _decoder().decode(_inflate(_content(path)))
            os.utime(path)
        except (OSError, ValueError, msgspec.MsgspecError):
            return None
        usable = stored.format == FORMAT and stored.record.diff_id == diff_id
        return stored.record if usable else None

    def put(self, record: LayerRecord) -> None:
        """Keep a record. A full disk or a read-only cache costs the next scan time, nothing else."""
        parts = record.inspected
        more = {name: part for name, part in parts.items() if name.startswith(DETAILS)}
        self._put(record.diff_id, msgspec.structs.replace(record, inspected={k: v for k, v in parts.items() if k not in more}))
        if more:
            self._put(record.diff_id + _DETAILS, LayerRecord(diff_id=record.diff_id, tree=LayerTree(), inspected=more))

    def _put(self, key: str, record: LayerRecord) -> None:
        path = self._path("layers", key)
        if path is not None:
            self._write(path, _deflate(msgspec.msgpack.encode(_Stored(FORMAT, record))))

    def blob_is(self, digest: str, diff_id: str) -> bool:
        """Say whether that blob was seen to hold that layer."""
        return self._proof(digest) == _Verified("", [diff_id])

    def remember_blob(self, digest: str, diff_id: str) -> None:
        """Note that a blob was seen to hold a layer."""
        self._remember(digest, _Verified("", [diff_id]))

    def archive_is(self, stamp: str, diff_ids: list[str]) -> bool:
        """Say whether the archive with that stamp (path, size and time) was seen to hold those layers."""
        return self._proof(stamp) == _Verified(stamp, diff_ids)

    def remember_archive(self, stamp: str, diff_ids: list[str]) -> None:
        """Note that all layers of an archive were verified."""
        self._remember(stamp, _Verified(stamp, diff_ids))

    def _proof(self, key: str) -> _Verified | None:
        path = self._path("verified", key)
        try:
            return msgspec.msgpack.decode(_content(path), type=_Verified) if path is not None else None
        except (OSError, ValueError, msgspec.MsgspecError):
            return None

    def _remember(self, key: str, proof: _Verified) -> None:
        path = self._path("verified", key)
        if path is not None:
            self._write(path, msgspec.msgpack.encode(proof))

    def _path(self, part: str, key: str) -> Path | None:
        if self._folder is None or not key:
            return None
        return self._folder / part / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = str(path.with_name(f".new-{os.getpid()}-{next(_SERIAL)}-{path.name[:16]}"))
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(data)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return
        self._wrote = True

    def close(self) -> None:
        """Keep within the limit, if this process has added anything."""
        if self._folder is not None and self._wrote:
            prune(self._folder, self._limit)


def _content(path: Path) -> bytes:
    """Read a regular file. Links are not followed and pipes not waited for. Raises OSError, ValueError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_RECORD:
            raise ValueError("no file of ours")
        return file.read()


PARTS = ("layers", "verified", "blobs")


def _files(folder: Path, part: str) -> Iterator[os.DirEntry[str]]:
    pending = [folder / part]
    if pending[0].is_symlink():  # what lies elsewhere is not ours to remove
        return
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        yield entry
        except OSError:
            continue


def status(folder: Path) -> list[CacheStatus]:
    """Count files and bytes of each part."""
    found = []
    for part in PARTS:
        sizes = [size for _, size, _ in _aged(folder, part)]
        found.append(CacheStatus(part, len(sizes), sum(sizes)))
    return found


def _aged(folder: Path, part: str) -> list[tuple[float, int, str]]:
    aged = []
    for entry in _files(folder, part):
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # another process has just removed it
        aged.append((facts.st_mtime, facts.st_size, entry.path))
    return aged


def prune(folder: Path, limit: int) -> int:
    """Remove the least recently used files until at most `limit` bytes are left; return the bytes freed."""
    aged = sorted(item for part in PARTS for item in _aged(folder, part))
    excess = sum(size for _, size, _ in aged) - limit
    freed = 0
    for _, size, path in aged:
        if freed >= excess:
            break
        try:
            Path(path).unlink()
        except OSError:
            continue
        freed += size
    return freed


def stale_inspectors(record: LayerRecord, versions: Mapping[str, int]) -> set[str]:
    """Name the inspectors whose part is missing from a record, or was made by another version of them."""
    return {
        name for name, version in versions.items() if name not in record.inspected or record.inspected[name].version != version
    }


def _decoder() -> msgspec.msgpack.Decoder[_Stored]:
    return msgspec.msgpack.Decoder(_Stored)


def _deflate(data: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 - start-up stays lazy

    return zstandard.ZstdCompressor(level=1).compress(data)


def _inflate(data: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 - start-up stays lazy

    try:
        if zstandard.frame_content_size(data) > MAX_RECORD:  # stated sizes are believed below, whatever the limit there
            raise ValueError("a record that is larger than any")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_RECORD)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
