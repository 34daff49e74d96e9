"""docker-archive and oci-archive: both layouts of docker save, compression, choice by name, and what is refused."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import imagebuilder as ib
from pratique.image.open import list_platforms, open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.model.errors import IntegrityError, PratiqueError, TargetError, TargetNotFoundError
from pratique.model.image import Extent, Platform

LAYERS = [ib.layer({"etc/os-release": "ID=debian\n"}), ib.layer({"app/main.py": "print()\n", "etc/.wh.gone": b""})]


def read(extent: Extent) -> bytes:
    """The bytes that an extent names."""
    with Path(extent.path).open("rb") as file:
        return os.pread(file.fileno(), extent.size, extent.offset)


def opened(target: str, options: SourceOptions, platform: Platform | None = None) -> tuple[Any, list[bytes]]:
    """Open a target; return the image and its layers' bytes."""
    with open_target(parse_target(target), platform, options) as image:
        return image, [read(image.fetch(layer)) for layer in image.layers]


def repack(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Change the entries of an archive (name -> content) and pack them again."""
    entries: dict[str, Any] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.isdir():
                entries[member.name + "/"] = b""
            elif member.issym():
                entries[member.name] = ib.symlink(member.linkname)
            else:
                entries[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    change(entries)
    return ib.layer(entries)


@pytest.mark.parametrize("style", ["classic", "oci", "skopeo"])
@pytest.mark.parametrize("inner", ["none", "gzip", "zstd"])
def test_every_layout_gives_the_layers(tmp_path: Path, options: SourceOptions, style: ib.Style, inner: ib.Compression) -> None:
    """Layers, digests, instructions and platform come out of all layouts alike; the scheme is detected."""
    path = tmp_path / "image.tar"
    texts = ["FROM scratch", "#ENV A=1", "COPY app /app"]
    path.write_bytes(ib.docker_archive(LAYERS, style=style, compression=inner, created_by=texts))
    image, found = opened(str(path), options)
    made = ib.image(LAYERS, compression=inner, created_by=texts)
    assert image.scheme == "docker-archive"
    assert found == made.layers
    assert [layer.diff_id for layer in image.layers] == [ib.digest(data) for data in LAYERS]
    assert [layer.created_by for layer in image.layers] == ["FROM scratch", "COPY app /app"]
    assert image.digest == (made.digest if style == "oci" else ib.digest(made.config))
    assert image.platform == Platform("linux", "amd64")
    assert {layer.compression for layer in image.layers} == {"tar" if inner == "none" else f"tar+{inner}"}


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "bzip2", "xz", "zstd"]
)
def test_a_compressed_archive_is_spooled(tmp_path: Path, options: SourceOptions, pack: Callable[[bytes], bytes]) -> None:
    """It reads like the plain one, is stamped by its content, and leaves nothing behind."""
    path = tmp_path / "image.tar.packed"
    path.write_bytes(pack(ib.docker_archive(LAYERS)))
    with open_target(parse_target(str(path)), None, options) as image:
        extents = [image.fetch(layer) for layer in image.layers]
        assert [read(extent) for extent in extents] == LAYERS
    with open_target(parse_target(f"docker-archive:{path}"), None, options) as image:
        assert [image.fetch(layer).stamp for layer in image.layers] == [extent.stamp for extent in extents]
    assert not list((options.cache_dir / "spool").iterdir())


def test_a_stamp_changes_with_the_file(tmp_path: Path, options: SourceOptions) -> None:
    """A file rewritten in place with its old times has another stamp; an untouched one keeps it."""
    path = tmp_path / "image.tar"
    path.write_bytes(ib.docker_archive(LAYERS))

    def stamp() -> str:
        with open_target(parse_target(str(path)), None, options) as image:
            return image.fetch(image.layers[0]).stamp

    first, status = stamp(), path.stat()
    assert stamp() == first
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with contextlib.suppress(TargetError):  # the damage may be noticed at once
        assert stamp() != first


def test_layers_in_common_are_found_through_symlinks(tmp_path: Path, options: SourceOptions) -> None:
    """Old docker save links a layer that two images share; each image is chosen by its tag, short names included."""
    path = tmp_path / "two.tar"
    one, two = ib.image(LAYERS, compression="none"), ib.image([LAYERS[0], ib.layer({"b": b"2"})], compression="none")
    path.write_bytes(ib.docker_archive_of([(one, ["app:1"]), (two, ["registry.test/team/app:2"])]))
    assert opened(f"docker-archive:{path}:app:1", options)[1] == one.layers
    assert opened(f"docker-archive:{path}:docker.io/library/app:1", options)[1] == one.layers
    assert opened(f"{path}:registry.test/team/app:2", options)[1] == two.layers
    assert opened(f"docker-archive:{path}:@1", options)[1] == two.layers
    with pytest.raises(TargetError, match=r"2 images.*app:1, registry\.test/team/app:2"):
        opened(str(path), options)
    with pytest.raises(TargetNotFoundError, match="app:3"):
        opened(f"docker-archive:{path}:app:3", options)


def test_the_same_image_under_two_tags_is_one(tmp_path: Path, options: SourceOptions) -> None:
    """Two tags of one image leave nothing to choose."""
    path = tmp_path / "image.tar"
    path.write_bytes(ib.docker_archive(LAYERS, tags=["a:1", "b:1"]))
    assert opened(str(path), options)[1] == LAYERS


@pytest.mark.parametrize("nested", [0, 2])
def test_an_oci_archive(tmp_path: Path, options: SourceOptions, nested: int) -> None:
    """Nested indexes too; the tag is the ref.name annotation."""
    made = ib.oci_layout(tmp_path / "layout", LAYERS, nested=nested, tag="v1")
    path = tmp_path / "image.oci"
    path.write_bytes(ib.oci_archive(tmp_path / "layout"))
    for target in (str(path), f"oci-archive:{path}:v1", f"oci-archive:{path}@{made.digest}"):
        image, found = opened(target, options)
        assert (image.scheme, image.digest, found) == ("oci-archive", made.digest, made.layers)
    with pytest.raises(TargetNotFoundError, match="v1"):
        opened(f"oci-archive:{path}:v2", options)
    with pytest.raises(TargetError, match="oci-archive"):
        opened(f"docker-archive:{path}", options)


def test_platforms_of_an_oci_archive(tmp_path: Path, options: SourceOptions) -> None:
    """All are listed, one is chosen, an absent one is named with what there is."""
    places = [("linux", "amd64", ""), ("linux", "arm64", "v8"), ("linux", "arm", "v6"), ("linux", "arm", "v7")]
    made = [ib.image([ib.layer({"arch": "/".join(place)})], platform=place) for place in places]
    ib.oci_layout_of(tmp_path / "layout", [(image, "") for image in made], nested=1)
    path = tmp_path / "image.oci"
    path.write_bytes(ib.oci_archive(tmp_path / "layout"))
    assert [str(place) for place in list_platforms(parse_target(str(path)), options)] == [
        "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8",
    ]  # fmt: skip
    assert opened(str(path), options, Platform("linux", "arm"))[0].digest == made[3].digest
    assert opened(str(path), options, Platform("linux", "arm", "v6"))[0].digest == made[2].digest
    assert opened(str(path), options, Platform("linux", "arm64"))[0].digest == made[1].digest
    with pytest.raises(TargetNotFoundError, match=r"linux/s390x.*linux/arm/v6"):
        opened(str(path), options, Platform("linux", "s390x"))


def test_a_single_image_of_another_platform_is_refused_when_asked_for(tmp_path: Path, options: SourceOptions) -> None:
    """Unasked, it is taken as it is."""
    path = tmp_path / "image.tar"
    path.write_bytes(ib.docker_archive(LAYERS, platform=("linux", "s390x", "")))
    assert opened(str(path), options)[0].platform == Platform("linux", "s390x")
    with pytest.raises(TargetNotFoundError, match="linux/s390x, not for linux/arm64"):
        opened(str(path), options, Platform("linux", "arm64"))


def _config_name(entries: dict[str, Any]) -> str:
    name: str = json.loads(entries["manifest.json"])[0]["Config"]
    return name


def _layer_name(entries: dict[str, Any], number: int = 0) -> str:
    name: str = json.loads(entries["manifest.json"])[0]["Layers"][number]
    return name


def _manifest(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(entries: dict[str, Any]) -> None:
        entries["manifest.json"] = ib.encode([json.loads(entries["manifest.json"])[0] | changes])

    return change


def _set(name: Callable[[dict[str, Any]], str], value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entries: entries.__setitem__(name(entries), value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(_config_name, b"{}"), "tampered"),
        (lambda e: e.pop(_config_name(e)), "missing"),
        (lambda e: e.pop(_layer_name(e)), "missing"),
        (_manifest(Layers=[]), "2 diff_ids for 0 layers"),
        (_manifest(Layers=["../../etc/passwd", "x"]), "leads out"),
        (_manifest(Config="/etc/passwd"), "leads out"),
        (_set(_layer_name, ib.symlink("../../../etc/passwd")), "leads out"),
        (_set(_layer_name, ib.symlink("/etc/passwd")), "leads out"),
        (_set(_layer_name, ib.symlink("layer.tar")), "chain"),
        (_set(_layer_name, ib.directory()), "no regular file"),
        (_set(lambda _: "manifest.json", b"not json"), "docker save"),
        (_set(lambda _: "manifest.json", b"[" * 100_000), "docker save"),
        (_set(lambda _: "manifest.json", b"{}"), "docker save"),
        (_set(lambda _: "manifest.json", b"[]"), "no image"),
        (_set(lambda _: "manifest.json", b" " * (5 << 20)), "limit"),
        (lambda e: e.pop("manifest.json"), "no image archive"),
    ],
)
def test_a_tampered_docker_archive_is_refused(
    tmp_path: Path, options: SourceOptions, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """Each ends in one line and exit 3, never in part of an image."""
    path = tmp_path / "image.tar"
    path.write_bytes(repack(ib.docker_archive(LAYERS), change))
    with pytest.raises(TargetError, match=message) as caught:
        opened(f"docker-archive:{path}", options)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_entries_of_one_name_must_agree(tmp_path: Path, options: SourceOptions) -> None:
    """Readers differ in which of two they take, so different ones are refused and equal ones are harmless."""
    made = ib.image(LAYERS, compression="none")
    manifest = ib.encode([{"Config": "c.json", "RepoTags": None, "Layers": ["1.tar", "2.tar"]}])
    base: list[tuple[str, ib.Content]] = [
        ("1.tar", LAYERS[0]),
        ("2.tar", LAYERS[1]),
        ("c.json", made.config),
        ("manifest.json", manifest),
    ]
    path = tmp_path / "image.tar"
    path.write_bytes(ib.layer_of_entries([*base, ("2.tar", LAYERS[1])]))
    assert opened(str(path), options)[1] == LAYERS
    path.write_bytes(ib.layer_of_entries([*base, ("2.tar", LAYERS[0])]))
    with pytest.raises(IntegrityError, match="different entries"):
        opened(str(path), options)


def test_one_diff_id_means_one_layer(tmp_path: Path, options: SourceOptions) -> None:
    """A second file under a diff_id that is already known would never be looked at: it must be the same."""
    config = ib.configuration([LAYERS[0], LAYERS[0]])
    path = tmp_path / "image.tar"
    for second, fine in ((LAYERS[0], True), (LAYERS[1], False)):
        manifest = ib.encode([{"Config": "c.json", "RepoTags": None, "Layers": ["1.tar", "2.tar"]}])
        path.write_bytes(ib.layer({"1.tar": LAYERS[0], "2.tar": second, "c.json": ib.encode(config), "manifest.json": manifest}))
        if fine:
            assert opened(str(path), options)[1] == [LAYERS[0], LAYERS[0]]
        else:
            with pytest.raises(IntegrityError, match="two different layers"):
                opened(str(path), options)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8bnot really gzip", b"\0" * 10240, b"PK\x03\x04" + b"x" * 2000])
def test_what_is_no_archive_says_so(tmp_path: Path, options: SourceOptions, content: bytes) -> None:
    """Empty files, text, broken compression, zeros and zip files end in one line."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TargetError):
        opened(str(path), options)


@pytest.mark.parametrize("cut", [100, 700, 5000, -1600])
def test_a_truncated_archive_is_refused(tmp_path: Path, options: SourceOptions, cut: int) -> None:
    """An archive that breaks off never passes for a smaller one."""
    path = tmp_path / "image.tar"
    data = ib.docker_archive(LAYERS)
    path.write_bytes(data.rstrip(b"\0")[:cut])
    with pytest.raises(TargetError):
        opened(f"docker-archive:{path}", options)


def test_special_files_and_directories_are_no_archives(tmp_path: Path, options: SourceOptions) -> None:
    """A FIFO does not make the scan wait for ever."""
    os.mkfifo(tmp_path / "fifo")
    for target in (tmp_path / "fifo", tmp_path):
        with pytest.raises(TargetError):
            opened(f"docker-archive:{target}", options)
    with pytest.raises(TargetNotFoundError):
        opened(f"docker-archive:{tmp_path}/absent", options)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12_000), st.binary(min_size=1, max_size=40))
