"""Denials in, the lines to write of them out: a few that are alike one by one, then one line a minute that says how many.

The ledger never forgets, so that whoever repeats what is denied could fill the disk. Alike are denials of the same subject, for
the same privileges, target, rule and reason; of each kind the first ones are written at once, with all that they say (session,
hash of the command). Of what follows the number, the first and the last time are written when a minute is over, and at the end
of the process. A process that is killed takes the number of the running minute with it.

One subject has a number of lines that are written one by one, too: who varies what is asked is folded by rule, with some of the
targets as examples. The same holds for everybody while the disk has little room; while it has none, denials are counted only.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pratique.model.errors import StoreError
from pratique.store.line import Entry, Who, stamp
from pratique.store.room import Room

WINDOW = 60.0  # seconds that one line stands for
AT_ONCE = 10  # denials alike that are written one by one: people try again, programs go on
MAX_KINDS = 4_000  # kinds that are kept in mind, of some 2 KiB each
LARGE = 8_000  # letters: a denial of more is no kind, but a line, as long as its subject has any
# Lines of one subject that are written one by one: so many, and one more each second. A day of that is 50 MB.
LINES, LINES_A_SECOND = 300.0, 1.0
_PATIENCE = 10.0  # seconds for a line that is being written at the end
_EXAMPLES, _EXAMPLE = 5, 100  # of targets in a line for denials that differ, and letters of each


class _Kind:
    """Denials that are alike: one of them, and how many were not written yet."""

    __slots__ = ("alike", "count", "entry", "examples", "first", "last", "since", "written")

    def __init__(self, alike: tuple[object, ...], entry: Entry, now: float) -> None:
        self.alike, self.entry, self.since = alike, entry, now
        self.count = self.written = 0
        self.first = self.last = 0.0
        self.examples: dict[str, None] | None = None

    def add(self, now: float) -> None:
        """Count one more."""
        self.last = max(self.last, now)
        self.first = self.first or self.last
        self.count += 1


class _Due(NamedTuple):
    """A line for denials that were counted, and since when they were."""

    kind: _Kind
    entry: Entry
    first: float


class _Budget:
    __slots__ = ("at", "left")

    def __init__(self, now: float) -> None:
        self.left, self.at = LINES, now


class Folding:
    """The denials of one process. `write` takes what is due later, in a thread of its own. May be shared by threads."""

    def __init__(
        self, write: Callable[[Entry], object], room: Room, *, window: float = WINDOW, clock: Callable[[], float] = time.time
    ) -> None:
        self._write, self._room, self._window, self._clock = write, room, window, clock
        self._lock = threading.Lock()
        self._kinds: OrderedDict[tuple[object, ...], _Kind] = OrderedDict()
        self._budgets: OrderedDict[Who | None, _Budget] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def take(self, entry: Entry) -> list[Entry]:
        """Count a denial; return the lines to write now: itself, where it is one of the first, and what had to make room."""
        now = time.monotonic()
        with self._lock:
            alike = _alike(entry)
            kind = self._kinds.get(alike)
            due: list[Entry] = []
            if kind is None:
                coarse = self._room.level() != "enough" or not self._may_write(entry.subject, now)
                if not coarse and _size(entry) > LARGE:
                    return [entry]
                alike = _of_rule(entry) if coarse else alike
                kind = self._kinds.get(alike)
                if kind is None:
                    due = self._make_room()
                    kind = self._kinds[alike] = _Kind(alike, _without_target(entry) if coarse else entry, now)
                    if coarse:
                        kind.examples, kind.written = {}, AT_ONCE
                    self._begin()
                if kind.examples is not None and len(kind.examples) < _EXAMPLES:
                    kind.examples[_example(entry)] = None
            elif kind.written < AT_ONCE and (self._room.level() != "enough" or not self._may_write(entry.subject, now)):
                kind.written = AT_ONCE
            if kind.written < AT_ONCE:
                kind.written += 1
                return [*due, entry]
            kind.add(self._clock())
            return due

    def missed(self, entry: Entry) -> None:
        """Count a denial whose own line could not be written."""
        with self._lock:
            kind = self._kinds.get(_alike(entry))
            if kind is not None:
                kind.add(self._clock())

    def _may_write(self, subject: Who | None, now: float) -> bool:
        """Take one line of a subject's; say whether there was any."""
        budget = self._budgets.pop(subject, None) or _Budget(now)
        self._budgets[subject] = budget
        while len(self._budgets) > MAX_KINDS:
            self._budgets.popitem(last=False)
        budget.left = min(LINES, budget.left + (now - budget.at) * LINES_A_SECOND)
        budget.at = now
        if budget.left < 1:
            return False
        budget.left -= 1
        return True

    def _make_room(self) -> list[Entry]:
        """Forget the oldest kind where there are too many; return the line that it leaves."""
        if len(self._kinds) < MAX_KINDS:
            return []
        _, oldest = self._kinds.popitem(last=False)
        return [_folded(oldest)] if oldest.count else []

    def due(self, *, all_of_it: bool = False) -> list[_Due]:
        """Return the lines whose minute is over, or those of all that was counted; what was quiet for a minute is forgotten."""
        if not all_of_it and self._room.level() == "none":
            return []
        now, found = time.monotonic(), []
        with self._lock:
            for alike, kind in list(self._kinds.items()):
                if not all_of_it and now - kind.since < self._window:
                    break  # they are in the order of their minutes
                del self._kinds[alike]
                if kind.count:
                    found.append(_Due(kind, _folded(kind), kind.first))
                    kind.count, kind.first, kind.since = 0, 0.0, now
                    kind.examples = {} if kind.examples is not None else None
                    self._kinds[alike] = kind
        return found

    def put_back(self, due: _Due) -> None:
        """Take a line again that could not be written: its number is added to the next one's."""
        with self._lock:
            kind = self._kinds.setdefault(due.kind.alike, due.kind)  # it may have had to make room meanwhile
            kind.count += due.entry.count
            kind.first, kind.last = due.first, kind.last or due.first

    def _begin(self) -> None:
        if self._thread is None and not self._ended.is_set():
            self._thread = threading.Thread(target=self._run, name="folding", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._window / 4):
            for due in self.due():
                try:
                    self._write(due.entry)
                except StoreError:
                    self.put_back(due)
            with self._lock:
                if not self._kinds:
                    self._thread = None
                    return

    def end(self) -> list[Entry]:
        """Count no more in the background; return the lines for all that was counted."""
        self._ended.set()
        thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE)
        return [due.entry for due in self.due(all_of_it=True)]


