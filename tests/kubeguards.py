"""Admission requests as data in; what an API server's own policies say and which webhooks it asks, evaluated here, out.

`tests/enforce/kubernetes/guards.toml` has the requests and what is expected of them; another evaluator takes the same.
Matching: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

CHART = Path(__file__).parents[1] / "integrations" / "kubernetes"
FILE = Path(__file__).parent / "enforce" / "kubernetes" / "guards.toml"
OBJECTS: list[dict[str, Any]] = [one for one in yaml.safe_load_all((CHART / "manifests.yaml").read_text()) if one]
AUTHORIZATION: dict[str, Any] = yaml.safe_load((CHART / "apiserver" / "authorization.yaml").read_text())


class Case(msgspec.Struct, forbid_unknown_fields=True):
    """`request` is `OPERATION GROUP RESOURCE[/SUB] [NAMESPACE/]NAME`, with `-` for what is empty."""

    what: str
    user: str
    request: str
    groups: list[str] = []
    bare: bool = False
    object: str = ""
    old: str = ""
    denied: str = ""
    asked: list[str] = []

    def values(self) -> dict[str, Any]:
        """Return the variables of an expression, as the API server declares them."""
        operation, group, resource, place = ("" if word == "-" else word for word in self.request.split())
        namespace, _, name = place.rpartition("/")
        resource, _, sub = resource.partition("/")
        user: dict[str, Any] = {"username": self.user}
        if not self.bare:  # an empty list is left out
            user["groups"] = [*self.groups, "system:authenticated"]
        kind = {"group": group, "version": "v1", "kind": "X"}
        what = {"group": group, "version": "v1", "resource": resource}
        request = {
            "kind": kind, "resource": what, "requestKind": kind, "requestResource": what, "operation": operation,
            "userInfo": user, "dryRun": False, "options": {},
        }  # fmt: skip
        request |= {"name": name} if name != "-" else {}  # what is empty is left out
        request |= {"subResource": sub, "requestSubResource": sub} if sub else {}
        request |= {"namespace": namespace} if namespace else {}
        return {
            "request": request,
            "object": json.loads(self.object) if self.object else None,
            "oldObject": json.loads(self.old) if self.old else None,
        }


class Access(msgspec.Struct, forbid_unknown_fields=True):
    """What an authoriser might be asked."""

    what: str
    asked: bool
    user: str = "dev1"
    attributes: dict[str, str] = {}
    path: dict[str, str] = {}

    def values(self, *, whole: bool) -> dict[str, Any]:
        """Return the variable of an expression; with `whole` what is empty is there, as "" ."""
        request: dict[str, Any] = {"user": self.user, "groups": ["system:authenticated"]}
        if whole:
            request |= {"uid": "", "extra": {}}
        names = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
        if self.attributes:
            request["resourceAttributes"] = (dict.fromkeys(names, "") if whole else {}) | self.attributes
        if self.path:
            request["nonResourceAttributes"] = self.path
        return {"request": request}


_READ = tomllib.loads(FILE.read_text())
CASES = msgspec.convert(_READ["case"], list[Case])
ACCESSES = msgspec.convert(_READ["access"], list[Access])


def kinds(kind: str) -> list[dict[str, Any]]:
    """Return the objects of a kind in the manifests."""
    return [one for one in OBJECTS if one["kind"] == kind]


def webhooks() -> dict[str, dict[str, Any]]:
    """Return the webhooks by the first word of their name."""
    (configuration,) = kinds("ValidatingWebhookConfiguration")
    return {one["name"].partition(".")[0]: one for one in configuration["webhooks"]}


def evaluator(*names: str) -> Callable[..., Any]:
    """Return what evaluates an expression with these variables, of any type."""
    from cel_expr_python import cel  # type: ignore[import-untyped]

    environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))

    def evaluate(expression: str, **values: Any) -> Any:
        value = environment.compile(expression).eval(data=values)
        assert str(value.type()) != "ERROR", (expression, value.plain_value())  # an error is a value, and a true one
        return value.plain_value()

    return evaluate


def matches(constraints: Mapping[str, Any], rules: Iterable[Mapping[str, Any]], request: Mapping[str, Any]) -> bool:
    """Say whether the API server looks at a request for a policy or a webhook at all."""
    namespace = request.get("namespace", "")
    selector = constraints.get("namespaceSelector") or {}
    if namespace and not _selects(selector, {"kubernetes.io/metadata.name": namespace}):
        return False
    if request["resource"]["resource"] == "namespaces" and not _selects(
        selector, {"kubernetes.io/metadata.name": request.get("name", "")}
    ):
        return False
    return any(_rule(rule, request, namespace) for rule in rules)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or []:
        assert term["operator"] == "NotIn"
        if labels.get(term["key"]) in term["values"]:
            return False
    return True


def _rule(rule: Mapping[str, Any], request: Mapping[str, Any], namespace: str) -> bool:
    resource, sub = request["resource"]["resource"], request.get("subResource", "")
    scope = rule.get("scope", "*")
    return (
        bool({request["operation"], "*"} & set(rule["operations"]))
        and bool({request["resource"]["group"], "*"} & set(rule["apiGroups"]))
        and scope in ("*", "Namespaced" if namespace else "Cluster")
        and any(_resource(pattern, resource, sub) for pattern in rule["resources"])
    )


def _resource(pattern: str, resource: str, sub: str) -> bool:
    name, _, under = pattern.partition("/")
    return name in ("*", resource) and under in ("*", sub)


def denying(case: Case) -> list[str]:
    """Return the policies that deny a request."""
    evaluate = evaluator("request", "object", "oldObject", "variables")
    values, found = case.values(), []
    for policy in kinds("ValidatingAdmissionPolicy"):
        spec = policy["spec"]
        if not matches(spec["matchConstraints"], spec["matchConstraints"]["resourceRules"], values["request"]):
            continue
        if not all(evaluate(one["expression"], **values, variables={}) for one in spec.get("matchConditions", [])):
            continue
        variables: dict[str, Any] = {}
        for one in spec.get("variables", []):
            variables[one["name"]] = evaluate(one["expression"], **values, variables=variables)
        if not all(evaluate(one["expression"], **values, variables=variables) for one in spec["validations"]):
            found.append(policy["metadata"]["name"])
    return found


def asking(case: Case) -> list[str]:
    """Return the webhooks that are asked about a request."""
    evaluate = evaluator("request", "object", "oldObject")
    values = case.values()
    return [
        name
        for name, webhook in webhooks().items()
        if matches(webhook, webhook["rules"], values["request"])
        and all(evaluate(one["expression"], **values) for one in webhook.get("matchConditions", []))
    ]
