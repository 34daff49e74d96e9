"""The configuration of a built image in, what a container of it asks for when nothing else is said out.

Format: https://github.com/opencontainers/image-spec/blob/main/config.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pratique.workload.docker_create import HERE, texts
from pratique.workload.spec import Mount, Spec, Variable, number_of


def extract(config: Mapping[str, Any], *, subject: str = "image") -> Spec:
    """Return the Spec of an image (`config` is the whole document). An image that names no user runs as root."""
    given: Mapping[str, Any] = config.get("config") or {}
    name, _, group = str(given.get("User") or "").partition(":")
    return Spec(
        format="image",
        subject=subject,
        place=HERE,
        user=name or "0",
        group=group or None,
        uid=number_of(name) if name else 0,
        gid=number_of(group),
        mounts=tuple(Mount(kind="volume", source="", target=target, place=HERE) for target in texts(given.get("Volumes"))),
        environment=tuple(Variable(*item.partition("=")[::2], HERE) for item in texts(given.get("Env")) if "=" in item),
        labels={key: str(value) for key, value in (given.get("Labels") or {}).items()},
        command=(*texts(given.get("Entrypoint")), *texts(given.get("Cmd"))),
    )
