"""A repository and a trusted root in, its database in the cache out: all of it or nothing, and only what verifies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pratique.advisory.index import INCOMING, LOCK_SECONDS, PATIENCE, BusyError, Entry, database_folder, locked
from pratique.advisory.layout import FORMAT
from pratique.advisory.repository import catalogue as names
from pratique.advisory.repository import steps
from pratique.advisory.repository.catalogue import Catalogue
from pratique.advisory.repository.client import MAX_ROOT, Bounds, Client
from pratique.advisory.repository.install import Installation, Note, read_note, write_note
from pratique.advisory.repository.shelf import Library
from pratique.advisory.update import REFRESH_AFTER
from pratique.model.errors import CouldNotError, DatabaseError, FeedError, ParseError, UsageError, VerificationError

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

# After a failure a scan uses what is there for this long, so that a machine without a connection is not slow each time.
_RETRY_AFTER = timedelta(minutes=10)
T = TypeVar("T")
Progress = Callable[[str, int, int], None]  # what, bytes done, bytes in all (-1: not known)


class How(msgspec.Struct, frozen=True, kw_only=True):
    """How to pull. `now` is UTC; `waiting` is called once while another process writes the database, for `patience` seconds."""

    now: datetime
    bounds: Bounds = Bounds()
    tell: Progress | None = None
    waiting: Callable[[], None] | None = None
    patience: float = LOCK_SECONDS


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What came: names of feeds by how they came, and the bytes received in all. `root` is the version that is trusted now."""

    number: int
    published_at: str
    root: int
    whole: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    bytes: int


def trust_folder(cache_dir: Path, root: bytes) -> Path:
    """Return where the newest metadata seen is kept: of one trusted root, whatever the address; apart from the database, so that
    cleaning one does not let somebody roll back the other.
    """
    return cache_dir / "trust" / root_digest(root)


def root_digest(root: bytes) -> str:
    """Return what a trusted root is told apart by: half of its sha256, which is enough for a folder's name."""
    return hashlib.sha256(root).hexdigest()[:32]


def stamp(moment: datetime) -> str:
    """Return a moment, UTC, as files have it: RFC 3339, to the second."""
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def refresh(cache_dir: Path, open_library: Callable[[], Library], root: bytes, how: How) -> str:
    """Pull for a scan: only what was not asked for a day, or ten minutes after it was asked in vain.

    Returns why that could not be done, or did not verify; "" where the database is as published, was asked not long ago, or is
    being brought by another process.
    """
    folder = database_folder(cache_dir)
    note = read_note(folder)
    if note.root != root_digest(root):
        note = Note(root=root_digest(root))
    if _is_recent(note, how.now):
        return note.why
    if note.number:  # there is a publication, which serves while another process brings the next
        how = msgspec.structs.replace(how, patience=min(how.patience, PATIENCE))
    try:
        library = open_library()
        try:
            pull(cache_dir, library, root, how)
        finally:
            library.close()
    except BusyError as error:
        return "" if note.number else str(error)
    except (CouldNotError, VerificationError) as error:
        try:
            with locked(folder, how.waiting, how.patience):
                write_note(folder, msgspec.structs.replace(note, asked_at=stamp(how.now), why=str(error)))
        except (OSError, DatabaseError):
            return str(error)  # a folder that may not be written: asked again next time
        return str(error)
    return ""


def _is_recent(note: Note, now: datetime) -> bool:
    try:
        age = now - datetime.fromisoformat(note.asked_at)
    except (ValueError, TypeError):
        return False
    return timedelta() <= age < (_RETRY_AFTER if note.why else REFRESH_AFTER)


