"""The machine in, this moment on both of its clocks out."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from pratique.model.privilege import Moment


def present() -> Moment:
    """Return now, by the wall clock and by the clock that counts from the boot, sleep included."""
    return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), _boot_id())


@functools.cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # a sandbox without /proc: only the wall clock counts then
        return ""
