"""A runtime's command line in, the runtime itself out - if what would really run is allowed.

Installed in front of runc or crun. `create`, `run`, `restore` and `exec` are shown to the agent, with the specification that the
engine wrote; its answer may tighten the specification. When the agent is silent, only what is within the strictest baseline runs.
Every other command that is known goes straight to the runtime, and one that is not known is refused.

Configured by /etc/pratique/runtime.conf, which only root may write: lines `runtime=PATH`, `agent=PATH` and, where an engine does
not keep its files in the usual place, `folders=PATH:PATH`; all have defaults.
"""

from __future__ import annotations

import _socket  # what `socket` wraps: without its enumerations a third of the start-up is saved
import os
import sys

CONFIG = "/etc/pratique/runtime.conf"
AGENT = "/run/pratique/agent.sock"
RUNTIMES = ("/usr/bin/runc", "/usr/sbin/runc", "/usr/bin/crun")
# Engines wait for a runtime, and a disk that is busy lets the agent wait; one that has not decided by then is not there.
SECONDS = 1.5
# A specification with thousands of mounts and variables; runc itself reads any.
MAX_SPEC = 4 << 20
MAX_ANSWER = 1 << 20

DECIDED = {"create", "run", "restore", "exec"}
HARMLESS = {
    "start", "state", "kill", "delete", "list", "events", "ps", "pause", "resume", "spec", "features", "update", "help",
    "version",
}  # fmt: skip
# Options that are followed by a value, of the runtimes runc and crun; the others are switches.
GLOBAL_VALUES = {"--log", "--log-format", "--log-level", "--root", "--criu", "--rootless", "--cgroup-manager"}
GLOBAL_SWITCHES = {"--debug", "--systemd-cgroup", "--version", "-v", "--help", "-h"}
VALUES = {
    "--bundle", "-b", "--console-socket", "--pid-file", "--preserve-fds", "--process", "-p", "--image-path", "--work-path",
    "--manage-cgroups-mode", "--status-fd", "--lsm-profile", "--lsm-mount-context", "--empty-ns", "--cgroup",
}  # fmt: skip
SWITCHES = {
    "--no-pivot", "--no-new-keyring", "--detach", "-d", "--no-subreaper", "--keep", "--tcp-established", "--ext-unix-sk",
    "--shell-job", "--file-locks", "--auto-dedup", "--lazy-pages", "--tty", "-t", "--ignore-paused",
}  # fmt: skip


class Refused(Exception):  # noqa: N818 - it is an answer, not an error
    """What will not run, and why."""


class Call:
    """One call of the runtime: its command, options and the container's id."""

    def __init__(self, words: list[str]) -> None:
        """Raises Refused for words that the gate does not know: what it cannot read, it does not pass on."""
        self.globals, rest = _options(words, GLOBAL_VALUES, GLOBAL_SWITCHES)
        self.command = rest[0] if rest else ""
        self.options: dict[str, str] = {}
        self.id = ""
        if self.command in DECIDED or self.command == "start":
            self.options, names = _options(rest[1:], VALUES, SWITCHES)
            if len(names) != 1:
                raise Refused(f"{self.command} of {len(names)} containers")
            self.id = names[0]
        elif self.command and self.command not in HARMLESS:
            raise Refused(f"the command {self.command[:40]!r} is not known to the gate")

    def one(self, *names: str) -> str:
        """Return the value of an option under any of its names."""
        return next((self.options[name] for name in names if name in self.options), "")


def _options(words: list[str], values: set[str], switches: set[str]) -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        name, equals, value = words[at].partition("=")
        at += 1
        if name in values:
            if not equals:
                if at == len(words):
                    raise Refused(f"{name} has no value")
                value = words[at]
                at += 1
        elif name not in switches:
            raise Refused(f"the option {name[:40]!r} is not known to the gate")
        if name in found and name in values:
            raise Refused(f"{name} comes twice")
        found[name] = value
    return found, words[at:]


def specification(call: Call) -> tuple[str, dict[str, object]]:
    """Return the file that says what will run, and what it says."""
    if call.command == "exec":
        path = call.one("--process", "-p")
        if not path:
            raise Refused("exec without --process")
    else:
        path = os.path.join(call.one("--bundle", "-b") or ".", "config.json")
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        text = stream.read(MAX_SPEC + 1)
    if len(text) > MAX_SPEC:
        raise Refused(f"{path} has more than {MAX_SPEC >> 20} MiB")
    import json  # noqa: PLC0415 - most calls of a runtime are state, start, kill and delete: they do without

    spec = json.loads(text, object_pairs_hook=_once)
    if not isinstance(spec, dict):
        raise Refused(f"{path} is no specification")
    return os.path.abspath(path), spec


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Take each key once, in one spelling: the runtime, written in Go, does not mind letter case."""
    made = {key.casefold(): value for key, value in pairs}
    if len(made) != len(pairs):
        raise Refused("the specification holds a key twice")
    return dict(pairs)


def ask(agent: str, question: dict[str, object]) -> dict[str, object] | None:
    """Return the agent's answer; None where it is silent, late, or is not root's."""
    import json  # noqa: PLC0415 - as above

    line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        line.settimeout(SECONDS)
        line.connect(agent)
        credentials = line.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        if int.from_bytes(credentials[4:8], sys.byteorder) not in (0, os.geteuid()):
            return None
        text = json.dumps(question).encode()
        line.sendall(len(text).to_bytes(4, "big") + text)
        size = int.from_bytes(_read(line, 4), "big")
        answer = json.loads(_read(line, size)) if size <= MAX_ANSWER else None
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        line.close()
    return answer if isinstance(answer, dict) else None


def _read(line: _socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = line.recv(size - len(data))
        if not piece:
            raise OSError("the agent hung up")
        data += piece
    return data


def tighten(command: str, spec: dict[str, object], patch: dict[str, object]) -> dict[str, object]:
    """Return the specification with the keys of its process that the agent set. It can only set what takes rights away."""
    allowed = {"noNewPrivileges", "capabilities"}
    if set(patch) - allowed:
        raise Refused("the agent asks for a change that the gate does not make")
    process = spec if command == "exec" else spec.get("process")
    if not isinstance(process, dict):
        raise Refused("the specification has no process")
    changed = {**process, **patch}
    return changed if command == "exec" else {**spec, "process": changed}


def mark(agent: str, identifier: str) -> str:
    """Return the file that says: the agent wants to look at this container's mounts before it starts."""
    if "/" in identifier or identifier.startswith("."):
        raise Refused(f"{identifier[:40]!r} is no id")
    return os.path.join(os.path.dirname(agent), "unseen", identifier)


