"""To enter a pod a grant must live: the authoriser gives it, the admission review uses it, once for both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pratique.enforce.kubernetes import sessions
from pratique.grant.lifecycle import Revoke
from reviewing import DEV, GOOD, ONCALL, ROOT, Cluster, changed, enters, pod, recorded, sar
from storing import place_in

EXEC = {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "team-a", "name": "good"}
TWO = pod({"containers": [GOOD["spec"]["containers"][0], GOOD["spec"]["containers"][0] | {"name": "side"}]})
TWO["metadata"] |= {"name": "two"}
BY_IMAGE = pod(securityContext={"runAsUser": None})
del BY_IMAGE["spec"]["containers"][0]["securityContext"]["runAsUser"]
BY_IMAGE["metadata"] |= {"name": "by-image"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(place_in(tmp_path), GOOD, ROOT, TWO, BY_IMAGE)
    yield made
    made.close()


def test_without_a_grant_there_is_no_opinion_and_the_command_to_ask(cluster: Cluster) -> None:
    """RBAC comes first and may allow; what is said here is shown when nobody does."""
    status = cluster.access(**EXEC)
    assert (status["allowed"], status.get("denied", False)) == (False, False)
    assert "pratique grant request --privilege exec.any" in status["reason"]
    assert "--container team-a/good/c --namespace team-a" in status["reason"]


@pytest.mark.parametrize("verb", ["create", "get"])
def test_one_exec_is_two_reviews_and_one_use(cluster: Cluster, verb: str) -> None:
    """SubjectAccessReview, then AdmissionReview; the next exec finds the grant used."""
    grant = cluster.grant("exec.any", container="team-a/good/c")
    assert cluster.access(**EXEC | {"verb": verb})["allowed"]
    assert cluster.state(grant) == ("active", 0)
    assert cluster.lines()[-1]["event"] == "authorize"
    assert cluster.admit(enters())["allowed"]
    assert cluster.state(grant) == ("exhausted", 1)
    assert not cluster.access(**EXEC)["allowed"]
    assert not cluster.admit(enters(uid="again"))["allowed"]


def test_a_request_over_websocket_is_authorised_twice(cluster: Cluster) -> None:
    """From 1.35 on the API server asks for `get` and for `create`; it is one exec all the same."""
    grant = cluster.grant("exec.any")
    assert cluster.access(**EXEC | {"verb": "get"})["allowed"]
    assert cluster.access(**EXEC)["allowed"]
    assert cluster.admit(enters())["allowed"]
    assert cluster.state(grant) == ("exhausted", 1)


def test_two_execs_do_not_share_an_authorisation(cluster: Cluster) -> None:
    """Both are authorised before either is admitted: the grant is for one."""
    cluster.grant("exec.any")
    assert cluster.access(**EXEC)["allowed"]
    assert cluster.access(**EXEC)["allowed"]
    assert cluster.admit(enters())["allowed"]
    assert not cluster.admit(enters(uid="second"))["allowed"]


def test_what_rbac_allows_is_used_by_the_admission_review(cluster: Cluster) -> None:
    """An administrator is never asked about by the authoriser; the grant is needed and used all the same."""
    assert not cluster.admit(enters())["allowed"]
    grant = cluster.grant("exec.any")
    assert cluster.admit(enters())["allowed"]
    assert cluster.state(grant) == ("exhausted", 1)


def test_where_no_admission_follows_the_grant_is_used_all_the_same(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the authoriser is installed: a use is a use, some seconds later."""
    monkeypatch.setattr(sessions, "SECONDS", 0.0)
    grant = cluster.grant("exec.any")
    assert cluster.access(**EXEC)["allowed"]
    asyncio.run(cluster.gate.authorizer.use_late())
    assert cluster.state(grant) == ("exhausted", 1)


def test_to_ask_whether_one_could_costs_nothing(cluster: Cluster) -> None:
    """`kubectl auth can-i create pods/exec` names no pod; nothing can be entered without a name."""
    grant = cluster.grant("exec.privileged")
    asked = {name: value for name, value in EXEC.items() if name != "name"}
    assert cluster.access(**asked)["allowed"]
    assert cluster.state(grant) == ("active", 0)
    assert cluster.lines()[-1]["event"] != "authorize"


