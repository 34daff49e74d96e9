"""A Debian version in, its key out: [epoch:]upstream[-revision], compared as dpkg does.

https://www.debian.org/doc/debian-policy/ch-controlfields.html#version

A version is read as text and number by turns. In text "~" is older than the end, the end is older than letters, letters are
older than all else; the code of the number that follows ends the text, and a missing number is zero.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

# Letters keep their code, the rest moves above them; "~" goes below the codes of numbers, which are also the end.
_ORDER = bytes(
    0x01 if code == ord("~") else code if code < 0x21 or chr(code).isalnum() else min(code + 0x80, 0xFF) for code in range(256)
)
_TURNS = re.compile(rb"([^0-9]*)0*([0-9]*)").findall

# dpkg compares an absent revision as the empty text, which is zero to it; a key has to be of one form.
NO_REVISION = "0"


def part(text: str) -> bytes:
    """Return the key of an upstream version or a revision (printable ASCII, not empty)."""
    codes = _keys.CODES
    return b"".join([word + codes[len(digits)] + digits for word, digits in _TURNS(text.encode("ascii").translate(_ORDER))])


class Dpkg:
    """Versions of Debian, Ubuntu and what derives from them."""

    name = "dpkg"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what dpkg refuses: an epoch that is no number, an empty part."""
        text = _keys.plain(version, self.name)
        epoch, colon, rest = text.partition(":")
        if not colon:
            epoch, rest = "", text
        elif not epoch.isdigit():
            _keys.unorderable(version, self.name)
        upstream, hyphen, revision = rest.rpartition("-")
        if not hyphen:
            upstream, revision = rest, ""
        if not upstream or (hyphen and not revision):
            _keys.unorderable(version, self.name)
        return _keys.number(epoch).encode("ascii") + part(upstream) + part(revision or NO_REVISION)


SCHEME = Dpkg()
