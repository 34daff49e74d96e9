"""Two files of one feed in, what leads from one to the other out: for whoever has the old file and wants the new one.

Where the new file grew out of the old one, its history is replayed, update by update, so that whoever applies it can look back as
far as the publisher can. Otherwise it is one step, learnt when the new state was. Either ends in the new file's state: what the
feed says, not how the pages of the file lie; `state_digest` names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import zstandard

from pratique.advisory import scores
from pratique.advisory.build import copy
from pratique.advisory.collect import Collected, difference, grouped
from pratique.advisory.digest import SetDigest
from pratique.advisory.layout import FORMAT, Facts
from pratique.advisory.tables import Tables, connect
from pratique.advisory.values import Changes
from pratique.advisory.writer import Writer
from pratique.model.errors import DatabaseError

_MAGIC = b"pratique-changes-1\n"
# The small difference in size is worth the time, as it is made once and fetched by many.
_LEVEL = 19
# Changes inflated: those of the largest feed from nothing stay below.
MAX_CHANGES_BYTES = 1 << 30
_encode = msgspec.msgpack.Encoder().encode


class _Steps(msgspec.Struct, array_like=True):
    """The states at both ends, and the steps between, oldest first; each has its `Facts` in its `meta`."""

    format: int
    old: str
    new: str
    steps: list[Changes]


_steps = msgspec.msgpack.Decoder(_Steps).decode
_facts = msgspec.msgpack.Decoder(Facts).decode


def state_digest(file: Path) -> str:
    """Return the digest of what a feed's file says: 64 hexadecimal digits, whatever the layout, compression and history.

    It is the one that the file states; `check_state` computes it anew. Raises DatabaseError where the file is damaged.
    """
    with _open(file) as tables:
        return tables.facts.state


def check_state(file: Path) -> bool:
    """Say whether a file holds what it states: reads every row. Raises DatabaseError where it is damaged."""
    with _open(file) as tables:
        digest = SetDigest()
        for ecosystem, package, row in tables.packages():
            digest.add(("packages", ecosystem, package, row))
        for identifier, data in tables.advisories():
            digest.add(("advisories", identifier, data))
        for table, columns in (("names", "name, id"), ("kev", "cve, data"), ("epss", "block, data")):
            for row_ in tables.ask(f"SELECT {columns} FROM {table}"):  # noqa: S608 - of three names
                digest.add((table, *row_))
        if date := tables.meta.get("score_date"):
            digest.add(("meta", "score_date", date))
        return digest.hex() == tables.facts.state


def encode_changes(old_file: Path, new_file: Path) -> bytes:
    """Return what `apply_changes` makes the new file's state of the old file's with. Raises DatabaseError for a damaged file."""
    with _open(old_file) as old, _open(new_file) as new:
        steps = _replayed(old.facts, new)
        if steps is None:
            steps = [_leap(old, new)]
        document = _encode(_Steps(FORMAT, old.facts.state, new.facts.state, steps))
        return _MAGIC + zstandard.ZstdCompressor(level=_LEVEL, dict_data=old.dictionary, write_dict_id=False).compress(document)


def apply_changes(old_file: Path, changes: bytes, new_file: Path) -> Facts:
    """Write `new_file`, which must not exist: the old one with the changes, its history longer by what they undo.

    Returns what is said of the state reached; its `state` is that of the file they were made of. Raises DatabaseError, and leaves
    no file, for changes of another file and for those that do not lead to the state that they state.
    """
    with _open(old_file) as old:
        document = _decoded(changes, old)
        if document.old != old.facts.state:
            raise DatabaseError("these changes are of another state of the feed")
    try:
        copy(old_file, new_file)
        return _follow(document, new_file)
    except (ValueError, msgspec.MsgspecError) as error:
        new_file.unlink(missing_ok=True)
        raise DatabaseError(f"these changes cannot be read: {error}") from error
    except BaseException:
        new_file.unlink(missing_ok=True)
        raise


def _follow(document: _Steps, file: Path) -> Facts:
    with Writer(file) as writer:
        for step in document.steps:
            counted = _facts(step.meta.pop("facts", b""))
            writer.apply(step, counted)
            if writer.facts.state != counted.state:
                raise DatabaseError("these changes do not lead where they say")
        if document.steps:
            writer.members((), (), known=False)  # the marks are of records that were read here
    if writer.facts.state != document.new:
        raise DatabaseError("these changes do not lead where they say")
    return writer.facts


def _decoded(changes: bytes, old: Tables) -> _Steps:
    body = changes.removeprefix(_MAGIC)
    try:
        if len(body) == len(changes) or not 0 <= zstandard.frame_content_size(body) <= MAX_CHANGES_BYTES:
            raise DatabaseError("these are no changes of a feed, or too many")
        document = _steps(zstandard.ZstdDecompressor(dict_data=old.dictionary).decompress(body))
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeError) as error:
        raise DatabaseError(f"these changes cannot be read: {error}") from error
    if document.format != FORMAT:
        raise DatabaseError("these changes are of another version of the database", hint="fetch the whole database")
    return document


@contextmanager
def _open(file: Path) -> Iterator[Tables]:
    if not file.is_file():
        raise DatabaseError(f"{file} is not there")
    connection = connect(file)
    try:
        tables = Tables(connection, file)
        if tables.meta.get("format") != str(FORMAT).encode():
            raise DatabaseError(f"{file} is of another version", hint="run: pratique db update")
        yield tables
    finally:
        connection.close()


def _leap(old: Tables, new: Tables) -> Changes:
    changes = difference(old, Collected.out_of(new))
    changes.at = new.facts.changed
    changes.meta["facts"] = _encode(new.facts)
    return changes


def _replayed(begin: Facts, new: Tables) -> list[Changes] | None:
    """Return the updates after `begin`; None where the new file did not grow out of that state, or has forgotten it."""
    if int(new.meta.get("horizon", b"0")) > begin.changed or int(new.meta["born"]) > begin.changed:
        return None
    later, steps = Changes(), list[Changes]()
    moves = _moves(begin.changed, new)
    for undo in new.past(begin.changed):
        step = _current(undo, new)
        step.cover(undo.within(later))
        step.at = undo.at
        step.scores = moves.get(undo.at, {})
        step.meta.setdefault("facts", later.meta.get("facts") or new.meta["facts"])
        steps.append(step)
        later.cover(undo)
    reached = _facts(later.meta["facts"]) if "facts" in later.meta else new.facts
    return steps[::-1] if reached.state == begin.state else None


def _current(keys: Changes, tables: Tables) -> Changes:
    """Return the values that the file has now for the keys named."""
    found = Changes()
    for ecosystem, packages in keys.hits.items():
        for package, by_id in packages.items():
            hits = grouped(tables.hits(ecosystem, package))
            for identifier in by_id:
                found.put(ecosystem, package, identifier, hits.get(identifier, []))
    found.advisories = {key: tables.advisory(key) for key in keys.advisories}
    sql = "SELECT 1 FROM names WHERE name = ? AND id = ?"
    found.names = {name: {key: tables.one(sql, name, key) is not None for key in ids} for name, ids in keys.names.items()}
    found.kev = {key: tables.one("SELECT data FROM kev WHERE cve = ?", key) or b"" for key in keys.kev}
    found.meta = {key: tables.meta.get(key, b"") for key in keys.meta}
    return found


def _moves(since: int, tables: Tables) -> dict[int, dict[int, bytes]]:
    """Return, by second of the update, what leads each block of scores forward."""
    found: dict[int, dict[int, bytes]] = {}
    after: dict[int, bytes] = {}
    for until, moves in tables.moves(since):
        forward = {}
        for block in moves:
            now = after[block] if block in after else tables.block(block)
            after[block] = tables.led(moves, block, now)
            forward[block] = after[block], now
        found[until] = scores.moves(forward)
    return found
