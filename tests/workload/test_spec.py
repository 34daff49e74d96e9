"""Compose files and pods become the same Spec, with places, and hostile YAML ends in an error of ours."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique._kit.yamltree import documents
from pratique.model.errors import BudgetExceededError, ParseError, PratiqueError
from pratique.workload import compose, kubernetes
from pratique.workload.spec import Spec, is_root

COMPOSE = """services:
  web:
    image: a:1
    user: "1000:2000"
    privileged: true
    cap_add: [cap_sys_admin]
    cap_drop: [ALL]
    network_mode: host
    pid: host
    read_only: true
    security_opt: [no-new-privileges, "seccomp=unconfined", "apparmor:mine"]
    volumes: ["/srv:/data:ro", "cache:/cache"]
    ports: ["127.0.0.1:8080:80"]
    environment: {A: "1"}
    mem_limit: 1g
"""
POD = """apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  hostNetwork: true
  hostPID: true
  securityContext: {runAsUser: 5, runAsGroup: 2000, runAsNonRoot: true, seccompProfile: {type: Unconfined}}
  volumes:
  - {name: srv, hostPath: {path: /srv}}
  - {name: cache, emptyDir: {}}
  containers:
  - name: web
    image: a:1
    securityContext:
      runAsUser: 1000
      privileged: true
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {add: [SYS_ADMIN], drop: [ALL]}
      appArmorProfile: {type: Localhost, localhostProfile: mine}
    volumeMounts:
    - {name: srv, mountPath: /data, readOnly: true}
    - {name: cache, mountPath: /cache}
    ports: [{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}]
    env: [{name: A, value: "1"}]
    resources: {limits: {memory: 1g}}
"""


def one_compose() -> Spec:
    """Return the service."""
    (spec,) = compose.extract(documents(COMPOSE)[0])
    return spec


def one_pod() -> Spec:
    """Return the container."""
    (spec,) = kubernetes.extract(documents(POD))
    return spec


def test_the_same_container_is_the_same_spec() -> None:
    """A service and a pod that ask for the same agree on all that both can say."""
    left, right = one_compose(), one_pod()
    for name in (
        "image", "user", "group", "privileged", "capabilities_add", "capabilities_drop", "host_namespaces", "read_only_root",
        "no_new_privileges", "seccomp", "apparmor", "memory_limit",
    ):  # fmt: skip
        assert getattr(left, name) == getattr(right, name), name
    mounts = [[(m.kind, m.source, m.target, m.read_only) for m in spec.mounts] for spec in (left, right)]
    assert mounts[0] == mounts[1] == [("bind", "/srv", "/data", True), ("volume", "cache", "/cache", False)]
    assert [(p.container, p.host, p.address) for p in left.ports] == [(p.container, p.host, p.address) for p in right.ports]
    assert [(v.name, v.value) for v in left.environment] == [(v.name, v.value) for v in right.environment] == [("A", "1")]


def test_what_compose_binds_beside_volumes() -> None:
    """The engine's socket, and secrets and configs that are files of the machine; what lies beside the file is the project's."""
    text = """services:
  web:
    image: a
    use_api_socket: true
    secrets: [shadow, own]
    configs: [{source: hosts, target: /x}]
    post_start: [{command: id, user: root}, {command: id}]