@pytest.mark.parametrize(
    ("privilege", "name", "allowed"),
    [
        ("exec.any", "good", True), ("exec.any", "root", False), ("exec.root", "root", True), ("exec.any", "by-image", True),
        ("exec.root", "unknown", False), ("exec.privileged", "unknown", True),
    ],
)  # fmt: skip
def test_what_is_needed_is_what_the_container_is(cluster: Cluster, privilege: str, name: str, allowed: bool) -> None:
    """Root in a container that runs as root; what nobody knows is taken for the worst."""
    cluster.grant(privilege)
    assert cluster.access(**EXEC | {"name": name})["allowed"] is allowed
    assert cluster.admit(enters(name=name))["allowed"] is allowed


def test_a_grant_for_one_container_is_for_that_one(cluster: Cluster) -> None:
    """The other container, another pod and another namespace are others."""
    cluster.grant("exec.any", container="team-a/two/side", uses=0)
    assert cluster.admit(enters(name="two", item={"container": "side"}))["allowed"]
    assert not cluster.admit(enters(name="two", item={"container": "c"}))["allowed"]
    assert not cluster.admit(enters(name="two", item={"container": ""}))["allowed"]
    assert not cluster.admit(enters(name="good"))["allowed"]
    assert not cluster.admit(enters(name="two", namespace="team-b", item={"container": "side"}))["allowed"]


def test_a_grant_for_a_digest_is_for_what_runs(cluster: Cluster) -> None:
    """What the node says that it runs counts, not the name in the pod."""
    cluster.grant("exec.any", images=("sha256:" + "a" * 64,))
    assert not cluster.admit(enters())["allowed"]
    cluster.grant("exec.any", images=("sha256:" + "b" * 64,))
    assert cluster.admit(enters(uid="b"))["allowed"]


def test_a_grant_for_a_command_is_authorised_and_admits_that_command(cluster: Cluster) -> None:
    """The authoriser is not told the command; the wrong one costs nothing and does nothing."""
    grant = cluster.grant("exec.any", argv=("id", "-u"))
    assert cluster.access(**EXEC)["allowed"]
    assert not cluster.admit(enters(item={"command": ["sh"]}))["allowed"]
    assert cluster.state(grant) == ("active", 0)
    assert cluster.access(**EXEC)["allowed"]
    assert cluster.admit(enters(uid="right", item={"command": ["id", "-u"]}))["allowed"]


def test_revoked_is_over_at_the_next_review(cluster: Cluster) -> None:
    """Between the two reviews of one exec, too."""
    grant = cluster.grant("exec.any")
    assert cluster.access(**EXEC)["allowed"]
    cluster.desk.act(grant.id, Revoke(ONCALL))
    assert not cluster.admit(enters())["allowed"]
    assert not cluster.access(**EXEC)["allowed"]


def test_grants_are_of_one_person(cluster: Cluster) -> None:
    """Another user, the same name among other groups' robots, and nobody."""
    cluster.grant("exec.any", uses=0)
    assert not cluster.access(**EXEC, user="mallory")["allowed"]
    assert not cluster.access(**EXEC, user="", groups=[])["allowed"]
    assert not cluster.access(**EXEC, user=DEV.id, groups=["system:unauthenticated"])["allowed"]
    assert not cluster.admit(enters(userInfo={"username": "system:serviceaccount:team-a:dev1", "groups": []}))["allowed"]


TOKEN = {"resource": "serviceaccounts", "subresource": "token", "name": "x"}
NODE = {"resource": "nodes", "subresource": "proxy", "name": "n1", "namespace": ""}


