"""An entry of the ledger in, its line out: canonical JSON (RFC 8785: sorted keys, no spaces), hashed and authenticated.

A line's hash is SHA-256 over a zero byte and the line without its newline, a leaf of RFC 6962's tree: one hash serves the chain
and the tree. `mac` is keyed, so that lines which a writer left behind when it died can be told from lines of somebody else.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

import msgspec

from pratique.model.errors import LedgerError
from pratique.model.privilege import Subject

NO_HASH = "0" * 64  # `prev` of the very first line
MAX_LINE = 64 << 10  # bytes; argv and environment are hashed, so that the rest is short: longer is an attempt to fill the disk
_NO_MAC = b'"mac":"00000000000000000000000000000000"'
_OWN = frozenset(("seq", "prev", "mac", "event"))
_MAC_BYTES = 16  # half of HMAC-SHA256, as RFC 2104 allows


class Who(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subject as the ledger names it; groups are left out, they may be many."""

    id: str
    provider: str
    strength: int
    kind: str = "human"
    owner: str = ""

    @classmethod
    def of(cls, subject: Subject) -> Who:
        return cls(subject.id, subject.provider, subject.strength, subject.kind, subject.owner)


class Opened(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of a segment: which ledger, which segment, whose key; `endorsed` is the former key's word for a new one."""

    ledger: str
    segment: int
    key: str
    former: str = ""
    endorsed: str = ""


class Seal(msgspec.Struct, frozen=True):
    """The last line of a segment: the root of the tree over the `lines` before it, signed."""

    ledger: str
    segment: int
    first: int
    lines: int
    root: str
    key: str
    signature: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened. `subject` asks or holds, `by` did it where that is somebody else. Hashes: "sha256:..." or "hmac-sha256:...".

    `request` is the hash of what was asked, `effective` that of what would really run, `policy` that of the policy decided by.
    With a `count` it stands for so many more that were alike, the first and the last of them then (RFC 3339).
    """

    event: str
    subject: Who | None = None
    by: Who | None = None
    decision: str = ""
    needed: tuple[str, ...] = ()
    grant: str = ""
    task: str = ""
    ticket: str = ""
    reason: str = ""
    request: str = ""
    effective: str = ""
    policy: str = ""
    point: str = ""
    node: str = ""
    session: str = ""
    rule: str = ""
    state: str = ""
    until: str = ""
    count: int = 0
    first: str = ""
    last: str = ""
    detail: dict[str, str] = {}


class Line(Entry, frozen=True, kw_only=True, omit_defaults=True):
    """An entry in its place."""

    seq: int
    time: str
    prev: str
    mac: str
    opened: Opened | None = None
    seal: Seal | None = None


decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: Any) -> bytes:
    """Encode any value of ours as canonical JSON."""
    return _encode(value)


def stamp(moment: float) -> str:
    """Write seconds since the epoch as RFC 3339 with microseconds, UTC."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def make(entry: Entry, place: tuple[int, str, str], secret: bytes, **extra: Any) -> bytes:
    """Return the line of an entry at `place` (seq, time, prev). Raises LedgerError for one that is too long."""
    seq, time, prev = place
    values = {name: value for name in entry.__struct_fields__ if (value := getattr(entry, name))}
    if not _OWN.isdisjoint(entry.detail):  # what is looked for in the bytes of a line stands there once
        values["detail"] = {f"{name}_" if name in _OWN else name: value for name, value in entry.detail.items()}
    values |= {"seq": seq, "time": time, "prev": prev, "mac": "0" * (2 * _MAC_BYTES), **extra}
    try:
        blank = _encode(values)
    except UnicodeEncodeError:  # half a surrogate pair, from a file name or an argument
        blank = _encode(_printable(values))
    if len(blank) > MAX_LINE:
        raise LedgerError(f"an entry of the ledger has at most {MAX_LINE} bytes, this one {len(blank)}")
    return blank.replace(_NO_MAC, b'"mac":"%b"' % _mac(secret, blank), 1)


def _mac(secret: bytes, blank: bytes) -> bytes:
    return hmac.digest(secret, blank, "sha256")[:_MAC_BYTES].hex().encode()


def authentic(line: bytes, secret: bytes) -> bool:
    """Say whether a line was written by who holds the secret."""
    at = line.find(b'"mac":"')
    if at < 0:
        return False
    start = at + 7
    given = line[start : start + 2 * _MAC_BYTES]
    blank = line[:at] + _NO_MAC + line[start + 2 * _MAC_BYTES + 1 :]
    return hmac.compare_digest(given, _mac(secret, blank))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_printable(inner) for inner in value]
    if isinstance(value, msgspec.Struct):
        return {name: _printable(inner) for name, inner in msgspec.structs.asdict(value).items() if inner}
    return value


def leaf(line: bytes) -> bytes:
    """Return the hash of a line: 32 bytes."""
    return hashlib.sha256(b"\0" + line).digest()


class Tree:
    """Leaves in, RFC 6962's Merkle tree hash out; keeps one hash a level."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.count = 0
        self._stack: list[bytes] = []
        for each in leaves:
            self.add(each)

    def add(self, hashed: bytes) -> None:
        stack, count = self._stack, self.count
        while count & 1:
            hashed = hashlib.sha256(b"\1" + stack.pop() + hashed).digest()
            count >>= 1
        stack.append(hashed)
        self.count += 1

    def root(self) -> str:
        """Return the root in hexadecimal; that of no leaves is the hash of nothing."""
        if not self._stack:
            return hashlib.sha256(b"").hexdigest()
        hashed = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            hashed = hashlib.sha256(b"\1" + left + hashed).digest()
        return hashed.hex()
