"""Blocks of EPSS scores and the way between two states of them: exact, whatever they are, and small for what a day does."""

from __future__ import annotations

from random import Random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pratique.advisory import scores
from pratique.advisory.scores import Moves, moves, pack, read, split

_UNITS = 100_000
_entries = st.dictionaries(
    st.integers(0, 1023), st.tuples(st.integers(0, _UNITS), st.integers(0, _UNITS)).map(lambda pair: pair), max_size=12
)


def _block(entries: dict[int, tuple[int, int]]) -> bytes:
    return b"".join(pack(at, score / _UNITS, percentile / _UNITS) for at, (score, percentile) in sorted(entries.items()))


_blocks = _entries.map(_block)


@pytest.mark.parametrize("few", [0, 2048])
@given(pairs=st.dictionaries(st.integers(0, 2**40), st.tuples(_blocks, _blocks), max_size=4))
def test_moves_lead_from_each_block_to_the_other(few: int, pairs: dict[int, tuple[bytes, bytes]]) -> None:
    """Blocks that come, go, grow and shrink, with the drift told apart and without; there and back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "_FEW", few)
        there = Moves(moves(pairs))
        back = Moves(moves({number: (new, old) for number, (old, new) in pairs.items()}))
    assert set(there) == set(pairs)
    for number, (old, new) in pairs.items():
        assert number in there
        assert there.lead(number, old) == new
        assert back.lead(number, new) == old


@given(old=_blocks, new=_blocks, key=st.integers(0, 11), other=st.binary(max_size=60))
def test_what_is_no_move_is_refused_or_leads_to_a_block(old: bytes, new: bytes, key: int, other: bytes) -> None:
    """From a file that somebody made: a ValueError or some block, which its digest tells from the right one."""
    found = Moves({**moves({5: (old, new)}), key: other})
    try:
        block = found.lead(5, old) if 5 in found else b""
    except ValueError:
        return
    assert len(block) % 6 == 0
    assert all(0 <= read(record)[0] <= 1.32 for record in split(block).values())


def test_a_day_is_small() -> None:
    """A tenth of the scores moves, and with them the ranks of all: a tenth of what the blocks have."""
    chance = Random(1)
    before = {at: min(1.0, chance.expovariate(40)) for at in range(20_480)}
    after = {at: score * chance.uniform(0.9, 1.1) if chance.random() < 0.1 else score for at, score in before.items()}
    first, second = _ranked(before), _ranked(after)
    day = moves({number: (first[number], second[number]) for number in first})
    for number in first:
        assert Moves(day).lead(number, first[number]) == second[number]
    packed = len(zstandard.compress(b"".join(day.values()), 19))
    whole = len(zstandard.compress(b"".join(second.values()), 19))
    assert packed < whole / 4


def _ranked(raw: dict[int, float]) -> dict[int, bytes]:
    order = {at: rank for rank, at in enumerate(sorted(raw, key=lambda at: (raw[at], at)), 1)}
    blocks: dict[int, dict[int, tuple[int, int]]] = {}
    for at, score in raw.items():
        blocks.setdefault(at >> 10, {})[at & 1023] = (round(score * _UNITS), round(order[at] / len(raw) * _UNITS))
    return {number: _block(entries) for number, entries in blocks.items()}
