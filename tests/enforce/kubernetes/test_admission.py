"""What an API server asks about pods and workloads is decided by the policy and the grants, and the answer says why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pratique.enforce.admission import Image
from pratique.enforce.kubernetes.podsecurity import parse_standard
from reviewing import DEV, DIGEST, GOOD, ROOT, Cluster, Judge, changed, creates, enters, pod, recorded, template
from storing import place_in


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(place_in(tmp_path), GOOD, ROOT)
    yield made
    made.close()


PRIVILEGED = pod(securityContext={"privileged": True})["spec"]
WORKLOADS = [
    ("apps", "deployments", "Deployment"), ("apps", "replicasets", "ReplicaSet"), ("apps", "statefulsets", "StatefulSet"),
    ("apps", "daemonsets", "DaemonSet"), ("batch", "jobs", "Job"), ("batch", "cronjobs", "CronJob"),
    ("", "replicationcontrollers", "ReplicationController"), ("", "podtemplates", "PodTemplate"),
    ("extensions", "deployments", "Deployment"), ("argoproj.io", "rollouts", "Rollout"),
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "CREATE-pods-", "CREATE-deployments-", "UPDATE-pods-ephemeralcontainers", "CONNECT-pods-exec", "CONNECT-pods-attach",
        "CONNECT-pods-proxy", "CONNECT-nodes-proxy", "CREATE-serviceaccounts-token",
    ],
)  # fmt: skip
def test_what_was_recorded_is_denied_with_rule_reason_and_command(cluster: Cluster, name: str) -> None:
    """Nobody holds a grant: each privileged review of a 1.36 API server is refused, and says how to ask."""
    review = recorded(name)
    review["request"]["userInfo"]["username"] = DEV.id
    answer = cluster.admit(review)
    assert not answer["allowed"]
    assert answer["status"]["code"] == 403
    assert (
        "pratique grant request --privilege" in answer["status"]["message"] or "nothing entitles" in answer["status"]["message"]
    )
    assert answer["auditAnnotations"]["ruling"] == "deny"
    assert cluster.lines()[-1]["decision"] == "deny"


def test_deletions_are_not_this_gates(cluster: Cluster) -> None:
    """A webhook is not even asked about webhook configurations: ValidatingAdmissionPolicy guards those."""
    assert cluster.admit(recorded("DELETE-validatingwebhookconfigurations-"))["allowed"]


def test_a_restricted_pod_needs_nothing(cluster: Cluster) -> None:
    """What is within the baseline is let through and leaves no line."""
    before = len(cluster.lines())
    assert cluster.admit(creates(pod()))["allowed"]
    assert len(cluster.lines()) == before


@pytest.mark.parametrize(("group", "resource", "kind"), WORKLOADS)
def test_every_template_is_judged(cluster: Cluster, group: str, resource: str, kind: str) -> None:
    """What a workload would run is judged when the workload is made, whatever its kind, group or version."""
    good = template(kind, pod({"restartPolicy": "Always"})["spec"], group)
    assert cluster.admit(creates(good, resource, group))["allowed"]
    for part in ("containers", "initContainers"):
        spec = {**pod()["spec"], part: PRIVILEGED["containers"]}
        answer = cluster.admit(creates(template(kind, spec, group), resource, group))
        assert not answer["allowed"]
        assert "run.privileged" in answer["status"]["message"]


def test_a_grant_is_used_by_the_pod_once_however_many_containers_ask(cluster: Cluster) -> None:
    """One review is one use; the next pod is denied."""
    grant = cluster.grant("run.root", "run.new-privileges")
    spec = pod(securityContext={"runAsUser": 0, "runAsNonRoot": False})["spec"]
    spec["initContainers"] = [{**spec["containers"][0], "name": "i"}]
    first = creates({**pod(), "spec": spec})
    answer = cluster.admit(first)
    assert answer["allowed"]
    assert answer["auditAnnotations"]["grants"] == grant.id
    assert cluster.state(grant) == ("exhausted", 1)
    assert not cluster.admit(changed(first, uid="another"))["allowed"]


def test_what_runs_by_a_grant_does_not_start_again(cluster: Cluster) -> None:
    """A deployment is for ever and a grant is not: what is needed for longer belongs into the policy."""
    cluster.grant("run.root")
    answer = cluster.admit(creates(template("Deployment", ROOT["spec"]), "deployments", "apps"))
    assert not answer["allowed"]
    assert "does not start again by itself" in answer["status"]["message"]


def test_nothing_is_used_when_one_container_is_denied(cluster: Cluster) -> None:
    """All or nothing: a grant is not spent on a pod that does not come."""
    grant = cluster.grant("run.root")
    spec = ROOT["spec"] | {"initContainers": [PRIVILEGED["containers"][0] | {"name": "i"}]}
    assert not cluster.admit(creates({**pod(), "spec": spec}))["allowed"]
    assert cluster.state(grant) == ("active", 0)


def test_a_dry_run_uses_and_records_nothing(cluster: Cluster) -> None:
    """Who tries out sees what would be, and it costs nothing."""
    grant = cluster.grant("run.root")
    before = len(cluster.lines())
    answer = cluster.admit(creates({**pod(), "spec": ROOT["spec"]}, dryRun=True))
    assert answer["allowed"]
    assert answer["warnings"] == [f"pratique: this would use {grant.id}"]
    assert not cluster.admit(creates({**pod(), "spec": PRIVILEGED}, dryRun=True))["allowed"]
    assert (cluster.state(grant), len(cluster.lines())) == (("active", 0), before)


def test_a_token_or_an_exec_is_never_a_dry_run(cluster: Cluster) -> None:
    """A token is given and a connection is made whatever the option says, so they are recorded and use up."""
    for review, privilege in ((recorded("CREATE-serviceaccounts-token"), "token.mint"), (enters(), "exec.any")):
        grant = cluster.grant(privilege)
        answer = cluster.admit(changed(review, dryRun=True))
        assert answer["allowed"], answer
        assert cluster.state(grant) == ("exhausted", 1)


def test_an_update_is_about_what_it_changes(cluster: Cluster) -> None:
    """What was let in is scaled and labelled freely; a new image or privilege is judged."""
    old = template("Deployment", PRIVILEGED)
    scaled = {**old, "spec": {**old["spec"], "replicas": 3}}
    more = template("Deployment", {**PRIVILEGED, "hostPID": True})
    image = template("Deployment", {**PRIVILEGED, "containers": [PRIVILEGED["containers"][0] | {"image": "other"}]})
    for item, allowed in ((scaled, True), (more, False), (image, False)):
        review = creates(item, "deployments", "apps", operation="UPDATE", oldObject=old)
        assert cluster.admit(review)["allowed"] is allowed


def test_an_ephemeral_container_needs_its_privilege_and_what_it_asks_for(cluster: Cluster) -> None:
    """`kubectl debug` of a pod: the new container is judged, the old ones are not."""
    review = recorded("UPDATE-pods-ephemeralcontainers")
    grant = cluster.grant("debug.ephemeral", "run.privileged")
    assert cluster.admit(review)["allowed"]
    assert cluster.state(grant)[1] == 1
    cluster.grant("debug.ephemeral")
    assert not cluster.admit(changed(review, uid="again"))["allowed"]


def test_pods_of_a_job_live_by_what_was_granted_to_it(cluster: Cluster) -> None:
    """The controller makes the pods; the job's own uid tells whose grant that was, and for no one else."""
    grant = cluster.grant("run.root")
    assert cluster.admit(creates(template("Job", ROOT["spec"], "batch"), "jobs", "batch"))["allowed"]
    controller = {"username": "system:serviceaccount:kube-system:job-controller", "groups": ["system:serviceaccounts"]}
    made = {**pod(), "spec": ROOT["spec"]}
    made["metadata"] = {**made["metadata"], "ownerReferences": [{"kind": "Job", "name": "w", "uid": "w-1", "controller": True}]}
    assert cluster.admit(creates(made, userInfo=controller))["allowed"]
    assert cluster.state(grant) == ("exhausted", 1)
    assert not cluster.admit(creates(made))["allowed"], "somebody who names the job as owner is not its controller"
    other = {**made, "metadata": {**made["metadata"], "ownerReferences": [{"kind": "Job", "uid": "w-2", "controller": True}]}}
    assert not cluster.admit(creates(other, userInfo=controller))["allowed"]
    worse = {**made, "spec": PRIVILEGED}
    assert not cluster.admit(creates(worse, userInfo=controller))["allowed"], "no more than was granted"


