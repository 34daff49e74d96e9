"""Layers in, layer records out: the part of a scan that reads what a stranger wrote. It runs in a confined process of its own.

The parent sends one Job a layer as soon as the layer's bytes lie on this machine, the process answers with one Outcome each. It
walks several layers at once, the largest first; threads suffice, since decompression and digests release the interpreter lock.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from pratique.image.blob import Deadline, Region, compression_of, digest
from pratique.image.tree import KERNEL_FOLDERS, FolderWalk
from pratique.image.walk import LayerWalk
from pratique.inventory.examine import Examiner
from pratique.inventory.interest import InterestIndex
from pratique.model.errors import IntegrityError, PratiqueError
from pratique.model.inventory import Gap
from pratique.model.layer import NOBODY, Inspected, LayerRecord, Located, Selection, shown
from pratique.model.ports import Inspector

MAX_THREADS = 4  # beyond four, the interpreter lock and the disk are the bound
_TELL_EVERY = 0.2  # seconds between two words on progress
MAX_CHAIN = 40  # hard links to hard links: archivers point all of them at the first
_INFLATE_COST = 4  # a compressed byte takes about as long as four plain ones: it grows, and is hashed twice


class Job(msgspec.Struct, array_like=True):
    """One layer to examine: a region of a file (or a folder, size -1), and what it must prove to be."""

    index: int
    path: str
    offset: int
    size: int
    diff_id: str
    digest: str
    inspectors: tuple[int, ...]


class Advance(msgspec.Struct, array_like=True, tag=True):
    """How many stored bytes have been read so far."""

    done: int


class Outcome(msgspec.Struct, array_like=True, tag=True):
    """A record, or the reason why the whole image is not believed (`integrity`) or cannot be read (`failure`)."""

    index: int
    record: LayerRecord | None = None
    integrity: str = ""
    failure: str = ""


class Channel(Protocol):
    """Messages from and to the parent; None at the end."""

    def send(self, data: bytes, /) -> None: ...
    def receive(self) -> bytes | None: ...


def inspectors_for(*, declared: bool, details: bool = False, files: bool = False) -> list[Inspector]:
    """Return all inspectors that apply: installed evidence always, lock files only where `declared` evidence counts.

    `details` adds those that look for what only an SBOM tells, `files` with them those that look at every file.
    """
    import pratique.inventory.catalogers  # noqa: PLC0415 - imported when something is inspected, not at start-up
    import pratique.inventory.detectors  # noqa: PLC0415 - as above
    from pratique._kit.discover import offers  # noqa: PLC0415 - as above

    packages = [pratique.inventory.catalogers, pratique.inventory.detectors]
    if details or files:
        import pratique.inventory.details  # noqa: PLC0415 - only where it is asked for

        packages.append(pratique.inventory.details)
    found: list[Inspector] = []
    for package in packages:
        found += offers(package, "INSPECTOR").values()
    scopes = {"installed", *(["declared"] if declared else []), "details", *(["files"] if files else [])}
    return [inspector for inspector in found if inspector.interest.scope in scopes]


def serve(channel: Channel, inspectors: Sequence[Inspector], seconds: float | None, spools: Sequence[int]) -> None:
    """Examine what the channel brings until it ends. `spools` are unnamed temporary files, one a thread."""
    crew = _Crew(channel, inspectors, seconds)
    threads = [threading.Thread(target=crew.work, args=(spool,)) for spool in spools]
    for thread in threads:
        thread.start()
    decoder = msgspec.msgpack.Decoder(list[Job])
    while (message := channel.receive()) is not None:
        crew.add(decoder.decode(message))
    crew.close()
    for thread in threads:
        thread.join()


class Setup(msgspec.Struct, array_like=True):
    """What a new process must know: whether lock files count, the time limit, how many threads, how many of them have a spool.

    And whether details and files are asked for.
    """

    declared: bool
    seconds: float | None
    threads: int
    spools: int
    details: bool = False
    files: bool = False


def confined_worker(argument: bytes) -> Callable[[Channel], None]:
    """Make what a spawned process does of an encoded Setup."""
    from pratique._kit.spawned import FIRST_KEPT  # noqa: PLC0415 - only in such a process

    setup = msgspec.msgpack.decode(argument, type=Setup)
    inspectors = inspectors_for(declared=setup.declared, details=setup.details, files=setup.files)
    spools = [FIRST_KEPT + place if place < setup.spools else -1 for place in range(setup.threads)]
    return lambda channel: serve(channel, inspectors, setup.seconds, spools)


def thread_count(jobs: int) -> int:
    """Return how many threads are worth having for that many layers."""
    return max(1, min(MAX_THREADS, len(os.sched_getaffinity(0)), 2 * jobs))


Task = Callable[[int], None]


class _Crew:
    """A queue of tasks, the dearest first, and the threads that take from it."""

    def __init__(self, channel: Channel, inspectors: Sequence[Inspector], seconds: float | None) -> None:
        self._channel = channel
        self._inspectors = inspectors
        self.deadline = Deadline(seconds, self._advance)
        self._done = 0
        self._told = time.monotonic()
        self._tasks: list[tuple[int, int, Task]] = []
        self._serial = 0
        self._closed = False
        self._wake = threading.Condition()
        self._sending = threading.Lock()

    def add(self, jobs: Sequence[Job]) -> None:
        """Queue the tasks of these layers."""
        for job in jobs:
            if job.size < 0:
                self.queue(1, lambda _, job=job: self.answer(self._folder(job)))  # type: ignore[misc]
            else:
                _Layer(job, self).start()

    def close(self) -> None:
        """Say that no more will come."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def work(self, spool: int) -> None:
        """Take tasks until there are no more."""
        while True:
            with self._wake:
                while not self._tasks and not self._closed:
                    self._wake.wait()
                if not self._tasks:
                    return
                task = heapq.heappop(self._tasks)[2]
            task(spool)

    def queue(self, cost: int, task: Task) -> None:
        """Put a task in its place."""
        with self._wake:
            self._serial += 1
            heapq.heappush(self._tasks, (-cost, self._serial, task))
            self._wake.notify()

    def _advance(self, count: int) -> None:
        """Count bytes, and tell the parent now and then."""
        with self._sending:
            self._done += count
            now = time.monotonic()
            if now - self._told > _TELL_EVERY:
                self._told = now
                self._channel.send(msgspec.msgpack.encode(Advance(self._done)))

    def answer(self, outcome: Outcome) -> None:
        """Send the outcome of a layer."""
        try:
            data = msgspec.msgpack.encode(outcome)
        except UnicodeEncodeError:  # a name in a package database that no document can carry
            data = msgspec.msgpack.encode(_without_unwritable(outcome))
        with self._sending:
            self._channel.send(data)

    def examiner(self, job: Job) -> tuple[Examiner, InterestIndex]:
        """Make what looks at the files of one layer, for the inspectors that the job names."""
        chosen = [self._inspectors[index] for index in job.inspectors]
        index = InterestIndex([inspector.interest for inspector in chosen])
        return Examiner(chosen), index

    def _folder(self, job: Job) -> Outcome:
        examiner, index = self.examiner(job)
        skip = KERNEL_FOLDERS if job.digest == "rootfs" else frozenset[bytes]()
        walk = FolderWalk(Path(job.path), index.select, self.deadline, skip=skip)
        try:
            for wanted in walk:
                examiner.look(wanted.path, wanted.selection, wanted.file, wanted.size)
        except (OSError, MemoryError) as error:
            return Outcome(job.index, failure=f"cannot read {job.path}: {type(error).__name__}: {error}")
        for path, text in walk.tree.symlinks.items():
            selection = index.select(path, b"") if index.exact(path) else None
            target = _resolve(path, text)
            if selection is not None and index.select(target, b"") != selection:
                walk.tree.elsewhere[path] = target  # not read: what lies there counts if somebody saw it, else it is a gap
        record = LayerRecord(diff_id="", tree=walk.tree, inspected=examiner.inspected(), gaps=walk.gaps)
        return Outcome(job.index, record)


