"""Kubernetes objects in, pods and the Spec of each of their containers out; pod templates wherever an object holds one.

Fields: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pratique._kit.yamltree import MAX_DEPTH, MAX_NODES, Node
from pratique.model.errors import BudgetExceededError
from pratique.workload.place import Place
from pratique.workload.spec import MAX_LISTED, MAX_SPECS, Mount, Port, Spec, Variable, capability

CONTAINERS = (("initContainers", "init container"), ("containers", "container"), ("ephemeralContainers", "ephemeral container"))
# What the API server keeps beside what was asked for: never read here, and often larger than the rest.
_KEPT = frozenset(("managedFields", "status"))
_HERE = Place(1, 1)  # an object that came as JSON has no lines
_LIST_DEPTH = 2  # lists in lists of objects; kubectl writes one level
# Where the objects that make pods keep the template; a resource of any other kind is looked at in the same places.
_TEMPLATES = (("spec", "template"), ("spec", "jobTemplate", "spec", "template"), ("template",), ("spec", "podTemplate"))
_EMBEDDED_DEPTH = 6  # levels below spec: a template of a replica of a group of a job is four down
_HOST = (("hostNetwork", "net"), ("hostPID", "pid"), ("hostIPC", "ipc"))


class Container(NamedTuple):
    """One container of a pod: its node, its name and what sort it is."""

    node: Node
    name: str
    sort: str


class Pod(NamedTuple):
    """A pod or the template of one: the object it is in, its metadata and its spec."""

    owner: Node
    metadata: Node
    spec: Node

    @property
    def subject(self) -> str:
        """Kind, namespace and name, as people name objects."""
        namespace, name = self.owner.get("metadata", "namespace").string, self.owner.get("metadata", "name").string
        named = name or self.owner.get("metadata", "generateName").string or "(without a name)"
        return f"{self.owner.get('kind').string} {namespace + '/' if namespace else ''}{named}"

    def containers(self) -> Iterator[Container]:
        """Yield init containers, containers and ephemeral containers."""
        for key, sort in CONTAINERS:
            for number, node in enumerate(self.spec.get(key)):
                if node.kind == "map":
                    yield Container(node, node.get("name").string or f"number {number + 1}", sort)


def is_object(document: Node) -> bool:
    """Say whether a document is a Kubernetes object."""
    return document.kind == "map" and bool(document.get("apiVersion").string) and bool(document.get("kind").string)


def objects(document: Node, depth: int = 0) -> Iterator[Node]:
    """Yield an object, or those in a List. Raises BudgetExceededError for lists in lists."""
    if document.get("items").kind == "list" and document.get("kind").string.endswith("List"):
        if depth >= _LIST_DEPTH:
            raise BudgetExceededError(f"lists of objects deeper than {_LIST_DEPTH}")
        for item in document.get("items"):
            yield from objects(_typed(item, document), depth + 1)
    elif is_object(document):
        yield document


def _typed(item: Node, document: Node) -> Node:
    """Give an item of a `PodList` or its like the kind that the list leaves out of it, as the API's own answers do."""
    kind = document.get("kind").string.removesuffix("List")
    if not kind or item.kind != "map" or item.get("kind").given:
        return item
    own = {"kind": Node("text", item.place, kind, plain=False), "apiVersion": document.get("apiVersion")}
    return msgspec.structs.replace(item, pairs={**item.pairs, **own})


def pods(documents: list[Node]) -> list[Pod]:
    """Return the pods and pod templates of all documents. Raises BudgetExceededError."""
    found: list[Pod] = []
    for document in documents:
        for item in objects(document):
            found += _pods(item)
            if len(found) > MAX_SPECS:
                raise BudgetExceededError(f"more than {MAX_SPECS} pods")
    return found


def _pods(item: Node) -> Iterator[Pod]:
    if item.get("kind").string == "Pod":
        yield Pod(item, item.get("metadata"), item.get("spec"))
        return
    found = False
    for path in _TEMPLATES:
        template = item.get(*path)
        if any(template.get("spec", key).kind == "list" for key, _ in CONTAINERS):
            found = True
            yield Pod(item, template.get("metadata"), template.get("spec"))
    if not found and "." in item.get("apiVersion").string.partition("/")[0]:
        yield from _embedded(item, item.get("spec"), Node("none", item.place), 0)


