"""Attacks on a cluster as data in; whether they get through an API server, with and without a gate, out.

`tests/enforce/attacks/kubernetes/*.toml`. A step makes an object (`make`), sends a request (`http`) or has a grant given; all but
the last must succeed everywhere. The last is the attack: it succeeds without the gate and is denied by it, by the rule named.
"""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from kubeserver import ApiServer, Gate, Said
from pratique.grant.lifecycle import Revoke
from pratique.model.privilege import Asked, Scope, Subject, Task
from reviewing import ONCALL, pod

FOLDER = Path(__file__).parent / "enforce" / "attacks" / "kubernetes"
_GROUPS = {
    "Pod": "/api/v1", "ReplicationController": "/api/v1", "PodTemplate": "/api/v1", "Deployment": "/apis/apps/v1",
    "ReplicaSet": "/apis/apps/v1", "StatefulSet": "/apis/apps/v1", "DaemonSet": "/apis/apps/v1", "Job": "/apis/batch/v1",
    "CronJob": "/apis/batch/v1beta1",
}  # fmt: skip


class Step(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    """One thing that somebody does. `bare` leaves out what makes the container harmless; `loose` need not succeed."""

    make: str = ""
    spec: str = "{}"
    container: str = "{}"
    context: str = "{}"
    metadata: str = "{}"
    replicas: int = 1
    copies: int = 1
    padding: int = 0
    generate: bool = False
    bare: bool = False
    http: str = ""
    body: str = ""
    type: str = "application/json"
    who: str = msgspec.field(default="boss", name="as")
    act_as: str = ""
    act_in: str = ""
    loose: bool = False
    keep: bool = False
    grant: list[str] = []
    uses: int = 1
    argv: list[str] = []
    namespace: str = ""
    revoke: bool = False


class Attack(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    """`through` tells by the status alone: no node answers, so that what gets through ends in another error."""

    name: str
    what: str
    step: list[Step]
    rule: str = ""
    through: bool = False
    only_gated: bool = False
    family: str = ""

    @property
    def says(self) -> str:
        """What of the rule the person reads."""
        known = {"no-runtime-socket": "nobody binds the runtime's socket", "unreadable": "pratique: denied"}
        return known.get(self.rule, self.rule.removeprefix("privilege "))


def load() -> list[Attack]:
    """Return all attacks."""
    documents = [tomllib.loads(path.read_text()) for path in sorted(FOLDER.glob("*.toml"))]
    return [msgspec.convert(one | {"family": document["family"]}, Attack) for document in documents for one in document["attack"]]


class Attempt:
    """One attack on one API server."""

    def __init__(self, attack: Attack, api: ApiServer, gate: Gate | None) -> None:
        self._attack = attack
        self._api = api
        self._gate = gate
        self._grant = ""

    def run(self) -> Said:
        """Do all steps; return what the last one was answered."""
        said = Said(0, {}, [])
        for number, step in enumerate(self._attack.step):
            last = number == len(self._attack.step) - 1
            if step.grant:
                self._give(step)
                continue
            said = self._do(step)
            if not last and not step.loose:
                assert said.status in (200, 201, 409), (step, said)
            if step.keep and said.warnings:
                self._grant = said.warnings[0].split('"')[1].split()[0]
        return said

    def got_through(self, said: Said) -> bool:
        """Say whether the last answer shows that it worked."""
        if said.status in (200, 201):
            return True
        # What is past authorisation and admission ends where there is no node to go to, or no WebSocket was asked for.
        beyond = any(word in said.message for word in ("host", "pgrade", "address"))
        return self._attack.through and (said.status >= 500 or beyond)

    def _do(self, step: Step) -> Said:
        headers = {}
        if step.act_as:
            headers = {"Impersonate-User": step.act_as, **({"Impersonate-Group": step.act_in} if step.act_in else {})}
        if step.make:
            path = f"{_GROUPS[step.make]}/namespaces/team-a/{step.make.lower()}s"
            return self._api.ask(step.who, "POST", path, self._object(step), **headers)
        method, _, path = self._filled(step.http).partition(" ")
        body = self._filled(step.body).encode() if step.body else None
        return self._api.ask(step.who, method, path, body, kind=step.type, **headers)

    def _object(self, step: Step) -> dict[str, Any]:
        made = pod(securityContext=json.loads(step.context))
        made["metadata"] = {"name": self._name, "namespace": "team-a"}
        (one,) = made["spec"]["containers"]
        if step.bare:
            del one["securityContext"]
        one |= json.loads(step.container)
        if step.padding:
            one["env"] = [{"name": "A", "value": "x" * step.padding}]
        made["spec"]["containers"] += [{**copy.deepcopy(one), "name": f"c{number}"} for number in range(1, step.copies)]
        made["spec"] |= json.loads(step.spec)
        made["metadata"] |= json.loads(step.metadata)
        if step.generate:
            made["metadata"]["generateName"] = made["metadata"].pop("name") + "-"
        return made if step.make == "Pod" else self._workload(step, made)

    def _workload(self, step: Step, made: dict[str, Any]) -> dict[str, Any]:
        kind = step.make
        template = {"metadata": {"labels": {"a": "b"}}, "spec": made["spec"]}
        if kind not in ("Job", "CronJob"):
            made["spec"]["restartPolicy"] = "Always"
        version = _GROUPS[kind].removeprefix("/apis/").removeprefix("/api/")
        item: dict[str, Any] = {"apiVersion": version, "kind": kind, "metadata": {"name": self._name, "namespace": "team-a"}}
        if kind == "PodTemplate":
            return item | {"template": template}
        spec: dict[str, Any] = {"template": template}
        if kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
            spec["selector"] = {"matchLabels": {"a": "b"}}
        if kind == "StatefulSet":
            spec["serviceName"] = "s"
        if kind in ("Deployment", "ReplicaSet", "ReplicationController"):
            spec["replicas"] = step.replicas
        if kind == "CronJob":
            spec = {"schedule": "* * * * *", "jobTemplate": {"spec": spec}}
        return item | {"spec": spec}

    def _give(self, step: Step) -> None:
        assert self._gate is not None
        container = self._filled(step.container) if step.container != "{}" else ""
        dev = Subject(id="dev1", provider="k8s", groups=("devs", "system:authenticated"), strength=2)
        scope = Scope(container=container, namespaces=(step.namespace,) if step.namespace else ("team-a",), argv=tuple(step.argv))
        if step.grant[0].startswith("impersonate"):
            scope = Scope()
        task = Task(id="T-1", purpose="an attack")
        asked = Asked(subject=dev, task=task, privileges=tuple(step.grant), scope=scope, lifetime=60.0, uses=step.uses)
        with self._gate.desk() as desk:
            for kept in desk.store.find():  # what another attack left over
                if kept.grant.state in ("requested", "approved", "active"):
                    desk.act(kept.grant.id, Revoke(ONCALL))
            grant = desk.approve(desk.request(asked).id, ONCALL)
            if step.revoke:
                desk.act(grant.id, Revoke(ONCALL))

    @property
    def _name(self) -> str:
        return f"a-{self._attack.name}"

    def _filled(self, text: str) -> str:
        return text.replace("@name@", self._name).replace("@grant@", self._grant)
