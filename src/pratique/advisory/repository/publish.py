"""A database and keys in, one more publication on a shelf out: signed, with what is unchanged left as it lies.

Order is safety: targets first, then the metadata that names them, last the timestamp that announces them. Who reads meanwhile
sees the publication before, whole; a publisher that is killed leaves files that nobody names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pratique.advisory import index as catalogue_of_cache
from pratique.advisory.changes import encode_changes
from pratique.advisory.index import Entry, database_folder, locked
from pratique.advisory.repository import catalogue as names
from pratique.advisory.repository import steps
from pratique.advisory.repository.catalogue import Catalogue
from pratique.advisory.repository.keys import ROLES, Ring
from pratique.advisory.repository.roots import MAX_THRESHOLD, Roots, missing_signers
from pratique.advisory.repository.shelf import Shelf, read
from pratique.model.errors import DatabaseError, ParseError, UsageError, VerificationError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, TargetFile

# How long each role's word holds. The timestamp bounds how long somebody can keep clients from news; two missed publications of
# a daily one must not stop everybody. Targets and snapshot are signed anew each time. Root keys lie elsewhere, fetched yearly.
EXPIRES = {
    "timestamp": timedelta(days=7),
    "snapshot": timedelta(days=30),
    "targets": timedelta(days=30),
    "root": timedelta(days=365),
}
# Publications whose changes, and whose metadata, are kept: who updates weekly gets changes from a daily publisher.
KEEP = 14
_MAX_METADATA = {"timestamp": 16_384, "snapshot": 2_000_000, "targets": 5_000_000}  # as clients take, python-tuf's own limits


class How(msgspec.Struct, frozen=True, kw_only=True):
    """How to publish. `expires` by role; `threshold` of root keys, None for what there is; `rotate` are roles; `now` is UTC."""

    now: datetime
    expires: dict[str, timedelta] = {}
    threshold: int | None = None
    rotate: tuple[str, ...] = ()
    keep: int = KEEP
    say: Callable[[str], None] | None = None


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: names of feeds by what was done, bytes of targets written, and of the changes among them."""

    number: int
    root: int
    full: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    bytes: int
    change_bytes: int


class _Before(NamedTuple):
    """The publication before: its number, its targets by name, its catalogue (None where it is of another format)."""

    number: int
    targets: dict[str, TargetFile]
    catalogue: Catalogue | None


def publish(cache_dir: Path, shelf: Shelf, keys: Path, how: How) -> Published:
    """Publish the database of `cache_dir`. Keys are made where `keys` is empty.

    Raises UsageError, VerificationError where the shelf holds what these keys did not sign, DatabaseError, what the shelf raises.
    """
    _check(how)
    folder = database_folder(cache_dir)
    if not folder.is_dir():
        raise DatabaseError(f"{cache_dir} has no database to publish", hint="run: pratique db build")
    ring = Ring.load(keys)
    with ring.alone(), locked(folder), tempfile.TemporaryDirectory(prefix="pratique-") as work:
        return _Publication(folder, shelf, ring, how, Path(work)).run()


def _check(how: How) -> None:
    for role in (*how.rotate, *how.expires):
        if role not in ROLES:
            raise UsageError(f"{role!r} is no role", hint=f"one of {', '.join(ROLES)}")
    if how.threshold is not None and not 1 <= how.threshold <= MAX_THRESHOLD:
        raise UsageError(f"a threshold is a number from 1 to {MAX_THRESHOLD}")


