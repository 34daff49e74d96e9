"""The end of a ledger in, new lines at it out: one turn at writing, under the lock; what a dead writer left is settled first."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from pratique.model.errors import LedgerError
from pratique.store.files import Files, segment_name
from pratique.store.head import LOOK, Head
from pratique.store.keys import Anchor, Keys
from pratique.store.line import NO_HASH, Entry, Opened, Seal, canonical, decode, leaf, make, stamp
from pratique.store.loose import (
    MAX_LEFT,
    MAX_LOST,
    End,
    Loose,
    Remains,
    between,
    boot,
    end_of,
    foreign,
    remains,
    sound_lines,
    synced_end,
    write_again,
)
from pratique.store.place import Place, make_folder, open_own, sync_folder

UNSYNCED = "see to the disk: until it takes them no privilege is allowed"
_SKEW = 1.0  # seconds that the clock may go back without a word: as much as a time server corrects in one step


class Receipt(NamedTuple):
    """Where an entry stands."""

    seq: int
    hash: str


class Writer:
    """One turn at the ledger, under its lock."""

    def __init__(self, place: Place, files: Files, keys: Keys, clock: Callable[[], float], limit: int) -> None:
        self._place, self._files, self._keys = place, files, keys
        self._clock, self._limit = clock, limit
        self.head: Head

    def find_end(self) -> None:
        """Go to the end, and settle what a writer that died left there. Raises LedgerError where it is not as the head says."""
        head = self._files.head.read()
        if head is None:
            self._begin()
            head = self.head
        self.head = head
        if self._files.number == 0:
            self._keys.anchored(Anchor(head.ledger, head.key), new=head.count == 0)
        self._keys.signer(head.key)
        if head.segment:
            self._open(head.segment, create=False)
        notes = self._settle() if head.segment else []
        if not head.segment:
            self._files.doubted = False  # there is no line yet that anybody was answered by
        elif note := self._reassure():
            notes.append(note)
        if self.head.sealed and (self._place.ledger / segment_name(self.head.segment + 1)).exists():
            self._next_segment()  # opened by a writer that died before it could say so
            notes += self._settle()
        if notes or not self.head.size:
            if self.head.sealed:
                self._next_segment()
            if not self.head.size:
                self._open_line()
            self._put(notes)

    def _begin(self) -> None:
        """Make a ledger: the head before the first line, and the anchor after the head, so that neither is ever missing later."""
        if self._keys.anchor() is not None or (self._place.ledger.exists() and any(self._place.ledger.iterdir())):
            raise LedgerError(f"{self._place.head}: missing, so that the ledger's end cannot be trusted", hint=LOOK)
        signer = self._keys.begin()
        make_folder(self._place.ledger)
        ledger = secrets.token_hex(16)
        self.head = Head(
            ledger=ledger, count=0, hash=NO_HASH, segment=0, size=0, sealed=True, key=signer.key, time=stamp(self._clock())
        ).signed(signer)
        self.sync_head()
        sync_folder(self._place.folder)

    def _open(self, number: int, *, create: bool) -> None:
        files = self._files
        path = self._place.ledger / segment_name(number)
        if files.number == number and files.segment >= 0:
            try:  # the file may have been replaced
                if os.path.samestat(os.fstat(files.segment), path.stat()):
                    return
            except FileNotFoundError:
                raise LedgerError(f"{path}: missing", hint=LOOK) from None
        try:
            files.use(open_own(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)), number)
        except FileNotFoundError:
            raise LedgerError(f"{path}: missing", hint=LOOK) from None

    def _settle(self) -> list[Entry]:
        """Compare the file's length with the head's; take in, or put aside, what is beyond; return what is to be said of it."""
        size = os.fstat(self._files.segment).st_size
        beyond = size - self.head.size
        path = self._place.ledger / segment_name(self.head.segment)
        if beyond > MAX_LEFT:
            raise LedgerError(f"{path}: {beyond} bytes after its end", hint=LOOK)
        try:
            left = remains(self._files.segment, size, self.head, self._keys.secret)
        except LedgerError as error:
            raise LedgerError(f"{path}: {error.message}", hint=error.hint) from None
        if left is not None:
            return self._take_over(left)
        if beyond == 0:
            return []
        if beyond < 0:
            raise LedgerError(f"{path}: shorter than its head says", hint=LOOK)
        data = os.pread(self._files.segment, beyond, self.head.size)
        lines, torn = sound_lines(data, self.head, self._keys.secret)
        if foreign(torn):
            raise LedgerError(f"{path}: lines that this store did not write are at its end", hint=LOOK)
        notes = []
        if lines:
            notes.append(Entry(event="recovered", detail={"first": str(self.head.count), "lines": str(len(lines))}))
            os.fdatasync(self._files.segment)
            self._stand_after(lines)
        if torn:
            notes.append(self._put_aside(torn))
        return notes

    def _take_over(self, left: Remains) -> list[Entry]:
        """Go on after another boot: with what was not synced and is there all the same, and a line for what is lost."""
        counted = self.head.count
        self.head = left.before
        os.fdatasync(self._files.segment)
        if left.lines:
            self._stand_after(left.lines)
        else:
            self._say_end()
        notes = []
        if left.lost:
            notes.append(Entry(event="power-cut", detail={"first": str(self.head.count), "lines": str(left.lost)}))
        if self.head.count > counted:
            more = {"first": str(counted), "lines": str(self.head.count - counted)}
            notes.append(Entry(event="recovered", detail=more))
        if left.torn:
            notes.append(self._put_aside(left.torn))
        return notes

    def _reassure(self) -> Entry | None:
        """Where a sync failed, write anew what is not on disk; return what is to be said of it. Raises LedgerError."""
        loose, files = Loose.of(self.head), self._files
        if not files.doubted and (loose is None or not loose.doubted):
            return None
        synced, end = synced_end(self.head), end_of(self.head)
        if files.doubted and files.synced.segment == end.segment:  # another process's sync may not have been of these
            synced = min(synced, files.synced)
        path = self._place.ledger / segment_name(end.segment)
        try:
            write_again(path, synced, end)
        except OSError as error:
            self.doubt()
            raise LedgerError(f"{path}: lines cannot be synced: {error.strerror or error}", hint=UNSYNCED) from None
        files.doubted = False
        with files.swap:
            files.synced = files.written = end
        self._say_end()
        if loose is None or not loose.doubted:  # another process has seen to it, and said so
            return None
        return Entry(event="synced-late", detail={"first": str(synced.lines), "lines": str(end.lines - synced.lines)})

    def doubt(self) -> None:
        """Say in the head that a sync of its loose lines failed, so that no process goes on as if it had not."""
        self._files.doubted = True
        with contextlib.suppress(OSError, LedgerError):
            self._say_end(doubted=True)

    def _put_aside(self, torn: bytes) -> Entry:
        digest = hashlib.sha256(torn).hexdigest()
        name = f"{self.head.count}-{digest[:16]}"
        make_folder(self._place.torn)
        with os.fdopen(open_own(self._place.torn / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(torn)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._place.torn)
        os.ftruncate(self._files.segment, self.head.size)
        return Entry(event="torn", detail={"bytes": str(len(torn)), "sha256": digest, "file": f"torn/{name}"})

    def write(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Append entries, in a new segment where the old one is full or of another day. They are not synced, unlike others.

        Where nobody knows one boot of the machine from another, they are.
        """
        if not self.head.sealed and self._is_full():
            self.seal()
        if self.head.sealed:
            self.open_segment()
        if stamp(self._clock() + _SKEW) < self.head.time:
            self._put([Entry(event="clock", detail={"was": self.head.time})])
        crowded = self.loose() + len(entries) > MAX_LOST
        return self._put(entries, sync=crowded or not boot())

    def loose(self) -> int:
        """Return how many lines are written and not yet synced, by whomever."""
        return self.head.count - self._synced().lines

    def settle_head(self) -> None:
        """Have the head say what is on disk by now."""
        if self.head.loose is not msgspec.UNSET and self._synced().size > synced_end(self.head).size:
            self._say_end()

    def sync(self) -> None:
        """Have all that there is on disk, the head included. Raises LedgerError."""
        if self.loose():
            self._sync()
            self._say_end()
        self.sync_head()

    def _synced(self) -> End:
        """Return up to where the segment is on disk: what the head says, or what this process knows since."""
        said, known = synced_end(self.head), self._files.synced
        return known if known.segment == self.head.segment and said.size < known.size <= self.head.size else said

    def _is_full(self) -> bool:
        return self.head.size >= self._limit or (self.head.time[:10] != stamp(self._clock())[:10])

    def seal(self) -> None:
        """Close the open segment with the signed root over its lines."""
        self._catch_up()
        head, tree = self.head, self._files.tree
        signer = self._keys.signer(head.key)
        bare = Seal(
            ledger=head.ledger,
            segment=head.segment,
            first=head.count - tree.count,
            lines=tree.count,
            root=tree.root(),
            key=signer.key,
        )
        seal = msgspec.structs.replace(bare, signature=signer.sign(seal_payload(bare, head.hash)))
        self._put([Entry(event="seal")], seal=seal)
        self.sync_head()

    def open_segment(self) -> None:
        """Begin the next segment."""
        self._next_segment()
        self._open_line()

    def _next_segment(self) -> None:
        self._open(self.head.segment + 1, create=True)
        sync_folder(self._place.ledger)
        self.head = msgspec.structs.replace(self.head, segment=self.head.segment + 1, size=0, sealed=False)

    def _open_line(self) -> None:
        """Write the first line of a segment: whose key it is, endorsed by the former where that is another."""
        signer = self._keys.newest() or self._keys.signer(self.head.key)
        opened = Opened(self.head.ledger, self.head.segment, signer.key)
        if signer.key != self.head.key:
            former = self._keys.signer(self.head.key)
            message = key_payload(opened, self.head.hash)
            opened = msgspec.structs.replace(opened, former=former.key, endorsed=former.sign(message))
            self.head = msgspec.structs.replace(self.head, key=signer.key)
        self._put([Entry(event="open")], opened=opened)
        self.sync_head()

    def _put(self, entries: Sequence[Entry], *, sync: bool = True, **extra: Opened | Seal) -> list[Receipt]:
        """Write lines at the end, have them on disk where `sync` says so, and say so in the head."""
        if not entries:
            return []
        now = stamp(self._clock())
        lines, receipts = [], []
        seq, before = self.head.count, self.head.hash
        for entry in entries:
            line = make(entry, (seq, now, before), self._keys.secret, **extra)
            before = leaf(line).hex()
            lines.append(line)
            receipts.append(Receipt(seq, before))
            seq += 1
        self._write_out(b"\n".join(lines) + b"\n", sync=sync)
        self._stand_after(lines, sealed="seal" in extra, synced=sync)
        return receipts

    def _write_out(self, data: bytes, *, sync: bool) -> None:
        descriptor, left = self._files.segment, memoryview(data)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
            if sync:
                self._sync()
        except OSError:
            with contextlib.suppress(OSError):  # nobody was told of these lines; what cannot be cut off is settled by the next
                os.ftruncate(descriptor, self.head.size)
                os.fdatasync(descriptor)
            raise

    def _sync(self) -> None:
        """Sync the segment. Raises OSError; then lines that were answered may not be on disk, and that is kept in mind."""
        files = self._files
        with files.syncing:
            try:
                files.flush(files.segment)
            except OSError:
                if self.loose():
                    self.doubt()
                raise
            with files.swap:
                files.synced = end_of(self.head)

    def _stand_after(self, lines: Sequence[bytes], *, sealed: bool | None = None, synced: bool = True) -> None:
        """Make the head say that the ledger ends with these lines, which are on disk where `synced` says so."""
        last = decode(lines[-1])
        files = self._files
        key = self.head.key
        size = self.head.size
        for line in lines:
            if files.tree_at == size:
                files.tree.add(leaf(line))
                files.tree_at += len(line) + 1
            size += len(line) + 1
            if b'"event":"open"' in line and (opened := decode(line).opened):
                key = opened.key
        before = self._synced()
        self.head = msgspec.structs.replace(
            self.head,
            count=last.seq + 1,
            hash=leaf(lines[-1]).hex(),
            size=size,
            sealed=last.seal is not None if sealed is None else sealed,
            key=key,
            time=last.time,
        )
        with files.swap:
            files.written = end_of(self.head)
            files.synced = files.written if synced else before
        self._say_end(files.synced)

    def _say_end(self, synced: End | None = None, *, doubted: bool = False) -> None:
        """Have the head say where the ledger ends, and up to where it is on disk: `synced`, or what is known of that."""
        loose = between(synced or self._synced(), end_of(self.head), doubted=doubted)
        head = msgspec.structs.replace(self.head, loose=loose)
        self.head = head.signed(self._keys.signer(head.key))
        self._say(sync=False)

    def _say(self, *, sync: bool) -> None:
        try:
            self._files.head.write(self.head)
            if sync:
                self._files.head.sync()
        except OSError as error:
            raise LedgerError(f"{self._place.head}: cannot be written: {error.strerror}") from None
        if sync:
            self._files.head_synced = time.monotonic()

    def sync_head(self) -> None:
        """Have the head itself on disk."""
        self._say(sync=True)

    def _catch_up(self) -> None:
        """Read what other processes wrote, so that the root can be signed. Raises LedgerError where a line was changed."""
        files, before = self._files, ""
        rest = b""
        while files.tree_at < self.head.size:
            at = files.tree_at + len(rest)
            block = os.pread(files.segment, min(1 << 20, self.head.size - at), at)
            if not block:
                raise LedgerError(f"{self._place.ledger}: shorter than its head says", hint=LOOK)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if before and b'"prev":"%b"' % before.encode() not in line:
                    raise LedgerError(f"{self._place.ledger}: a line was changed", hint=LOOK)
                digest = leaf(line)
                before = digest.hex()
                files.tree.add(digest)
                files.tree_at += len(line) + 1
        if before and before != self.head.hash:
            raise LedgerError(f"{self._place.ledger}: does not end as its head says", hint=LOOK)


def seal_payload(seal: Seal, before: str) -> bytes:
    """Return what is signed of a seal; `before` is the hash of the line before it."""
    return b"pratique ledger seal\n" + canonical([msgspec.structs.replace(seal, signature=""), before])


def key_payload(opened: Opened, before: str) -> bytes:
    """Return what a former key signs of a new one; `before` is the hash of the line before."""
    return b"pratique ledger key\n" + canonical([opened.ledger, opened.segment, opened.key, before])
