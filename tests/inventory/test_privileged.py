"""Files that give rights to whoever runs them: found in the headers of a layer, and only those that are left."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.image.blob import Deadline, Region
from pratique.image.tree import FolderWalk
from pratique.image.walk import LayerWalk
from pratique.inventory.privileged import privileged_files
from pratique.model.inventory import PrivilegedFile
from pratique.model.layer import LayerTree

CAPABILITY = "SCHILY.xattr.security.capability"


def walked(tmp_path: Path, *entries: tuple[str, int, bool], form: int = tarfile.PAX_FORMAT) -> LayerTree:
    """Write a layer and walk it."""
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for name, mode, capable in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.size = mode, 1
            if capable:
                info.pax_headers = {CAPABILITY: "\x01\x00"}
            archive.addfile(info, io.BytesIO(b"x"))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        walk = LayerWalk(Region(descriptor, 0, path.stat().st_size), lambda *_: None, Deadline(None))
        assert list(walk) == []
        assert walk.gaps == []
        return walk.tree
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_headers(tmp_path: Path, form: int) -> None:
    """Setuid and setgid bits are seen in every form; the sticky bit gives nothing."""
    tree = walked(
        tmp_path, ("bin/su", 0o4755, False), ("bin/wall", 0o2755, False), ("tmp/x", 0o1777, False), ("a", 0o755, False), form=form
    )
    assert tree.setuid == {b"bin/su": 0o4755, b"bin/wall": 0o2755}


def test_capabilities(tmp_path: Path) -> None:
    """They stand in an extended attribute; an entry that is written again without them gives none."""
    tree = walked(tmp_path, ("bin/ping", 0o755, True), ("bin/x", 0o4755, True), ("bin/x", 0o755, False))
    assert (tree.capable, tree.setuid) == ([b"bin/ping"], {})


def test_short_and_odd_modes(tmp_path: Path) -> None:
    """A mode of four digits means the same, one that is no number nothing."""
    for written, expected in (
        (b"4755\0\0\0\0", {b"x": 0o4755}),
        (b"  4755 \0", {b"x": 0o4755}),
        (b"what\0\0\0\0", {}),
        (b"\0" * 8, {}),
    ):
        path = tmp_path / "layer.tar"
        info = tarfile.TarInfo("x")
        block = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:512])
        block[100:108] = written
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        path.write_bytes(bytes(block) + bytes(1024))
        descriptor = os.open(path, os.O_RDONLY)
        walk = LayerWalk(Region(descriptor, 0, path.stat().st_size), lambda *_: None, Deadline(None))
        list(walk)
        os.close(descriptor)
        assert walk.tree.setuid == expected


def test_folders(tmp_path: Path) -> None:
    """In a folder, too."""
    program = tmp_path / "su"
    program.write_bytes(b"x")
    program.chmod(0o4755)
    walk = FolderWalk(tmp_path, lambda *_: None, Deadline(None))
    list(walk)
    assert walk.tree.setuid == {b"su": 0o4755}


BELOW = LayerTree(files=b"bin/su\0bin/x\0opt/a/y", directories=b"bin\0opt\0opt/a", setuid={b"bin/su": 0o4755, b"opt/a/y": 0o2755})


@pytest.mark.parametrize(
    ("above", "left"),
    [
        (LayerTree(), ["bin/su", "opt/a/y"]), (LayerTree(files=b"bin/su"), ["opt/a/y"]),
        (LayerTree(files=b"a\0bin/su\0b"), ["opt/a/y"]), (LayerTree(files=b"bin/su2\0xbin/su"), ["bin/su", "opt/a/y"]),
        (LayerTree(whiteouts=[b"opt"]), ["bin/su"]), (LayerTree(whiteouts=[b"opt/a/y"]), ["bin/su"]),
        (LayerTree(opaques=[b"opt/a"]), ["bin/su"]), (LayerTree(opaques=[b""]), []),
        (LayerTree(directories=b"bin/su"), ["opt/a/y"]), (LayerTree(directories=b"bin\0opt"), ["bin/su", "opt/a/y"]),
        (LayerTree(files=b"opt"), ["bin/su"]),
    ],
)  # fmt: skip
def test_upper_layers_hide(above: LayerTree, left: list[str]) -> None:
    """What a container would see."""
    assert [file.path for file in privileged_files([BELOW, above], ["sha256:a", "sha256:b"])] == left


def test_layers_are_named() -> None:
    """The layer is the one that brought the file as it is now."""
    again = LayerTree(files=b"bin/su", setuid={b"bin/su": 0o6755})
    assert privileged_files([BELOW, again], ["sha256:a", "sha256:b"])[0] == PrivilegedFile("bin/su", "sha256:b", 0o6755)


NAMES = st.lists(st.sampled_from([b"a", b"a/b", b"a/b/c", b"d", b"ab"]), max_size=4, unique=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=4))
def test_against_a_plain_model(layers: list[tuple[list[bytes], list[bytes], list[bytes]]]) -> None:
    """A model that keeps a dictionary of paths says the same."""
    trees: list[LayerTree] = []
    alive: dict[bytes, int] = {}
    for files, setuid, whiteouts in layers:
        special = dict.fromkeys(setuid, 0o4755)
        names = sorted({*files, *setuid})
        trees.append(LayerTree(files=b"\0".join(names), setuid=special, whiteouts=whiteouts))
        for gone in (*whiteouts, *names):
            alive = {path: mode for path, mode in alive.items() if path != gone and not path.startswith(gone + b"/")}
        alive.update(special)
    found = privileged_files(trees, [str(number) for number in range(len(trees))])
    assert [file.path.encode() for file in found] == sorted(alive)
