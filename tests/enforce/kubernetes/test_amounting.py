"""Objects that run nothing, or name what runs elsewhere, and give as much as a privilege: each is asked about as one."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reviewing import DIGEST, GOOD, ONCALL, POLICY, ROOT, Cluster, Judge, changed, creates, enters, pod, template
from storing import place_in

BINDER = {"username": "system:serviceaccount:kube-system:persistent-volume-binder", "groups": ["system:serviceaccounts"]}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(place_in(tmp_path), GOOD, ROOT)
    yield made
    made.close()


def denied(answer: dict[str, Any], what: str) -> bool:
    return not answer["allowed"] and what in answer["status"]["message"]


# -- runtime classes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "runc"])
def test_a_runtime_class_is_another_runtime(cluster: Cluster, name: str) -> None:
    """Whoever made the class wrote what it means: a familiar name is no sign of a familiar runtime."""
    for item, resource, group in (
        (pod({"runtimeClassName": name}), "pods", ""),
        (template("Deployment", pod({"runtimeClassName": name, "restartPolicy": "Always"})["spec"]), "deployments", "apps"),
    ):
        assert denied(cluster.admit(creates(item, resource, group)), f"run.runtime:{name}")


def test_a_policy_lists_the_runtime_classes_of_its_cluster(tmp_path: Path) -> None:
    """What is within the baseline needs no grant, and no other class comes with it."""
    cluster = Cluster(place_in(tmp_path))
    listed = POLICY.replace(b"{profile: restricted}", b'{profile: restricted, privileges: ["run.runtime:gvisor"]}')
    cluster.desk.set_policy("policy.yaml", listed, ONCALL)
    assert cluster.admit(creates(pod({"runtimeClassName": "gvisor"})))["allowed"]
    assert denied(cluster.admit(creates(pod({"runtimeClassName": "kata"}))), "run.runtime:kata")
    cluster.close()


def test_what_a_runtime_class_means_is_the_engines_configuration(cluster: Cluster) -> None:
    """A class that everybody may use, deleted and made again with another handler."""
    item: dict[str, Any] = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "gvisor"}}
    item["handler"] = "plain"
    review = creates(item, "runtimeclasses", "node.k8s.io")
    assert denied(cluster.admit(review), "engine.admin")
    placed = {**item, "scheduling": {"nodeSelector": {"a": "b"}}}
    assert cluster.admit(changed(review, operation="UPDATE", oldObject=item, object=placed))["allowed"]
    cluster.grant("engine.admin")
    assert cluster.admit(review)["allowed"]


def test_the_size_of_a_running_pod_is_no_privilege(cluster: Cluster) -> None:
    """`pods/resize` (1.33) changes what a container may use, not what it may do: also of one that runs by a policy of before."""
    old = copy.deepcopy(ROOT)
    new = copy.deepcopy(ROOT)
    new["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}
    review = creates(new, operation="UPDATE", subResource="resize", oldObject=old)
    assert cluster.admit(review)["allowed"]
    new["spec"]["containers"][0]["securityContext"]["privileged"] = True
    assert denied(cluster.admit(changed(review, object=new)), "run.privileged")


@pytest.mark.parametrize(
    ("part", "own"),
    [
        ("initContainers", {"restartPolicy": "Always"}),
        ("containers", {"restartPolicy": "OnFailure"}),
        (
            "containers",
            {"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In"}}]},
        ),
    ],
)
def test_what_runs_by_a_grant_does_not_start_again_by_its_containers_own_word(
    cluster: Cluster, part: str, own: dict[str, Any]
) -> None:
    """A sidecar starts again whatever its pod says; so does a container with a policy, or rules, of its own."""
    grant = cluster.grant("run.root", "run.new-privileges")
    root = {**ROOT["spec"]["containers"][0], "name": "again", **own}
    item = pod()
    item["spec"][part] = [*item["spec"].get(part, []), root]
    assert denied(cluster.admit(creates(item)), "does not start again by itself")
    del root["restartPolicy"]
    root.pop("restartPolicyRules", None)
    assert cluster.admit(creates(item))["allowed"]
    assert cluster.state(grant) == ("exhausted", 1)


# -- volumes -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "volume", [{"flexVolume": {"driver": "example/lvm"}}, {"gitRepo": {"repository": "https://git.example/x"}}]
)
def test_what_the_nodes_agent_runs_for_a_volume_is_a_privilege(cluster: Cluster, volume: dict[str, Any]) -> None:
    """A driver of the node, and git with the hooks of a repository, run as root; added to a template as well."""
    spec = pod({"volumes": [{"name": "v", **volume}], "restartPolicy": "Always"})["spec"]
    assert denied(cluster.admit(creates(pod({"volumes": [{"name": "v", **volume}]}))), "volume.hostbind")
    old, new = template("Deployment", pod({"restartPolicy": "Always"})["spec"]), template("Deployment", spec)
    review = creates(new, "deployments", "apps", operation="UPDATE", oldObject=old)
    assert denied(cluster.admit(review), "volume.hostbind")
    scaled = {**new, "spec": {**new["spec"], "replicas": 3}}
    assert cluster.admit(changed(review, object=scaled, oldObject=new))["allowed"]
    made = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"flexVolume": {"driver": "d"}}}
    assert denied(cluster.admit(creates(made, "persistentvolumes")), "volume.hostbind")


@pytest.mark.parametrize(
    "volume",
    [
        {"nfs": {"server": "files.example", "path": "/x"}},
        {"iscsi": {"targetPortal": "10.0.0.1:3260", "iqn": "i", "lun": 0}},
        {"csi": {"driver": "secrets.example"}},
        {"persistentVolumeClaim": {"claimName": "c"}},
    ],
)
def test_what_a_server_gives_is_that_servers_to_judge(cluster: Cluster, volume: dict[str, Any]) -> None:
    """Volumes of the network are nothing of the node's."""
    assert cluster.admit(creates(pod({"volumes": [{"name": "v", **volume}]})))["allowed"]


