"""A line in, a syslog message of RFC 5424 out, with what it says as structured data."""

from __future__ import annotations

from pratique.store.formats import ALARMING, decision_of, name_of, printable, sentence
from pratique.store.line import Line

_AUDIT = 13  # the facility "log audit", section 6.2.1
_ALERT, _WARNING, _NOTICE = 1, 4, 5
# 32473 is the enterprise number of examples (RFC 5612): there is none of our own
_ID = "pratique@32473"
_PARAMETER = str.maketrans({"\\": "\\\\", '"': '\\"', "]": "\\]"})  # section 6.3.3
_MAX_HOST, _MAX_MESSAGE_ID = 255, 32  # section 6


def write(line: Line) -> str:
    """Return one message, without a line break."""
    severity = _ALERT if line.event in ALARMING else _WARNING if line.decision == "deny" else _NOTICE
    values = {
        "seq": str(line.seq),
        "subject": name_of(line.subject),
        "by": name_of(line.by),
        "decision": decision_of(line),
        "state": line.state,
        "needed": " ".join(line.needed),
        "grant": line.grant,
        "task": line.task,
        "ticket": line.ticket,
        "reason": line.reason,
        "request": line.request,
        "effective": line.effective,
        "policy": line.policy,
        "point": line.point,
        "session": line.session,
        "rule": line.rule,
        "count": str(line.count or ""),
        "first": line.first,
        "last": line.last,
        "prev": line.prev,
    }
    data = "".join(f' {name}="{_parameter(text)}"' for name, text in values.items() if text)
    host, message = _name(line.node, _MAX_HOST), _name(line.event, _MAX_MESSAGE_ID)
    text = "" if (words := sentence(line)).isascii() else "\ufeff"  # a text that is not ASCII begins with the mark of UTF-8
    return f"<{_AUDIT * 8 + severity}>1 {line.time} {host} pratique - {message} [{_ID}{data}] {text}{words}"


def _name(text: str, longest: int) -> str:
    """Return what a field of the header may hold: printable ASCII without spaces, or the hyphen for nothing."""
    return "".join(letter if "!" <= letter <= "~" else "_" for letter in text)[:longest] or "-"


def _parameter(text: str) -> str:
    return printable(text.translate(_PARAMETER))
