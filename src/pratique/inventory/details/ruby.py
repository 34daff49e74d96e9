"""Specifications of installed gems in, what each needs out. Ruby is read, never run.

RubyGems writes `s.add_runtime_dependency(%q<rack>.freeze, ["~> 2.0".freeze, ">= 2.0.9"])`, newer ones `add_dependency`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.model.errors import ParseError
from pratique.model.inventory import DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_NAMES = 500
_STUB = re.compile(rb"\n# stub: ([A-Za-z0-9_.-]{1,200}) ([^\s]{1,200}) ")
_NEEDS = re.compile(
    rb"""^[ \t]*\w+\.add_(?:runtime_)?dependency[ \t]*\(?[ \t]*(?:%q<|["'])([A-Za-z0-9_.-]{1,200})[>"'](?:\.freeze)?"""
    rb"""([^\n]{0,500})""",
    re.MULTILINE,
)
_CONSTRAINT = re.compile(rb"""["']((?:~>|>=|<=|!=|=|>|<)?[ ]*[0-9A-Za-z.-]{1,60})["']""")


class RubyDetails:
    """Inspects the specifications that RubyGems wrote."""

    name = "details_ruby"
    version = 1
    interest = Interest(suffixes=(".gemspec",), max_bytes=2 * MEBIBYTE, scope="details")

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield what the gem needs. Raises ParseError where it needs more than any does."""
        folder = file.path.rpartition("/")[0]
        if not f"/{folder}".endswith(("/specifications", "/specifications/default")):
            return
        data = file.read()
        stub = _STUB.search(data, 0, 1024)
        if stub is None:
            return  # so old that nothing says what it needs in one form
        needed = _NEEDS.findall(data)
        if len(needed) > MAX_NAMES:
            raise ParseError(f"a gem that needs more than {MAX_NAMES} others")
        requires = []
        for name, rest in needed:
            versions = ", ".join(text.decode() for text in _CONSTRAINT.findall(rest))
            requires.append(f"{name.decode()} {versions}".rstrip())
        yield DetailEvidence(
            type="gem", name=stub[1].decode(), version=stub[2].decode("utf-8", "replace"), requires=tuple(dict.fromkeys(requires))
        )


INSPECTOR = RubyDetails()
