"""Lines that are written and not yet synced in, what the head says of them and what a power cut may take of them out.

A line that gives nobody anything (a denial) is answered when the kernel has it, and is on disk a moment later. The kernel keeps
it when the process dies, not when the machine does. So the head says which lines at its end are still loose, and in which boot
they were written: after another boot at most those may be missing, and in the same boot none.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from pratique.model.errors import LedgerError
from pratique.store.head import LOOK, Head
from pratique.store.line import MAX_LINE, authentic, leaf
from pratique.store.place import open_own

MAX_LOOSE = 64  # lines; who would write more waits for a sync, so that a power cut takes no more than these and one batch
MAX_LOST = MAX_LOOSE + 512  # and the batch of a crowd (`ledger.MAX_BATCH`)
MAX_LEFT = 64 << 20  # bytes after the head that are read: a batch of the longest lines has half
_BOOT, _HASH = 12, 24  # hexadecimal digits, as a slot of the head has 512 bytes: boots of one machine, 96 bits of SHA-256


class Loose(NamedTuple):
    """The last `lines` lines of `size` bytes may not be on disk; `hash` begins that of the line before them.

    `doubted`: a sync of them failed, and no line is taken until one succeeds.
    """

    lines: int
    size: int
    boot: str
    hash: str
    doubted: bool = False

    @staticmethod
    def of(head: Head) -> Loose | None:
        """Return what a head says; None where all that it counts is on disk. Raises LedgerError."""
        if head.loose is msgspec.UNSET:
            return None
        found = _read(head.loose)
        if found is None or not 0 < found.lines <= min(MAX_LOST, head.count) or not 0 < found.size < head.size:
            raise LedgerError("the head says something of its last lines that cannot be read", hint=LOOK)
        return found

    def text(self) -> str:
        """Write it as the head has it."""
        return f"{self.lines} {self.size} {self.boot} {self.hash[:_HASH]}{'!' if self.doubted else ''}"


@functools.lru_cache(maxsize=64)  # it is asked for several times a line
def _read(text: str) -> Loose | None:
    words = text.split(" ")
    if len(words) != 4 or not words[0].isdecimal() or not words[1].isdecimal():
        return None
    hashed = words[3].removesuffix("!")
    return Loose(int(words[0]), int(words[1]), words[2], hashed, words[3] != hashed) if len(hashed) == _HASH else None


class End(NamedTuple):
    """A place in the ledger: `lines` in all before it, `size` bytes of `segment`, the hash of the last line. Later is greater."""

    segment: int
    size: int
    lines: int
    hash: str


def end_of(head: Head) -> End:
    """Return where a ledger ends."""
    return End(head.segment, head.size, head.count, head.hash)


def synced_end(head: Head) -> End:
    """Return up to where a ledger is on disk for sure; of the hash there may be the beginning only. Raises LedgerError."""
    loose = Loose.of(head)
    if loose is None:
        return end_of(head)
    return End(head.segment, head.size - loose.size, head.count - loose.lines, loose.hash)


def between(synced: End, end: End, *, doubted: bool = False) -> str | msgspec.UnsetType:
    """Write what is loose between two ends of one segment, as the head has it; UNSET where nothing is."""
    if synced.size >= end.size:
        return msgspec.UNSET
    loose = Loose(end.lines - synced.lines, end.size - synced.size, boot(), synced.hash, doubted)
    return loose.text()


@functools.cache
def boot() -> str:
    """Return what tells this boot of the machine from others; "" where nobody knows, and then no line is loose."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")[:_BOOT]
    except OSError:
        return ""


class Remains(NamedTuple):
    """What another boot left: the head as it was before the loose lines, those lines that are there, and bytes that are none.

    `lost` lines are missing, of those that the head counts.
    """

    before: Head
    lines: list[bytes]
    torn: bytes
    lost: int


def remains(descriptor: int, size: int, head: Head, secret: bytes | None) -> Remains | None:
    """Look at what a power cut left; None where there was none. Raises LedgerError where it is not what a power cut leaves."""
    loose = Loose.of(head)
    if loose is None or loose.boot == boot():
        return None
    end = synced_end(head)
    if size - head.size > MAX_LEFT:
        raise LedgerError(f"{size - head.size} bytes after its end", hint=LOOK)
    if size < end.size:
        raise LedgerError("shorter than what was synced", hint=LOOK)
    last = _last_line(descriptor, end.size)
    if not leaf(last).hex().startswith(loose.hash):
        raise LedgerError("the last line that was synced was changed", hint=LOOK)
    before = msgspec.structs.replace(head, count=end.lines, size=end.size, hash=leaf(last).hex(), loose=msgspec.UNSET)
    lines, torn = sound_lines(os.pread(descriptor, size - end.size, end.size), before, secret)
    if len(lines) >= loose.lines and leaf(lines[loose.lines - 1]).hex() != head.hash:
        raise LedgerError("does not end as its head says", hint=LOOK)
    if foreign(torn):
        raise LedgerError("lines that this store did not write are at its end", hint=LOOK)
    return Remains(before, lines, torn, max(0, loose.lines - len(lines)))


def foreign(torn: bytes) -> bool:
    """Say whether what is left over is somebody's doing: whole lines, and no zeros, which are what a power cut leaves."""
    return b"\n" in torn and b"\0" not in torn


def _last_line(descriptor: int, size: int) -> bytes:
    """Return the line that ends at `size`, without its line break."""
    start = max(0, size - MAX_LINE - 2)
    data = os.pread(descriptor, size - start, start)
    return data[:-1].rpartition(b"\n")[2] if data.endswith(b"\n") else b""


def sound_lines(data: bytes, head: Head, secret: bytes | None) -> tuple[list[bytes], bytes]:
    """Return the lines after a head that this store wrote and that follow it, and what is left over.

    Without the secret nobody can tell who wrote them.
    """
    lines: list[bytes] = []
    seq, before, at = head.count, head.hash, 0
    while (end := data.find(b"\n", at)) >= 0:
        line = data[at:end]
        fits = b'"seq":%d,' % seq in line and b'"prev":"%b"' % before.encode() in line
        if not fits or (secret is not None and not authentic(line, secret)):
            break
        lines.append(line)
        seq, before, at = seq + 1, leaf(line).hex(), end + 1
    return lines, data[at:]


def write_again(path: Path, synced: End, end: End) -> None:
    """Have loose lines on disk after a sync that failed, which leaves pages that no later sync writes: the same bytes anew.

    Raises LedgerError where they are not there any more, OSError where the disk does not take them.
    """
    descriptor = open_own(path, os.O_RDWR)  # the one that is open appends, wherever it is told to write
    try:
        data = os.pread(descriptor, end.size - synced.size, synced.size)
        whole = len(data) == end.size - synced.size
        if (data and leaf(data[:-1].rpartition(b"\n")[2]).hex() != end.hash) or not whole:
            raise LedgerError("lines that were not synced are not there any more", hint=LOOK)
        at, left = synced.size, memoryview(data)
        while left:
            done = os.pwrite(descriptor, left, at)
            left, at = left[done:], at + done
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
