"""A machine in, the gate in front of its Docker engine out - and back again: every file that is written can be taken away.

What was there before is kept in a record that is on disk before the first change, so that an installation that was interrupted
can be undone, too. A file that somebody changed since is not touched by undoing, but named; of the engine's configuration, which
everybody changes, only what is the gate's is taken out.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pratique.model.errors import CouldNotError, ParseError, UsageError

RECORD = "/var/lib/pratique-gate/installed.json"
DAEMON = "/etc/docker/daemon.json"
PROGRAMS = "/usr/lib/pratique/bin"
LIBRARY = "/usr/lib/pratique/runtime"
RUNTIMES = ("runc", "crun")
# The engine's own socket goes where nobody but root looks, so that its usual place can be the gate's.
ENGINE = "/run/pratique-engine/docker.sock"
FRONT = "/run/docker.sock"
UNIT = "pratique-gate-docker.service"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SOURCES = ("__init__.py", "__main__.py", "baseline.py", "gate.py")
_MAX_CONFIGURATION = 1 << 20
_KEY = "authorization-plugins"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the gate is to be run. `program` is the command pratique, which only root may be able to change."""

    program: str
    store: str = "/var/lib/pratique"
    group: str = "docker"
    admission: str = ""
    observe: bool = False
    podman: bool = False


class Written(NamedTuple):
    """One file as it is to be."""

    path: str
    content: bytes
    mode: int = 0o644


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One file as it was before, None where there was none, and what was written in its place."""

    path: str
    before: bytes | None
    mode: int
    written: bytes
    # what an earlier installation had written there, until this one is done
    formerly: tuple[bytes, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation changed."""

    options: Options
    files: tuple[Kept, ...]
    folders: tuple[str, ...]


class Machine:
    """One machine's files, below `root` ("/" is this one)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def at(self, path: str) -> Path:
        """Return where a path of the machine lies."""
        return self._root / path.lstrip("/")

    def read(self, path: str) -> bytes | None:
        """Return a file's content, None where there is none. Raises OSError."""
        try:
            return self.at(path).read_bytes()
        except FileNotFoundError:
            return None

    def mode(self, path: str) -> int:
        """Return a file's mode, that of files for everybody to read where there is none. Raises OSError."""
        try:
            return self.at(path).stat().st_mode & 0o7777
        except FileNotFoundError:
            return 0o644

    def real(self, path: str) -> Path:
        """Return where a file is written: where its link leads, so that it stays one. Raises UsageError."""
        place, root = self.at(path).resolve(), self._root.resolve()
        if not place.is_relative_to(root):
            raise UsageError(f"{path} leads out of {root}", hint="make it a file, or a link within")
        return place

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Write beside, flush, rename; a file that is there keeps its owner. Raises OSError."""
        place = self.real(path)
        beside = place.with_name(f".{place.name}.pratique-{os.getpid()}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            with contextlib.suppress(FileNotFoundError):
                owner = place.stat()
                os.fchown(handle, owner.st_uid, owner.st_gid)
            os.fchmod(handle, mode)
            stream.flush()
            os.fsync(handle)
        beside.replace(place)

    def runtime(self, name: str) -> str:
        """Return where a runtime is, "" where there is none."""
        places = (f"/usr/sbin/{name}", f"/usr/bin/{name}", f"/usr/local/sbin/{name}", f"/usr/local/bin/{name}")
        return next((path for path in places if self.at(path).is_file()), "")


def plan(machine: Machine, options: Options) -> list[Written]:
    """Return the files that make the gate. Raises UsageError, ParseError, OSError."""
    found = {name: machine.runtime(name) for name in RUNTIMES}
    if not any(found.values()):
        raise UsageError("no runc and no crun is installed", hint="install the engine first")
    source = Path(__file__).parents[3] / "pratique_runtime"
    unit = "/etc/systemd/system"
    path = f"[Service]\nEnvironment=PATH={PROGRAMS}:{_PATH}\n"
    after = f"[Unit]\nWants={UNIT}\nAfter={UNIT}\n\n"
    planned = [
        *(Written(f"{LIBRARY}/pratique_runtime/{name}", (source / name).read_bytes()) for name in _SOURCES),
        *(wrapper for name, real in found.items() if real for wrapper in _wrapper(name, real, _data_root(machine))),
        Written(f"{unit}/{UNIT}", _unit(options).encode()),
        Written(f"{unit}/docker.service.d/50-pratique.conf", (after + path).encode()),
        Written(f"{unit}/containerd.service.d/50-pratique.conf", (after + path).encode()),
        Written(f"{unit}/docker.socket.d/50-pratique.conf", _SOCKET.encode()),
        Written(DAEMON, _daemon(machine.read(DAEMON)), machine.mode(DAEMON)),
    ]
    if options.podman:
        planned.append(Written("/etc/containers/containers.conf.d/50-pratique.conf", _podman(found).encode()))
    return planned


def _data_root(machine: Machine) -> str:
    """Return where the engine keeps its files, "" for the usual place."""
    return str(_parsed(machine.read(DAEMON)).get("data-root") or "")


def _wrapper(name: str, real: str, folder: str) -> Iterator[Written]:
    config = f"/etc/pratique/{name}.conf"
    text = (
        f"#!/usr/bin/python3 -ISB\n# {name} behind pratique's gate; `pratique gate docker uninstall` takes it away.\n"
        f"import sys\n\nsys.path.insert(0, {LIBRARY!r})\nfrom pratique_runtime.gate import main\n\n"
        f"sys.exit(main(config={config!r}))\n"
    )
    yield Written(f"{PROGRAMS}/{name}", text.encode(), 0o755)
    folders = f"folders={folder}\n" if folder else ""
    yield Written(config, f"runtime={real}\nagent=/run/pratique/agent.sock\n{folders}".encode())


_SOCKET = f"""\
# People use {FRONT}, which is now pratique's: it knows who they are. The engine's own socket is root's.
[Socket]
ListenStream=
ListenStream={ENGINE}
SocketMode=0600
SocketGroup=root
DirectoryMode=0700
"""


def _unit(options: Options) -> str:
    words = [
        options.program, "gate", "docker", "--store", options.store, "--engine", ENGINE, "--front", FRONT,
        *(["--group", options.group] if options.group else []),
        *(["--admission", options.admission] if options.admission else []), *(["--observe"] if options.observe else []),
    ]  # fmt: skip
    return f"""\