def _embedded(owner: Node, node: Node, metadata: Node, depth: int) -> Iterator[Pod]:
    """Yield what has containers somewhere in a custom resource, whatever its kind calls it."""
    if any(item.get("image").string for item in node.get("containers")):
        yield Pod(owner, metadata, node)
    elif depth < _EMBEDDED_DEPTH:
        for _, value in node.members():
            for inner in (value, *value):
                yield from _embedded(owner, inner, node.get("metadata"), depth + 1)


def extract(documents: list[Node]) -> list[Spec]:
    """Return one Spec a container; what the pod says counts where its container says nothing. Raises BudgetExceededError."""
    found: list[Spec] = []
    for pod in pods(documents):
        found += [_Reader(pod, container).spec() for container in pod.containers()]
        if len(found) > MAX_SPECS:
            raise BudgetExceededError(f"more than {MAX_SPECS} containers")
    return found


def extract_object(item: Mapping[str, Any]) -> list[Spec]:
    """Return one Spec a container of an object that was decoded already, as an AdmissionReview holds it; places are (1, 1).

    Raises BudgetExceededError for what is deeper or larger than any real object.
    """
    return extract([_Values().node(item)])


def pod_templates(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the pods (`metadata` and `spec`) that a decoded object is or makes, as `pss.violations` takes them."""
    if item.get("kind") == "Pod":
        return [item]
    found: list[Mapping[str, Any]] = []
    for path in _TEMPLATES:
        template: Any = item
        for key in path:
            template = template.get(key) if isinstance(template, Mapping) else None
        spec = template.get("spec") if isinstance(template, Mapping) else None
        if isinstance(spec, Mapping) and any(isinstance(spec.get(key), list) for key, _ in CONTAINERS):
            found.append(template)
    return found


class _Values:
    """Decoded JSON in, nodes out, as the readers of YAML make them; words that were strings stay apart from true and null."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def node(self, value: Any, depth: int = 0) -> Node:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise BudgetExceededError(f"an object of more than {MAX_NODES} values or {MAX_DEPTH} levels")
        if isinstance(value, str):
            return Node("text", _HERE, value, plain=False)
        if isinstance(value, Mapping):
            pairs = {str(key): self.node(one, depth + 1) for key, one in value.items() if depth > 1 or key not in _KEPT}
            return Node("map", _HERE, pairs=pairs)
        if isinstance(value, (list, tuple)):
            return Node("list", _HERE, items=[self.node(one, depth + 1) for one in value])
        if value is None or isinstance(value, bool):
            return Node("text", _HERE, "null" if value is None else "true" if value else "false")
        return Node("text", _HERE, str(value))


def _listed(node: Node) -> list[Node]:
    items = list(node)
    if len(items) > MAX_LISTED:
        raise BudgetExceededError(f"a list of more than {MAX_LISTED} items")
    return items


class _Reader:
    def __init__(self, pod: Pod, container: Container) -> None:
        self._pod = pod
        self._node = container.node
        self._subject = f"{pod.subject}, {container.sort} {container.name}"
        self._own = container.node.get("securityContext")
        self._shared = pod.spec.get("securityContext")
        self._places: dict[str, Place] = {}

    def spec(self) -> Spec:
        user, group = self._merged("user", "runAsUser"), self._merged("group", "runAsGroup")
        limits = self._node.get("resources", "limits")
        escalation = self._field("no_new_privileges", "allowPrivilegeEscalation").truth
        capabilities = self._own.get("capabilities")
        for side, attribute in (("add", "capabilities_add"), ("drop", "capabilities_drop")):
            if capabilities.get(side).given:
                self._places[attribute] = capabilities.at(side)
        if self._node.get("image").given:
            self._places["image"] = self._node.at("image")
        return Spec(
            format="kubernetes",
            subject=self._subject,
            place=self._node.place,
            image=self._node.get("image").string,
            user=user.string or None,
            group=group.string or None,
            groups=tuple(item.string for item in _listed(self._shared.get("supplementalGroups"))),
            run_as_non_root=self._merged("run_as_non_root", "runAsNonRoot").truth,
            privileged=self._field("privileged", "privileged").truth is True,
            capabilities_add=tuple(capability(item.string) for item in _listed(capabilities.get("add"))),
            capabilities_drop=tuple(capability(item.string) for item in _listed(capabilities.get("drop"))),
            host_namespaces=tuple(self._namespaces()),
            mounts=tuple(self._mounts()),
            read_only_root=self._field("read_only_root", "readOnlyRootFilesystem").truth,
            no_new_privileges=None if escalation is None else not escalation,
            seccomp=self._profile("seccomp", "seccompProfile"),
            apparmor=self._profile("apparmor", "appArmorProfile"),
            masked_paths=self._field("masked_paths", "procMount").string in ("", "Default"),
            ports=tuple(self._ports()),
            environment=tuple(self._environment()),
            memory_limit=limits.get("memory").string or None,
            cpu_limit=limits.get("cpu").string or None,
            selinux=self._selinux(),
            uid=user.integer,
            gid=group.integer,
            user_namespace=True if self._pod.spec.get("hostUsers").truth is False else None,
            sysctls={item.get("name").string: item.get("value").string for item in _listed(self._shared.get("sysctls"))},
            runtime=self._pod.spec.get("runtimeClassName").string or None,
            restart=self._restart(),
            labels={name: value.string for name, value in self._pod.metadata.get("labels").members()},
            annotations={name: value.string for name, value in self._pod.metadata.get("annotations").members()},
            command=tuple(item.string for key in ("command", "args") for item in _listed(self._node.get(key))),
            host_process=self._host_process(),
            namespace=self._pod.owner.get("metadata", "namespace").string,
            places=self._places,
        )

    def _selinux(self) -> str | None:
        given = self._merged("selinux", "seLinuxOptions")
        return "unconfined" if given.get("type").string == "spc_t" else given.get("type").string or None

    def _restart(self) -> str | None:
        """A container's own word counts before its pod's: a sidecar's (1.29), and any container's (1.34), by rules, too."""
        if list(self._node.get("restartPolicyRules")):
            return "Always"
        own = self._node.get("restartPolicy").string
        return own or self._pod.spec.get("restartPolicy").string or None

    def _host_process(self) -> bool:
        """A process of a Windows node: the container's own word counts before the pod's."""
        for context in (self._own, self._shared):
            node = context.get("windowsOptions", "hostProcess")
            if node.given:
                self._places["host_process"] = node.place
                return node.truth is True
        return False

    def _annotated(self, attribute: str) -> str | None:
        """AppArmor was an annotation before it was a field."""
        if attribute != "apparmor":
            return None
        key = f"container.apparmor.security.beta.kubernetes.io/{self._node.get('name').string}"
        value = self._pod.metadata.get("annotations").get(key)
        if value.given:
            self._places[attribute] = value.place
        return value.string or None

    def _field(self, attribute: str, key: str) -> Node:
        node = self._own.get(key)
        if node.given:
            self._places[attribute] = self._own.at(key)
        return node

    def _merged(self, attribute: str, key: str) -> Node:
        node = self._field(attribute, key)
        if node.given:
            return node
        node = self._shared.get(key)
        if node.given:
            self._places[attribute] = self._shared.at(key)
        return node

    def _profile(self, attribute: str, key: str) -> str | None:
        node = self._merged(attribute, key)
        kind = node.get("type").string
        if not node.given:
            return self._annotated(attribute)
        return "unconfined" if kind == "Unconfined" else node.get("localhostProfile").string or kind or None

    def _namespaces(self) -> Iterator[str]:
        for key, namespace in _HOST:
            if self._pod.spec.get(key).truth is True:
                self._places["host_" + namespace] = self._pod.spec.at(key)
                yield namespace

    def _mounts(self) -> Iterator[Mount]:
        volumes = {volume.get("name").string: volume for volume in _listed(self._pod.spec.get("volumes"))}
        for item in _listed(self._node.get("volumeMounts")):
            name = item.get("name").string
            volume = volumes.get(name, Node("none", item.place))
            path = volume.get("hostPath", "path")
            yield Mount(
                kind="bind" if volume.get("hostPath").given else "volume",
                source=path.string if path.given else name,
                target=item.get("mountPath").string,
                read_only=item.get("readOnly").truth is True,
                propagation=item.get("mountPropagation").string,
                place=item.place,
            )

    def _ports(self) -> Iterator[Port]:
        for item in _listed(self._node.get("ports")):
            host = item.get("hostPort").integer or 0
            yield Port(container=item.get("containerPort").string, host=host, address=item.get("hostIP").string, place=item.place)

    def _environment(self) -> Iterator[Variable]:
        for item in _listed(self._node.get("env")):
            if item.get("value").given:
                yield Variable(item.get("name").string, item.get("value").string, item.place)
