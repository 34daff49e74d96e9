"""The engine and its plugin, asked live: whether every request comes past the gate, and all of it is shown."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pratique.enforce.doctor.finding import Checked, amber, green, red
from pratique.model.errors import CouldNotError

_SECONDS = 5.0
# No image is called so: what a gate lets through by mistake ends as "no such image".
PROBE = "pratique-doctor.invalid/probe:none"
# More than the 1 MiB of a body that engines with CVE-2026-34040 show to their plugin.
_LARGE = (1 << 20) + 4096
# Engines that withhold bodies from their plugins, by the first version of each line that does not.
# https://nvd.nist.gov/vuln/detail/CVE-2024-41110, https://nvd.nist.gov/vuln/detail/CVE-2026-34040
HOLES = {
    "CVE-2024-41110": ((23, 0, 15), (25, 0, 6), (26, 0, 3), (26, 1, 5), (27, 0, 4), (27, 1, 1)),
    "CVE-2026-34040": ((29, 3, 1),),
}
_MAX_ANSWER = 4 << 20


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


class Answer(NamedTuple):
    """What an engine said."""

    status: int
    text: str


def ask(path: Path, method: str, target: str, body: bytes = b"") -> Answer:
    """Ask an engine on its socket. Raises OSError."""
    connection = _Connection(path)
    try:
        with contextlib.suppress(BrokenPipeError):  # it has answered before it had all of the body, and the answer is there
            connection.request(method, target, body or None, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(_MAX_ANSWER).decode("utf-8", "replace"))
    except http.client.HTTPException as error:
        raise OSError(f"{path}: no HTTP: {error}") from error
    finally:
        connection.close()


def facts(path: Path, target: str) -> dict[str, Any]:
    """Return what an engine says of itself. Raises OSError."""
    answer = ask(path, "GET", target)
    try:
        value = json.loads(answer.text)
    except ValueError as error:
        raise OSError(f"{path}: the engine's answer to {target} is no JSON") from error
    if answer.status != 200 or not isinstance(value, dict):
        raise OSError(f"{path}: the engine answered {answer.status} to {target}: {answer.text[:200]}")
    return value


def look(engine: Path, front: Path, plugin: Path) -> Iterator[Checked]:
    """Look at one engine. Raises CouldNotError where it does not answer at all."""
    try:
        version, info = facts(engine, "/version"), facts(engine, "/info")
    except OSError as error:
        raise CouldNotError(
            f"the engine does not answer on {engine}: {error.strerror or error}",
            hint="--engine names its own socket; run as root",
        ) from error
    gated, hidden = _probed(engine)
    yield from _placed(info, plugin, gated)
    yield _version(str(version.get("Version") or ""), gated=gated, hidden=hidden)
    yield from _front(front, engine)


def _probed(engine: Path) -> tuple[bool, bool]:
    """Ask for what no gate allows; return whether the gate refused it, and whether the engine hid a large body from it."""
    twice = b'{"Image": "' + PROBE.encode() + b'", "image": "x"}'
    gated = _refused(ask(engine, "POST", "/containers/create", twice))
    large = json.dumps({"Image": PROBE, "Labels": {"probe": "x" * _LARGE}}).encode()
    try:
        answer = ask(engine, "POST", "/containers/create", large)
    except OSError:
        return gated, False  # it takes no body of that size
    return gated, "does not show the body" in answer.text


def _refused(answer: Answer) -> bool:
    return answer.status == 403 and "pratique: denied" in answer.text


def _placed(info: dict[str, Any], plugin: Path, gated: bool) -> Iterator[Checked]:  # noqa: FBT001 - its one meaning
    names = [str(name) for name in (info.get("Plugins") or {}).get("Authorization") or []]
    mend = "pratique gate docker install, then restart the engine"
    if gated:
        yield green("engine.plugin", f"a request that no gate allows was refused by pratique (plugins: {', '.join(names)})")
    elif names:
        yield red("engine.plugin", f"the engine asks {', '.join(names)}, and a request that no gate allows was not refused", mend)
    else:
        yield red("engine.plugin", "the engine asks no plugin: whoever reaches its socket is root", mend)
    try:
        mode = plugin.stat()
    except OSError:
        if gated:
            yield amber("engine.plugin-socket", f"{plugin} is not there", "--plugin names the socket that the engine uses")
        return
    if mode.st_uid != 0 or mode.st_mode & 0o077:
        yield red("engine.plugin-socket", f"others than root may open {plugin}", f"chmod 600 {plugin}; chown root {plugin}")
    else:
        yield green("engine.plugin-socket", f"{plugin} is root's")


def holes(version: str) -> list[str]:
    """Return which known holes a version has; a version that cannot be read has them all."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    numbers = tuple(map(int, found.groups())) if found else (0, 0, 0)
    return [name for name, fixed in HOLES.items() if not _fixed(numbers, fixed)]


def _fixed(version: tuple[int, ...], fixed: tuple[tuple[int, int, int], ...]) -> bool:
    """Say whether a version has a fix: its own line's, or that it is newer than all that were mended."""
    same = [one for one in fixed if one[:2] == version[:2]]
    return version >= same[0] if same else version > max(fixed)


def _version(version: str, *, gated: bool, hidden: bool) -> Checked:
    known = holes(version)
    mend = "update the engine to 29.3.1 or newer"
    if hidden:
        return red("engine.version", f"engine {version} hides large bodies from its plugin (CVE-2026-34040): seen live", mend)
    known = [name for name in known if not (gated and name == "CVE-2026-34040")]  # it showed the body: mended by who packaged it
    if known:
        return red("engine.version", f"engine {version} is known to hide bodies from its plugin ({', '.join(known)})", mend)
    how = "it showed the gate a large body, or took none" if gated else "by its version alone, as no gate could be asked"
    return green("engine.version", f"engine {version} has no known hole in what it shows to plugins ({how})")


def _front(front: Path, engine: Path) -> Iterator[Checked]:
    try:
        state, answer = front.stat(), ask(front, "GET", "/_ping")
    except OSError as error:
        yield red(
            "front.socket", f"the front socket {front} does not answer: {error.strerror}", "start the gate, or name it by --front"
        )
        return
    if answer.status != 200:
        yield red("front.socket", f"the front socket {front} answers {answer.status}", "see the gate's log")
    elif state.st_mode & stat.S_IWOTH:
        yield amber("front.socket", f"everybody may use {front}", "run the gate with --group")
    else:
        yield green("front.socket", f"{front} answers, for {_group(state)}")
    if front == engine or (engine.exists() and front.exists() and front.samefile(engine)):
        yield red("front.socket", "the front socket is the engine's own", "--front and --engine are two sockets")


def _group(state: Any) -> str:
    import grp  # noqa: PLC0415 - beside its one use

    if not state.st_mode & stat.S_IWGRP:
        return "root alone"
    try:
        return f"members of {grp.getgrgid(state.st_gid).gr_name}"
    except KeyError:
        return f"members of the group {state.st_gid}"
