"""Objects that run nothing and still amount to a privilege in, the questions that stand behind them out.

What binds a pod can write annotations that the node obeys; who approves a certificate lets somebody be whoever it names; a
runtime class says what a name means on nodes; a claim with administrator's access opens devices that others use.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pratique.enforce.kubernetes.review import Admission
from pratique.enforce.kubernetes.subjects import is_controller
from pratique.grant.request import Request, Target
from pratique.model.errors import ParseError

# What a grant lets one approve may not outlive it by much: a certificate cannot be revoked. The API takes no less than 600 s.
MAX_SECONDS = 3600
_APPROVER = "certificate-controller"
# Whose certificates API servers take for users; `legacy-unknown` was signed by the same authority.
# https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
_CLIENTS = frozenset(
    ("kubernetes.io/kube-apiserver-client", "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/legacy-unknown")
)
_NEVER = "system:masters"
# Annotations were how confinement was written before there were fields; nodes still read the first where no field says otherwise.
_CONFINING = {
    "container.apparmor.security.beta.kubernetes.io/": "run.unconfined:apparmor",
    "container.seccomp.security.alpha.kubernetes.io/": "run.unconfined:seccomp",
    "seccomp.security.alpha.kubernetes.io/pod": "run.unconfined:seccomp",
}
_BINDINGS = (("", "bindings", ""), ("", "pods", "binding"))
_APPROVALS = ("certificates.k8s.io", "certificatesigningrequests", "approval")
_CLASSES = ("node.k8s.io", "runtimeclasses", "")
_CLAIMS = (("resource.k8s.io", "resourceclaims", ""), ("resource.k8s.io", "resourceclaimtemplates", ""))
_MAX_CLAIMED = 1_000  # requests of one claim; the API takes 32


class Amount(NamedTuple):
    """What is to be decided, none where it amounts to nothing; `lasting` is why no grant will do, "" where one does."""

    requests: list[Request]
    lasting: str = ""


def amount(review: Admission, cluster: str) -> Amount | None:
    """Return what such an object amounts to, None for any other object. Raises ParseError."""
    resource = tuple(review.resource)
    if resource in _BINDINGS:
        return Amount([_change(review, cluster, name) for name in dict.fromkeys(_loosened(review.item))])
    if resource == _APPROVALS:
        return _approval(review, cluster)
    if resource == _CLASSES:
        if review.item.get("handler") == review.old.get("handler"):
            return Amount([])
        target = Target(cluster=cluster, name=review.name)
        return Amount([Request(subject=review.subject, action="engine", point="kubernetes", target=target)])
    if resource in _CLAIMS:
        if not _is_admin(review.item) or _is_admin(review.old):
            return Amount([])
        return Amount([_change(review, cluster, "run.device:/**")])
    return None


def _change(review: Admission, cluster: str, privilege: str) -> Request:
    target = Target(cluster=cluster, namespace=review.namespace, name=review.name)
    return Request(subject=review.subject, action="change", point="kubernetes", target=target, extra=(privilege,))


def _loosened(binding: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the annotations of a binding take from its pod; the API server copies them to it, unlooked at."""
    for key, value in _map(_map(binding.get("metadata")).get("annotations")).items():
        for prefix, privilege in _CONFINING.items():
            if key.startswith(prefix) and value == "unconfined":
                yield privilege


def _approval(review: Admission, cluster: str) -> Amount:
    spec = _map(review.item.get("spec"))
    if spec.get("signerName", "kubernetes.io/legacy-unknown") not in _CLIENTS or is_controller(review.subject, _APPROVER):
        return Amount([])  # serves nobody as an identity in this cluster, or is a node's own, which the controller judges
    if not _is_approved(review.item) or _is_approved(review.old):
        return Amount([])
    requests = []
    for name in _named(spec.get("request")):
        target = Target(cluster=cluster, name=name)
        requests.append(Request(subject=review.subject, action="impersonate", point="kubernetes", target=target))
    seconds = spec.get("expirationSeconds")
    short = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds <= MAX_SECONDS
    return Amount(requests, "" if short else f"by a grant only what ends within {MAX_SECONDS} s (spec.expirationSeconds)")


def _is_approved(item: Mapping[str, Any]) -> bool:
    conditions = _map(item.get("status")).get("conditions")
    return any(_map(one).get("type") == "Approved" for one in (conditions if isinstance(conditions, list) else []))


def _named(request: Any) -> list[str]:
    """Return whom a certificate would stand for, as `impersonate` names them. Raises ParseError."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        subject = x509.load_pem_x509_csr(base64.b64decode(str(request), validate=True)).subject
        users = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        groups = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    except (ValueError, binascii.Error) as error:
        raise ParseError(f"the certificate's request cannot be read: {str(error)[:200]}") from None
    if not any(users):
        raise ParseError("the certificate's request names nobody")
    if _NEVER in groups:
        raise ParseError("who is in system:masters is beyond every check of the cluster: no grant gives that")
    return [name for name in users if name] + [f"group:{name}" for name in groups if name]


def _is_admin(claim: Mapping[str, Any]) -> bool:
    """Say whether a claim, or a template of one, asks for administrator's access to a device."""
    spec = _map(claim.get("spec"))
    for holder in (spec, _map(spec.get("spec"))):
        asked = _map(holder.get("devices")).get("requests")
        if not isinstance(asked, list):
            continue
        if len(asked) > _MAX_CLAIMED:
            raise ParseError(f"a claim of more than {_MAX_CLAIMED} requests")
        for one in asked:  # `exactly` from 1.33 on
            if _map(one).get("adminAccess") or _map(_map(one).get("exactly")).get("adminAccess"):
                return True
    return False


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
