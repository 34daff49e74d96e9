"""A Packagist version in, its key out: normalised as Composer does, then ordered as PHP's version_compare orders the result.

https://getcomposer.org/doc/articles/versions.md

Two shapes are known: up to four numbers, and dates. A stability and "dev" may follow. At one place dev is older than alpha,
then beta, RC, the end, a number, and patch. Branches ("dev-main") have no order; "1.x-dev" is above all of 1.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

_DEV = "\x01"
_END = "\x05"
_STABILITIES = {
    "a": "\x02",
    "alpha": "\x02",
    "b": "\x03",
    "beta": "\x03",
    "rc": "\x04",
    "p": "\x7f",
    "pl": "\x7f",
    "patch": "\x7f",
}
# Composer drops "stable" only in lower case; in any other it reaches version_compare, to which an unknown word is the oldest.
_UNKNOWN = "\x00"
_BRANCH_NUMBER = "9999999"
_FOUR = 4

_MODIFIER = r"[._-]?(?:(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?[0-9]+)*+)?)?([.-]?dev)?"
_FLAGS = re.compile(r"@(?:stable|rc|beta|alpha|dev)$", re.IGNORECASE)
_CLASSIC = re.compile(rf"v?([0-9]{{1,5}}+(?:\.[0-9]++){{0,3}}+){_MODIFIER}", re.IGNORECASE).fullmatch
_DATE = re.compile(rf"v?([0-9]{{4}}(?:[.:-]?[0-9]{{2}}){{1,6}}(?:[.:-]?[0-9]{{1,3}}){{0,2}}){_MODIFIER}", re.IGNORECASE).fullmatch
_BRANCH = re.compile(r"v?([0-9]++(?:\.(?:[0-9]++|[x*])){0,3}+)[.-]?dev", re.IGNORECASE).fullmatch
_DIGITS = re.compile(r"[0-9]+").findall


def _strip(version: str) -> str:
    """Remove what says nothing about order: an alias, a stability flag, build metadata."""
    text = version.strip()
    name, alias, _other = text.partition(" as ")
    if alias:
        text = name.rstrip(" ")
    text = _FLAGS.sub("", text)
    head, plus, build = text.partition("+")
    return head if plus and build else text


def _suffix(stability: str, digits: str, dev: str) -> str:
    if stability == "stable":
        return _END
    number = _keys.number
    words = ""
    if stability:
        words = _STABILITIES.get(stability.lower(), _UNKNOWN) + "".join([number(part) for part in _DIGITS(digits)])
    return words + (_DEV if dev else "") + _END


class Composer:
    """Versions of Packagist."""

    name = "composer"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused are branches and what Composer calls an invalid version string."""
        text = _strip(version) if len(version) <= _keys.MAX_LENGTH else ""
        if not text.isascii():
            _keys.unorderable(version, self.name)
        number = _keys.number
        match = _CLASSIC(text)
        if match is not None:
            numbers, stability, digits, dev = match.groups("")
            parts = numbers.split(".")
            zeros = _keys.LENGTHS[0] * (_FOUR - len(parts))
            return ("".join([number(part) for part in parts]) + zeros + _suffix(stability, digits, dev)).encode("ascii")
        match = _DATE(text)
        if match is not None:
            numbers, stability, digits, dev = match.groups("")
            return ("".join([number(part) for part in _DIGITS(numbers)]) + _suffix(stability, digits, dev)).encode("ascii")
        match = _BRANCH(text)
        if match is None:
            _keys.unorderable(version, self.name)
        parts = [part if part.isdigit() else _BRANCH_NUMBER for part in match[1].split(".")]
        parts += [_BRANCH_NUMBER] * (_FOUR - len(parts))
        return ("".join([number(part) for part in parts]) + _DEV + _END).encode("ascii")


SCHEME = Composer()