class _Publication:
    """One publication while it is made."""

    def __init__(self, folder: Path, shelf: Shelf, ring: Ring, how: How, work: Path) -> None:
        self._folder = folder
        self._shelf = shelf
        self._ring = ring
        self._how = how
        self._work = work
        self._roots = Roots(ring, how.expires.get("root", EXPIRES["root"]))
        self._targets: dict[str, TargetFile] = {}
        self._bytes = 0

    def run(self) -> Published:
        feeds = self._feeds()
        before = self._begin()
        number = before.number + 1
        listed: dict[str, Entry] = {}
        news: dict[str, steps.Change] = {}
        full: list[str] = []
        for name, entry in feeds.items():
            one = self._list(entry, before)
            listed[name] = one.entry
            if one.is_new:
                full.append(name)
            if one.change is not None:
                news[name] = one.change
        change_bytes = self._changes(news, before, number)
        made = Catalogue(number=number, published_at=_stamp(self._how.now), feeds=listed)
        self._add(names.catalogue_name(), names.encode(made))
        self._announce(number, before)
        return Published(
            number=number,
            root=max(self._roots.chain),
            full=tuple(full),
            changed=tuple(sorted(news)),
            unchanged=tuple(name for name in feeds if name not in full),
            bytes=self._bytes,
            change_bytes=change_bytes,
        )

    def _feeds(self) -> dict[str, Entry]:
        known = catalogue_of_cache.read(self._folder).feeds
        feeds = names.published(known)
        if not feeds:
            raise DatabaseError(f"{self._folder} has no feed to publish", hint="run: pratique db build")
        return feeds

    # -- keys and what was before -----------------------------------------------------------------------------------------------

    def _begin(self) -> _Before:
        how, roots = self._how, self._roots
        if roots.current is None:
            self._fresh()
            roots.make(how.threshold or 1, how.now)
            before = _Before(0, {}, None)
        else:
            before = self._before()
            held = roots.current.signed.roles["root"].threshold
            if how.threshold not in (None, held) and "root" not in how.rotate:
                raise UsageError(f"the threshold is {held}", hint="another one needs new root keys: --rotate root")
            if how.rotate:
                roots.rotate(how.rotate, how.threshold, how.now)
            if roots.renew(how.now) and how.say is not None:
                how.say(f"the root expires on {_stamp(self._root.signed.expires)}; put its keys into {self._ring.folder} before")
        if missing := missing_signers(self._root.signed, self._ring.signers):
            raise UsageError(f"{self._ring.folder} has no key to sign {', '.join(missing)}")
        return before

    @property
    def _root(self) -> Metadata[Root]:
        assert self._roots.current is not None
        return self._roots.current

    def _fresh(self) -> None:
        """Refuse to make keys for a repository that has some, and beside keys that have lost their roots."""
        if read(self._shelf, "metadata/1.root.json", _MAX_METADATA["targets"]) is not None:
            raise UsageError(
                f"{self._shelf.name} is a repository of other keys than those of {self._ring.folder}", hint="give its own --keys"
            )
        if self._ring.signers:
            raise UsageError(f"{self._ring.folder} has keys, and no roots/ that name them", hint="give an empty folder")

    def _before(self) -> _Before:
        """Read the last publication back, as far as it is signed by the keys of one of the last two roots."""
        for version, content in self._roots.chain.items():
            there = read(self._shelf, f"metadata/{version}.root.json", _MAX_METADATA["targets"])
            if there is not None and there != content:
                raise VerificationError(f"{self._shelf.name}: its root {version} is not the one that these keys made")
        for version in sorted(self._roots.chain, reverse=True)[:2]:
            found = _Reader(self._shelf, self._roots.chain[version]).before()
            if found is not None:
                return found._replace(number=max(found.number, self._ring.number()))
        return _Before(self._ring.number(), {}, None)

    # -- targets ----------------------------------------------------------------------------------------------------------------

    def _list(self, entry: Entry, before: _Before) -> _One:
        """Publish one feed: the file that lies there where it says the same, else a new one."""
        target = names.feed_name(entry.name)
        old = before.catalogue.feeds.get(entry.name) if before.catalogue is not None else None
        there = before.targets.get(target)
        if old is not None and there is not None and old.state == entry.state:
            self._targets[target] = there
            same = msgspec.structs.replace(entry, file=old.file, digest=old.digest, size=old.size)
            return _One(same, None, is_new=False)
        path = self._folder / entry.file
        packed = self._work / "packed"
        names.pack(path, packed)
        self._put(target, packed)
        change = self._change(old, there, entry, path) if old is not None and there is not None else None
        return _One(entry, change, is_new=True)

    def _change(self, old: Entry, there: TargetFile, entry: Entry, path: Path) -> steps.Change | None:
        """Return what leads from the file published before to the new one; None where that cannot be said, or is not less."""
        before = self._old(old, names.feed_name(entry.name), there)
        if before is None:
            return None
        try:
            data = encode_changes(before, path)
        except DatabaseError:
            return None  # the old file was of an older program's; clients fetch the new one
        finally:
            before.unlink(missing_ok=True)
        whole = self._targets[names.feed_name(entry.name)].length
        return steps.Change(old.state, entry.state, data) if len(data) < whole else None

    def _old(self, entry: Entry, name: str, target: TargetFile) -> Path | None:
        """Bring the file of the publication before; None where it is not there any more, or not what was signed."""
        from tuf.api.exceptions import LengthOrHashMismatchError

        packed, plain = self._work / "old.packed", self._work / "old"
        try:
            with packed.open("wb") as sink:
                for piece in self._shelf.open(_place(name, target)):
                    if sink.tell() + len(piece) > target.length:
                        return None
                    sink.write(piece)
            with packed.open("rb") as source:
                target.verify_length_and_hashes(source)
            names.unpack(packed, plain, entry)
        except (FileNotFoundError, LengthOrHashMismatchError, ParseError):
            return None
        finally:
            packed.unlink(missing_ok=True)
        return plain

    def _changes(self, news: dict[str, steps.Change], before: _Before, number: int) -> int:
        """Publish what changed, and keep the changes of earlier publications as long as they form a chain to this one."""
        if before.catalogue is None or before.catalogue.number != number - 1:
            return 0
        content = steps.encode(news)
        self._add(names.changes_name(number), content)
        for older in range(number - 1, max(number - self._how.keep, 0), -1):
            kept = before.targets.get(names.changes_name(older))
            if kept is None:
                break
            self._targets[names.changes_name(older)] = kept
        return len(content)

    def _add(self, name: str, content: bytes) -> None:
        path = self._work / "packed"
        path.write_bytes(content)
        self._put(name, path)

    def _put(self, name: str, packed: Path) -> None:
        from tuf.api.metadata import TargetFile

        target = TargetFile.from_file(name, str(packed), ["sha256"])
        self._targets[name] = target
        self._shelf.put(_place(name, target), packed)
        self._bytes += target.length

    # -- metadata ---------------------------------------------------------------------------------------------------------------

    def _announce(self, number: int, before: _Before) -> None:
        from tuf.api.metadata import MetaFile, Snapshot, Targets, Timestamp

        wanted = [_place(name, target) for name, target in self._targets.items()]
        self._shelf.refer(number, wanted)
        targets = self._signed(
            Targets(version=number, expires=self._until("targets"), targets=dict(sorted(self._targets.items())))
        )
        meta = {"targets.json": MetaFile.from_data(number, targets, ["sha256"])}
        snapshot = self._signed(Snapshot(version=number, expires=self._until("snapshot"), meta=meta))
        timestamp = Timestamp(
            version=number,
            expires=self._until("timestamp"),
            snapshot_meta=MetaFile.from_data(number, snapshot, ["sha256"]),
        )
        self._shelf.write(f"metadata/{number}.targets.json", targets)
        self._shelf.write(f"metadata/{number}.snapshot.json", snapshot)
        self._ring.keep_number(number)
        # Between a root with new keys and the timestamp by them nothing verifies: one follows the other at once.
        for version, content in self._roots.chain.items():
            if read(self._shelf, f"metadata/{version}.root.json", _MAX_METADATA["targets"]) != content:
                self._shelf.write(f"metadata/{version}.root.json", content)
        self._shelf.write("metadata/timestamp.json", self._signed(timestamp))
        # Somebody may be half-way through the publication before.
        wanted += [_place(name, target) for name, target in before.targets.items()]
        self._shelf.prune(wanted, number - self._how.keep)

    def _until(self, role: str) -> datetime:
        return (self._how.now + self._how.expires.get(role, EXPIRES[role])).replace(microsecond=0)

    def _signed(self, signed: Any) -> bytes:
        from tuf.api.metadata import Metadata
        from tuf.api.serialization.json import JSONSerializer

        made: Metadata[Any] = Metadata(signed)
        for keyid in self._root.signed.roles[signed.type].keyids:
            if keyid in self._ring.signers:
                made.sign(self._ring.signers[keyid], append=True)
        self._root.signed.verify_delegate(signed.type, made.signed_bytes, made.signatures)
        return made.to_bytes(JSONSerializer(compact=True))