def test_any_damage_ends_in_an_error_or_the_stated_layers(tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes) -> None:
    """Overwriting bytes anywhere gives a known error, or an image whose layers the digests will judge."""
    folder = tmp_path_factory.mktemp("damage")
    data = bytearray(ib.docker_archive(LAYERS, style="oci"))
    data[at : at + len(junk)] = junk
    path = folder / "image.tar"
    path.write_bytes(data)
    try:
        _, found = opened(str(path), SourceOptions(cache_dir=folder / "cache"))
    except PratiqueError:
        return
    assert len(found) == 2


def _add(new: dict[str, bytes], entries: dict[str, Any]) -> None:
    entries.update(new)


def test_platforms_that_were_not_saved_do_not_matter(tmp_path: Path, options: SourceOptions) -> None:
    """Docker saves one platform of an index and keeps the index; without the index's own blob the image has one name less."""
    made, other = ib.image(LAYERS), ib.image(LAYERS, platform=("linux", "s390x", ""))
    index = ib.index([other.descriptor(), made.descriptor()])
    top = ib.index([{"mediaType": ib.OCI_INDEX, "digest": ib.digest(index), "size": len(index)}])
    path = tmp_path / "image.tar"
    blob = f"blobs/sha256/{ib.digest(index).split(':')[1]}"
    for entries, digest in (({blob: index, "index.json": top}, made.digest), ({"index.json": top}, ib.digest(made.config))):
        path.write_bytes(repack(ib.docker_archive_of([(made, ["a:1"])], style="oci"), partial(_add, entries)))
        assert opened(str(path), options)[0].digest == digest


def test_manifest_json_and_the_index_must_agree(tmp_path: Path, options: SourceOptions) -> None:
    """An archive that shows Docker other layers than it shows everybody else is refused."""
    made = ib.image(LAYERS, compression="none")
    path = tmp_path / "image.tar"
    names = [f"blobs/sha256/{ib.digest(data).split(':')[1]}" for data in reversed(LAYERS)]
    path.write_bytes(repack(ib.docker_archive_of([(made, ["a:1"])], style="oci"), _manifest(Layers=names)))
    with pytest.raises(IntegrityError, match="different layers"):
        opened(f"docker-archive:{path}", options)
