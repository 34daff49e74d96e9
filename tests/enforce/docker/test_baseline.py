"""What the runtime's gate lets start while nobody can be asked: what has nothing of the machine, its root folder included."""

from __future__ import annotations

from typing import Any

import pytest

from pratique_runtime.baseline import MASKED, NAMESPACES, beyond


def _strict(path: str) -> dict[str, Any]:
    return {
        "root": {"path": path},
        "process": {"user": {"uid": 1000, "gid": 1000}, "noNewPrivileges": True},
        "linux": {
            "namespaces": [{"type": name} for name in NAMESPACES],
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
            "maskedPaths": sorted(MASKED),
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        },
    }


@pytest.mark.parametrize(
    ("path", "starts"),
    [
        ("/var/lib/docker/overlay2/abc/merged", True),
        ("/var/lib/containers/storage/overlay/abc/merged", True),
        ("rootfs", True),
        ("/data/docker/overlay2/abc/merged", True),
        ("/", False),
        ("/home", False),
        ("/var/lib/docker/../../../etc", False),
        ("../../etc", False),
        ("/data/dockerless", False),
    ],
)
def test_the_root_folder_is_the_engines(path: str, *, starts: bool) -> None:
    """A folder of the machine in place of an image is the machine's."""
    assert (beyond("create", _strict(path), ("/data/docker/",)) == []) == starts


def test_what_has_no_root_folder_does_not_start() -> None:
    """An unknown shape is beyond."""
    spec = _strict("rootfs")
    del spec["root"]
    assert beyond("create", spec)