secrets: {shadow: {file: /etc/shadow}, own: {file: ./own.txt}}
configs: {hosts: {file: ../hosts}}
"""
    (spec,) = compose.extract(documents(text)[0])
    assert [(m.kind, m.source, m.target, m.read_only, m.place.line) for m in spec.mounts] == [
        ("bind", "/var/run/docker.sock", "/var/run/docker.sock", False, 4),
        ("bind", "/etc/shadow", "/run/secrets/shadow", True, 5),
        ("bind", "../hosts", "/x", True, 6),
    ]
    assert spec.unknown == ("a post_start hook that runs as root",)
    assert spec.at("unknown").line == 7


def test_places() -> None:
    """Each attribute says where it stands."""
    assert (one_compose().place, one_compose().at("privileged"), one_compose().at("seccomp")) == ((2, 3), (5, 5), (11, 39))
    pod = one_pod()
    assert (pod.place, pod.at("user"), pod.at("group"), pod.at("host_net")) == ((12, 5), (15, 7), (7, 35), (5, 3))


def test_container_overrules_pod() -> None:
    """What a container says goes before what its pod says; what neither says is None."""
    pod = one_pod()
    assert (pod.user, pod.run_as_non_root, pod.cpu_limit) == ("1000", True, None)


@pytest.mark.parametrize("user", ["root", "0", "00", "+0", "-0", "0:1000", " 0 "])
def test_root(user: str) -> None:
    """The many names of root."""
    assert is_root(user)


@pytest.mark.parametrize("user", ["", None, "1000:0", "rootless", "10", "-", "+", "$U"])
def test_not_root(user: str | None) -> None:
    """What is not certainly root."""
    assert not is_root(user)


def test_what_is_not_read_is_said() -> None:
    """Parts of other files."""
    (document,) = documents("include: [a.yaml]\nservices:\n  a:\n    extends: {file: b.yaml, service: x}\n  b: {extends: a}\n")
    assert [what for _, what in compose.unresolved(document)] == ["include", "service a extends a service of b.yaml"]


def test_templates() -> None:
    """Pods are found in every object that holds a template, and in lists."""
    template = "{spec: {initContainers: [{name: i}], containers: [{name: c}], ephemeralContainers: [{name: e}]}}"
    text = "\n---\n".join(
        (
            f"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d, namespace: n}}, spec: {{template: {template}}}}}",
            f"{{apiVersion: batch/v1, kind: CronJob, spec: {{jobTemplate: {{spec: {{template: {template}}}}}}}}}",
            f"{{apiVersion: v1, kind: PodTemplate, template: {template}}}",
            f"{{apiVersion: v1, kind: List, items: [{{apiVersion: x/v1, kind: Rollout, spec: {{template: {template}}}}}]}}",
            "{apiVersion: v1, kind: ConfigMap, data: {}}",
        )
    )
    specs = kubernetes.extract(documents(text))
    assert len(specs) == 12
    assert [spec.subject for spec in specs[:2]] == ["Deployment n/d, init container i", "Deployment n/d, container c"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1000,
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
        "x: &x {" + ",".join(f"k{n}: 1" for n in range(1000)) + "}\n" + "".join(f"s{n}:\n  <<: *x\n" for n in range(450)),
        "---\n" * 2500,
    ],
)
def test_bombs(text: str) -> None:
    """Depth, references and documents have limits."""
    with pytest.raises(BudgetExceededError):
        documents(text)


@pytest.mark.parametrize("text", ["a: [", "a: &a [*a]", "a: *b", "\x00", "a: b: c", "%YAML 9.9\n---\na"])
def test_what_is_no_yaml(text: str) -> None:
    """It is refused, with the line."""
    with pytest.raises(ParseError):
        documents(text)


_WORDS = st.sampled_from(
    ["services:", "apiVersion: v1", "kind: Pod", "kind: List", "spec:", "containers:", "- name: a", "image: b",
     "privileged: true", "securityContext:", "volumes:", "- /:/x", "ports:", "- 80", "items:",
     "environment:", "- A=b", "user: 0", "<<: *a", "&a",
     "*a", "---", "user: [x]", "cap_add: x", "null", "{}", "[]"]
)  # fmt: skip
_LINES = st.lists(st.tuples(st.integers(0, 4), _WORDS), max_size=20)


@settings(max_examples=150)
@given(_LINES.map(lambda lines: "\n".join("  " * depth + word for depth, word in lines)) | st.text(max_size=80))
def test_any_yaml(text: str) -> None:
    """Any text ends in Specs or an error of ours."""
    try:
        nodes = documents(text)
        for node in nodes:
            compose.extract(node)
            list(compose.unresolved(node))
        kubernetes.extract(nodes)
    except PratiqueError:
        return
