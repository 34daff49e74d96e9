"""A Dart version in, its key out: as SemVer, but build metadata counts: none before some, then identifier by identifier.

https://dart.dev/tools/pub/versioning
"""

from __future__ import annotations

from pratique.model.versions import semver


class Pub:
    """Versions of pub.dev."""

    name = "pub"

    def key(self, version: str) -> bytes:
        """Return the sort key. Refused is what SemVer's reader refuses."""
        numbers, pre, build = semver.split(version, self.name)
        return (semver.precedence(numbers, pre) + (semver.identifiers(build) if build else semver.END)).encode("ascii")


SCHEME = Pub()
