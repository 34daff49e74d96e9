"""A Docker engine of its own for tests: started, filled with images, asked as different people, stopped; no network anywhere.

Needs root, dockerd, docker and busybox (Debian: docker.io docker-cli busybox-static). The engine has its own folders, sockets and
containerd; it touches no firewall rule and no bridge of the machine.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

START_SECONDS = 120.0  # a machine with two cores under load
COMMAND_SECONDS = 120.0
ANSWER_SECONDS = 60.0
# Users that every Debian has: nothing is added to the machine. Who attacks, who works, who agrees.
PEOPLE = {"mallory": "games", "alice": "news", "oncall": "backup", "root": "root"}
# All of them may use the sockets: being let in is not being allowed.
GROUP = "users"
# An engine asks every plugin that it finds on the machine, and waits 15 s for one that is dead: this one finds only its own.
_ALONE = """
set -e
mkdir -p /run/docker/plugins "$1"
mount --bind "$1" /run/docker/plugins
for other in /etc/docker/plugins /usr/lib/docker/plugins; do
  if [ -d $other ]; then mount -t tmpfs none $other; fi
done
mount --make-rshared /
shift
exec "$@"
"""
_CONNECTOR = """
import os, socket, sys
uid, gid, group = map(int, sys.argv[1:])
os.setgroups([group])
os.setgid(gid)
os.setuid(uid)
line = socket.socket(fileno=0)
while path := line.recv(300):
    end = socket.socket(socket.AF_UNIX)
    try:
        end.connect(path.decode())
        socket.send_fds(line, [b"+"], [end.fileno()])
    except OSError as error:
        line.send(b"-" + str(error).encode())
    end.close()