def test_rules_hold_whatever_was_granted(cluster: Cluster) -> None:
    """A rule of the policy is above every grant, and is named."""
    cluster.grant("run.privileged", "run.root")
    volumes = [{"name": "s", "hostPath": {"path": "/run/containerd/containerd.sock"}}]
    mounts = [{"name": "s", "mountPath": "/s"}]
    answer = cluster.admit(creates(pod({"volumes": volumes}, volumeMounts=mounts)))
    assert not answer["allowed"]
    assert "no-runtime-socket" in answer["auditAnnotations"]["rules"]


def test_service_account_secrets_and_paths_of_nodes_are_privileges(cluster: Cluster) -> None:
    """A token that never expires, and a volume that is a folder of the machine, by way of other objects."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "team-a"}, "type": "Opaque"}
    assert cluster.admit(creates(secret, "secrets"))["allowed"]
    answer = cluster.admit(creates(secret | {"type": "kubernetes.io/service-account-token"}, "secrets"))
    assert "token.mint" in answer["status"]["message"]
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"hostPath": {"path": "/etc"}}}
    answer = cluster.admit(creates(volume, "persistentvolumes"))
    assert "volume.hostbind" in answer["status"]["message"]
    claim = volume | {"spec": {"csi": {"driver": "d"}}}
    assert cluster.admit(creates(claim, "persistentvolumes"))["allowed"]


def test_exempt_is_recorded(tmp_path: Path) -> None:
    """What a namespace or a user is spared from asking is in the ledger all the same."""
    cluster = Cluster(place_in(tmp_path), exempt=("group:robots",))
    made = {**pod(), "spec": PRIVILEGED}
    kube = creates({**made, "metadata": {"name": "p", "namespace": "kube-system"}})
    assert cluster.admit(kube)["allowed"]
    assert cluster.lines()[-1]["rule"] == "exempt"
    assert not cluster.admit(changed(enters(), namespace="kube-system"))["allowed"], "to enter is never exempt by its place"
    assert cluster.admit(creates(made, userInfo={"username": "r", "groups": ["robots"]}))["allowed"]
    mirror = {**made, "metadata": {**made["metadata"], "annotations": {"kubernetes.io/config.mirror": "x"}}}
    node = {"username": "system:node:n1", "groups": ["system:nodes"]}
    assert cluster.admit(creates(mirror, userInfo=node))["allowed"]
    assert not cluster.admit(creates(made, userInfo=node))["allowed"]
    cluster.close()


def test_nodes_have_tokens_of_their_pods_made(cluster: Cluster) -> None:
    """The agent of a node asks for a token bound to a pod all the time; for an unbound one it needs what others need."""
    review = recorded("CREATE-serviceaccounts-token")
    node = {"username": "system:node:n1", "groups": ["system:nodes"]}
    item = review["request"]["object"]
    bound = {**item, "spec": {**item["spec"], "boundObjectRef": {"kind": "Pod", "name": "p"}}}
    assert cluster.admit(changed(review, userInfo=node, object=bound))["allowed"]
    assert not cluster.admit(changed(review, userInfo=node))["allowed"]
    assert not cluster.admit(changed(review, object=bound))["allowed"]


def test_the_pod_security_standards_hold_beside_the_policy(tmp_path: Path) -> None:
    """By namespace, with the standard's own control named; a grant lifts what is its privilege."""
    standards = tuple(map(parse_standard, ("team-*=restricted:v1.34", "baseline")))
    cluster = Cluster(place_in(tmp_path), standards=standards)
    no_seccomp = pod()
    del no_seccomp["spec"]["containers"][0]["securityContext"]["seccompProfile"]
    answer = cluster.admit(creates(no_seccomp))
    assert not answer["allowed"]
    assert "pod-security restricted:v1.34 seccompProfile_restricted" in answer["auditAnnotations"]["rules"]
    cluster.grant("run.unconfined:seccomp")
    assert cluster.admit(creates(no_seccomp))["allowed"]
    elsewhere = {**no_seccomp, "metadata": {"name": "p", "namespace": "other"}}
    assert cluster.admit(creates(elsewhere))["allowed"]
    cluster.close()


