"""The count and hash of a ledger's last line, kept apart from it and signed: what is cut off the end is missed.

Two slots of one disk sector each, written in turn, so that neither a crash nor a power cut leaves none: JSON, filled with spaces.
"""

from __future__ import annotations

import os

import msgspec

from pratique.model.errors import LedgerError
from pratique.store.keys import Signer, verifies
from pratique.store.line import canonical
from pratique.store.place import Place, open_own

SLOT = 512  # bytes: a sector, which disks write whole or not at all
_SLOTS = 2
LOOK = "pratique audit verify says more; until it is mended no privilege is allowed"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger ends: `count` lines in all, the last of them hashed, `size` bytes in `segment`.

    `loose` says which of the last lines are written and not yet synced, see `loose.Loose`; it is there where some are.
    """

    ledger: str
    count: int
    hash: str
    segment: int
    size: int
    sealed: bool
    key: str
    time: str
    signature: str = ""
    loose: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def doubted(self) -> bool:
        """Whether the disk did not take the loose lines: a sync failed, and no line is taken until one succeeds."""
        return self.loose is not msgspec.UNSET and self.loose.endswith("!")

    def payload(self) -> bytes:
        """Return what is signed."""
        return b"pratique ledger head\n" + canonical(msgspec.structs.replace(self, signature=""))

    def signed(self, signer: Signer) -> Head:
        whole = msgspec.structs.replace(self, key=signer.key)
        return msgspec.structs.replace(whole, signature=signer.sign(whole.payload()))

    def verifies(self) -> bool:
        """Say whether the signature is its own key's; whose key that is, is for the caller to ask."""
        return verifies(self.key, self.payload(), self.signature)


def read_slots(place: Place) -> tuple[list[Head], list[str]]:
    """Return the heads that verify, the newest first, and what is wrong with the others. Raises LedgerError."""
    try:
        descriptor = open_own(place.head, os.O_RDONLY)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise LedgerError(f"{place.head}: cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        return parse(file.read(SLOT * _SLOTS + 1))


def parse(content: bytes) -> tuple[list[Head], list[str]]:
    """Read both slots, as `read_slots` does."""
    heads, wrong = [], []
    if len(content) not in (0, SLOT, SLOT * _SLOTS):
        wrong.append(f"the head has {len(content)} bytes")
    for number in range(_SLOTS):
        slot = content[number * SLOT : (number + 1) * SLOT]
        if not slot.strip(b" \n\0"):
            continue
        try:
            head = msgspec.json.decode(slot, type=Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            wrong.append(f"slot {number + 1} of the head is damaged")
            continue
        if canonical(head).ljust(SLOT - 1) + b"\n" == slot and head.verifies():
            heads.append(head)
        else:
            wrong.append(f"slot {number + 1} of the head does not verify")
    return sorted(heads, key=_age), wrong


def _age(head: Head) -> tuple[int, int, bool]:
    """Order heads, the newest first: of those with one count, fewer lines are loose in the newer, or a sync failed since."""
    if head.loose is msgspec.UNSET:
        return -head.count, 0, False
    lines = head.loose.partition(" ")[0]
    return -head.count, int(lines) if lines.isdecimal() and len(lines) < 9 else 0, not head.doubted


class HeadFile:
    """The open file of the head; every call is made under the ledger's lock."""

    def __init__(self, place: Place) -> None:
        self._path = place.head
        self._descriptor = open_own(place.head, os.O_RDWR | os.O_CREAT)
        self._seen = b""
        self._head: Head | None = None

    def read(self) -> Head | None:
        """Return the newest head, None where there never was one. Raises LedgerError for one that is damaged."""
        content = os.pread(self._descriptor, SLOT * _SLOTS + 1, 0)
        if content != self._seen:
            heads, wrong = parse(content)
            if wrong:
                raise LedgerError(f"{self._path}: {wrong[0]}", hint=LOOK)
            self._head = heads[0] if heads else None
            self._seen = content
        return self._head

    def write(self, head: Head) -> None:
        """Put a head in the place of the older one. Raises OSError."""
        slot = canonical(head).ljust(SLOT - 1) + b"\n"
        assert len(slot) == SLOT
        at = head.count % _SLOTS if self._head is None else self._other(self._head)
        os.pwrite(self._descriptor, slot, at * SLOT)
        self._head = head
        content = os.pread(self._descriptor, SLOT * _SLOTS + 1, 0)
        self._seen = content if content[at * SLOT : (at + 1) * SLOT] == slot else b""

    def sync(self) -> None:
        """Have what was written on disk; needs no lock. Raises OSError."""
        os.fdatasync(self._descriptor)

    def _other(self, newest: Head) -> int:
        content = os.pread(self._descriptor, SLOT, 0)
        return 1 if content == canonical(newest).ljust(SLOT - 1) + b"\n" else 0

    def close(self) -> None:
        os.close(self._descriptor)
