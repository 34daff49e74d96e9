"""A Go version in, its key out: a module's semantic version, or a release of Go itself ("go1.21rc2").

https://go.dev/ref/mod#versions

Pseudo-versions need no rule of their own, "+incompatible" is build metadata. Releases of Go are read as the Go vulnerability
database writes them: go1.21rc2 is 1.21.0-rc.2.
"""

from __future__ import annotations

import re

from pratique.model.versions import _keys, semver

# What toolchain builders append ("go1.21.3 X:boringcrypto", "go1.19.4-vendor", "go1.20+auto") names a build, no release.
_RELEASE = re.compile(r"go([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:(rc|beta|alpha)([0-9]+))?(?:[ +-].*)?").fullmatch


class Golang:
    """Versions of Go modules and of Go itself."""

    name = "golang"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what has no number: "(devel)", a commit, an empty version."""
        if version.startswith("go") and len(version) <= _keys.MAX_LENGTH:
            match = _RELEASE(version)
            if match is None:
                _keys.unorderable(version, self.name)
            major, minor, patch, word, count = match.groups("")
            numbers = _keys.number(major) + _keys.number(minor) + _keys.number(patch)
            return semver.precedence(numbers, f"{word}.{count}" if word else "").encode("ascii")
        try:
            return semver.SCHEME.key(version)
        except ValueError:
            _keys.unorderable(version, self.name)


SCHEME = Golang()
