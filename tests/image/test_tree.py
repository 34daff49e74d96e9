"""A folder walked: nothing outside it is read, nothing in it is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pratique.image import tree as module
from pratique.image.blob import Deadline
from pratique.image.tree import KERNEL_FOLDERS, FolderWalk
from pratique.model.layer import Selection

WANTED = Selection((0,), 100, content=False)


def select(path: bytes, _head: bytes) -> Selection | None:
    """Want files named w."""
    return WANTED if path.rpartition(b"/")[2] == b"w" else None


def walked(
    root: Path, seconds: float | None = None, skip: frozenset[bytes] = frozenset()
) -> tuple[dict[bytes, bytes | None], FolderWalk]:
    """Walk; return what each wanted file holds."""
    walk = FolderWalk(root, select, Deadline(seconds), skip=skip)
    return {wanted.path: wanted.file.read() if wanted.file else None for wanted in walk}, walk


def test_files_folders_and_links(tmp_path: Path) -> None:
    """The tree is sorted, links are entered and not followed, odd files are entered and not opened."""
    root = tmp_path / "root"
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "w").write_bytes(b"content")
    (root / "d" / "e" / "w").write_bytes(bytes(101))
    (tmp_path / "w").write_bytes(b"outside")
    (root / "w").symlink_to(tmp_path / "w")
    (root / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "f").mkdir()
    os.mkfifo(root / "f" / "w")
    found, walk = walked(root)
    assert found == {b"d/w": b"content", b"d/e/w": None}
    assert walk.tree.directories.split(b"\0") == [b"d", b"d/e", b"f"]
    assert walk.tree.files.split(b"\0") == [b"d/e/w", b"d/w", b"f/w", b"loop", b"up", b"w"]
    assert walk.tree.symlinks == {b"w": os.fsencode(tmp_path / "w"), b"up": b"..", b"loop": b"loop"}
    assert (walk.tree.entries, walk.tree.size, walk.gaps) == (9, 108, [])


def test_names_that_are_not_text(tmp_path: Path) -> None:
    """Bytes stay bytes."""
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")  # noqa: PTH102 - a name of bytes
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff/w")).write_bytes(b"x")
    assert walked(tmp_path)[0] == {b"\xff/w": b"x"}


def test_the_kernel_s_folders_are_left_out(tmp_path: Path) -> None:
    """Only at the top, and only where asked for."""
    for folder in ("proc", "usr/proc"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "w").write_bytes(b"x")
    assert sorted(walked(tmp_path, skip=KERNEL_FOLDERS)[0]) == [b"usr/proc/w"]
    assert sorted(walked(tmp_path)[0]) == [b"proc/w", b"usr/proc/w"]


def test_what_vanishes_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cannot be listed or read, or changes while it is walked, ends in a gap."""
    (tmp_path / "link").symlink_to("x")
    (tmp_path / "w").write_bytes(b"x")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    def gone(path: object, *_: object, **__: object) -> int:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(os, "readlink", gone)
    monkeypatch.setattr(os, "open", gone)
    monkeypatch.setattr(os, "scandir", closed)
    _, walk = walked(tmp_path)
    assert [(gap.code, gap.path) for gap in walk.gaps] == [("image.unreadable", name) for name in ("closed", "link", "w")]


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth, entries and time are bounded, each with a gap."""
    deep = tmp_path.joinpath(*["d"] * 10)
    deep.mkdir(parents=True)
    (deep / "w").write_bytes(b"x")
    monkeypatch.setattr(module, "MAX_DEPTH", 5)
    found, walk = walked(tmp_path)
    assert (found, [gap.code for gap in walk.gaps]) == ({}, ["image.too-deep"])
    monkeypatch.setattr(module, "MAX_DEPTH", 200)
    monkeypatch.setattr(module, "MAX_ENTRIES", 5)
    assert [gap.code for gap in walked(tmp_path)[1].gaps] == ["image.layer-limit"]
    assert [gap.code for gap in walked(tmp_path, seconds=-1.0)[1].gaps] == ["image.layer-limit"]
