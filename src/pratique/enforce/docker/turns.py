"""Who asks in, their turn out: one who asks very much waits for themselves, and not everybody for them.

Deciding takes time of the one loop, and a denial a sync of the disk. So few requests of one user are decided on at once, and
while more of theirs are waiting, each that is denied takes a moment longer: the ledger, from which nothing goes, grows slowly.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate docker` imports this module
import contextlib
from collections.abc import AsyncIterator

# Requests of one user that are decided on at once: less than half of what the disk is written with (`keeper`).
AT_ONCE = 3
# Seconds that a denial takes of a turn while others wait for it: some dozens a second are all that anybody has of them.
PACE = 0.05


class _Own:
    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.asking = 0


class Turns:
    """The turns of all users; nothing is kept of those who ask nothing."""

    def __init__(self) -> None:
        self._of: dict[str, _Own] = {}

    @contextlib.asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Wait for a turn and have it."""
        own = self._of.setdefault(who, _Own())
        own.asking += 1
        try:
            async with own.turns:
                yield
        finally:
            own.asking -= 1
            if not own.asking:
                del self._of[who]

    async def pace(self, who: str) -> None:
        """Take the time that a denial takes, where more of the same user wait. To be called in their turn."""
        own = self._of.get(who)
        if own is not None and own.asking > AT_ONCE:
            await asyncio.sleep(PACE)
