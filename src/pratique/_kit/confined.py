"""A function in, its messages out of a confined child process: what parses hostile bytes runs there and nowhere else.

    with confined(worker, read_paths=[archive]) as channel:
        channel.send(b"layer 1 is there")
        while (message := channel.receive()) is not None:
            ...

The child is a fork: what was imported is there, and the worker may be a closure. It gets the other end of the channel, may
start threads, and its return ends the conversation. The parent believes nothing that comes back but its form: sizes are
bounded, waiting is bounded, and a child that dies says by what (`WorkerFailedError.reason`). Leaving the block, however it is
left, ends the child; when the parent is killed, the kernel ends it.

A frame is one byte (what it is), four bytes (length, big-endian) and the content.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NoReturn

import msgspec

from pratique._kit.sandbox import Confinement, Limits, confine, die_with_parent
from pratique.model.errors import CouldNotError

MEBIBYTE = 1 << 20

HEADER = struct.Struct(">cI")
MESSAGE, CONFINED, FAILED, ENDED = b"M", b"C", b"F", b"E"

MAX_MESSAGE = 256 * MEBIBYTE
"""Bytes of one message: the record of a layer with a million paths has about 100 MiB."""
MAX_ANSWERS = 512 * MEBIBYTE
"""Bytes of all messages together: the records of five million paths, five times those of the largest image known. What the parent
keeps of them is what its own memory is worth to whoever makes an image of many layers."""
MAX_ERROR_TEXT = 4096
MAX_STDERR = 65536
"""Bytes kept of what the child says on standard error: the last ones, where a crash explains itself."""
PIPE_BYTES = MEBIBYTE
"""Wished size of a pipe: fewer switches between the two processes than with the usual 64 KiB."""
CHUNK = MEBIBYTE
MAX_DESCRIPTORS = 1 << 20
"""Where the system names no limit: the kernel's own default one."""
WAIT_SECONDS = 1800.0
"""How long the parent waits for the child, all waiting added up: the processor limit ends loops, this ends hangs."""
_ENDING_SECONDS = 0.05  # a new interpreter costs that: longer it pays to make one

Reason = Literal["signal", "memory", "cpu", "time", "exit", "error", "protocol"]
_ENCODER = msgspec.msgpack.Encoder()
_CONFINEMENT = msgspec.msgpack.Decoder(Confinement)


class WorkerFailedError(CouldNotError):
    """A confined worker ended before its work did.

    `reason`: "signal" (killed by one, a crash in native code among them), "memory" or "cpu" (its limit), "time" (the parent
    waited too long), "exit" (it left by itself), "error" (its function raised), "protocol" (what it sent is no message).
    `stderr` is the end of what it said.
    """

    hint = "the input may be damaged or hostile; other targets are not affected"

    def __init__(self, message: str, *, reason: Reason, stderr: bytes = b"") -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.stderr = stderr