@pytest.mark.parametrize(
    ("privilege", "attributes", "review"),
    [
        ("attach", {"subresource": "attach"}, enters("attach")),
        ("attach", {"subresource": "portforward"}, None),
        ("debug.ephemeral", {"subresource": "ephemeralcontainers", "verb": "patch"}, None),
        ("token.mint", TOKEN, recorded("CREATE-serviceaccounts-token")),
        ("engine.admin", NODE, recorded("CONNECT-nodes-proxy")),
    ],
)  # fmt: skip
def test_each_way_in_has_its_privilege(cluster: Cluster, privilege: str, attributes: dict[str, str], review: Any) -> None:
    """Attach, port-forward, ephemeral containers, tokens and the agent of a node."""
    asked = EXEC | attributes
    assert not cluster.access(**asked)["allowed"]
    grant = cluster.grant(privilege)
    assert cluster.access(**asked)["allowed"]
    if review is not None:
        assert cluster.admit(review)["allowed"]
        assert cluster.state(grant) == ("exhausted", 1)
        assert not cluster.admit(changed(review, uid="again"))["allowed"]


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"resource": "users", "name": "ops"}, "ops"),
        ({"resource": "groups", "name": "admins"}, "group:admins"),
        ({"resource": "serviceaccounts", "namespace": "team-a", "name": "ci"}, "system:serviceaccount:team-a:ci"),
        ({"resource": "uids", "group": "authentication.k8s.io", "name": "7"}, "uid:7"),
        ({"resource": "userextras", "group": "authentication.k8s.io", "subresource": "scopes", "name": "x"}, "extra:scopes/x"),
    ],
)  # fmt: skip
def test_acting_as_another_is_a_privilege_of_that_name(cluster: Cluster, attributes: dict[str, str], name: str) -> None:
    """Each user, group, account and attribute by its own name; a use at once, for no admission review follows."""
    asked = {"verb": "impersonate", **attributes}
    status = cluster.access(**asked)
    assert not status["allowed"]
    assert f"impersonate:{name}" in status["reason"]
    cluster.grant("impersonate:somebody-else")
    assert not cluster.access(**asked)["allowed"]
    grant = cluster.grant(f"impersonate:{name}")
    assert cluster.access(**asked)["allowed"]
    assert cluster.state(grant) == ("exhausted", 1)
    assert cluster.access(**asked)["allowed"], "the many requests of one command are one use"
    assert cluster.state(grant) == ("exhausted", 1)
    assert not cluster.access(**asked, user="mallory")["allowed"]
    cluster.gate.authorizer._acting = sessions.Reservations(0.0)
    assert not cluster.access(**asked)["allowed"]


def test_acting_as_another_ends_with_the_grant(cluster: Cluster) -> None:
    """Within the minute that one use lasts, too."""
    asked = {"verb": "impersonate", "resource": "users", "name": "ops"}
    grant = cluster.grant("impersonate:ops", uses=0)
    assert cluster.access(**asked)["allowed"]
    cluster.desk.act(grant.id, Revoke(ONCALL))
    assert not cluster.access(**asked)["allowed"]


def test_nobody_acts_as_the_masters(cluster: Cluster) -> None:
    """Who is in system:masters is beyond every check, this one included: not even a grant gives it."""
    cluster.grant("impersonate:**", uses=0)
    status = cluster.access(verb="impersonate", resource="groups", name="system:masters")
    assert (status["allowed"], status["denied"]) == (False, True)


@pytest.mark.parametrize(
    "attributes",
    [
        {"verb": "get", "resource": "pods"}, {"verb": "create", "resource": "deployments", "group": "apps"},
        {"verb": "get", "resource": "pods", "subresource": "log", "name": "good"}, {"verb": "delete", "resource": "pods"},
        {"verb": "create", "resource": "pods", "subresource": "exec", "group": "evil.example", "name": "good"},
    ],
)  # fmt: skip
def test_other_things_are_rbacs(cluster: Cluster, attributes: dict[str, str]) -> None:
    """No opinion, without a word."""
    cluster.grant("exec.privileged", "attach", uses=0)
    assert cluster.access(**attributes) == {"allowed": False}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"nonsense", b'{"apiVersion":"authorization.k8s.io/v1beta1","kind":"SubjectAccessReview","spec":{}}',
        json.dumps(sar(**EXEC)).encode().replace(b'"user": "dev1"', b'"user": "dev1", "user": "admin"'),
        json.dumps(sar(**EXEC) | {"spec": None}).encode(),
        json.dumps(sar(**EXEC | {"name": 7})).encode(),
    ],
)  # fmt: skip
def test_an_unreadable_question_is_denied_outright(cluster: Cluster, body: bytes) -> None:
    """Not no opinion: something is wrong between the API server and the gate."""
    status = cluster.post("/authorize", body)["status"]
    assert (status["allowed"], status["denied"]) == (False, True)


def test_paths_that_are_no_resource_are_rbacs(cluster: Cluster) -> None:
    """/healthz and the like."""
    review = sar()
    review["spec"] = {"user": "dev1", "nonResourceAttributes": {"path": "/healthz", "verb": "get"}}
    assert cluster.post("/authorize", json.dumps(review).encode())["status"] == {"allowed": False}
