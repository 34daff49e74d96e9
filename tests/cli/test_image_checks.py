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


def packed(*entries: tuple[str, int, str]) -> bytes:
    """Return a layer of files; one whose content begins with `->` is a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for name, mode, content in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.size = mode, len(content)
            if content.startswith("->"):
                info.type, info.linkname, info.size = tarfile.SYMTYPE, content[2:], 0
            layer.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


RELEASE = ("etc/os-release", 0o644, "ID=alpine\nVERSION_ID=3.19.0\n")
INSTALLED = ("lib/apk/db/installed", 0o644, "C:Q1\nP:busybox\nV:1.36.1-r5\nA:x86_64\n\n")
PASSWD = ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/ash\n")
OPEN = ("etc/shadow", 0o640, "bin:!::0:::::\nroot:::0:::::\n")


def scanned(call: Call, path: Path, *layers: bytes, created_by: list[str] | None = None) -> Any:
    """Scan an image of these layers, twice, the second time from the cache."""
    config = {"User": "1000", "Healthcheck": {"Test": ["CMD", "true"]}}
    made = imagebuilder.image(list(layers), config=config, created_by=created_by or ["COPY x" for _ in layers])
    path.write_bytes(imagebuilder.docker_archive_of([(made, ["app:1"])]))
    first, again = (call("scan", path, *NOW, "--image-checks", "-f", "json") for _ in range(2))
    assert first.json["findings"] == again.json["findings"]
    return again.json


def test_accounts_of_the_last_layer(call: Call, tmp_path: Path) -> None:
    """An account file counts as the last layer wrote it; the finding names that layer, its instruction, file and line."""
    base = packed(RELEASE, INSTALLED, PASSWD, OPEN)
    report = scanned(call, tmp_path / "open.tar", base, packed(("x", 0o644, "x")))
    (found,) = [item for item in report["findings"] if item["id"].startswith("im-")]
    assert found["id"] == "im-empty-password"
    assert (found["location"]["path"], found["location"]["line"]) == ("etc/shadow", 2)
    assert found["location"]["layer"] == report["target"]["layers"][0]["diff_id"]

    locked = packed(("etc/shadow", 0o640, "root:!::0:::::\n"))
    again = packed(("etc/shadow", 0o666, "root:!::0:::::\n"))
    for upper in ([locked], [packed(("etc/.wh.shadow", 0o644, ""))], [packed(("etc/.wh..wh..opq", 0o644, ""), RELEASE)]):
        report = scanned(call, tmp_path / "mended.tar", base, *upper)
        assert [item["id"] for item in report["findings"] if item["id"].startswith("im-")] == []
    report = scanned(
        call, tmp_path / "worse.tar", base, locked, again, created_by=["ADD a", "RUN b", "RUN chmod 666 /etc/shadow"]
    )
    (found,) = [item for item in report["findings"] if item["id"].startswith("im-")]
    assert found["id"] == "im-accounts-writable"
    assert (found["location"]["layer"], found["location"]["instruction"]) == (
        report["target"]["layers"][2]["diff_id"],
        "RUN chmod 666 /etc/shadow",
    )


def test_accounts_behind_links(call: Call, tmp_path: Path) -> None:
    """Images of Nix keep passwd elsewhere, in a layer of its own: no gap in what a scan says of packages, one in the checks."""
    store = packed(RELEASE, INSTALLED, ("nix/store/fake-nss/etc/passwd", 0o444, "root::0:0:::\n"))
    links = packed(("etc/passwd", 0o777, "->/nix/store/fake-nss/etc/passwd"))
    config = {"User": "1000", "Healthcheck": {"Test": ["CMD", "true"]}}
    path = tmp_path / "nix.tar"
    made = imagebuilder.image([store, links], config=config, created_by=["x", "y"])
    path.write_bytes(imagebuilder.docker_archive_of([(made, ["app:1"])]))
    assert call("scan", path, *NOW, "-f", "json").json["complete"]
    report = call("scan", path, *NOW, "--image-checks", "-f", "json").json
    assert [(gap["code"], gap["path"]) for gap in report["problems"] if not gap["code"].startswith("advisories.")] == [
        ("image.link-unresolved", "etc/passwd")
    ]
    one = packed(RELEASE, INSTALLED, ("store/passwd", 0o444, "root::0:0:::\n"), ("etc/passwd", 0o777, "->../store/passwd"))
    report = scanned(call, tmp_path / "one.tar", one)
    assert "im-empty-password" in {item["id"] for item in report["findings"]}


def test_accounts_of_a_folder(call: Call, tmp_path: Path) -> None:
    """An unpacked root file system has accounts, too; a folder of sources has not."""
    for name, _, content in (RELEASE, INSTALLED, PASSWD, OPEN):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o644)
    (tmp_path / "etc" / "passwd").chmod(0o666)
    ran = call("scan", f"rootfs:{tmp_path}", *NOW, "--image-checks", "-f", "json")
    assert ids(ran) == {"im-empty-password", "im-accounts-writable"}
    assert ids(call("scan", f"dir:{tmp_path}", *NOW, "--image-checks", "-f", "json")) == set()
    assert ids(call("scan", f"rootfs:{tmp_path}", *NOW, "-f", "json")) == set()


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAAnotreal\n-----END OPENSSH PRIVATE KEY-----\n"


def test_files_with_keys(call: Call, tmp_path: Path) -> None:
    """Of every layer, those that a later one removed as well; not what the distribution ships to everybody, nor tests."""
    shipped = ("var/lib/dpkg/info/snake.list", 0o644, "/.\n/usr/share/snake/demo.pem\n")
    status = (
        "var/lib/dpkg/status",
        0o644,
        "Package: snake\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDescription: x\n\n",
    )
    debian = ("etc/os-release", 0o644, "ID=debian\nVERSION_ID=12\n")
    base = packed(
        debian, status, shipped, ("usr/share/snake/demo.pem", 0o644, KEY), ("root/.ssh/id_rsa", 0o600, KEY),
        ("usr/lib/python3/test/key.pem", 0o644, KEY), ("srv/tls.key", 0o600, KEY),
    )  # fmt: skip
    upper = packed(("root/.ssh/.wh.id_rsa", 0o644, ""), ("big.pem", 0o644, "x" * (1 << 20) + "y"))
    report = scanned(call, tmp_path / "keys.tar", base, upper, created_by=["COPY . / # buildkit", "RUN rm /root/.ssh/id_rsa"])
    found = {item["location"]["path"]: item for item in report["findings"] if item["id"] == "im-secret-file"}
    assert set(found) == {"root/.ssh/id_rsa", "srv/tls.key"}
    assert found["root/.ssh/id_rsa"]["message"].startswith("/root/.ssh/id_rsa was removed by a later layer, and the image still")
    assert found["srv/tls.key"]["message"].startswith("/srv/tls.key is in the image and holds a private key")
    assert {item["location"]["layer"] for item in found.values()} == {report["target"]["layers"][0]["diff_id"]}
    assert "b3BlbnNzaC1rZXktdjE" not in str(report)
    codes = {(gap["code"], gap["path"]) for gap in report["problems"] if not gap["code"].startswith("advisories.")}
    assert codes == {("inventory.too-large", "big.pem")}
    plain = call("scan", tmp_path / "keys.tar", *NOW, "-f", "json").json
    assert plain["complete"]
    assert ids_of(plain) == set()


def ids_of(report: Any) -> set[str]:
    """Return what is about the image itself."""
    return {finding["id"] for finding in report["findings"] if finding["kind"] == "misconfiguration"}