def test_images_are_asked_about(tmp_path: Path) -> None:
    """A verdict on an image denies by the same answer, even where nobody has to ask for grants; tags are resolved."""
    judge = Judge("")
    cluster = Cluster(place_in(tmp_path), judge=judge)
    for image, allowed in ((f"good@{DIGEST}", True), (f"bad@{DIGEST}", False), ("good:known", True), ("good:stranger", False)):
        assert cluster.admit(creates(pod(image=image)))["allowed"] is allowed
    assert judge.seen[2] == Image("good:known", (DIGEST,), f"registry:good:known@{DIGEST}")
    bad = pod(image=f"bad@{DIGEST}")
    bad["metadata"] = {**bad["metadata"], "namespace": "kube-system"}
    answer = cluster.admit(creates(bad))
    assert "critical vulnerabilities" in answer["status"]["message"]
    cluster.close()


def test_a_grant_lets_a_refused_image_run_for_a_task(tmp_path: Path) -> None:
    """Where the verdict names a privilege it can be asked for, and the denial says how."""
    cluster = Cluster(place_in(tmp_path), judge=Judge(f"run.image:bad@{DIGEST}"))
    answer = cluster.admit(creates(pod(image=f"bad@{DIGEST}")))
    assert "critical vulnerabilities" in answer["status"]["message"]
    assert f"--privilege run.image:bad@{DIGEST}" in answer["status"]["message"]
    cluster.grant(f"run.image:bad@{DIGEST}")
    assert cluster.admit(creates(pod(image=f"bad@{DIGEST}")))["allowed"]
    cluster.close()


