"""Names of containers between a decision and the engine's own look-up in, nobody moves them meanwhile out.

A request names a container; the gate finds out which that is and decides; then the engine looks the name up itself. Whoever
renames containers in between would have the one decided on and the other served. So a name that is being referred to is not
moved, and a name that is being moved is not referred to, for the moment that this takes. An id is nobody's to move.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate docker` imports this module
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Iterator

from pratique.model.errors import ParseError

# Seconds after its answer for which a reference counts whose end nobody tells (an attached stream lasts): the engine looks a name
# up first of all. Less than who moves it waits.
GRACE = 0.2
# Seconds after its answer for which a move counts at most: the gate is told of each end, so this is for what was lost. Until its
# answer everything counts, however long a decision waits for the scan of an image.
LONGEST = 10.0
# Seconds that a request waits for those of others to be over: the engine ends and removes a container meanwhile, which takes what
# it takes. Its own decision has not begun then.
PATIENCE = 3.0
_LOOK = GRACE / 5
_ID = re.compile(r"[0-9a-f]{64}")


class MovingError(ParseError):
    """The container that a name was found to mean is being renamed or removed: the name may mean another in a moment."""


class Use:
    """One request that names a container: `to` is the name that it gives it, where it does; `moves` that it may take one away."""

    def __init__(self, name: str, *, moves: bool, to: str = "") -> None:
        self.name = "" if _ID.fullmatch(name) else name
        self.moves = moves
        self.names = frozenset(filter(None, (self.name, to)))
        self.id: str | None = None  # not known yet
        self.moving = False
        self.until = math.inf


class Names:
    """What is under way, the oldest first."""

    def __init__(self) -> None:
        self._uses: list[Use] = []
        self._changed = asyncio.Event()

    async def begin(self, use: Use) -> None:
        """Begin, before the name is looked up; wait while it is moved. Most do not wait. Raises MovingError."""
        if not use.name and not use.moves:
            return
        async with _patience(use):
            while use.name and any(use.name in other.names for other in self._live() if other.moving):
                await self._wait()
        self._uses.append(use)

    def found(self, use: Use, identifier: str) -> None:
        """Note which container it is. Raises MovingError where that one is being moved."""
        if use.name and self._is_moving(identifier):
            raise MovingError(_moving(use))
        use.id = identifier

    async def settled(self, use: Use, identifier: str) -> None:
        """Wait while a container is moved; its name is to be looked up anew then. Raises MovingError."""
        async with _patience(use):
            while self._is_moving(identifier):
                await self._wait()

    def _is_moving(self, identifier: str) -> bool:
        return any(other.moving and identifier and other.id == identifier for other in self._live())

    async def move(self, use: Use) -> None:
        """Begin to move; wait while what it moves is referred to, or moved. Raises MovingError."""
        async with _patience(use):
            while any(self._hinders(other, use) for other in self._live()):
                await self._wait()
        use.moving = True

    def answered(self, use: Use) -> None:
        """Note that the engine is told to go on: it looks the name up now."""
        use.until = time.monotonic() + (LONGEST if use.moves else GRACE)

    def ended(self, use: Use) -> None:
        """Note that it is over."""
        with contextlib.suppress(ValueError):
            self._uses.remove(use)
            self._changed.set()

    def _hinders(self, other: Use, use: Use) -> bool:
        if other is use or (other.moves and not other.moving and self._uses.index(other) > self._uses.index(use)):
            return False
        if not (other.names or other.moving):
            return False
        same = other.id is None or (other.id != "" and other.id == use.id)
        return same or not other.names.isdisjoint(use.names)

    def _live(self) -> Iterator[Use]:
        now = time.monotonic()
        if any(use.until <= now for use in self._uses):
            self._uses = [use for use in self._uses if use.until > now]
        return iter(self._uses)

    async def _wait(self) -> None:
        """Wait for an end, or for a moment: some are over by time alone."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await self._changed.wait()


@contextlib.asynccontextmanager
async def _patience(use: Use) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise MovingError(_moving(use)) from None


def _moving(use: Use) -> str:
    return f"the container {use.name[:80]!a} is being renamed or removed: try again"
