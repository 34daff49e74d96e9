"""Attempts, each in a confined child of a fresh interpreter: `python sandbox_probe.py NAME` prints what became of it as JSON.

A fresh interpreter because a test runner has threads, and a process with threads is not confined.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pratique._kit.confined import Connection, WorkerFailedError, confined
from pratique._kit.sandbox import Limits, python_paths

Attempt = Callable[[dict[str, Any]], object]
ATTEMPTS: dict[str, Attempt] = {}
libc = ctypes.CDLL(None, use_errno=True)


def attempt(function: Attempt) -> Attempt:
    ATTEMPTS[function.__name__] = function
    return function


def raw(number: int, *arguments: object) -> int:
    """Make a system call past Python's own checks; raises OSError."""
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@attempt
def open_for_writing(given: dict[str, Any]) -> object:
    return os.open(given["inside"], os.O_WRONLY)


@attempt
def make_a_file(given: dict[str, Any]) -> object:
    return os.open(given["folder"] + "/new", os.O_RDWR | os.O_CREAT, 0o600)


@attempt
def make_a_file_elsewhere(given: dict[str, Any]) -> object:
    return tempfile.mkstemp(dir=Path(given["folder"]).parent)


@attempt
def remove_a_file(given: dict[str, Any]) -> object:
    Path(given["inside"]).unlink()
    return "removed"


@attempt
def change_a_mode(given: dict[str, Any]) -> object:
    Path(given["inside"]).chmod(0o777)
    return "changed"


@attempt
def read_outside(given: dict[str, Any]) -> object:
    return Path(given["outside"]).read_bytes()


@attempt
def list_outside(given: dict[str, Any]) -> object:
    return names(Path(given["outside"]).parent)


@attempt
def leave_by_a_link(given: dict[str, Any]) -> object:
    return Path(given["folder"], "link").read_bytes()


@attempt
def connect(given: dict[str, Any]) -> object:
    with socket.create_connection(("127.0.0.1", given["port"]), timeout=2) as connection:
        return connection.getpeername()


@attempt
def unix_socket(given: dict[str, Any]) -> object:
    return socket.socket(socket.AF_UNIX).fileno()


@attempt
def run_a_program(given: dict[str, Any]) -> object:
    return os.execv("/bin/true", ["true"])


@attempt
def fork(given: dict[str, Any]) -> object:
    return os.fork()


@attempt
def spawn(given: dict[str, Any]) -> object:
    return os.posix_spawn("/bin/true", ["true"], {})


@attempt
def kill_the_parent(given: dict[str, Any]) -> object:
    os.kill(os.getppid(), signal.SIGTERM)
    return "killed"


@attempt
def thread_kill_the_parent(given: dict[str, Any]) -> object:
    parent = os.getppid()
    return raw({"x86_64": 234, "aarch64": 131}[os.uname().machine], parent, parent, int(signal.SIGTERM))


@attempt
def trace_the_parent(given: dict[str, Any]) -> object:
    return raw({"x86_64": 101, "aarch64": 117}[os.uname().machine], 16, os.getppid(), None, None)


@attempt
def limit_the_parent(given: dict[str, Any]) -> object:
    buffer = ctypes.create_string_buffer(16)
    return raw({"x86_64": 302, "aarch64": 261}[os.uname().machine], os.getppid(), 7, None, buffer)


@attempt
def read_the_parents_memory(given: dict[str, Any]) -> object:
    return Path(f"/proc/{os.getppid()}/mem").open("rb")


@attempt
def io_uring(given: dict[str, Any]) -> object:
    return raw(425, 4, ctypes.create_string_buffer(120))


@attempt
def mount(given: dict[str, Any]) -> object:
    return raw({"x86_64": 165, "aarch64": 40}[os.uname().machine], b"none", b"/mnt", b"tmpfs", 0, None)


@attempt
def namespaces(given: dict[str, Any]) -> object:
    return raw({"x86_64": 272, "aarch64": 97}[os.uname().machine], 0x10000000)


@attempt
def clone3(given: dict[str, Any]) -> object:
    return raw(435, ctypes.create_string_buffer(88), 88)


@attempt
def a_call_of_the_future(given: dict[str, Any]) -> object:
    return raw(2000)


@attempt
def type_into_the_terminal(given: dict[str, Any]) -> object:
    return raw({"x86_64": 16, "aarch64": 29}[os.uname().machine], 0, 0x5412, b"x")


@attempt
def use_inherited_descriptors(given: dict[str, Any]) -> object:
    return os.write(given["descriptor"], b"x")


@attempt
def allowed(given: dict[str, Any]) -> object:
    """Do what parsing needs: threads, the given files, hashing, decompression, an in-memory database, a late import."""
    results: list[str] = []
    content = Path(given["inside"]).read_bytes()

    def work() -> None:
        results.append(hashlib.sha256(zlib.decompress(zlib.compress(content))).hexdigest())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        (answer,) = database.execute("SELECT 6 * 7").fetchone()
    import wave

    handle = os.open(given["inside"], os.O_RDONLY)
    piece = os.pread(handle, 4, 0)
    return [len(set(results)), len(results), answer, piece.decode(), names(Path(given["folder"])), wave.__name__]


