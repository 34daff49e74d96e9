"""A real exec on a real node: kubectl, authoriser, admission, kubelet, containerd, runc; and its end with the grant."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kubenode
from kubenode import Node
from pratique.grant.lifecycle import Revoke
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from reviewing import ONCALL, pod

PODS = "/api/v1/namespaces/team-a/pods"
DEV = Subject(id="dev1", provider="k8s", groups=("devs", "system:authenticated"), strength=2)


@pytest.fixture(scope="module")
def node(real: Any) -> Iterator[Node]:
    why = kubenode.missing()
    if why:
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="pq-node-"))
    made = None
    try:
        made = Node(folder / "n", real.api)
        yield made
    finally:
        if made is not None:
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def grant(real: Any, *privileges: str, uses: int = 1, **scope: Any) -> Grant:
    task = Task(id="T-1", purpose="mend")
    asked = Asked(subject=DEV, task=task, privileges=privileges, scope=Scope(**scope), lifetime=600.0, uses=uses)
    with real.gate.desk() as desk:
        given: Grant = desk.approve(desk.request(asked).id, ONCALL)
    return given


def running(real: Any, name: str, **container: Any) -> None:
    """Make a pod on the node as dev1, and wait until it runs."""
    made = pod({"nodeName": kubenode.NAME}, image=kubenode.IMAGE, imagePullPolicy="Never", command=["sleep", "300"], **container)
    made["metadata"] = {"name": name, "namespace": "team-a"}
    said = real.api.ask("dev1", "POST", PODS, made)
    assert said.status == 201, said
    end = time.monotonic() + 120
    while True:
        status = real.api.ask("root", "GET", f"{PODS}/{name}").body.get("status", {})
        if status.get("phase") == "Running":
            return
        assert time.monotonic() < end, status
        time.sleep(0.2)


def kubectl(real: Any, tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    """Start kubectl as dev1."""
    server = f"https://127.0.0.1:{real.api.port}"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": "dev1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
    }  # fmt: skip
    (tmp_path / "config").write_text(json.dumps(config))
    # A kubectl of 1.31 or later would ask a server of 1.20 for a WebSocket first, and then again without: two uses.
    env = {**os.environ, "KUBECONFIG": str(tmp_path / "config"), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
    return subprocess.Popen(["kubectl", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def test_a_real_exec_needs_a_grant_and_uses_it_once(real: Any, node: Node, tmp_path: Path) -> None:
    """Denied with the command; given, it runs as the container's user; denied again."""
    running(real, "shell")
    words = ("exec", "shell", "-c", "c", "--", "id", "-u")
    out, err = kubectl(real, tmp_path, *words).communicate(timeout=120)
    assert out == ""
    assert "kubectl pratique -n team-a request -p exec.any" in err
    held = grant(real, "exec.any", container="team-a/shell/c", argv=("id", "-u"))
    assert "pratique: denied" in kubectl(real, tmp_path, "exec", "shell", "-c", "c", "--", "sh").communicate(timeout=120)[1]
    out, err = kubectl(real, tmp_path, *words).communicate(timeout=120)
    assert out == "1000\n", err
    assert "pratique: denied" in kubectl(real, tmp_path, *words).communicate(timeout=120)[1]
    with real.gate.desk() as desk:
        assert desk.store.get(held.id).grant.used == 1


def test_the_digest_that_runs_is_looked_up(real: Any, node: Node, tmp_path: Path) -> None:
    """What containerd says that it runs is what a grant for an image is held against."""
    running(real, "digest")
    status = real.api.ask("root", "GET", f"{PODS}/digest").body["status"]["containerStatuses"][0]
    digest = "sha256:" + status["imageID"].rpartition("sha256:")[2]
    grant(real, "exec.any", images=("sha256:" + "0" * 64,))
    words = ("exec", "digest", "--", "true")
    assert "pratique: denied" in kubectl(real, tmp_path, *words).communicate(timeout=120)[1]
    grant(real, "exec.any", images=(digest,))
    process = kubectl(real, tmp_path, *words)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_a_session_in_a_pod_that_runs_by_a_grant_ends_with_it(real: Any, node: Node, tmp_path: Path) -> None:
    """Revoked: the pod is deleted at once, and the shell in it is cut."""
    root = grant(real, "run.root", namespaces=("team-a",), uses=0)
    grant(real, "exec.root", container="team-a/rooty/c")
    running(real, "rooty", securityContext={"runAsUser": 0, "runAsNonRoot": False})
    session = kubectl(real, tmp_path, "exec", "rooty", "--", "sh", "-c", "id -u; sleep 300")
    assert session.stdout is not None
    assert session.stdout.readline() == "0\n"
    with real.gate.desk() as desk:
        desk.act(root.id, Revoke(ONCALL))
    begun = time.monotonic()
    session.communicate(timeout=120)
    assert session.returncode != 0
    taken = time.monotonic() - begun
    assert taken < 45, taken  # of the 300 that it would take
    while real.api.ask("root", "GET", f"{PODS}/rooty").status != 404:
        assert time.monotonic() - begun < 60
        time.sleep(0.2)
