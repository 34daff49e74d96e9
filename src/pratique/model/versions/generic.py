"""A version of no particular scheme in, its key out: numbers by value, words by letters, and nothing else counts.

Ours alone, for ecosystems that leave the form of versions to each package. At one place the usual words for a pre-release are
older than the end, the end is older than other words ("1.1.1w"), and these are older than a number. Case does not count.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_EARLY = {"dev": "1", "snapshot": "1", "alpha": "2", "beta": "3", "pre": "4", "preview": "4", "rc": "5"}
_EARLY_MARK = "\x01"
_END = "\x02"
_WORD = "\x03"
_SEGMENTS = re.compile(r"[0-9]+|[a-z]+").findall


def _segment(text: str) -> str:
    if text[0].isdigit():
        return _keys.number(text)
    early = _EARLY.get(text)
    return _EARLY_MARK + early if early else _WORD + text


class Generic:
    """Versions of ConanCenter, Homebrew, the Linux kernel and others without a scheme."""

    name = "generic"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what has no digit, or is not one printable word of ASCII."""
        segments = _SEGMENTS(_keys.plain(version, self.name).lower())
        if not any(segment[0].isdigit() for segment in segments):
            _keys.unorderable(version, self.name)
        return ("".join([_segment(segment) for segment in segments]) + _END).encode("ascii")


SCHEME = Generic()
