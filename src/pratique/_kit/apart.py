"""A function in, its messages out of a confined process, however this program may start one: as a fork or a new interpreter."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pratique._kit.confined import MAX_ANSWERS, WAIT_SECONDS, Channel, Connection, can_fork, confined
from pratique._kit.sandbox import Limits, python_paths


class Bounds(NamedTuple):
    """What a confined process may do; `confined` says what each means."""

    read_paths: Sequence[str] = ()
    limits: Limits = Limits()
    wait_seconds: float = WAIT_SECONDS
    max_answers: int = MAX_ANSWERS


@contextlib.contextmanager
def apart(
    worker: Callable[[Connection], None], module: str, argument: bytes, bounds: Bounds, *, keep: Sequence[int] = ()
) -> Iterator[Channel]:
    """Run `worker` in a fork; in a program with several threads, run what `module` makes of `argument` in a new interpreter.

    The module offers `confined_worker`, as `pratique._kit.spawned` says. Both may import what this program may. `keep` are
    descriptors that they inherit: under their own numbers, or as FIRST_KEPT and following.
    Raises WorkerFailedError, and OSError where no process can be made.
    """
    readable, limits, wait_seconds, max_answers = bounds
    with contextlib.ExitStack() as stack:
        if can_fork():
            readable = [*readable, *python_paths()]
            child = confined(worker, read_paths=readable, limits=limits, keep=keep, wait_seconds=wait_seconds)
        else:
            from pratique._kit.spawned import spawned  # noqa: PLC0415 - for programs with threads that use us as a library

            child = spawned(module, argument, read_paths=readable, limits=limits, keep=keep, wait_seconds=wait_seconds)
        channel = stack.enter_context(child)
        channel.bound(max_answers)
        yield channel