def look_again(identifier: str, agent: str) -> None:
    """Raise Refused, or return when the agent has seen that what is mounted is what it allowed. Most have nothing to be seen."""
    path = mark(agent, identifier)
    if not os.path.exists(path):
        return
    answer = ask(agent, {"op": "start", "id": identifier})
    if answer is None or answer.get("allow") is not True:
        raise Refused(
            str((answer or {}).get("message") or "the agent of pratique does not answer, and mounts are to be looked at")
        )
    os.unlink(path)


def forget(identifier: str, agent: str) -> None:
    """Remove the mark of a container that never started."""
    try:
        os.unlink(mark(agent, identifier))
    except OSError:
        return  # most have none


def replace(path: str, spec: dict[str, object]) -> None:
    """Write beside, rename."""
    import json  # noqa: PLC0415 - as above

    beside = path + ".pratique"
    mode = os.stat(path)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode.st_mode & 0o777)
    try:
        with os.fdopen(handle, "w") as stream:
            json.dump(spec, stream)
        os.chown(beside, mode.st_uid, mode.st_gid)
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def decide(call: Call, agent: str, folders: tuple[str, ...] = ()) -> None:
    """Raise Refused, or return when the runtime may run."""
    path, spec = specification(call)
    question: dict[str, object] = {
        "op": call.command,
        "id": call.id,
        "root": call.globals.get("--root", ""),
        "path": path,
        "spec": spec,
        "pid_file": call.one("--pid-file"),
    }
    answer = ask(agent, question)
    if answer is None:
        from pratique_runtime.baseline import beyond  # noqa: PLC0415 - only where the agent is silent

        why = beyond(call.command, spec, folders)
        if why:
            raise Refused(f"the agent of pratique does not answer, and this is beyond the baseline: {'; '.join(why)}")
        return
    if answer.get("allow") is not True:
        raise Refused(str(answer.get("message") or "the agent denies it"))
    patch = answer.get("patch")
    if isinstance(patch, dict) and patch:
        replace(path, tighten(call.command, spec, patch))
    if answer.get("look_again"):
        os.close(os.open(mark(agent, call.id), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def settings(path: str) -> dict[str, str]:
    """Return the configuration, if only root can have written it. Raises Refused where it is damaged."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    with os.fdopen(handle, "rb") as stream:
        state = os.fstat(stream.fileno())
        if state.st_uid not in (0, os.geteuid()) or state.st_mode & 0o022:
            raise Refused(f"others than root can write {path}")
        lines = stream.read(MAX_ANSWER).decode().splitlines()
    pairs = [line.partition("=") for line in lines if line.strip() and not line.startswith("#")]
    found = {name.strip(): value.strip() for name, _, value in pairs}
    if set(found) - {"runtime", "agent", "folders"} or not all(value.startswith("/") for value in found.values()):
        raise Refused(f"{path} is no configuration")
    return found


def report(words: list[str], message: str) -> None:
    """Say it where engines look: standard error, and the runtime's log."""
    import json  # noqa: PLC0415 - as above

    line = f"pratique: {message}"
    sys.stderr.write(line + "\n")
    for at, word in enumerate(words):
        path = words[at + 1] if word == "--log" and at + 1 < len(words) else word[6:] if word.startswith("--log=") else ""
        if path:
            try:
                with open(path, "a") as stream:
                    stream.write(json.dumps({"level": "error", "msg": line}) + "\n")
            except OSError:
                pass  # it was said on standard error
            return


def main(words: list[str] | None = None, config: str = CONFIG) -> int:
    """Decide, then become the runtime. Returns only where something is refused: 1."""
    words = sys.argv[1:] if words is None else words
    try:
        given = settings(config)
        call = Call(words)
        if call.command in DECIDED:
            folders = tuple(path.rstrip("/") + "/" for path in given.get("folders", "").split(":") if path)
            decide(call, given.get("agent") or AGENT, folders)
        elif call.command == "delete" and words[-1:] != ["delete"]:
            forget(words[-1], given.get("agent") or AGENT)
        elif call.command == "start":
            look_again(call.id, given.get("agent") or AGENT)
        runtime = given.get("runtime") or next((path for path in RUNTIMES if os.access(path, os.X_OK)), RUNTIMES[0])
        os.execv(runtime, [runtime, *words])  # noqa: S606 - this is what a runtime's gate does
    except Refused as refused:
        report(words, f"denied: {str(refused).removeprefix('pratique: denied: ')}")
    except (OSError, ValueError, RecursionError) as error:
        report(words, f"denied: the specification cannot be read: {error}")
    return 1
