"""A real API server with etcd on loopback, and a gate as a process of its own in front of it, for tests."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from loopback import free_port
from pratique.enforce.kubernetes import certificates
from pratique.granting.desk import Desk
from pratique.store.place import open_place
from storing import PATHS

PROGRAM = Path(os.environ.get("PRATIQUE_TEST_APISERVER", "/var/cache/pratique-tests/kube-apiserver-1.20"))
CHART = Path(__file__).parents[1] / "integrations" / "kubernetes"
# Name and groups by token; `boss` may do everything by RBAC, but is no system:masters, whom admission alone could stop.
USERS = {
    "root": ("root", "system:masters"),
    "boss": ("boss", "bosses"),
    "dev1": ("dev1", "devs"),
    "mallory": ("mallory", "devs"),
    "olga": ("olga", "oncall"),
    "job-controller": ("system:serviceaccount:kube-system:job-controller", "system:serviceaccounts"),
    "node": ("system:node:n1", "system:nodes"),
    "gate": ("system:serviceaccount:pratique-system:pratique-store", "system:serviceaccounts"),
}


def missing() -> str:
    """Say what is not there, "" where all is."""
    if not PROGRAM.is_file():
        return f"needs a real API server at {PROGRAM}: tests/enforce/kubernetes/build-apiserver.sh builds it"
    return "" if shutil.which("etcd") else "needs etcd (apt-get install etcd-server)"


class Said(NamedTuple):
    """What an API server answered."""

    status: int
    body: dict[str, Any]
    warnings: list[str]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class Process:
    """A daemon that ends with the test; its output is in a file."""

    def __init__(self, folder: Path, name: str, words: Iterable[object], **env: str) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env={**os.environ, **env}
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        code = self._process.poll()
        assert code is None, f"ended with {code}: {self.log.read_text()[-3000:]}"

    def stop(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Etcd(Process):
    """One etcd for all API servers, which keep apart by their prefixes."""

    def __init__(self, folder: Path) -> None:
        client, peer = free_port(), free_port()
        self.address = f"http://127.0.0.1:{client}"
        words = [
            "etcd", f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={self.address}",
            f"--advertise-client-urls={self.address}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync", "--log-level=error",
        ]  # fmt: skip
        super().__init__(folder, "etcd", words)


class Gate(Process):
    """`pratique gate kubernetes serve`, or `relay`, on loopback."""

    def __init__(self, folder: Path, *extra: str, name: str = "gate", verb: str = "serve", port: int = 0) -> None:
        """`port` is that of a gate which was there before, and for which this one is."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        keys = folder / "keys"
        certificates.make(keys, ("127.0.0.1", "localhost"), dt.datetime.now(dt.UTC))
        self.port = port or free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        words = [
            sys.executable, "-m", "pratique", "gate", "kubernetes", verb, "--listen", f"127.0.0.1:{self.port}",
            "--tls-cert", keys / "tls.crt", "--tls-key", keys / "tls.key", "--client-ca", keys / "ca.crt", "--cluster", "c1",
            *extra,
        ]  # fmt: skip
        super().__init__(folder, name, [*words, "--store", folder / "store"] if verb == "serve" else words, PYTHONPATH=PATHS)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def context(self) -> ssl.SSLContext:
        """Return what a client needs that the gate knows."""
        keys = self.folder / "keys"
        context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python does of its own accord from 3.13 on
        context.load_cert_chain(keys / "client.crt", keys / "client.key")
        return context

    def _wait(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            self.check()
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.address}/livez", timeout=2, context=self.context()).close()
                return
            time.sleep(0.05)
        raise AssertionError(f"the gate does not answer: {self.log.read_text()[-2000:]}")

    def desk(self) -> Desk:
        return Desk(open_place(str(self.folder / "store")))

    def kubeconfig(self, path: str) -> str:
        return certificates.kubeconfig(self.folder / "keys", f"{self.address}{path}", "localhost")


