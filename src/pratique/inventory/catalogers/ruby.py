"""Specifications of installed Ruby gems in, gems out. Ruby is read, never run.

RubyGems writes one file for each gem it installs into a folder `specifications` (those that came with Ruby lie in `default`
below). A gemspec anywhere else is a project's source: it computes its version, and says nothing about what is installed.

https://guides.rubygems.org/specification-reference/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.inventory.licenses import spdx
from pratique.model.errors import ParseError
from pratique.model.inventory import PackageEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

# A specification that lists every file of a large gem is 200 KB.
MAX_BYTES = 2 * MEBIBYTE
MAX_NAME = 200
MAX_LICENSES = 16

_FOLDERS = ("specifications", "specifications/default")
_STUB = b"\n# stub: "
_LITERAL = rb"""["']([^"'\\#\n]{1,200})["']"""
_NAME = re.compile(rb"^[ \t]*\w+\.name[ \t]*=[ \t]*" + _LITERAL, re.MULTILINE)
_VERSION = re.compile(rb"^[ \t]*\w+\.version[ \t]*=[ \t]*(?:Gem::Version\.new[ \t]*\(?[ \t]*)?" + _LITERAL, re.MULTILINE)
_PLATFORM = re.compile(rb"^[ \t]*\w+\.platform[ \t]*=[ \t]*" + _LITERAL, re.MULTILINE)
_LICENSES = re.compile(rb"^[ \t]*\w+\.licenses?[ \t]*=[ \t]*(\[[^\]\n]{0,2000}\]|" + _LITERAL + rb")", re.MULTILINE)
_QUOTED = re.compile(_LITERAL)
_GEM = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_PURE = ("", "ruby", "Gem::Platform::RUBY")


class _Ruby:
    """The inspector: see the module's text."""

    name = "ruby"
    version = 2
    interest = Interest(suffixes=(".gemspec",), max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[PackageEvidence]:
        """Yield the gem that the specification describes. Raises ParseError."""
        folder = file.path.rpartition("/")[0]
        if folder.endswith(_FOLDERS) and f"/{folder}".endswith(("/specifications", "/specifications/default")):
            yield _gem(file.read())


INSPECTOR = _Ruby()


def _gem(data: bytes) -> PackageEvidence:
    name, version, platform = _stub(data) or _assigned(data)
    if not _GEM.fullmatch(name) or len(name) > MAX_NAME:
        raise ParseError(f"no name of a gem: {name[:MAX_NAME]!r}")
    if not version or len(version) > MAX_NAME:
        raise ParseError(f"no version of the gem {name}")
    qualifiers = () if platform in _PURE else (("platform", platform),)
    return PackageEvidence(type="gem", name=name, version=version, licenses=_licenses(data), qualifiers=qualifiers)


def _stub(data: bytes) -> tuple[str, str, str] | None:
    """Read the comment that RubyGems itself goes by: `# stub: NAME VERSION PLATFORM REQUIRE_PATHS`."""
    at = data.find(_STUB, 0, 512)
    if at < 0:
        return None
    words = data[at + len(_STUB) : data.find(b"\n", at + 1)].decode(errors="replace").split(" ")
    return (words[0], words[1], words[2]) if len(words) >= 4 else None


def _assigned(data: bytes) -> tuple[str, str, str]:
    """Read plain assignments of literals, as RubyGems wrote them before it wrote the comment."""
    return _first(_NAME, data), _first(_VERSION, data), _first(_PLATFORM, data)


def _first(pattern: re.Pattern[bytes], data: bytes) -> str:
    found = pattern.search(data)
    return found[1].decode(errors="replace") if found else ""


def _licenses(data: bytes) -> tuple[str, ...]:
    found = _LICENSES.search(data) if b".license" in data else None
    if found is None:
        return ()
    names = (name.decode(errors="replace").strip() for name in _QUOTED.findall(found[1])[:MAX_LICENSES])
    return tuple(dict.fromkeys(spdx(name) for name in names if name))
