"""Each attempt works on an API server without a gate; behind the gate it does not, and the ledger says so. What people do all day
works on both.
"""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kubeattacks import Attack, Attempt, load
from kubeserver import ApiServer, Said
from reviewing import pod

ATTACKS = load()
OPERATIONS = Path(__file__).parents[1] / "benign" / "kubernetes" / "operations.toml"
BENIGN: list[dict[str, Any]] = tomllib.loads(OPERATIONS.read_text())["operation"]


def denials(real: Any) -> int:
    with real.gate.desk() as desk:
        files = sorted((desk.place.folder / "ledger").glob("*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sum(line.get("decision") == "deny" for line in lines)


def test_there_are_many() -> None:
    """All families are there, and no two attacks are one."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 60
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "kubernetes.md").read_text()
    assert f"has {len(ATTACKS)} attempts as data" in guide
    assert f"has {len(BENIGN)} ordinary operations" in guide


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_stopped(attack: Attack, real: Any) -> None:
    """It is first shown to succeed; then it is denied by the rule that it breaks, on record."""
    if not attack.only_gated:
        free = Attempt(attack, real.bare, None)
        said = free.run()
        assert free.got_through(said), f"without a gate it has no effect, so it proves nothing: {said}"
    before = denials(real)
    held = Attempt(attack, real.api, real.gate)
    said = held.run()
    assert not held.got_through(said), f"the gate does not stop it: {said}"
    assert said.status == 403, said
    assert "pratique: " in said.message, said
    assert attack.says in said.message, said
    if not attack.only_gated:
        assert denials(real) > before, "it is not in the ledger"


def harmless(name: str, what: str) -> dict[str, Any]:
    made = pod()
    made["metadata"] = {"name": name, "namespace": "team-a"}
    if what == "pod":
        made["spec"]["serviceAccountName"] = "of-nodes"
        return made
    spec = copy.deepcopy(made["spec"])
    item: dict[str, Any] = {"metadata": {"name": name, "namespace": "team-a"}, "spec": {"template": {"spec": spec}}}
    if what == "job":
        return item | {"apiVersion": "batch/v1", "kind": "Job"}
    spec["restartPolicy"] = "Always"
    item["spec"] |= {"selector": {"matchLabels": {"a": "b"}}}
    item["spec"]["template"]["metadata"] = {"labels": {"a": "b"}}
    return item | {"apiVersion": "apps/v1", "kind": "Deployment"}


def do(api: ApiServer, number: int, operation: dict[str, Any]) -> Said:
    name = f"b-{number}"
    places = {"@a@": "/api/v1/namespaces/team-a/pods", "@d@": "/apis/apps/v1/namespaces/team-a/deployments", "@name@": name}
    if "before" in operation:
        place = places["@a@" if operation["before"] == "pod" else "@d@"]
        assert api.ask("dev1", "POST", place, harmless(name, operation["before"])).status in (201, 409)

    def filled(text: str) -> str:
        for word, value in places.items():
            text = text.replace(word, value)
        return text

    body: Any = filled(operation.get("body", "")).encode() or None
    if operation.get("body", "").strip("{}") in ("pod", "deployment", "job"):
        item = harmless(name, operation["body"].strip("{}"))
        if operation.get("generate"):
            item["metadata"]["generateName"] = item["metadata"].pop("name") + "-"
        body = item
    method, _, path = filled(operation["http"]).partition(" ")
    return api.ask(operation.get("as", "dev1"), method, path, body, kind=operation.get("type", "application/json"))


@pytest.mark.parametrize("number", range(len(BENIGN)), ids=lambda number: BENIGN[number]["name"].replace(" ", "-"))
def test_ordinary_work_goes_on(real: Any, number: int) -> None:
    """The same answer with the gate and without it, and no warning."""
    operation = BENIGN[number]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "of-nodes", "namespace": "team-a"}}
    for api in (real.bare, real.api):
        api.make(account)
    free, held = do(real.bare, number, operation), do(real.api, number, operation)
    assert held.status == free.status, (free, held)
    assert free.status < 400, free
    assert held.warnings == free.warnings
