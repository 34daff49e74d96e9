"""A line that people type is read as the request that the client would make of it."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.model.errors import UsageError
from pratique.workload import docker_create
from pratique.workload.docker_line import Line, parse
from pratique.workload.spec import Spec


def line(text: str) -> Line:
    return parse(shlex.split(text), "/home/me")


def spec(text: str) -> Spec:
    return docker_create.extract(line(f"docker run {text} image:1 sh -c id").body)


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ("-u 0", "uid", 0),
        ("-u0:0", "gid", 0),
        ("--user=app:staff", "group", "staff"),
        ("--privileged", "privileged", True),
        ("--privileged=true", "privileged", True),
        ("--privileged=false", "privileged", False),
        ("--cap-add NET_ADMIN --cap-add=cap_sys_admin", "capabilities_add", ("NET_ADMIN", "SYS_ADMIN")),
        ("--cap-drop ALL", "capabilities_drop", ("ALL",)),
        ("--net host --pid=host", "host_namespaces", ("net", "pid")),
        ("--userns host --uts host --ipc host --cgroupns host", "host_namespaces", ("ipc", "uts", "user", "cgroup")),
        ("--network container:abc", "joins", ("net:abc",)),
        ("--volumes-from other:ro", "joins", ("volumes:other",)),
        ("--security-opt seccomp=unconfined", "seccomp", "unconfined"),
        ("--security-opt seccomp=/tmp/mine.json", "seccomp", "custom"),
        ("--security-opt no-new-privileges", "no_new_privileges", True),
        ("--read-only", "read_only_root", True),
        ("--sysctl kernel.core_pattern=x", "sysctls", {"kernel.core_pattern": "x"}),
        ("--runtime runsc", "runtime", "runsc"),
        ("--restart on-failure:3", "restart", "on-failure"),
        ("-l a=b --label c=d", "labels", {"a": "b", "c": "d"}),
        ("--group-add 0", "groups", ("0",)),
        ("--cgroup-parent /x", "cgroup_parent", "/x"),
        ("-itd --rm --name=x -m 512m -w /a -h b", "memory_limit", "512"),
        ("-it -u 0", "uid", 0),
        ("-itu 0", "uid", 0),
        ("-itu0", "uid", 0),
        ("--annotation run.oci.handler=x", "annotations", {"run.oci.handler": "x"}),
    ],
)
def test_options(text: str, attribute: str, value: Any) -> None:
    """Each spelling of an option is what the engine makes of it."""
    found = spec(text)
    assert getattr(found, attribute) == value
    assert (found.image, found.command) == ("image:1", ("sh", "-c", "id"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-v /srv:/data", ("bind", "/srv", "/data", False)),
        ("-v /srv:/data:ro", ("bind", "/srv", "/data", True)),
        ("-v ./a:/data", ("bind", "/home/me/./a", "/data", False)),
        ("-v ..:/data", ("bind", "/home/me/..", "/data", False)),
        ("-v cache:/data", ("volume", "cache", "/data", False)),
        ("-v /data", ("volume", "", "/data", False)),
        ("--mount type=bind,src=/srv,dst=/data,readonly", ("bind", "/srv", "/data", True)),
        ("--mount type=bind,source=./x,target=/data", ("bind", "/home/me/./x", "/data", False)),
        ("--mount source=v,target=/data", ("volume", "v", "/data", False)),
        (
            "--mount type=volume,dst=/d,volume-opt=type=none,volume-opt=device=/etc,volume-opt=o=bind",
            ("bind", "/etc", "/d", False),
        ),
        ("--tmpfs /tmp:rw", ("tmpfs", "", "/tmp:rw", False)),
        ("--use-api-socket", ("bind", "/var/run/docker.sock", "/var/run/docker.sock", False)),
    ],
)
def test_mounts(text: str, wanted: tuple[str, str, str, bool]) -> None:
    """Paths begin where the person is, names are volumes, and a volume may be a path in disguise."""
    (mount,) = spec(text).mounts
    assert (mount.kind, mount.source, mount.target, mount.read_only) == wanted


def test_devices_and_ports() -> None:
    """Nodes, drivers and what is published."""
    found = spec(
        "--device /dev/kvm:/dev/kvm:rw --device-cgroup-rule 'c 1:* rwm' --gpus all -p 127.0.0.1:80:8080 -p [::1]:443:443 -p 90"
    )
    assert [device.path for device in found.devices] == ["/dev/kvm", "c 1:* rwm", "/dev/gpu"]
    assert [(port.container, port.host, port.address) for port in found.ports] == [
        ("8080", 80, "127.0.0.1"), ("443", 443, "::1"), ("90", 0, ""),
    ]  # fmt: skip


def test_other_commands() -> None:
    """Exec, attach, cp and build are told apart from run, under all their names."""
    ran = line("docker container exec -it -u root --privileged web sh -c id")
    assert (ran.verb, ran.name, ran.body["User"], ran.body["Privileged"]) == ("exec", "web", "root", True)
    assert ran.command == ("sh", "-c", "id")
    assert line("podman attach web").name == "web"
    assert line("docker cp a.txt web:/x") == Line("copy", {}, "web", write=True)
    assert line("docker cp -a web:/x ./y").write is False
    assert line("docker buildx build -t a:1 --network host --pull .").insecure
    assert not line("docker build -t a:1 --build-arg X=1 .").insecure
    assert line("docker create image:1").verb == "run"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("docker", "docker: not a line"),
        ("docker ps", "ps"),
        ("docker run", "names no image"),
        ("docker run --rm", "names no image"),
        ("docker run --unheard-of x image", "--unheard-of"),
        ("docker run -u", "needs a value"),
        ("docker run -Z image", "-Z"),
        ("docker exec", "names no container"),
        ("docker cp a", "source and a destination"),
        ("docker cp ./a ./b", "between a container"),
    ],
)
def test_what_is_not_understood_is_said(text: str, said: str) -> None:
    """A guess would be no answer."""
    with pytest.raises(UsageError) as error:
        line(text)
    assert said in str(error.value)


@given(
    st.lists(
        st.sampled_from(("run", "exec", "cp", "build", "-u", "--privileged", "-v", "a:b", "--mount", "=", "-it", "--", "-", "x"))
        | st.text(max_size=6)
    )
)
@settings(max_examples=200)
def test_any_words_end_in_a_line_or_one_sentence(words: list[str]) -> None:
    """Nothing but UsageError comes of any words."""
    try:
        found = parse(["docker", *words])
    except UsageError:
        return
    if found.verb == "run":
        docker_create.extract(found.body)