[Unit]
Description=pratique: who may do what with the Docker engine
Before=docker.socket docker.service containerd.service

[Service]
Type=notify
ExecStart={" ".join(_quoted(word) for word in words)}
Restart=always
RestartSec=100ms
WatchdogSec=5s
OOMScoreAdjust=-900
RuntimeDirectory=pratique
RuntimeDirectoryMode=0755
StateDirectory=pratique
StateDirectoryMode=0700
UMask=0077
# It looks at processes and files of others to say what they are, and ends what has lost its grant; it changes nothing else.
CapabilityBoundingSet=CAP_KILL CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/run {_quoted(options.store)}
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6

[Install]
WantedBy=multi-user.target
RequiredBy=docker.service
"""


def _quoted(word: str) -> str:
    """Write a word as systemd reads it back."""
    if word and all(one.isalnum() or one in "/._-+,@" for one in word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'


def _podman(found: dict[str, str]) -> str:
    known = [name for name in ("crun", "runc") if found[name]]
    lines = "".join(f'{name} = ["{PROGRAMS}/{name}"]\n' for name in known)
    head = f"# Root's containers; people's own may choose any runtime.\n[engine]\nruntime = \"{known[0]}\"\n\n[engine.runtimes]\n"
    return head + lines


def _daemon(content: bytes | None) -> bytes:
    """Add the plugin to the engine's configuration, all else as it was."""
    known = _parsed(content)
    plugins = known.get(_KEY, [])
    if not isinstance(plugins, list):
        raise ParseError(f"{DAEMON}: {_KEY} is no list")
    if "pratique" in plugins and content is not None:
        return content
    return json.dumps({**known, _KEY: [*plugins, "pratique"]}, indent=2).encode() + b"\n"


def _parsed(content: bytes | None) -> dict[str, Any]:
    if content is None or not content.strip():
        return {}
    if len(content) > _MAX_CONFIGURATION:
        raise ParseError(f"{DAEMON} has more than {_MAX_CONFIGURATION >> 20} MiB")
    try:
        known = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"{DAEMON}: it is no JSON: {error}") from error
    if not isinstance(known, dict):
        raise ParseError(f"{DAEMON}: it holds no object")
    return known


def difference(machine: Machine, planned: list[Written]) -> Iterator[str]:
    """Yield what an installation would change, as a unified diff."""
    for file in planned:
        before = machine.read(file.path)
        old = before.decode("utf-8", "replace").splitlines(keepends=True) if before is not None else []
        new = file.content.decode("utf-8").splitlines(keepends=True)
        name = "/dev/null" if before is None else f"a{file.path}"
        yield from difflib.unified_diff(old, new, name, f"b{file.path}")


