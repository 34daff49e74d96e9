"""Clock, policy, store and ledger: what decisions rest on, and what is left of them."""

from __future__ import annotations

import ctypes
import datetime as dt
import os
import shlex
import shutil
from collections.abc import Iterator

from pratique.enforce.doctor.finding import Checked, amber, green, red
from pratique.grant.lifecycle import unreviewed
from pratique.granting import publishing
from pratique.granting.clock import present
from pratique.granting.desk import Desk
from pratique.model.errors import StoreError
from pratique.report.text import plural
from pratique.store import room
from pratique.store.facts import HEADS, ledger_name, read_fact
from pratique.store.head import Head
from pratique.store.place import Place
from pratique.store.verify import Expected, Outcome, verify

_UNSYNCHRONISED = 0x0040  # STA_UNSYNC of adjtimex(2)
_CLOCK_SLACK = 2.0


def look(place: Place) -> Iterator[Checked]:
    """Look at one store. Raises StoreError, LedgerError where it cannot be opened."""
    outcome = verify(place, Expected("", _published(place), ledger_name(place)))
    yield _ledger(outcome, place)
    yield from _clock(outcome)
    with Desk(place) as desk:
        yield _policy(desk, place)
        yield _broken_glass(desk, place)
        yield _heads(desk, place)
    yield _room(place)


def _command(words: str, place: Place) -> str:
    """Return a command on this store: it need not be the one that root's commands take by themselves."""
    return f"pratique {words} --store {shlex.quote(str(place.folder))}"


def _ledger(outcome: Outcome, place: Place) -> Checked:
    if outcome.problems:
        first = outcome.problems[0]
        more = f" and {len(outcome.problems) - 1} more" if len(outcome.problems) > 1 else ""
        return red(
            "ledger",
            f"{first.segment}: {first.text}{more}",
            f"{_command('audit verify', place)} shows all; keep the files as they are",
        )
    if outcome.unsure:
        return amber(
            "ledger", "the last lines cannot be told from forged ones: the secret cannot be read", "run as the store's owner"
        )
    if outcome.head is not None and outcome.head.doubted:
        return red(
            "ledger",
            "the disk did not take its last lines (a sync failed)",
            "see to the disk: no privilege is allowed until it does",
        )
    return green("ledger", f"whole: {plural(outcome.lines, 'line')} in {plural(outcome.segments, 'segment')}")


def _published(place: Place) -> tuple[Head, ...]:
    """Return the ends of the ledger that were published in a file, where there is one that can be read."""
    path = publishing.default_file(read_fact(place, HEADS))
    try:
        return publishing.heads_in(path) if path else ()
    except StoreError:
        return ()


def _unreadable(path: str) -> str:
    """Say why the ledger cannot be held against what was published, "" where it can."""
    try:
        return "" if not path or publishing.heads_in(path) else "the file has no head in it"
    except StoreError as error:
        return error.message


def _heads(desk: Desk, place: Place) -> Checked:
    """Look whether the ends of the ledger are kept elsewhere: without them nobody sees that the store was put back."""
    wanted, last = publishing.standing(desk)
    if wanted is None:
        return amber(
            "heads", "the ends of the ledger are published nowhere: a store that is put back whole is not noticed",
            _command("audit publish FILE", place) + "; FILE best on another machine's disk",
        )  # fmt: skip
    why = publishing.overdue(wanted, last, present().wall) or _unreadable(publishing.file_of(wanted))
    if why:
        return amber(
            "heads", f"the ends of the ledger are to be published in {wanted.to}: {why}", "start the gate, or see to that place"
        )
    return green("heads", f"the ends of the ledger are published in {wanted.to}")


def _clock(outcome: Outcome) -> Iterator[Checked]:
    now = present().wall
    if outcome.head is not None:
        ahead = dt.datetime.fromisoformat(outcome.head.time).timestamp() - now
        if ahead > _CLOCK_SLACK:
            yield red(
                "clock", f"the ledger's last line is {ahead:.0f} s in the future: the clock was set back", "set the clock right"
            )
            return
    synchronised = _is_synchronised()
    if synchronised is False:
        yield amber("clock", "nothing keeps this machine's clock right", "run a time service: systemd-timesyncd, chrony, ntpd")
    elif synchronised is None:
        yield amber("clock", "the kernel does not say whether the clock is kept right", "run a time service")
    else:
        yield green("clock", "the clock is kept right, and the ledger is not ahead of it")


class _Timex(ctypes.Structure):
    """The head of `struct timex` of adjtimex(2), and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 256),
    )  # fmt: skip


def _is_synchronised() -> bool | None:
    try:
        state = _Timex()
        if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state)) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return not state.status & _UNSYNCHRONISED


def _policy(desk: Desk, place: Place) -> Checked:
    standing = desk.rules.current(present())
    if standing.state == "set":
        return green("policy", f"the store's policy holds: {standing.policy.digest[:19]}")
    if standing.state == "built-in":
        return amber("policy", "no policy was set: the built-in one holds", _command("grant policy set FILE", place))
    how = (
        "the last good one holds for a day"
        if standing.state == "last-good"
        else "nothing beyond the strictest baseline is allowed"
    )
    return red("policy", f"the policy cannot be read ({standing.why}): {how}", _command("grant policy set FILE", place))


def _broken_glass(desk: Desk, place: Place) -> Checked:
    """Look whether broken glass waits for its review: whoever broke it gets nothing more until then."""
    now = present()
    waiting = unreviewed(desk.store.broken(), desk.rules.current(now).policy, now)
    if waiting:
        names = ", ".join(grant.id for grant in waiting[:5])
        return amber(
            "break-glass",
            f"not reviewed in time: {names}",
            _command(f"break-glass review {waiting[0].id} --reason TEXT", place) + ", by somebody else",
        )
    return green("break-glass", "nothing waits for a review")


def _room(place: Place) -> Checked:
    free = shutil.disk_usage(place.folder).free
    if os.statvfs(place.folder).f_favail == 0:
        return red("room", f"there are no inodes left for {place.folder}", "make room: without it no privilege is allowed")
    said = f"{free >> 20} MiB are left for {place.folder}"
    match room.look(place):
        case "none":
            return red("room", f"{said}: denials are counted, and not written", "make room: without it no privilege is allowed")
        case "little":
            why = f"{said}: denials are counted, and written once a minute"
            return amber("room", why, "make room: without it no privilege is allowed")
    return green("room", said)