@pytest.mark.parametrize("where", [{"hostPath": {"path": "/srv/x"}}, {"local": {"path": "/srv/x"}}])
def test_a_volume_that_was_let_in_is_bound_and_released_freely(cluster: Cluster, where: dict[str, Any]) -> None:
    """The controller that binds claims holds no grant, and changes nothing of where a volume is."""
    spec = {**where, "accessModes": ["ReadWriteOnce"]}
    old = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": spec}
    bound = {**old, "spec": {**spec, "claimRef": {"namespace": "team-a", "name": "c"}}}
    review = creates(bound, "persistentvolumes", operation="UPDATE", oldObject=old, userInfo=BINDER)
    assert cluster.admit(review)["allowed"]
    moved = {**old, "spec": {**spec, next(iter(where)): {"path": "/etc"}}}
    assert denied(cluster.admit(changed(review, object=moved)), "volume.hostbind")


def test_an_image_that_is_mounted_is_one_that_runs(tmp_path: Path) -> None:
    """Its programs are there for the container to run, so that its verdict counts as the container's own does."""
    cluster = Cluster(place_in(tmp_path), judge=Judge(""))
    for name, allowed in (("good", True), ("bad", False)):
        volumes = [{"name": "v", "image": {"reference": f"{name}@{DIGEST}", "pullPolicy": "Always"}}]
        item = pod({"volumes": volumes}, image=f"good@{DIGEST}", volumeMounts=[{"name": "v", "mountPath": "/v"}])
        assert cluster.admit(creates(item))["allowed"] is allowed
    cluster.close()


# -- bindings ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resource", "sub"), [("bindings", ""), ("pods", "binding")])
def test_a_binding_takes_nothing_from_its_pod(cluster: Cluster, resource: str, sub: str) -> None:
    """Its annotations become the pod's, after everybody looked at the pod."""
    key = "container.apparmor.security.beta.kubernetes.io/c"
    item = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "namespace": "team-a"}, "target": {"name": "n1"}}
    review = creates(item, resource, subResource=sub)
    assert cluster.admit(review)["allowed"]
    for value, allowed in (("runtime/default", True), ("unconfined", False)):
        noted = {**item, "metadata": {**item["metadata"], "annotations": {key: value}}}  # type: ignore[dict-item]
        answer = cluster.admit(changed(review, object=noted))
        assert answer["allowed"] is allowed
    assert "run.unconfined:apparmor" in answer["status"]["message"]


# -- certificates --------------------------------------------------------------------------------------------------------------


