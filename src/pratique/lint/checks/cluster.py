"""Checks of Kubernetes objects beyond the Pod Security Standards: tokens, secrets, namespaces, networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pratique._kit.yamltree import Node
from pratique.lint.hit import Hit
from pratique.lint.secrets import holds_secret
from pratique.workload.kubernetes import Pod

MIN_USER = 10_000  # accounts and groups of people and services of a node have smaller numbers
FIRST_FREE_PORT = 1024  # below it, the kernel asks for a privilege: net.ipv4.ip_unprivileged_port_start
_ANYWHERE = ("0.0.0.0/0", "::/0")
_TILLER = re.compile(r"(?:^|/)tiller(?:[:@]|$)")
# What stands in a file in the place of a secret until somebody, or some program, puts it in.
_PLACEHOLDER = re.compile(
    r"^\$|\$\{|\{\{|^<.*>$|^(?:ref\+|vault:|AgA|ENC\[)|^(?:x+|\*+|changeme|replace[-_ ]?me|todo)$", re.IGNORECASE
)


def _name(item: Node) -> str:
    namespace, name = item.get("metadata", "namespace").string, item.get("metadata", "name").string
    return f"{item.get('kind').string} {namespace + '/' if namespace else ''}{name}"


def hit_of(item: Node, at: Node, what: str) -> Hit:
    """Return a Hit that is identified by its object."""
    return Hit(at.place, f"{_name(item)}: {what}", f"{_name(item)}\0{what}", _name(item))


def service_account_token(pod: Pod) -> Iterator[Hit]:
    """The pod gets a token for the cluster's API, although most need none."""
    key = "automountServiceAccountToken"
    if pod.spec.get(key).truth is not False and any(True for _ in pod.containers()):
        place = pod.spec.at(key)
        yield Hit(place, f"{pod.subject}: a token for the cluster's API is mounted", f"{pod.subject}\0token", pod.subject)


def secret_variable(pod: Pod) -> Iterator[Hit]:
    """A secret becomes a variable, which every child process and crash report has."""
    for container in pod.containers():
        who = f"{pod.subject}, {container.sort} {container.name}"
        for item in container.node.get("env"):
            name = item.get("valueFrom", "secretKeyRef", "name")
            if name.string:
                yield Hit(
                    item.place,
                    f"{who}: the variable {item.get('name').string} is a secret",
                    f"{who}\0{item.get('name').string}",
                    who,
                )
        for item in container.node.get("envFrom"):
            name = item.get("secretRef", "name")
            if name.string:
                yield Hit(item.place, f"{who}: all of the secret {name.string} become variables", f"{who}\0{name.string}", who)


def host_aliases(pod: Pod) -> Iterator[Hit]:
    """Names are led elsewhere, past the cluster's own."""
    if pod.spec.get("hostAliases").items:
        yield Hit(
            pod.spec.at("hostAliases"), f"{pod.subject}: hostAliases writes /etc/hosts", f"{pod.subject}\0aliases", pod.subject
        )


def shared_processes(pod: Pod) -> Iterator[Hit]:
    """Its containers see one another's processes, their files and variables."""
    if pod.spec.get("shareProcessNamespace").truth is True:
        place = pod.spec.at("shareProcessNamespace")
        yield Hit(place, f"{pod.subject}: its containers share their processes", f"{pod.subject}\0processes", pod.subject)


def low_user(pod: Pod) -> Iterator[Hit]:
    """A number that an account of the node may have, too."""
    contexts = [("pod", pod.spec), *((f"{item.sort} {item.name}", item.node) for item in pod.containers())]
    for who, node in contexts:
        context = node.get("securityContext")
        for key in ("runAsUser", "runAsGroup"):
            number = context.get(key).integer
            if number is not None and 0 < number < MIN_USER:
                message = f"{pod.subject}, {who}: {key} is {number}"
                yield Hit(context.at(key), message, f"{pod.subject}\0{who}\0{key}", pod.subject)


def low_port(pod: Pod) -> Iterator[Hit]:
    """To open a port below 1024, a program needs root or a capability, unless the pod's own network says otherwise."""
    free = FIRST_FREE_PORT
    for item in pod.spec.get("securityContext", "sysctls"):
        if item.get("name").string == "net.ipv4.ip_unprivileged_port_start":
            free = item.get("value").integer or 0
    for container in pod.containers():
        who = f"{pod.subject}, {container.sort} {container.name}"
        for item in container.node.get("ports"):
            port = item.get("containerPort").integer
            if port is not None and 0 < port < free:
                message = f"{who}: to open port {port} it needs root or NET_BIND_SERVICE"
                yield Hit(item.get("containerPort").place, message, f"{who}\0port {port}", pod.subject)


