"""A pod in, what the Pod Security Standards forbid about it out: as the admission of an API server decides, version by version.

Standard: https://kubernetes.io/docs/concepts/security/pod-security-standards/. A check exists from the version of the policy that
brought it; `restricted` replaces some checks of `baseline`, where it has them, instead of adding to them. The pod is taken as it
stands: an API server's own defaults are in it when a gate sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

Level = Literal["privileged", "baseline", "restricted"]
Version = tuple[int, int]
LATEST: Version = (1, 37)  # the newest version of the policy that is known here; a later one is read as this

_ADDABLE = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
        "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t")
_SYSCTLS: tuple[tuple[Version, frozenset[str]], ...] = (
    (
        (1, 0),
        frozenset(
            (
                "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
                "net.ipv4.ip_unprivileged_port_start",
            )
        ),
    ),
    ((1, 27), frozenset(("net.ipv4.ip_local_reserved_ports",))),
    (
        (1, 29),
        frozenset(
            (
                "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
                "net.ipv4.tcp_keepalive_probes",
            )
        ),
    ),
    ((1, 32), frozenset(("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"))),
    ((1, 37), frozenset(("net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"))),
)  # fmt: skip
_VOLUMES = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret")
)
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_PROFILES = ("RuntimeDefault", "Localhost")
_VERSION = re.compile(r"v?1\.(0|[1-9][0-9]{0,2})")


class Violation(NamedTuple):
    """What is forbidden: the check's id in the standard's own implementation, the field, and a sentence."""

    check: str
    path: str
    message: str


class _Pod(NamedTuple):
    """A pod's annotations and spec, and its containers of all three sorts with their paths."""

    annotations: Mapping[str, Any]
    spec: Mapping[str, Any]
    containers: tuple[tuple[str, Mapping[str, Any]], ...]
    version: Version

    @property
    def context(self) -> Mapping[str, Any]:
        """What holds for the pod as a whole."""
        return _map(self.spec.get("securityContext"))

    @property
    def has_users(self) -> bool:
        """Whether it says that it wants a user namespace."""
        return self.spec.get("hostUsers") is False

    @property
    def is_windows(self) -> bool:
        """Whether it says that it is for Windows, where much of this means nothing; known from 1.25 on."""
        return self.version >= (1, 25) and _map(self.spec.get("os")).get("name") == "windows"

    def secured(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield path and security context of the pod, where it has one, and of each container, given or not."""
        if self.spec.get("securityContext") is not None:
            yield "spec.securityContext", self.context
        yield from self.contexts()

    def contexts(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield path and security context of each container; an empty one where there is none."""
        for path, container in self.containers:
            yield f"{path}.securityContext", _map(container.get("securityContext"))


def violations(pod: Mapping[str, Any], level: Level, version: Version = LATEST) -> list[Violation]:
    """Return what a level forbids about a pod (`metadata` and `spec`, as JSON has them); nothing means that it is admitted."""
    if level == "privileged":
        return []
    seen = _seen(pod, min(version, LATEST))
    found: list[Violation] = []
    for check in _in_force(level, seen.version):
        found += [Violation(check.name, path, message) for path, message in check.find(seen)]
    return found


def parse_version(text: str) -> Version:
    """Read `v1.34`, `1.34` or `latest`. Raises ValueError."""
    if text == "latest":
        return LATEST
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no version such as v1.34 or latest")
    return 1, int(found[1])


class _Check(NamedTuple):
    name: str
    level: Level
    since: Version
    find: Callable[[_Pod], Iterable[tuple[str, str]]]
    instead_of: str = ""


def _in_force(level: Level, version: Version) -> list[_Check]:
    checks = [check for check in _CHECKS if check.since <= version and (check.level == "baseline" or level == "restricted")]
    replaced = {check.instead_of for check in checks}
    return [check for check in checks if check.name not in replaced]


def _seen(pod: Mapping[str, Any], version: Version) -> _Pod:
    spec = _map(pod.get("spec"))
    found = []
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for number, container in enumerate(_list(spec.get(key))):
            found.append((f"spec.{key}[{number}]", _map(container)))
    return _Pod(_map(_map(pod.get("metadata")).get("annotations")), spec, tuple(found), version)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Return a name, "" for what is none: templates in custom resources hold any JSON."""
    return value if isinstance(value, str) else ""


def _host_namespaces(pod: _Pod) -> Iterator[tuple[str, str]]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key) is True:
            yield f"spec.{key}", f"{key} is true"


def _privileged(pod: _Pod) -> Iterator[tuple[str, str]]:
    for path, context in pod.contexts():
        if context.get("privileged") is True:
            yield f"{path}.privileged", "it is privileged"


def _capabilities(pod: _Pod) -> Iterator[tuple[str, str]]:
    for path, context in pod.contexts():
        for name in _list(_map(context.get("capabilities")).get("add")):
            if _text(name) not in _ADDABLE:
                yield f"{path}.capabilities.add", f"it adds the capability {name}"


def _capabilities_restricted(pod: _Pod) -> Iterator[tuple[str, str]]:
    if pod.is_windows:
        return
    for path, context in pod.contexts():
        capabilities = _map(context.get("capabilities"))
        if "ALL" not in _list(capabilities.get("drop")):
            yield f"{path}.capabilities.drop", "it does not drop ALL"
        for name in _list(capabilities.get("add")):
            if name != "NET_BIND_SERVICE":
                yield f"{path}.capabilities.add", f"it adds the capability {name}"


def _host_paths(pod: _Pod) -> Iterator[tuple[str, str]]:
    for number, volume in enumerate(_list(pod.spec.get("volumes"))):
        if _map(volume).get("hostPath") is not None:
            yield f"spec.volumes[{number}].hostPath", f"the volume {_map(volume).get('name')} is a path of the node"


def _volume_types(pod: _Pod) -> Iterator[tuple[str, str]]:
    for number, volume in enumerate(_list(pod.spec.get("volumes"))):
        if not any(_map(volume).get(kind) is not None for kind in _VOLUMES):
            yield f"spec.volumes[{number}]", f"the volume {_map(volume).get('name')} is of a sort that is not allowed"


def _host_ports(pod: _Pod) -> Iterator[tuple[str, str]]:
    for path, container in pod.containers:
        for number, port in enumerate(_list(container.get("ports"))):
            if _map(port).get("hostPort"):
                yield f"{path}.ports[{number}].hostPort", f"it listens on port {_map(port)['hostPort']} of the node"


def _apparmor(pod: _Pod) -> Iterator[tuple[str, str]]:
    for key, value in pod.annotations.items():
        if key.startswith(_APPARMOR) and value not in ("", None, "runtime/default") and not str(value).startswith("localhost/"):
            yield f"metadata.annotations[{key}]", f"the AppArmor profile is {value}"
    for path, context in pod.secured():
        profile = context.get("appArmorProfile")
        if profile is not None and _map(profile).get("type") not in _PROFILES:
            yield f"{path}.appArmorProfile.type", f"the AppArmor profile is {_map(profile).get('type')}"


def _selinux(pod: _Pod) -> Iterator[tuple[str, str]]:
    types = (*_SELINUX_TYPES, "container_engine_t") if pod.version >= (1, 31) else _SELINUX_TYPES
    for path, context in pod.secured():
        given = _map(context.get("seLinuxOptions"))
        if (given.get("type") or "") not in types:
            yield f"{path}.seLinuxOptions.type", f"the SELinux type is {given['type']}"
        for key in ("user", "role"):
            if given.get(key):
                yield f"{path}.seLinuxOptions.{key}", f"it sets the SELinux {key}"


def _proc_mount(pod: _Pod) -> Iterator[tuple[str, str]]:
    for path, context in pod.contexts():
        kind = context.get("procMount")
        if kind is not None and kind != "Default":
            yield f"{path}.procMount", f"procMount is {kind}"


def _proc_mount_baseline(pod: _Pod) -> Iterator[tuple[str, str]]:
    if not (pod.has_users and pod.version >= (1, 35)):
        yield from _proc_mount(pod)


def _seccomp(pod: _Pod) -> Iterator[tuple[str, str]]:
    if pod.version < (1, 19):
        yield from _seccomp_annotations(pod)
        return
    for path, context in pod.secured():
        profile = context.get("seccompProfile")
        if profile is not None and _map(profile).get("type") not in _PROFILES:
            yield f"{path}.seccompProfile.type", f"the seccomp profile is {_map(profile).get('type')}"


def _seccomp_annotations(pod: _Pod) -> Iterator[tuple[str, str]]:
    for key in [_SECCOMP_POD, *(_SECCOMP_CONTAINER + str(container.get("name") or "") for _, container in pod.containers)]:
        usual = ("runtime/default", "docker/default")
        # Null is the empty string, which is no profile's name here, as it is for AppArmor.
        value = pod.annotations.get(key, usual[0])
        if value not in usual and not str(value or "").startswith("localhost/"):
            yield f"metadata.annotations[{key}]", f"the seccomp profile is {value}"


def _seccomp_restricted(pod: _Pod) -> Iterator[tuple[str, str]]:
    if pod.is_windows:
        return
    yield from _seccomp(pod)
    of_pod = _map(pod.context.get("seccompProfile")).get("type") in _PROFILES
    for path, context in pod.contexts():
        if context.get("seccompProfile") is None and not of_pod:
            yield f"{path}.seccompProfile.type", "no seccomp profile is set, neither here nor for the pod"


def _sysctls(pod: _Pod) -> Iterator[tuple[str, str]]:
    allowed = frozenset().union(*(names for since, names in _SYSCTLS if since <= pod.version))
    for number, sysctl in enumerate(_list(pod.context.get("sysctls"))):
        name = _map(sysctl).get("name")
        if _text(name) not in allowed:
            yield f"spec.securityContext.sysctls[{number}].name", f"it sets {name} of the kernel"


def _host_process(pod: _Pod) -> Iterator[tuple[str, str]]:
    for path, context in pod.secured():
        if _map(context.get("windowsOptions")).get("hostProcess") is True:
            yield f"{path}.windowsOptions.hostProcess", "it is a process of the node"


def _host_probes(pod: _Pod) -> Iterator[tuple[str, str]]:
    for path, container in pod.containers:
        lifecycle = _map(container.get("lifecycle"))
        handlers = [(key, container.get(key)) for key in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [(f"lifecycle.{key}", lifecycle.get(key)) for key in ("postStart", "preStop")]
        for name, handler in handlers:
            for kind in ("httpGet", "tcpSocket"):
                host = _map(_map(handler).get(kind)).get("host")
                if host:
                    yield f"{path}.{name}.{kind}.host", f"the node connects to {host} for it"


def _escalation(pod: _Pod) -> Iterator[tuple[str, str]]:
    if pod.is_windows:
        return
    for path, context in pod.contexts():
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{path}.allowPrivilegeEscalation", "allowPrivilegeEscalation is not false"


def _non_root(pod: _Pod) -> Iterator[tuple[str, str]]:
    if pod.has_users and pod.version >= (1, 35):
        return
    of_pod = pod.context.get("runAsNonRoot")
    if of_pod is False:
        yield "spec.securityContext.runAsNonRoot", "runAsNonRoot is false"
    for path, context in pod.contexts():
        own = context.get("runAsNonRoot")
        if own is False:
            yield f"{path}.runAsNonRoot", "runAsNonRoot is false"
        elif own is None and of_pod is None:
            yield f"{path}.runAsNonRoot", "runAsNonRoot is not true, neither here nor for the pod"


def _user(pod: _Pod) -> Iterator[tuple[str, str]]:
    if pod.has_users and pod.version >= (1, 35):
        return
    for path, context in pod.secured():
        if context.get("runAsUser") == 0:
            yield f"{path}.runAsUser", "runAsUser is 0"


_CHECKS: tuple[_Check, ...] = (
    _Check("hostNamespaces", "baseline", (1, 0), _host_namespaces),
    _Check("privileged", "baseline", (1, 0), _privileged),
    _Check("capabilities_baseline", "baseline", (1, 0), _capabilities),
    _Check("hostPathVolumes", "baseline", (1, 0), _host_paths),
    _Check("hostPorts", "baseline", (1, 0), _host_ports),
    _Check("appArmorProfile", "baseline", (1, 0), _apparmor),
    _Check("seLinuxOptions", "baseline", (1, 0), _selinux),
    _Check("procMount", "baseline", (1, 0), _proc_mount_baseline),
    _Check("seccompProfile_baseline", "baseline", (1, 0), _seccomp),
    _Check("sysctls", "baseline", (1, 0), _sysctls),
    _Check("windowsHostProcess", "baseline", (1, 0), _host_process),
    _Check("hostProbesAndHostLifecycle", "baseline", (1, 34), _host_probes),
    _Check("restrictedVolumes", "restricted", (1, 0), _volume_types, "hostPathVolumes"),
    _Check("allowPrivilegeEscalation", "restricted", (1, 8), _escalation),
    _Check("runAsNonRoot", "restricted", (1, 0), _non_root),
    _Check("runAsUser", "restricted", (1, 23), _user),
    _Check("seccompProfile_restricted", "restricted", (1, 19), _seccomp_restricted, "seccompProfile_baseline"),
    _Check("capabilities_restricted", "restricted", (1, 22), _capabilities_restricted, "capabilities_baseline"),
    _Check("procMount_restricted", "restricted", (1, 35), _proc_mount, "procMount"),
)
