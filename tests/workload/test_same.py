"""One container is one Spec, whatever it is read from: asked for, written in Compose, inspected, or as the runtime starts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pratique._kit.yamltree import documents
from pratique.workload import compose, docker_create, docker_inspect, oci_runtime
from pratique.workload.spec import ALL_CAPABILITIES, DEFAULT_CAPABILITIES, Spec

SAME = Path(__file__).parent / "same"
CASES = sorted(path.name for path in SAME.iterdir() if path.is_dir())
COMPOSE = {
    spec.subject.removeprefix("service "): spec for spec in compose.extract(documents((SAME / "compose.yaml").read_text())[0])
}
# What engines add for every container; all of it is of the container's own namespaces.
USUAL_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"}
# Capabilities that Podman does not give, and Docker does.
PODMAN_LACKS = {"AUDIT_WRITE", "MKNOD", "NET_RAW"}
LACKING = {
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "WAKE_ALARM",
    "SYSLOG",
    "SYS_RESOURCE",
}  # on some kernels


def effective(spec: Spec) -> frozenset[str]:
    """What a container has in the end, as engines put it together."""
    added, dropped = set(spec.capabilities_add), set(spec.capabilities_drop)
    if spec.privileged:
        return ALL_CAPABILITIES
    base = ALL_CAPABILITIES if "ALL" in added else frozenset() if "ALL" in dropped else DEFAULT_CAPABILITIES
    return frozenset((base - dropped) | (added - {"ALL"}))


def essence(spec: Spec) -> dict[str, Any]:
    """What must be alike. Sysctls, capabilities and limits are compared apart."""
    return {
        "privileged": spec.privileged,
        "namespaces": {name for name in spec.host_namespaces if name != "cgroup"},
        "joins": {join.partition(":")[0] for join in spec.joins},
        "mounts": {(m.kind, m.source, m.target, m.read_only) for m in spec.mounts if m.kind != "tmpfs"},
        "devices": {device.path for device in spec.devices},
        "read_only_root": bool(spec.read_only_root),
        "no_new_privileges": bool(spec.no_new_privileges),
        "seccomp": spec.seccomp,
        "masked": spec.privileged or (spec.masked_paths, spec.read_only_paths),
        "cgroup_parent": (spec.cgroup_parent or "").startswith("/mine"),
        "restart": spec.restart,
        "unknown": spec.unknown,
    }


def specs(case: str) -> dict[str, Spec]:
    found = {
        "create": docker_create.extract(json.loads((SAME / case / "create.json").read_text())),
        "compose": COMPOSE[case],
    }
    for engine in ("docker", "podman"):
        if not (SAME / case / f"{engine}-config.json").exists():
            continue
        inspected = json.loads((SAME / case / f"{engine}-inspect.json").read_text())
        found[f"{engine} inspect"] = docker_inspect.extract(inspected, backed={"samebacked": "/tmp"})
        known = oci_runtime.Engine(container=inspected["Id"], backed={"samebacked": "/tmp"}, shared_cgroups=True)
        found[f"{engine} config"] = oci_runtime.extract(json.loads((SAME / case / f"{engine}-config.json").read_text()), known)
    return found


@pytest.mark.parametrize("case", CASES)
def test_all_agree(case: str) -> None:
    """What a person writes, what the engine is asked, what it says, and what it starts describe the same container."""
    found = specs(case)
    wanted = essence(found["create"])
    for name, spec in found.items():
        seen = essence(spec)
        if name == "podman config" and case == "unconfined":
            seen["masked"] = wanted["masked"]  # the engine does not obey lists of paths that are empty
        if name == "podman inspect":  # which does not say these
            seen["devices"] |= {device for device in wanted["devices"] if not device.startswith("/")}
            seen["masked"] = wanted["masked"]
        assert seen == wanted, name
        asked = {m.target for m in found["create"].mounts if m.propagation == "rslave"}
        assert asked <= {m.target for m in spec.mounts if m.propagation == "rslave"}  # Docker adds it where its own folders are


@pytest.mark.parametrize("case", CASES)
def test_users_and_capabilities_agree(case: str) -> None:
    """The runtime knows numbers; where a request has them, too, they are the same. A name is only known to the image."""
    found = specs(case)
    asked = found["create"]
    for name, spec in found.items():
        if "config" in name:
            real = {"app": 1234, "toor": 0}
            said = asked.uid if asked.uid is not None else real.get(asked.user or "root", 0)
            assert spec.uid == said, name
            assert {"2000", "0"} <= set(spec.groups) or case != "groups"
        else:
            assert (spec.user, spec.uid, spec.gid, set(spec.groups)) == (asked.user, asked.uid, asked.gid, set(asked.groups)), (
                name
            )
        missing = effective(asked) - effective(spec)
        assert missing <= (LACKING if "ALL" in asked.capabilities_add else set()) | (
            PODMAN_LACKS if "podman" in name else set()
        ), name
        unsaid = PODMAN_LACKS if name == "podman inspect" else set()  # it lists what is less than its own usual ones
        assert effective(spec) <= effective(asked) | unsaid, name
        if name == "podman inspect":
            continue  # which does not say sysctls
        assert spec.sysctls.keys() - asked.sysctls.keys() <= USUAL_SYSCTLS
        assert asked.sysctls.items() <= spec.sysctls.items()
        assert (spec.memory_limit, spec.pids_limit) == (asked.memory_limit, asked.pids_limit) or "podman" in name


def test_a_container_named_root_by_another_name_is_found_by_the_runtime_only() -> None:
    """`toor` is uid 0 in the image: what is asked for cannot say, what runs does."""
    found = specs("named-root")
    assert found["create"].uid is None
    assert found["docker config"].uid == found["podman config"].uid == 0


def test_files_of_another_container_are_binds() -> None:
    """An engine's own files count as its own only under the folder of this very container."""
    inspected = json.loads((SAME / "root" / "docker-inspect.json").read_text())
    config = json.loads((SAME / "root" / "docker-config.json").read_text())
    assert not [m for m in oci_runtime.extract(config, oci_runtime.Engine(container=inspected["Id"])).mounts if m.kind == "bind"]
    other = oci_runtime.extract(config, oci_runtime.Engine(container="0" * 64))
    assert {m.target for m in other.mounts if m.kind == "bind"} == {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}


def test_a_volume_that_nobody_can_look_up_is_not_believed_to_be_one() -> None:
    """Without knowledge of what backs volumes, the gate is told the folder, and asks for it."""
    config = json.loads((SAME / "volumes" / "docker-config.json").read_text())
    found = oci_runtime.extract(config, oci_runtime.Engine(volumes=()))
    assert {m.source for m in found.mounts if m.target == "/backed"} == {"/var/lib/docker/volumes/samebacked/_data"}
