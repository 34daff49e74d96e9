"""The Pod Security Standards: two readings of them agree on thousands of pods, and with a real API server where one is at hand.

`workload.pss` decides for the gate on decoded JSON; `lint.checks.podsecurity` finds places in files for people. They were written
apart, from the standard and from what the API server's own admission does, so that a slip in one shows.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

import podmaking
from pratique._kit.yamltree import documents
from pratique.enforce.kubernetes.podsecurity import denials, parse_standard, standard_of
from pratique.grant.privileges import parse_all
from pratique.lint.checks import podsecurity
from pratique.model.errors import UsageError
from pratique.workload import kubernetes, pss
from reviewing import pod

PODS = 3_000
VERSIONS: tuple[pss.Version, ...] = ((1, 25), (1, 28), (1, 30), (1, 33), (1, 34), (1, 36), (1, 37))
# The lint's names of the standard's controls, by the API server's; `restricted` has some instead of those of `baseline`.
NAMES = {
    "pss-host-process": "windowsHostProcess", "pss-host-namespaces": "hostNamespaces", "pss-privileged": "privileged",
    "pss-capabilities": "capabilities", "pss-capabilities-dropped": "capabilities", "pss-host-path": "volumes",
    "pss-volumes": "volumes", "pss-host-ports": "hostPorts", "pss-host-probes": "hostProbesAndHostLifecycle",
    "pss-apparmor": "appArmorProfile", "pss-selinux": "seLinuxOptions", "pss-proc-mount": "procMount",
    "pss-proc-mount-always": "procMount", "pss-seccomp": "seccompProfile", "pss-seccomp-set": "seccompProfile",
    "pss-sysctls": "sysctls", "pss-escalation": "allowPrivilegeEscalation",
    "pss-non-root": "runAsNonRoot", "pss-user": "runAsUser",
}  # fmt: skip
_SAME = {"hostPathVolumes": "volumes", "restrictedVolumes": "volumes", "procMount_restricted": "procMount"}


def controls(check: str) -> str:
    return _SAME.get(check, check.removesuffix("_baseline").removesuffix("_restricted"))


def by_lint(pod: dict[str, Any], level: str, version: pss.Version) -> set[str]:
    (found,) = kubernetes.pods(documents(json.dumps(pod)))
    checks = podsecurity.BASELINE | (podsecurity.RESTRICTED if level == "restricted" else {})
    return {NAMES[name] for name, check in checks.items() if any(True for _ in check(found, version))}


def by_gate(pod: dict[str, Any], level: pss.Level, version: pss.Version) -> set[str]:
    return {controls(one.check) for one in pss.violations(pod, level, version)}


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_two_readings_of_the_standards_agree(level: pss.Level) -> None:
    """The same controls are violated, on each pod, in each version; and the pods are no trivial ones."""
    counts = {True: 0, False: 0}
    seen: set[str] = set()
    for number in range(PODS):
        pod = podmaking.make(number)
        version = VERSIONS[number % len(VERSIONS)]
        gate, lint = by_gate(pod, level, version), by_lint(pod, level, version)
        assert gate == lint, (number, version, pod)
        counts[not gate] += 1
        seen |= gate
    assert min(counts.values()) > PODS / 20, counts
    expected = set(NAMES.values()) - (
        set() if level == "restricted" else {"allowPrivilegeEscalation", "runAsNonRoot", "runAsUser"}
    )
    assert seen == expected


def test_versions_bring_their_controls() -> None:
    """What changed from one version of the policy to the next changes there, and only there."""
    changes = {
        (1, 27): {"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports", "value": "1"}]},
        (1, 29): {"sysctls": [{"name": "net.ipv4.tcp_fin_timeout", "value": "1"}]},
        (1, 31): {"seLinuxOptions": {"type": "container_engine_t"}},
        (1, 32): {"sysctls": [{"name": "net.ipv4.tcp_wmem", "value": "1"}]},
        (1, 37): {"sysctls": [{"name": "net.ipv4.tcp_notsent_lowat", "value": "1"}]},
    }
    for since, context in changes.items():
        pod = {"metadata": {}, "spec": {"containers": [{"name": "c"}], "securityContext": context}}
        before = (since[0], since[1] - 1)
        assert pss.violations(pod, "baseline", before)
        assert not pss.violations(pod, "baseline", since)
    probe = {"metadata": {}, "spec": {"containers": [{"name": "c", "livenessProbe": {"tcpSocket": {"port": 1, "host": "h"}}}]}}
    assert [bool(pss.violations(probe, "baseline", (1, minor))) for minor in (33, 34)] == [False, True]
    users = {
        "metadata": {},
        "spec": {"hostUsers": False, "containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]},
    }
    assert [bool(pss.violations(users, "baseline", (1, minor))) for minor in (34, 35)] == [True, False]


def test_a_pod_that_restricted_admits_baseline_admits() -> None:
    """Restricted is baseline and more."""
    for number, version in itertools.product(range(0, PODS, 7), VERSIONS):
        pod = podmaking.make(number)
        if not pss.violations(pod, "restricted", version):
            assert not pss.violations(pod, "baseline", version), (number, version)


@pytest.mark.parametrize(
    ("spec", "context", "granted", "left"),
    [
        ({"hostPID": True}, {}, ("run.hostns:pid",), set()),
        ({"hostPID": True}, {}, ("run.root",), {"hostNamespaces"}),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/srv"}}]}, {}, ("run.mount:/srv/**:rw",), set()),
        ({"volumes": [{"name": "v", "nfs": {"server": "n", "path": "/"}}]}, {}, ("run.mount:/**:rw",), {"restrictedVolumes"}),
        ({}, {"capabilities": {"add": ["CHOWN"], "drop": ["ALL"]}}, ("run.cap:CHOWN",), set()),
        ({}, {"runAsNonRoot": False, "runAsUser": 0}, ("run.root",), set()),
        ({}, {"runAsNonRoot": False, "runAsUser": 0}, ("exec.root",), {"runAsNonRoot", "runAsUser"}),
        ({}, {"allowPrivilegeEscalation": True, "privileged": True}, ("run.privileged",), set()),
    ],
)
def test_a_grant_lifts_what_is_its_privilege_and_nothing_else(
    spec: dict[str, Any], context: dict[str, Any], granted: tuple[str, ...], left: set[str]
) -> None:
    """Restricted, with grants: what is left is what no grant stands for."""
    made = pod(spec, securityContext=context)
    found = denials([made], parse_standard("restricted"), parse_all(granted))
    assert {one.rule.rpartition(" ")[2] for one in found} == left


@pytest.mark.parametrize("text", ["", "strict", "=baseline", "restricted:2.0", "restricted:v1", "team-*=restricted:newest"])
def test_levels_that_are_none(text: str) -> None:
    """Said when the gate is started."""
    with pytest.raises(UsageError):
        parse_standard(text)


def test_the_first_level_that_matches_holds() -> None:
    """As written, from left to right; none is privileged, which forbids nothing."""
    standards = [parse_standard(text) for text in ("team-*=restricted:v1.30", "baseline")]
    assert standard_of(standards, "team-a")[1:] == ("restricted", (1, 30))
    assert standard_of(standards, "other")[1:] == ("baseline", pss.LATEST)
    assert standard_of(standards[:1], "other").level == "privileged"
