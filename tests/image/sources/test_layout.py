"""oci-dir: choice by name and platform, nested indexes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imagebuilder as ib
from pratique.image.open import list_platforms, open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.model.errors import IntegrityError, TargetError, TargetNotFoundError
from pratique.model.image import Platform

LAYERS = [ib.layer({"etc/os-release": "ID=debian\n"}), ib.layer({"app/main.py": "print()\n"})]


def opened(target: object, options: SourceOptions, platform: Platform | None = None) -> tuple[Any, list[bytes]]:
    """Open a target; return the image and its layers' bytes."""
    with open_target(parse_target(str(target)), platform, options) as image:
        return image, [Path(image.fetch(layer).path).read_bytes() for layer in image.layers]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("nested", [0, 1, 7])
def test_a_layout(tmp_path: Path, options: SourceOptions, compression: ib.Compression, nested: int) -> None:
    """Detected, by name and by digest; layers go by digest and need no stamp."""
    made = ib.oci_layout(tmp_path / "img", LAYERS, compression=compression, nested=nested, tag="v1")
    for target in (tmp_path / "img", f"oci-dir:{tmp_path}/img:v1", f"oci-dir:{tmp_path}/img@{made.digest}"):
        image, found = opened(target, options)
        assert (image.scheme, image.digest, found) == ("oci-dir", made.digest, made.layers)
        assert image.fetch(image.layers[0]).stamp == ""


def test_indexes_nested_too_deep_are_refused(tmp_path: Path, options: SourceOptions) -> None:
    """The bound is on depth, so a chain of indexes ends."""
    ib.oci_layout(tmp_path / "img", LAYERS, nested=9)
    with pytest.raises(TargetError, match="nested more than 8"):
        opened(tmp_path / "img", options)


def test_an_index_that_comes_twice_is_read_once(tmp_path: Path, options: SourceOptions) -> None:
    """Seven levels of 30 equal entries each are no 30 ** 7 reads."""
    made = ib.oci_layout(tmp_path / "img", LAYERS)
    blobs = tmp_path / "img/blobs/sha256"
    top = ib.index([made.descriptor()] * 30)
    for _ in range(7):
        (blobs / ib.digest(top).split(":")[1]).write_bytes(top)
        top = ib.index([{"mediaType": ib.OCI_INDEX, "digest": ib.digest(top), "size": len(top)}] * 30)
    (tmp_path / "img/index.json").write_bytes(top)
    assert opened(tmp_path / "img", options)[0].digest == made.digest


def test_attestations_are_no_images(tmp_path: Path, options: SourceOptions) -> None:
    """buildx adds attestation manifests for the platform unknown/unknown."""
    made = ib.image(LAYERS)
    attestation = {
        "mediaType": ib.OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": 10,
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": made.digest},
    }  # fmt: skip
    ib.oci_layout_of(tmp_path / "img", [(made, "")], nested=1, extra=[attestation])
    assert opened(tmp_path / "img", options)[0].digest == made.digest
    assert list_platforms(parse_target(str(tmp_path / "img")), options) == [Platform("linux", "amd64")]


def test_several_images_are_chosen_by_name(tmp_path: Path, options: SourceOptions) -> None:
    """Without a name the message lists them; umoci and skopeo state no platform, so the configuration is asked."""
    one, two = ib.image(LAYERS), ib.image(LAYERS[:1], docker=True)
    ib.oci_layout_of(tmp_path / "img", [(one, "v1"), (two, "example.test/app:v2")])
    assert opened(f"oci-dir:{tmp_path}/img:v1", options)[0].digest == one.digest
    for name in ("v2", "example.test/app:v2"):
        assert opened(f"oci-dir:{tmp_path}/img:{name}", options)[0].digest == two.digest
    with pytest.raises(TargetError, match=r"several images.*v1"):
        opened(tmp_path / "img", options)
    with pytest.raises(TargetNotFoundError, match="v3"):
        opened(f"oci-dir:{tmp_path}/img:v3", options)


def test_platforms_without_descriptors_are_looked_up(tmp_path: Path, options: SourceOptions) -> None:
    """Two platforms under one name, neither stated in the index."""
    places = [("linux", "arm64", ""), ("linux", "amd64", "")]
    made = [ib.image([ib.layer({"a": place[1]})], platform=place) for place in places]
    ib.oci_layout_of(tmp_path / "img", [(image, "v1") for image in made])
    index = json.loads((tmp_path / "img/index.json").read_bytes())
    for entry in index["manifests"]:
        del entry["platform"]
    (tmp_path / "img/index.json").write_bytes(ib.encode(index))
    for image in made:
        assert opened(tmp_path / "img", options, Platform(*image.platform))[0].digest == image.digest


def blob(root: Path, digest: str) -> Path:
    """Path of a blob."""
    return root / "blobs/sha256" / digest.split(":")[1]


def test_tampered_blobs_are_refused(tmp_path: Path, options: SourceOptions) -> None:
    """Manifest and configuration are compared with their digests, layers with their size (their digest as they are read)."""
    root = tmp_path / "img"
    made = ib.oci_layout(root, LAYERS)
    for digest, data in made.blobs.items():
        for wrong in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b" ", None):
            if wrong is None:
                blob(root, digest).unlink()
            else:
                blob(root, digest).write_bytes(wrong)
            if digest in (made.digest, ib.digest(made.config)) or wrong is None or len(wrong) != len(data):
                with pytest.raises(IntegrityError):
                    opened(root, options)
            else:
                opened(root, options)
            blob(root, digest).write_bytes(data)
    opened(root, options)