def install(machine: Machine, options: Options) -> Record:
    """Write the files; what was there is on record first. Raises UsageError, ParseError, OSError.

    Where the gate is installed already it is changed, at no time away: an engine finds its runtime's gate all the while.
    """
    _trusted(machine.at(options.program))
    planned = plan(machine, options)
    for file in planned:
        machine.real(file.path)
    former = _installed(machine)
    known = {kept.path: kept for kept in former.files} if former is not None else {}
    if changed := [path for path, kept in known.items() if not _ours(machine, kept)]:
        raise UsageError(
            f"{changed[0]} was changed since the gate was installed", hint="pratique gate docker uninstall leaves it as it is"
        )
    missing = _missing(machine, [*(file.path for file in planned), RECORD])
    kept = tuple(_kept(machine, file, known.pop(file.path, None)) for file in planned)
    folders = (*(former.folders if former is not None else ()), *missing)
    for folder in missing:
        if RECORD.startswith(f"{folder}/"):
            machine.at(folder).mkdir(mode=0o755)
    during = Record(options=options, files=(*known.values(), *kept), folders=tuple(dict.fromkeys(folders)))
    machine.write(RECORD, msgspec.json.encode(during), 0o600)
    for folder in missing:
        machine.at(folder).mkdir(mode=0o755, exist_ok=True)
    for file in planned:
        machine.write(file.path, file.content, file.mode)
    if former is None:
        return during
    for old in known.values():
        _undone(machine, old)
    done = tuple(msgspec.structs.replace(one, formerly=()) for one in kept)
    record = msgspec.structs.replace(during, files=done)
    machine.write(RECORD, msgspec.json.encode(record), 0o600)
    return record


def _installed(machine: Machine) -> Record | None:
    """Return what is on record; None where nothing is. Raises CouldNotError, OSError."""
    text = machine.read(RECORD)
    try:
        return msgspec.json.decode(text, type=Record) if text is not None else None
    except msgspec.MsgspecError as error:
        raise CouldNotError(f"{RECORD} is damaged: {error}") from error


def installed(machine: Machine) -> Options | None:
    """Return how the gate is installed here; None where it is not. Raises CouldNotError, OSError."""
    record = _installed(machine)
    return record.options if record is not None else None


def _ours(machine: Machine, kept: Kept) -> bool:
    """Say whether nobody else changed a file; the engine's configuration is everybody's, and only a part of it the gate's."""
    now = machine.read(kept.path)
    return kept.path == DAEMON or now is None or now in (kept.before, kept.written, *kept.formerly)


def _kept(machine: Machine, file: Written, known: Kept | None) -> Kept:
    if known is not None and machine.read(file.path) not in (None, known.before, known.written, *known.formerly):
        return known  # what others wrote into the engine's configuration since is not taken away with the gate
    if known is not None:
        return msgspec.structs.replace(known, written=file.content, formerly=(*known.formerly, known.written))
    before = machine.read(file.path)
    mode = machine.at(file.path).stat().st_mode & 0o7777 if before is not None else file.mode
    return Kept(path=file.path, before=before, mode=mode, written=file.content)


def _missing(machine: Machine, paths: list[str]) -> list[str]:
    """Return the folders that are not there yet, outer ones first."""
    found: dict[str, None] = {}
    for path in paths:
        for folder in reversed(Path(path).parents):
            if not machine.at(str(folder)).exists():
                found[str(folder)] = None
    return list(found)


def _trusted(program: Path) -> None:
    """Refuse a program that somebody else could exchange: root is about to run it at every start."""
    real = program.resolve()
    if not real.is_file():
        raise UsageError(f"{program} is no program", hint="--program names the installed command pratique")
    for path in (real, *real.parents):
        state = path.stat()
        sticky = path != real and state.st_mode & 0o1000
        if state.st_uid not in (0, os.geteuid()) or (state.st_mode & 0o022 and not sticky):
            raise UsageError(
                f"others than root can change {path}, which root would run", hint="install pratique for the machine, as root"
            )


def uninstall(machine: Machine) -> list[str]:
    """Put back what was there; return what was left alone because somebody changed it since. Raises UsageError, OSError."""
    record = _installed(machine)
    if record is None:
        raise UsageError("the gate is not installed here")
    left = [kept.path for kept in reversed(record.files) if not _undone(machine, kept)]
    machine.at(RECORD).unlink()
    for folder in reversed(record.folders):
        try:
            machine.at(folder).rmdir()
        except OSError:
            continue  # it holds something that is not ours
    return left


def _undone(machine: Machine, kept: Kept) -> bool:
    now = machine.read(kept.path)
    if now is None or now == kept.before:
        return True
    if now not in (kept.written, *kept.formerly):
        return kept.path == DAEMON and _without(machine, now, kept)
    if kept.before is None:
        machine.at(kept.path).unlink()
    else:
        machine.write(kept.path, kept.before, kept.mode)
    return True


def _without(machine: Machine, content: bytes, kept: Kept) -> bool:
    """Take the plugin out of a configuration that has been changed since."""
    try:
        known = _parsed(content)
    except ParseError:
        return False
    plugins = known.get(_KEY)
    if isinstance(plugins, list) and "pratique" in plugins:
        rest = [name for name in plugins if name != "pratique"]
        known = {name: value for name, value in known.items() if name != _KEY} | ({_KEY: rest} if rest else {})
        machine.write(kept.path, json.dumps(known, indent=2).encode() + b"\n", machine.at(kept.path).stat().st_mode & 0o7777)
    return True