class Connection:
    """The child's end: messages from and to the parent, in order."""

    def __init__(self, reader: int, writer: int, confinement: Confinement) -> None:
        self._reader = reader
        self._writer = writer
        self.confinement = confinement

    def send(self, message: bytes) -> None:
        """Send one message; waits while the parent is busy. Not for several threads at once."""
        self._write(MESSAGE, message)

    def receive(self) -> bytes | None:
        """Return the parent's next message, or None when it has said all (`Channel.finish`)."""
        head = self._read(HEADER.size)
        if len(head) < HEADER.size:
            return None
        return self._read(HEADER.unpack(head)[1])

    def _write(self, kind: bytes, content: bytes) -> None:
        if len(content) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(content)} bytes is over the limit of {MAX_MESSAGE}")
        for view in (memoryview(HEADER.pack(kind, len(content))), memoryview(content)):
            left = view
            while left:
                left = left[os.write(self._writer, left) :]

    def _read(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = os.read(self._reader, min(CHUNK, length - len(parts)))
            if not part:
                break
            parts += part
        return bytes(parts)


class Channel:
    """The parent's end."""

    def __init__(self, pid: int, reader: int, writer: int, errors: int, wait_seconds: float) -> None:
        self._pid: int | None = pid
        self._reader, self._writer, self._errors = reader, writer, errors
        self._room = self._most = MAX_ANSWERS
        self._left = wait_seconds
        self._limit = wait_seconds
        self._buffer = bytearray()
        self._stderr = bytearray()
        self._closed: set[int] = set()
        self._over = False
        self.confinement: Confinement | None = None
        """What holds for the child; known once `ready`, `receive` or `send` has returned."""
        for handle in (reader, writer, errors):
            os.set_blocking(handle, False)

    def bound(self, most: int) -> None:
        """Hear at most so many bytes in all."""
        self._room = self._most = most

    @property
    def pid(self) -> int | None:
        """Process id of the child while it lives."""
        return self._pid

    @property
    def stderr(self) -> bytes:
        """The last that the child said on standard error (at most MAX_STDERR bytes)."""
        return bytes(self._stderr)

    def ready(self) -> Confinement:
        """Wait until the child is confined; return what holds for it."""
        while self.confinement is None:
            kind, content = self._frame()
            if kind != CONFINED:
                self._fail(f"it said {kind!r} before it was confined", "protocol")
            self.confinement = self._decode(content)
        return self.confinement

    def send(self, message: bytes) -> None:
        """Send one message to the child. A child that does not read while this writes more than a pipe holds is waited for."""
        view = memoryview(HEADER.pack(MESSAGE, len(message)) + message)
        while view:
            try:
                view = view[os.write(self._writer, view) :]
            except BlockingIOError:
                self._wait(write=True)
            except BrokenPipeError:
                self._drain()
                raise self._death() from None

    def finish(self) -> None:
        """Say that no more messages will be sent: the child's `receive` returns None."""
        self._close(self._writer)

    def receive(self) -> bytes | None:
        """Return the child's next message, or None when its function has returned. Raises WorkerFailedError."""
        if self._over:
            return None
        self.ready()
        kind, content = self._frame()
        if kind == MESSAGE:
            return content
        if kind != ENDED:
            self._fail(f"it sent a frame of kind {kind!r}", "protocol")
        self._over = True
        self.end()
        return None

    def end(self) -> None:
        """End the child, if it still lives, and leave nothing of it: no process, no zombie, no descriptor."""
        if self._pid is not None:
            pid, self._pid = self._pid, None
            if not self._over:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        for handle in (self._reader, self._writer, self._errors):
            self._close(handle)

    def _frame(self) -> tuple[bytes, bytes]:
        while len(self._buffer) < HEADER.size:
            self._wait()
        kind, length = HEADER.unpack_from(self._buffer)
        if length > MAX_MESSAGE:
            self._fail(f"it announced a message of {length} bytes (limit {MAX_MESSAGE})", "protocol")
        self._room -= HEADER.size + length
        if self._room < 0:
            self._fail(f"its messages have more than {self._most} bytes in all", "protocol")
        while len(self._buffer) < HEADER.size + length:
            self._wait()
        content = bytes(memoryview(self._buffer)[HEADER.size : HEADER.size + length])
        del self._buffer[: HEADER.size + length]
        if kind == FAILED:
            text = content[:MAX_ERROR_TEXT].decode(errors="replace")
            if text.startswith("MemoryError"):
                self._fail("it reached its memory limit", "memory")
            self._fail(text, "error")
        return kind, content

    def _wait(self, *, write: bool = False) -> None:
        """Wait until the child says something (or, if `write`, listens), and take what it says."""
        poll = select.poll()
        if self._errors not in self._closed:
            poll.register(self._errors, select.POLLIN)
        poll.register(self._reader, select.POLLIN)
        if write:
            poll.register(self._writer, select.POLLOUT)
        started = time.monotonic()
        ready = dict(poll.poll(max(0.0, self._left) * 1000))
        self._left -= time.monotonic() - started
        if not ready:
            self._fail(f"it was waited for longer than {self._limit:.0f} s", "time")
        if self._errors in ready:
            self._hear()
        if self._reader in ready and not self._take():
            self._drain()
            raise self._death()

    def _take(self) -> bool:
        """Move what the child sent into the buffer; False where it will send nothing more."""
        try:
            part = os.read(self._reader, CHUNK)
        except BlockingIOError:
            return True
        self._buffer += part
        return bool(part)

    def _hear(self) -> None:
        try:
            part = os.read(self._errors, CHUNK)
        except BlockingIOError:
            return
        if not part:
            self._close(self._errors)
        self._stderr += part
        del self._stderr[:-MAX_STDERR]

    def _drain(self) -> None:
        """Hear the child's last words, which are in the pipe when it is dead."""
        while self._errors not in self._closed:
            poll = select.poll()
            poll.register(self._errors, select.POLLIN)
            if not poll.poll(0):
                return
            self._hear()

    def _death(self) -> WorkerFailedError:
        """Name what the child died of."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)  # it closed its pipe; if it lives, it has no business to
        pid, self._pid = self._pid, None
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.end()
        if status == -signal.SIGXCPU:
            return self._error("it reached its limit of processor time", "cpu")
        if status < 0:
            return self._error(f"it was ended by {_signal(-status)}", "signal")
        return self._error(f"it left with status {status}", "exit")

    def _decode(self, content: bytes) -> Confinement:
        try:
            return _CONFINEMENT.decode(content)
        except msgspec.DecodeError as error:
            self._fail(f"it sent no confinement: {error}", "protocol")

    def _fail(self, message: str, reason: Reason) -> NoReturn:
        self._drain()
        self.end()
        raise self._error(message, reason)

    def _error(self, message: str, reason: Reason) -> WorkerFailedError:
        return WorkerFailedError(f"the confined process failed: {message}", reason=reason, stderr=self.stderr)

    def _close(self, handle: int) -> None:
        if handle not in self._closed:
            self._closed.add(handle)
            os.close(handle)


def _signal(number: int) -> str:
    """Name a signal; those of real time have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def can_fork() -> bool:
    """Return whether this process has one thread: a fork of several may find locks that nobody will ever release.

    A thread that was joined is listed until the kernel is done with it: it is waited for where Python knows of no other.
    """
    until = time.monotonic() + _ENDING_SECONDS
    try:
        while len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 (pathlib need not be loaded)
            threading = sys.modules.get("threading")
            if (threading is not None and threading.active_count() > 1) or time.monotonic() > until:
                return False
            time.sleep(0.0005)
    except OSError:
        pass  # no Linux
    return True


@contextlib.contextmanager
def confined(
    worker: Callable[[Connection], None],
    *,
    read_paths: Sequence[str],
    limits: Limits | None = None,
    wait_seconds: float = WAIT_SECONDS,
    keep: Sequence[int] = (),
    max_answers: int = MAX_ANSWERS,
) -> Iterator[Channel]:
    """Run `worker` in a confined child while the block runs; see the module. `keep` are descriptors that the child inherits.

    `wait_seconds` bounds the time that the parent spends waiting for the child, not the time in which it does other things;
    `max_answers` bounds the bytes of all that it hears.
    Raises RuntimeError if this process has other threads (see `can_fork`).
    """
    if not can_fork():
        raise RuntimeError("a process with several threads cannot fork a confined child")
    handles: list[int] = []
    try:
        for _ in range(3):
            handles.extend(os.pipe())
        results, commands, errors = (handles[0], handles[1]), (handles[2], handles[3]), (handles[4], handles[5])
        for reader, _ in (results, commands):
            with contextlib.suppress(OSError):
                fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _child(worker, (commands[0], results[1], errors[1]), (read_paths, limits), keep, parent)
        for handle in (results[1], commands[0], errors[1]):
            os.close(handle)
            handles.remove(handle)
    except BaseException:
        for handle in handles:
            os.close(handle)
        raise
    channel = Channel(pid, results[0], commands[1], errors[0], wait_seconds)
    channel.bound(max_answers)
    try:
        yield channel
    finally:
        channel.end()


def _child(
    worker: Callable[[Connection], None],
    pipes: tuple[int, int, int],
    bounds: tuple[Sequence[str], Limits | None],
    keep: Sequence[int],
    parent: int,
) -> NoReturn:
    """Live the child's life. Never returns into the parent's code: no handler, buffer or hook of the parent runs twice."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        die_with_parent(parent)
        gc.freeze()  # collecting would touch, and so copy, every page that is shared with the parent
        reader, writer = _take_descriptors(pipes, keep)
        status = work(worker, reader, writer, bounds)
    finally:
        os._exit(status)


def _take_descriptors(pipes: tuple[int, int, int], keep: Sequence[int]) -> tuple[int, int]:
    reader, writer, errors = pipes
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0, inheritable=False)
    os.dup2(nothing, 1, inheritable=False)
    os.dup2(errors, 2, inheritable=False)
    below = 3
    for handle in sorted({reader, writer, *keep} - {0, 1, 2}):
        os.closerange(below, handle)
        below = handle + 1
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(below, most if most > 0 else MAX_DESCRIPTORS)
    return reader, writer


def work(worker: Callable[[Connection], None], reader: int, writer: int, bounds: tuple[Sequence[str], Limits | None]) -> int:
    """Confine this process, run the worker in it, tell the parent how it went; return the exit status."""
    connection = Connection(reader, writer, Confinement())
    try:
        connection.confinement = confine(*bounds)
        connection._write(CONFINED, _ENCODER.encode(connection.confinement))  # noqa: SLF001 (its own class's other half)
        worker(connection)
        connection._write(ENDED, b"")  # noqa: SLF001
    except BaseException as error:  # noqa: BLE001 (whatever it was, the parent is told)
        text = f"{type(error).__name__}: {error}"[:MAX_ERROR_TEXT]
        connection._write(FAILED, text.encode(errors="replace"))  # noqa: SLF001
        return 1
    return 0
