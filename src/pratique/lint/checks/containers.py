"""Checks of a Spec: what a container asks for in a Compose file or in a pod.

Pods get only those that the Pod Security Standards do not cover; the standards' own controls are in `podsecurity`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pratique.lint.checks.exposure import ENGINE_SOCKETS
from pratique.lint.checks.origins import tag_of
from pratique.lint.hit import Hit
from pratique.lint.secrets import holds_secret
from pratique.workload.place import Place
from pratique.workload.spec import DEFAULT_CAPABILITIES, Mount, Spec, is_root

Check = Callable[[Spec], Iterator[Hit]]

# Folders of the machine from which it can be taken over, or read whole.
_SENSITIVE = re.compile(
    r"/(?:$|(?:bin|boot|dev|etc|home|lib|lib64|proc|root|run|sbin|srv|sys|usr|var)/?$|(?:etc|proc|sys|root|boot|dev)/"
    r"|var/(?:run|lib|log)/?$|var/lib/(?:docker|containerd|kubelet|containers|etcd)(?:/|$)|run/(?:containerd|docker|crio)(?:/|$))"
)
_HARMLESS = re.compile(
    r"/etc/(?:localtime|timezone|hosts|resolv\.conf|ssl/certs.*|ca-certificates.*|pki/.*)$|/dev/(?:shm|null|urandom)$"
)
_LOOPBACK = re.compile(r"127\.|::1$|localhost$")


def _hit(spec: Spec, place: Place, message: str, content: str) -> Hit:
    return Hit(place, f"{spec.subject}: {message}", f"{spec.subject}\0{content}", spec.subject)


def privileged(spec: Spec) -> Iterator[Hit]:
    """All privileges on the machine."""
    if spec.privileged:
        yield _hit(spec, spec.at("privileged"), "privileged: it has every capability and device of the machine", "privileged")


def capabilities(spec: Spec) -> Iterator[Hit]:
    """Capabilities beyond those that every container gets."""
    for name in spec.capabilities_add:
        if name not in DEFAULT_CAPABILITIES or name == "NET_RAW":
            yield _hit(spec, spec.at("capabilities_add"), f"the capability {name} is added", name)


def capabilities_kept(spec: Spec) -> Iterator[Hit]:
    """The default capabilities are kept."""
    if not spec.privileged and "ALL" not in spec.capabilities_drop:
        yield _hit(spec, spec.at("capabilities_drop"), "not all capabilities are dropped (cap_drop: [ALL])", "cap_drop")


def _namespace(name: str, words: str) -> Check:
    def check(spec: Spec) -> Iterator[Hit]:
        if name in spec.host_namespaces:
            yield _hit(spec, spec.at("host_" + name), words, f"namespace {name}")

    return check


def engine_socket(spec: Spec) -> Iterator[Hit]:
    """The engine's socket is mounted."""
    for mount in spec.mounts:
        if mount.kind == "bind" and ENGINE_SOCKETS.search(mount.source):
            message = f"{mount.source} is the engine itself: who has it is root on the machine, read-only or not"
            yield _hit(spec, mount.place, message, mount.source)


def host_path(spec: Spec) -> Iterator[Hit]:
    """A folder of the machine that holds more than data is mounted."""
    for mount in spec.mounts:
        if mount.kind == "bind" and _is_sensitive(mount):
            how = "read-only" if mount.read_only else "writable"
            yield _hit(spec, mount.place, f"{mount.source} of the machine is mounted, {how}", mount.source)


def _is_sensitive(mount: Mount) -> bool:
    source = re.sub(r"/+(?:\./+)*", "/", mount.source)
    if ENGINE_SOCKETS.search(source) or (mount.read_only and _HARMLESS.match(source)):
        return False
    return _SENSITIVE.match(source) is not None or source.rstrip("/") in ("~", "~/.ssh", "~/.aws")


def device(spec: Spec) -> Iterator[Hit]:
    """A device of the machine."""
    for item in spec.devices:
        yield _hit(spec, item.place, f"the device {item.path} of the machine", item.path)


def root_filesystem(spec: Spec) -> Iterator[Hit]:
    """What is broken into can be changed."""
    if spec.read_only_root is not True:
        yield _hit(spec, spec.at("read_only_root"), "its root filesystem is writable", "root filesystem")


def new_privileges(spec: Spec) -> Iterator[Hit]:
    """Setuid programs give more privileges than the container began with."""
    if spec.no_new_privileges is not True:
        yield _hit(spec, spec.at("no_new_privileges"), "no-new-privileges is not set", "no-new-privileges")


def seccomp(spec: Spec) -> Iterator[Hit]:
    """Every system call is open."""
    if spec.seccomp == "unconfined":
        yield _hit(spec, spec.at("seccomp"), "seccomp is off: every system call is open", "seccomp")


def apparmor(spec: Spec) -> Iterator[Hit]:
    """AppArmor is off."""
    if spec.apparmor == "unconfined":
        yield _hit(spec, spec.at("apparmor"), "AppArmor is off", "apparmor")


def selinux(spec: Spec) -> Iterator[Hit]:
    """SELinux separation is off, or of another kind."""
    if spec.selinux == "unconfined" and spec.format != "kubernetes":  # of pods, pss-selinux speaks
        yield _hit(spec, spec.at("selinux"), "SELinux does not separate it from the machine", "selinux")


def masked_paths(spec: Spec) -> Iterator[Hit]:
    """What engines hide in /proc and /sys is visible."""
    if not spec.masked_paths:
        yield _hit(spec, spec.at("masked_paths"), "the hidden parts of /proc and /sys are open", "systempaths")


def root(spec: Spec) -> Iterator[Hit]:
    """It is told to run as root, whatever the image says."""
    if is_root(spec.user):
        yield _hit(spec, spec.at("user"), f"it is to run as root (user {spec.user})", "root")


