"""The end of a ledger in, signed copies of it in another place out: what shows later that a store was put back whole.

Whoever can put back all files of a store gets an older ledger that is whole in itself, and whoever holds its key can rewrite it.
Neither can take back what was published. So gates publish where the ledger ends, every few minutes in which it went on: in a file
(on another machine's disk, or one that is written once), or by the system's log, which others collect.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import msgspec

from pratique.granting.alert import Alarm, sound
from pratique.granting.desk import Desk
from pratique.model.errors import CouldNotError, PratiqueError, StoreError, UsageError
from pratique.model.privilege import Subject
from pratique.store.facts import HEADS
from pratique.store.head import Head
from pratique.store.line import Entry, Who, canonical

SYSLOG = "syslog"
MAX_HEADS = 64 << 20  # bytes that are read of a file of published heads: a hundred thousand
EVERY = 600.0  # seconds: what may be put back unseen is what came since the last
SHORTEST = 10.0  # each costs two syncs of the disk, while others wait for the ledger
_LOOK = 2.0  # seconds between looks whether it is time
_OUTCOME = "heads.outcome"  # the fact that holds what came of the last attempt


class Publishing(msgspec.Struct, frozen=True, kw_only=True):
    """Where heads go: a file with its whole path, or `syslog`; and how often, in seconds."""

    to: str
    every: float = EVERY


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt: when, how many lines the ledger had, why it failed ("" where it did not); `good` is when one did not."""

    at: float
    count: int
    error: str = ""
    good: float = 0.0


def check(wanted: Publishing) -> None:
    """Say whether heads can be meant to go there. Raises UsageError."""
    if wanted.to != SYSLOG and not Path(wanted.to).is_absolute():
        raise UsageError(f"{wanted.to}: a file for heads is named by its whole path, as gates run elsewhere")
    if not wanted.every >= SHORTEST:
        raise UsageError(f"heads are published every {SHORTEST:g} s at most")


def send(head: Head, to: str, *, anew: bool = False) -> None:
    """Append a head to a file, on its disk when this returns, or give it to the system's log. Raises CouldNotError.

    `anew` says that the attempt before failed, and may have left a part of a line.
    """
    line = canonical(head)
    if to == SYSLOG:
        sound(Alarm("syslog"), {"event": "ledger-head", "head": line.decode()})
        return
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"\n" * anew + line + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CouldNotError(f"{to}: the head was not published: {error.strerror}") from None


def set_up(desk: Desk, wanted: Publishing | None, by: Subject) -> None:
    """Have heads published from now on, after one was; None ends it. Raises UsageError, CouldNotError, StoreError."""
    if wanted is not None:
        check(wanted)
        send(desk.ledger.head(), wanted.to)
    with desk.store.writing():
        desk.record(
            Entry(
                event="publish", by=Who.of(by), detail={"to": wanted.to, "every": f"{wanted.every:g}"} if wanted else {"to": ""}
            )
        )
        desk.facts.put(HEADS, msgspec.json.encode(wanted).decode() if wanted is not None else "")
        desk.facts.put(_OUTCOME, "")


def standing(desk: Desk) -> tuple[Publishing | None, Outcome | None]:
    """Return where heads go, and what came of the last attempt. Raises StoreError."""
    to, outcome = desk.facts.get(HEADS), desk.facts.get(_OUTCOME)
    return (
        msgspec.json.decode(to, type=Publishing) if to else None,
        msgspec.json.decode(outcome, type=Outcome) if outcome else None,
    )


def publish(desk: Desk) -> None:
    """Publish, where it is time and the ledger went on since; what comes of it is kept. Raises StoreError."""
    wanted, last = standing(desk)
    now = desk.now().wall
    if wanted is None or (last is not None and 0 <= now - last.at < wanted.every):
        return
    head = desk.ledger.head()
    good, error = last.good if last is not None else 0.0, ""
    if last is None or last.error or head.count != last.count:
        try:
            send(head, wanted.to, anew=last is not None and bool(last.error))
        except CouldNotError as found:
            error = found.message
    outcome = Outcome(at=now, count=head.count, error=error, good=good if error else now)
    desk.facts.put(_OUTCOME, msgspec.json.encode(outcome).decode())


class Publisher:
    """Publishes in the process of a gate, in a thread of its own, until it is stopped."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK):
            with contextlib.suppress(PratiqueError):  # a store that does not answer is tried again, and doctor sees the time
                publish(self._desk)

    def stop(self) -> None:
        """End; an attempt that hangs is not waited for."""
        self._ended.set()
        self._thread.join(_LOOK)


def overdue(wanted: Publishing, last: Outcome | None, now: float) -> str:
    """Say what is wrong with the publishing, "" where nothing is."""
    if last is not None and last.error:
        return last.error
    if last is None:
        return "no gate has published there yet"
    if now - last.good > 2 * wanted.every + 60:
        return "no gate has published for a while"
    return ""


def heads_in(path: str) -> tuple[Head, ...]:
    """Read the heads that were published in a file, the last ones of a very large one. Raises StoreError.

    A line that was cut off is passed over: a disk that was full leaves one.
    """
    try:
        with Path(path).open("rb") as file:
            beyond = os.fstat(file.fileno()).st_size - MAX_HEADS
            if beyond > 0:
                file.seek(beyond)
                file.readline()
            lines = [line.strip() for line in file.read(MAX_HEADS).splitlines()]
        return tuple(msgspec.json.decode(line, type=Head) for line in lines if line and not _is_cut_off(line))
    except OSError as error:
        raise StoreError(f"{path}: published heads cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise StoreError(f"{path}: not what `pratique audit head` prints: {error}") from None


def _is_cut_off(line: bytes) -> bool:
    return line.startswith(b"{") and not line.endswith(b"}")


def default_file(to: str) -> str:
    """Return the file in which heads are published, by the fact that says where; "" where there is none."""
    with contextlib.suppress(msgspec.DecodeError):
        return file_of(msgspec.json.decode(to, type=Publishing))
    return ""


def file_of(wanted: Publishing) -> str:
    """Return the file that heads go to, "" for the system's log."""
    return "" if wanted.to == SYSLOG else wanted.to
