"""A Kubernetes gate for tests: recorded and made reviews in, its answers out; pods that it can look up."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pratique.enforce.admission import Image, Judgement
from pratique.enforce.kubernetes.gate import Gate
from pratique.enforce.kubernetes.settings import Settings
from pratique.enforce.serving import Asked as HttpAsked
from pratique.enforce.serving import Peer
from pratique.granting.desk import Desk
from pratique.model.errors import CouldNotError
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from pratique.store.place import Place

REVIEWS = Path(__file__).parent / "enforce" / "kubernetes" / "reviews"
DIGEST = "sha256:" + "a" * 64
DEV = Subject(id="dev1", provider="k8s", groups=("devs", "system:authenticated"), strength=2)
ONCALL = Subject(id="olga", provider="k8s", groups=("oncall",), strength=2)
POLICY = b"""\
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {name: cluster}
spec:
  baseline: {profile: restricted}
  rules:
  - id: no-runtime-socket
    deny: spec.mounts.exists(m, m.source.startsWith('/run/containerd'))
    message: nobody binds the runtime's socket
  entitlements:
  - id: debug
    privileges: [exec.any, exec.root, exec.privileged, attach, debug.ephemeral, run.root, run.privileged, run.new-privileges,
      "run.hostns:pid", "run.hostns:net", "run.mount:/srv/**:rw", "run.cap:ALL", token.mint, engine.admin, "impersonate:**",
      volume.hostbind, "run.hostport:*", "run.unconfined:seccomp",
      "run.image:**@sha256:*"]
    maxTTL: 30m
    maxUses: 0
    approvals: {from: [group:oncall]}
"""


class Pods:
    """An API server's pods, as the gate's client gives them; `down` when it does not answer."""

    def __init__(self, *pods: Mapping[str, Any]) -> None:
        self.pods = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod for pod in pods}
        self.down = False
        self.evicted: list[tuple[str, str, str]] = []

    async def pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        if self.down or (namespace, name) not in self.pods:
            raise CouldNotError("the API server does not answer")
        return self.pods[namespace, name]

    async def evict(self, namespace: str, name: str, uid: str) -> int:
        self.evicted.append((namespace, name, uid))
        return 200

    async def close(self) -> None:
        return


class Cluster:
    """A gate on a store of its own."""

    def __init__(self, place: Place, *pods: Mapping[str, Any], **settings: Any) -> None:
        self.place = place
        self.api = Pods(*(pods or (GOOD,)))
        judge = settings.pop("judge", None)
        self.gate = Gate(place, Settings(**({"anybody": True, "cluster": "c1"} | settings)), self.api, judge)  # type: ignore[arg-type]
        self.desk: Desk = self.gate.keeper.desk
        self.desk.set_policy("policy.yaml", POLICY, ONCALL)

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        headers = {"authorization": "Bearer secret"}
        answer = asyncio.run(self.gate.handle(HttpAsked("POST", path, headers, body, Peer())))
        assert answer.status == 200, answer
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def admit(self, review: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.post("/admit?timeout=1s", json.dumps(review).encode())
        assert answer["apiVersion"] == "admission.k8s.io/v1"
        response: dict[str, Any] = answer["response"]
        assert response["uid"] == review["request"]["uid"]
        return response

    def access(self, **attributes: Any) -> dict[str, Any]:
        status: dict[str, Any] = self.post("/authorize", json.dumps(sar(**attributes)).encode())["status"]
        return status

    def grant(self, *privileges: str, subject: Subject = DEV, **more: Any) -> Grant:
        """Ask, and have it approved."""
        scope = {name: more.pop(name) for name in list(more) if name in Scope.__struct_fields__}
        values: dict[str, Any] = {"lifetime": 600.0, "uses": 1, "scope": Scope(**scope)}
        task = Task(id="T-1", purpose="mend it")
        asked = Asked(subject=subject, task=task, privileges=privileges, **(values | more))
        return self.desk.approve(self.desk.request(asked).id, ONCALL)

    def state(self, grant: Grant) -> tuple[str, int]:
        kept = self.desk.store.get(grant.id).grant
        return kept.state, kept.used

    def lines(self) -> list[dict[str, Any]]:
        files = sorted((self.place.folder / "ledger").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def close(self) -> None:
        asyncio.run(self.gate.close())


def recorded(name: str) -> dict[str, Any]:
    """Return a review as an API server of 1.36 sent it."""
    found: dict[str, Any] = json.loads((REVIEWS / f"k8s-1.36-{name}.json").read_bytes())
    return found


def sar(**attributes: Any) -> dict[str, Any]:
    """Return a SubjectAccessReview by dev1; `user` and `groups` replace them."""
    user, groups = attributes.pop("user", DEV.id), attributes.pop("groups", list(DEV.groups))
    spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def changed(review: Mapping[str, Any], **request: Any) -> dict[str, Any]:
    """Return a review of which fields of the request differ; a number that counts up makes its uid another."""
    made = copy.deepcopy(dict(review))
    made["request"] |= request
    return made


def pod(spec: Mapping[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    """Return a pod that the restricted standard admits, with changes to its spec and its container."""
    secure = {
        "runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    context = secure | container.pop("securityContext", {})
    one = {"name": "c", "image": "reg.example/app@sha256:" + "a" * 64, "securityContext": context, **container}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team-a", "uid": "u-1", "labels": {"app": "x"}},
        "spec": {"containers": [one], "restartPolicy": "Never", **(spec or {})},
    }  # fmt: skip


def creates(item: Mapping[str, Any], resource: str = "pods", group: str = "", **request: Any) -> dict[str, Any]:
    """Return the review of an object's creation by dev1."""
    metadata = item["metadata"]
    asked = {
        "uid": f"r-{resource}", "kind": {"group": group, "version": "v1", "kind": item["kind"]},
        "resource": {"group": group, "version": "v1", "resource": resource}, "name": metadata.get("name", ""),
        "namespace": metadata.get("namespace", ""), "operation": "CREATE",
        "userInfo": {"username": DEV.id, "groups": list(DEV.groups)}, "object": item, "oldObject": None, "dryRun": False,
        "options": None,
    }  # fmt: skip
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked | request}


