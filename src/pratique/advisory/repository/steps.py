"""What a publication changed in several feeds in, one target out; and back, applied to the files of the publication before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from pratique.advisory.changes import apply_changes
from pratique.advisory.repository.catalogue import MAX_FEEDS
from pratique.model.errors import DatabaseError, ParseError


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One feed's step from a state to the next, as `changes.encode_changes` writes it: compressed already."""

    before: str
    after: str
    data: bytes


Steps = dict[str, Change]
_decode = msgspec.msgpack.Decoder(Steps).decode


def encode(steps: Steps) -> bytes:
    """Return the target, the same for the same steps."""
    return msgspec.msgpack.encode(dict(sorted(steps.items())))


def decode(content: bytes) -> Steps:
    """Read a target. Raises ParseError."""
    try:
        steps = _decode(content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ParseError(f"the changes cannot be read: {error}") from error
    if len(steps) > MAX_FEEDS:
        raise ParseError(f"the changes are of more than {MAX_FEEDS} feeds")
    return steps


def follow(start: Path, states: tuple[str, str], chain: Iterable[Change], target: Path) -> bool:
    """Write `target`: the file at `start`, of the first state, with the steps that lead to the second.

    Say whether they do; where not, nothing is left: the whole file is to be fetched.
    """
    at, wanted = states
    source = start
    made: list[Path] = []
    try:
        for number, change in enumerate(chain):
            if change.before != at:
                return False
            new = target.with_name(f"{target.name}.{number}")
            new.unlink(missing_ok=True)
            made.append(new)
            at = apply_changes(source, change.data, new).state
            source = new
        if at != wanted or not made:
            return False
        source.replace(target)
    except DatabaseError:
        return False
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    return True
