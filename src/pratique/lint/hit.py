"""What a check returns: where something is wrong, in words, and what identifies it."""

from __future__ import annotations

from typing import NamedTuple

from pratique.workload.place import Place


class Hit(NamedTuple):
    """`content` is what the fingerprint is made of: it must not hold the line, nor a secret. `instruction` is shown."""

    place: Place
    message: str
    content: str
    instruction: str = ""