"""


class Done(NamedTuple):
    """What a command or a request came to: exit code or status, and all that it said."""

    code: int
    text: str


class Person:
    """A user of the machine: connects and runs commands under its own number, as the kernel sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.user = PEOPLE[name]
        entry = pwd.getpwnam(self.user)
        self.uid, self.gid = entry.pw_uid, entry.pw_gid
        shared = grp.getgrnam(GROUP).gr_gid
        self._as: dict[str, Any] = {"user": self.uid, "group": self.gid, "extra_groups": [shared]}
        self._turn = threading.Lock()
        self._line, end = socket.socketpair()
        # It begins as root, who may read this Python wherever it is installed.
        words = [sys.executable, "-ISc", _CONNECTOR, str(self.uid), str(self.gid), str(shared)]
        self._process = subprocess.Popen(words, stdin=end.fileno())
        end.close()

    def connect(self, path: Path, seconds: float = ANSWER_SECONDS) -> socket.socket:
        """Return a connection that this user made to a unix socket. Raises PermissionError."""
        with self._turn:
            self._line.sendall(str(path).encode())
            said, handles, _, _ = socket.recv_fds(self._line, 300, 1)
        if said[:1] != b"+":
            raise PermissionError(said[1:].decode())
        end = socket.socket(fileno=handles[0])
        end.settimeout(seconds)
        return end

    def run(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        text: str = "",
        cwd: Path | str = "/",
        seconds: float = 0,
    ) -> Done:
        """Run a command as this user."""
        given = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "LANG": "C.UTF-8", **(env or {})}
        try:
            done = subprocess.run(
                list(words), input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=given, cwd=cwd,
                check=False, timeout=seconds or COMMAND_SECONDS, **self._as,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            return Done(124, (late.stdout or b"").decode("utf-8", "replace") + "\n[it did not end in time]")
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"))

    def close(self) -> None:
        self._line.close()
        self._process.wait()


class Engine:
    """One dockerd. `socket` is what people use: its own, or a gate's in front of it."""

    def __init__(self, folder: Path, *, extra: Sequence[str] = (), path: str = "") -> None:
        """`path` comes first in the engine's PATH: where it finds its runtimes."""
        self.folder = folder
        self.own = folder / "docker.sock"
        self.socket = self.own
        self.log = folder / "dockerd.log"
        self.plugins = folder / "plugins"
        self._extra = list(extra)
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its process; 0 where it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> Self:
        """Start it and wait until it answers. Raises RuntimeError with the end of its log."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        words = [
            "unshare", "--mount", "--propagation", "slave", "sh", "-c", _ALONE, "alone", str(self.plugins),
            "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--userland-proxy=false",
            "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec"), "-H", f"unix://{self.own}",
            "--pidfile", str(self.folder / "dockerd.pid"), "--shutdown-timeout", "1", "--group", GROUP, *self._extra,
        ]  # fmt: skip
        path = ":".join(filter(None, (self._path, os.environ.get("PATH", ""), "/usr/sbin:/sbin")))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": path, "HOME": "/root"},
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, ValueError):
                if request(connect(self.own), "GET", "/_ping")[0] == 200:
                    return self
            time.sleep(0.05)
        raise RuntimeError(f"dockerd did not start: {self.log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        """Stop it with all its containers."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it as a crash does; containers go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        (self.folder / "dockerd.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and delete what it kept."""
        self.stop()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (where := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", where], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def look(self, path: str) -> Any:
        """Return what the engine itself says to a GET, asked by root past every gate: reading is open."""
        status, body = request(connect(self.own), "GET", path)
        return json.loads(body) if status == 200 and body else None

    def logs(self, name: str) -> str:
        """Return what a container said."""
        status, body = request(connect(self.own), "GET", f"/containers/{name}/logs?stdout=1&stderr=1")
        return "".join(_frames(body)) if status == 200 else ""

    def load(self, archive: bytes, end: socket.socket | None = None) -> None:
        """Load images, by this process or on somebody's connection."""
        status, body = request(end or connect(self.own, 60), "POST", "/images/load?quiet=1", archive, "application/x-tar")
        if status != 200 or b"errorDetail" in body:
            raise RuntimeError(f"images were not loaded: {status} {body[:500]!r}")


def connect(path: Path, seconds: float = ANSWER_SECONDS) -> socket.socket:
    """Return a connection made by this process."""
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(seconds)
    try:
        end.connect(str(path))
    except OSError:
        end.close()
        raise
    return end


def request(
    end: socket.socket, method: str, target: str, body: bytes = b"", kind: str = "application/json", **headers: str
) -> tuple[int, bytes]:
    """Send one request, close, and return status and body."""
    given = {"Host": "engine", "Connection": "close", **({"Content-Type": kind} if kind else {}), **headers}
    if not any(name.lower() in ("content-length", "transfer-encoding") for name in given):
        given["Content-Length"] = str(len(body))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items()) + "\r\n"
    return answer(end, head.encode("utf-8", "surrogateescape") + body)


def answer(end: socket.socket, sent: bytes) -> tuple[int, bytes]:
    """Send bytes as they are; return the status and the body (or the rest of the stream) of what comes back."""
    data = converse(end, sent)
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1][:3].isdigit() else 0
    if b"transfer-encoding: chunked" in head.lower():
        body = b"".join(_chunks(body))
    return status, body


def converse(end: socket.socket, sent: bytes) -> bytes:
    """Send bytes, and read until the other side has no more to say."""
    data = bytearray()
    with end, contextlib.suppress(TimeoutError, ConnectionError):
        end.sendall(sent)
        while piece := end.recv(65536):
            data += piece
    return bytes(data)


def _chunks(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if not length:
            return
        yield body[:length]
        body = body[length + 2 :]


def _frames(body: bytes) -> Iterator[str]:
    """Take a stream of several apart: the first eight bytes of a frame are its kind and length."""
    while len(body) >= 8 and body[0] in (0, 1, 2) and body[1:4] == b"\0\0\0":
        length = int.from_bytes(body[4:8], "big")
        yield body[8 : 8 + length].decode("utf-8", "replace")
        body = body[8 + length :]
    yield body.decode("utf-8", "replace")