def test_observing_denies_nothing_and_says_what_it_would(tmp_path: Path) -> None:
    """With --observe everything goes through, with a warning and a line."""
    cluster = Cluster(place_in(tmp_path), observe=True)
    answer = cluster.admit(creates({**pod(), "spec": PRIVILEGED}))
    assert answer["allowed"]
    assert answer["warnings"][0].startswith("pratique: would be denied: ")
    assert cluster.lines()[-1]["detail"]["observed"] == "true"
    cluster.close()


def test_a_pod_ends_with_its_grant(tmp_path: Path) -> None:
    """With --evict what a grant let in is deleted when it is revoked, by uid, also after a restart of the gate."""
    cluster = Cluster(place_in(tmp_path), evict=True)
    grant = cluster.grant("run.root")
    assert cluster.admit(creates({**pod(), "spec": ROOT["spec"]}))["allowed"]
    asyncio.run(cluster.gate.tend())
    assert cluster.api.evicted == []
    cluster.close()
    again = Cluster(place_in(tmp_path), evict=True)
    again.desk.store.change(grant.id, lambda kept: msgspec.structs.replace(kept, expires_at=1.0))
    asyncio.run(again.gate.tend())
    assert again.api.evicted == [("team-a", "p", "u-1")]
    assert again.lines()[-1]["event"] == "evict"
    again.close()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}', b"[" * 100_000,
        json.dumps(creates(pod())).encode().replace(b'"kind": "Pod"', b'"kind": "Pod", "kind": "Pod"'),
        json.dumps(creates(pod())).encode().replace(b'"operation": "CREATE"', b'"operation": "CREATE", "operation": "DELETE"'),
        json.dumps(creates(pod(), operation="PATCH")).encode(),
        json.dumps(creates(pod(), operation="create")).encode(),
        json.dumps(creates(pod(), userInfo=None)).encode(),
        json.dumps(creates(pod(), userInfo={"username": ["dev1"]})).encode(),
        json.dumps(creates(pod(), dryRun="false")).encode(),
        json.dumps(creates(pod(), object=None)).encode(),
        json.dumps(creates({**pod(), "spec": {"containers": "none"}})).encode(),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_denied_and_recorded(cluster: Cluster, body: bytes) -> None:
    """Empty, ambiguous, of another version, without an object: denied, in the ledger, and never an error."""
    answer = cluster.post("/admit", body)
    assert not answer["response"]["allowed"]
    assert "pratique: denied:" in answer["response"]["status"]["message"]
    assert cluster.lines()[-1]["decision"] == "deny"


def test_nobody_known_may_do_nothing(cluster: Cluster) -> None:
    """Anonymous requests are denied where the policy does not say otherwise."""
    anonymous = {"username": "system:anonymous", "groups": ["system:unauthenticated"]}
    assert not cluster.admit(creates(pod(), userInfo=anonymous))["allowed"]
    cluster.grant("exec.any")
    assert not cluster.admit(enters(userInfo=anonymous))["allowed"]
