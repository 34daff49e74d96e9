"""How a container's output is to be kept in, the privileges that this needs out: it is the engine, as root, who writes it.

Source: https://docs.docker.com/engine/logging/configure/#supported-logging-drivers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pratique.grant import privileges

# Drivers that keep it on the machine where it belongs.
_LOCAL = frozenset(("", "json-file", "local", "none", "journald", "syslog"))
# Drivers that send it away from the machine's own network, some of them as the machine itself (its cloud identity).
_SENDING = frozenset(("gelf", "fluentd", "splunk", "awslogs", "gcplogs", "logentries"))
_ADDRESSES = ("-address", "-url", "-endpoint")
_FILES = ("-ca-cert", "-tls-cert", "-tls-key", "-capath", "-path")
_SOCKETS = ("unix://", "unixgram://")


def needed(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a request to create a container needs for its log; nothing where that is left to the engine's own setting."""
    config = (asked.get("HostConfig") or {}).get("LogConfig") or {}
    kind, options = str(config.get("Type") or ""), config.get("Config") or {}
    return tuple(dict.fromkeys([*_of_driver(kind), *_of_options(options)]))


def _of_driver(kind: str) -> Iterator[str]:
    if kind in _SENDING:
        yield "run.hostns:net"
    elif kind not in _LOCAL:
        yield "engine.admin"  # a plugin of the engine


def _of_options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if not value:
            continue
        scheme = next((one for one in _SOCKETS if str(value).startswith(one)), "")
        if name.endswith(_ADDRESSES) and scheme:
            yield str(privileges.mount("/" + str(value).removeprefix(scheme).lstrip("/"), read_only=False))
        elif name.endswith(_ADDRESSES):
            yield "run.hostns:net"
        elif name.endswith(_FILES) and str(value).startswith("/"):
            yield str(privileges.mount(str(value), read_only=True))
