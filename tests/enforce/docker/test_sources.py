"""Binds are called by where they really are, whatever they were called; what was exchanged since is found out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from pratique.enforce.docker.sources import Bound, Mounted, inside, mounts, read_mounts, real, with_real_sources
from pratique.workload import docker_create
from pratique.workload.spec import Spec

TABLE = [
    Mounted("8:1", "/", "/"),
    Mounted("8:2", "/", "/home"),
    Mounted("8:1", "/etc", "/srv/jail/etc"),
    Mounted("8:2", "/alice/x", "/srv/x"),
    Mounted("0:30", "/", "/run"),
    Mounted("8:3", "/sub", "/mnt/part"),
    Mounted("8:1", "/var/data", "/var/lib/docker/volumes/backed/_data"),
]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/srv/jail/etc/shadow", "/etc/shadow"),
        ("/srv/jail/etc", "/etc"),
        ("/srv/jail", "/srv/jail"),
        ("/srv/x/y", "/home/alice/x/y"),
        ("/run/docker.sock", "/run/docker.sock"),
        ("/mnt/part/a", "/mnt/part/a"),
        ("/srv/xy", "/srv/xy"),
    ],
)
def test_the_widest_view_names_it(path: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "resolve", lambda self, strict=False: self)
    monkeypatch.setattr("pratique.enforce.docker.sources._is_root", lambda path: path == "/")
    assert real(path, TABLE) == where


def test_the_file_system_names_it() -> None:
    assert inside("/srv/x/y", TABLE) == ("8:2", "/alice/x/y")
    assert inside("/srv/jail/etc", TABLE) == inside("/etc", TABLE) == ("8:1", "/etc")
    assert inside("/a", []) == ("", "/a")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to("loop")
    assert real(str(tmp_path / "link"), []) == str((tmp_path / "real").resolve())
    assert real(str(tmp_path / "none"), []) == str(tmp_path / "none")
    assert real(str(tmp_path / "link/new/dir"), []) == str((tmp_path / "real").resolve() / "new/dir"), "where it would be made"
    assert real(str(tmp_path / "loop"), []) == "/", "what nobody can tell is the most that it can be"
    assert real(f"/proc/{os.getpid()}/root", []) == "/"
    assert real("/a\0b", []) == "/"


def spec(*binds: str) -> Spec:
    return docker_create.extract({"Image": "x", "HostConfig": {"Binds": list(binds)}})


def test_a_volume_that_a_path_is_mounted_on_is_that_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "resolve", lambda self, strict=False: self)
    monkeypatch.setattr("pratique.enforce.docker.sources._is_root", lambda path: path == "/")
    monkeypatch.setattr("pratique.enforce.docker.sources.mounts", lambda: TABLE)
    made, bound = with_real_sources(spec("backed:/d", "plain:/e", "/srv/x:/f"), ("/var/lib/docker/volumes/",))
    assert [(one.kind, one.source, one.target) for one in made.mounts] == [
        ("bind", "/var/data", "/d"), ("volume", "plain", "/e"), ("bind", "/home/alice/x", "/f"),
    ]  # fmt: skip
    assert bound.folders == (("8:1", "/var/data"), ("8:2", "/alice/x"))


DEVICES = [
    *TABLE,
    Mounted("8:17", "/", "/var/lib/docker/volumes/disk/_data", "ext4", "/dev/sdb1"),
    Mounted("0:41", "/", "/var/lib/docker/volumes/memory/_data", "tmpfs", "tmpfs"),
    Mounted("0:42", "/", "/var/lib/docker/volumes/nas/_data", "nfs4", "nas:/export"),
    Mounted("0:43", "/", "/var/lib/docker/volumes/over/_data", "overlay", "overlay"),
]


def test_a_volume_that_a_device_is_mounted_on_is_that_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is nobody's. What lies on another machine was decided on at the edge, where there is one; else it may be all."""
    monkeypatch.setattr(Path, "resolve", lambda self, strict=False: self)
    monkeypatch.setattr("pratique.enforce.docker.sources._is_root", lambda path: path == "/")
    monkeypatch.setattr("pratique.enforce.docker.sources.mounts", lambda: DEVICES)
    volumes = ("/var/lib/docker/volumes/",)
    given = spec("disk:/a", "memory:/b", "nas:/c", "over:/d", "/var/lib/docker/volumes/disk/_data/part:/e")
    made, bound = with_real_sources(given, volumes)
    seen = [(one.kind, one.source) for one in made.mounts]
    assert seen == [("bind", "/dev/sdb1"), ("volume", "memory"), ("volume", "nas"), ("bind", "/"), ("bind", "/dev/sdb1")]
    assert bound.folders == (("8:17", "/"), ("0:43", "/"), ("8:17", "/part"))
    made, _ = with_real_sources(given, volumes, at_edge=False)
    assert made.mounts[2].kind == "bind"
    assert made.mounts[2].source == "/"