def is_denial(entry: Entry) -> bool:
    """Say whether an entry is of something that a gate did not let through."""
    return entry.event == "decision" and entry.decision == "deny" and not entry.detail.get("observed")


def _alike(entry: Entry) -> tuple[object, ...]:
    target = tuple(sorted((name, value) for name, value in entry.detail.items() if name != "argv"))
    said = (entry.event, entry.point, entry.node, entry.rule, entry.reason, entry.policy, entry.grant, entry.task)
    return (entry.subject, entry.by, entry.needed, *said, target)


def _size(entry: Entry) -> int:
    """Return how long what somebody asked for is, in letters."""
    return len(entry.reason) + sum(map(len, entry.needed)) + sum(map(len, entry.detail.values()))


def _of_rule(entry: Entry) -> tuple[object, ...]:
    return (entry.subject, entry.event, entry.point, entry.node, entry.rule)


def _without_target(entry: Entry) -> Entry:
    """Return what denials of one rule have in common."""
    return Entry(
        event=entry.event, subject=entry.subject, decision=entry.decision, point=entry.point, node=entry.node, rule=entry.rule,
        reason="denials that differ in what was asked", policy=entry.policy,
    )  # fmt: skip


def _example(entry: Entry) -> str:
    """Return what a denial was about, in some words."""
    detail = entry.detail
    names = [detail[name] for name in ("action", "request", "namespace", "reference", "container", "name") if detail.get(name)]
    return " ".join([*names, *entry.needed])[:_EXAMPLE]


def _folded(kind: _Kind) -> Entry:
    detail = {name: value for name, value in kind.entry.detail.items() if name != "argv"}
    if kind.examples is not None:
        detail = {"examples": "; ".join(kind.examples)}
    return msgspec.structs.replace(
        kind.entry, session="", effective="", detail=detail, count=kind.count, first=stamp(kind.first), last=stamp(kind.last)
    )
