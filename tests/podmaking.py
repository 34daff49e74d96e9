"""A number in, a pod out: each has some of the fields that the Pod Security Standards look at, spelled in every way JSON has.

What is usual, what is forbidden, and what only looks like one of them: letters of the other case, empty structs and lists, nulls,
two sources in one volume, annotations of fields that came later, and containers of three sorts that overrule their pod. A part is
such as an API server refuses before any standard is asked; the standards' own code answers for it all the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

Json = dict[str, Any]

# Upper and lower case, with and without the prefix that the kernel's name has and the API's has not.
_CAPABILITIES = (
    "ALL", "NET_BIND_SERVICE", "CHOWN", "SETPCAP", "NET_RAW", "SYS_ADMIN", "CAP_CHOWN", "chown", "AUDIT_WRITE", "MKNOD", "",
    "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT", "all", "CAP_ALL", "net_bind_service",
    "SYS_PTRACE", " CHOWN",
)  # fmt: skip
_SYSCTLS = (
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem", "net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_slow_start_after_idle", "kernel.msgmax", "net/ipv4/tcp_rmem",
    "net.ipv4.tcp_rmem ", "NET.ipv4.tcp_rmem", "",
)  # fmt: skip
_VOLUMES: tuple[Json, ...] = (
    {"emptyDir": {}}, {"configMap": {"name": "c"}}, {"secret": {"secretName": "s"}}, {"projected": {"sources": []}},
    {"csi": {"driver": "d"}}, {"ephemeral": {}}, {"downwardAPI": {}}, {"persistentVolumeClaim": {"claimName": "c"}},
    {"image": {"reference": "i"}}, {"image": {}}, {"hostPath": {"path": "/etc"}}, {"hostPath": {"path": ""}},
    {"nfs": {"server": "n", "path": "/"}}, {"gitRepo": {"repository": "r"}}, {"iscsi": {"iqn": "i", "lun": 0}},
    {"rbd": {"monitors": ["m"], "image": "i"}}, {"fc": {}}, {"cephfs": {"monitors": ["m"]}}, {"glusterfs": {"path": "p"}},
    {"azureFile": {"shareName": "s"}}, {"portworxVolume": {"volumeID": "v"}}, {"storageos": {}}, {"flocker": {}},
    {"flexVolume": {"driver": "d"}}, {"gcePersistentDisk": {"pdName": "p"}}, {"scaleIO": {"secretRef": None}},
    {"awsElasticBlockStore": {"volumeID": "v"}}, {"cinder": {"volumeID": "v"}}, {"quobyte": {"registry": "r", "volume": "v"}},
    {"azureDisk": {"diskURI": "u"}}, {"vsphereVolume": {"volumePath": "v"}}, {"photonPersistentDisk": {"pdID": "p"}},
    {}, {"emptyDir": None}, {"hostPath": None}, {"emptyDir": {}, "hostPath": {"path": "/"}}, {"hostPath": None, "secret": {}},
    {"emptyDir": None, "nfs": {"server": "n", "path": "/"}}, {"emptydir": {}}, {"HostPath": {"path": "/"}}, {"newSource": {}},
)  # fmt: skip
_SELINUX = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t", "spc_t", "Container_t", None)
_PROFILES: tuple[Json | None, ...] = (
    {"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "p"}, {"type": "Localhost"}, {"type": "Unconfined"},
    {"type": ""}, {"type": None}, {}, {"type": "runtimeDefault"}, {"type": "runtime/default"}, {"localhostProfile": "p"}, None,
)  # fmt: skip
_BOOLS = (True, False, None)
_SWITCHED = (True, True, False, None)
_ANNOTATED = (
    "runtime/default", "docker/default", "localhost/p", "localhost/", "unconfined", "", "localhost", "runtime/other",
    "Runtime/default", " runtime/default", None,
)  # fmt: skip
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
_PROC = ("Default", "Default", "Unmasked", "", "default", None)
_OS: tuple[Json | None, ...] = (
    {"name": "windows"}, {"name": "windows"}, {"name": "linux"}, {"name": "Windows"}, {"name": None}, {}, None,
)  # fmt: skip
_ACTIONS = ("httpGet", "tcpSocket", "exec", "grpc")
_LISTS = ("initContainers", "containers", "ephemeralContainers")


class _Maker:
    """One pod in the making. `careful` pods have most fields right, so that one wrong one decides."""

    def __init__(self, number: int) -> None:
        self._chance = random.Random(number)
        self._careful = self._chance.random() < 0.6
        self._number = number

    def pod(self) -> Json:
        spec: Json = {"containers": [self._container(f"c{n}") for n in range(self._pick((1, 1, 1, 2)))]}
        self._others(spec)
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            self._maybe(spec, 0.05, key, lambda: self._pick(_SWITCHED))
        self._maybe(spec, 0.3, "hostUsers", lambda: self._pick(_BOOLS))
        self._maybe(spec, 0.2, "os", lambda: self._copy(self._pick(_OS)))
        self._maybe(spec, 0.25 if self._careful else 0.5, "volumes", self._volumes)
        self._maybe(spec, 0.8 if self._careful else 0.6, "securityContext", self._pod_context)
        self._maybe(spec, 0.03, "HostNetwork", lambda: True)  # names are case-sensitive: nobody knows this one
        self._maybe(spec, 0.03, "shareProcessNamespace", lambda: True)
        if self._says(0.01):
            spec["containers"] = self._pick(([], None, [None]))
        if self._says(0.005):
            del spec["containers"]
        metadata: Json = {"name": f"p{self._number}", "namespace": "default"}
        self._maybe(metadata, 0.25, "annotations", lambda: self._annotations(spec))
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    # -- chance ---------------------------------------------------------------------------------------------------------------

    def _says(self, often: float) -> bool:
        return self._chance.random() < often

    def _pick(self, of: Sequence[Any]) -> Any:
        return self._chance.choice(of)

    def _maybe(self, into: Json, often: float, key: str, make: Callable[[], Any]) -> None:
        if self._says(often):
            into[key] = make()

    def _copy(self, of: Json | None) -> Json | None:
        return None if of is None else dict(of)

    def _usual(self, usual: Any, others: Sequence[Any]) -> Any:
        return usual if self._careful and self._says(0.93) else self._pick(others)

    # -- of the pod -----------------------------------------------------------------------------------------------------------

    def _others(self, spec: Json) -> None:
        if self._says(0.25):
            spec["initContainers"] = [self._container("i")]
            self._maybe(spec["initContainers"][0], 0.4, "restartPolicy", lambda: "Always")
        if self._says(0.2):
            spec["ephemeralContainers"] = [self._container("e")]
            self._maybe(spec["ephemeralContainers"][0], 0.5, "targetContainerName", lambda: "c0")
        for key in ("initContainers", "ephemeralContainers"):
            self._maybe(spec, 0.02, key, lambda: self._pick(([], None)))

    def _volumes(self) -> Any:
        if self._says(0.05):
            return self._pick(([], None, [None]))
        sources = _VOLUMES[:10] if self._careful and self._says(0.7) else _VOLUMES
        return [{"name": f"v{n}", **self._pick(sources)} for n in range(self._pick((1, 1, 2)))]

    def _annotations(self, spec: Json) -> Any:
        if self._says(0.1):
            return self._pick(({}, None))
        listed = [one for key in _LISTS for one in spec.get(key) or () if one]
        names = [one["name"] for one in listed] + ["nobody", ""]
        keys = [_APPARMOR + self._pick(names), _SECCOMP + self._pick(names), "seccomp.security.alpha.kubernetes.io/pod"]
        keys += [_APPARMOR.upper() + "c0", "seccomp.security.alpha.kubernetes.io/podx", "note"]
        return {self._pick(keys): self._pick(_ANNOTATED) for _ in range(self._pick((1, 2)))}

    def _pod_context(self) -> Any:
        if self._says(0.05):
            return self._pick(({}, None))
        made = self._shared()
        self._maybe(made, 0.1 if self._careful else 0.3, "sysctls", self._sysctls)
        self._maybe(made, 0.05, "supplementalGroups", lambda: [0])
        self._maybe(made, 0.03, "privileged", lambda: True)  # of containers alone; a pod has no such field
        return made

    def _sysctls(self) -> Any:
        if self._says(0.08):
            return self._pick(([], None, [{"value": "1"}], [None]))
        return [{"name": self._pick(_SYSCTLS), "value": "1"} for _ in range(self._pick((1, 2)))]

    # -- of pod and container -------------------------------------------------------------------------------------------------

    def _shared(self) -> Json:
        made: Json = {}
        rarely = 0.04 if self._careful else 0.2
        self._maybe(made, 0.7 if self._careful else 0.4, "runAsNonRoot", lambda: self._usual(True, _BOOLS))
        profile = _PROFILES[0]
        self._maybe(made, 0.7 if self._careful else 0.4, "seccompProfile", lambda: self._copy(self._usual(profile, _PROFILES)))
        self._maybe(made, 0.3, "runAsUser", lambda: self._usual(1000, (0, 1, 1000, None)))
        self._maybe(made, 0.1, "runAsGroup", lambda: 0)
        self._maybe(made, rarely, "seLinuxOptions", self._selinux)
        self._maybe(made, rarely, "appArmorProfile", lambda: self._copy(self._pick(_PROFILES)))
        self._maybe(made, rarely, "windowsOptions", self._windows)
        return made

    def _selinux(self) -> Any:
        if self._says(0.1):
            return self._pick(({}, None))
        made: Json = {}
        self._maybe(made, 0.8, "type", lambda: self._pick(_SELINUX))
        for key in ("user", "role", "level"):
            self._maybe(made, 0.15, key, lambda: self._pick(("", "x", None)))
        return made

    def _windows(self) -> Any:
        return self._pick(({}, None, {"runAsUserName": "u"}, *({"hostProcess": value} for value in _BOOLS)))

    # -- of a container -------------------------------------------------------------------------------------------------------

    def _container(self, name: str) -> Json:
        made: Json = {"name": name, "image": "i"}
        self._maybe(made, 0.93 if self._careful else 0.7, "securityContext", self._context)
        self._maybe(made, 0.15, "ports", self._ports)
        for key in ("livenessProbe", "readinessProbe", "startupProbe"):
            self._maybe(made, 0.05, key, self._handler)
        self._maybe(made, 0.08, "lifecycle", self._lifecycle)
        return made

    def _context(self) -> Any:
        if not self._careful and self._says(0.05):
            return self._pick(({}, None))
        made = self._shared()
        self._maybe(made, 0.96 if self._careful else 0.5, "allowPrivilegeEscalation", lambda: self._usual(False, _BOOLS))
        self._maybe(made, 0.03 if self._careful else 0.15, "privileged", lambda: self._pick(_BOOLS))
        self._maybe(made, 0.07 if self._careful else 0.15, "procMount", lambda: self._pick(_PROC))
        self._maybe(made, 0.97 if self._careful else 0.5, "capabilities", self._capabilities)
        self._maybe(made, 0.03, "sysctls", lambda: [{"name": "kernel.msgmax"}])  # of pods alone; a container has no such field
        return made

    def _capabilities(self) -> Any:
        if self._says(0.02):
            return self._pick(({}, None, {"drop": None, "add": None}))
        made: Json = {}
        dropped: tuple[Any, ...] = (["ALL"], ["all"], ["CHOWN", "ALL"], [], None, ["CAP_ALL"], ["NET_RAW"], [None])
        self._maybe(made, 0.97 if self._careful else 0.6, "drop", lambda: self._usual(["ALL"], dropped))
        self._maybe(made, 0.08 if self._careful else 0.4, "add", self._added)
        return made

    def _added(self) -> Any:
        if self._says(0.1):
            return self._pick(([], None, [None]))
        return [self._pick(_CAPABILITIES) for _ in range(self._pick((1, 1, 2)))]

    def _ports(self) -> Any:
        if self._says(0.06):
            return self._pick(([], None, [None]))
        port: Json = {"containerPort": 80}
        self._maybe(port, 0.4, "hostPort", lambda: self._pick((0, 0, 80, -1, None)))
        self._maybe(port, 0.1, "hostIP", lambda: "127.0.0.1")
        return [{"containerPort": 8080}, port] if self._says(0.2) else [port]

    def _lifecycle(self) -> Any:
        if self._says(0.1):
            return self._pick(({}, None, {"stopSignal": "SIGTERM"}))
        return {hook: self._handler() for hook in self._pick((("postStart",), ("preStop",), ("postStart", "preStop")))}

    def _handler(self) -> Any:
        if self._says(0.08):
            return self._pick(({}, None, {"httpGet": None}))
        action = self._pick(_ACTIONS)
        if action in ("exec", "grpc"):
            return {"exec": {"command": ["host"]}} if action == "exec" else {"grpc": {"port": 80, "service": "host"}}
        made: Json = {"port": 80}
        self._maybe(made, 0.6, "host", lambda: self._pick(("", "", "127.0.0.1", "other", None)))
        if action == "httpGet":
            self._maybe(made, 0.2, "httpHeaders", lambda: [{"name": "Host", "value": "other"}])
        return {action: made}


def make(number: int) -> Json:
    """Return pod number so-and-so."""
    return _Maker(number).pod()


def singles() -> list[Json]:
    """Return pods that restricted admits but for one field: each value of each, in the pod and in each sort of container."""
    made = [_compliant(sort, own) for sort in _LISTS for own in _owns()]
    made += [_compliant("containers", {}, context={field: value}) for field, value in _contexts()]
    made += [_compliant("containers", {}, spec=spec) for spec in _specs()]
    made += [_compliant("initContainers", {}, notes=notes) for notes in _notes()]
    made += [_compliant("containers", {"name": nobody}, notes={_SECCOMP: "unconfined"}) for nobody in ("", None)]
    for system, users in (({"name": "windows"}, True), ({"name": "linux"}, False), (None, False)):
        said = {"os": system, "hostUsers": users}
        made += [_compliant("containers", {"securityContext": {field: value}}, spec=said) for field, value in _securities()]
        made += [_compliant("containers", {}, spec=said, context={field: value}) for field, value in _contexts()]
    return [one | {"metadata": one["metadata"] | {"name": f"s{number}"}} for number, one in enumerate(made)]


def _compliant(sort: str, own: Json, *, spec: Json | None = None, context: Json | None = None, notes: Json | None = None) -> Json:
    """Return a pod with two containers, one of them of this sort and with fields of its own."""
    good = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    shared = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **(context or {})}
    lists: Json = {"containers": [{"name": "c0", "image": "i", "securityContext": dict(good)}]}
    it = {"name": "c1", "image": "i", **own, "securityContext": good | (own.get("securityContext") or {})}
    lists[sort] = [*lists.get(sort, ()), it]
    metadata: Json = {"name": "s", "namespace": "default", **({"annotations": notes} if notes else {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**lists, "securityContext": shared, **(spec or {})}}


def _contexts() -> list[tuple[str, Any]]:
    """Return what a pod's security context and a container's have both."""
    found: list[tuple[str, Any]] = [("runAsNonRoot", value) for value in _BOOLS]
    found += [("runAsUser", value) for value in (0, 1, -1, None)]
    found += [(field, profile) for field in ("seccompProfile", "appArmorProfile") for profile in _PROFILES]
    found += [("seLinuxOptions", {"type": kind}) for kind in _SELINUX]
    found += [("seLinuxOptions", {key: value}) for key in ("user", "role", "level") for value in ("", "x", None)]
    found += [("windowsOptions", {"hostProcess": value}) for value in _BOOLS]
    return found + [("sysctls", [{"name": name, "value": "1"}]) for name in _SYSCTLS]


def _securities() -> list[tuple[str, Any]]:
    """Return what a container's security context has, those of a pod's among them."""
    found = [*_contexts(), *(("privileged", value) for value in _BOOLS), *(("procMount", value) for value in _PROC)]
    found += [("allowPrivilegeEscalation", value) for value in _BOOLS]
    found += [("capabilities", {"drop": ["ALL"], "add": [name]}) for name in _CAPABILITIES]
    return found + [("capabilities", {"drop": [name, "CHOWN"]}) for name in _CAPABILITIES]


def _owns() -> list[Json]:
    """Return what a container alone has."""
    found: list[Json] = [{"securityContext": {field: value}} for field, value in _securities()]
    found += [{"ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": port}]} for port in (0, 81, -1, None)]
    addresses = [{action: {"port": 80, "host": host}} for action in _ACTIONS[:2] for host in ("", "other", None)]
    found += [{probe: address} for probe in ("livenessProbe", "readinessProbe", "startupProbe") for address in addresses]
    return found + [{"lifecycle": {hook: address}} for hook in ("postStart", "preStop") for address in addresses]


def _specs() -> list[Json]:
    """Return what a pod's spec has."""
    found: list[Json] = [{key: value} for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") for value in _BOOLS]
    found += [{"volumes": [{"name": "good", "emptyDir": {}}, {"name": "v", **source}]} for source in _VOLUMES]
    return found + [{"os": system} for system in _OS]


def _notes() -> list[Json]:
    """Return annotations of what became fields later."""
    keys = [prefix + name for prefix in (_APPARMOR, _SECCOMP) for name in ("c0", "c1", "nobody", "")]
    keys += ["seccomp.security.alpha.kubernetes.io/pod", _APPARMOR.upper() + "c0"]
    return [{key: value} for key in keys for value in _ANNOTATED]
