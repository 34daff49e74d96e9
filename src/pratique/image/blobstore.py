"""Digests in, files of the cache out: manifests, configurations and layers of registries, each under its own digest."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from pratique.image.manifest import check_digest

MAX_AGE_OF_PARTS = 7 * 86_400  # seconds; who has not gone on with a download for a week will not


class BlobStore:
    """`blobs/sha256/<hex>` below the cache. Files appear by rename, whole; small ones are hashed again whenever they are read."""

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / "blobs" / "sha256"

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be. Raises IntegrityError for what is no digest."""
        return self.folder / check_digest(digest, "blob")

    def small(self, digest: str, limit: int) -> bytes | None:
        """Return a manifest or configuration if it is here and undamaged."""
        try:
            with self.path(digest).open("rb") as file:
                data = file.read(limit + 1)
        except OSError:
            return None
        if len(data) > limit or f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            return None
        return data

    def put(self, digest: str, data: bytes) -> None:
        """Keep a small blob whose digest was checked. A cache that cannot be written is no reason to fail."""
        target = self.path(digest)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.folder, suffix=".new")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(target)

    def layer(self, digest: str, size: int) -> Path | None:
        """Return a layer's file if it is here in full size, and mark it as used. Its digest is checked by whoever reads it."""
        path = self.path(digest)
        try:
            if path.stat().st_size != size:
                return None
        except OSError:
            return None
        with suppress(OSError):  # a cache that may be read only
            os.utime(path)
        return path

    def forget(self, digest: str) -> None:
        """Remove a blob that proved damaged, so that the next use downloads it again."""
        self.path(digest).unlink(missing_ok=True)

    def prune(self, keep_bytes: int, now: float) -> int:
        """Remove least recently used blobs until at most `keep_bytes` are left, and old broken downloads. Return bytes freed."""
        files: list[tuple[float, int, str]] = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    files.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        freed = 0
        for used, size, path in sorted(files):
            stale = path.endswith((".part", ".new")) and used < now - MAX_AGE_OF_PARTS
            if stale or (total - freed > keep_bytes and not path.endswith((".part", ".new"))):
                with suppress(FileNotFoundError):
                    Path(path).unlink()
                    freed += size
        return freed
