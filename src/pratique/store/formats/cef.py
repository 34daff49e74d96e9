"""A line in, an event of ArcSight's Common Event Format out: `CEF:0|vendor|product|version|id|name|severity|extension`."""

from __future__ import annotations

from pratique._version import __version__
from pratique.store.formats import ALARMING, decision_of, milliseconds, name_of, printable, sentence
from pratique.store.line import Line

_HEADER = str.maketrans({"\\": "\\\\", "|": "\\|"})
# In the extension a value ends at the next key, so that = is escaped and a line break is written.
_VALUE = str.maketrans({"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r"})
_LABELS = ("grant", "task", "ticket", "privileges", "policy", "request")  # cs1 to cs6


def write(line: Line) -> str:
    """Return one event as a line of text."""
    severity = 8 if line.event in ALARMING else 5 if line.decision == "deny" else 3
    header = "|".join(_header(part) for part in ("pratique", "pratique", __version__, line.event, f"ledger: {line.event}"))
    values = {
        "rt": str(milliseconds(line.time)),
        "externalId": str(line.seq),
        "suser": name_of(line.by or line.subject),
        "duser": name_of(line.subject),
        "act": line.event,
        "outcome": decision_of(line) or line.state,
        "reason": line.reason,
        "app": line.point,
        "dvchost": line.node,
        "msg": sentence(line),
    }
    if line.count:
        values |= {"cnt": str(line.count), "start": str(milliseconds(line.first)), "end": str(milliseconds(line.last))}
    strings = (line.grant, line.task, line.ticket, " ".join(line.needed), line.policy, line.request)
    for number, (label, text) in enumerate(zip(_LABELS, strings, strict=True), 1):
        if text:
            values |= {f"cs{number}Label": label, f"cs{number}": text}
    return f"CEF:0|{header}|{severity}|" + " ".join(f"{name}={_value(text)}" for name, text in values.items() if text)


def _header(text: str) -> str:
    return printable(text).translate(_HEADER)


def _value(text: str) -> str:
    escaped = text.translate(_VALUE)
    return printable(escaped)
