"""An rpm version in, its key out: [epoch:]version[-release], compared as rpm does.

https://rpm-software-management.github.io/rpm/man/rpm-version.7

Runs of digits and runs of letters count, anything else only separates. At one place "~" is older than the end, the end is
older than "^", "^" than letters, letters than a number. A version without release is older than the same with one.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_END = b"\x02"
_MARKS = bytes.maketrans(b"~^", b"\x01\x03")
_SEGMENTS = re.compile(rb"([\x01\x03]|[A-Za-z]+)|0*([0-9]+)").findall


def part(text: str) -> bytes:
    """Return the key of a version or a release (printable ASCII)."""
    codes = _keys.CODES
    pieces = [
        codes[len(digits)] + digits if digits else b"\x04" + word if word > b"\x03" else word
        for word, digits in _SEGMENTS(text.encode("ascii").translate(_MARKS))
    ]
    pieces.append(_END)
    return b"".join(pieces)


class Rpm:
    """Versions of Red Hat, SUSE and all other distributions of rpm packages."""

    name = "rpm"

    def key(self, version: str) -> bytes:
        """Return the sort key. No epoch is epoch 0."""
        text = _keys.plain(version, self.name)
        epoch, colon, rest = text.partition(":")
        if not colon or (epoch and not epoch.isdigit()):
            epoch, rest = "", text
        version_part, hyphen, release = rest.rpartition("-")
        start = _keys.number(epoch).encode("ascii")
        return start + part(version_part) + part(release) if hyphen else start + part(rest)


SCHEME = Rpm()
