"""A module's function in, its messages out of a confined process, from a program that has several threads and so must not fork.

It costs a new interpreter (some 60 ms) where a fork costs two; all else is as in `confined`. The module offers
`confined_worker(argument: bytes) -> Callable[[Connection], None]`.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence

import msgspec

from pratique._kit.confined import WAIT_SECONDS, Channel, Connection, work
from pratique._kit.sandbox import Confinement, Limits, die_with_parent, python_paths

READER, WRITER, FIRST_KEPT = 3, 4, 5
_ABOVE = 64  # descriptors are first moved above the numbers that the child will have, so that none is overwritten
_PROGRAM = "from pratique._kit.spawned import main; main()"


class _Setup(msgspec.Struct):
    module: str
    argument: bytes
    read_paths: list[str]
    limits: Limits


@contextlib.contextmanager
def spawned(
    module: str,
    argument: bytes,
    *,
    read_paths: Sequence[str],
    limits: Limits | None = None,
    keep: Sequence[int] = (),
    wait_seconds: float = WAIT_SECONDS,
) -> Iterator[Channel]:
    """Run a module's worker in a new, confined interpreter while the block runs.

    `keep` are descriptors that it inherits as FIRST_KEPT and following; `wait_seconds` is as in `confined`.
    Raises OSError where no process can be made.
    """
    setup = _Setup(module, argument, [*read_paths, *python_paths()], limits or Limits())
    with contextlib.ExitStack() as stack:
        results, commands, errors = os.pipe(), os.pipe(), os.pipe()
        theirs = [commands[0], results[1], errors[1]]
        channel = None
        try:
            raised = [fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for handle in (*theirs, *keep)]
            for handle in raised:
                stack.callback(os.close, handle)
            pid = _start(raised[0], raised[1], raised[2], raised[3:])
            channel = Channel(pid, results[0], commands[1], errors[0], wait_seconds)
        finally:
            for handle in theirs:
                os.close(handle)
            if channel is None:
                for handle in (results[0], commands[1], errors[0]):
                    os.close(handle)
    try:
        channel.send(msgspec.msgpack.encode(setup))
        yield channel
    finally:
        channel.end()


def _start(reader: int, writer: int, errors: int, kept: Sequence[int]) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, errors, 2),
        (os.POSIX_SPAWN_DUP2, reader, READER),
        (os.POSIX_SPAWN_DUP2, writer, WRITER),
        *((os.POSIX_SPAWN_DUP2, handle, FIRST_KEPT + place) for place, handle in enumerate(kept)),
    ]
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    program = [sys.executable, "-S", "-c", _PROGRAM, str(os.getpid())]
    return os.posix_spawn(sys.executable, program, environment, file_actions=actions, setsigdef=[signal.SIGPIPE, signal.SIGTERM])


def main() -> None:
    """Live the life of the spawned process; it never returns."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends us
        die_with_parent(int(sys.argv[1]))
        message = Connection(READER, WRITER, Confinement()).receive()
        if message is not None:
            setup = msgspec.msgpack.decode(message, type=_Setup)
            worker = importlib.import_module(setup.module).confined_worker(setup.argument)
            status = work(worker, READER, WRITER, (setup.read_paths, setup.limits))
    finally:
        os._exit(status)
