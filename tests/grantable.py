"""Strategies for what asks to run, what is granted, and the moments in between."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from granted import ALICE, BOB, CONTAINER, DIGEST
from pratique.grant.privileges import NAMESPACES, UNCONFINED, parse
from pratique.grant.request import ACTIONS, Request, Target
from pratique.model.privilege import Moment, Scope, Subject
from pratique.workload.docker_create import HERE
from pratique.workload.spec import Device, Mount, Port, Spec

OTHER_DIGEST = "sha256:" + "b" * 64
ANY = st.text(max_size=12)  # surrogates included: a request may hold anything
PATHS = st.sampled_from(
    ("/", "/srv/data", "/srv/data/x", "/srv/data/../etc", "/proc/1/root", "/var/run/docker.sock", "./a", "~/b")
)
CAPS = st.sampled_from(("NET_ADMIN", "SYS_ADMIN", "NET_BIND_SERVICE", "ALL"))

# One option of a container each, and what it is in a Spec.
MOUNT = st.builds(
    lambda source, read_only, shared: Mount(
        kind="bind", source=source, target="/x", read_only=read_only, propagation="shared" if shared else "", place=HERE
    ),
    PATHS,
    st.booleans(),
    st.booleans(),
)
SPECS = st.builds(
    lambda given, user: Spec(format="docker-create", subject="container", place=HERE, **given, **user),
    st.fixed_dictionaries(
        {},
        optional={
            "privileged": st.booleans(),
            "capabilities_add": st.lists(CAPS, max_size=2, unique=True).map(tuple),
            "host_namespaces": st.lists(st.sampled_from(NAMESPACES), max_size=2, unique=True).map(tuple),
            "mounts": st.lists(MOUNT, max_size=2).map(tuple),
            "devices": st.lists(
                st.sampled_from(("/dev/kvm", "/dev/fuse", "c 188:* rwm")).map(lambda path: Device(path, HERE)), max_size=2
            ).map(tuple),
            "no_new_privileges": st.sampled_from((None, True, False)),
            "seccomp": st.sampled_from((None, "unconfined", "custom")),
            "apparmor": st.sampled_from((None, "unconfined", "mine")),
            "masked_paths": st.booleans(),
            "ports": st.lists(
                st.sampled_from((0, 80, 8080)).map(lambda port: Port(container="80", host=port, place=HERE)), max_size=1
            ).map(tuple),
            "joins": st.lists(st.sampled_from(("pid:abc", "volumes:other")), max_size=1).map(tuple),
            "sysctls": st.sampled_from(({}, {"kernel.core_pattern": "|/x"}, {"net.ipv4.tcp_rmem": "1"})),
            "cgroup_parent": st.sampled_from((None, "/mine")),
            "runtime": st.sampled_from((None, "runc", "mine")),
            "restart": st.sampled_from((None, "no", "always")),
            "user_namespace": st.sampled_from((None, True)),
        },
    ),
    st.sampled_from(
        (
            {"user": "1000", "uid": 1000},
            {"user": "0", "uid": 0},
            {},
            {"user": "app"},
            {"user": "1", "uid": 1},
            {"user": "1000", "uid": 1000, "group": "0", "gid": 0},
            {"user": "1000", "uid": 1000, "groups": ("0",)},
        )
    ),
)
SMALLER = (
    "privileged", "capabilities_add", "host_namespaces", "mounts", "devices", "seccomp", "apparmor", "ports", "joins", "sysctls",
    "cgroup_parent", "runtime", "restart", "masked_paths",
)  # fmt: skip

PRIVILEGES = st.sampled_from(
    (
        "run.root", "run.privileged", "run.cap:NET_ADMIN", "run.cap:ALL", *(f"run.hostns:{name}" for name in NAMESPACES),
        "run.mount:/srv/**:rw", "run.mount:/srv/data:ro", "run.mount:/**:rw", "run.device:/dev/kvm", "run.device:/**",
        *(f"run.unconfined:{name}" for name in UNCONFINED), "run.hostport:80", "run.hostport:*", "run.uid:1", "run.group:0",
        "run.sysctl:**", "run.propagation:shared", "run.namespace-of:**", "run.cgroup-parent:**", "run.runtime:mine",
        "run.new-privileges", "run.image:**@sha256:" + "b" * 64, "exec.any", "exec.root", "exec.privileged", "attach", "cp.write",
        "build.run", "build.insecure", "debug.ephemeral", "engine.admin", "registry.push:reg/**",
    )
)  # fmt: skip
SCOPES = st.one_of(
    st.just(Scope()),
    st.builds(
        Scope,
        points=st.sampled_from(((), ("docker",), ("kubernetes",))),
        namespaces=st.sampled_from(((), ("team-*",), ("team-a",), ("other", "team-a"))),
        container=st.sampled_from(("", CONTAINER)),
        images=st.sampled_from(((), (DIGEST,), (OTHER_DIGEST,))),
        uid=st.sampled_from((0, 0, 1000)),
        capabilities=st.sampled_from((None, None, ("NET_ADMIN",))),
        labels=st.sampled_from(({}, {"tier": "web"})),
    ),
)
SUBJECTS = st.sampled_from(
    (
        ALICE,
        BOB,
        None,
        Subject(id="alice", provider="claimed"),
        Subject(id="ALICE", provider="unix", strength=1),
        Subject(id="robot", kind="robot", provider="k8s", strength=2, owner="alice"),
    )
)
TARGETS = st.builds(
    Target,
    namespace=st.sampled_from(("", "team-a", "other")),
    container=st.sampled_from(("", CONTAINER)),
    reference=st.sampled_from(("reg.example/app:1", "reg/app", "")),
    digest=st.sampled_from(("", DIGEST, OTHER_DIGEST)),
    owner=st.sampled_from(("", "oidc:alice", "unix:root")),
    labels=st.sampled_from(({}, {"tier": "web"})),
    root=st.sampled_from((None, True, False)),
    privileged=st.booleans(),
)
REQUESTS: st.SearchStrategy[Request] = st.builds(
    Request,
    subject=st.one_of(st.just(ALICE), SUBJECTS),
    action=st.one_of(st.just("run"), st.sampled_from(ACTIONS)),
    point=st.sampled_from(("docker", "kubernetes", "prompt")),
    target=TARGETS,
    spec=st.one_of(SPECS, st.none()),
    write=st.booleans(),
    insecure=st.booleans(),
)
LISTS = st.lists(PRIVILEGES, min_size=1, max_size=4, unique=True).map(tuple)


def shifted(now: Moment, wall: float, boot: float) -> Moment:
    return Moment(now.wall + wall, now.boot + boot, now.boot_id)


def covers_all(have: Any, want: Any) -> bool:
    from pratique.grant.privileges import covered

    return all(covered([parse(str(one)) for one in have], one) for one in want)
