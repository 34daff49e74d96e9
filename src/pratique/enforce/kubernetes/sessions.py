"""An authorisation in, the admission that follows it out: one exec arrives as two reviews and uses a grant once.

An authorisation leaves a reservation. The admission review of the same person for the same thing takes it, and uses the grant
in its session. What no admission takes in time is used all the same: where only the authoriser is installed, a grant is still
for as many times as it says. A question whether one could (`kubectl auth can-i`) without a name reserves nothing.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import NamedTuple

from pratique.enforce.kubernetes.keeper import Asked

# Between the two reviews of one request lie milliseconds; a busy API server may take seconds.
SECONDS = 5.0
MAX_OPEN = 10_000  # beyond it authorisations are denied: nobody makes so many within seconds


class Key(NamedTuple):
    """Who does what to which thing."""

    subject: str
    resource: str
    namespace: str
    name: str


class Reservation(NamedTuple):
    """The session of an authorisation, when it was made (seconds of the monotonic clock), and what is used if nobody takes it."""

    session: str
    at: float
    asked: Asked | None


class Reservations:
    """Authorisations that no admission review has followed yet."""

    def __init__(self, seconds: float | None = None) -> None:
        """`seconds` is how long one stays open; SECONDS where nothing is said."""
        self._seconds = seconds
        self._open: dict[Key, Reservation] = {}
        self._order: deque[tuple[Key, Reservation]] = deque()

    def make(self, key: Key, now: float, asked: Asked | None) -> tuple[Reservation, bool]:
        """Return a reservation, and whether it is new: one that is open serves the further authorisations of one request.

        From 1.35 on a request over WebSocket is authorised twice. Raises OverflowError when too many are open.
        """
        found = self._open.get(key)
        if found is not None and now - found.at < self._lasts:
            return found, False
        if len(self._open) >= MAX_OPEN:
            raise OverflowError("too many authorisations are open")
        made = Reservation(f"k8s:{secrets.token_hex(12)}", now, asked)
        self._open[key] = made
        self._order.append((key, made))
        return made, True

    @property
    def _lasts(self) -> float:
        return SECONDS if self._seconds is None else self._seconds

    def find(self, key: Key, now: float) -> Reservation | None:
        """Return the open reservation for a request, which stays open."""
        found = self._open.get(key)
        return found if found is not None and now - found.at < self._lasts else None

    def take(self, key: Key) -> Reservation | None:
        """Return the open reservation for a request, which is taken with it."""
        return self._open.pop(key, None)

    def late(self, now: float) -> list[tuple[str, Asked]]:
        """Take and return those that no admission followed in time: their sessions, and what they are to use."""
        found = []
        while self._order and now - self._order[0][1].at >= self._lasts:
            key, made = self._order.popleft()
            if self._open.get(key) is made:
                del self._open[key]
                if made.asked is not None:
                    found.append((made.session, made.asked))
        return found
