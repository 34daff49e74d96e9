"""From what a person writes to a target: prefixes, detection, names of images."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagebuilder as ib
from pratique.image.manifest import parse_platform, rank
from pratique.image.open import open_target
from pratique.image.options import SourceOptions
from pratique.image.reference import ImageName, parse_name, parse_target
from pratique.model.errors import PratiqueError, TargetError, TargetNotFoundError, UsageError
from pratique.model.image import ImageRef, Platform

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("debian", ImageName("docker.io", "library/debian", "latest")),
        ("debian:12", ImageName("docker.io", "library/debian", "12")),
        ("team/app", ImageName("docker.io", "team/app", "latest")),
        ("docker.io/debian", ImageName("docker.io", "library/debian", "latest")),
        ("index.docker.io/library/debian:12", ImageName("docker.io", "library/debian", "12")),
        ("registry-1.docker.io/team/app", ImageName("docker.io", "team/app", "latest")),
        ("localhost/app", ImageName("localhost", "app", "latest")),
        ("localhost:5000/app:1", ImageName("localhost:5000", "app", "1")),
        ("[::1]:5000/app", ImageName("[::1]:5000", "app", "latest")),
        ("127.0.0.1:5000/a/b/c__d--e:V_1.0-x", ImageName("127.0.0.1:5000", "a/b/c__d--e", "V_1.0-x")),
        ("ghcr.io/team/app@" + DIGEST, ImageName("ghcr.io", "team/app", "", DIGEST)),
        ("ghcr.io/team/app:1@" + DIGEST, ImageName("ghcr.io", "team/app", "1", DIGEST)),
        ("unknown:thing", ImageName("docker.io", "library/unknown", "thing")),
    ],
)
def test_names(text: str, expected: ImageName) -> None:
    """Names are normalised as Docker does; a prefix that is no scheme belongs to the name."""
    assert parse_name(text) == expected
    assert parse_target(text) == ImageRef("image", text, text)
    assert parse_name(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "Debian", "a//b", "a/../b", "debian:", "debian:a b", "x@sha256:12", "reg.test/", "a:b:c", "-a", "http://x/y", "a/b?c",
     "a\nb", "reg.test:99999999/a", "x" * 300],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    """Bad names are bad usage, before anything is asked of anybody."""
    with pytest.raises(UsageError):
        parse_target(text)


@pytest.mark.parametrize("scheme", ["docker-archive", "oci-dir", "rootfs", "sbom", "docker", "registry", "containerd"])
def test_a_scheme_is_taken_at_its_word(scheme: str) -> None:
    """Nothing is looked at; a scheme without a value is bad usage."""
    assert parse_target(f"{scheme}:x:y") == ImageRef(scheme, "x:y", f"{scheme}:x:y")
    with pytest.raises(UsageError):
        parse_target(f"{scheme}:")


def test_detection_of_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layout, root file system, or plain sources; a path with a slash that does not exist is no image."""
    ib.oci_layout(tmp_path / "layout", [])
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/os-release").write_text("ID=debian\n")
    for name in ("usr", "bin", "lib"):
        (tmp_path / "bare" / name).mkdir(parents=True)
    (tmp_path / "sources/bin").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert [parse_target(name).scheme for name in ("layout", "root", "bare", "sources", ".", "-")] == [
        "oci-dir", "rootfs", "rootfs", "dir", "dir", "-",
    ]  # fmt: skip
    for absent in ("./absent", "/absent/file.tar", "../absent"):
        with pytest.raises(TargetNotFoundError):
            parse_target(absent)


def test_detection_of_files(tmp_path: Path) -> None:
    """By content, never by name."""
    (tmp_path / "a").write_bytes(ib.docker_archive([]))
    ib.oci_layout(tmp_path / "layout", [])
    (tmp_path / "b").write_bytes(ib.oci_archive(tmp_path / "layout"))
    (tmp_path / "c").write_bytes(ib.compress((tmp_path / "b").read_bytes(), "gzip"))
    (tmp_path / "d").write_bytes(ib.layer({"etc/passwd": b""}))
    (tmp_path / "e").write_bytes(b"{}")
    assert [parse_target(str(tmp_path / name)).scheme for name in "abc"] == ["docker-archive", "oci-archive", "archive"]
    for name in "de":
        with pytest.raises(TargetError, match="no image archive"):
            parse_target(str(tmp_path / name))


def test_a_compressed_oci_archive_says_what_it_was(tmp_path: Path, options: SourceOptions) -> None:
    """Only unpacking tells, and the opened image has the true scheme."""
    made = ib.oci_layout(tmp_path / "layout", [ib.layer({"a": b"1"})])
    (tmp_path / "c").write_bytes(ib.compress(ib.oci_archive(tmp_path / "layout"), "zstd"))
    with open_target(parse_target(str(tmp_path / "c")), None, options) as image:
        assert (image.scheme, image.digest) == ("oci-archive", made.digest)


def test_folders(tmp_path: Path, options: SourceOptions) -> None:
    """A folder has a place to walk, no layers, no digest; a file is none."""
    with open_target(ImageRef("rootfs", str(tmp_path)), None, options) as image:
        assert (image.scheme, image.folder, image.layers, image.digest, image.config) == ("rootfs", tmp_path, (), "", {})
    (tmp_path / "file").write_bytes(b"")
    for value in ("file", "absent"):
        with pytest.raises(TargetError), open_target(ImageRef("dir", str(tmp_path / value)), None, options):
            pass


def test_platforms_are_parsed_and_ranked() -> None:
    """Aliases, defaults of variants, and what does not fit."""
    assert parse_platform("Linux/AARCH64") == Platform("linux", "arm64")
    assert parse_platform("arm64") == Platform("linux", "arm64")
    assert parse_platform("linux/arm/v7") == Platform("linux", "arm", "v7")
    for text in ("", "/", "a/b/c/d", "linux/", "linux/a b"):
        with pytest.raises(UsageError):
            parse_platform(text)
    wanted = Platform("linux", "arm")
    order = [Platform("linux", "arm", variant) for variant in ("v5", "v6", "v7")]
    assert sorted(order, key=lambda place: rank(place, wanted)) == order[::-1]
    assert rank(Platform("linux", "arm64", "v8"), Platform("linux", "arm64")) == 0
    assert rank(Platform("linux", "amd64"), Platform("linux", "arm64")) == -1
    assert rank(Platform("linux", "arm", "v6"), Platform("linux", "arm", "v7")) == -1


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_target_or_an_error(text: str) -> None:
    """No text makes the parser fail in an unknown way."""
    with contextlib.suppress(PratiqueError):
        assert parse_target(text).value
