"""What is being done in, a line on the terminal out: after the first second, gone at the end, silent when nobody watches."""

from __future__ import annotations

import sys
import threading
import time

from pratique.report.text import safe

DELAY = 1.0  # seconds before anything is shown: quick work needs no comment
PAUSE = 0.1  # seconds between two drawings


class Progress:
    """A single line on standard error. Call it as (what, bytes done, bytes in all or -1), from any thread."""

    def __init__(self, *, quiet: bool) -> None:
        self._active = not quiet and sys.stderr.isatty()
        self._start = time.monotonic()
        self._drawn = 0.0
        self._lock = threading.Lock()
        self._shown = False

    def __call__(self, what: str, done: int, total: int = -1) -> None:
        if not self._active:
            return
        now = time.monotonic()
        if now - self._start < DELAY or now - self._drawn < PAUSE:
            return
        with self._lock:
            self._drawn = now
            self._shown = True
            amount = f"{_size(done)} of {_size(total)} ({100 * done // total} %)" if total > 0 else _size(done) if done else ""
            sys.stderr.write(f"\r\x1b[K{safe(what)} {amount}".rstrip())
            sys.stderr.flush()

    def say(self, text: str) -> None:
        """Print a line that stays, above the one that moves."""
        self.clear()
        sys.stderr.write(f"pratique: {safe(text)}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
