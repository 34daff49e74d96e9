"""A Python version in, its key out: ordered as PEP 440 says, with what it does not know below all that it does.

https://packaging.python.org/en/latest/specifications/version-specifiers/

Unknown forms ("2004d", "0.1-bulbasaur") are ordered among themselves by the rule that setuptools had for them: split into
numbers and words, numbers before words, "final" at the end. `is_legacy` tells them apart, so that a match can be marked.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys

# First character of all keys: what PEP 440 does not know stands before what it does.
_LEGACY = "\x01"
_KNOWN = "\x02"

_DEV_ONLY = "\x01"
_PRE = {
    "a": "\x02",
    "alpha": "\x02",
    "b": "\x03",
    "beta": "\x03",
    "c": "\x04",
    "rc": "\x04",
    "pre": "\x04",
    "preview": "\x04",
}
_NO_PRE = "\x05"
_NO_POST = "\x01"
_POST = "\x02"
_DEV = "\x01"
_NO_DEV = "\x02"
_LOCAL_END = "\x01"
_LOCAL_WORD = "\x02"

_RELEASE = re.compile(r"[0-9]+(?:\.[0-9]+)*").fullmatch
_FINAL = f"{_NO_PRE}{_NO_POST}{_NO_DEV}{_LOCAL_END}"
_PARTS = re.compile(
    r"""
    v?(?:([0-9]+)!)?
    ([0-9]+(?:\.[0-9]+)*)
    (?:[-_.]?(alpha|beta|preview|pre|rc|a|b|c)(?:[-_.]?([0-9]+)|[-_.]?))?
    (?:-([0-9]+)|[-_.]?(post|rev|r)(?:[-_.]?([0-9]+)|[-_.]?))?
    (?:[-_.]?(dev)(?:[-_.]?([0-9]+)|[-_.]?))?
    (?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?
    """,
    re.VERBOSE,
).fullmatch

_LEGACY_PARTS = re.compile(r"([0-9]+|[a-z]+|\.|-)").split
_LEGACY_WORDS = {"pre": "c", "preview": "c", "-": "final-", "rc": "c", "dev": "@"}
_LEGACY_FINAL = "*final"
_LEGACY_DASH = "*final-"
_LEGACY_ZERO = "00000000"
_LEGACY_WIDTH = len(_LEGACY_ZERO)


def is_legacy(version: str) -> bool:
    """Whether PEP 440 does not know the version: its place below all others is a convention, not knowledge."""
    return _PARTS(version.strip().lower()) is None


def _release(digits: str) -> str:
    """Return the key of the release numbers; zeros at the end do not count."""
    lengths = _keys.LENGTHS
    pieces = [lengths[len(short)] + short for short in [part.lstrip("0") for part in digits.split(".")]]
    while pieces and len(pieces[-1]) == 1:
        pieces.pop()
    return "".join(pieces)


def _local(text: str) -> str:
    """Return the key of a local version: words before numbers, shorter before longer."""
    if not text:
        return _LOCAL_END
    parts = text.replace("_", ".").replace("-", ".").split(".")
    return "".join([_keys.number(part) if part.isdigit() else _LOCAL_WORD + part for part in parts]) + _LOCAL_END


def _known(match: re.Match[str]) -> str:
    epoch, release, pre, pre_number, implicit_post, post, post_number, dev, dev_number, local = match.groups("")
    number = _keys.number
    pieces = [_KNOWN, number(epoch), _release(release)]
    has_post = bool(post or implicit_post)
    if pre:
        pieces.append(_PRE[pre] + number(pre_number))
    else:
        pieces.append(_DEV_ONLY if dev and not has_post else _NO_PRE)
    pieces.append(_POST + number(implicit_post or post_number) if has_post else _NO_POST)
    pieces.append(_DEV + number(dev_number) if dev else _NO_DEV)
    pieces.append(_local(local))
    return "".join(pieces)


def _legacy_parts(version: str) -> list[str]:
    parts: list[str] = []
    for text in _LEGACY_PARTS(version):
        if not text or text == ".":
            continue
        if text[0] in "0123456789":
            parts.append(text.zfill(_LEGACY_WIDTH))
            continue
        word = "*" + _LEGACY_WORDS.get(text, text)
        if word < _LEGACY_FINAL:
            while parts and parts[-1] == _LEGACY_DASH:
                parts.pop()
        while parts and parts[-1] == _LEGACY_ZERO:
            parts.pop()
        parts.append(word)
    while parts and parts[-1] == _LEGACY_ZERO:
        parts.pop()
    return [*parts, _LEGACY_FINAL]


class Pep440:
    """Versions of PyPI."""

    name = "pep440"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused are only texts that no index could hold: empty, with spaces or not of ASCII."""
        text = version.strip()
        if len(text) <= _keys.MAX_LENGTH:
            if _RELEASE(text):
                return f"{_KNOWN}{_keys.LENGTHS[0]}{_release(text)}{_FINAL}".encode("ascii")
            text = text.lower()
            match = _PARTS(text)
            if match is not None:
                return _known(match).encode("ascii")
        # Parts hold only printable characters, so that a zero can end each.
        parts = "\x00".join(_legacy_parts(_keys.plain(text, self.name)))
        return f"{_LEGACY}{parts}".encode("ascii")


SCHEME = Pep440()
