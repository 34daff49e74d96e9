"""A ledger in, its lines out, one after the other: for those who look, export and follow. It is not verified here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pratique.model.errors import LedgerError, StoreError
from pratique.store.formats import decision_of, name_of
from pratique.store.head import read_slots
from pratique.store.line import MAX_LINE, Line, decode
from pratique.store.place import Place

FRAME = frozenset(("open", "seal"))  # events of the ledger itself, which tell an auditor nothing
_LONGEST = MAX_LINE + 2  # bytes of a line that are read; longer ones do not decode
_SHORT = 6  # letters of a digest that name an image: fewer may be a word
_PAUSE = 0.2  # seconds between looks when following: for eyes


class Filter(NamedTuple):
    """Which lines; what is empty does not restrict. Times are RFC 3339 as lines have them; `who` is a name or PROVIDER:NAME.

    `image` is a repository or a reference, whole or its last parts, or (the beginning of) a digest. `decision` may be
    "observed": what would have been denied.
    """

    since: str = ""
    until: str = ""
    grant: str = ""
    task: str = ""
    ticket: str = ""
    who: str = ""
    events: tuple[str, ...] = ()
    decision: str = ""
    image: str = ""

    def takes(self, line: Line) -> bool:
        """Say whether a line is wanted."""
        return (
            (not self.since or line.time >= self.since)
            and (not self.until or line.time < self.until)
            and (not self.grant or line.grant.startswith(self.grant))
            and (not self.task or line.task == self.task)
            and (not self.ticket or line.ticket == self.ticket)
            and (not self.who or self._names(line))
            and (not self.events or line.event in self.events)
            and (not self.decision or decision_of(line) == self.decision)
            and (not self.image or self._is_about(line))
        )

    def _is_about(self, line: Line) -> bool:
        """Look where a gate writes what something runs from, and a grant what it is for."""
        named = [line.detail.get("reference", ""), line.detail.get("digest", ""), *line.detail.get("images", "").split()]
        for name in filter(None, named):
            repository, _, digest = ("", "", name) if name.startswith("sha256:") else name.partition("@")
            tagless = repository.rpartition(":")[0] if ":" in repository.rpartition("/")[2] else repository
            known = {name, repository, tagless} - {""}
            if any(f"/{one}".endswith(f"/{self.image}") for one in known) or _starts(digest, self.image):
                return True
        return False

    def _names(self, line: Line) -> bool:
        return any(who is not None and self.who in (who.id, name_of(who)) for who in (line.subject, line.by))


def _starts(digest: str, beginning: str) -> bool:
    letters = beginning.removeprefix("sha256:")
    return len(letters) >= _SHORT and digest.startswith(f"sha256:{letters}")


def lines(place: Place, wanted: Filter = Filter(), *, follow: bool = False) -> Iterator[Line]:  # noqa: B008 - immutable
    """Yield the lines that are wanted, the oldest first, up to where the ledger ends now, or on and on.

    Raises StoreError where there is no ledger, LedgerError at a line that is none.
    """
    heads, _ = read_slots(place)
    if not heads:
        raise StoreError(f"{place.folder}: there is no ledger", hint="it begins with the first request")
    seen = 0
    for line in _read(place, heads[0].count, 0):
        seen = line.seq + 1
        if line.event not in FRAME and wanted.takes(line):
            yield line
    while follow:
        time.sleep(_PAUSE)
        heads, _ = read_slots(place)
        for line in _read(place, heads[0].count if heads else 0, seen):
            seen = line.seq + 1
            if line.event not in FRAME and wanted.takes(line):
                yield line


def _read(place: Place, count: int, first: int) -> Iterator[Line]:
    """Yield lines `first` to `count` - 1; segments that end before are not decoded."""
    if first >= count:
        return
    paths = sorted(place.ledger.glob("*.jsonl"))
    for number, path in enumerate(paths):
        after = paths[number + 1] if number + 1 < len(paths) else None
        if first and after is not None and _first(after, count) <= first:
            continue
        with path.open("rb") as file:
            for at, raw in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
                line = _decoded(raw, f"{path.name}: line {at}")
                if line.seq >= count:
                    return
                if line.seq >= first:
                    yield line


def _first(path: object, count: int) -> int:
    with open(str(path), "rb") as file:  # noqa: PTH123 - any path
        raw = file.readline(_LONGEST)
    return _decoded(raw, str(path)).seq if raw.endswith(b"\n") else count


def _decoded(raw: bytes, where: str) -> Line:
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LedgerError(f"{where} is damaged", hint="pratique audit verify") from None
