"""Two blocks of EPSS scores in, the way from one to the other out, small: most scores move a little each day.

A block is 6 bytes a CVE, ascending: 10 bits of the CVE's number, 17 each of score and percentile in units of 1e-5.
A difference is the numbers that the target has (a bitmap of 1,024 bits), then the moves of scores and percentiles as byte planes.
"""

from __future__ import annotations

from collections.abc import Iterable

_RECORD = 6
_LOW = 0x1FFFF
_BITMAP = 128


def pack(offset: int, score: float, percentile: float) -> bytes:
    """Return the 6 bytes of one CVE."""
    return (offset << 34 | round(score * 1e5) << 17 | round(percentile * 1e5)).to_bytes(_RECORD, "big")


def unpack(block: bytes) -> dict[int, tuple[int, int]]:
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


def difference(old: bytes, new: bytes) -> bytes:
    """Return what `patch` needs to make `new` of `old`; b"" where `new` is empty."""
    before, after = unpack(old), unpack(new)
    if not after:
        return b""
    bitmap = sum(1 << offset for offset in after).to_bytes(_BITMAP, "little")
    nothing = (0, 0)
    pairs = [(before.get(offset, nothing), now) for offset, now in after.items()]
    moves = [now[0] - was[0] for was, now in pairs]
    moves += [now[1] - was[1] for was, now in pairs]
    return bitmap + _planes((one << 1) ^ (one >> 31) for one in moves)  # small numbers of both signs become small ones


def patch(old: bytes, change: bytes) -> bytes:
    """Return the block that `difference(old, block)` was made for. Raises ValueError for what no such call returned."""
    if not change:
        return b""
    bits = int.from_bytes(change[:_BITMAP], "little")
    offsets = [offset for offset in range(8 * _BITMAP) if bits >> offset & 1]
    count = len(offsets)
    if len(change) != _BITMAP + 6 * count:
        raise ValueError("a change of scores has another length than its own list asks for")
    moves = [(one >> 1) ^ -(one & 1) for one in _numbers(change[_BITMAP:], 2 * count)]
    before = unpack(old)
    out = bytearray()
    for at, offset in enumerate(offsets):
        score, percentile = before.get(offset, (0, 0))
        score, percentile = score + moves[at], percentile + moves[count + at]
        if not (0 <= score <= _LOW and 0 <= percentile <= _LOW):
            raise ValueError("a change of scores leads out of their range")
        out += (offset << 34 | score << 17 | percentile).to_bytes(_RECORD, "big")
    return bytes(out)


def _planes(numbers: Iterable[int]) -> bytes:
    """All low bytes, then all middle ones, then all high ones: the latter two are nearly all zero and vanish when compressed."""
    plain = b"".join(number.to_bytes(3, "little") for number in numbers)
    return plain[0::3] + plain[1::3] + plain[2::3]


def _numbers(planes: bytes, count: int) -> list[int]:
    low, middle, high = planes[:count], planes[count : 2 * count], planes[2 * count :]
    return [a | b << 8 | c << 16 for a, b, c in zip(low, middle, high, strict=True)]
