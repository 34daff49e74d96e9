"""A number in, a pod out: each has some of the fields that the Pod Security Standards look at, the same on every machine."""

from __future__ import annotations

import random
from typing import Any

# What each field may hold: what is usual, what is forbidden, and what looks alike.
_CAPABILITIES = (
    "ALL", "NET_BIND_SERVICE", "CHOWN", "SETPCAP", "NET_RAW", "SYS_ADMIN", "CAP_CHOWN", "chown", "AUDIT_WRITE", "MKNOD", "",
)  # fmt: skip
_SYSCTLS = (
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_slow_start_after_idle", "kernel.msgmax", "net/ipv4/tcp_rmem",
)  # fmt: skip
_VOLUMES: tuple[dict[str, Any], ...] = (
    {"emptyDir": {}}, {"hostPath": {"path": "/etc"}}, {"configMap": {"name": "c"}}, {"secret": {"secretName": "s"}},
    {"projected": {"sources": []}}, {"csi": {"driver": "d"}}, {"nfs": {"server": "n", "path": "/"}},
    {"gitRepo": {"repository": "r"}},
    {"ephemeral": {}}, {"downwardAPI": {}}, {"persistentVolumeClaim": {"claimName": "c"}}, {"image": {"reference": "i"}},
    {"iscsi": {"targetPortal": "t"}}, {},
)  # fmt: skip
_SELINUX = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t", "spc_t")
_PROFILES: tuple[dict[str, str], ...] = (
    {"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "p"}, {"type": "Unconfined"}, {"type": ""}, {},
)  # fmt: skip
_BOOLS = (True, False)
_APPARMOR = ("runtime/default", "localhost/p", "unconfined", "", "localhost", "runtime/other")


def make(number: int) -> dict[str, Any]:
    """Return pod number so-and-so."""
    chance = random.Random(number)
    careful = chance.random() < 0.6  # most fields right, so that one wrong one decides
    spec: dict[str, Any] = {"containers": [_container(chance, f"c{n}", careful) for n in range(chance.choice((1, 1, 1, 2)))]}
    for key in ("initContainers", "ephemeralContainers"):
        if chance.random() < 0.2:
            spec[key] = [_container(chance, key[0], careful)]
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if chance.random() < 0.06:
            spec[key] = chance.choice(_BOOLS)
    if chance.random() < 0.2:
        spec["hostUsers"] = chance.choice(_BOOLS)
    if chance.random() < 0.12:
        spec["os"] = {"name": chance.choice(("windows", "linux"))}
        if spec["os"]["name"] == "windows":
            _for_windows(spec)
    if chance.random() < (0.2 if careful else 0.5):
        spec["volumes"] = [{"name": f"v{n}", **chance.choice(_VOLUMES)} for n in range(chance.choice((1, 1, 2)))]
    if chance.random() < 0.5:
        context = _pod_context(chance, careful)
        kept = ("runAsNonRoot", "windowsOptions") if spec.get("os") == {"name": "windows"} else tuple(context)
        spec["securityContext"] = {key: value for key, value in context.items() if key in kept}
    metadata: dict[str, Any] = {"name": f"p{number}", "namespace": "default"}
    if chance.random() < 0.1:
        name = spec["containers"][0]["name"]
        metadata["annotations"] = {f"container.apparmor.security.beta.kubernetes.io/{name}": chance.choice(_APPARMOR)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _for_windows(spec: dict[str, Any]) -> None:
    """Leave out what an API server refuses of a pod for Windows before any standard is asked."""
    for key in ("hostPID", "hostIPC", "hostUsers"):
        spec.pop(key, None)
    for container in [one for key in ("containers", "initContainers", "ephemeralContainers") for one in spec.get(key, ())]:
        context = container.get("securityContext", {})
        container["securityContext"] = {key: context[key] for key in ("runAsNonRoot", "windowsOptions") if key in context}


def _shared(chance: random.Random, careful: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    rarely = 0.05 if careful else 0.2
    if chance.random() < (0.7 if careful else 0.4):
        made["runAsNonRoot"] = careful or chance.choice(_BOOLS)
    if chance.random() < (0.7 if careful else 0.4):
        made["seccompProfile"] = dict(_PROFILES[0] if careful else chance.choice(_PROFILES))
    if chance.random() < 0.3:
        made["runAsUser"] = 1000 if careful and chance.random() < 0.9 else chance.choice((0, 1, 1000))
    if chance.random() < rarely:
        options = {key: chance.choice(("", "x")) for key in ("user", "role", "level") if chance.random() < 0.3}
        made["seLinuxOptions"] = {"type": chance.choice(_SELINUX), **options}
    if chance.random() < rarely:
        made["appArmorProfile"] = dict(chance.choice(_PROFILES))
    if chance.random() < rarely:
        made["windowsOptions"] = {"hostProcess": chance.choice(_BOOLS)}
    return made


def _pod_context(chance: random.Random, careful: bool) -> dict[str, Any]:
    made = _shared(chance, careful)
    if chance.random() < (0.15 if careful else 0.3):
        made["sysctls"] = [{"name": chance.choice(_SYSCTLS), "value": "1"} for _ in range(chance.choice((1, 2)))]
    return made


def _container(chance: random.Random, name: str, careful: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "image": "i"}
    if chance.random() < (0.9 if careful else 0.6):
        context = _shared(chance, careful)
        context |= _own_context(chance, careful)
        made["securityContext"] = context
    if chance.random() < 0.15:
        made["ports"] = [{"containerPort": 80, **({"hostPort": chance.choice((0, 80))} if chance.random() < 0.4 else {})}]
    if chance.random() < 0.1:
        kind = chance.choice(("httpGet", "tcpSocket"))
        made[chance.choice(("livenessProbe", "readinessProbe", "startupProbe"))] = {kind: _address(chance)}
    if chance.random() < 0.08:
        hook = chance.choice(("postStart", "preStop"))
        made["lifecycle"] = {hook: {chance.choice(("httpGet", "tcpSocket")): _address(chance)}}
    return made


def _address(chance: random.Random) -> dict[str, Any]:
    return {"port": 80, **({"host": chance.choice(("", "127.0.0.1", "other"))} if chance.random() < 0.6 else {})}


def _own_context(chance: random.Random, careful: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if chance.random() < (0.9 if careful else 0.5):
        made["allowPrivilegeEscalation"] = False if careful and chance.random() < 0.95 else chance.choice(_BOOLS)
    if chance.random() < (0.04 if careful else 0.15):
        made["privileged"] = chance.choice(_BOOLS)
    if chance.random() < (0.05 if careful else 0.15):
        made["procMount"] = chance.choice(("Default", "Unmasked"))
    capabilities: dict[str, Any] = {}
    if chance.random() < (0.9 if careful else 0.4):
        capabilities["drop"] = ["ALL"] if careful else [chance.choice(_CAPABILITIES)]
    if chance.random() < (0.1 if careful else 0.4):
        capabilities["add"] = [chance.choice(_CAPABILITIES[1:]) for _ in range(chance.choice((1, 2)))]
    if capabilities or chance.random() < 0.1:
        made["capabilities"] = capabilities
    return made
