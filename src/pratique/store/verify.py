"""A ledger in, what is wrong with it out: edits, drops, repeats, moved lines, cut ends, splices, exchanged keys.

Lines are hashed, not decoded: a million take seconds, and one block of memory. Only the first and the last line of a segment are
read for what they say.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from binascii import hexlify
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pratique.model.errors import StoreError
from pratique.store.files import segment_name, wait_for_lock
from pratique.store.head import Head, read_slots
from pratique.store.keys import Keys, verifies
from pratique.store.line import MAX_LINE, NO_HASH, Line, Tree, authentic, decode, leaf
from pratique.store.loose import MAX_LEFT, Loose, foreign, remains, sound_lines
from pratique.store.place import Place, open_own
from pratique.store.writer import key_payload, seal_payload

_BLOCK = 1 << 20  # bytes read at once
MAX_PROBLEMS = 100  # said; a ledger that is all wrong needs no more
_sha = hashlib.sha256


class Problem(NamedTuple):
    """What is wrong: in which file, at which line (from 1; 0 is the file as a whole), due to have which number in the ledger."""

    segment: str
    line: int
    seq: int
    text: str


class Expected(NamedTuple):
    """What is known from elsewhere: the first key, heads that were published, the name of the ledger of the grants.

    `noted` are ends that somebody wrote down: the number of lines, and the hash of the last of them.
    """

    key: str = ""
    heads: tuple[Head, ...] = ()
    ledger: str = ""
    noted: tuple[tuple[int, str], ...] = ()


class Outcome(NamedTuple):
    """What was found. `notes` are nobody's fault: a writer died, a key was changed in order.

    `unsure` says that lines after the head could not be told from forged ones, as the secret cannot be read.
    """

    problems: list[Problem]
    notes: list[str]
    lines: int
    segments: int
    head: Head | None
    unsure: bool


def verify(place: Place, expected: Expected = Expected()) -> Outcome:  # noqa: B008 - immutable
    """Check a whole ledger as it stands now, while others may go on writing. Raises StoreError where there is none to check."""
    return _Verifier(place, expected).run()


class _Segment:
    """What is known of the segment that is being read."""

    def __init__(self, number: int) -> None:
        self.name, self.number = segment_name(number), number
        self.line = 0
        self.tree = Tree()
        self.last = b""
        self.opened_at = self.sealed_at = 0
        self.problems = 0


class _Verifier:
    def __init__(self, place: Place, expected: Expected) -> None:
        self._place, self._expected = place, expected
        self._problems: list[Problem] = []
        self._notes: list[str] = []
        self._seq, self._before = 0, NO_HASH.encode()
        self._ledger, self._first_key, self._key = "", expected.key, ""
        self._keys: set[str] = set()
        self._known: dict[int, dict[str, str]] = {}  # by number of lines, hashes that the last is to have, and who says so
        for head in expected.heads:
            self._known.setdefault(head.count, {})[head.hash] = f"published at {head.time}"
        for count, hashed in expected.noted:
            self._known.setdefault(count, {})[hashed] = "noted"
        self._unsure = False
        self._secret: bytes | None = None

    def run(self) -> Outcome:
        head, sizes = self._snapshot()
        self._begin(head)
        said, head = head, self._after_power_cut(head, sizes)
        last: _Segment | None = None
        for number in range(1, max(sizes, default=0) + 1):
            if number not in sizes:
                self._say(_Segment(number), 0, "missing")
            elif head is not None and number > head.segment:
                self._after_end(number, sizes[number], head)
            else:
                last = self._segment(number, sizes[number], head)
        self._end(head, last)
        return Outcome(self._problems, self._notes, self._seq, len(sizes), said, self._unsure)

    def _say(self, where: _Segment | str, line: int, text: str) -> None:
        if isinstance(where, _Segment):
            where.problems += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(where if isinstance(where, str) else where.name, line, self._seq, text))

    def _snapshot(self) -> tuple[Head | None, dict[int, int]]:
        """Return the head and the sizes of all segments at one moment."""
        place, sizes = self._place, dict[int, int]()
        try:
            lock = open_own(place.lock, os.O_RDONLY)
        except FileNotFoundError:
            lock = -1  # a copy, to which nobody writes
        except OSError as error:
            raise StoreError(f"{place.lock}: cannot be read: {error.strerror}") from None
        try:
            if lock >= 0:
                wait_for_lock(lock, fcntl.LOCK_SH, place)
            heads, wrong = read_slots(place)
            for path in sorted(place.ledger.glob("*")):
                number = path.name.removesuffix(".jsonl")
                if number.isdigit() and path.name == segment_name(int(number)) and int(number):
                    sizes[int(number)] = path.stat().st_size
                else:
                    self._say(path.name, 0, "no segment of this ledger has such a name")
        finally:
            if lock >= 0:
                os.close(lock)
        if not heads and not wrong and not sizes and not place.keys.exists():
            raise StoreError(f"{place.folder}: there is no ledger", hint="it begins with the first request")
        for text in wrong:
            self._say("head", 0, text)
        return (heads[0] if heads else None), sizes

    def _begin(self, head: Head | None) -> None:
        """Find out which ledger this is to be, and by whose key it began."""
        keys, anchor = Keys(self._place), None
        try:
            anchor = keys.anchor()
            self._secret = keys.secret
        except StoreError as error:
            self._notes.append(f"{error.message}: marks of lines are not checked")
        if head is None:
            self._say("head", 0, "missing, or none that verifies: an end that was cut off would not be missed")
            return
        self._ledger = anchor.ledger if anchor else head.ledger
        if self._expected.ledger and head.ledger != self._expected.ledger:
            self._say("head", 0, "not of the ledger that this store's grants are in: it was exchanged whole")
        if head.ledger != self._ledger:
            self._say("head", 0, "of another ledger")
        if anchor is None:
            self._notes.append("keys/anchor.json is not here: the first line says by which key the ledger began")
        elif self._first_key and anchor.key != self._first_key:
            self._say("keys", 0, f"the ledger began by {anchor.key}, not by the key given")
        self._first_key = self._first_key or (anchor.key if anchor else "")
        if anchor and keys.newest() is not None and not keys.holds(head.key):
            self._say("keys", 0, "the private key here is not the one that signs this ledger")

    def _after_power_cut(self, head: Head | None, sizes: dict[int, int]) -> Head | None:
        """Return the head as far as its last lines outlived the end of their boot: some were not synced when it came."""
        if head is None or head.segment not in sizes:
            return head
        name = segment_name(head.segment)
        try:
            loose = Loose.of(head)
            if loose is None:
                return head
            if loose.doubted:
                self._notes.append(f"{name}: the disk did not take {loose.lines} lines: no privilege is allowed until it does")
            descriptor = open_own(self._place.ledger / name, os.O_RDONLY)
            try:
                left = remains(descriptor, sizes[head.segment], head, self._secret)
            finally:
                os.close(descriptor)
        except OSError:
            return head  # reading it says so
        except StoreError as error:
            self._say(name, 0, error.message)
            return head
        if left is None or not left.lost:
            return head
        first = head.count - left.lost
        self._notes.append(f"{name}: the machine stopped before lines {first} to {head.count - 1} were synced: they are lost")
        self._unsure = self._unsure or self._secret is None
        if not left.lines:
            return left.before
        size = left.before.size + sum(len(line) + 1 for line in left.lines)
        return msgspec.structs.replace(left.before, count=first, size=size, hash=leaf(left.lines[-1]).hex())

    def _segment(self, number: int, size: int, head: Head | None) -> _Segment:
        """Read one segment, up to the size that it had."""
        segment = _Segment(number)
        at_end = head is not None and head.segment == number
        end = min(size, head.size) if head is not None and at_end else size
        try:
            descriptor = open_own(self._place.ledger / segment.name, os.O_RDONLY)
        except OSError as error:
            self._say(segment, 0, f"cannot be read: {error.strerror}")
            return segment
        try:
            self._blocks(descriptor, end, segment)
            if head is not None and end < size:
                self._left(os.pread(descriptor, min(size - end, MAX_LEFT + 1), end), head, segment.name)
        finally:
            os.close(descriptor)
        if segment.opened_at != 1:
            self._say(segment, 1, "does not begin with the line that opens a segment")
        if segment.sealed_at and segment.sealed_at != segment.line:
            self._say(segment, segment.sealed_at + 1, f"{segment.line - segment.sealed_at} lines after the seal")
        if not segment.sealed_at and (not at_end or (head is not None and head.sealed)):
            self._say(segment, segment.line, "not closed by a seal")
        return segment

    def _blocks(self, descriptor: int, end: int, segment: _Segment) -> None:
        at, rest = 0, b""
        while at < end:
            block = os.pread(descriptor, min(_BLOCK, end - at), at)
            if not block:
                self._say(segment, segment.line, f"ends at byte {at} of {end}")
                break
            at += len(block)
            *lines, rest = (rest + block).split(b"\n")
            self._lines(lines, segment)
            if len(rest) > MAX_LINE:
                self._say(segment, segment.line + 1, "a line is longer than any that is written")
                return
        if rest:
            self._say(segment, segment.line + 1, "ends within a line")

    def _lines(self, lines: Sequence[bytes], segment: _Segment) -> None:
        """Hash lines and hold each against what the one before makes due: the hot loop; what is odd is looked at apart."""
        add, known = segment.tree.add, self._known
        seq, before, previous = self._seq, self._before, segment.last
        for line in lines:
            odd = b'"prev":"%b"' % before not in line or b'"seq":%d,' % seq not in line
            if odd or b'"event":"open"' in line or b'"event":"seal"' in line:
                self._seq, self._before, segment.last = seq, before, previous
                seq = self._odd(line, segment, fits=not odd)
            digest = _sha(b"\0" + line).digest()
            add(digest)
            segment.line += 1
            seq += 1
            before, previous = hexlify(digest), line
            if seq in known:
                self._seq = seq
                self._compare(seq, before.decode(), segment)
        self._seq, self._before, segment.last = seq, before, previous

    def _odd(self, line: bytes, segment: _Segment, *, fits: bool) -> int:
        """Look at a line that does not follow, opens or closes; return the number that it is taken for."""
        at = segment.line + 1
        try:
            read = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._say(segment, at, "damaged: not a line of a ledger")
            return self._seq
        if not fits:
            self._misfit(line, read, segment)
        if read.event == "open":
            self._opens(read, segment)
        elif read.event == "seal":
            self._seals(read, segment)
        return read.seq

    def _misfit(self, line: bytes, read: Line, segment: _Segment) -> None:
        due, at = self._seq, segment.line + 1
        if not self._authentic(line):
            self._say(segment, at, "changed, or of another ledger")
        elif read.seq > due:
            missing = f"line {due} is" if read.seq == due + 1 else f"lines {due} to {read.seq - 1} are"
            self._say(segment, at, f"{missing} missing before line {read.seq}")
        elif read.seq < due:
            what = "repeated" if line == segment.last else "repeated or moved"
            self._say(segment, at, f"{what}: line {read.seq} stands where line {due} was due")
        elif segment.last and not self._authentic(segment.last):
            self._say(segment, at - 1, f"changed: line {due} recalls another line {due - 1}")
        else:
            self._say(segment, at, "does not follow the line before it: one of them was changed, or is of another ledger")

    def _authentic(self, line: bytes) -> bool:
        return self._secret is None or authentic(line, self._secret)

    def _opens(self, read: Line, segment: _Segment) -> None:
        opened, at = read.opened, segment.line + 1
        segment.opened_at = segment.opened_at or at
        if opened is None or at != 1 or opened.segment != segment.number:
            self._say(segment, at, "does not open this segment")
            return
        self._ledger = self._ledger or opened.ledger
        if opened.ledger != self._ledger:
            self._say(segment, at, "of another ledger: spliced in")
        if not self._key:
            if self._first_key and opened.key != self._first_key:
                self._say(segment, at, f"begins by {opened.key}, not by the key that the ledger began with")
        elif opened.key != self._key:
            message = key_payload(opened, read.prev)
            if opened.former == self._key and verifies(self._key, message, opened.endorsed):
                self._notes.append(f"{segment.name}: signed by a new key from here on, which the former endorses: {opened.key}")
            else:
                self._say(segment, at, f"another key, which the former does not endorse: {opened.key}")
        self._key = opened.key
        self._keys.add(opened.key)

    def _seals(self, read: Line, segment: _Segment) -> None:
        seal, at = read.seal, segment.line + 1
        if segment.sealed_at:
            self._say(segment, at, "sealed twice")
        segment.sealed_at = at
        first = self._seq - segment.tree.count
        if seal is None:
            self._say(segment, at, "a seal that says nothing")
        elif seal.key != self._key:
            self._say(segment, at, f"sealed by another key: {seal.key}")
        elif not verifies(seal.key, seal_payload(seal, read.prev), seal.signature):
            self._say(segment, at, "the signature of the seal does not verify")
        elif (seal.ledger, seal.segment) != (self._ledger or seal.ledger, segment.number):
            self._say(segment, at, "the seal of another segment")
        elif not segment.problems and (seal.first, seal.lines, seal.root) != (first, segment.tree.count, segment.tree.root()):
            self._say(segment, at, "the root that was signed is not that of these lines")

    def _compare(self, count: int, hashed: str, segment: _Segment) -> None:
        for due, how in self._known[count].items():
            if due != hashed:
                self._say(segment, segment.line, f"another line {count - 1} was {how}: history was rewritten")

    def _left(self, data: bytes, head: Head, name: str) -> None:
        """Look at what lies after the head: a writer died before it could say so, or somebody else wrote."""
        if self._secret is None:
            self._unsure = True
            self._notes.append(f"{name}: {len(data)} bytes after the head cannot be judged without the store's secret")
            return
        lines, torn = sound_lines(data, head, self._secret)
        if len(data) > MAX_LEFT or foreign(torn):
            self._seq += len(lines)
            self._say(name, 0, "lines that this store did not write come after its end")
            return
        for count, what in ((len(lines), "whole lines"), (len(torn), "bytes of half a line")):
            if count:
                self._notes.append(f"{name}: a writer died: {count} {what} after the head, which the next writer settles")

    def _after_end(self, number: int, size: int, head: Head) -> None:
        """Look at a segment after the head's: a writer may have died when it had just begun it."""
        name = segment_name(number)
        if number != head.segment + 1 or not head.sealed:
            self._say(name, 0, "a segment after the end")
            return
        descriptor = open_own(self._place.ledger / name, os.O_RDONLY)
        try:
            self._left(os.pread(descriptor, min(size, MAX_LEFT + 1), 0), head, name)
        finally:
            os.close(descriptor)

    def _end(self, head: Head | None, last: _Segment | None) -> None:
        """Compare the end with the head, and with what was published."""
        name, line = (last.name, last.line) if last is not None else ("ledger", 0)
        if head is not None:
            if head.count > self._seq or (last is None and head.segment) or (last is not None and head.segment > last.number):
                self._say(name, line, f"cut off: {head.count - self._seq} lines are missing at the end, of {head.count}")
            elif head.count < self._seq:
                self._say(name, line, f"{self._seq - head.count} lines more than the head says")
            elif head.hash.encode() != self._before:
                self._say(name, line, "changed: the last line is not the one that the head names")
            if self._key and head.key != self._key:
                self._say("head", 0, f"signed by another key: {head.key}")
        for count, _ in self._expected.noted:
            if count > self._seq:
                self._say(name, line, f"cut off: an end after {count} lines was noted, {self._seq} are here")
        for published in self._expected.heads:
            if not published.verifies() or published.key not in self._keys or published.ledger != self._ledger:
                self._say("published head", 0, f"that of {published.time} is not by a key of this ledger")
            elif published.count > self._seq:
                self._say(
                    name, line, f"cut off: {published.count} lines were published at {published.time}, {self._seq} are here"
                )
