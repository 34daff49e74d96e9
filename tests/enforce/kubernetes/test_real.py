"""A real API server asks the gate: as the manifests set it up, with its own JSON, its own client and its own errors."""

from __future__ import annotations

from typing import Any

import pytest

from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from reviewing import ONCALL, pod

PODS = "/api/v1/namespaces/team-a/pods"
ORDERS = "/apis/grants.pratique/v1/namespaces/team-a/grantorders"


def grant(real: Any, *privileges: str, uses: int = 1, **scope: Any) -> Grant:
    subject = Subject(id="dev1", provider="k8s", groups=("devs", "system:authenticated"), strength=2)
    asked = Asked(
        subject=subject,
        task=Task(id="T-1", purpose="mend"),
        privileges=privileges,
        scope=Scope(**scope),
        lifetime=600.0,
        uses=uses,
    )
    with real.gate.desk() as desk:
        given: Grant = desk.approve(desk.request(asked).id, ONCALL)
    return given


def order(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "grants.pratique/v1", "kind": "GrantOrder", "metadata": {"generateName": "o-"}, "spec": spec}


def named(name: str, **more: Any) -> dict[str, Any]:
    made = pod(**more)
    made["metadata"] = {"name": name, "namespace": "team-a", "labels": {"app": "x"}}
    return made


def test_pods_within_the_baseline_are_made(real: Any) -> None:
    """An ordinary pod of an ordinary user, and the answer of the API server as ever."""
    said = real.api.ask("dev1", "POST", PODS, named("plain"))
    assert said.status == 201, said


def test_a_privileged_pod_is_refused_with_the_command(real: Any) -> None:
    """Even of a cluster administrator; without the gate the same request makes the pod."""
    bad = named("bad", securityContext={"privileged": True, "allowPrivilegeEscalation": True})
    assert real.bare.ask("boss", "POST", PODS, bad).status == 201
    said = real.api.ask("boss", "POST", PODS, bad)
    assert said.status == 403
    assert "kubectl pratique -n team-a request -p run.privileged --task TASK" in said.message


def test_a_grant_gives_exec_and_takes_it_again(real: Any) -> None:
    """No RBAC role of dev1 has pods/exec: the authoriser gives it while the grant lives, for one exec.

    No node runs the pod: what is past authorisation and admission ends in the API server's "does not have a host assigned".
    """
    assert real.api.ask("dev1", "POST", PODS, named("entered")).status == 201
    enter = f"{PODS}/entered/exec?container=c&command=id&stdout=true"
    said = real.api.ask("dev1", "POST", enter)
    assert said.status == 403
    assert "kubectl pratique -n team-a request -p exec.any --task TASK --reason TEXT --for 30m --pod entered -c c" in said.message
    held = grant(real, "exec.any", container="team-a/entered/c")
    assert real.api.ask("mallory", "POST", enter).status == 403
    said = real.api.ask("dev1", "POST", enter)
    assert "host" in said.message, said
    assert real.api.ask("dev1", "POST", enter).status == 403
    with real.gate.desk() as desk:
        assert desk.store.get(held.id).grant.used == 1


def test_an_administrators_exec_needs_a_grant_too(real: Any) -> None:
    """RBAC allows it, so that the authoriser is not even asked; the admission review is."""
    real.api.ask("boss", "POST", PODS, named("entered2"))
    real.bare.ask("boss", "POST", PODS, named("entered2"))
    enter = f"{PODS}/entered2/exec?container=c&command=id&stdout=true"
    assert "host" in real.bare.ask("boss", "POST", enter).message
    said = real.api.ask("boss", "POST", enter)
    assert said.status == 403
    assert "pratique: denied" in said.message


def test_a_grant_is_asked_for_approved_and_used_through_the_api_server(real: Any) -> None:
    """People are known by the credentials that they have for the cluster; nobody approves their own."""
    made = named("byorder")
    assert real.api.ask("dev1", "POST", PODS, made).status == 201
    wanted = order(
        verb="request", privileges=["exec.any"], task="T-9", reason="look", pod="byorder", container="c", **{"for": "10m"}
    )
    said = real.api.ask("dev1", "POST", ORDERS, wanted)
    assert said.status == 201, said
    number = said.warnings[0].split('"')[1].split()[0]
    assert "team-a/byorder/c" in said.warnings[0]
    for who in ("dev1", "mallory"):
        refused = real.api.ask(who, "POST", ORDERS, order(verb="approve", id=number))
        assert refused.status == 403, refused
    assert real.api.ask("olga", "POST", ORDERS, order(verb="approve", id=number)).status == 201
    shown = real.api.ask("dev1", "POST", f"{ORDERS}?dryRun=All", order(verb="list"))
    assert any(number in line and "active" in line for line in shown.warnings), shown
    enter = f"{PODS}/byorder/exec?container=c&command=id&stdout=true"
    assert "host" in real.api.ask("dev1", "POST", enter).message
    assert real.api.ask("dev1", "POST", enter).status == 403


def test_orders_are_not_changed_and_not_tried(real: Any) -> None:
    """An order is carried out once; a dry run does nothing."""
    said = real.api.ask(
        "dev1", "POST", f"{ORDERS}?dryRun=All", order(verb="request", privileges=["exec.any"], task="T", reason="r")
    )
    assert "nothing was done" in said.warnings[0]
    wanted = order(verb="request", privileges=["exec.any"], task="T", reason="r", **{"for": "10m"})
    name = real.api.ask("dev1", "POST", ORDERS, wanted).body["metadata"]["name"]
    patch = {"spec": {"privileges": ["exec.privileged"]}}
    said = real.api.ask("boss", "PATCH", f"{ORDERS}/{name}", patch, kind="application/merge-patch+json")
    assert said.status == 403
    assert "not changed" in said.message
    assert real.api.ask("boss", "DELETE", f"{ORDERS}/{name}").status == 200


def test_a_pod_that_runs_by_a_grant_goes_with_it(real: Any) -> None:
    """Revoked, and the pod is deleted; a pod that needed no grant stays."""
    import time

    from pratique.grant.lifecycle import Revoke

    held = grant(real, "run.root", uses=0, namespaces=("team-a",))
    root = named("ends", securityContext={"runAsUser": 0, "runAsNonRoot": False})
    assert real.api.ask("dev1", "POST", PODS, root).status == 201
    with real.gate.desk() as desk:
        desk.act(held.id, Revoke(ONCALL))
    end = time.monotonic() + 60
    while real.api.ask("root", "GET", f"{PODS}/ends").status != 404:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert real.api.ask("root", "GET", f"{PODS}/plain").status in (200, 404)


@pytest.mark.parametrize("who", ["boss", "dev1"])
def test_reading_is_free(real: Any, who: str) -> None:
    """Lists and logs are RBAC's alone."""
    assert real.api.ask(who, "GET", PODS).status == 200