def test_links_that_lead_outside_are_refused(tmp_path: Path, options: SourceOptions) -> None:
    """A layout may not make us read another file of this machine; links inside it are harmless."""
    root = tmp_path / "img"
    made = ib.oci_layout(root, LAYERS, compression="none")
    layer = blob(root, ib.digest(LAYERS[0]))
    inside = layer.rename(layer.with_name("other"))
    layer.symlink_to(inside.name)
    assert opened(root, options)[1] == made.layers
    outside = inside.rename(tmp_path / "outside")
    layer.unlink()
    layer.symlink_to(outside)
    with pytest.raises(IntegrityError, match="leads out"):
        opened(root, options)
    layer.unlink()
    (root / "index.json").rename(tmp_path / "index.json")
    (root / "index.json").symlink_to(tmp_path / "index.json")
    with pytest.raises(IntegrityError, match="leads out"):
        opened(f"oci-dir:{root}", options)


def _manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, ib.Image], None]:
    def apply(root: Path, made: ib.Image) -> None:
        document = json.loads(made.manifest)
        change(document)
        data = ib.encode(document)
        blob(root, ib.digest(data)).write_bytes(data)
        (root / "index.json").write_bytes(
            ib.index([{"mediaType": ib.OCI_MANIFEST, "digest": ib.digest(data), "size": len(data)}])
        )

    return apply


def _config(change: Callable[[dict[str, Any]], None], raw: bytes | None = None) -> Callable[[Path, ib.Image], None]:
    def apply(root: Path, made: ib.Image) -> None:
        document = json.loads(made.config)
        change(document)
        data = raw if raw is not None else ib.encode(document)
        blob(root, ib.digest(data)).write_bytes(data)
        _manifest(lambda manifest: manifest["config"].update(digest=ib.digest(data), size=len(data)))(root, made)

    return apply


def _layer(**changes: Any) -> Callable[[Path, ib.Image], None]:
    return _manifest(lambda document: document["layers"][0].update(changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_layer(size=-1), "negative size"),
        (_layer(size=1 << 60), "limit"),
        (_layer(size="big"), "not as the specification says"),
        (_layer(digest="md5:00"), "no digest"),
        (_layer(digest="sha256:../../../../etc/passwd"), "no digest"),
        (_layer(digest="sha512:" + "0" * 128), "sha512 are not supported"),
        (_layer(mediaType="application/vnd.cncf.helm.chart.content.v1+json"), "no file system"),
        (_layer(mediaType="application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), "encrypted"),
        (_manifest(lambda d: d.update(layers=d["layers"] * 300)), "no more than 500"),
        (_manifest(lambda d: d["layers"].pop()), "2 diff_ids for 1 layers"),
        (_manifest(lambda d: d["config"].update(mediaType="application/vnd.cncf.helm.config.v1+json")), "artifact"),
        (_manifest(lambda d: d.update(schemaVersion=1)), "schema 1"),
        (_manifest(lambda d: d.update(manifests=[])), "both a manifest and an index"),
        (_config(lambda d: d.pop("rootfs")), "no diff_ids"),
        (_config(lambda d: d["rootfs"]["diff_ids"].pop()), "1 diff_ids for 2 layers"),
        (_config(lambda d: d["rootfs"]["diff_ids"].__setitem__(0, "x")), "no digest"),
        (_config(lambda d: d["rootfs"]["diff_ids"].__setitem__(0, 7)), "no diff_ids"),
        (_config(lambda d: None, b"\xff\xfe not json"), "not as the specification says"),
        (_config(lambda d: None, b"[" * 200_000), "not as the specification says"),
        (_config(lambda d: None, b'{"a":"' + b"x" * (5 << 20) + b'"}'), "limit"),
        (lambda root, _: (root / "index.json").write_bytes(b"nonsense"), "not as the specification says"),
        (lambda root, _: (root / "index.json").write_bytes(b'{"manifests":[]}'), "no image"),
        (lambda root, _: (root / "index.json").write_bytes(b" " * (5 << 20)), "more bytes"),
        (lambda root, _: (root / "index.json").write_bytes(ib.index([{}] * 1001)), "not as the specification says"),
    ],
)
def test_hostile_documents(
    tmp_path: Path, options: SourceOptions, change: Callable[[Path, ib.Image], None], message: str
) -> None:
    """Every number, type and digest that cannot be right ends in one line and exit 3."""
    root = tmp_path / "img"
    change(root, ib.oci_layout(root, LAYERS))
    with pytest.raises(TargetError, match=message) as caught:
        opened(f"oci-dir:{root}", options)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_history_that_does_not_fit_names_no_instruction(tmp_path: Path, options: SourceOptions) -> None:
    """Nobody can tell which step made which layer, so none is claimed."""
    ib.oci_layout(tmp_path / "img", LAYERS, created_by=["RUN one"])
    assert [layer.created_by for layer in opened(tmp_path / "img", options)[0].layers] == ["", ""]


def test_a_directory_that_is_no_layout(tmp_path: Path, options: SourceOptions) -> None:
    """The message says what is missing."""
    with pytest.raises(TargetNotFoundError, match=r"index\.json"):
        opened(f"oci-dir:{tmp_path}", options)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetError, match="oci-archive"):
        opened(f"oci-dir:{tmp_path}/file", options)
