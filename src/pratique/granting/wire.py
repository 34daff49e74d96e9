"""What people's commands and the desk's socket say to each other: one JSON document each way, over HTTP on a unix socket.

GET /v1/standing                         the privilege policy that holds
GET /v1/grants?state=S&mine=1&until=T    the grants that one may see: one's own, and those that one may approve or end
GET /v1/grants/ID
POST /v1/grants                          Asked -> Grant; whose it is, the kernel says, whatever the document does
POST /v1/grants/ID/ACT                   Acted -> Grant; ACT is approve, deny, revoke, cancel, complete or review
POST /v1/break-glass                     Broken -> Grant
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique.granting.approvers import Signed
from pratique.model.privilege import Asked

SOCKET = "/run/pratique/desk.sock"
MAX_MESSAGE = 64 << 10  # bytes of what a user says: a request with fifty privileges and a long reason has some 10 KiB
MAX_LIST = 500  # grants of one answer
HEADER = {"Content-Type": "application/json"}

Kind = Literal["grant", "usage", "policy", "store", "busy"]
STATUS: dict[Kind, int] = {"grant": 403, "usage": 400, "policy": 400, "store": 503, "busy": 429}


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to a grant; `request` is the hash of what was seen, `signed` an approver's word."""

    reason: str = ""
    request: str = ""
    signed: Signed | None = None


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A glass to break, with a sealed code, or with a signature of a key in hardware."""

    asked: Asked
    code: str = ""
    signed: Signed | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The policy that holds: its state as `Standing` has it, and its text ("" where it is built in, or none can be used)."""

    state: Literal["set", "built-in", "last-good", "baseline-only"]
    why: str = ""
    version: int = 0
    set_at: float = 0.0
    set_by: str = ""
    body: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why not, and what one can do."""

    kind: Kind
    message: str
    hint: str = ""
