"""Words to systemd: that a gate is ready, and that it is alive. Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket


def ready() -> None:
    """Say that the service has started; nothing where nobody waits for it."""
    _say("READY=1")


def alive() -> None:
    """Pet the watchdog."""
    _say("WATCHDOG=1")


def watchdog_seconds() -> float:
    """Return how often to pet: a third of the time that systemd gives; 0 where it does not watch."""
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 3e6 if text.isascii() and text.isdigit() else 0.0


def _say(text: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        try:
            line.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            return  # a manager that does not listen learns of us otherwise
