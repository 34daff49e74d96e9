"""What Podman leaves on disk in, which container of whose image a runtime is started for out.

Podman has no interface at which a request could be decided; its runtime is where it is seen first. Who asks, the kernel knows:
the user who logged in, however often that became another (`loginuid`, proc(5)); a service that nobody logged in for has none.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pratique.enforce.docker import processes
from pratique.enforce.docker.identity import unix_subject
from pratique.model.privilege import Subject
from pratique.workload import oci_runtime
from pratique.workload.docker_create import HERE
from pratique.workload.spec import Mount, Spec

_BUNDLE = re.compile(
    r"(?P<graph>/.+)/(?P<driver>[a-z0-9]+)-containers/(?P<id>[0-9a-f]{64})/userdata(?:/(?P<exec>[0-9a-f]{64})(?:/.*)?|/config\.json)?"
)
_BUILD = re.compile(r"(?P<folder>/.+/buildah[0-9]+)/config\.json")
_LAYER = re.compile(r"[0-9a-f]{64}")
# Where each of Podman's drivers shows a layer, below its folder: {0} is the driver, {1} the layer.
_LAYERS = ("/{0}/{1}/merged", "/{0}/dir/{1}", "/{0}/subvolumes/{1}", "/{0}/graph/{1}")
_NOBODY = (1 << 32) - 1
# Seconds by which a file's time may be behind that of the process that it is about.
_SLACK = 0.5
# Lists of all containers and images of one machine: about 1 KB each.
_MAX_LIST = 64 << 20


class Bundle(NamedTuple):
    """Where Podman keeps a container; `exec` is the id of a command in it, "" where it is the container itself."""

    graph: str
    driver: str
    id: str
    exec: str

    def engine(self, pid_file: str, *, shared_cgroups: bool) -> oci_runtime.Engine:
        """Return which files of the container are Podman's own: in its folder, and in that for this boot, where `pid_file` is."""
        end = f"/{self.driver}-containers/{self.id}/userdata/"
        running, _, name = pid_file.rpartition(end)
        return oci_runtime.Engine(
            container=self.id,
            roots=(
                self.graph + end,
                *([running + end] if running and name == "pidfile" else []),
                *(root for root in oci_runtime.ENGINE_ROOTS if "/containers/storage/" in root),
            ),
            volumes=(f"{self.graph}/volumes/",),
            shared_cgroups=shared_cgroups,
        )


def bundle_of(path: str) -> Bundle | None:
    """Return the container that a runtime's file belongs to; None where it is not Podman's."""
    found = _BUNDLE.fullmatch(path)
    return Bundle(found["graph"], found["driver"], found["id"], found["exec"] or "") if found and "/../" not in path else None


def build_of(path: str, identifier: str, *, shared_cgroups: bool) -> oci_runtime.Engine | None:
    """Return what is the builder's own in a step of a build; None where it is none."""
    found = _BUILD.fullmatch(path)
    if found is None or "/../" in path or not identifier.startswith("buildah-"):
        return None
    return oci_runtime.Engine(container=identifier, roots=(f"{found['folder']}/",), volumes=(), shared_cgroups=shared_cgroups)


def image_of(bundle: Bundle) -> tuple[str, str]:
    """Return the name and the digest of the image that a container was made from; "" for what nobody can tell."""
    image = str(_container(bundle).get("image") or "")
    known = next(
        (item for item in _list(Path(bundle.graph, f"{bundle.driver}-images", "images.json")) if item.get("id") == image), {}
    )
    names = known.get("names") or []
    digest = str(known.get("digest") or "")
    return (str(names[0]) if names else "", digest or (f"sha256:{image}" if image else ""))


def with_own_root(spec: Spec, bundle: Bundle, root: Mapping[str, Any]) -> Spec:
    """Return a Spec that binds a folder of the machine where that is in place of an image (`--rootfs`).

    A container's own files are the layer that Podman's list has for it; what an overlay over something else shows, nobody knows.
    """
    path, layer = str(root.get("path") or ""), str(_container(bundle).get("layer") or "")
    if _LAYER.fullmatch(layer) and path in {bundle.graph + place.format(bundle.driver, layer) for place in _LAYERS}:
        return spec
    source = "/" if not path.startswith("/") or path.startswith(f"{bundle.graph}/{bundle.driver}-containers/") else path
    bound = Mount(kind="bind", source=source, target="/", read_only=bool(root.get("readonly")), place=HERE)
    return msgspec.structs.replace(spec, mounts=(*spec.mounts, bound))


def _container(bundle: Bundle) -> dict[str, Any]:
    folder = Path(bundle.graph, f"{bundle.driver}-containers")
    items = [*_list(folder / "containers.json"), *_list(folder / "volatile-containers.json")]
    return next((item for item in items if item.get("id") == bundle.id), {})


def person(pid: int) -> Subject | None:
    """Return who logged in to start a process; None where nobody did."""
    try:
        number = int((Path("/proc") / str(pid) / "loginuid").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if number == _NOBODY else unix_subject(number, -1)


def pid_in(path: str) -> int:
    """Return the process whose number a runtime wrote down; 0 where it has ended: what began after that has its number anew."""
    try:
        number, written = int(Path(path).read_text("ascii")), Path(path).stat().st_mtime
    except (OSError, ValueError):
        return 0
    found = processes.look(number)
    if found is None:
        return 0
    ago = time.clock_gettime(time.CLOCK_BOOTTIME) - found.started / os.sysconf("SC_CLK_TCK")
    return number if time.time() - ago <= written + _SLACK else 0


def _list(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_MAX_LIST))
    except (OSError, ValueError, RecursionError):
        return []
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
