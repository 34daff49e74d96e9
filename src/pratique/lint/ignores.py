"""Comments of the form `# pratique: ignore=ID[,ID] reason until=DATE` in, what they cover out.

A comment on a line of its own covers what comes next, one behind something its own line. It holds until the first second of the
date (UTC); it needs a reason and a date, as every accepted risk does.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator

import msgspec

from pratique.lint.catalogue import catalogue
from pratique.lint.hit import Hit
from pratique.workload.place import Place

_COMMENT = re.compile(r"pratique:\s*ignore=(\S+)\s*(.*)$")
_UNTIL = re.compile(r"(?:^|\s)until=(\S*)")


class Ignore(msgspec.Struct, frozen=True, kw_only=True):
    """What one comment covers: checks, and the lines from `first` to `last`."""

    ids: frozenset[str]
    reason: str
    until: str
    ended: bool
    first: int
    last: int


def read(lines: Iterable[tuple[int, str, int, int]], now: dt.datetime) -> tuple[list[Ignore], list[tuple[str, Hit]]]:
    """Read comments, given as their line, text, and the first and last line they cover.

    Returns what is ignored, and findings about comments that have ended or cannot be used, with the check's id.
    """
    ignores: list[Ignore] = []
    hits: list[tuple[str, Hit]] = []
    for line, text, first, last in lines:
        found = _COMMENT.search(text)
        if found is None:
            continue
        place = Place(line, 1)
        ids = frozenset(part for part in found[1].split(",") if part)
        until = _UNTIL.search(found[2])
        reason = " ".join(_UNTIL.sub(" ", found[2]).split())
        wrong = _fault(ids, reason, until[1] if until else None)
        if wrong:
            hits.append(("ignore-invalid", Hit(place, f"the comment covers nothing: {wrong}", f"{sorted(ids)} {wrong}")))
            continue
        assert until is not None
        ended = now >= _moment(until[1])
        if ended:
            names = ", ".join(sorted(ids))
            hits.append(("ignore-expired", Hit(place, f"the comment about {names} ended on {until[1]}", f"{names} {until[1]}")))
        ignores.append(Ignore(ids=ids, reason=reason, until=until[1], ended=ended, first=first, last=last))
    return ignores, hits


def _fault(ids: frozenset[str], reason: str, until: str | None) -> str:
    unknown = sorted(ids - catalogue().keys())
    if unknown:
        return f"there is no check {unknown[0][:60]}"
    if not ids:
        return "it names no check"
    if not reason:
        return "it gives no reason"
    if until is None:
        return "it has no until=DATE"
    try:
        _moment(until)
    except ValueError:
        return f"{until[:40]!r} is no date"
    return ""


def _moment(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)


def yaml_comments(text: str) -> Iterator[tuple[int, str, int, int]]:
    """Find the comments in YAML; a line with nothing else covers the next one that is not empty."""
    if "pratique:" not in text:
        return
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        before, mark, comment = line.partition("#")
        if not mark or "pratique:" not in comment:
            continue
        covered = number
        if not before.strip():
            covered += 1
            while covered <= len(lines) and (not lines[covered - 1].strip() or lines[covered - 1].lstrip().startswith("#")):
                covered += 1
        yield number, comment, covered, covered
