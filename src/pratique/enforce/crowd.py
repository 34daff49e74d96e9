"""Connections in, room for the next one out: however many somebody opens and leaves silent, others are served.

A limit for all alone could be used up by one. So where there are too many, the next takes the place of the one that has been
silent for longest, among those of the peer that has most; what is being answered is never cut. A limit for each peer is for
sockets on which the kernel says who it is; addresses stand for proxies and clusters, and have none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable


class Connection:
    """One connection, from before its handshake on."""

    __slots__ = ("busy", "cut", "peer")

    def __init__(self, peer: Hashable, cut: Callable[[], object]) -> None:
        self.peer, self.cut = peer, cut
        self.busy = False  # while its request is answered


class Crowd:
    """The open connections of one server; used by one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[Hashable, dict[Connection, None]] = {}
        self._open = 0

    def count(self, peer: Hashable) -> int:
        """Return how many a peer has."""
        return len(self._of.get(peer, ()))

    def enter(self, connection: Connection) -> bool:
        """Let a connection in, which may cost another one its place; say whether there was room."""
        if self._open >= self._most and not self._make_room():
            return False
        self._of.setdefault(connection.peer, {})[connection] = None
        self._open += 1
        return True

    def heard(self, connection: Connection) -> None:
        """Note that a connection said something: of its peer's it is now the last to be cut."""
        own = self._of.get(connection.peer)
        if own is not None and own.pop(connection, connection) is None:
            own[connection] = None

    def leave(self, connection: Connection) -> None:
        """Let a connection go; may be called twice."""
        own = self._of.get(connection.peer, {})
        if own.pop(connection, connection) is None:
            self._open -= 1
            if not own:
                del self._of[connection.peer]

    def _make_room(self) -> bool:
        for own in sorted(self._of.values(), key=len, reverse=True):
            for connection in own:
                if not connection.busy:
                    self.leave(connection)
                    connection.cut()
                    return True
        return False
