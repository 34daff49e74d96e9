"""A store's place in, how much room is left on its disk out: enough for all, too little for denials, or none but for grants.

Whoever is denied again and again must not fill the disk: then nobody could be allowed anything, and no use be recorded. So what
is left over is kept for what is allowed and what is taken back.
"""

from __future__ import annotations

import os
import time
from typing import Literal

from pratique.store.place import Place

# A line is about 600 bytes: a hundred thousand of them.
LITTLE = 64 << 20
_SHARE = 10  # a small disk has little room when so many parts of it are full but one
_NONE = 4  # of little, one part in so many is for what is allowed
_FRESH = 1.0  # seconds that a look at the disk is good for

Level = Literal["enough", "little", "none"]


class Room:
    """The room that one store has."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._looked = 0.0
        self._level: Level = "enough"

    def level(self) -> Level:
        """Return how much there is, as of a second ago at most."""
        if not self._looked or time.monotonic() - self._looked > _FRESH:
            self._level, self._looked = look(self._place), time.monotonic()
        return self._level


def look(place: Place) -> Level:
    """Look at the disk now. One that does not say is taken to have enough: what cannot be written is an error then."""
    try:
        seen = os.statvfs(place.folder)
    except OSError:
        return "enough"
    free = seen.f_bavail * seen.f_frsize
    little = min(LITTLE, seen.f_blocks * seen.f_frsize // _SHARE)
    return "none" if free < little // _NONE else "little" if free < little else "enough"
