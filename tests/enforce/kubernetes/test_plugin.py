"""`kubectl pratique`, with a real kubectl at a real API server: ask, look, approve, use, give back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from reviewing import pod

pytestmark = pytest.mark.needs("kubectl")
PLUGIN = Path(__file__).parents[3] / "integrations" / "kubernetes" / "kubectl-pratique"
PODS = "/api/v1/namespaces/team-a/pods"


@pytest.fixture
def run(real: Any, tmp_path: Path) -> Any:
    """Return what runs the plugin as somebody, as kubectl does: a program named kubectl-... on the PATH."""
    (tmp_path / "kubectl-pratique").symlink_to(PLUGIN)

    def run(who: str, *words: str) -> tuple[int, str, str]:
        config, server = tmp_path / f"{who}.kubeconfig", f"https://127.0.0.1:{real.api.port}"
        config.write_text(
            json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
                "users": [{"name": "u", "user": {"token": who}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
            })
        )  # fmt: skip
        path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "KUBECONFIG": str(config)}
        done = subprocess.run(["kubectl", "pratique", *words], capture_output=True, text=True, env=env, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_task_from_its_beginning_to_its_end(real: Any, run: Any) -> None:
    """Nobody needs more than kubectl and their own credentials."""
    made = pod()
    made["metadata"] = {"name": "plugged", "namespace": "team-a"}
    assert real.api.ask("dev1", "POST", PODS, made).status == 201
    code, out, err = run("dev1", "can", "exec", "plugged")
    assert code == 1, (code, err)
    assert "ask: kubectl pratique -n team-a request -p exec.any" in out
    wanted = ("-p", "exec.any", "--task", "T-1", "--reason", "it hangs", "--for", "10m", "--pod", "plugged", "--uses", "2")
    code, out, err = run("dev1", "request", *wanted)
    assert code == 0, err
    number = out.split()[0]
    assert f"kubectl pratique approve {number}" in out
    code, _, err = run("dev1", "approve", number)
    assert code == 1, (code, err)
    assert "dev1" in err or "own" in err or "approve" in err
    assert number in run("olga", "list")[1]
    code, out, _ = run("olga", "show", number)
    assert "because: it hangs" in out
    hashed = next(line.split()[1] for line in out.splitlines() if line.startswith("request "))
    assert run("olga", "approve", number, "--request", "sha256:" + "0" * 64)[0] == 1
    assert run("olga", "approve", number, "--request", hashed)[0] == 0
    assert run("dev1", "can", "exec", "plugged") == (0, f"yes: {number}\n", "")
    assert run("mallory", "can", "exec", "plugged")[0] == 1
    enter = f"{PODS}/plugged/exec?container=c&command=id&stdout=true"
    assert "host" in real.api.ask("dev1", "POST", enter).message
    code, out, _ = run("dev1", "complete", number)
    assert code == 0
    assert f"{number} completed" in out
    assert real.api.ask("dev1", "POST", enter).status == 403


def test_errors_are_one_line(real: Any, run: Any) -> None:
    """What is wrong with an order, and what somebody may not create at all."""
    code, _, err = run("dev1", "request", "-p", "exec.everything", "--task", "T", "--reason", "r", "--for", "5m")
    assert code == 1, (code, err)
    assert err.startswith("pratique: there is no privilege 'exec.everything'")
    assert len(err.strip().splitlines()) == 1
    code, _, err = run("node", "revoke", "g-000000000000")
    assert code == 1, (code, err)
    assert "g-000000000000" in err
    assert run("dev1", "request")[0] == 2


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """Exit 3: nobody knows."""
    env = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, str(PLUGIN), "revoke", "g-1"], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert done.returncode == 3
    assert done.stderr.strip()


def test_a_real_server_takes_the_manifests(real: Any, tmp_path: Path) -> None:
    """kubectl checks every field against the server's own schemas; what 1.20 does not have yet is left out."""
    newer = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "PodDisruptionBudget"}
    objects = [one for one in yaml.safe_load_all((PLUGIN.parent / "manifests.yaml").read_text()) if one]
    for one in objects:
        for webhook in one.get("webhooks", []):
            webhook.pop("matchConditions", None)
    taken = [one for one in objects if one["kind"] not in newer]
    assert len(taken) >= 13
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pratique-system"}}
    real.bare.make(namespace)
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(taken))
    server = f"https://127.0.0.1:{real.bare.port}"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": "root"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    (tmp_path / "config").write_text(json.dumps(config))
    words = ["kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", str(tmp_path / "all.yaml")]
    env = {**os.environ, "KUBECONFIG": str(tmp_path / "config")}
    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(taken)
    misspelt = (tmp_path / "all.yaml").read_text().replace("readOnlyRootFilesystem", "readOnlyRoot")
    (tmp_path / "all.yaml").write_text(misspelt)
    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert "readOnlyRoot" in done.stderr
