"""A Spec (and what is done with it) in, the privileges that it needs beyond a baseline out, each with its attribute and why.

What a Spec merely leaves open needs nothing: whoever runs it closes it (see `obligations`). What asks for more needs a privilege.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pratique.grant import privileges
from pratique.grant.policy import CompiledBaseline
from pratique.grant.privileges import Privilege
from pratique.grant.request import Request, key
from pratique.model.privilege import Obligation
from pratique.workload.spec import DEFAULT_CAPABILITIES, Spec, number_of

# Parameters of the kernel that are of a container's own namespaces and harm nobody else:
# https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Sysctls, Baseline)
SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
    )
)  # fmt: skip
LOWEST_PORT = 1024  # below it only root listens, elsewhere; on a node every port of the machine is asked for
_USUAL_RUNTIMES = frozenset(("runc", "crun", "io.containerd.runc.v2"))
# Annotations that tell a runtime or its shim to do something else than the rest of the configuration says.
_OBEYED = ("run.oci.", "org.criu.", "io.katacontainers.", "module.wasm.", "org.systemd.property.")
_HARMLESS = frozenset(("org.systemd.property.KillSignal", "org.systemd.property.TimeoutStopUSec"))  # Podman writes them itself
_SEEN = frozenset(
    ("docker-create", "docker-inspect", "oci", "image")
)  # formats of what really runs, where names must be resolved


class Need(NamedTuple):
    """A privilege that is needed, the attribute that needs it, and a sentence on why."""

    privilege: Privilege
    path: str
    text: str


def needed(spec: Spec, baseline: CompiledBaseline) -> list[Need]:
    """Return what running a Spec needs beyond a baseline; the fewest: what another of them stands for is left out."""
    found = [need for need in _asked(spec, baseline) if not privileges.covered(baseline.privileges, need.privilege)]
    return _fewest(found)


def needed_for(request: Request, baseline: CompiledBaseline) -> list[Need]:
    """Return what a request needs beyond a baseline. Raises UsageError for `extra` that are no privileges."""
    found = [*_of_action(request, baseline)]
    found += [Need(privileges.parse(text), "request", f"the gate asks for {text}") for text in request.extra]
    return _fewest(need for need in found if not privileges.covered(baseline.privileges, need.privilege))


def obligations(spec: Spec | None, has: Iterable[Privilege]) -> list[Obligation]:
    """Return what is to be closed that a Spec leaves open, for somebody who has these privileges (baseline and grants)."""
    if spec is None:
        return []
    has = tuple(has)
    owed = []
    may_rise = privileges.covered(has, Privilege("run.new-privileges"))
    if spec.no_new_privileges is not True and not spec.privileged and not (may_rise and spec.no_new_privileges is False):
        owed.append(Obligation("no_new_privileges"))
    if spec.privileged or any(privileges.covered(has, Privilege(form)) for form in ("run.root", "exec.root")):
        return owed  # root with less than what engines give is a thing of the grant's own ceiling
    dropped = set(spec.capabilities_drop)
    if "ALL" not in dropped:
        kept = set(spec.capabilities_add)
        owed += [
            Obligation("drop", name)
            for name in sorted(DEFAULT_CAPABILITIES - dropped - kept)
            if not privileges.covered(has, Privilege("run.cap", name))
        ]
    return owed


def _fewest(needs: Iterable[Need]) -> list[Need]:
    first: dict[Privilege, Need] = {}
    for need in needs:
        first.setdefault(need.privilege, need)
    if len(first) < 2:
        return list(first.values())
    left = set(privileges.fewest(first))
    return [need for need in first.values() if need.privilege in left]


def _of_action(request: Request, baseline: CompiledBaseline) -> Iterator[Need]:  # one line an action
    action, target, spec = request.action, request.target, request.spec
    mine = request.subject is not None and target.owner == key(request.subject)
    if action in ("run", "ephemeral"):
        if action == "ephemeral":
            yield Need(Privilege("debug.ephemeral"), "request.action", "an ephemeral container is added to a pod")
        if spec is not None:
            yield from _asked(spec, baseline)
        else:
            yield Need(Privilege("run.privileged"), "spec", "nothing is known of what would run")
    elif action == "exec":
        yield from _exec(request, baseline, mine=mine)
    elif action == "attach":
        if not mine:  # whoever ran it may see it: what it may do was decided when it was started
            yield Need(Privilege("attach"), "target.owner", _whose(request, mine=mine))
    elif action == "copy":
        if request.write:
            yield Need(Privilege("cp.write"), "request.write", "files are written into a container as root")
        if not mine:
            yield Need(Privilege("exec.any"), "target.owner", _whose(request, mine=mine))
        if spec is not None and any(mount.kind == "bind" for mount in spec.mounts):
            # No runtime is asked here, and the engine follows a path as root wherever it leads by then.
            why = "the engine copies as root, by way of folders of the machine that are bound into the container"
            yield Need(privileges.mount("/", read_only=not request.write), "spec.mounts", why)
    elif action == "build":
        form = "build.insecure" if request.insecure else "build.run"
        yield Need(Privilege(form), "request.action", "a build runs commands as root of its own container")
    elif action == "volume":
        yield from _volume(spec)
    else:
        yield from _named(request)


def _named(request: Request) -> Iterator[Need]:
    forms = {
        "engine": ("engine.admin", "the engine itself is configured"),
        "token": ("token.mint", "a token of a service account is made"),
        "impersonate": ("impersonate", "somebody acts as another"),
        "push": ("registry.push", "a repository is pushed to"),
        "delete": ("registry.delete", "something is deleted from a repository"),
    }
    if request.action not in forms:
        return  # pull and read
    form, why = forms[request.action]
    if privileges.FORMS[form].argument == "none":
        yield Need(Privilege(form), "request.action", why)
    else:
        name = request.target.name or request.target.reference or "?"
        yield Need(privileges.of(form, name), "target.name", f"{why}: {name}")


def _whose(request: Request, *, mine: bool) -> str:
    return "" if mine else f"it is a container of {request.target.owner or 'nobody known'}"


def _exec(request: Request, baseline: CompiledBaseline, *, mine: bool) -> Iterator[Need]:
    spec = request.spec
    root = Privilege("run.root")
    as_itself = mine and request.target.root is True and privileges.covered(baseline.privileges, root)
    if spec is None or spec.privileged or request.target.privileged or spec.capabilities_add:
        yield Need(Privilege("exec.privileged"), "spec.privileged", "the process would have every capability")
    elif (spec.uid if spec.uid is not None else number_of(spec.user)) in (0, None):
        if as_itself:
            return  # root in one's own container that runs as root, where everybody may run as root
        yield Need(Privilege("exec.root"), "spec.user", "the process would be root, or nobody knows that it would not")
    elif in_root_group(spec) and not privileges.covered(baseline.privileges, Privilege("run.group", "0")):
        yield Need(Privilege("exec.root"), "spec.group", "the process would be in group 0, which owns much of what is root's")
    elif not mine:
        yield Need(Privilege("exec.any"), "target.owner", _whose(request, mine=mine))


def in_root_group(spec: Spec) -> bool:
    """Say whether a process has group 0 among its groups."""
    gid = spec.gid if spec.gid is not None else number_of(spec.group)
    return gid == 0 or any(number_of(group) == 0 for group in spec.groups)


def _volume(spec: Spec | None) -> Iterator[Need]:
    for mount in spec.mounts if spec is not None else ():
        if mount.kind == "bind":
            yield Need(Privilege("volume.hostbind"), "spec.mounts", f"the volume is {mount.source} of the machine")
            yield Need(
                privileges.mount(mount.source, read_only=mount.read_only),
                "spec.mounts",
                f"{mount.source} of the machine is bound",
            )


def _asked(spec: Spec, baseline: CompiledBaseline) -> Iterator[Need]:
    if spec.privileged:
        yield Need(Privilege("run.privileged"), "spec.privileged", "it runs without confinement")
    else:
        yield from _user(spec, baseline)
        yield from _confinement(spec)
    if spec.host_process:
        yield Need(Privilege("run.privileged"), "spec.host_process", "it runs on the machine itself")
    for namespace in spec.host_namespaces:
        yield Need(
            privileges.of("run.hostns", namespace), "spec.host_namespaces", f"it shares the machine's {namespace} namespace"
        )
    for other in spec.joins:
        yield Need(
            privileges.of("run.namespace-of", other.partition(":")[2] or other),
            "spec.joins",
            f"it joins another container: {other}",
        )
    yield from _files(spec)
    yield from _rest(spec)


def _user(spec: Spec, baseline: CompiledBaseline) -> Iterator[Need]:
    uid = spec.uid if spec.uid is not None else number_of(spec.user)
    root = Privilege("run.userns-root" if spec.user_namespace else "run.root")
    lowest = baseline.written.uid
    if uid is None:
        known = spec.run_as_non_root is True  # whoever starts it refuses root then
        if spec.user is None and not known:
            yield Need(root, "spec.user", "no user is named, so that the image's holds, which may be root")
        elif spec.user is not None and not known and (lowest.numeric or spec.format in _SEEN):
            yield Need(root, "spec.user", f"the image says who {spec.user} is, who may be root")
    elif uid <= 0:
        yield Need(root, "spec.user", "it runs as root" + (" of its own user namespace" if spec.user_namespace else ""))
    elif uid < lowest.min:
        yield Need(privileges.of("run.uid", str(uid)), "spec.user", f"it runs as uid {uid}, below {lowest.min}")
    if uid and in_root_group(spec) and not spec.user_namespace:
        yield Need(Privilege("run.group", "0"), "spec.group", "it runs with group 0, which owns much of what is root's")


def _confinement(spec: Spec) -> Iterator[Need]:
    for name in spec.capabilities_add:
        yield Need(privileges.of("run.cap", name), "spec.capabilities_add", f"it adds the capability {name}")
    if spec.no_new_privileges is False:
        yield Need(Privilege("run.new-privileges"), "spec.no_new_privileges", "it asks that set-user-ID programs may give more")
    loose = [("seccomp", spec.seccomp), ("apparmor", spec.apparmor), ("selinux", spec.selinux)]
    for name, profile in loose:
        if profile == "unconfined" or (name == "seccomp" and profile == "custom"):
            yield Need(Privilege("run.unconfined", name), f"spec.{name}", f"it runs with {name} {profile}")
    if not (spec.masked_paths and spec.read_only_paths) and not spec.user_namespace:
        yield Need(
            Privilege("run.unconfined", "proc"), "spec.masked_paths", "it sees and may write what is masked of /proc and /sys"
        )
    for device in spec.devices:
        yield Need(privileges.device(device.path), "spec.devices", f"it opens the device {device.path} of the machine")


def _files(spec: Spec) -> Iterator[Need]:
    for mount in spec.mounts:
        if mount.kind == "bind":
            how = "reads" if mount.read_only else "reads and writes"
            yield Need(
                privileges.mount(mount.source, read_only=mount.read_only),
                "spec.mounts",
                f"it {how} {mount.source} of the machine",
            )
        if mount.propagation.lower() in ("shared", "rshared", "bidirectional"):
            yield Need(privileges.of("run.propagation", "shared"), "spec.mounts", "what it mounts appears on the machine")
    if spec.root_propagation in ("shared", "rshared"):
        yield Need(privileges.of("run.propagation", "shared"), "spec.root_propagation", "what it mounts appears on the machine")


def _rest(spec: Spec) -> Iterator[Need]:
    for name in spec.sysctls:
        if name not in SAFE_SYSCTLS:
            yield Need(privileges.of("run.sysctl", name), "spec.sysctls", f"it sets {name} of the kernel")
    for port in spec.ports:
        if port.host and (port.host < LOWEST_PORT or spec.format == "kubernetes"):
            yield Need(
                privileges.of("run.hostport", str(port.host)), "spec.ports", f"it listens on port {port.host} of the machine"
            )
    if spec.cgroup_parent:
        yield Need(
            privileges.of("run.cgroup-parent", spec.cgroup_parent),
            "spec.cgroup_parent",
            f"it chooses {spec.cgroup_parent} for its limits",
        )
    # A cluster's runtime classes are names that mean what whoever made them wrote: none of them is the usual one by its name.
    if spec.runtime and (spec.runtime not in _USUAL_RUNTIMES or spec.format == "kubernetes"):
        yield Need(privileges.of("run.runtime", spec.runtime), "spec.runtime", f"it chooses the runtime {spec.runtime}")
    for name in spec.annotations:
        if name.startswith(_OBEYED) and name not in _HARMLESS and spec.format != "kubernetes":
            yield Need(privileges.of("run.runtime", name), "spec.annotations", f"the runtime obeys the annotation {name}")
