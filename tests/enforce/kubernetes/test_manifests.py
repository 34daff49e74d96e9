"""The chart and the manifests are one; they are valid, restricted, and guard what belongs to the gate."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from charting import renderer
from pratique.enforce.kubernetes.admission import _WORKLOADS
from pratique.workload import kubernetes, pss
from storing import PATHS

ROOT = Path(__file__).parents[3]
HERE = ROOT / "integrations" / "kubernetes"
OBJECTS: list[dict[str, Any]] = [one for one in yaml.safe_load_all((HERE / "manifests.yaml").read_text()) if one]


def kinds(kind: str) -> list[dict[str, Any]]:
    return [one for one in OBJECTS if one["kind"] == kind]


def test_the_manifests_are_what_the_chart_makes() -> None:
    """Change the chart, then `python tools/render_chart.py > integrations/kubernetes/manifests.yaml`."""
    made = renderer()
    assert made.manifests(made.values()) == (HERE / "manifests.yaml").read_text()


def test_the_chart_uses_no_more_of_its_language_than_is_rendered_here() -> None:
    """Else what Helm makes of it might be something else; and each value is used, and is there."""
    made = renderer()
    templates = "".join(path.read_text() for path in made.CHART.glob("templates/*.yaml"))
    known = re.compile(r"\{\{ \.Values\.[a-zA-Z]+ \}\}|\{\{- (if|range) \.Values\.[a-zA-Z]+ \}\}|\{\{ \. \}\}|\{\{- end \}\}")
    assert "{{" not in known.sub("", templates)
    assert set(re.findall(r"\.Values\.([a-zA-Z]+)", templates)) == set(made.values())
    assert {path.stem for path in made.CHART.glob("templates/*.yaml")} == set(made.ORDER)


def test_values_change_what_they_say() -> None:
    """Without eviction the gate may not delete pods, and is not told to."""
    made = renderer()
    text = made.manifests(made.values(["evict=false", "namespace=gate"]))
    roles = {one["metadata"]["name"]: one for one in yaml.safe_load_all(text) if one and one["kind"] == "ClusterRole"}
    assert [rule["verbs"] for rule in roles["pratique-store"]["rules"]] == [["get"]]
    assert "--evict" not in text
    assert "pratique-system" not in text.replace("pratique-system.svc", "")
    with pytest.raises(SystemExit, match="no value 'evcit'"):
        made.values(["evcit=false"])


@pytest.mark.parametrize("version", [(1, 25), pss.LATEST])
def test_the_gates_own_pods_are_restricted(version: pss.Version) -> None:
    """What it asks of others it does."""
    pods = [pod for one in OBJECTS for pod in kubernetes.pod_templates(one)]
    assert len(pods) == 2
    for pod in pods:
        assert pss.violations(pod, "restricted", version) == []


def test_our_own_lint_has_nothing_to_say() -> None:
    """Not a single finding, of any severity."""
    done = subprocess.run(
        [sys.executable, "-m", "pratique", "lint", str(HERE / "manifests.yaml"), "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PATHS},
    )
    assert json.loads(done.stdout)["findings"] == []


def test_the_webhooks_are_asked_about_all_that_makes_pods_and_fail_closed() -> None:
    """Each resource that the gate knows, in every version; who enters, everywhere."""
    (configuration,) = kinds("ValidatingWebhookConfiguration")
    resources = set()
    for webhook in configuration["webhooks"]:
        assert webhook["failurePolicy"] == "Fail"
        assert webhook["matchPolicy"] == "Equivalent"
        assert webhook["timeoutSeconds"] <= 5
        for rule in webhook["rules"]:
            assert rule["apiVersions"] == ["*"]
            resources |= set(rule["resources"])
            if "CONNECT" in rule["operations"]:
                assert "namespaceSelector" not in webhook
    assert resources >= _WORKLOADS
    asked = [
        (resource, operation)
        for webhook in configuration["webhooks"]
        for rule in webhook["rules"]
        for resource in rule["resources"]
        for operation in rule["operations"]
    ]
    assert len(set(asked)) == len(asked), "what two webhooks are asked about uses a grant twice"
    assert resources >= {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "nodes/proxy", "pods/ephemeralcontainers"}


def test_files_for_the_api_server_say_what_the_guide_says() -> None:
    """RBAC before the gate, denied where it does not answer, nothing remembered."""
    authorization = yaml.safe_load((HERE / "apiserver" / "authorization.yaml").read_text())
    types = [one["type"] for one in authorization["authorizers"]]
    assert types == ["Node", "RBAC", "Webhook"]
    webhook = authorization["authorizers"][2]["webhook"]
    assert (webhook["failurePolicy"], webhook["authorizedTTL"]) == ("Deny", "1ms")
    asked = " ".join(one["expression"] for one in webhook["matchConditions"])
    for word in ("exec", "attach", "portforward", "ephemeralcontainers", "proxy", "token", "impersonate"):
        assert f"'{word}'" in asked
    admission = yaml.safe_load((HERE / "apiserver" / "admission.yaml").read_text())
    assert admission["plugins"][0]["name"] == "ValidatingAdmissionWebhook"
    users = yaml.safe_load((HERE / "apiserver" / "webhooks.kubeconfig").read_text())["users"]
    service = kinds("ValidatingWebhookConfiguration")[0]["webhooks"][0]["clientConfig"]["service"]
    assert users[0]["name"] == f"{service['name']}.{service['namespace']}.svc"


def test_certificates_are_for_whom_the_manifests_ask(tmp_path: Path) -> None:
    """As it comes: API servers ask one service, relays the other, and each verifies the name; the authoriser's address may be
    another than its name, which API servers cannot resolve.
    """
    manifest, authorizer = tmp_path / "m.yaml", tmp_path / "authorizer.kubeconfig"
    manifest.write_text((HERE / "manifests.yaml").read_text())
    words = [sys.executable, "-m", "pratique", "gate", "kubernetes", "certificates", str(tmp_path / "keys")]
    words += ["--manifest", str(manifest), "--kubeconfig", str(authorizer), "--address", "10.96.7.7"]
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": PATHS})
    served = x509.load_pem_x509_certificate((tmp_path / "keys" / "tls.crt").read_bytes())
    names = set(served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName))
    objects = [one for one in yaml.safe_load_all(manifest.read_text()) if one]
    webhooks = [one for item in objects for one in item.get("webhooks", [])]
    asked = {"{name}.{namespace}.svc".format(**one["clientConfig"]["service"]) for one in webhooks}
    text = manifest.read_text()
    asked |= set(re.findall(r"--upstream=https://([^\s:/]+)", text))
    assert asked == names
    services = {f"{one['metadata']['name']}.{one['metadata']['namespace']}.svc" for one in objects if one["kind"] == "Service"}
    assert services == names
    (cluster,) = yaml.safe_load(authorizer.read_text())["clusters"]
    assert cluster["cluster"]["server"] == "https://10.96.7.7/authorize"
    assert cluster["cluster"]["tls-server-name"] in names