class _Layer:
    """The tasks of one layer. A plain layer's digest and its walk are two, since the walk needs to touch little of it."""

    def __init__(self, job: Job, crew: _Crew) -> None:
        self._job = job
        self._crew = crew
        self._lock = threading.Lock()
        self._open = 1
        self._verified_apart = False
        self._outcome = Outcome(job.index)
        self._walk: LayerWalk | None = None
        self._descriptor = -1

    def start(self) -> None:
        """Open the layer and queue its tasks."""
        job, crew = self._job, self._crew
        try:
            self._descriptor = os.open(job.path, os.O_RDONLY | os.O_CLOEXEC)
            start = os.pread(self._descriptor, min(6, job.size), job.offset)
        except OSError as error:
            crew.answer(Outcome(job.index, failure=f"cannot read {job.path}: {error.strerror}"))
            return
        if compression_of(start) == "plain" and job.diff_id:
            self._open, self._verified_apart = 2, True
            crew.queue(job.size, lambda _: self._run(self._verify))
            crew.queue(job.size // 2, lambda _: self._run(self._look))
        else:
            crew.queue(job.size * _INFLATE_COST, lambda spool: self._run(self._look, spool))

    def _run(self, task: Callable[..., None], *arguments: int) -> None:
        try:
            task(*arguments)
        except IntegrityError as error:
            self._outcome.integrity = error.message
        except PratiqueError as error:
            self._outcome.failure = error.message
        except OSError as error:
            self._outcome.failure = f"cannot read {self._job.path}: {error.strerror}"
        except MemoryError:
            self._outcome.failure = f"layer {self._job.diff_id} needs more memory than is allowed to examine it"
        except Exception as error:  # noqa: BLE001 - a thread that dies in silence would leave the parent without an answer
            self._outcome.failure = f"internal error in layer {self._job.diff_id}: {type(error).__name__}: {error}"
        with self._lock:
            self._open -= 1
            done = self._open == 0
        if done:
            os.close(self._descriptor)
            self._crew.answer(self._outcome)

    def _region(self) -> Region:
        return Region(self._descriptor, self._job.offset, self._job.size)

    def _verify(self) -> None:
        seen = digest(self._region(), self._crew.deadline)
        for stated, kind in ((self._job.diff_id, "diff_id"), (self._job.digest, "digest")):
            if stated and seen != stated:
                raise IntegrityError(f"layer {stated} is not what it says: its {kind} is {seen}")

    def _look(self, spool: int = -1) -> None:
        job = self._job
        examiner, index = self._crew.examiner(job)
        walk = LayerWalk(self._region(), index.select, self._crew.deadline, spool)
        for wanted in walk:
            examiner.look(wanted.path, wanted.selection, wanted.file, wanted.size)
        if not self._verified_apart:
            walk.check(job.diff_id, job.digest)
        self._follow_links(walk, examiner, index, spool)
        self._outcome.record = LayerRecord(
            diff_id=job.diff_id or walk.diff_id, tree=walk.tree, inspected=examiner.inspected(), gaps=walk.gaps
        )

    def _follow_links(self, walk: LayerWalk, examiner: Examiner, index: InterestIndex, spool: int) -> None:
        """See to wanted files that are links to others.

        Where the name of the target has the same readers, what they saw is shared when layers are squashed; only files that are
        wanted under the link's name alone (package managers' stores, moved databases) need a second walk.
        """
        wanted = self._linked(walk, index)
        if not wanted:
            return
        found: set[bytes] = set()
        most = max(link.selection.max_bytes for links in wanted.values() for link in links)
        everything = Selection((0,), most, content=False)
        again = LayerWalk(
            self._region(),
            lambda path, _: everything if path in wanted else None,
            self._crew.deadline,
            spool,
        )
        for item in again:
            gone = item.selection is NOBODY
            if not gone:
                found.add(item.path)
            for link in wanted.get(item.path, ()):
                if again.place > link.place:
                    continue  # written again after the link was made: a hard link keeps what was there before
                if item.file is not None:
                    item.file.path = shown(link.path)
                examiner.look(link.path, NOBODY if gone else link.selection, item.file, item.size)
        for target in wanted.keys() - found:
            for link in wanted[target]:
                walk.tree.elsewhere[link.path] = target

    @staticmethod
    def _linked(walk: LayerWalk, index: InterestIndex) -> dict[bytes, list[_Link]]:
        """Return the links to read, by the files that they lead to; those that share what was seen go into the tree."""
        tree = walk.tree
        wanted: dict[bytes, list[_Link]] = {}
        for path in tree.hardlinks:
            selection = index.select(path, b"")
            if selection is None or selection is index.rest:  # those who want every file have seen the content
                continue
            target, place = path, walk.place
            for _ in range(MAX_CHAIN):
                if target not in tree.hardlinks:
                    break
                target, place = tree.hardlinks[target], min(place, walk.link_places[target])
            if index.select(target, b"") != selection or target in walk.rewritten:
                wanted.setdefault(target, []).append(_Link(path, selection, place))
            else:
                tree.elsewhere[path] = target
        for path, text in tree.symlinks.items():
            selection = index.select(path, b"") if index.exact(path) else None
            target = _resolve(path, text)
            if selection is not None and index.select(target, b"") != selection:
                wanted.setdefault(target, []).append(_Link(path, selection, walk.place))
        return wanted


class _Link(NamedTuple):
    """A wanted link; `place` is when it was made, as `LayerWalk.place` counts."""

    path: bytes
    selection: Selection
    place: int


def _resolve(path: bytes, target: bytes) -> bytes:
    """Return where a symbolic link leads, by its text alone."""
    joined = target if target.startswith(b"/") else path.rpartition(b"/")[0] + b"/" + target
    parts: list[bytes] = []
    for part in joined.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _without_unwritable(outcome: Outcome) -> Outcome:
    """Replace what cannot be written as UTF-8 by gaps."""
    record = outcome.record
    if record is None:
        return Outcome(outcome.index, failure="a layer whose description is not UTF-8")
    for name, inspected in record.inspected.items():
        kept = [located for located in inspected.located if _writable(located)]
        gaps = [gap for gap in inspected.gaps if _writable(gap)]
        lost = [located.path for located in inspected.located if not _writable(located)]
        gaps += [Gap(code="inventory.unreadable", message=f"{name}: names that are not text", path=path) for path in lost]
        record.inspected[name] = Inspected(inspected.version, tuple(kept), tuple(gaps))
    return outcome


def _writable(item: Located | Gap) -> bool:
    try:
        msgspec.msgpack.encode(item)
    except UnicodeEncodeError:
        return False
    return True
