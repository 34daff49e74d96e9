"""Ways round the gate: sockets of engines that others may open, ports without certificates, containers that hold a socket."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pratique.enforce.doctor.engine import facts
from pratique.enforce.doctor.finding import Checked, amber, green, red

# Programs whose sockets start containers.
ENGINES = ("dockerd", "containerd", "podman", "crio", "buildkitd", "nerdctl")
# A rule that lets such a program be called with words of one's own: with none named, or with a wildcard.
_WHOLE = re.compile(r"/(?:podman|buildah)(?:-remote)?(?:\s*(?:,|$)|\s[^,]*[*?\[^])")
_LISTENS = "00010000"  # __SO_ACCEPTCON in the flags of /proc/net/unix
_TCP_LISTEN = "0A"
_SECONDS = 2.0
_MAX_CONTAINERS = 2_000


class Program(NamedTuple):
    """A running engine: its process, name, and the sockets that it holds."""

    pid: int
    name: str
    sockets: frozenset[int]


def programs(proc: Path = Path("/proc")) -> list[Program]:
    """Return the engines that run. Processes that end meanwhile are left out."""
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            name = (folder / "comm").read_text().strip()
            if name in ENGINES:
                found.append(Program(int(folder.name), name, frozenset(_sockets(folder / "fd"))))
    return sorted(found)


def _sockets(folder: Path) -> Iterator[int]:
    for handle in folder.iterdir():
        with contextlib.suppress(OSError):
            target = str(handle.readlink())
            if target.startswith("socket:["):
                yield int(target[8:-1])


def look(engine: Path, ours: frozenset[str], proc: Path = Path("/proc"), etc: Path = Path("/etc")) -> Iterator[Checked]:
    """Look for ways round. `ours` are the gate's own sockets."""
    running = programs(proc)
    owners = {number: program for program in running for number in program.sockets}
    yield from _unix(owners, ours, proc)
    yield from _tcp(owners, proc)
    yield from _containers(engine)
    yield from _rootless(running, proc, etc)
    yield from _sudo(etc)


def _rootless(running: list[Program], proc: Path, etc: Path) -> Iterator[Checked]:
    """Look for people's own engines, which no gate stands before: those that run, and who may run one."""
    rootless = [program for program in running if _uid(proc / str(program.pid)) not in (0, None)]
    if rootless:
        names = ", ".join(f"{program.name} (pid {program.pid})" for program in rootless)
        yield amber(
            "ways.rootless", f"users run engines of their own: {names}", "their containers have no more than the user has"
        )
        return
    with contextlib.suppress(OSError, UnicodeError):
        text = (etc / "subuid").read_text("utf-8")
        people = [line.partition(":")[0] for line in text.splitlines() if line.count(":") == 2 and not line.startswith("#")]
        if people:
            yield green(
                "ways.rootless",
                f"these may run engines of their own, past the gate, with no more than they have: {', '.join(people[:10])}",
            )


def _sudo(etc: Path) -> Iterator[Checked]:
    """Look for sudo rules that give a program which reaches containers without their runtime, or chooses that."""
    found = []
    with contextlib.suppress(OSError):
        for path in [etc / "sudoers", *sorted((etc / "sudoers.d").iterdir())]:
            with contextlib.suppress(OSError, UnicodeError):
                found += [line.split()[0] for line in _logical(path.read_text("utf-8")) if _WHOLE.search(line)]
    if found:
        yield amber(
            "ways.sudo",
            f"sudo lets {', '.join(dict.fromkeys(found))} call podman or buildah with words of their own:"
            " --runtime, cp, mount, unshare and builds in a chroot go past the gate",
            "spell the whole command out in the rule, without wildcards",
        )


def _logical(text: str) -> Iterator[str]:
    """Yield the rules of a sudoers file: what ends in a backslash goes on."""
    for line in text.replace("\\\n", " ").splitlines():
        rule = line.strip()
        if rule and not rule.startswith(("#", "@", "Defaults")):
            yield rule


def _uid(folder: Path) -> int | None:
    try:
        return folder.stat().st_uid
    except OSError:
        return None


