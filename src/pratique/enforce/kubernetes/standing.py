"""A cluster's own configuration in, whether the gate stands there out: what is asked, who guards it, what RBAC gives anyway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pratique.enforce.doctor.finding import Checked, amber, green, red
from pratique.enforce.kubernetes import guarding
from pratique.enforce.kubernetes.api import ApiClient
from pratique.model.errors import CouldNotError

SECONDS = 10.0  # a person waits
_NAME = "kubernetes.io/metadata.name"  # set by the API server, and nobody can change it
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
_MENDED = "apply integrations/kubernetes/manifests.yaml as it is"
# What must be asked about: operation, group, resource.
ASKED: tuple[tuple[str, str, str], ...] = (
    *(
        (operation, group, resource)
        for operation in ("CREATE", "UPDATE")
        for group, resources in (
            ("", ("pods", "replicationcontrollers", "podtemplates", "persistentvolumes")),
            ("apps", ("deployments", "replicasets", "statefulsets", "daemonsets")),
            ("batch", ("jobs", "cronjobs")),
        )
        for resource in resources
    ),
    *(("CONNECT", "", f"pods/{sub}") for sub in ("exec", "attach", "portforward", "proxy")),
    ("CONNECT", "", "nodes/proxy"),
    ("UPDATE", "", "pods/ephemeralcontainers"),
    ("CREATE", "", "serviceaccounts/token"),
    ("CREATE", "", "secrets"),
    ("CREATE", "", "pods/binding"),
    ("CREATE", "", "bindings"),
    ("UPDATE", "certificates.k8s.io", "certificatesigningrequests/approval"),
    ("CREATE", "node.k8s.io", "runtimeclasses"),
    ("CREATE", "resource.k8s.io", "resourceclaims"),
    ("CREATE", "resource.k8s.io", "resourceclaimtemplates"),
)
_GUARDS = (guarding.CLUSTER_OBJECTS, guarding.NAMESPACE, guarding.POD_STATUS)
# What a role may give that a grant should: verbs and resource, by the name that people know it by.
_WAYS = (
    ("exec", ("create", "get"), "", "pods/exec"),
    ("attach", ("create", "get"), "", "pods/attach"),
    ("port-forward", ("create", "get"), "", "pods/portforward"),
    ("ephemeral containers", ("update", "patch"), "", "pods/ephemeralcontainers"),
    ("the agents of nodes", ("create", "get", "update"), "", "nodes/proxy"),
    ("tokens", ("create",), "", "serviceaccounts/token"),
    ("impersonation", ("impersonate",), "", "users"),
    ("impersonation of groups", ("impersonate",), "", "groups"),
    ("impersonation of accounts", ("impersonate",), "", "serviceaccounts"),
    ("approval of certificates", ("update", "patch"), "certificates.k8s.io", "certificatesigningrequests/approval"),
)


class Cluster(NamedTuple):
    """What of a cluster's configuration is looked at; None for what this server does not have."""

    webhooks: Sequence[Mapping[str, Any]]
    policies: Sequence[Mapping[str, Any]] | None
    bindings: Sequence[Mapping[str, Any]] | None
    roles: Sequence[Mapping[str, Any]]


async def read(api: ApiClient) -> Cluster:
    """Ask an API server. Raises CouldNotError for what may not be read."""
    return Cluster(
        await _items(api, _WEBHOOKS, must=True) or (),
        await _items(api, _POLICIES),
        await _items(api, _BINDINGS),
        await _items(api, _ROLES, must=True) or (),
    )


async def _items(api: ApiClient, path: str, *, must: bool = False) -> Sequence[Mapping[str, Any]] | None:
    status, answer = await api.read(path, SECONDS)
    if status == 404 and not must:
        return None
    if status != 200:
        raise CouldNotError(f"the API server answered {status} about {path}", hint="a token that may list it")
    items = answer.get("items")
    return items if isinstance(items, list) else ()


def look(cluster: Cluster) -> Iterator[Checked]:
    """Yield what holds and what does not."""
    yield from _webhooks(cluster.webhooks)
    yield from _guards(cluster)
    yield from _roles(cluster.roles)


def _webhooks(configurations: Sequence[Mapping[str, Any]]) -> Iterator[Checked]:
    ours = [
        webhook
        for configuration in configurations
        for webhook in configuration.get("webhooks") or []
        if str(webhook.get("name")).endswith(".grants.pratique")
    ]
    if not ours:
        yield red("webhook", "the API server asks no gate", _MENDED)
        return
    faults = {str(webhook.get("name")): list(_faults(webhook)) for webhook in ours}
    for found in faults.values():
        yield from found
    sound = [webhook for webhook in ours if not faults[str(webhook.get("name"))]]
    missing = [one for one in ASKED if not any(_asks(webhook, *one) and not _leaves_out(webhook, *one) for webhook in sound)]
    for operation, group, resource in missing:
        named = f"{resource}.{group}" if group else resource
        yield red("webhook.rules", f"{operation} {named} is not asked about, or not in a way that holds", _MENDED)
    if not missing:
        yield green("webhook.rules", f"{len(ASKED)} ways to run and to enter are asked about")


