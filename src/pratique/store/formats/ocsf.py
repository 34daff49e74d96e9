"""A line in, an event of the Open Cybersecurity Schema Framework out (https://schema.ocsf.io/1.5.0/).

Grants that come and go are User Access Management (3005), a session that gets a privilege is Authorize Session (3003), and what
else is asked or done is API Activity (6003). A class gets what it demands; what has no place there is `unmapped`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pratique._version import __version__
from pratique.store.formats import ALARMING, is_observed, milliseconds, name_of, sentence
from pratique.store.line import Line, Who

VERSION = "1.5.0"
_AUTHORIZE, _ACCESS, _API = 3003, 3005, 6003
_ASSIGNS = frozenset(("activate", "break-glass"))
_TAKES = frozenset(("revoke", "expire", "exhaust", "complete"))
_OTHER = 99
_USER_TYPES = {"human": 1, "robot": 4, "node": 3}
_OPERATIONS = {"request": 1, "policy": 3, "approve": 3, "deny": 3, "review": 3, "cancel": 4, "lapse": 4}
_UNMAPPED = ("task", "ticket", "request", "effective", "session", "rule", "state", "until", "detail", "prev")


def write(line: Line) -> str:
    """Return one event as a line of JSON."""
    return msgspec.json.encode(event(line)).decode()


def event(line: Line) -> dict[str, Any]:
    """Return one event."""
    if line.event in _ASSIGNS | _TAKES and line.subject is not None:
        return _common(line, _ACCESS, 1 if line.event in _ASSIGNS else 2) | _for_user(line)
    if line.event == "use" and line.subject is not None and line.needed:
        return _common(line, _AUTHORIZE, 1) | _for_user(line) | ({"session": {"uid": line.session}} if line.session else {})
    found = _common(line, _API, _OPERATIONS.get(line.event, _OTHER))
    found["actor"] = {"user": _user(line.by or line.subject)}
    found["api"] = {"operation": line.event, "service": {"name": line.point or "pratique"}}
    found["src_endpoint"] = {"name": line.node or "pratique"}
    if line.grant:
        found["resources"] = [{"type": "grant", "uid": line.grant}]
    return found


def _common(line: Line, class_uid: int, activity: int) -> dict[str, Any]:
    denied, observed = line.decision == "deny", is_observed(line)
    found: dict[str, Any] = {
        "category_uid": class_uid // 1000,
        "class_uid": class_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "time": milliseconds(line.time),
        "severity_id": 4 if line.event in ALARMING else 3 if denied else 1,
        "status_id": 2 if denied and not observed else 1,
        "message": sentence(line),
        "metadata": {
            "version": VERSION,
            "product": {"name": "pratique", "vendor_name": "pratique", "version": __version__},
            "log_name": "ledger",
            "sequence": line.seq,
            "event_code": line.event,
            "uid": line.mac,
        },
        "unmapped": {name: value for name in _UNMAPPED if (value := getattr(line, name))},
    }
    if line.count:
        found |= {"count": line.count, "start_time": milliseconds(line.first), "end_time": milliseconds(line.last)}
    if activity == _OTHER:
        found["activity_name"] = line.event
    if line.grant:
        found["metadata"]["correlation_uid"] = line.grant
    if line.reason:
        found["status_detail"] = line.reason
    if line.policy:
        found["unmapped"]["policy"] = line.policy
    return found


def _for_user(line: Line) -> dict[str, Any]:
    found: dict[str, Any] = {"user": _user(line.subject), "privileges": list(line.needed)}
    if line.by is not None:
        found["actor"] = {"user": _user(line.by)}
    if line.node:
        found["src_endpoint"] = {"name": line.node}
    return found


def _user(who: Who | None) -> dict[str, Any]:
    if who is None:
        return {"name": "unknown", "type_id": 0}
    return {"name": who.id, "uid": name_of(who), "domain": who.provider, "type_id": _USER_TYPES.get(who.kind, 0)}
