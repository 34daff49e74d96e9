"""Real records with a few things put wrong, as a damaged or hostile upstream has them: records, gaps, a refusal; no crash."""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest

from feedcases import FOLDERS, PACKED, ZIPPED, case, parse
from feedsim import CASES, archive, tarball
from pratique.model.errors import ParseError

# Of each case, so that a run has four thousand; what they come to is the same in each run.
_TURNS = 100
_LARGE = 200_000  # bytes: such documents are damaged a few times only, as each takes its time
_JUNK: tuple[Any, ...] = (
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    [],
    {},
    [None],
    {"a": None},
    "\x00",
    "\ud800",
    10**30,
    ["a", ["b"]],
    [{}],
    "2026-99-99",
)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_damaged_records_end_in_records_gaps_or_a_refusal(folder: Path) -> None:
    """Wrong types, missing keys, odd text, lost and doubled bytes, at random places."""
    chance = Random(folder.name)
    for body in _damaged(folder, chance):
        try:
            parse(case(folder)[0], body)
        except ParseError as error:
            if case(folder)[0] not in str(error):
                pytest.fail(f"{error} does not name the feed")


def _damaged(folder: Path, chance: Random) -> Iterator[bytes]:
    provider = folder.parent.name
    if (folder / "records").is_dir():
        records = {path.name: path.read_bytes() for path in sorted((folder / "records").iterdir())}
        for _ in range(_TURNS):
            name = chance.choice(sorted(records))
            spoiled = {**records, name: _spoiled(records[name], chance)}
            yield archive(spoiled) if provider in ZIPPED else tarball(spoiled)
        return
    content = (folder / "feed").read_bytes()
    for _ in range(_TURNS if len(content) < _LARGE else 2):
        yield PACKED.get(provider, bytes)(_spoiled(content, chance))


def _spoiled(content: bytes, chance: Random) -> bytes:
    if chance.random() < 0.75:
        try:
            document = json.loads(content)
        except ValueError:
            pass
        else:
            for _ in range(chance.choice((1, 1, 2, 3))):
                document = _misplace(document, chance)
            return json.dumps(document).encode()
    return _bytes_changed(bytearray(content), chance)


def _misplace(document: Any, chance: Random) -> Any:
    """Put something wrong at a random place, or take away what is there."""
    places = list(_places(document, None, None))
    holder, key = chance.choice(places)
    if holder is None:
        return deepcopy(chance.choice(_JUNK))
    if isinstance(holder, dict) and chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = deepcopy(chance.choice(_JUNK))  # its own, or the document could come to hold itself
    return document


def _places(value: Any, holder: Any, key: Any) -> Iterator[tuple[Any, Any]]:
    yield holder, key
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, value, name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, value, number)


def _bytes_changed(content: bytearray, chance: Random) -> bytes:
    for _ in range(chance.choice((1, 2, 5))):
        at = chance.randrange(len(content))
        kind = chance.random()
        if kind < 0.4:
            content[at] = chance.randrange(256)
        elif kind < 0.7:
            del content[at : at + chance.randrange(40)]
        else:
            content[at:at] = content[chance.randrange(len(content)) :][: chance.randrange(60)]
        content = content or bytearray(b"x")
    return bytes(content)


def test_an_element_whose_name_has_two_colons() -> None:
    """The parser takes it, though no namespace allows it; it is no definition."""
    body = (CASES / "oracle/documented/feed").read_bytes().replace(b"<definitions", b"<a:b:c/><definitions", 1)
    assert len(parse("oracle/oval", bz2.compress(body))) == len(parse(*case(CASES / "oracle/documented")))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_what_is_cut_short_is_refused(folder: Path) -> None:
    """Wherever it ends: fewer records than there are must never pass for all of them."""
    feed, body = case(folder)
    chance = Random(folder.name)
    for end in {len(body) - 1, len(body) - 2, len(body) // 2, *(chance.randrange(len(body)) for _ in range(6))}:
        try:
            found = parse(feed, body[:end])
        except ParseError:
            continue
        assert found == parse(feed, body), f"{end} of {len(body)} bytes were taken"