def _faults(webhook: Mapping[str, Any]) -> Iterator[Checked]:
    name = str(webhook.get("name"))
    if webhook.get("failurePolicy") != "Fail":
        yield red("webhook.failure", f"{name} lets everything through when the gate does not answer", "failurePolicy: Fail")
    if webhook.get("objectSelector"):
        yield red("webhook.selector", f"{name} asks by labels of objects, which who makes them writes", "no objectSelector")
    selector = webhook.get("namespaceSelector") or {}
    terms = selector.get("matchExpressions") or []
    if selector.get("matchLabels") or any(term.get("key") != _NAME or term.get("operator") != "NotIn" for term in terms):
        yield red("webhook.selector", f"{name} asks by labels of namespaces that people can change", f"{_NAME} NotIn [...] alone")


def _leaves_out(webhook: Mapping[str, Any], operation: str, group: str, resource: str) -> bool:
    try:
        return guarding.leaves_out(webhook, operation, group, resource)
    except ValueError:
        return True  # conditions that are none of the manifests'


def _asks(webhook: Mapping[str, Any], operation: str, group: str, resource: str) -> bool:
    return any(
        _has(rule.get("operations"), operation)
        and _has(rule.get("apiGroups"), group)
        and "*" in (rule.get("apiVersions") or ())
        and _covers(rule.get("resources") or (), resource)
        for rule in webhook.get("rules") or []
    )


def _has(listed: Any, value: str) -> bool:
    return value in (listed or ()) or "*" in (listed or ())


def _covers(patterns: Iterable[str], resource: str) -> bool:
    name, _, sub = resource.partition("/")
    wide = {resource, "*/*", f"{name}/*"} if sub else {resource, "*", "*/*"}
    return not wide.isdisjoint(patterns) or (bool(sub) and f"*/{sub}" in patterns)


def _guards(cluster: Cluster) -> Iterator[Checked]:
    if cluster.policies is None:
        yield amber(
            "guards",
            "this API server has no ValidatingAdmissionPolicy (1.30): who may change webhooks by RBAC may remove the gate",
            "let nobody change validatingwebhookconfigurations, and watch the audit log for it",
        )
        return
    for name in _GUARDS:
        policies = [one for one in cluster.policies if _named(one) == name]
        bound = [one for one in cluster.bindings or () if _denies(one, name)]
        if not policies or not bound:
            yield red("guards", f"{name} is not there, or bound without Deny: the gate can be removed", _MENDED)
        elif (policies[0].get("spec") or {}).get("failurePolicy", "Fail") != "Fail":
            yield red("guards", f"{name} is passed over where it errs", "failurePolicy: Fail")
        else:
            yield _guarded(policies[0], name)


def _guarded(policy: Mapping[str, Any], name: str) -> Checked:
    """Say whether a policy refuses what it is for: that it is there says nothing of what it says."""
    for attempt in guarding.attempts(policy):
        try:
            holds = guarding.refuses(policy, attempt)
        except ValueError:
            return amber("guards", f"{name} says what cannot be evaluated here", _MENDED)
        if not holds:
            return red("guards", f"{name} does not say what it should: somebody may {attempt.what}", _MENDED)
    return green("guards", f"{name} guards what belongs to the gate")


def _denies(binding: Mapping[str, Any], policy: str) -> bool:
    """Say whether a binding has a policy deny, everywhere: what it is restricted to leaves out the rest."""
    spec = binding.get("spec") or {}
    wide = not any(value for key, value in (spec.get("matchResources") or {}).items() if key != "matchPolicy")
    return spec.get("policyName") == policy and "Deny" in (spec.get("validationActions") or ()) and wide


def _roles(roles: Sequence[Mapping[str, Any]]) -> Iterator[Checked]:
    given: dict[str, list[str]] = {}
    for role in roles:
        name = _named(role)
        if name.startswith("system:") or name == "cluster-admin":
            continue
        for way, verbs, group, resource in _WAYS:
            if any(_gives(rule, verbs, group, resource) for rule in role.get("rules") or []):
                given.setdefault(way, []).append(name)
    for way, names in given.items():
        found = f"{way} by the role {', '.join(sorted(names)[:8])}"
        yield amber("rbac", found, "take it from the role: a grant gives it while it is needed")
    if not given:
        yield green("rbac", "no role but the system's gives what grants are for")


def _gives(rule: Mapping[str, Any], verbs: Sequence[str], group: str, resource: str) -> bool:
    return (
        any(_has(rule.get("verbs"), verb) for verb in verbs)
        and _has(rule.get("apiGroups"), group)
        and _grants(rule.get("resources") or (), resource)
        and not rule.get("resourceNames")
    )


def _grants(patterns: Iterable[str], resource: str) -> bool:
    """RBAC has `*` for everything and `*/SUB` for a subresource of anything."""
    _, _, sub = resource.partition("/")
    return not {resource, "*", f"*/{sub}"}.isdisjoint(patterns)


def _named(item: Mapping[str, Any]) -> str:
    return str((item.get("metadata") or {}).get("name") or "")
