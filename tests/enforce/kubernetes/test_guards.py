"""The API server's own policies guard what belongs to the gate, and its conditions send the gate what it must see.

No API server that has them can be had here. They are evaluated by the library that evaluates the project's own policies; by the
very library and types of API servers where `build-server-cel.sh` could build that; and their rules are validated by a real one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import kubeguards
from kubeguards import ACCESSES, AUTHORIZATION, CASES, Access, Case

HERE = Path(__file__).parent
PROGRAM = Path(os.environ.get("PRATIQUE_TEST_SERVER_CEL", "/var/cache/pratique-tests/server-cel"))
# What one expression, the conditions of one webhook or policy, and all of a policy may cost before the server gives up:
# https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/apis/cel/config.go
PER_POLICY, OF_CONDITIONS = 10_000_000, 2_500_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_request_is_denied_or_sent_as_expected(case: Case) -> None:
    """Who removes the gate is refused by the server itself; who mends it is not; and what counts reaches the gate."""
    assert kubeguards.denying(case) == ([case.denied] if case.denied else [])
    assert kubeguards.asking(case) == case.asked


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("access", ACCESSES, ids=lambda access: access.what)
def test_the_authoriser_is_asked_about_its_own(access: Access, *, whole: bool) -> None:
    """All else is decided without a call, and no condition errs on what a server leaves out."""
    evaluate = kubeguards.evaluator("request")
    for condition in AUTHORIZATION["authorizers"][2]["webhook"]["matchConditions"]:
        if not evaluate(condition["expression"], **access.values(whole=whole)):  # the first that is false decides
            assert not access.asked
            return
    assert access.asked


def test_every_policy_and_condition_has_cases() -> None:
    """Each policy denies something and lets something through; each webhook is asked and, with conditions, is not."""
    policies = {one["metadata"]["name"] for one in kubeguards.kinds("ValidatingAdmissionPolicy")}
    assert {case.denied for case in CASES} - {""} == policies
    bound = {one["spec"]["policyName"]: one["spec"] for one in kubeguards.kinds("ValidatingAdmissionPolicyBinding")}
    assert bound == {name: {"policyName": name, "validationActions": ["Deny", "Audit"]} for name in policies}
    assert {name for case in CASES for name in case.asked} == set(kubeguards.webhooks())


def _rules() -> list[tuple[str, dict[str, Any]]]:
    found = [(name, rule) for name, webhook in kubeguards.webhooks().items() for rule in webhook["rules"]]
    for policy in kubeguards.kinds("ValidatingAdmissionPolicy"):
        found += [(policy["metadata"]["name"], rule) for rule in policy["spec"]["matchConstraints"]["resourceRules"]]
    return found


@pytest.mark.parametrize(("name", "rule"), _rules())
def test_rules_say_nothing_twice(name: str, rule: dict[str, Any]) -> None:
    """The API server refuses a list that has a wildcard beside what it stands for: the whole policy would not be there."""
    for key in ("operations", "apiGroups", "apiVersions"):
        assert "*" not in rule[key] or rule[key] == ["*"], name
    resources = rule["resources"]
    assert "*/*" not in resources or resources == ["*/*"], name
    assert "*" not in resources or all("/" in one for one in resources if one != "*"), name


def test_the_rules_of_policies_are_valid_on_a_real_server(real: Any) -> None:
    """Webhooks have the same rules and selectors, validated by the same code, since 1.16: each policy's, as a webhook's."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations?dryRun=All"
    for policy in kubeguards.kinds("ValidatingAdmissionPolicy"):
        constraints = policy["spec"]["matchConstraints"]
        webhook = {
            "name": "a.b.c", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": "https://127.0.0.1:1/"}, "rules": constraints["resourceRules"],
            "namespaceSelector": constraints.get("namespaceSelector", {}),
        }  # fmt: skip
        made = {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": policy["metadata"]["name"]}, "webhooks": [webhook],
        }  # fmt: skip
        said = real.bare.ask("root", "POST", path, made)
        assert said.status == 201, said.message
        webhook["rules"] = [{**rule, "resources": ["*", "*/*"]} for rule in webhook["rules"]]
        assert real.bare.ask("root", "POST", path, made).status == 422, "a server that takes anything validates nothing"


def _asked_of_the_server() -> dict[str, Any]:
    """Return what to evaluate: for each request the policies and webhooks whose rules it matches."""
    questions: list[dict[str, Any]] = []
    for number, case in enumerate(CASES):
        values = case.values()
        for policy in kubeguards.kinds("ValidatingAdmissionPolicy"):
            constraints, name = policy["spec"]["matchConstraints"], policy["metadata"]["name"]
            if kubeguards.matches(constraints, constraints["resourceRules"], values["request"]):
                questions.append({"id": f"{number} policy {name}", "policy": name, **values})
        for name, webhook in kubeguards.webhooks().items():
            if kubeguards.matches(webhook, webhook["rules"], values["request"]):
                questions.append({"id": f"{number} webhook {name}", "webhook": webhook["name"], **values})
    questions += [
        {"id": f"{number} access {whole}", "access": True, **access.values(whole=whole)}
        for number, access in enumerate(ACCESSES)
        for whole in (False, True)
    ]
    return {"questions": questions, "conditions": AUTHORIZATION["authorizers"][2]["webhook"]["matchConditions"]}


