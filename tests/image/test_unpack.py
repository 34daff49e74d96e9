"""Archives that are compressed as a whole: what is damaged, made to explode or dies while it is read is one line."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

import imagebuilder as ib
from pratique.image import blob, unpack
from pratique.image.open import open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.model.errors import TargetError

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def layers(path: Path, tmp_path: Path) -> list[str]:
    """Open an archive; return what its layers are."""
    options = SourceOptions(cache_dir=tmp_path / "cache")
    with open_target(parse_target(f"docker-archive:{path}"), None, options) as image:
        found = [layer.diff_id for layer in image.layers]
    assert not list((tmp_path / "cache" / "spool").iterdir())
    return found


@pytest.mark.parametrize("kind", COMPRESS)
def test_all_kinds(kind: str, tmp_path: Path) -> None:
    """The same layers as the plain archive has."""
    plain = ib.docker_archive([ib.layer({"a": os.urandom(3 << 20), "b": b"x" * (3 << 20)})])
    (tmp_path / "plain.tar").write_bytes(plain)
    (tmp_path / "whole").write_bytes(COMPRESS[kind](plain))
    (tmp_path / "cache" / "spool").mkdir(parents=True)
    assert layers(tmp_path / "whole", tmp_path) == layers(tmp_path / "plain.tar", tmp_path)


@pytest.mark.usefixtures("another_thread")
@pytest.mark.parametrize("kind", COMPRESS)
def test_from_a_program_with_threads(kind: str, tmp_path: Path) -> None:
    """By way of a new interpreter; no descriptor stays."""
    (tmp_path / "whole").write_bytes(COMPRESS[kind](ib.docker_archive([ib.layer({"a": "1"})])))
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert len(layers(tmp_path / "whole", tmp_path)) == 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("kind", COMPRESS)
def test_damaged(kind: str, tmp_path: Path) -> None:
    """Cut short, or changed within: one line with the name of the file, and nothing stays in the spool."""
    data = COMPRESS[kind](ib.docker_archive([ib.layer({"a": os.urandom(1 << 16)})]))
    for damaged in (data[: len(data) // 2], data[:6], data[:40] + b"\0" * 400 + data[440:]):
        (tmp_path / "whole").write_bytes(damaged)
        with pytest.raises(TargetError, match="whole"):
            layers(tmp_path / "whole", tmp_path)
        assert not list((tmp_path / "cache" / "spool").iterdir())


@pytest.mark.usefixtures("forks")
def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What grows beyond measure is stopped while it grows."""
    monkeypatch.setattr(blob, "RATIO_FROM", 1 << 20)  # else it takes a file of gigabytes
    (tmp_path / "whole").write_bytes(bz2.compress(b"\0" * (32 << 20)))
    with pytest.raises(TargetError, match="grows by more than"):
        layers(tmp_path / "whole", tmp_path)


@pytest.mark.usefixtures("forks")
def test_a_child_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in a library that decompresses is named, and the scan ends as for any file that cannot be read."""
    (tmp_path / "whole").write_bytes(gzip.compress(ib.docker_archive([ib.layer({"a": "1"})])))
    monkeypatch.setattr(unpack, "TarStream", lambda *_: os.abort())
    with pytest.raises(TargetError, match="SIGABRT"):
        layers(tmp_path / "whole", tmp_path)