def enters(sub: str = "exec", name: str = "good", **request: Any) -> dict[str, Any]:
    """Return the recorded review of an exec, attach ... by dev1, of another pod or with other options."""
    options = request.pop("item", {})
    review = recorded(f"CONNECT-pods-{sub}")
    return changed(review, name=name, object=review["request"]["object"] | options, **request)


def template(kind: str, spec: dict[str, Any], group: str = "apps") -> dict[str, Any]:
    """Return an object of a kind that makes such pods."""
    inner = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    body: dict[str, Any] = {"spec": {"template": inner}}
    if kind == "CronJob":
        body = {"spec": {"jobTemplate": body}}
    if kind == "PodTemplate":
        body = {"template": inner}
    metadata = {"name": "w", "namespace": "team-a", "uid": "w-1"}
    return {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind, "metadata": metadata, **body}


class Judge:
    """Images by verdicts of the test."""

    def __init__(self, privilege: str) -> None:
        self.privilege = privilege
        self.seen: list[Image] = []

    async def judge(self, image: Image, point: str, *, deadline: float | None = None, subject: str = "") -> Judgement:
        self.seen.append(image)
        bad = "bad" in image.reference
        reason = "critical vulnerabilities" if bad else ""
        return Judgement(allowed=not bad, source="store", reason=reason, privilege=self.privilege if bad else "")

    async def resolve(self, reference: str, deadline: float | None = None) -> str:
        return DIGEST if ":known" in reference else ""

    async def close(self) -> None:
        return


GOOD: dict[str, Any] = pod()
GOOD["metadata"] |= {"name": "good"}
GOOD["status"] = {"containerStatuses": [{"name": "c", "imageID": "reg.example/app@sha256:" + "b" * 64}]}
ROOT: dict[str, Any] = pod(securityContext={"runAsUser": 0, "runAsNonRoot": False})
ROOT["metadata"] |= {"name": "root"}
