"""Orders: by what the API server knows people by, once, and never by halves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pratique.model.privilege import Subject
from reviewing import DEV, GOOD, ONCALL, Cluster, creates, pod
from storing import place_in

TWO = pod({"containers": [GOOD["spec"]["containers"][0], GOOD["spec"]["containers"][0] | {"name": "side"}]})
TWO["metadata"] |= {"name": "two"}
ASK = {"verb": "request", "privileges": ["exec.any"], "task": "T-1", "reason": "it hangs", "for": "10m"}
OLGA = {"username": ONCALL.id, "groups": list(ONCALL.groups)}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "token").write_text("secret")
    made = Cluster(place_in(tmp_path), GOOD, TWO, token=tmp_path / "token")
    yield made
    made.close()


def order(cluster: Cluster, spec: Any, **request: Any) -> dict[str, Any]:
    item = {
        "apiVersion": "grants.pratique/v1",
        "kind": "GrantOrder",
        "metadata": {"name": "o", "namespace": "team-a"},
        "spec": spec,
    }
    return cluster.admit(creates(item, "grantorders", "grants.pratique", **request))


def number(answer: dict[str, Any]) -> str:
    return str(answer["warnings"][0].split()[0])


def test_what_is_asked_for_is_narrowed_to_the_place_and_what_runs_there(cluster: Cluster) -> None:
    """Point, cluster, namespace, container and digest: nothing of it is the person's word."""
    grant = cluster.desk.store.get(number(order(cluster, ASK | {"pod": "good", "argv": ["id"], "uses": 3}))).grant
    scope = grant.asked.scope
    assert (scope.points, scope.clusters, scope.namespaces) == (("kubernetes",), ("c1",), ("team-a",))
    assert (scope.container, scope.images, scope.argv) == ("team-a/good/c", ("sha256:" + "b" * 64,), ("id",))
    assert (grant.asked.uses, grant.asked.lifetime, grant.asked.subject) == (3, 600.0, DEV)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ASK | {"verb": "seize"}, "there is no verb 'seize'"),
        (ASK | {"privileges": ["exec.all"]}, "there is no privilege 'exec.all'"),
        (ASK | {"privileges": "exec.any"}, "a list of names"),
        (ASK | {"privileges": []}, ""),
        (ASK | {"for": "for ever"}, "no duration"),
        (ASK | {"for": "9999999m"}, "no duration"),
        (ASK | {"for": "8h"}, ""),
        (ASK | {"task": ""}, "names the task and the reason"),
        (ASK | {"reason": "x" * 501}, "at most 500"),
        (ASK | {"pod": "two"}, "name the container of two (c, side)"),
        (ASK | {"pod": "none"}, "name the container of none"),
        (ASK | {"pod": "../x"}, "names"),
        (ASK | {"uses": -1}, "a number"),
        (ASK | {"uses": True}, "a number"),
        (ASK | {"argv": "id"}, "a list of words"),
        (ASK | {"images": ["reg.example/app:1"]}, "tags move"),
        ({"verb": "approve", "id": "g-000000000000"}, "g-000000000000"),
        ({"verb": "can", "pod": "good"}, "names a pod and a way"),
        (None, "without a spec"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_kept(cluster: Cluster, spec: Any, says: str) -> None:
    """One line, and no grant."""
    answer = order(cluster, spec)
    assert not answer["allowed"]
    assert says in answer["status"]["message"]
    assert cluster.desk.store.find() == []


def test_approval_is_somebody_elses(cluster: Cluster) -> None:
    """Not one's own, nor that of whoever is not entitled to it, nor of another request than the one that was seen."""
    name = number(order(cluster, ASK))
    assert not order(cluster, {"verb": "approve", "id": name})["allowed"]
    assert not order(cluster, {"verb": "approve", "id": name}, userInfo={"username": "eve", "groups": ["devs"]})["allowed"]
    assert not order(cluster, {"verb": "approve", "id": name, "request": "sha256:0"}, userInfo=OLGA)["allowed"]
    assert cluster.desk.store.get(name).grant.state == "requested"
    assert order(cluster, {"verb": "approve", "id": name}, userInfo=OLGA)["allowed"]
    assert cluster.desk.store.get(name).grant.state == "active"
    assert order(cluster, {"verb": "show", "id": name}, dryRun=True)["warnings"][0].startswith(name)


def test_others_grants_are_not_shown_but_what_waits_is(cluster: Cluster) -> None:
    """A list has one's own, and what somebody may approve."""
    cluster.grant("exec.root", subject=Subject(id="someone", provider="k8s", strength=2))
    mine = cluster.grant("exec.any")
    waits = number(order(cluster, ASK, userInfo={"username": "another", "groups": ["devs"]}))
    lines = order(cluster, {"verb": "list"}, dryRun=True)["warnings"]
    assert sorted(line.split()[0] for line in lines) == sorted([mine.id, waits])
    assert order(cluster, {"verb": "list"}, userInfo={"username": "third", "groups": []}, dryRun=True)["warnings"][0].startswith(
        waits
    )


def test_a_dry_run_does_nothing(cluster: Cluster) -> None:
    """No request, no approval, no end."""
    assert "nothing was done" in order(cluster, ASK, dryRun=True)["warnings"][0]
    grant = cluster.grant("exec.any")
    order(cluster, {"verb": "revoke", "id": grant.id}, dryRun=True)
    assert cluster.state(grant) == ("active", 0)
    order(cluster, {"verb": "revoke", "id": grant.id})
    assert cluster.state(grant)[0] == "revoked"


def test_a_gate_that_answers_anybody_carries_out_no_orders(tmp_path: Path) -> None:
    """Whoever reaches it could say to be anybody."""
    cluster = Cluster(place_in(tmp_path), GOOD)
    answer = order(cluster, ASK)
    assert "cannot tell its API server from others" in answer["status"]["message"]
    assert cluster.desk.store.find() == []
    cluster.close()


def test_who_is_not_known_and_other_kinds(cluster: Cluster) -> None:
    """Anonymous, a status, another resource of the group, an edit."""
    assert not order(cluster, ASK, userInfo={"username": "system:anonymous", "groups": []})["allowed"]
    assert not order(cluster, ASK, operation="UPDATE")["allowed"]
    assert not order(cluster, ASK, subResource="status")["allowed"]
    assert order(cluster, ASK, operation="DELETE")["allowed"]
