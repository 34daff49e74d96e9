"""An API server's own policies and conditions in, whether they let through or leave out what they must not, out.

A policy that is there and bound may say anything. So requests that must be refused are put to what it says, as the server would
evaluate them: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_NAME = "kubernetes.io/metadata.name"
_SOMEBODY = {"username": "somebody", "groups": ["system:masters", "system:authenticated"]}
_OURS = {"metadata": {"name": "pratique-gate"}}
CLUSTER_OBJECTS, NAMESPACE, POD_STATUS = (
    "pratique-guards-cluster-objects",
    "pratique-guards-namespace",
    "pratique-guards-pod-status",
)
# What a webhook with conditions has to be asked about, by resource: an object that counts, of somebody who is no node.
_COUNTS: dict[str, Mapping[str, Any]] = {
    "serviceaccounts/token": {"spec": {}},
    "secrets": {"metadata": {"name": "s"}, "type": "kubernetes.io/service-account-token"},
    "persistentvolumes": {"metadata": {"name": "v"}, "spec": {"hostPath": {"path": "/"}}},
    "certificatesigningrequests/approval": {"spec": {"signerName": "kubernetes.io/kube-apiserver-client"}},
    "pods/binding": {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}}},
    "bindings": {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}}},
}


class Attempt(NamedTuple):
    """A request that a policy must refuse."""

    what: str
    values: Mapping[str, Any]


def attempts(policy: Mapping[str, Any]) -> Iterator[Attempt]:
    """Yield what a policy of the gate's must refuse, by its name."""
    name = str((policy.get("metadata") or {}).get("name"))
    if name == CLUSTER_OBJECTS:
        group, resource = "admissionregistration.k8s.io", "validatingwebhookconfigurations"
        yield Attempt("remove the webhooks", _request("DELETE", group, resource, "pratique-gate", old=_OURS))
        yield Attempt("remove all webhooks at once", _request("DELETE", group, resource, "", old=_OURS))
        yield Attempt("change the webhooks", _request("UPDATE", group, resource, "pratique-gate", item=_OURS, old=_OURS))
        group = "rbac.authorization.k8s.io"
        store = {"metadata": {"name": "pratique-store"}}
        yield Attempt("widen the gate's role", _request("UPDATE", group, "clusterroles", "pratique-store", item=store, old=store))
    elif name == NAMESPACE:
        selector = (policy.get("spec") or {}).get("matchConstraints", {}).get("namespaceSelector") or {}
        where = str((selector.get("matchLabels") or {}).get(_NAME) or "pratique-system")
        yield Attempt("delete the gate's pods", _request("DELETE", "", "pods", f"{where}/pratique-store-0", old=_OURS))
        options = {"container": "gate", "command": ["sh"]}
        yield Attempt("enter the store", _request("CONNECT", "", "pods/exec", f"{where}/pratique-store-0", item=options))
        yield Attempt("exchange its keys", _request("UPDATE", "", "secrets", f"{where}/pratique-gate-tls", item=_OURS, old=_OURS))
    elif name == POD_STATUS:
        said: Mapping[str, Any] = {"status": {"containerStatuses": [{"name": "c", "imageID": "a"}]}}
        other = {"status": {"containerStatuses": [{"name": "c", "imageID": "b"}]}}
        yield Attempt("say which image a pod runs", _request("UPDATE", "", "pods/status", "default/p", item=said, old=other))


def refuses(policy: Mapping[str, Any], attempt: Attempt) -> bool:
    """Say whether a policy refuses it, as the server would: also where an expression errs, as these policies fail closed.

    Raises ValueError for what cannot be evaluated here: variables that only a server has.
    """
    spec = policy.get("spec") or {}
    constraints = spec.get("matchConstraints") or {}
    values = {**attempt.values, "variables": {}}
    if constraints.get("excludeResourceRules") or constraints.get("objectSelector"):
        return False  # what is left out may be this
    if not _looks(constraints, values["request"]):
        return False
    conditions = [_evaluate(one, values) for one in spec.get("matchConditions") or []]
    if False in conditions:
        return False
    if None in conditions:
        return True
    for one in spec.get("variables") or []:
        values["variables"][str(one.get("name"))] = _evaluate(one, values)
    return any(_evaluate(one, values) is not True for one in spec.get("validations") or [])


def leaves_out(webhook: Mapping[str, Any], operation: str, group: str, resource: str) -> bool:
    """Say whether a webhook's conditions keep what counts from the gate. Raises ValueError as `refuses`."""
    conditions = webhook.get("matchConditions") or []
    if not conditions:
        return False
    values = _request(operation, group, resource, "default/x", item=_COUNTS.get(resource, {"metadata": {"name": "x"}}))
    return False in [_evaluate(one, values) for one in conditions]  # one that errs is a denial


def _looks(constraints: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    wanted = (constraints.get("namespaceSelector") or {}).get("matchLabels") or {}
    if (constraints.get("namespaceSelector") or {}).get("matchExpressions"):
        return False
    if request.get("namespace") and any(key != _NAME or value != request.get("namespace") for key, value in wanted.items()):
        return False
    resource, sub = request["resource"]["resource"], request.get("subResource", "")
    return any(
        _has(rule.get("operations"), request["operation"])
        and _has(rule.get("apiGroups"), request["resource"]["group"])
        and not rule.get("resourceNames")
        and rule.get("scope", "*") in ("*", "Namespaced" if request.get("namespace") else "Cluster")
        and any(_covers(str(pattern), resource, sub) for pattern in rule.get("resources") or ())
        for rule in constraints.get("resourceRules") or []
    )


def _has(listed: Iterable[str] | None, value: str) -> bool:
    return not {"*", value}.isdisjoint(listed or ())


def _covers(pattern: str, resource: str, sub: str) -> bool:
    name, _, under = pattern.partition("/")
    return name in ("*", resource) and under in ("*", sub)


def _request(
    operation: str,
    group: str,
    resource: str,
    place: str,
    *,
    item: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the variables of a request by somebody who may do anything by RBAC; `place` is `[NAMESPACE/]NAME`."""
    namespace, _, name = place.rpartition("/")
    resource, _, sub = resource.partition("/")
    request = {
        "operation": operation, "resource": {"group": group, "version": "v1", "resource": resource}, "subResource": sub,
        "name": name, "namespace": namespace, "userInfo": _SOMEBODY, "dryRun": False,
    }  # fmt: skip
    request = {key: value for key, value in request.items() if value != ""}  # as a server has it: what is empty is left out
    return {"request": request, "object": item, "oldObject": old}


def _evaluate(one: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return what an expression says of the values, None where it errs. Raises ValueError where it does not compile."""
    from cel_expr_python import cel  # type: ignore[import-untyped]

    environment = cel.NewEnv(variables=dict.fromkeys(("request", "object", "oldObject", "variables"), cel.Type.DYN))
    try:
        program = environment.compile(str(one.get("expression") or ""))
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    try:
        value = program.eval(data=dict(values))
    except RuntimeError:
        return None
    return None if str(value.type()) == "ERROR" else value.plain_value()  # an error is a value, and a true one
