"""A volume is a folder of the machine where its options make it one, whatever it is called."""

from __future__ import annotations

import pytest

from pratique._kit.yamltree import documents
from pratique.workload import compose
from pratique.workload.docker_create import extract_volume


@pytest.mark.parametrize(
    ("kind", "options", "device", "expected"),
    [
        ("tmpfs", "size=1m", "tmpfs", "volume"),
        ("nfs", "addr=192.0.2.1,rw", ":/export", "volume"),
        ("none", "bind", "/etc", "bind"),
        ("tmpfs", "bind", "/etc", "bind"),
        ("nfs4", "ro,rbind", "/etc", "bind"),
        ("cifs", "ro, bind", "/etc", "bind"),
        ("overlay", "lowerdir=/etc,upperdir=/a,workdir=/b", "overlay", "bind"),
        ("proc", "", "proc", "bind"),
        ("", "", "", "volume"),
    ],
)
def test_by_the_engine_and_by_compose_alike(kind: str, options: str, device: str, expected: str) -> None:
    """A bind is one of any type: the kernel does not look at it."""
    given = {name: value for name, value in (("type", kind), ("o", options), ("device", device)) if value}
    (mount,) = extract_volume({"Name": "data", "DriverOpts": given}).mounts
    assert mount.kind == expected
    lines = "".join(f'      {name}: "{value}"\n' for name, value in given.items())
    text = f"services:\n  s: {{image: a, volumes: ['data:/mnt']}}\nvolumes:\n  data:\n    driver_opts:\n{lines or '      {}'}\n"
    (spec,) = compose.extract(documents(text)[0])
    assert [mount.kind for mount in spec.mounts] == [expected]