def test_nothing_bound_nothing_to_look_for() -> None:
    bare = msgspec.structs.replace(spec(), mounts=())
    assert with_real_sources(bare) == (bare, Bound(()))
    assert Bound(()).is_in(os.getpid())


def test_what_is_mounted_is_found_again() -> None:
    """Each must be there as often as it was asked for."""
    root = next(one for one in reversed(mounts()) if one.point == "/")
    own = (root.device, root.root)
    assert Bound((own,)).is_in(os.getpid())
    there = sum((one.device, one.root) == own for one in mounts())
    assert not Bound((own,) * (there + 1)).is_in(os.getpid())
    assert not Bound((own, ("8:1", "/elsewhere"))).is_in(os.getpid())
    with pytest.raises(OSError):
        Bound((own,)).is_in(2**22 + 1)


def test_blanks_in_names(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("36 35 98:0 /mnt1\\040a /mnt2\\134b rw,noatime master:1 - ext3 /dev/root rw\nodd\n")
    assert read_mounts(table) == [Mounted("98:0", "/mnt1 a", "/mnt2\\b", "ext3", "/dev/root")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts")
def test_really_mounted(tmp_path: Path) -> None:
    alias, inner = tmp_path / "alias", tmp_path / "inner"
    for folder in (alias, inner):
        folder.mkdir()
    script = f"mount --bind /etc {alias} && mount --bind {alias}/security {inner} && exec cat /proc/self/mountinfo"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine does not mount: {done.stderr}")
    table = tmp_path / "mountinfo"
    table.write_text(done.stdout)
    seen = read_mounts(table)
    assert real(str(inner), seen) == str(Path("/etc/security").resolve())


def test_a_part_of_a_volume_is_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines mount it elsewhere first; what only lies beside the volumes' data, or is named so, is none."""
    table = [
        Mounted("8:1", "/", "/"),
        Mounted("8:1", "/var/lib/docker/volumes/v/_data/sub", "/var/lib/docker/tmp/safe-mount1"),
        Mounted("8:1", "/var/lib/docker/volumes/v/other", "/var/lib/docker/tmp/safe-mount2"),
    ]
    monkeypatch.setattr("pratique.enforce.docker.sources.mounts", lambda: table)
    monkeypatch.setattr(Path, "resolve", lambda self, strict=False: self)
    monkeypatch.setattr("pratique.enforce.docker.sources._is_root", lambda path: path == "/")
    for number, kind, source in ((1, "volume", "v"), (2, "bind", "/var/lib/docker/volumes/v/other")):
        bound = docker_create.extract({"HostConfig": {"Binds": [f"/var/lib/docker/tmp/safe-mount{number}:/mnt"]}})
        spec, _ = with_real_sources(bound, ("/var/lib/docker/volumes/",))
        assert [(mount.kind, mount.source) for mount in spec.mounts] == [(kind, source)]