def signing(user: str, *groups: str, signer: str = "kubernetes.io/kube-apiserver-client", **spec: Any) -> dict[str, Any]:
    """Return the review of an approval of a certificate for a user in groups."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    names += [x509.NameAttribute(NameOID.COMMON_NAME, user)] if user else []
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    pem = base64.b64encode(wanted.public_bytes(serialization.Encoding.PEM)).decode()
    old = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "r"},
        "spec": {"request": pem, "signerName": signer, "expirationSeconds": 600, **spec}, "status": {},
    }  # fmt: skip
    item = {**old, "status": {"conditions": [{"type": "Approved", "status": "True"}]}}
    group, resource = "certificates.k8s.io", "certificatesigningrequests"
    return creates(item, resource, group, operation="UPDATE", subResource="approval", oldObject=old)


def test_who_approves_a_certificate_lets_somebody_be_whoever_it_names(cluster: Cluster) -> None:
    """The user and each group, as impersonation has them: all are needed."""
    message = cluster.admit(signing("alice", "devs"))["status"]["message"]
    assert "impersonate:alice" in message
    assert "impersonate:group:devs" in message
    grant = cluster.grant("impersonate:alice")
    assert denied(cluster.admit(signing("alice", "devs")), "impersonate:group:devs")
    assert cluster.state(grant) == ("active", 0)
    assert cluster.admit(signing("alice"))["allowed"]
    assert cluster.state(grant) == ("exhausted", 1)


def test_a_certificate_does_not_outlive_the_grant_by_which_it_was_approved(cluster: Cluster) -> None:
    """It cannot be revoked, and by default it is for a year."""
    grant = cluster.grant("impersonate:alice")
    for seconds in (None, 3601, True, "600"):
        assert denied(cluster.admit(signing("alice", expirationSeconds=seconds)), "expirationSeconds")
    assert cluster.state(grant) == ("active", 0)


def test_nobody_is_made_beyond_every_check(cluster: Cluster) -> None:
    """No grant gives system:masters, and what cannot be read is not approved."""
    cluster.grant("impersonate:**")
    assert denied(cluster.admit(signing("alice", "system:masters")), "beyond every check")
    for request in ("", "!", base64.b64encode(b"no certificate").decode()):
        assert denied(cluster.admit(signing("alice", request=request)), "cannot be read")
    assert denied(cluster.admit(signing("", "devs")), "names nobody")


def test_certificates_that_are_nobodys_identity_are_not_asked_about(cluster: Cluster) -> None:
    """A node's serving certificate, another signer's, one that was approved before, a denial; and the controller's own."""
    for signer in ("kubernetes.io/kubelet-serving", "example.com/mesh"):
        assert cluster.admit(signing("system:node:n1", "system:nodes", signer=signer))["allowed"]
    kubelets = signing("system:node:n1", "system:nodes", signer="kubernetes.io/kube-apiserver-client-kubelet")
    assert denied(cluster.admit(kubelets), "impersonate:system:node:n1")
    controller = {"username": "system:serviceaccount:kube-system:certificate-controller", "groups": []}
    assert cluster.admit(changed(kubelets, userInfo=controller))["allowed"]
    review = signing("alice")
    assert cluster.admit(changed(review, oldObject=review["request"]["object"]))["allowed"]
    refusal = copy.deepcopy(review)
    refusal["request"]["object"]["status"]["conditions"][0]["type"] = "Denied"
    assert cluster.admit(refusal)["allowed"]


# -- devices -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resourceclaims", "resourceclaimtemplates"])
def test_administrators_access_to_devices_is_a_privilege(cluster: Cluster, name: str) -> None:
    """It opens devices that others use, in each version of the API; an ordinary claim gives what the driver gives everybody."""
    for asked, allowed in (
        ({"deviceClassName": "gpu"}, True),
        ({"exactly": {"deviceClassName": "gpu", "adminAccess": False}}, True),
        ({"deviceClassName": "gpu", "adminAccess": True}, False),
        ({"exactly": {"deviceClassName": "gpu", "adminAccess": True}}, False),
    ):
        spec: dict[str, Any] = {"devices": {"requests": [{"name": "r", **asked}]}}
        spec = spec if name == "resourceclaims" else {"spec": spec}
        item = {"apiVersion": "resource.k8s.io/v1", "kind": "X", "metadata": {"name": "c", "namespace": "team-a"}, "spec": spec}
        answer = cluster.admit(creates(item, name, "resource.k8s.io"))
        assert answer["allowed"] is allowed
    assert "run.device:/**" in answer["status"]["message"]
    again = creates(item, name, "resource.k8s.io", operation="UPDATE", oldObject=item, userInfo=BINDER)
    assert cluster.admit(again)["allowed"], "what was let in is allocated freely"


# -- what a status says --------------------------------------------------------------------------------------------------------


def test_a_status_does_not_make_root_somebody_else(tmp_path: Path) -> None:
    """Whoever may write a pod's status cannot lower what a shell in it needs, where the pod itself says as whom it runs."""
    forged = copy.deepcopy(ROOT)
    forged["status"] = {"containerStatuses": [{"name": "c", "user": {"linux": {"uid": 1000}}}]}
    cluster = Cluster(place_in(tmp_path), forged)
    cluster.grant("exec.any")
    assert denied(cluster.admit(enters(name="root", item={"container": "c"})), "exec.root")
    cluster.close()
