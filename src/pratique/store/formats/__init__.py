"""Lines of the ledger in, what collectors of events read out: one module a format, each with `write(line) -> str`."""

from __future__ import annotations

import datetime as dt
import re

from pratique.store.line import Line, Who

FORMATS = ("ocsf", "cef", "rfc5424")

# How events read to a person; what is not here is shown by its name.
SENTENCES = {
    "request": "asks for",
    "approve": "approves",
    "deny": "denies",
    "cancel": "takes back the request for",
    "lapse": "nobody approved in time:",
    "activate": "now holds",
    "use": "uses",
    "exhaust": "has used up",
    "expire": "no longer holds, as time is up:",
    "revoke": "revokes",
    "complete": "gives back",
    "break-glass": "breaks the glass for",
    "alert-sent": "is told of, as an alert, for",
    "alert-failed": "cannot be told of, as an alert, for",
    "review": "has reviewed",
    "decision": "is judged on",
    "verdict": "records a verdict on",
    "approver-key": "registers a key of",
    "approver-key-removed": "removes the key of",
}
# Details that say what an event is about, where no privilege does; the first that is there is shown.
_ABOUT = {
    "decision": ("request",),
    "verdict": ("reference", "digest"),
    "approver-key": ("of",),
    "approver-key-removed": ("of",),
}
# Events that need somebody's eyes; whose key approves is as good as who approves.
ALARMING = frozenset(
    (
        "break-glass", "torn", "recovered", "power-cut", "synced-late", "clock", "alert-failed", "code-refused", "approver-key",
    )
)  # fmt: skip


def name_of(who: Who | None) -> str:
    """Return the name of a subject, with where it is known from."""
    return f"{who.provider}:{who.id}" if who is not None else ""


def is_observed(line: Line) -> bool:
    """Say whether it would have been denied, and was let through, as the gate only observed."""
    return line.decision == "deny" and line.detail.get("observed") == "true"


def decision_of(line: Line) -> str:
    """Return what really came of it: "observed" is no denial."""
    return "observed" if is_observed(line) else line.decision


def milliseconds(time: str) -> int:
    """Return a time of a line (RFC 3339) in milliseconds since the epoch."""
    return round(dt.datetime.fromisoformat(time).timestamp() * 1000)


def sentence(line: Line) -> str:
    """Say in one line who did what for which task."""
    actor = line.by or line.subject
    parts = [name_of(actor) or "pratique", SENTENCES.get(line.event, line.event)]
    if line.needed:
        parts.append(", ".join(line.needed))
    elif about := next((line.detail[name] for name in _ABOUT.get(line.event, ()) if line.detail.get(name)), ""):
        parts.append(about)
    if line.by is not None and line.subject is not None and line.by != line.subject:
        parts.append(f"for {name_of(line.subject)}")
    if where := _where(line):
        parts.append(f"on {where}")
    if line.task:
        parts.append(f"(task {line.task})")
    if line.decision:
        parts.append(f"-> {'deny (observed: it was let through)' if is_observed(line) else line.decision}")
    if line.reason:
        parts.append(f": {line.reason}")
    if line.count:
        parts.append(f"({line.count} times more, {line.first[:19]}Z to {line.last[:19]}Z)")
    return printable(" ".join(parts).replace(" :", ":"))


def _where(line: Line) -> str:
    """Return what it is done with: the container that has a name, or the image."""
    if line.event == "verdict":
        return ""  # it is about an image, which it names
    detail = line.detail
    image = detail.get("reference", "") or detail.get("images", "")
    digest = detail.get("digest", "")
    named = image if not digest or digest in image else f"{image}@{digest}" if image else digest
    container = detail.get("container", "")
    if _ID.fullmatch(container):
        container = container[:_SHORT]
    return " of ".join(filter(None, (detail.get("name", "") or container, named)))


_ID, _SHORT = re.compile("[0-9a-f]{64}"), 12  # of a container engines show so many letters; in a cluster it has names
_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))} | {0x2028: "\\u2028", 0x2029: "\\u2029"}


def printable(text: str) -> str:
    """Write control characters as escapes, so that one event stays one line."""
    return text.translate(_CONTROLS)