def read_root(path: Path) -> bytes:
    """Read a trusted root. Raises UsageError where that cannot be."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_ROOT + 1)
    except OSError as error:
        raise UsageError(f"--trusted-root {path}: {error.strerror or error}") from error
    if len(content) > MAX_ROOT:
        raise UsageError(f"--trusted-root {path}: larger than {MAX_ROOT} bytes")
    return content


def pull(cache_dir: Path, library: Library, root: bytes, how: How) -> Pulled:
    """Bring the database of `cache_dir` to the newest publication: it is then exactly that.

    Raises VerificationError for what does not verify, FeedError for what cannot be had, DatabaseError for a repository without a
    database of this program's format. Whatever is raised, the database is as it was.
    """
    folder = database_folder(cache_dir)
    with locked(folder, how.waiting, how.patience):
        (folder / INCOMING).mkdir(exist_ok=True)
        client = Client(library, root, trust_folder(cache_dir, root), how.now, how.bounds)
        client.refresh()
        return _Pull(folder, client, root_digest(root), how).run()


def read_catalogue(client: Client, folder: Path) -> Catalogue:
    """Bring and read what a refreshed repository offers to this program. Raises as `pull`."""
    target = client.target(names.catalogue_name())
    if target is None:
        offered = sorted({name.partition("/")[0] for name in client.targets()})
        raise DatabaseError(
            f"{client.library.name} has no database of format {FORMAT}, only of {', '.join(offered) or 'none'}",
            hint="this program and the publisher's are of different ages",
        )
    path = client.bring(target, folder, names.MAX_PACKED_CATALOGUE)
    catalogue = _signed(names.decode, path.read_bytes())
    if catalogue.number != client.number:
        raise VerificationError(f"{client.library.name}: the catalogue is of another publication than its metadata")
    return catalogue


def _signed(read: Callable[[bytes], T], content: bytes) -> T:
    try:
        return read(content)
    except ParseError as error:
        raise VerificationError(error.message) from error


class _Pull:
    def __init__(self, folder: Path, client: Client, root: str, how: How) -> None:
        self._folder = folder
        self._root = root
        self._incoming = folder / INCOMING
        self._client = client
        self._how = how
        self._targets = client.targets()

    def run(self) -> Pulled:
        catalogue = read_catalogue(self._client, self._incoming)
        into = Installation(self._folder)
        news = [entry for entry in catalogue.feeds.values() if not into.keep(entry)]
        changed = self._changes(catalogue, news, into)
        whole = [entry for entry in news if entry.name not in changed]
        for done, entry in enumerate(whole):
            self._tell(f"fetching advisories: {entry.name} ({done + 1} of {len(whole)})")
            into.take(entry, self._whole(entry))
        into.finish(Note(number=catalogue.number, root=self._root, asked_at=stamp(self._how.now)))
        for path in self._incoming.glob("*.target*"):
            path.unlink(missing_ok=True)
        return Pulled(
            number=catalogue.number,
            published_at=catalogue.published_at,
            root=self._client.root_version,
            whole=tuple(entry.name for entry in whole),
            changed=tuple(sorted(changed)),
            unchanged=tuple(sorted(set(catalogue.feeds) - {entry.name for entry in news})),
            bytes=self._client.received,
        )

    def _tell(self, what: str) -> None:
        if self._how.tell is not None:
            self._how.tell(what, 0, -1)

    def _target(self, entry: Entry) -> TargetFile:
        name = names.feed_name(entry.name)
        if (target := self._targets.get(name)) is None:
            raise VerificationError(f"{self._client.library.name}: the catalogue names {name}, which is not signed")
        return target

    def _whole(self, entry: Entry) -> Path:
        packed = self._client.bring(self._target(entry), self._incoming, names.MAX_FILE)
        plain = self._incoming / "plain.target"
        try:
            names.unpack(packed, plain, entry)
        except ParseError as error:
            raise VerificationError(f"{self._client.library.name}: {error.message}") from error
        return plain

    # -- changes ----------------------------------------------------------------------------------------------------------------

    def _changes(self, catalogue: Catalogue, news: list[Entry], into: Installation) -> set[str]:
        """Bring those feeds up to date whose present file the published changes start from; return their names."""
        able = [entry for entry in news if into.state(entry.name)]
        since = into.note.number if into.note.root == self._root else 0
        chain = self._chain(catalogue.number, since)
        if not able or chain is None or sum(t.length for t in chain) >= sum(self._target(one).length for one in able):
            return set()
        try:
            packs = [_signed(steps.decode, self._client.bring(t, self._incoming, names.MAX_CHANGES).read_bytes()) for t in chain]
        except FeedError:
            return set()  # whole files may be had all the same; if not, that is said then
        done = set()
        made = self._incoming / "changed.target"
        for entry in able:
            name = entry.name
            mine = [pack[name] for pack in packs if name in pack]
            if steps.follow(into.path(name), (into.state(name), entry.state), mine, made):
                into.take(entry, made)
                done.add(name)
        return done

    def _chain(self, number: int, since: int) -> list[TargetFile] | None:
        """Return the changes that lead from the publication that is here to the new one; None where one is missing."""
        if not 0 < since < number or number - since > len(self._targets):
            return None
        chain = [self._targets.get(names.changes_name(step)) for step in range(since + 1, number + 1)]
        return None if None in chain else [target for target in chain if target is not None]
