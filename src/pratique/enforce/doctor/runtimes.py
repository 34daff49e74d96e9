"""The gate in front of the runtimes: which program an engine really starts, and whether the agent behind the gate answers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pratique.enforce.doctor.engine import facts
from pratique.enforce.doctor.finding import Checked, amber, green, red
from pratique.enforce.doctor.ways import programs
from pratique.enforce.serving import peer_of

_MEND = "pratique gate docker install puts it there; then restart containerd and the engine"
_MAX_SCRIPT = 64 << 10
_SECONDS = 2.0
# What the engine names when it means a shim of its own kind; the shim looks for runc in its PATH.
_SHIM = "io.containerd.runc.v2"


def look(engine: Path, agent: Path, proc: Path = Path("/proc")) -> Iterator[Checked]:
    """Look at what the engine starts containers with. Raises OSError where the engine does not answer."""
    yield from _found_in_path(proc)
    yield from _registered(facts(engine, "/info"))
    yield _agent(agent)
    yield from _podman()


def is_gate(path: str) -> str:
    """Return why a program is not the gate's, "" where it is."""
    try:
        real = Path(path).resolve(strict=True)
        state = real.stat()
        with real.open("rb") as stream:
            text = stream.read(_MAX_SCRIPT)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if b"pratique_runtime" not in text:
        return f"{path} is not the gate's"
    for place in (real, *real.parents):
        mode = place.stat()
        if mode.st_uid != 0 or (mode.st_mode & 0o022 and not mode.st_mode & stat.S_ISVTX):
            return f"others than root can change {place}"
    return "" if state.st_mode & 0o111 else f"{path} cannot be run"


def _path_of(pid: int, proc: Path) -> str:
    try:
        entries = (proc / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((entry[5:].decode("utf-8", "replace") for entry in entries if entry.startswith(b"PATH=")), os.defpath)


def _found_in_path(proc: Path) -> Iterator[Checked]:
    running = [program for program in programs(proc) if program.name in ("containerd", "dockerd")]
    for program in running:
        found = shutil.which("runc", path=_path_of(program.pid, proc))
        why = is_gate(found) if found else "there is no runc in its PATH"
        check = f"runtime.{program.name}"
        if why:
            yield red(check, f"{program.name} (pid {program.pid}) starts containers past the gate: {why}", _MEND)
        else:
            yield green(check, f"{program.name} (pid {program.pid}) starts containers through {found}")


def _registered(info: dict[str, Any]) -> Iterator[Checked]:
    """Look at the runtimes that a request may name."""
    past = []
    for name, item in sorted((info.get("Runtimes") or {}).items()):
        path, kind = str(item.get("path") or ""), str(item.get("runtimeType") or item.get("type") or "")
        if not path and (name in ("runc", _SHIM) or kind in ("", _SHIM)):
            continue  # found by the PATH
        if path == "runc":
            continue
        why = is_gate(path) if path else f"it is the shim {kind or name}"
        if why:
            past.append(f"{name} ({why})")
    if past:
        yield red(
            "runtime.names", f"runtimes that go past the gate: {', '.join(past)}", "take them out of the engine's configuration"
        )
    else:
        yield green("runtime.names", "every runtime that can be named passes the gate")


def _agent(agent: Path) -> Checked:
    """Ask the agent about a container that nobody asked for and that wants everything."""
    spec = {"process": {"user": {"uid": 0, "gid": 0}, "args": ["true"]}, "linux": {"namespaces": []}, "mounts": []}
    text = json.dumps({"op": "create", "id": "pratique-doctor", "spec": spec}).encode()
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_SECONDS)
            line.connect(str(agent))
            if peer_of(line).uid != 0:
                return red("runtime.agent", f"others than root answer on {agent}", "stop what listens there; start the gate")
            line.sendall(len(text).to_bytes(4, "big") + text)
            with line.makefile("rb") as stream:
                size = int.from_bytes(stream.read(4), "big")
                answer = json.loads(stream.read(min(size, _MAX_SCRIPT)))
    except (OSError, ValueError) as error:
        return red(
            "runtime.agent", f"the agent does not answer on {agent}: {error}", "start the gate, or name the socket by --agent"
        )
    if answer.get("allow") is not False:
        return red(
            "runtime.agent", "the agent lets a container run that nobody asked for and that wants everything", "see the policy"
        )
    return green("runtime.agent", f"the agent refuses what nobody asked for ({agent})")


def _podman() -> Iterator[Checked]:
    import subprocess  # noqa: PLC0415 - one fixed command of the machine

    program = shutil.which("podman", path="/usr/bin:/usr/local/bin")
    if program is None or os.geteuid() != 0:
        return
    try:
        done = subprocess.run(  # noqa: S603 - a fixed path, no input
            [program, "info", "--format", "{{.Host.OCIRuntime.Path}}"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        yield amber("runtime.podman", "Podman does not say what it starts containers with", "run `podman info` as root")
        return
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        why = said[-1][:200] if said else f"exit code {done.returncode}"
        yield amber("runtime.podman", f"Podman does not say what it starts containers with: {why}", "run `podman info` as root")
        return
    why = is_gate(done.stdout.strip())
    if why:
        yield amber(
            "runtime.podman", f"root's Podman starts containers past the gate: {why}", "pratique gate docker install --podman"
        )
    else:
        yield green("runtime.podman", f"root's Podman starts containers through {done.stdout.strip()}")