def tiller(pod: Pod) -> Iterator[Hit]:
    """Helm 2's server, which does for everybody what its account may do: mostly everything."""
    for container in pod.containers():
        image = container.node.get("image")
        if _TILLER.search(image.string):
            who = f"{pod.subject}, {container.sort} {container.name}"
            yield Hit(image.place, f"{who}: Tiller acts for whoever reaches it", f"{who}\0tiller", pod.subject)


def namespace(pod: Pod) -> Iterator[Hit]:
    """Among what runs the cluster, or among everything that nobody has put anywhere."""
    place = pod.owner.get("metadata", "namespace")
    if place.string in ("kube-system", "kube-public", "kube-node-lease", "default"):
        what = "the cluster's own" if place.string != "default" else "the one for what nobody has put anywhere"
        yield Hit(place.place, f"{pod.subject}: the namespace {place.string} is {what}", f"{pod.subject}\0namespace", pod.subject)


def config_map_secret(item: Node) -> Iterator[Hit]:
    """A secret stands where everybody with access to the namespace reads it."""
    if item.get("kind").string == "ConfigMap":
        for name, value in item.get("data").members():
            if holds_secret(name, value.string):
                yield hit_of(item, Node("text", item.get("data").at(name)), f"{name} holds a secret in the clear")


def secret_manifest(item: Node) -> Iterator[Hit]:
    """A secret stands in a file: base64 hides nothing."""
    if item.get("kind").string != "Secret":
        return
    for key in ("data", "stringData"):
        for name, value in item.get(key).members():
            text = value.string.strip()
            if text and not _PLACEHOLDER.search(text):
                yield hit_of(item, Node("text", item.get(key).at(name)), f"{key}.{name} holds a secret in the file")


def external_addresses(item: Node) -> Iterator[Hit]:
    """Whoever may write services takes over traffic to any address (CVE-2020-8554)."""
    if item.get("kind").string == "Service" and item.get("spec", "externalIPs").items:
        yield hit_of(item, Node("text", item.get("spec").at("externalIPs")), "externalIPs takes traffic for addresses of others")


def open_policy(item: Node) -> Iterator[Hit]:
    """A policy that lets everything in, or out."""
    if item.get("kind").string != "NetworkPolicy":
        return
    for rule in item.get("spec", "ingress"):
        ports = "every port" if not rule.get("ports").items else "its ports"
        if not rule.get("from").items:
            yield hit_of(item, rule, f"lets everybody reach {ports} of the pods")
        for peer in _anywhere(rule.get("from")):
            yield hit_of(item, peer, f"lets every address reach {ports} of the pods")
    for rule in item.get("spec", "egress"):
        open_peers = list(_anywhere(rule.get("to"))) if rule.get("to").items else [rule]
        if open_peers and not rule.get("ports").items:
            yield hit_of(item, open_peers[0], "lets the pods reach every address")


def _anywhere(peers: Node) -> Iterator[Node]:
    for peer in peers:
        if peer.get("ipBlock", "cidr").string in _ANYWHERE and not peer.get("ipBlock", "except").items:
            yield peer.get("ipBlock", "cidr")


def allowed_repositories(item: Node) -> Iterator[Hit]:
    """A rule of Gatekeeper takes the beginning of an image's name, and a beginning without an end fits names of others, too."""
    if item.get("kind").string == "K8sAllowedRepos":
        for repository in item.get("spec", "parameters", "repos"):
            if repository.string and not repository.string.endswith("/") and "@" not in repository.string:
                what = f"{repository.string} allows every image whose name only begins so"
                yield hit_of(item, repository, what)


PODS: dict[str, Callable[[Pod], Iterator[Hit]]] = {
    "k8s-service-account-token": service_account_token,
    "k8s-secret-variable": secret_variable,
    "k8s-host-aliases": host_aliases,
    "k8s-shared-processes": shared_processes,
    "k8s-low-user": low_user,
    "k8s-low-port": low_port,
    "k8s-tiller": tiller,
    "k8s-namespace": namespace,
}
OBJECTS: dict[str, Callable[[Node], Iterator[Hit]]] = {
    "k8s-config-map-secret": config_map_secret,
    "k8s-secret-manifest": secret_manifest,
    "k8s-external-addresses": external_addresses,
    "k8s-open-network-policy": open_policy,
    "k8s-allowed-repositories": allowed_repositories,
}
