"""Two readers of the Pod Security Standards agree: the one of files, with places, and the one of the gate, without."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.lint.checks import podsecurity
from pratique.lint.run import lint
from pratique.workload.pss import violations

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
VERSIONS = [(1, minor) for minor in (25, 27, 29, 31, 32, 34, 35, 37)]
CAPABILITIES = st.lists(st.sampled_from(["ALL", "CHOWN", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"]), max_size=2)
SECCOMP = st.sampled_from(
    [{"type": "RuntimeDefault"}, {"type": "Unconfined"}, {"type": "Localhost", "localhostProfile": "a.json"}]
)
APPARMOR = st.sampled_from([{"type": "RuntimeDefault"}, {"type": "Unconfined"}, {"type": "Localhost", "localhostProfile": "a"}])
SELINUX = st.sampled_from(
    [{"type": "container_t"}, {"type": "container_engine_t"}, {"type": "spc_t"}, {"user": "u"}, {"level": "s0"}]
)
WINDOWS = st.fixed_dictionaries({"hostProcess": st.booleans()})
SHARED = {
    "runAsNonRoot": st.booleans(),
    "runAsUser": st.sampled_from([0, 1, 10001]),
    "seccompProfile": SECCOMP,
    "appArmorProfile": APPARMOR,
    "seLinuxOptions": SELINUX,
    "windowsOptions": WINDOWS,
}
OWN = SHARED | {
    "privileged": st.booleans(),
    "allowPrivilegeEscalation": st.booleans(),
    "procMount": st.sampled_from(["Default", "Unmasked"]),
    "capabilities": st.fixed_dictionaries({}, optional={"add": CAPABILITIES, "drop": CAPABILITIES}),
}
SYSCTLS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(
                [
                    "kernel.msgmax",
                    "net.ipv4.ip_local_reserved_ports",
                    "net.ipv4.ip_unprivileged_port_start",
                    "net.ipv4.tcp_fin_timeout",
                    "net.ipv4.tcp_rmem",
                ]
            ),
            "value": st.just("1"),
        }
    ),
    max_size=2,
)
PROBE = st.sampled_from(
    [{"httpGet": {"port": 1}}, {"httpGet": {"port": 1, "host": "192.0.2.1"}}, {"tcpSocket": {"port": 1, "host": "x"}}]
)
CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(["c", "d"]), "image": st.just("a:1")},
    optional={
        "securityContext": st.fixed_dictionaries({}, optional=OWN),
        "ports": st.lists(
            st.fixed_dictionaries({"containerPort": st.just(80)}, optional={"hostPort": st.sampled_from([0, 80])}), max_size=2
        ),
        "livenessProbe": PROBE,
        "lifecycle": st.fixed_dictionaries({}, optional={"preStop": PROBE}),
    },
)
VOLUMES = st.lists(
    st.sampled_from(
        [
            {"name": "a", "emptyDir": {}},
            {"name": "b", "hostPath": {"path": "/"}},
            {"name": "c", "nfs": {"server": "s", "path": "/"}},
            {"name": "d", "image": {"reference": "a"}},
            {"name": "e", "csi": {"driver": "d"}},
        ]
    ),
    max_size=2,
)
SPEC = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINER, min_size=1, max_size=2)},
    optional={
        "initContainers": st.lists(CONTAINER, max_size=1),
        "ephemeralContainers": st.lists(CONTAINER, max_size=1),
        "securityContext": st.fixed_dictionaries({}, optional=SHARED | {"sysctls": SYSCTLS}),
        "hostNetwork": st.booleans(),
        "hostPID": st.booleans(),
        "hostUsers": st.booleans(),
        "volumes": VOLUMES,
        "os": st.fixed_dictionaries({"name": st.sampled_from(["linux", "windows"])}),
    },
)
ANNOTATIONS = st.sampled_from([{}, {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}, {"a": "b"}])


def found(pod: dict[str, Any], version: tuple[int, int]) -> set[str]:
    """Return the controls that a file with this pod offends."""
    result = lint("pod.yaml", json.dumps(pod).encode(), NOW, version)
    assert not result.gaps
    return {finding.id for finding in result.findings}


@settings(max_examples=150)
@given(SPEC, ANNOTATIONS, st.sampled_from(VERSIONS))
def test_files_and_gate_decide_alike(spec: dict[str, Any], annotations: dict[str, str], version: tuple[int, int]) -> None:
    """A pod that the gate refuses by a level has findings of that level in its file, and the other way round."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": annotations}, "spec": spec}
    ids = found(pod, version)
    baseline = ids & podsecurity.BASELINE.keys()
    restricted = ids & (podsecurity.BASELINE.keys() | podsecurity.RESTRICTED.keys())
    assert bool(baseline) == bool(violations(pod, "baseline", version)), (baseline, violations(pod, "baseline", version))
    # For Windows, restricted replaces two checks of baseline by ones that pass such pods over; the fields are not valid there.
    if not (baseline and spec.get("os") == {"name": "windows"}):
        assert bool(restricted) == bool(violations(pod, "restricted", version)), (
            restricted,
            violations(pod, "restricted", version),
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_that_keeps_all_is_clean(version: tuple[int, int]) -> None:
    """The restricted profile's own example, in every version."""
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    shared = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"securityContext": shared, "containers": [{"name": "c", "image": "a:1", "securityContext": own}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    assert not [name for name in found(pod, version) if name.startswith("pss-")]
    assert not violations(pod, "restricted", version)
