"""An opam version in, its key out: Debian's order without epochs; a revision after the last hyphen decides last.

https://opam.ocaml.org/doc/Manual.html#version-ordering
"""

from __future__ import annotations

from pratique.model.versions import _keys, dpkg


class Opam:
    """Versions of opam packages."""

    name = "opam"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what is empty or not one printable word of ASCII."""
        text = _keys.plain(version, self.name)
        upstream, hyphen, revision = text.rpartition("-")
        if not hyphen:
            upstream, revision = text, ""
        return dpkg.part(upstream or dpkg.NO_REVISION) + dpkg.part(revision or dpkg.NO_REVISION)


SCHEME = Opam()