def run_attempt(name: str, given: dict[str, Any]) -> dict[str, Any]:
    def worker(connection: Connection) -> None:
        try:
            answer = {"done": ATTEMPTS[name](given)}
        except OSError as error:
            answer = {"refused": type(error).__name__, "errno": error.errno}
        connection.send(json.dumps(answer, default=str).encode())

    with confined(worker, read_paths=[given["folder"], *python_paths()]) as channel:
        message = channel.receive()
        rest = channel.receive()
        assert message is not None
        assert rest is None
        assert channel.confinement is not None
        return {"answer": json.loads(message), "missing": channel.confinement.missing, "landlock": channel.confinement.landlock}


def _loop(connection: Connection) -> None:
    while True:
        pass


def _crash(connection: Connection) -> None:
    os.write(2, b"about to crash\n")
    ctypes.string_at(1)


def _hoard(connection: Connection) -> None:
    connection.send(b"starting")
    kept = [bytes(50 << 20) for _ in range(100)]
    connection.send(str(len(kept)).encode())


def _raise(connection: Connection) -> None:
    connection.send(b"so far so good")
    raise ValueError("this input is not right")


def _leave(connection: Connection) -> None:
    os._exit(7)


def _hang(connection: Connection) -> None:
    time.sleep(60)


def _lie(connection: Connection) -> None:
    os.write(connection._writer, b"M\xff\xff\xff\xff")
    time.sleep(60)


def _flood(connection: Connection) -> None:
    while True:
        connection.send(b"more")


def _babble(connection: Connection) -> None:
    for _ in range(40):
        os.write(2, b"n" * 65536)
    os.write(2, b"the end")


def _print(connection: Connection) -> None:
    sys.stdout.write("from the child\n")


FAILURES: dict[str, tuple[Callable[[Connection], None], Limits, float]] = {
    "cpu": (_loop, Limits(cpu_seconds=1), 60),
    "signal": (_crash, Limits(), 60),
    "memory": (_hoard, Limits(memory=200 << 20), 60),
    "error": (_raise, Limits(), 60),
    "exit": (_leave, Limits(), 60),
    "time": (_hang, Limits(), 0.3),
    "protocol": (_lie, Limits(), 60),
    "flood": (_flood, Limits(), 60),
    "none": (_babble, Limits(), 60),
}


def run_failure(name: str) -> dict[str, Any]:
    worker, limits, wait = FAILURES[name]
    said = []
    answer: dict[str, Any] = {"reason": "none"}
    with confined(worker, read_paths=python_paths(), limits=limits, wait_seconds=wait, max_answers=4096) as channel:
        try:
            while (message := channel.receive()) is not None:
                said.append(message.decode())
        except WorkerFailedError as error:
            answer = {"reason": error.reason, "message": error.message, "exit_code": error.exit_code}
        answer["stderr"] = channel.stderr[-200:].decode()
        answer["kept"] = len(channel.stderr)
    return {**answer, "said": said, "zombies": _zombies()}


def _zombies() -> int:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0
    return 1


def talk() -> dict[str, Any]:
    """Send in both directions, large and small, and count descriptors before and after."""

    def worker(connection: Connection) -> None:
        while (message := connection.receive()) is not None:
            connection.send(hashlib.sha256(message).digest() + message[:10])

    before = len(names(Path("/proc/self/fd")))
    right = 0
    with confined(worker, read_paths=[]) as channel:
        for size in (0, 1, 65535, 65536, 5_000_000):
            message = bytes(size)
            channel.send(message)
            right += channel.receive() == hashlib.sha256(message).digest() + message[:10]
        channel.finish()
        last = channel.receive()
        again = channel.receive()
    return {
        "right": right,
        "last": last,
        "again": again,
        "leaked": len(names(Path("/proc/self/fd"))) - before,
        "zombies": _zombies(),
    }


def leave_early() -> dict[str, Any]:
    """Leave the block while the child works, by an interrupt: the child must be gone."""
    pid = None
    try:
        with confined(_loop, read_paths=[]) as channel:
            pid = channel.pid
            channel.ready()
            signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        pass
    assert pid is not None
    return {"alive": Path(f"/proc/{pid}").exists(), "zombies": _zombies()}


def orphan() -> dict[str, Any]:
    """Print the child's id and be killed: the caller looks whether the child outlives us."""
    with confined(_loop, read_paths=[]) as channel:
        channel.ready()
        sys.stdout.write(json.dumps({"pid": channel.pid}) + "\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hooks() -> dict[str, Any]:
    """Leave text in a buffer and a handler for the exit: neither may run twice."""
    import atexit

    atexit.register(sys.stdout.write, "handler\n")
    sys.stdout.write("buffered\n")
    with confined(_print, read_paths=[]) as channel:
        return {"answer": channel.receive()}


def threads_refused() -> dict[str, Any]:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with confined(_leave, read_paths=[]):
            return {"refused": ""}
    except RuntimeError as error:
        return {"refused": str(error)}
    finally:
        stop.set()
        thread.join()


def absent_path() -> dict[str, Any]:
    with confined(_leave, read_paths=["/no/such/path"]) as channel:
        try:
            channel.receive()
        except WorkerFailedError as error:
            return {"reason": error.reason, "message": error.message}
    return {}


SCENES = {scene.__name__: scene for scene in (talk, leave_early, orphan, hooks, threads_refused, absent_path)}


def main() -> None:
    name, *rest = sys.argv[1:]
    if name in ATTEMPTS:
        result = run_attempt(name, json.loads(rest[0]))
    elif name in FAILURES:
        result = run_failure(name)
    else:
        result = SCENES[name]()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
