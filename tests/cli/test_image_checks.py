"""`scan --image-checks`: how an image is configured and was built, beside what is in it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imagebuilder

NOW = ("--offline", "--now", "2024-06-01")
Call = Callable[..., Any]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image with a setuid program that runs as root, made by fetching a script."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for name, mode, content in (
            ("bin/su", 0o4755, b"x"),
            ("lib/apk/db/installed", 0o644, b"C:Q1\nP:busybox\nV:1.36.1-r5\nA:x86_64\n\n"),
            ("etc/os-release", 0o644, b"ID=alpine\nVERSION_ID=3.19.0\n"),
        ):
            info = tarfile.TarInfo(name)
            info.mode, info.size = mode, len(content)
            layer.addfile(info, io.BytesIO(content))
    made = imagebuilder.image([out.getvalue()], created_by=["RUN /bin/sh -c curl -s x | sh # buildkit"], config={"User": "0"})
    path = tmp_path / "app.tar"
    path.write_bytes(imagebuilder.docker_archive_of([(made, ["app:1"])]))
    return path


def ids(ran: Any) -> set[str]:
    """Return what is about the image itself."""
    return {finding["id"] for finding in ran.json["findings"] if finding["kind"] == "misconfiguration"}


def test_only_when_asked(call: Call, archive: Path) -> None:
    """A scan speaks of packages; what would suddenly refuse half of all images is asked for by name."""
    for _ in range(2):
        assert ids(call("scan", archive, *NOW, "-f", "json")) == set()
        ran = call("scan", archive, *NOW, "--image-checks", "-f", "json")
        assert ids(ran) == {"df-user-root", "df-healthcheck", "df-pipe-to-shell", "im-privileged-files"}
    found = {finding["id"]: finding for finding in ran.json["findings"]}
    layer = ran.json["target"]["layers"][0]["diff_id"]
    assert found["im-privileged-files"]["location"]["layer"] == found["df-pipe-to-shell"]["location"]["layer"] == layer
    assert "/bin/su (mode 4755)" in found["im-privileged-files"]["message"]


def test_it_decides(call: Call, archive: Path) -> None:
    """Its findings count for --fail-on and policies as all others do."""
    assert call("scan", archive, *NOW, "--fail-on", "high").code == 0
    assert call("scan", archive, *NOW, "--fail-on", "high", "--image-checks").code == 1


@pytest.mark.parametrize("form", ["table", "sarif", "html", "markdown", "junit", "csv", "cyclonedx", "spdx", "gitlab"])
def test_formats(call: Call, archive: Path, form: str) -> None:
    """Every format can be written; those for people name them."""
    ran = call("scan", archive, *NOW, "--image-checks", "-f", form)
    assert ran.code == 0
    assert form in ("cyclonedx", "spdx", "gitlab") or "df-user-root" in ran.out


def test_a_folder_has_no_configuration(call: Call, tmp_path: Path) -> None:
    """Nothing is said of a user that nobody could have set."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text("ID=alpine\nVERSION_ID=3.19.0\n")
    assert ids(call("scan", f"rootfs:{tmp_path}", *NOW, "--image-checks", "-f", "json")) == set()
