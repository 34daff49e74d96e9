"""Whether the gate stands in a cluster: the manifests as they are do, and each way to weaken them is told."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pratique.enforce.kubernetes.standing import Cluster, look
from storing import PATHS

MANIFESTS = Path(__file__).parents[3] / "integrations" / "kubernetes" / "manifests.yaml"


def objects(kind: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(MANIFESTS.read_text()) if one and one["kind"] == kind]


def as_it_is() -> Cluster:
    return Cluster(
        objects("ValidatingWebhookConfiguration"),
        objects("ValidatingAdmissionPolicy"),
        objects("ValidatingAdmissionPolicyBinding"),
        objects("ClusterRole"),
    )


def colours(cluster: Cluster) -> set[str]:
    return {one.colour for one in look(cluster)}


def test_the_manifests_as_they_are_are_green() -> None:
    """Nothing to mend."""
    assert colours(as_it_is()) == {"green"}


def webhooks(change: Callable[[dict[str, Any]], object]) -> Cluster:
    cluster = as_it_is()
    made = copy.deepcopy(cluster.webhooks[0])
    for webhook in made["webhooks"]:
        change(webhook)
    return cluster._replace(webhooks=[made])


def policies(name: str, change: Callable[[dict[str, Any]], object]) -> Cluster:
    cluster = as_it_is()
    made = copy.deepcopy(list(cluster.policies or ()))
    for policy in made:
        if policy["metadata"]["name"] == f"pratique-guards-{name}":
            change(policy["spec"])
    return cluster._replace(policies=made)


def bindings(**spec: Any) -> Cluster:
    cluster = as_it_is()
    made: list[Any] = copy.deepcopy(list(cluster.bindings or ()))
    for one in made:
        one["spec"] |= spec
    return cluster._replace(bindings=made)


NEVER = {"name": "never", "expression": "false"}


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        (as_it_is()._replace(webhooks=[]), "asks no gate"),
        (webhooks(lambda one: one.update(failurePolicy="Ignore")), "lets everything through"),
        (webhooks(lambda one: one.update(objectSelector={"matchLabels": {"a": "b"}})), "labels of objects"),
        (webhooks(lambda one: one.update(namespaceSelector={"matchLabels": {"gate": "on"}})), "labels of namespaces"),
        (webhooks(lambda one: one.update(rules=[])), "CREATE pods is not asked about"),
        (webhooks(lambda one: [rule.update(apiVersions=["v1"]) for rule in one["rules"]]), "CREATE deployments.apps is not"),
        (webhooks(lambda one: [rule.update(operations=["CREATE"]) for rule in one["rules"]]), "CONNECT pods/exec is not"),
        (as_it_is()._replace(policies=[]), "the gate can be removed"),
        (as_it_is()._replace(bindings=[]), "the gate can be removed"),
        (bindings(validationActions=["Audit"]), "the gate can be removed"),
        (bindings(matchResources={"namespaceSelector": {"matchLabels": {"a": "b"}}}), "the gate can be removed"),
        (webhooks(lambda one: one.update(matchConditions=[NEVER])), "CREATE pods is not asked about"),
        (webhooks(lambda one: one.get("matchConditions", []).append(NEVER)), "CREATE secrets is not asked about"),
        (webhooks(lambda one: one.get("matchConditions", []).append({"expression": "authorizer.x()"})), "CREATE secrets is not"),
        (policies("cluster-objects", lambda spec: spec.update(matchConditions=[NEVER])), "may remove the webhooks"),
        (policies("cluster-objects", lambda spec: spec.update(validations=[{"expression": "true"}])), "may remove the webhooks"),
        (
            policies(
                "cluster-objects",
                lambda spec: spec.update(
                    matchConditions=[{"expression": "has(request.name) && request.name.startsWith('pratique-')"}]
                ),
            ),
            "may remove all webhooks at once",
        ),
        (policies("cluster-objects", lambda spec: spec["matchConstraints"]["resourceRules"].pop(0)), "may remove the webhooks"),
        (policies("cluster-objects", lambda spec: spec["matchConstraints"]["resourceRules"].pop(1)), "may widen the gate's role"),
        (
            policies("namespace", lambda spec: spec["matchConstraints"].update(excludeResourceRules=[{"resources": ["pods"]}])),
            "may delete the gate's pods",
        ),
        (
            policies("namespace", lambda spec: spec["matchConstraints"]["resourceRules"][0].update(operations=["DELETE"])),
            "may enter the store",
        ),
        (policies("pod-status", lambda spec: spec.update(validations=spec["validations"][1:])), "may say which image a pod runs"),
    ],
)
def test_what_lets_somebody_round_it_is_red(cluster: Cluster, says: str) -> None:
    """With what to do about it."""
    reds = [one for one in look(cluster) if one.colour == "red"]
    assert any(says in one.found for one in reds), reds
    assert all(one.mend for one in reds)


def test_what_rbac_gives_is_to_be_seen_to() -> None:
    """`edit`, as clusters have it, and a role of somebody's; not the system's own, nor one for a single name."""

    def role(name: str, *resources: str, verbs: tuple[str, ...] = ("create",), names: tuple[str, ...] = ()) -> dict[str, Any]:
        rule = {
            "apiGroups": [""],
            "resources": list(resources),
            "verbs": list(verbs),
            **({"resourceNames": list(names)} if names else {}),
        }
        return {"metadata": {"name": name}, "rules": [rule]}

    roles = [
        role("edit", "pods/attach", "pods/exec", "pods/portforward"), role("system:node", "serviceaccounts/token"),
        role("all", "*", verbs=("*",)), role("view", "pods", "pods/log", verbs=("get",)), role("sub", "*/exec"),
        role("one", "users", verbs=("impersonate",), names=("ops",)),
    ]  # fmt: skip
    found = {one.found for one in look(as_it_is()._replace(roles=roles)) if one.colour == "amber"}
    assert "exec by the role all, edit, sub" in found
    assert "impersonation by the role all" in found
    assert not any("view" in one or "one" in one.split(", ") for one in found)


def test_an_older_server_cannot_guard() -> None:
    """Before 1.30 there are no such policies: amber, as nothing better is to be had."""
    assert colours(as_it_is()._replace(policies=None, bindings=None)) == {"green", "amber"}


def test_a_real_cluster_is_looked_at(real: Any, tmp_path: Path) -> None:
    """With and without the gate, as people run it; without the right to look it is exit 3."""

    def check(api: Any, token: str, *words: str) -> tuple[int, str, str]:
        (tmp_path / "token").write_text(token)
        command = [
            sys.executable, "-m", "pratique", "gate", "kubernetes", "check", "--api-server", f"https://127.0.0.1:{api.port}",
            "--api-token", str(tmp_path / "token"), "--api-ca", str(api.authority), *words,
        ]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": PATHS}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=60)
        return done.returncode, done.stdout, done.stderr

    code, out, err = check(real.api, "root", "--format", "json")
    assert code == 0, out + err
    found = {one["check"]: one for one in json.loads(out)["checks"]}
    assert found["webhook.rules"]["colour"] == "green"
    assert found["guards"]["colour"] == "amber"
    code, out, _ = check(real.bare, "root")
    assert code == 1
    assert "The gate does not stand." in out
    code, _, err = check(real.api, "mallory")
    assert code == 3
    assert "403" in err


def test_a_policy_that_needs_a_server_to_be_evaluated_is_to_be_looked_at() -> None:
    """Amber: it may hold, and nobody here can tell."""
    cluster = policies("namespace", lambda spec: spec.update(validations=[{"expression": "authorizer.group('').check('x')"}]))
    assert colours(cluster) == {"green", "amber"}


def test_what_errs_is_denied_by_the_server() -> None:
    """These policies fail closed: an expression that asks for what is not there refuses, and is no hole."""
    cluster = policies("cluster-objects", lambda spec: spec.update(matchConditions=[{"expression": "object.none == 1"}]))
    assert colours(cluster) == {"green"}


def test_what_a_server_adds_by_default_changes_nothing() -> None:
    """As it gives them back: match policies, empty selectors and the scope are there."""
    cluster = as_it_is()
    made = copy.deepcopy(list(cluster.policies or ()))
    for policy in made:
        constraints = policy["spec"]["matchConstraints"]
        constraints |= {"matchPolicy": "Equivalent", "objectSelector": {}} | constraints
        constraints.setdefault("namespaceSelector", {})
        for rule in constraints["resourceRules"]:
            rule.setdefault("scope", "*")
    bound = copy.deepcopy(list(cluster.bindings or ()))
    for one in bound:
        one["spec"]["matchResources"] = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    assert colours(cluster._replace(policies=made, bindings=bound)) == {"green"}
