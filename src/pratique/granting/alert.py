"""What happened in, an alert out: to a program, an address, or the system's log. It was taken, or AlertError says why not."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from pratique.model.errors import CouldNotError, UsageError

SECONDS = 10.0  # for an alert to go out: somebody waits to help
_SYSLOG = "/dev/log"
_PRIORITY = 13 * 8 + 1  # log audit, alert: RFC 5424, section 6.2.1
MAX_SYSLOG = 2048  # bytes that every receiver takes, section 6.1


class AlertError(CouldNotError):
    """An alert did not go out."""


class Alarm(msgspec.Struct, frozen=True):
    """Where alerts go: a program and its arguments, an address that takes JSON, or a socket of syslog ("" is /dev/log)."""

    kind: Literal["command", "webhook", "syslog"]
    to: tuple[str, ...] = ()


def check(alarm: Alarm) -> None:
    """Say whether an alarm can be meant so. Raises UsageError."""
    if alarm.kind == "command" and not Path(alarm.to[0] if alarm.to else "").is_absolute():
        raise UsageError("the program of an alert is named by its whole path", hint="--command /usr/local/bin/page")
    if alarm.kind == "webhook":
        address = urlsplit(alarm.to[0])
        local = address.scheme == "http" and address.hostname in ("127.0.0.1", "::1", "localhost")
        if not address.hostname or (address.scheme != "https" and not local):
            raise UsageError(f"--webhook {alarm.to[0]}: an address begins with https://")


def sound(alarm: Alarm, message: dict[str, Any]) -> None:
    """Send an alert and wait until it is taken. Raises AlertError."""
    body = json.dumps(message, sort_keys=True).encode()
    {"command": _command, "webhook": _webhook, "syslog": _syslog}[alarm.kind](alarm, body)


def _command(alarm: Alarm, body: bytes) -> None:
    try:
        done = subprocess.run(list(alarm.to), input=body, timeout=SECONDS, check=False, capture_output=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise AlertError(f"{alarm.to[0]}: the alert did not go out: {error}") from None
    if done.returncode:
        raise AlertError(f"{alarm.to[0]}: the alert did not go out: it ended with {done.returncode}")


def _webhook(alarm: Alarm, body: bytes) -> None:
    import httpx2

    host = urlsplit(alarm.to[0]).hostname  # the rest of an address may be a secret
    try:
        headers = {"Content-Type": "application/json"}
        answer = httpx2.post(alarm.to[0], content=body, headers=headers, timeout=SECONDS, follow_redirects=False)
    except httpx2.HTTPError as error:
        raise AlertError(f"{host}: the alert did not go out: {type(error).__name__}") from None
    if not 200 <= answer.status_code < 300:
        raise AlertError(f"{host}: the alert did not go out: it answers {answer.status_code}")


def _syslog(alarm: Alarm, body: bytes) -> None:
    path = alarm.to[0] if alarm.to else _SYSLOG
    line = f"<{_PRIORITY}>pratique: ".encode() + body
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SECONDS)
            sender.sendto(line[:MAX_SYSLOG], path)
    except OSError as error:
        hint = "pratique break-glass alert says where alerts go"
        raise AlertError(f"{path}: the alert did not go out: {error.strerror or error}", hint=hint) from None
