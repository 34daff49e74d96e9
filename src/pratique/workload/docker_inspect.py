"""What an engine says of a container (`docker inspect`, `podman inspect`) in, its Spec out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pratique.workload.docker_create import HERE, texts
from pratique.workload.docker_create import extract as extract_create
from pratique.workload.spec import DEFAULT_CAPABILITIES, Mount, Spec, capability

_USUAL_RUNTIMES = frozenset(("", "runc", "io.containerd.runc.v2", "oci", "crun"))


def extract(inspected: Mapping[str, Any], *, default_runtime: str = "runc", backed: Mapping[str, str] = {}) -> Spec:
    """Return the Spec of one item of the list that inspect writes. `default_runtime` is the one that the engine takes itself.

    Mounts are those that were made, with the paths of the machine that volumes lie at left out, as engines choose them; `backed`
    are volumes that are paths of the machine. Podman does not say sysctls, rules for devices and which paths are not masked.
    """
    config: Mapping[str, Any] = inspected.get("Config") or {}
    name = str(inspected.get("Name") or inspected.get("Id") or "container").lstrip("/")
    body = {**config, "HostConfig": _host(inspected.get("HostConfig") or {})}
    spec = extract_create({**body, "Image": config.get("Image"), "Volumes": None}, subject=name, format="docker-inspect")
    runtime = spec.runtime if spec.runtime not in (default_runtime, *_USUAL_RUNTIMES) else None
    made = tuple(_mounts(inspected.get("Mounts") or (), spec.mounts, backed))
    apparmor = spec.apparmor or (
        "unconfined" if inspected.get("AppArmorProfile") == "unconfined" and not spec.privileged else None
    )
    # The engine disables the label itself where processes or memory are the machine's; what was asked for was seen at creation.
    implied = not {"pid", "ipc"}.isdisjoint(spec.host_namespaces) and spec.selinux == "unconfined"
    selinux = None if implied else spec.selinux
    restart = None if spec.restart == "no" else spec.restart
    spec = msgspec.structs.replace(spec, runtime=runtime, mounts=made, apparmor=apparmor, selinux=selinux, restart=restart)
    return _with_real_capabilities(spec, inspected) if "BoundingCaps" in inspected and not spec.privileged else spec


def _with_real_capabilities(spec: Spec, inspected: Mapping[str, Any]) -> Spec:
    """Podman gives other capabilities than Docker to who asks for nothing, and says which they are."""
    real = frozenset(map(capability, texts(inspected.get("BoundingCaps"))))
    added, dropped = tuple(sorted(real - DEFAULT_CAPABILITIES)), tuple(sorted(DEFAULT_CAPABILITIES - real))
    return msgspec.structs.replace(spec, capabilities_add=added, capabilities_drop=dropped)


def _host(host: Mapping[str, Any]) -> dict[str, Any]:
    """Podman writes defaults out: its own control group, and every port with a binding or null."""
    found = dict(host)
    if str(found.get("CgroupParent") or "") in _CGROUPS:
        found["CgroupParent"] = ""
    if found.get("CgroupMode") == "host":
        found["CgroupnsMode"] = "host"
    return found


_CGROUPS = frozenset(("machine.slice", "/machine.slice", "user.slice", "/libpod_parent", "system.slice", "docker", "/docker"))


def _mounts(made: Any, asked: tuple[Mount, ...], known: Mapping[str, str]) -> Iterator[Mount]:
    """Yield what was mounted; a volume whose options name a path of the machine is only seen in what was asked for."""
    backed = {mount.target: mount.source for mount in asked if mount.kind == "bind"}
    backed |= {str(item.get("Destination")): known[str(item.get("Name"))] for item in made if item.get("Name") in known}
    for item in made:
        target = str(item.get("Destination") or "")
        kind = str(item.get("Type") or "bind")
        if kind == "volume" and target not in backed:
            yield Mount(
                kind="volume", source=str(item.get("Name") or ""), target=target, read_only=item.get("RW") is False, place=HERE
            )
        elif kind == "tmpfs":
            yield Mount(kind="tmpfs", source="", target=target, place=HERE)
        else:
            source = backed[target] if kind == "volume" else str(item.get("Source") or "/")
            propagation = str(item.get("Propagation") or "")
            propagation = "" if propagation == "rprivate" else propagation
            yield Mount(
                kind="bind",
                source=source,
                target=target,
                read_only=item.get("RW") is False,
                propagation=propagation,
                place=HERE,
            )
    yield from (mount for mount in asked if mount.kind == "tmpfs")
