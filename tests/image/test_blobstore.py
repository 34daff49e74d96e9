"""Blobs kept between scans: what may be used, and from a cache that is not ours to write."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from pratique.image.blobstore import BlobStore


def test_a_layer_of_a_read_only_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marking it as used fails there, which is no reason to download it again or to give up; a damaged size is."""
    digest = f"sha256:{hashlib.sha256(b'layer').hexdigest()}"
    store = BlobStore(tmp_path)
    store.put(digest, b"layer")

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", refuse)
    assert store.layer(digest, 5) == store.path(digest)
    assert store.layer(digest, 6) is None
    assert store.layer(f"sha256:{'0' * 64}", 5) is None
