"""Whose scans wait in, whose is next out: subjects take turns, so that who asks for very many waits for themselves alone.

A scan takes a core for seconds, and a hostile image takes all the time that it is given. So few of one subject run at once,
and never all that can; a place in the line belongs to whoever asked, and to everybody who asked for the same since.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - only gates import this module
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator

from pratique.enforce.scanning import MAX_SCANS
from pratique.model.errors import GrantError

AT_ONCE_OF_ONE = 2  # scans of one subject: a place is always left for somebody else
# Scans of one subject that wait. A node that starts after an upgrade asks for some tens of images, two of which run already.
MAX_OF_ONE = 20
# Scans that wait, of all subjects; whoever has none waiting is let in up to the second number: ten who flood shut nobody out.
MAX_WAITING, MAX_WAITING_EVER = 200, 1_000


class FullError(GrantError):
    """No place in the line: the message says whose scans fill it."""


class Ticket:
    """A place in the line."""

    def __init__(self, subject: str) -> None:
        self.subjects = [subject]  # the first is whose turn it takes, once it has one
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Line:
    """The line before the scans of one gate. To be used by one loop."""

    def __init__(self, at_once: int = MAX_SCANS, of_one: int = AT_ONCE_OF_ONE) -> None:
        self._at_once, self._of_one = at_once, min(of_one, at_once)
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()  # who has waited longest for a turn comes first
        self._running: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """How many scans wait."""
        return len({id(ticket) for own in self._waiting.values() for ticket in own})

    def enter(self, subject: str) -> Ticket:
        """Take a place. Raises FullError."""
        own, all_ = len(self._waiting.get(subject, ())), self.waiting
        if own >= MAX_OF_ONE:
            raise FullError(f"{own} images that you asked for wait to be scanned: ask again when they are done")
        if all_ >= (MAX_WAITING if own else MAX_WAITING_EVER):
            raise FullError(f"{all_} images wait to be scanned: ask again later")
        ticket = Ticket(subject)
        self._waiting.setdefault(subject, deque()).append(ticket)
        self._advance()
        return ticket

    def join(self, ticket: Ticket, subject: str) -> None:
        """Note that somebody else waits for the same: it has a place in their line, too, where that is not full."""
        if ticket.turn.done() or subject in ticket.subjects or len(self._waiting.get(subject, ())) >= MAX_OF_ONE:
            return
        ticket.subjects.append(subject)
        self._waiting.setdefault(subject, deque()).append(ticket)
        self._advance()

    @contextlib.asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for a ticket's turn, and have it while the block runs."""
        try:
            await ticket.turn
            yield
        finally:
            if ticket.turn.cancelled() or not ticket.turn.done():
                self._forget(ticket)
            else:
                self._running[ticket.subjects[0]] -= 1
                self._running += Counter()  # nothing is kept of who has nothing running
            self._advance()

    def _advance(self) -> None:
        """Give the turns that are free: each to who has waited longest for one, and has not all that one may."""
        while self._running.total() < self._at_once:
            who = next((one for one in self._waiting if self._running[one] < self._of_one), None)
            if who is None:
                break
            ticket = self._waiting[who][0]
            self._forget(ticket)
            if ticket.turn.cancelled():  # whoever waited for it has been told to stop
                continue
            if who in self._waiting:
                self._waiting.move_to_end(who)
            ticket.subjects.insert(0, who)
            self._running[who] += 1
            ticket.turn.set_result(None)
        self._running += Counter()

    def _forget(self, ticket: Ticket) -> None:
        for subject in dict.fromkeys(ticket.subjects):
            own = self._waiting.get(subject)
            if own is not None and ticket in own:
                own.remove(ticket)
                if not own:
                    del self._waiting[subject]
