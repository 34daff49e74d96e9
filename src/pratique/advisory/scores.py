"""Blocks of EPSS scores in, the way from one state of them to another out, small: a day moves nearly every percentile.

A block is 6 bytes a CVE, ascending: 10 bits of the CVE's number, 17 each of score and percentile in units of 1e-5.

A percentile is a rank among all. Where a score stayed, it drifts as those beside it do, so the drift is told once for all blocks
and a block tells only what differs from it; where a score moved, the percentile goes to where that score was in the block before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

_RECORD = 6
_LOW = 0x1FFFF
_BITMAP = 128
_NUMBER = 8  # bytes
_NOTHING = (0, 0)
_COUNT = 2  # bytes
# What `moves` returns, by key: the numbers of the blocks, and how many CVEs each has; as bits, which come or go; sparse, by how
# much scores move; by how much percentiles are not as expected, dense where the score moved and sparse where it stayed; and how
# percentiles drift, for each `_STEP` units of them. What is sparse is three streams: which are not 0, whose of these are below 0,
# and how far from 0 these are, less one.
_BLOCKS, _COUNTS, _COMING, _MOVED, _DRIFT, _STEPS, _STRAYS = 0, 1, 2, 3, 4, 5, 8
_STEP = 8
_BINS = _LOW // _STEP + 1
# The drift of fewer scores than this is not worth its 4 KB.
_FEW = 2048

Pair = tuple[int, int]  # score and percentile, in units of 1e-5


def pack(offset: int, score: float, percentile: float) -> bytes:
    """Return the 6 bytes of one CVE."""
    return (offset << 34 | round(score * 1e5) << 17 | round(percentile * 1e5)).to_bytes(_RECORD, "big")


def unpack(block: bytes) -> dict[int, Pair]:
    """Return offset -> (score, percentile) in units of 1e-5."""
    packed = (int.from_bytes(block[at : at + _RECORD], "big") for at in range(0, len(block), _RECORD))
    return {one >> 34: (one >> 17 & _LOW, one & _LOW) for one in packed}


def read(record: bytes) -> tuple[float, float]:
    """Return (score, percentile) of the 6 bytes of one CVE."""
    packed = int.from_bytes(record, "big")
    return (packed >> 17 & _LOW) / 1e5, (packed & _LOW) / 1e5


def split(block: bytes) -> dict[int, bytes]:
    """Return offset -> the 6 bytes of one CVE."""
    return {int.from_bytes(block[at : at + 2], "big") >> 2: block[at : at + _RECORD] for at in range(0, len(block), _RECORD)}


def moves(pairs: Mapping[int, tuple[bytes, bytes]]) -> dict[int, bytes]:
    """Return what `Moves` leads each block from the first of its two states to the second with; b"" stands for no block.

    Streams of one kind of number each, over all blocks, by the keys above: so they are smallest when compressed.
    """
    states = [(number, unpack(old), unpack(new)) for number, (old, new) in sorted(pairs.items())]
    drift = _drift([(old, new) for _, old, new in states])
    steps: list[int] = []
    surprises: tuple[list[int], list[int]] = [], []  # where the score stayed, and where it moved
    for _, old, new in states:
        expected = _Expected(old, drift)
        for offset, (score, percentile) in new.items():
            steps.append(score - old.get(offset, _NOTHING)[0])
            surprises[bool(steps[-1])].append(percentile - expected.of(offset, score))
    found = {
        _BLOCKS: b"".join(number.to_bytes(_NUMBER, "big") for number, _, _ in states),
        _COUNTS: b"".join(len(new).to_bytes(_COUNT, "big") for _, _, new in states),
        _COMING: b"".join((_bitmap(old) ^ _bitmap(new)).to_bytes(_BITMAP, "little") for _, old, new in states),
        _MOVED: _planes(map(_small, surprises[True])),
        **_sparse(_STEPS, steps),
        **_sparse(_STRAYS, surprises[False]),
        _DRIFT: _planes(_small(one - before) for before, one in zip((0, *drift), drift, strict=False)),
    }
    return {key: stream for key, stream in found.items() if stream}


class Moves:
    """What `moves` returned, to be followed. Iterates over the numbers of the blocks.

    All but making it raises ValueError for what no call of `moves` returned.
    """

    def __init__(self, found: Mapping[int, bytes]) -> None:
        self._found = found

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __contains__(self, number: object) -> bool:
        return number in self._places

    def lead(self, number: int, block: bytes) -> bytes:
        """Return the second state of a block, given its first."""
        place, old = self._places[number], unpack(block)
        bits = _bitmap(old) ^ place.coming
        offsets = [offset for offset in range(8 * _BITMAP) if bits >> offset & 1]
        if len(offsets) != place.cves:
            raise ValueError("a change of scores is of another block")
        steps, before = self._steps.of(place.begin, place.cves), self._steps.before(place.begin)
        moving = sum(map(bool, steps))
        moved = map(_signed, _numbers(self._found.get(_MOVED, b""), before, moving))
        stayed = iter(self._strays.of(place.begin - before, place.cves - moving))
        expected = _Expected(old, self._drift)
        out = bytearray()
        for offset, step in zip(offsets, steps, strict=True):
            score = old.get(offset, _NOTHING)[0] + step
            percentile = expected.of(offset, score) + next(moved if step else stayed)
            if not (0 <= score <= _LOW and 0 <= percentile <= _LOW):
                raise ValueError("a change of scores leads out of their range")
            out += (offset << 34 | score << 17 | percentile).to_bytes(_RECORD, "big")
        return bytes(out)

    @cached_property
    def _places(self) -> dict[int, _Place]:
        """Where in the streams a block is."""
        numbers, counts, coming = (self._found.get(key, b"") for key in (_BLOCKS, _COUNTS, _COMING))
        every = len(numbers) // _NUMBER
        if (len(numbers), len(counts), len(coming)) != (every * _NUMBER, every * _COUNT, every * _BITMAP):
            raise ValueError("a change of scores does not say of which blocks it is")
        found: dict[int, _Place] = {}
        begin = 0
        for at in range(every):
            number, count = _one(numbers, at, _NUMBER), _one(counts, at, _COUNT)
            found[number] = _Place(count, int.from_bytes(coming[at * _BITMAP : (at + 1) * _BITMAP], "little"), begin)
            begin += count
        if len(self._found.get(_MOVED, b"")) != 3 * self._steps.before(begin):
            raise ValueError("a change of scores has another length than its own list asks for")
        return found

    @cached_property
    def _steps(self) -> _Sparse:
        return _Sparse(self._found, _STEPS)

    @cached_property
    def _strays(self) -> _Sparse:
        return _Sparse(self._found, _STRAYS)

    @cached_property
    def _drift(self) -> Sequence[int]:
        planes = self._found.get(_DRIFT, b"")
        if not planes:
            return ()
        if len(planes) != 3 * _BINS:
            raise ValueError("a drift of percentiles has another length than theirs")
        return list(accumulate(map(_signed, _numbers(planes, 0, _BINS))))


class _Place(NamedTuple):
    """How many CVEs a block has; which come or go, as bits; how many there are in the blocks before."""

    cves: int
    coming: int
    begin: int


class _Sparse:
    """Numbers of which many are 0. Raises ValueError where the three streams are not of one another."""

    def __init__(self, found: Mapping[int, bytes], key: int) -> None:
        which, below, self._planes = (found.get(key + at, b"") for at in range(3))
        self._which, self._below = int.from_bytes(which, "little"), int.from_bytes(below, "little")
        if len(self._planes) != 3 * self._which.bit_count():
            raise ValueError("a change of scores has another length than its own list asks for")

    def before(self, at: int) -> int:
        """Return how many of the numbers before one are not 0."""
        return (self._which & ((1 << at) - 1)).bit_count()

    def of(self, begin: int, count: int) -> list[int]:
        """Return `count` of the numbers."""
        own, first = self._which >> begin & ((1 << count) - 1), self.before(begin)
        far = _numbers(self._planes, first, own.bit_count())
        below = self._below >> first & ((1 << len(far)) - 1)
        numbers = iter([~one if below >> at & 1 else one + 1 for at, one in enumerate(far)])
        return [next(numbers) if own >> at & 1 else 0 for at in range(count)]


def _sparse(key: int, numbers: Sequence[int]) -> dict[int, bytes]:
    others = [one for one in numbers if one]
    below = _bits([one < 0 for one in others])
    return {key: _bits(numbers), key + 1: below, key + 2: _planes(abs(one) - 1 for one in others)}


def _drift(states: Iterable[tuple[Mapping[int, Pair], Mapping[int, Pair]]]) -> Sequence[int]:
    """Return, for each `_STEP` units of percentiles, by how much those drift whose scores stayed; () where these are few."""
    seen: dict[int, list[int]] = {}
    count = 0
    for old, new in states:
        for offset, (score, percentile) in new.items():
            was = old.get(offset)
            if was is not None and was[0] == score:
                seen.setdefault(was[1] // _STEP, []).append(percentile - was[1])
                count += 1
    if count < _FEW:
        return ()
    drift, last = [], 0
    for one in range(_BINS):
        if found := seen.get(one):
            last = sorted(found)[(len(found) - 1) // 2]  # the lower median; `statistics` would double what is imported
        drift.append(last)
    return drift


class _Expected:
    """Where a percentile is expected, from the block before."""

    def __init__(self, old: Mapping[int, Pair], drift: Sequence[int]) -> None:
        self._old = old
        self._shift = drift

    def of(self, offset: int, score: int) -> int:
        """Return the percentile that a CVE with this score is expected to have."""
        was = self._old.get(offset)
        before = was[1] if was is not None and was[0] == score else self._between(score)
        return before + self._shift[before // _STEP] if self._shift else before

    def _between(self, score: int) -> int:
        """Return the percentile of a score by those beside it, in proportion."""
        ladder = self._ladder
        if not ladder:
            return 0
        at = bisect_left(ladder, (score, 0))
        (low, begin), (high, end) = ladder[max(at - 1, 0)], ladder[min(at, len(ladder) - 1)]
        if not low <= score <= high or low == high:
            return end if score >= high else begin
        return begin + (end - begin) * (score - low) // (high - low)

    @cached_property
    def _ladder(self) -> list[Pair]:
        return sorted(self._old.values())


def _bitmap(block: Iterable[int]) -> int:
    return sum(1 << offset for offset in block)


def _bits(numbers: Sequence[int]) -> bytes:
    """Return as bits which numbers are not 0."""
    eights = (numbers[at : at + 8] for at in range(0, len(numbers), 8))
    return bytes(sum(bool(one) << at for at, one in enumerate(eight)) for eight in eights).rstrip(b"\0")


def _one(numbers: bytes, at: int, size: int) -> int:
    return int.from_bytes(numbers[at * size : (at + 1) * size], "big")


def _small(number: int) -> int:
    """Make small numbers of both signs small ones."""
    return number << 1 if number >= 0 else ~number << 1 | 1


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def _planes(numbers: Iterable[int]) -> bytes:
    """All low bytes, then all middle ones, then all high ones: the latter two are nearly all zero and vanish when compressed."""
    plain = b"".join(one.to_bytes(3, "little") for one in numbers)
    return plain[0::3] + plain[1::3] + plain[2::3]


def _numbers(planes: bytes, begin: int, count: int) -> list[int]:
    """Return `count` of the numbers that `_planes` was given, from the one at `begin` on."""
    every = len(planes) // 3
    low, middle, high = (planes[begin + every * plane : begin + every * plane + count] for plane in range(3))
    return [a | b << 8 | c << 16 for a, b, c in zip(low, middle, high, strict=True)]
