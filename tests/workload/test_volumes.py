"""A volume is a folder of the machine where its options make it one, whatever it is called."""

from __future__ import annotations

import pytest

from pratique._kit.yamltree import documents
from pratique.workload import compose
from pratique.workload.docker_create import extract_volume


@pytest.mark.parametrize(
    ("kind", "options", "device", "expected"),
    [
        ("tmpfs", "size=1m", "tmpfs", ""),
        ("tmpfs", "mpol=bind", "tmpfs", ""),
        ("nfs", "addr=192.0.2.1,rw", ":/export", "/net/192.0.2.1/export"),
        ("nfs4", "ro,nolock", "nas.example:/a/b/", "/net/nas.example/a/b"),
        ("nfs4", "addr=[2001:db8::1]", ":/", "/net/[2001:db8::1]"),
        ("cifs", "username=x,password=y", "//files/share", "/cifs/files/share"),
        ("nfs", "addr=one,addr=two", ":/export", "/"),
        ("nfs", "addr=one,ip=two", ":/export", "/"),
        ("nfs", "addr=../..", ":/etc", "/"),
        ("nfs", "addr=nas", ":/../../etc", "/"),
        ("nfs", "", "", ""),
        ("nfs", "", ":/export", "/"),
        ("cifs", "unc=//other/share", "//files/share", "/"),
        ("none", "bind", "/etc", "/etc"),
        ("tmpfs", "bind", "/etc", "/etc"),
        ("nfs4", "ro,rbind", "/etc", "/etc"),
        ("cifs", "ro, bind", "/etc", "/etc"),
        ("NFS", "addr=nas", ":/export", "/"),
        ("ext4", "", "/dev/vdb", "/dev/vdb"),
        ("overlay", "lowerdir=/etc,upperdir=/a,workdir=/b", "overlay", "/"),
        ("proc", "", "proc", "/"),
        ("", "", "", ""),
    ],
)
def test_by_the_engine_and_by_compose_alike(kind: str, options: str, device: str, expected: str) -> None:
    """A bind is one of any type: the kernel does not look at it. What lies on another machine is called by that one's name."""
    given = {name: value for name, value in (("type", kind), ("o", options), ("device", device)) if value}
    (mount,) = extract_volume({"Name": "data", "DriverOpts": given}).mounts
    assert (mount.kind, mount.source) == (("bind", expected) if expected else ("volume", "data"))
    lines = "".join(f'      {name}: "{value}"\n' for name, value in given.items())
    text = f"services:\n  s: {{image: a, volumes: ['data:/mnt']}}\nvolumes:\n  data:\n    driver_opts:\n{lines or '      {}'}\n"
    (spec,) = compose.extract(documents(text)[0])
    assert [(one.kind, one.source) for one in spec.mounts] == [(mount.kind, mount.source)]