def root_group(spec: Spec) -> Iterator[Hit]:
    """It is in root's group, to which files of images are often open."""
    for group in (spec.group, *spec.groups):
        if is_root(group):
            place = spec.at("groups") if group in spec.groups else spec.at("group" if "group" in spec.places else "user")
            yield _hit(spec, place, f"it is in the group of root ({group})", "root group")
            return


def secret_variable(spec: Spec) -> Iterator[Hit]:
    """A secret stands in the file."""
    for variable in spec.environment:
        if holds_secret(variable.name, variable.value):
            yield _hit(spec, variable.place, f"the variable {variable.name} holds a secret in the clear", variable.name)


def image_tag(spec: Spec) -> Iterator[Hit]:
    """What runs changes with every release of the image."""
    if spec.image and "$" not in spec.image and "@" not in spec.image and tag_of(spec.image) in ("", "latest"):
        what = "latest" if tag_of(spec.image) else "no tag, which is latest"
        yield _hit(spec, spec.at("image"), f"image {spec.image}: {what}", spec.image)


def image_digest(spec: Spec) -> Iterator[Hit]:
    """A tag can be moved to another image."""
    if spec.image and "$" not in spec.image and "@sha256:" not in spec.image and tag_of(spec.image) not in ("", "latest"):
        yield _hit(spec, spec.at("image"), f"image {spec.image} is not pinned to a digest", spec.image)


def memory_limit(spec: Spec) -> Iterator[Hit]:
    """It can take all memory of the machine."""
    if spec.memory_limit in (None, "0"):
        yield _hit(spec, spec.at("memory_limit"), "no limit on its memory", "memory")


def cpu_limit(spec: Spec) -> Iterator[Hit]:
    """It can take all processors of the machine."""
    if spec.cpu_limit in (None, "0"):
        yield _hit(spec, spec.at("cpu_limit"), "no limit on its processor time", "cpu")


def pids_limit(spec: Spec) -> Iterator[Hit]:
    """It can fill the machine with processes."""
    if spec.pids_limit in (None, "0", "-1"):
        yield _hit(spec, spec.at("pids_limit"), "no limit on the number of its processes", "pids")


def mount_propagation(spec: Spec) -> Iterator[Hit]:
    """What it mounts appears on the machine."""
    for mount in spec.mounts:
        if mount.propagation in ("shared", "rshared", "Bidirectional"):
            yield _hit(spec, mount.place, f"what is mounted below {mount.target} appears on the machine, too", mount.target)


def low_port(spec: Spec) -> Iterator[Hit]:
    """A port below 1024 of the machine, which only root may open."""
    for port in spec.ports:
        if 0 < port.host < 1024 and port.host not in (80, 443):
            yield _hit(spec, port.place, f"it is given port {port.host} of the machine", f"port {port.host}")


def all_interfaces(spec: Spec) -> Iterator[Hit]:
    """A port is open to every network of the machine, past its firewall."""
    for port in spec.ports:
        if not _LOOPBACK.match(port.address) and port.address in ("", "0.0.0.0", "::"):  # noqa: S104 - it is looked for
            yield _hit(
                spec, port.place, f"port {port.container} is open to every network of the machine", f"open {port.container}"
            )


def cgroup_parent(spec: Spec) -> Iterator[Hit]:
    """Its limits are those of another part of the machine."""
    if spec.cgroup_parent:
        yield _hit(spec, spec.at("cgroup_parent"), f"it is put under the control group {spec.cgroup_parent}", "cgroup parent")


def ssh_port(spec: Spec) -> Iterator[Hit]:
    """A login service."""
    for port in spec.ports:
        if port.container.partition("/")[0] == "22":
            yield _hit(spec, port.place, "port 22 is that of a login service", "port 22")


# About where an image comes from, which is no question where it is built from what is here.
OF_IMAGES = frozenset(("ct-image-tag", "ct-image-digest"))
# In every format that says it.
BOTH: dict[str, Check] = {
    "ct-engine-socket": engine_socket,
    "ct-root-filesystem": root_filesystem,
    "ct-root-group": root_group,
    "ct-secret-variable": secret_variable,
    "ct-image-tag": image_tag,
    "ct-image-digest": image_digest,
    "ct-memory-limit": memory_limit,
    "ct-cpu-limit": cpu_limit,
    "ct-mount-propagation": mount_propagation,
    "ct-ssh-port": ssh_port,
}
# In Compose files only: a pod has the Pod Security Standards for the same.
COMPOSE: dict[str, Check] = {
    "ct-privileged": privileged,
    "ct-capabilities": capabilities,
    "ct-capabilities-kept": capabilities_kept,
    "ct-host-network": _namespace("net", "it is on the network of the machine itself"),
    "ct-host-pid": _namespace("pid", "it sees and can signal the processes of the machine"),
    "ct-host-ipc": _namespace("ipc", "it shares memory with the processes of the machine"),
    "ct-host-uts": _namespace("uts", "it can change the name of the machine"),
    "ct-host-user": _namespace("user", "its root is root of the machine, even where the engine would separate them"),
    "ct-host-cgroup": _namespace("cgroup", "it sees the control groups of the machine"),
    "ct-host-path": host_path,
    "ct-device": device,
    "ct-new-privileges": new_privileges,
    "ct-seccomp": seccomp,
    "ct-apparmor": apparmor,
    "ct-selinux": selinux,
    "ct-masked-paths": masked_paths,
    "ct-root": root,
    "ct-pids-limit": pids_limit,
    "ct-low-port": low_port,
    "ct-all-interfaces": all_interfaces,
    "ct-cgroup-parent": cgroup_parent,
}
