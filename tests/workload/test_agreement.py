"""One container is one Spec, generated: what a person writes, types, asks an engine for, what that says and what it starts.

The engine's side is made as real ones were seen to do it (`same/`); test_same.py compares what they really wrote.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pratique._kit.yamltree import documents
from pratique.grant.document import Baseline, Uid
from pratique.grant.needed import needed
from pratique.grant.policy import compile_baseline
from pratique.workload import compose, docker_create, docker_inspect, docker_line, kubernetes, oci_runtime
from pratique.workload.spec import ALL_CAPABILITIES, DEFAULT_CAPABILITIES, Spec

SAME = Path(__file__).parent / "same" / "plain"
CONFIG = json.loads((SAME / "docker-config.json").read_text())
INSPECT = json.loads((SAME / "docker-inspect.json").read_text())
IDENTIFIER = INSPECT["Id"]
BASELINE = compile_baseline(Baseline(uid=Uid(min=1000)))
DEVICES = {"/dev/fuse": ("c", 10, 229), "/dev/kvm": ("c", 10, 232)}
NAMESPACES = {"net": "network", "pid": "pid", "ipc": "ipc", "uts": "uts"}

CONTAINERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "user": st.sampled_from(("0", "1000", "1000:2000", "1000:0", "5:1000")),
        "groups": st.sampled_from(([], ["2000"], ["0"])),
        "add": st.lists(st.sampled_from(("NET_ADMIN", "SYS_PTRACE", "SYS_ADMIN", "NET_BIND_SERVICE")), max_size=2, unique=True),
        "drop": st.sampled_from(([], ["ALL"], ["CHOWN", "NET_RAW"])),
        "privileged": st.sampled_from((False, False, False, True)),
        "host": st.lists(st.sampled_from(sorted(NAMESPACES)), max_size=2, unique=True),
        "binds": st.lists(
            st.tuples(st.sampled_from(("/srv/a", "/etc", "/var/run/docker.sock", "/srv/with space")), st.booleans()),
            max_size=2,
            unique_by=lambda bind: bind[0],
        ),
        "volume": st.booleans(),
        "devices": st.lists(st.sampled_from(sorted(DEVICES)), max_size=1),
        "read_only": st.booleans(),
        "security": st.lists(
            st.sampled_from(("no-new-privileges:true", "seccomp:unconfined", "systempaths=unconfined")), max_size=2, unique=True
        ),
        "sysctls": st.sampled_from(({}, {"net.ipv4.tcp_rmem": "1"}, {"kernel.msgmax": "65536"})),
        "parent": st.sampled_from(("", "/mine")),
    }
)


def as_create(box: dict[str, Any]) -> dict[str, Any]:
    modes = {"net": "NetworkMode", "pid": "PidMode", "ipc": "IpcMode", "uts": "UTSMode"}
    binds = [f"{source}:/m{number}{':ro' if read_only else ''}" for number, (source, read_only) in enumerate(box["binds"])]
    return {
        "Image": "same",
        "User": box["user"],
        "HostConfig": {
            "GroupAdd": box["groups"],
            "CapAdd": box["add"],
            "CapDrop": box["drop"],
            "Privileged": box["privileged"],
            "Binds": binds + (["cache:/cache"] if box["volume"] else []),
            "Devices": [{"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in box["devices"]],
            "ReadonlyRootfs": box["read_only"],
            "SecurityOpt": box["security"],
            "Sysctls": box["sysctls"],
            "CgroupParent": box["parent"],
            **{modes[name]: "host" for name in box["host"]},
        },
    }


def as_compose(box: dict[str, Any]) -> str:
    keys = {"net": "network_mode", "pid": "pid", "ipc": "ipc", "uts": "uts"}
    service = {
        "image": "same",
        "user": box["user"],
        "group_add": box["groups"],
        "cap_add": [f"CAP_{name}" for name in box["add"]],
        "cap_drop": box["drop"],
        "privileged": box["privileged"],
        "volumes": [
            {"type": "bind", "source": source, "target": f"/m{number}", "read_only": read_only}
            for number, (source, read_only) in enumerate(box["binds"])
        ]
        + (["cache:/cache"] if box["volume"] else []),
        "devices": [f"{path}:{path}" for path in box["devices"]],
        "read_only": box["read_only"],
        "security_opt": box["security"],
        "sysctls": box["sysctls"],
        "cgroup_parent": box["parent"],
        **{keys[name]: "host" for name in box["host"]},
    }
    return json.dumps({"services": {"same": {key: value for key, value in service.items() if value not in ("", [], {})}}})


def as_line(box: dict[str, Any]) -> list[str]:
    words = ["docker", "run", "-u", box["user"]]
    words += [word for name in box["add"] for word in ("--cap-add", name)]
    words += [word for name in box["drop"] for word in ("--cap-drop", name)]
    words += [word for name in box["groups"] for word in ("--group-add", name)]
    words += [f"--{name}=host" for name in box["host"]]
    for number, (source, read_only) in enumerate(box["binds"]):
        words += ["--mount", f"type=bind,src={source},dst=/m{number}" + (",readonly" if read_only else "")]
    words += ["-v", "cache:/cache"] if box["volume"] else []
    words += [f"--device={path}" for path in box["devices"]]
    words += [word for option in box["security"] for word in ("--security-opt", option)]
    words += [f"--sysctl={name}={value}" for name, value in box["sysctls"].items()]
    words += ["--read-only"] if box["read_only"] else []
    words += ["--privileged"] if box["privileged"] else []
    words += ["--cgroup-parent", box["parent"]] if box["parent"] else []
    return [*words, "same", "sleep", "1"]


def as_inspect(box: dict[str, Any]) -> dict[str, Any]:
    """What the engine says: defaults written out, paths lists emptied where nothing is masked, mounts as they were made."""
    asked = as_create(box)
    found: dict[str, Any] = copy.deepcopy(INSPECT)
    found["HostConfig"] |= {key: value or None for key, value in asked["HostConfig"].items() if isinstance(value, list)}
    found["HostConfig"] |= {key: value for key, value in asked["HostConfig"].items() if not isinstance(value, list)}
    found["HostConfig"]["CgroupnsMode"] = "private"
    if box["privileged"] or "systempaths=unconfined" in box["security"]:
        found["HostConfig"] |= {
            "MaskedPaths": None if box["privileged"] else [],
            "ReadonlyPaths": None if box["privileged"] else [],
        }
    found["Config"] |= {"User": box["user"], "Image": "same"}
    found["Mounts"] = [
        {
            "Type": "bind",
            "Source": source,
            "Destination": f"/m{number}",
            "Mode": "",
            "RW": not read_only,
            "Propagation": "rprivate",
        }
        for number, (source, read_only) in enumerate(box["binds"])
    ]
    if box["volume"]:
        path = "/var/lib/docker/volumes/cache/_data"
        found["Mounts"].append(
            {"Type": "volume", "Name": "cache", "Source": path, "Destination": "/cache", "Driver": "local", "RW": True}
        )
    return found


def as_config(box: dict[str, Any]) -> dict[str, Any]:
    """What the runtime is given: numbers, final capabilities, rules for devices."""
    found: dict[str, Any] = copy.deepcopy(CONFIG)
    linux, process = found["linux"], found["process"]
    uid, _, gid = box["user"].partition(":")
    process["user"] = {"uid": int(uid), "gid": int(gid or uid), "additionalGids": [int(gid or uid), *map(int, box["groups"])]}
    caps = set(DEFAULT_CAPABILITIES)
    caps = (set() if "ALL" in box["drop"] else caps - set(box["drop"])) | set(box["add"])
    if box["privileged"]:
        caps = set(ALL_CAPABILITIES)
    process["capabilities"] = {kind: sorted(f"CAP_{name}" for name in caps) for kind in ("bounding", "effective", "permitted")}
    process["noNewPrivileges"] = "no-new-privileges:true" in box["security"]
    found["root"]["readonly"] = box["read_only"]
    gone = {NAMESPACES[name] for name in box["host"]}
    linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] not in gone] + [{"type": "cgroup"}]
    for number, (source, read_only) in enumerate(box["binds"]):
        options = ["rbind", "ro" if read_only else "rw", "rprivate"]
        found["mounts"].append({"destination": f"/m{number}", "type": "bind", "source": source, "options": options})
    if box["volume"]:
        path = "/var/lib/docker/volumes/cache/_data"
        found["mounts"].append({"destination": "/cache", "type": "bind", "source": path, "options": ["rbind", "rprivate"]})
    for path in box["devices"]:
        kind, major, minor = DEVICES[path]
        linux["devices"].append({"path": path, "type": kind, "major": major, "minor": minor})
        linux["resources"]["devices"].append({"allow": True, "type": kind, "major": major, "minor": minor, "access": "rwm"})
    linux["sysctl"] |= box["sysctls"]
    if "net" in box["host"]:
        linux["sysctl"] = dict(box["sysctls"])
    if box["privileged"]:
        linux["resources"]["devices"].append({"allow": True, "access": "rwm"})
    if box["privileged"] or "seccomp:unconfined" in box["security"]:
        del linux["seccomp"]
    if box["privileged"] or "systempaths=unconfined" in box["security"]:
        linux["maskedPaths"], linux["readonlyPaths"] = [], []
    if box["parent"]:
        linux["cgroupsPath"] = f"{box['parent']}/{IDENTIFIER}"
    return found


def as_pod(box: dict[str, Any]) -> dict[str, Any] | None:
    """The same as a pod, where a pod can say it."""
    if box["groups"] or box["devices"] or box["parent"] or "uts" in box["host"] or "systempaths=unconfined" in box["security"]:
        return None
    uid, _, gid = box["user"].partition(":")
    context = {
        "runAsUser": int(uid),
        **({"runAsGroup": int(gid)} if gid else {}),
        "privileged": box["privileged"],
        "capabilities": {"add": box["add"], "drop": box["drop"]},
        "readOnlyRootFilesystem": box["read_only"],
        **({"allowPrivilegeEscalation": False} if "no-new-privileges:true" in box["security"] else {}),
        **({"seccompProfile": {"type": "Unconfined"}} if "seccomp:unconfined" in box["security"] else {}),
    }
    mounts = [
        {"name": f"v{number}", "mountPath": f"/m{number}", "readOnly": read_only}
        for number, (_, read_only) in enumerate(box["binds"])
    ]
    volumes: list[Any] = [{"name": f"v{number}", "hostPath": {"path": source}} for number, (source, _) in enumerate(box["binds"])]
    keys = {"net": "hostNetwork", "pid": "hostPID", "ipc": "hostIPC"}
    spec = {
        "containers": [{"name": "same", "image": "same", "securityContext": context, "volumeMounts": mounts}],
        "volumes": volumes,
        "securityContext": {"sysctls": [{"name": name, "value": value} for name, value in box["sysctls"].items()]},
        **{keys[name]: True for name in box["host"]},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "same"}, "spec": spec}


def needs(spec: Spec) -> set[str]:
    return {str(need.privilege) for need in needed(spec, BASELINE)}


def effective(spec: Spec) -> frozenset[str]:
    if spec.privileged:
        return ALL_CAPABILITIES
    added, dropped = set(spec.capabilities_add), set(spec.capabilities_drop)
    return frozenset((set() if "ALL" in dropped else DEFAULT_CAPABILITIES - dropped) | added)


ENGINE = oci_runtime.Engine(container=IDENTIFIER)
READERS: dict[str, Callable[[dict[str, Any]], Spec]] = {
    "compose": lambda box: compose.extract(documents(as_compose(box))[0])[0],
    "line": lambda box: docker_create.extract(docker_line.parse(as_line(box)).body),
    "inspect": lambda box: docker_inspect.extract(as_inspect(box)),
    "config": lambda box: oci_runtime.extract(as_config(box), ENGINE),
}


@given(CONTAINERS)
@settings(max_examples=200)
def test_every_format_needs_the_same(box: dict[str, Any]) -> None:
    """Whoever reads the container, wherever, finds the same privileges, the same user and the same capabilities."""
    asked = docker_create.extract(as_create(box))
    for name, read in READERS.items():
        found = read(box)
        assert needs(found) == needs(asked), name
        assert (found.uid, effective(found)) == (asked.uid, effective(asked)), name
        assert bool(found.no_new_privileges) == bool(asked.no_new_privileges), name
        assert bool(found.read_only_root) == bool(asked.read_only_root), name
        assert {(m.kind, m.source, m.target, m.read_only) for m in found.mounts} == {
            (m.kind, m.source, m.target, m.read_only) for m in asked.mounts
        }, name


@given(CONTAINERS)
@settings(max_examples=100)
def test_a_pod_needs_the_same(box: dict[str, Any]) -> None:
    """A pod that can say it asks for the same, from text and from an AdmissionReview alike."""
    pod = as_pod(box)
    if pod is None:
        return
    (spec,) = kubernetes.extract_object(pod)
    asked = docker_create.extract(as_create(box))
    assert needs(spec) == needs(asked)
    assert (spec.uid, effective(spec)) == (asked.uid, effective(asked))
