"""An Alpine version in, its key out: digits{.digits}[letter]{_suffix[digits]}[~hash][-rN], compared as apk-tools 3 does.

https://gitlab.alpinelinux.org/alpine/apk-tools/-/blob/master/doc/apk-package.5.scd

Where two versions part, the kind of what comes next decides: a suffix of a pre-release is older than the end, which is older
than a revision, a hash, the number of a suffix, another suffix, a letter and a component, in that order. A component that
begins with zero is compared as text, and is older than any that does not.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_END = "\x05"
_REVISION = "\x06"
_HASH = "\x07"
_SUFFIX_NUMBER = "\x08"
_SUFFIXES = {
    "alpha": "\x01",
    "beta": "\x02",
    "pre": "\x03",
    "rc": "\x04",
    "cvs": "\x09",
    "svn": "\x0a",
    "git": "\x0b",
    "hg": "\x0c",
    "p": "\x0d",
}
_LETTER = "\x0e"
# The code of no digits is free: components that begin with zero have it.
_COMPONENT = _keys.Lengths(first=0x0F, last=0x2F)
_LEADING_ZERO = _COMPONENT[0]

_SUFFIX = r"_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*+"
_PARTS = re.compile(
    rf"([0-9]++)((?:\.[0-9]++)*+)([a-z]?)((?:{_SUFFIX})*+)(?:~([0-9A-Fa-f]++))?(?:-r([0-9]++))?",
).fullmatch
_EACH_SUFFIX = re.compile(r"_([a-z]+)([0-9]*)").findall


class Apk:
    """Versions of Alpine, Wolfi, Chainguard and other distributions of apk packages."""

    name = "apk"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what `apk version --check` calls invalid."""
        match = _PARTS(version) if len(version) <= _keys.MAX_LENGTH else None
        if match is None:
            _keys.unorderable(version, self.name)
        first, components, letter, suffixes, commit, revision = match.groups()
        pieces = [_keys.number(first)]
        if components:
            lengths = _COMPONENT
            pieces += [
                (_LEADING_ZERO if digits[0] == "0" else lengths[len(digits)]) + digits for digits in components[1:].split(".")
            ]
        if letter:
            pieces.append(_LETTER + letter)
        if suffixes:
            for suffix, digits in _EACH_SUFFIX(suffixes):
                pieces.append(_SUFFIXES[suffix])
                if digits:
                    pieces.append(_SUFFIX_NUMBER + _keys.number(digits))
        if commit:
            pieces.append(_HASH + commit)
        if revision:
            pieces.append(_REVISION + _keys.number(revision))
        pieces.append(_END)
        return "".join(pieces).encode("ascii")


SCHEME = Apk()