def _unix(owners: dict[int, Program], ours: frozenset[str], proc: Path) -> Iterator[Checked]:
    open_to_others = {}
    seen = set()
    for line in (proc / "net/unix").read_text().splitlines()[1:]:
        parts = line.split(maxsplit=7)
        if len(parts) < 8 or parts[3] != _LISTENS or not parts[7].startswith("/") or parts[7] in ours:
            continue
        program = owners.get(int(parts[6]))
        if program is None:
            continue
        seen.add(parts[7])
        who = _who_may(Path(parts[7]))
        if who:
            open_to_others[parts[7]] = f"{parts[7]} ({program.name}, for {who})"
    if open_to_others:
        paths = " ".join(sorted(open_to_others))
        yield red(
            "ways.sockets",
            f"engines listen where others than root get in: {'; '.join(sorted(open_to_others.values()))}",
            f"chmod 600 {paths}; people use the front socket",
        )
    else:
        yield green("ways.sockets", f"{len(seen)} sockets of engines, all of them root's")


def _who_may(path: Path) -> str:
    """Return who else than root can open a socket, "" where nobody can."""
    try:
        state = path.stat()
        folders = [folder.stat().st_mode for folder in path.parents]
    except OSError:
        return ""
    others = all(mode & stat.S_IXOTH for mode in folders)
    if state.st_mode & stat.S_IWOTH and others:
        return "everybody"
    if state.st_uid != 0:
        return f"uid {state.st_uid}"
    if state.st_mode & stat.S_IWGRP and state.st_gid != 0 and all(mode & (stat.S_IXOTH | stat.S_IXGRP) for mode in folders):
        return _members(state.st_gid)
    return ""


def _members(number: int) -> str:
    import grp  # noqa: PLC0415 - beside its one use

    try:
        entry = grp.getgrgid(number)
    except KeyError:
        return f"the group {number}"
    return f"the group {entry.gr_name}" + (f": {', '.join(entry.gr_mem[:10])}" if entry.gr_mem else "")


def _tcp(owners: dict[int, Program], proc: Path) -> Iterator[Checked]:
    ports = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / name).read_text().splitlines()[1:]:
                parts = line.split()
                if parts[3] == _TCP_LISTEN and int(parts[9]) in owners:
                    ports[int(parts[1].rpartition(":")[2], 16)] = owners[int(parts[9])].name
    for port, name in sorted(ports.items()):
        if _answers_anybody(port):
            yield red("ways.tcp", f"{name} answers anybody on port {port}", "give it --tlsverify, or take the port away")
        else:
            yield amber("ways.tcp", f"{name} listens on port {port}", "its clients' certificates are identities: see --client")


def _answers_anybody(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException, socket.gaierror):
        return False
    finally:
        connection.close()


def _containers(engine: Path) -> Iterator[Checked]:
    """Look into the containers that run: some hold what leads round the gate, whoever started them."""
    holding, wide = [], []
    with contextlib.suppress(OSError):
        for item in _running(engine):
            name = str(item.get("Name") or item.get("Id") or "")[:60].lstrip("/")
            host = item.get("HostConfig") or {}
            mounts = [str(mount.get("Source") or "") for mount in item.get("Mounts") or []]
            if any(_leads_to_engine(path) for path in mounts):
                holding.append(name)
            elif host.get("Privileged") or "host" in (host.get("PidMode"), host.get("UsernsMode")):
                wide.append(name)
    if holding:
        yield red(
            "ways.containers",
            f"containers hold an engine's socket: {', '.join(holding[:10])}",
            "docker rm -f " + " ".join(holding[:10]),
        )
    if wide:
        yield amber(
            "ways.containers", f"containers run privileged: {', '.join(wide[:10])}", "see `pratique grant list` for who may"
        )
    if not holding and not wide:
        yield green("ways.containers", "no running container holds an engine's socket or is privileged")


def _running(engine: Path) -> Iterator[dict[str, Any]]:
    import json  # noqa: PLC0415 - beside its one use

    from pratique.enforce.doctor.engine import ask  # noqa: PLC0415 - as above

    answer = ask(engine, "GET", "/containers/json")
    listed = json.loads(answer.text) if answer.status == 200 else []
    for item in listed[:_MAX_CONTAINERS]:
        yield facts(engine, f"/containers/{item['Id']}/json")


def _leads_to_engine(path: str) -> bool:
    """Say whether a mounted path is an engine's socket or a folder above one."""
    if path.endswith(("docker.sock", "containerd.sock", "podman.sock", "crio.sock")):
        return True
    return path in ("/", "/run", "/var", "/var/run", "/run/containerd", "/run/pratique-engine", "/run/docker", "/var/lib/docker")