@pytest.mark.skipif(not PROGRAM.is_file(), reason=f"needs {PROGRAM}: tests/enforce/kubernetes/build-server-cel.sh builds it")
def test_servers_library_and_types_say_the_same(tmp_path: Path) -> None:
    """Each object decodes strictly into the types of the API, each expression compiles with the server's declarations and types,
    gives the same answer, and costs a small part of what the server allows.
    """
    (tmp_path / "questions.json").write_text(json.dumps(_asked_of_the_server()))
    manifests = kubeguards.CHART / "manifests.yaml"
    done = subprocess.run(
        [PROGRAM, manifests, tmp_path / "questions.json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    kinds = {one["kind"] for one in kubeguards.OBJECTS} - {"CustomResourceDefinition"}
    assert set(said["decoded"]) == kinds
    answers = said["answers"]
    for number, case in enumerate(CASES):
        denied = [key.split()[2] for key, one in answers.items() if key.startswith(f"{number} policy ") and one["denied"]]
        assert denied == ([case.denied] if case.denied else []), case.what
        asked = [key.split()[2] for key, one in answers.items() if key.startswith(f"{number} webhook ") and one["matched"]]
        assert sorted(asked) == sorted(case.asked), case.what
    for number, access in enumerate(ACCESSES):
        for whole in (False, True):
            assert answers[f"{number} access {whole}"]["matched"] is access.asked, access.what
    for key, one in answers.items():
        assert not one["error"], (key, one)
        assert one["conditions_cost"] <= OF_CONDITIONS // 100, (key, one)
        assert one["cost"] <= PER_POLICY // 100, (key, one)
        assert not one["denied"] or one["message"].startswith("pratique: "), (key, one)


# Fields of `AuthorizationConfiguration` and of what is in it, as kube-apiserver 1.30 and later decode them: strictly.
# https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/
_FIELDS = {
    "": {"apiVersion", "kind", "authorizers"},
    "authorizer": {"type", "name", "webhook"},
    "webhook": {
        "authorizedTTL", "unauthorizedTTL", "cacheAuthorizedRequests", "cacheUnauthorizedRequests", "timeout",
        "subjectAccessReviewVersion", "matchConditionSubjectAccessReviewVersion", "failurePolicy", "connectionInfo",
        "matchConditions",
    },
    "connection": {"type", "kubeConfigFile"},
    "condition": {"expression"},
}  # fmt: skip
_DURATION = re.compile(r"(?:(\d+)ms|(\d+)s)")


def _milliseconds(text: str) -> int:
    found = _DURATION.fullmatch(text)
    assert found is not None, text
    return int(found[1]) if found[1] else int(found[2]) * 1000


def test_the_authorisers_file_is_one_that_a_server_starts_with() -> None:
    """A server refuses to start on an unknown field, a time of 0, a relative path, or a name twice: each of its own checks."""
    assert set(AUTHORIZATION) == _FIELDS[""]
    assert AUTHORIZATION["apiVersion"] == "apiserver.config.k8s.io/v1"
    assert AUTHORIZATION["kind"] == "AuthorizationConfiguration"
    names = [one["name"] for one in AUTHORIZATION["authorizers"]]
    assert len(set(names)) == len(names)
    for one in AUTHORIZATION["authorizers"]:
        assert set(one) <= _FIELDS["authorizer"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", one["name"])
        assert ("webhook" in one) is (one["type"] == "Webhook")
    webhook = AUTHORIZATION["authorizers"][2]["webhook"]
    assert set(webhook) <= _FIELDS["webhook"]
    assert 0 < _milliseconds(webhook["timeout"]) <= 30_000
    assert _milliseconds(webhook["authorizedTTL"]) > 0
    assert _milliseconds(webhook["unauthorizedTTL"]) > 0
    assert webhook["subjectAccessReviewVersion"] == webhook["matchConditionSubjectAccessReviewVersion"] == "v1"
    assert webhook["failurePolicy"] in ("NoOpinion", "Deny")
    assert set(webhook["connectionInfo"]) == _FIELDS["connection"]
    assert Path(webhook["connectionInfo"]["kubeConfigFile"]).is_absolute()
    conditions = [one["expression"] for one in webhook["matchConditions"]]
    assert all(set(one) == _FIELDS["condition"] for one in webhook["matchConditions"])
    assert len(set(conditions)) == len(conditions) <= 64