class _One(NamedTuple):
    entry: Entry
    change: steps.Change | None
    is_new: bool


class _Reader:
    """Reads a publication back, as far as one root vouches for it. Expiry does not matter: it is replaced anyway."""

    def __init__(self, shelf: Shelf, root: bytes) -> None:
        from tuf.api.metadata import Metadata

        self._shelf = shelf
        self._root: Metadata[Root] = Metadata.from_bytes(root)

    def before(self) -> _Before | None:
        """Return the last publication; None where this root does not vouch for it, or there is none."""
        from tuf.api.exceptions import RepositoryError

        try:
            timestamp = self._role("timestamp", "timestamp.json")
            if timestamp is None:
                return None
            number = int(timestamp.version)
        except (RepositoryError, ValueError):
            return None
        try:
            snapshot = self._role("snapshot", f"{timestamp.snapshot_meta.version}.snapshot.json")
            version = snapshot.meta["targets.json"].version if snapshot is not None else 0
            targets = self._role("targets", f"{version}.targets.json")
        except (RepositoryError, ValueError, KeyError):
            targets = None
        if targets is None:
            return _Before(number, {}, None)  # it says what number comes next; all is published anew
        return _Before(number, targets.targets, self._catalogue(targets.targets))

    def _role(self, role: str, file: str) -> Any:
        from tuf.api.metadata import Metadata

        content = read(self._shelf, f"metadata/{file}", _MAX_METADATA[role])
        if content is None:
            return None
        found: Metadata[Any] = Metadata.from_bytes(content)
        self._root.signed.verify_delegate(role, found.signed_bytes, found.signatures)
        return found.signed if found.signed.type == role else None

    def _catalogue(self, targets: dict[str, TargetFile]) -> Catalogue | None:
        from tuf.api.exceptions import LengthOrHashMismatchError

        name = names.catalogue_name()
        target = targets.get(name)
        if target is None or target.length > names.MAX_PACKED_CATALOGUE:
            return None
        content = read(self._shelf, _place(name, target), names.MAX_PACKED_CATALOGUE) or b""
        try:
            target.verify_length_and_hashes(content)
            return names.decode(content)
        except (LengthOrHashMismatchError, ParseError):
            return None


def _place(name: str, target: TargetFile) -> str:
    """Return where a target lies: its digest before its name, so that publications do not disturb each other."""
    folder, _, base = name.rpartition("/")
    return f"targets/{folder}/{target.hashes['sha256']}.{base}"


def _stamp(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
