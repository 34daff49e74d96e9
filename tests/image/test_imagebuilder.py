"""The test images themselves: the standard library reads them back, and they are the same each time."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

import imagebuilder

FILES: imagebuilder.Files = {
    "etc/": b"",
    "etc/os-release": "ID=debian\n",
    "bin": imagebuilder.symlink("usr/bin"),
    "usr/bin/su": imagebuilder.executable(b"\x7fELF", 0o4755),
    "etc/.wh.gone": b"",
}


def test_a_layer_reads_back_and_is_reproducible() -> None:
    """Kinds, modes and content survive; a second run gives the same bytes."""
    data = imagebuilder.layer(FILES)
    assert data == imagebuilder.layer(FILES)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        kinds = {member.name: (member.type, member.mode) for member in archive}
    assert kinds["etc"] == (tarfile.DIRTYPE, 0o755)
    assert kinds["usr/bin/su"] == (tarfile.REGTYPE, 0o4755)
    assert kinds["bin"][0] == tarfile.SYMTYPE


@pytest.mark.parametrize("style", ["classic", "oci", "skopeo"])
def test_a_docker_archive_has_what_its_manifest_names(style: imagebuilder.Style) -> None:
    """Every path of manifest.json is an entry, and a repeated layer resolves."""
    one = imagebuilder.layer(FILES)
    data = imagebuilder.docker_archive([one, imagebuilder.layer({"a": b"1"}), one], style=style)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        manifest = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        for path in [manifest[0]["Config"], *manifest[0]["Layers"]]:
            assert archive.extractfile(path) is not None


def test_an_oci_layout_nests(tmp_path: Path) -> None:
    """index.json leads over the nested indexes to the manifest."""
    made = imagebuilder.oci_layout(tmp_path, [imagebuilder.layer(FILES)], compression="zstd", nested=2)
    document = json.loads((tmp_path / "index.json").read_bytes())
    for _ in range(2):
        blob = tmp_path / "blobs/sha256" / document["manifests"][0]["digest"].split(":")[1]
        document = json.loads(blob.read_bytes())
    assert document["manifests"][0]["digest"] == made.digest
