"""A file that is compressed as a whole in, what is in it out: a confined child decompresses, this process writes and counts."""

from __future__ import annotations

from collections.abc import Callable, Generator

import msgspec

from pratique._kit.apart import Bounds, apart
from pratique._kit.confined import Connection, WorkerFailedError
from pratique._kit.sandbox import Limits
from pratique.image.blob import Deadline, Region, TarStream
from pratique.model.errors import BudgetExceededError, IntegrityError, ParseError

UNPACK_SECONDS = 3600  # a whole archive; 100 GiB take some minutes
MAX_ANSWERS = 256 << 30  # bytes; the spool, which has a limit of its own, is full long before

_PIECE, _FAILURE = b"+", b"!"


def unpacked(descriptor: int, size: int, compression: str) -> Generator[bytes, None, None]:
    """Yield the bytes of a compressed file. Raises ParseError if it is damaged or too large, and where the child met a limit."""
    argument = msgspec.msgpack.encode((size, compression))
    bounds = Bounds(limits=Limits(cpu_seconds=UNPACK_SECONDS), wait_seconds=UNPACK_SECONDS, max_answers=MAX_ANSWERS)
    try:
        with apart(_worker(descriptor, size, compression), __name__, argument, bounds, keep=(descriptor,)) as child:
            child.finish()
            while (message := child.receive()) is not None:
                if message[:1] == _FAILURE:
                    raise ParseError(message[1:].decode(errors="replace"))
                yield message[1:]
    except WorkerFailedError as error:
        raise ParseError(f"it was not unpacked to its end: {error.message}") from error


def confined_worker(argument: bytes) -> Callable[[Connection], None]:
    """Make what a spawned process does of a file that it inherits."""
    from pratique._kit.spawned import FIRST_KEPT  # noqa: PLC0415 - only in such a process

    return _worker(FIRST_KEPT, *msgspec.msgpack.decode(argument, type=tuple[int, str]))


def _worker(descriptor: int, size: int, compression: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        try:
            for piece in TarStream(Region(descriptor, 0, size), compression, Deadline(UNPACK_SECONDS)):
                connection.send(_PIECE + piece)
        except (ParseError, BudgetExceededError, IntegrityError) as error:
            connection.send(_FAILURE + error.message.encode(errors="replace"))
        except OSError as error:
            connection.send(_FAILURE + f"cannot be read: {error.strerror}".encode(errors="replace"))

    return work
