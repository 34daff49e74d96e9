"""A gate that hangs is worse than none that answers: it ends itself, so that whoever watches over it starts it anew.

Two watchers. systemd is told that the loop turns (WatchdogSec=); and a thread of the gate's own ends the process when the loop
has not turned for too long, for machines where nobody else watches. What asks a gate that has ended is denied at once.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from pratique.enforce import notify

if TYPE_CHECKING:
    import asyncio

# A decision takes milliseconds and a flush to disk some tens; a loop that has not turned for so long will not turn again.
HANGS = 10.0
_TURN = 0.5
HUNG = 70  # the exit code, EX_SOFTWARE of sysexits(3)


class Watchdog:
    """Watches the running loop from `start` until `stop`."""

    def __init__(self, seconds: float = HANGS) -> None:
        self._seconds = seconds
        self._turned = time.monotonic()
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; to be called in the loop."""
        import asyncio

        self._turned = time.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._turn())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        if self._task is not None:
            self._task.cancel()

    async def _turn(self) -> None:
        import asyncio

        every = min(_TURN, notify.watchdog_seconds() or _TURN)
        while True:
            self._turned = time.monotonic()
            notify.alive()
            await asyncio.sleep(every)

    def _watch(self) -> None:
        while not self._ended.wait(_TURN):
            if time.monotonic() - self._turned > self._seconds:
                os.write(2, b"pratique: the gate hangs and ends itself\n")
                os._exit(HUNG)
