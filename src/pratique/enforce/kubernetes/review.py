"""Bytes of an AdmissionReview or a SubjectAccessReview in, what is asked out; a ruling in, the bytes of the answer out.

Both are of version v1 only. The API server writes each key once and in one spelling, so whatever is doubtful did not come from
it and is refused. Sources: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/,
https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from pratique.enforce.kubernetes.subjects import subject_of
from pratique.model.errors import ParseError
from pratique.model.privilege import Subject

# An object is at most 1.5 MiB in etcd, and an update brings it twice; what is larger is denied.
MAX_BODY = 4 << 20
OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")
_ADMISSION, _ACCESS = "admission.k8s.io/v1", "authorization.k8s.io/v1"
_MAX_NAME = 1_000  # characters of a name or a path; Kubernetes' own names have 253 at most
_MAX_WARNING = 250  # characters: the API server may cut what is longer
_MAX_MESSAGE = 4_000  # characters of a denial, so that its reasons reach the person whole and no log is filled


class Resource(NamedTuple):
    """A resource as the API spells it; `sub` is "" for the resource itself."""

    group: str
    name: str
    sub: str = ""

    def __str__(self) -> str:
        """Return it as kubectl writes it."""
        named = f"{self.name}.{self.group}" if self.group else self.name
        return f"{named}/{self.sub}" if self.sub else named


class Admission(NamedTuple):
    """One AdmissionReview. `item` and `old` are empty where the API server sends none; `subject` None where nobody is known."""

    uid: str
    resource: Resource
    namespace: str
    name: str
    operation: str
    subject: Subject | None
    item: Mapping[str, Any]
    old: Mapping[str, Any]
    dry_run: bool

    @property
    def what(self) -> str:
        """Name the request for people and the ledger."""
        place = f" in {self.namespace}" if self.namespace else ""
        return f"{self.operation} {self.resource} {self.name or '(new)'}{place}"


class Access(NamedTuple):
    """One SubjectAccessReview about a resource; `resource` is None for a path that is none."""

    subject: Subject | None
    verb: str
    resource: Resource | None
    namespace: str
    name: str


def read_admission(body: bytes) -> Admission:
    """Read an AdmissionReview. Raises ParseError."""
    request = _object(_review(body, _ADMISSION, "AdmissionReview"), "request")
    kind = _object(request, "resource")
    return Admission(
        uid=_text(request, "uid", required=True),
        resource=Resource(
            _text(kind, "group"),
            _text(kind, "resource", required=True),
            _text(request, "subResource"),
        ),
        namespace=_text(request, "namespace"),
        name=_text(request, "name"),
        operation=_text(request, "operation", required=True),
        subject=subject_of(_object(request, "userInfo")),
        item=_object(request, "object", empty=True),
        old=_object(request, "oldObject", empty=True),
        dry_run=_flag(request, "dryRun"),
    )


def read_access(body: bytes) -> Access:
    """Read a SubjectAccessReview. Raises ParseError."""
    spec = _object(_review(body, _ACCESS, "SubjectAccessReview"), "spec")
    # Here the user's name is called `user`; the groups are groups in both.
    subject = subject_of({"username": spec.get("user"), "groups": spec.get("groups")})
    asked = spec.get("resourceAttributes")
    if not isinstance(asked, dict):
        return Access(subject, _text(_object(spec, "nonResourceAttributes", empty=True), "verb"), None, "", "")
    resource = Resource(_text(asked, "group"), _text(asked, "resource"), _text(asked, "subresource"))
    return Access(subject, _text(asked, "verb"), resource, _text(asked, "namespace"), _text(asked, "name"))


def uid_of(body: bytes) -> str:
    """Return the uid of a review that is otherwise unreadable, so that the API server can match the denial to it."""
    try:
        uid = json.loads(body)["request"]["uid"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return uid[:_MAX_NAME] if isinstance(uid, str) else ""


def admitted(uid: str, *, warnings: Sequence[str] = (), notes: Mapping[str, str] | None = None) -> bytes:
    """Return the answer that lets it through; `notes` go to the audit log, `warnings` to the person."""
    return _admission({"uid": uid, "allowed": True, "warnings": [_line(one) for one in warnings], "auditAnnotations": notes})


def refused(uid: str, message: str, *, notes: Mapping[str, str] | None = None) -> bytes:
    """Return the answer that denies it."""
    status = {"code": 403, "reason": "Forbidden", "message": message[:_MAX_MESSAGE]}
    return _admission({"uid": uid, "allowed": False, "status": status, "auditAnnotations": notes})


def access(*, allowed: bool = False, denied: bool = False, reason: str = "", error: str = "") -> bytes:
    """Return the answer to a SubjectAccessReview: allowed, denied, or (neither) no opinion."""
    status = {"allowed": allowed, "denied": denied, "reason": reason[:_MAX_MESSAGE], "evaluationError": error}
    answer = {name: value for name, value in status.items() if value or name == "allowed"}
    return json.dumps({"apiVersion": _ACCESS, "kind": "SubjectAccessReview", "status": answer}).encode()


def _admission(response: dict[str, Any]) -> bytes:
    kept = {name: value for name, value in response.items() if value or name in ("uid", "allowed")}
    return json.dumps({"apiVersion": _ADMISSION, "kind": "AdmissionReview", "response": kept}).encode()


def _line(text: str) -> str:
    return " ".join(text.split())[:_MAX_WARNING]


def _review(body: bytes, version: str, kind: str) -> Mapping[str, Any]:
    try:
        review = json.loads(body, object_pairs_hook=_once, parse_constant=_constant)
    except RecursionError:
        raise ParseError("the review is nested too deeply") from None
    except ValueError as error:
        raise ParseError(f"the review is not one JSON value: {error}") from None
    if not isinstance(review, dict) or review.get("apiVersion") != version or review.get("kind") != kind:
        raise ParseError(f"this is no {kind} of {version}")
    return review


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ParseError("a key comes twice in one object")
    return made


def _constant(name: str) -> NoReturn:
    raise ParseError(f"{name} is no JSON")


def _object(value: Mapping[str, Any], key: str, *, empty: bool = False) -> Mapping[str, Any]:
    found = value.get(key)
    if found is None and empty:
        return {}
    if not isinstance(found, dict):
        raise ParseError(f"the review's {key} is no object")
    return found


def _text(value: Mapping[str, Any], key: str, *, required: bool = False) -> str:
    found = value.get(key, "")
    if found is None:
        found = ""
    if not isinstance(found, str) or len(found) > _MAX_NAME or (required and not found):
        raise ParseError(f"the review's {key} is no name")
    return found


def _flag(value: Mapping[str, Any], key: str) -> bool:
    found = value.get(key)
    if found not in (None, True, False):
        raise ParseError(f"the review's {key} is neither true nor false")
    return bool(found)