class ApiServer(Process):
    """kube-apiserver 1.20; with a gate it is asked as the manifests say."""

    def __init__(self, folder: Path, etcd: Etcd, gate: Gate | None = None, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.authority = folder / "own" / "ca.crt"
        self.port = port or free_port()
        certificates.make(folder / "own", ("127.0.0.1",), dt.datetime.now(dt.UTC))
        (folder / "tokens.csv").write_text("".join(f"{token},{user},{token},{group}\n" for token, (user, group) in USERS.items()))
        key = folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        words = [
            PROGRAM, f"--etcd-servers={etcd.address}", f"--etcd-prefix=/{folder.name}", f"--cert-dir={folder}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}", "--insecure-port=0",
            f"--token-auth-file={folder / 'tokens.csv'}", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none", "--kubelet-preferred-address-types=Hostname",
            "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
            "--feature-gates=EphemeralContainers=true", "--anonymous-auth=true", "--profiling=false",
            f"--authorization-mode={'RBAC,Webhook' if gate else 'RBAC'}",
            f"--tls-cert-file={folder / 'own' / 'tls.crt'}", f"--tls-private-key-file={folder / 'own' / 'tls.key'}",
        ]  # fmt: skip
        if gate is not None:
            (folder / "authorizer.kubeconfig").write_text(gate.kubeconfig("/authorize"))
            (folder / "webhooks.kubeconfig").write_text(_webhooks(gate))
            configured = (CHART / "apiserver" / "admission.yaml").read_text()
            configured = configured.replace("/etc/kubernetes/pratique/webhooks.kubeconfig", str(folder / "webhooks.kubeconfig"))
            (folder / "admission.yaml").write_text(configured)
            words += [
                f"--authorization-webhook-config-file={folder / 'authorizer.kubeconfig'}", "--authorization-webhook-version=v1",
                "--authorization-webhook-cache-authorized-ttl=0s", "--authorization-webhook-cache-unauthorized-ttl=0s",
                f"--admission-control-config-file={folder / 'admission.yaml'}",
            ]  # fmt: skip
        self._gate = gate
        super().__init__(folder, "apiserver", words)

    def wait(self) -> ApiServer:
        """Wait until it serves, then give RBAC, namespaces and, with a gate, the webhooks of the chart."""
        end = time.monotonic() + 120
        while True:
            self.check()
            with contextlib.suppress(OSError):
                if self.ask("root", "GET", "/readyz").status == 200:
                    break
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.2)
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        bindings = (
            ("bosses", "cluster-admin", ["bosses", "system:nodes", "system:serviceaccounts"]),
            ("devs", "edit-plain", ["devs"]),
            ("orders", "pratique-orders", ["devs", "oncall"]),
        )
        for name, role_name, groups in bindings:
            self.make({
                **binding, "metadata": {"name": name}, "roleRef": {**role, "name": role_name},
                "subjects": [{"kind": "Group", "name": group, "apiGroup": role["apiGroup"]} for group in groups],
            })  # fmt: skip
        # What people have who work in a cluster: everything in their namespaces but the ways in.
        plain = {
            "apiGroups": ["", "apps", "batch"],
            "verbs": ["*"],
            "resources": ["pods", "deployments", "jobs", "configmaps", "secrets"],
        }
        metadata = {"name": "edit-plain"}
        self.make({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [plain]})
        for name in ("team-a", "team-b"):
            self.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in ("plain", "runc"):  # before there is a gate that asks who may say what a class means
            self.make({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "bare"})
        for item in _chart(self._gate):
            self.make(item)
        if self._gate is not None:
            self._settle()
        return self

    def _settle(self) -> None:
        """Wait until the webhooks are in force: the API server takes them up some time after they are made."""
        bad = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": "team-a"},
               "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]}}  # fmt: skip
        orders = "/apis/grants.pratique/v1/namespaces/team-a/grantorders"
        for _ in range(600):
            pods = self.ask("boss", "POST", "/api/v1/namespaces/team-a/pods?dryRun=All", bad).status
            if pods == 403 and self.ask("boss", "GET", orders).status == 200:
                return
            time.sleep(0.1)
        raise AssertionError(f"the webhooks never came into force: {self.log.read_text()[-2000:]}")

    def make(self, item: Mapping[str, Any]) -> None:
        """Make an object as root."""
        plurals = {"NetworkPolicy": "networkpolicies", "RuntimeClass": "runtimeclasses"}
        kind = str(item["kind"])
        group = "api/v1" if item["apiVersion"] == "v1" else f"apis/{item['apiVersion']}"
        namespace = item["metadata"].get("namespace")
        place = f"/namespaces/{namespace}" if namespace else ""
        said = self.ask("root", "POST", f"/{group}{place}/{plurals.get(kind, kind.lower() + 's')}", item)
        assert said.status in (201, 409), said

    def ask(self, who: str, method: str, path: str, body: Any = None, *, kind: str = "application/json", **headers: str) -> Said:
        """Send one request; a body that is bytes goes as it is.

        What the gate denied for its lateness alone, on a machine that does much else, is asked again.
        """
        for _ in range(20):
            said = self._ask(who, method, path, body, kind, headers)
            if said.status != 403 or "no decision within" not in said.message:
                break
        return said

    def _ask(self, who: str, method: str, path: str, body: Any, kind: str, headers: Mapping[str, str]) -> Said:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        address = f"https://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(address, data, {"Content-Type": kind, **headers}, method=method)
        if who:
            request.add_header("Authorization", f"Bearer {who}")
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return _said(answer.status, answer.read(), answer.headers.get_all("Warning") or [])
        except urllib.error.HTTPError as error:
            return _said(error.code, error.read(), error.headers.get_all("Warning") or [])


def _said(status: int, body: bytes, warnings: list[str]) -> Said:
    try:
        found = json.loads(body)
    except ValueError:
        found = {"message": body.decode("utf-8", "replace")}
    return Said(status, found if isinstance(found, dict) else {"message": str(found)}, warnings)


def _webhooks(gate: Gate) -> str:
    """Return the chart's kubeconfig for webhooks, for a gate that is no service but an address."""
    text = (CHART / "apiserver" / "webhooks.kubeconfig").read_text()
    text = text.replace("pratique-gate.pratique-system.svc", f"127.0.0.1:{gate.port}")
    return text.replace("/etc/kubernetes/pratique", str(gate.folder / "keys"))


def _chart(gate: Gate | None) -> list[dict[str, Any]]:
    """Return what of the chart an API server of 1.20 has, with the gate's address in place of its service."""
    objects = [one for one in yaml.safe_load_all((CHART / "manifests.yaml").read_text()) if one]
    kinds = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    found = [one for one in objects if one["kind"] in kinds | ({"ValidatingWebhookConfiguration"} if gate is not None else set())]
    for one in found:
        for webhook in one.get("webhooks", []):
            assert gate is not None
            bundle = base64.b64encode((gate.folder / "keys" / "ca.crt").read_bytes()).decode()
            webhook["clientConfig"] = {"url": f"{gate.address}/admit", "caBundle": bundle}
            webhook.pop("matchConditions", None)  # 1.27 and later
    return found
