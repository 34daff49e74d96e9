"""The Pod Security Standards, one function a control, exactly as the API server's own admission decides.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ and its policy versions: a control holds from the version
that introduced it on. Values are compared as they are written: `CAP_CHOWN` is not `CHOWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pratique._kit.yamltree import Node
from pratique.lint.hit import Hit
from pratique.workload.kubernetes import CONTAINERS, Container, Pod
from pratique.workload.place import Place

Version = tuple[int, int]
Check = Callable[[Pod, Version], Iterator[Hit]]

LATEST: Version = (1, 37)
OLDEST: Version = (1, 25)  # the first release whose own Pod Security admission was declared stable

_ADDABLE = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
        "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
_SYSCTLS: dict[str, Version] = {
    "kernel.shm_rmid_forced": (1, 0),
    "net.ipv4.ip_local_port_range": (1, 0),
    "net.ipv4.tcp_syncookies": (1, 0),
    "net.ipv4.ping_group_range": (1, 0),
    "net.ipv4.ip_unprivileged_port_start": (1, 0),
    "net.ipv4.ip_local_reserved_ports": (1, 27),
    "net.ipv4.tcp_keepalive_time": (1, 29),
    "net.ipv4.tcp_fin_timeout": (1, 29),
    "net.ipv4.tcp_keepalive_intvl": (1, 29),
    "net.ipv4.tcp_keepalive_probes": (1, 29),
    "net.ipv4.tcp_rmem": (1, 32),
    "net.ipv4.tcp_wmem": (1, 32),
    "net.ipv4.tcp_slow_start_after_idle": (1, 37),
    "net.ipv4.tcp_notsent_lowat": (1, 37),
}
_SELINUX: dict[str, Version] = {
    "": (1, 0),
    "container_t": (1, 0),
    "container_init_t": (1, 0),
    "container_kvm_t": (1, 0),
    "container_engine_t": (1, 31),
}
_VOLUMES = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret")
)
_PROFILES = ("RuntimeDefault", "Localhost")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def _hit(pod: Pod, place: Place, who: str, what: str) -> Hit:
    return Hit(place, f"{pod.subject}, {who}: {what}", f"{pod.subject}\0{who}\0{what}", pod.subject)


def _containers(pod: Pod) -> Iterator[Container]:
    """Yield all containers; an empty item of the list is one that says nothing, as an API server reads it."""
    for key, sort in CONTAINERS:
        for number, node in enumerate(pod.spec.get(key)):
            yield Container(node, node.get("name").string or f"number {number + 1}", sort)


def _contexts(pod: Pod) -> Iterator[tuple[str, Node]]:
    """Yield the security contexts of the pod and of each container, with whose they are."""
    yield "pod", pod.spec.get("securityContext")
    for container in _containers(pod):
        yield _who(container), container.node.get("securityContext")


def _who(container: Container) -> str:
    return f"{container.sort} {container.name}"


def _is_windows(pod: Pod) -> bool:
    return pod.spec.get("os", "name").string == "windows"


def _has_own_users(pod: Pod, version: Version) -> bool:
    """From 1.35 on, root of a user namespace is not taken for root."""
    return version >= (1, 35) and pod.spec.get("hostUsers").truth is False


def host_process(pod: Pod, _: Version) -> Iterator[Hit]:
    """Windows: a process of the host."""
    for who, context in _contexts(pod):
        options = context.get("windowsOptions")
        if options.get("hostProcess").truth is True:
            yield _hit(pod, options.at("hostProcess"), who, "windowsOptions.hostProcess is true")


def host_namespaces(pod: Pod, _: Version) -> Iterator[Hit]:
    """The network, processes or memory of the node."""
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key).truth is True:
            yield _hit(pod, pod.spec.at(key), "pod", f"{key} is true")


def privileged(pod: Pod, _: Version) -> Iterator[Hit]:
    """Every privilege on the node."""
    for container in _containers(pod):
        context = container.node.get("securityContext")
        if context.get("privileged").truth is True:
            yield _hit(pod, context.at("privileged"), _who(container), "privileged is true")


def capabilities_baseline(pod: Pod, _: Version) -> Iterator[Hit]:
    """Capabilities beyond the default ones, and NET_RAW."""
    for container in _containers(pod):
        for item in container.node.get("securityContext", "capabilities", "add"):
            if item.string not in _ADDABLE:
                yield _hit(pod, item.place, _who(container), f"capabilities.add has {item.string}")


def host_path(pod: Pod, _: Version) -> Iterator[Hit]:
    """A folder of the node."""
    for volume in pod.spec.get("volumes"):
        if volume.get("hostPath").given:
            path = volume.get("hostPath", "path").string
            yield _hit(pod, volume.at("hostPath"), f"volume {volume.get('name').string}", f"hostPath {path}")


def host_ports(pod: Pod, _: Version) -> Iterator[Hit]:
    """A port of the node."""
    for container in _containers(pod):
        for port in container.node.get("ports"):
            if port.get("hostPort").integer:
                yield _hit(pod, port.at("hostPort"), _who(container), f"hostPort {port.get('hostPort').integer}")


def host_probes(pod: Pod, version: Version) -> Iterator[Hit]:
    """Probes and hooks that make the node's agent call another host."""
    if version < (1, 34):
        return
    for container in _containers(pod):
        handlers = [(key, container.node.get(key)) for key in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [(f"lifecycle.{key}", container.node.get("lifecycle", key)) for key in ("postStart", "preStop")]
        for name, handler in handlers:
            for action in ("httpGet", "tcpSocket"):
                host = handler.get(action, "host")
                if host.string:
                    yield _hit(pod, host.place, _who(container), f"{name}.{action}.host is {host.string}")


def apparmor(pod: Pod, _: Version) -> Iterator[Hit]:
    """An AppArmor profile other than the runtime's or one of the node."""
    for who, context in _contexts(pod):
        kind = context.get("appArmorProfile", "type")
        if context.get("appArmorProfile").given and kind.string not in _PROFILES:
            yield _hit(pod, context.at("appArmorProfile"), who, f"appArmorProfile.type is {kind.string or 'not set'}")
    annotations = pod.metadata.get("annotations")
    for name, value in annotations.members():
        text = value.string
        if name.startswith(_APPARMOR) and text not in ("", "runtime/default") and not text.startswith("localhost/"):
            yield _hit(pod, annotations.at(name), f"container {name.removeprefix(_APPARMOR)}", f"AppArmor annotation {text}")


def selinux(pod: Pod, version: Version) -> Iterator[Hit]:
    """An SELinux type of another kind, or a user or role."""
    for who, context in _contexts(pod):
        options = context.get("seLinuxOptions")
        kind = options.get("type").string
        if kind not in _SELINUX or _SELINUX[kind] > version:
            yield _hit(pod, options.at("type"), who, f"seLinuxOptions.type is {kind}")
        for key in ("user", "role"):
            if options.get(key).string:
                yield _hit(pod, options.at(key), who, f"seLinuxOptions.{key} is set")


def _proc_mount(pod: Pod) -> Iterator[Hit]:
    for container in _containers(pod):
        context = container.node.get("securityContext")
        value = context.get("procMount")
        if value.given and value.string != "Default":
            yield _hit(pod, context.at("procMount"), _who(container), f"procMount is {value.string}")


def proc_mount_baseline(pod: Pod, version: Version) -> Iterator[Hit]:
    """/proc without its masks."""
    if not _has_own_users(pod, version):
        yield from _proc_mount(pod)


def proc_mount_restricted(pod: Pod, version: Version) -> Iterator[Hit]:
    """/proc without its masks, user namespace or not."""
    if _has_own_users(pod, version):  # without one, the baseline's control says it
        yield from _proc_mount(pod)


def seccomp_baseline(pod: Pod, _: Version) -> Iterator[Hit]:
    """Seccomp is off."""
    for who, context in _contexts(pod):
        profile = context.get("seccompProfile")
        if profile.given and profile.get("type").string not in _PROFILES:
            yield _hit(
                pod, context.at("seccompProfile"), who, f"seccompProfile.type is {profile.get('type').string or 'not set'}"
            )


def sysctls(pod: Pod, version: Version) -> Iterator[Hit]:
    """Kernel settings that concern more than the pod."""
    for item in pod.spec.get("securityContext", "sysctls"):
        name = item.get("name").string
        if name not in _SYSCTLS or _SYSCTLS[name] > version:
            yield _hit(pod, item.place, "pod", f"the sysctl {name}")


def volumes(pod: Pod, _: Version) -> Iterator[Hit]:
    """Volumes of other types than those of the core."""
    for volume in pod.spec.get("volumes"):
        if any(volume.get(kind).given for kind in _VOLUMES):
            continue
        kinds = [key for key, value in volume.members() if key != "name" and value.given]
        yield _hit(pod, volume.place, f"volume {volume.get('name').string}", f"type {', '.join(kinds) or 'not set'}")


def escalation(pod: Pod, _: Version) -> Iterator[Hit]:
    """A process may get more privileges than its parent."""
    if _is_windows(pod):
        return
    for container in _containers(pod):
        context = container.node.get("securityContext")
        if context.get("allowPrivilegeEscalation").truth is not False:
            place = context.at("allowPrivilegeEscalation") if context.kind == "map" else container.node.place
            yield _hit(pod, place, _who(container), "allowPrivilegeEscalation is not false")


def _unset(pod: Pod, key: str, good: Callable[[Node], bool]) -> Iterator[tuple[Place, str, bool]]:
    """Yield who says something bad, and which containers say nothing where the pod says nothing good; with whether it is said."""
    shared = pod.spec.get("securityContext")
    covered = shared.get(key).given and good(shared.get(key))
    if shared.get(key).given and not covered:
        yield shared.at(key), "pod", True
    for container in _containers(pod):
        context = container.node.get("securityContext")
        if context.get(key).given:
            if not good(context.get(key)):
                yield context.at(key), _who(container), True
        elif not covered:
            yield container.node.place, _who(container), False


def non_root(pod: Pod, version: Version) -> Iterator[Hit]:
    """Nothing refuses to run it as root."""
    if not _has_own_users(pod, version):
        for place, who, said in _unset(pod, "runAsNonRoot", lambda node: node.truth is True):
            yield _hit(pod, place, who, f"runAsNonRoot is {'false' if said else 'not true'}")


def user(pod: Pod, version: Version) -> Iterator[Hit]:
    """It is told to run as root."""
    if _has_own_users(pod, version):
        return
    for who, context in _contexts(pod):
        if context.get("runAsUser").integer == 0:
            yield _hit(pod, context.at("runAsUser"), who, "runAsUser is 0")


def seccomp_restricted(pod: Pod, _: Version) -> Iterator[Hit]:
    """No seccomp profile is asked for."""
    if _is_windows(pod):
        return
    for place, who, said in _unset(pod, "seccompProfile", lambda node: node.get("type").string in _PROFILES):
        if not said:  # what is said and wrong, the baseline's control says
            yield _hit(pod, place, who, "seccompProfile.type is not set")


def capabilities_restricted(pod: Pod, _: Version) -> Iterator[Hit]:
    """Capabilities are kept, or others added than that for low ports."""
    if _is_windows(pod):
        return
    for container in _containers(pod):
        context = container.node.get("securityContext")
        capabilities = context.get("capabilities")
        if not any(item.string == "ALL" for item in capabilities.get("drop")):
            place = capabilities.at("drop") if capabilities.kind == "map" else container.node.place
            yield _hit(pod, place, _who(container), "capabilities.drop has not ALL")
        for item in capabilities.get("add"):
            if item.string != "NET_BIND_SERVICE" and item.string in _ADDABLE:  # others, the baseline's control says
                yield _hit(pod, item.place, _who(container), f"capabilities.add has {item.string}")


BASELINE: dict[str, Check] = {
    "pss-host-process": host_process,
    "pss-host-namespaces": host_namespaces,
    "pss-privileged": privileged,
    "pss-capabilities": capabilities_baseline,
    "pss-host-path": host_path,
    "pss-host-ports": host_ports,
    "pss-host-probes": host_probes,
    "pss-apparmor": apparmor,
    "pss-selinux": selinux,
    "pss-proc-mount": proc_mount_baseline,
    "pss-seccomp": seccomp_baseline,
    "pss-sysctls": sysctls,
}
RESTRICTED: dict[str, Check] = {
    "pss-volumes": volumes,
    "pss-escalation": escalation,
    "pss-non-root": non_root,
    "pss-user": user,
    "pss-seccomp-set": seccomp_restricted,
    "pss-capabilities-dropped": capabilities_restricted,
    "pss-proc-mount-always": proc_mount_restricted,
}
