"""The `.dep-v0` section that cargo-auditable writes in, the crates that were compiled in out.

Format: cargo-auditable's PARSING.md and its JSON schema: zlib-compressed JSON; a crate of kind "build" ran at build time only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec

from pratique.model.errors import ParseError

SECTION = b".dep-v0"
# The format's own advice: 8 MiB of JSON holds any legitimate data. Compressed, a tenth of that is generous (567 crates: 9.6 KB).
MAX_JSON = 8 << 20
MAX_COMPRESSED = 1 << 20


class Crate(msgspec.Struct, frozen=True):
    """One crate; `kind` is "runtime" or "build"; `root` marks the one that was built; `dependencies` count the list's entries."""

    name: str
    version: str
    kind: str = "runtime"
    root: bool = False
    dependencies: tuple[int, ...] = ()


class _Audit(msgspec.Struct, frozen=True):
    packages: list[Crate]


def read_crates(compressed: bytes) -> list[tuple[Crate, tuple[str, ...]]]:
    """Return the crates that are part of the program, each with what it needs of them as `name@version`. Raises ParseError."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(compressed, MAX_JSON)
    except zlib.error as error:
        raise ParseError(f"Rust audit data does not decompress: {error}") from error
    if inflater.unconsumed_tail:
        raise ParseError(f"Rust audit data is larger than {MAX_JSON} bytes")
    if not inflater.eof:
        raise ParseError("Rust audit data is cut off")
    try:
        crates = msgspec.json.decode(text, type=_Audit).packages
    except msgspec.DecodeError as error:
        raise ParseError(f"Rust audit data: {error}") from error
    return [(crate, tuple(_needs(crate, crates))) for crate in crates if crate.kind != "build"]


def _needs(crate: Crate, crates: list[Crate]) -> Iterator[str]:
    for place in crate.dependencies:
        if 0 <= place < len(crates) and crates[place].kind != "build":
            yield f"{crates[place].name}@{crates[place].version}"
